//! What is asked of the model's store and what it answers: the words of the seam, in numbers.

use super::store::Entry;

pub(crate) type Name = u16;
pub(crate) type Session = u16;
pub(crate) type Fence = u16;
pub(crate) type Key = u16;
pub(crate) type Print = u16;
pub(crate) type Version = u16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Acquire {
    pub(crate) key: Key,
    pub(crate) print: Print,
    pub(crate) fence: Fence,
    pub(crate) session: Session,
    pub(crate) expected: Option<Version>,
    pub(crate) external: bool,
    /// Whether its recovery lets it run again under an open mark.
    pub(crate) resumes: bool,
    /// Whether its key was looked up before, and is not now: a bug.
    pub(crate) blind: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Acquired {
    Granted { version: Version, progress: bool },
    Settled(Entry),
    Reused,
    InProgress,
    Held,
    Marked,
    VersionMismatch,
    SessionEnded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Settle {
    pub(crate) key: Key,
    pub(crate) print: Print,
    pub(crate) fence: Fence,
    pub(crate) step: u16,
    pub(crate) version: Version,
    /// Whether it changes the order: a refusal does not.
    pub(crate) changes: bool,
    /// Whether it keeps the lease.
    pub(crate) keeps: bool,
    /// To whom it hands over.
    pub(crate) next: Option<Acquire>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Settled {
    /// With what became of the next request.
    Accepted(Option<Acquired>),
    Lost(Loss),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Loss {
    NotHeld,
    KeySettled,
    VersionMoved,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Release {
    pub(crate) fence: Fence,
    pub(crate) key: Key,
    /// Whether the handler declares that nothing happened outside.
    pub(crate) clear: bool,
    /// Whether no handler has run, and what stood before the grant is to stand again.
    pub(crate) undo: bool,
    pub(crate) next: Option<Acquire>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Released {
    pub(crate) held: bool,
    pub(crate) next: Option<Acquired>,
}

/// An operator's decision: to let the key run again, or to settle in its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Resolve {
    pub(crate) key: Key,
    /// The version that it was decided on, and whether it changes the order.
    pub(crate) settles: Option<(Version, bool)>,
}
