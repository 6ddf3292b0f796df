//! Faults that are planted for the harness to find: each takes one cure out of a store.

use clap::ValueEnum;
use orderlock_mongodb::Planted as OnMongodb;
use orderlock_postgres::Planted as OnPostgres;
use orderlock_sqlite::Planted as OnSqlite;

use crate::faults::Fault;
use crate::stores::Kind;

/// A planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Planted {
    /// PostgreSQL: a grant that has waited looks at a part of what it was decided on.
    StaleGrant,
    /// PostgreSQL: a writer that has a number and no lock on it yet holds no reader back.
    EarlyHorizon,
    /// PostgreSQL: a renewal compares every grant with every other.
    SquareRenewal,
    /// PostgreSQL: a row that somebody has locked holds all others up.
    OneLane,
    /// PostgreSQL: a deadline that no sane clock can have set is believed.
    FarDeadline,
    /// MongoDB: a document that was replaced is taken for one that was never seen.
    Replaced,
    /// SQLite: what has expired by any clock is forgotten for good.
    AnyClock,
}

impl Planted {
    /// The store that it is planted in.
    pub(crate) fn store(self) -> Kind {
        match self {
            Self::AnyClock => Kind::Sqlite,
            Self::Replaced => Kind::Mongodb,
            Self::StaleGrant
            | Self::EarlyHorizon
            | Self::SquareRenewal
            | Self::OneLane
            | Self::FarDeadline => Kind::Postgres,
        }
    }

    /// The fault under which it shows: it is dealt first, or the run goes to its end at once.
    pub(crate) fn shown_by(self) -> Fault {
        match self {
            Self::StaleGrant => Fault::RowLocked,
            Self::EarlyHorizon => Fault::StoppedAtLock,
            Self::SquareRenewal => Fault::Crowd,
            Self::OneLane => Fault::OneRow,
            Self::FarDeadline => Fault::DeadClockBack,
            Self::Replaced => Fault::OldReplace,
            Self::AnyClock => Fault::ClockFar,
        }
    }

    /// What its own checkers say once it has shown: the words of a broken promise that only the fault
    /// breaks, as long as nothing else is wrong.
    pub(crate) fn breaks(self) -> &'static [&'static str] {
        match self {
            Self::StaleGrant => &[
                "the open mark of",
                "while its mark was open",
                "was ended by nothing",
            ],
            Self::EarlyHorizon => &["was told nothing of the entries", "entries of order-"],
            Self::SquareRenewal => &["orders that one node held were lost"],
            Self::OneLane => &["one locked row held all other orders up"],
            Self::FarDeadline => &["are still locked"],
            Self::Replaced => &["older than", "the open mark of", "as attempt"],
            Self::AnyClock => &[
                "was run although it has taken effect",
                "was not given its own progress",
                "as attempt",
                "was expired before its time",
                "has its answer, and its status is",
                "was told two answers",
            ],
        }
    }

    /// Takes the cure out, in this process.
    pub(crate) fn plant(self) {
        match self {
            Self::StaleGrant => orderlock_postgres::plant(OnPostgres::StaleGrant),
            Self::EarlyHorizon => orderlock_postgres::plant(OnPostgres::EarlyHorizon),
            Self::SquareRenewal => orderlock_postgres::plant(OnPostgres::SquareRenewal),
            Self::OneLane => orderlock_postgres::plant(OnPostgres::OneLane),
            Self::FarDeadline => orderlock_postgres::plant(OnPostgres::FarDeadline),
            Self::AnyClock => orderlock_sqlite::plant(OnSqlite::AnyClock),
            Self::Replaced => orderlock_mongodb::plant(OnMongodb::Replaced),
        }
    }
}
