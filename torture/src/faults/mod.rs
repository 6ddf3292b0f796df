//! What goes wrong, and how it is dealt.

mod deal;
mod link;
mod links;
mod nodes;
mod operators;
mod signals;
mod wire;

use std::time::Duration;

pub(crate) use deal::deal_all;
pub(crate) use links::Links;
pub(crate) use nodes::{last_word, start_all};
pub(crate) use operators::{operate, settle_marks};
pub(crate) use signals::Signals;
pub(crate) use wire::Wire;

macro_rules! faults {
    ($($fault:ident, $name:literal, $every:literal, $meaning:literal;)+) => {
        /// A kind of fault. It counts as struck only where that is shown.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Fault {
            $(#[doc = $meaning] $fault,)+
        }

        impl Fault {
            /// Its name in tables.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$fault => $name,)+
                }
            }

            /// How long it takes on average until it is dealt again, while it is in the weather.
            pub(crate) fn every(self) -> Duration {
                Duration::from_millis(match self {
                    $(Self::$fault => $every,)+
                })
            }
        }
    };
}

faults! {
    NodeKilled, "node killed", 3_000, "A node vanishes in the middle of its work.";
    NodePaused, "node paused past its session", 6_000, "A node stands still for longer than its session.";
    NodeDrained, "node drained", 5_000, "A node is shut down in order.";
    ClientGone, "client gone", 100, "A client goes away before its answer.";
    LeaseBroken, "lease broken", 700, "An operator breaks a lease.";
    RunAgain, "mark decided: run again", 300, "An operator clears a mark.";
    Decided, "mark decided: settled", 300, "An operator settles in the name of a mark's key.";
    ClockForward, "clock forward", 4_000, "The store's clock steps forward by minutes to two hours.";
    ClockBack, "clock back", 4_000, "The store's clock steps back by minutes to two hours.";
    ClockFar, "clock far ahead for a moment", 5_000, "The store's clock is ahead by forty days for a moment.";
    StoppedAtLock, "back end stopped at a lock", 400, "A server process is stopped while it waits for a lock.";
    StoppedAtCommit, "back end stopped at a commit", 400, "A server process is stopped while it commits.";
    RowLocked, "rows locked by others", 300, "Somebody else locks rows of orders.";
    CutBefore, "connection cut before the commit", 400, "A connection breaks before the server has the request.";
    CutAfter, "connection cut after the commit", 400, "A connection breaks after the write, before its answer.";
    Terminated, "connection ended by the server", 700, "The server ends a connection at work.";
    SlowLink, "slow link", 2_000, "A node's way to the server takes long.";
    Restart, "store restarted", 9_000, "The store ends at once and starts again.";
    FailOver, "fail-over to the standby", 12_000, "The primary is killed and the standby promoted.";
    StandbyAway, "standby away", 6_000, "The standby that commits wait for stands still.";
    DiskFull, "disk full", 3_000, "No file may grow any more.";
    FlushRefused, "flush refused", 1_500, "The disk refuses to flush.";
    ForeignReader, "foreign reader", 2_500, "Somebody else reads the file for a while.";
    ForeignWriter, "foreign writer", 2_500, "Somebody else locks the file for a while.";
    FileMoved, "file moved away and back", 6_000, "The file has another name for a while.";
    OldLock, "old service locks", 100, "A service that knows nothing of Orderlock takes an order and lets go.";
    OldDies, "old service dies with its lock", 1_500, "Such a service dies while it holds an order.";
    OldSet, "old service sets fields", 150, "Such a service changes an order without a lock.";
    OldUnlock, "old service unlocks what is not its own", 400, "Such a service clears the lock of a grant.";
    OldReplace, "old service replaces the document", 400, "Such a service writes a whole document of its own.";
    OneRow, "one row locked, one client asks for it", 1_000, "One row is locked for long, and all else shall go on.";
    Crowd, "a crowd of held orders", 1_000, "One node holds many orders at a time.";
    DeadClockBack, "node dead, then clock back", 1_000, "A node dies with leases and the store's clock goes back.";
}

impl Fault {
    /// What any store may meet.
    pub(crate) const OF_ANY: [Self; 10] = [
        Self::NodeKilled,
        Self::NodePaused,
        Self::NodeDrained,
        Self::ClientGone,
        Self::LeaseBroken,
        Self::RunAgain,
        Self::Decided,
        Self::ClockForward,
        Self::ClockBack,
        Self::ClockFar,
    ];

    /// Those that have an act of their own.
    pub(crate) const OF_ACTS: [Self; 3] = [Self::OneRow, Self::Crowd, Self::DeadClockBack];
}
