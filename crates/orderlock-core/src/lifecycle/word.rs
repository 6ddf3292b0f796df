//! What the store's word on a key or an order means for the request that asked.

use super::ended::{Answered, Denied, Ended, Running};
use crate::store::{Acquired, Claim, Entry, Grant, Known};
use crate::{LeaseView, LeaseViewState, StoreError};

/// What an `acquire` means for the request that asked.
pub(super) enum Asked {
    Granted(Box<Grant>),
    InTheWay(LeaseView),
    Answered(Answered),
    SessionEnded,
    /// It was not answered and may have been granted: it is to be taken back.
    InDoubt(StoreError),
}

impl From<Acquired> for Asked {
    fn from(result: Acquired) -> Self {
        let denied = match result {
            Acquired::Granted(grant) => return Self::Granted(grant),
            Acquired::Held(view) | Acquired::InProgress(view) => return Self::InTheWay(view),
            Acquired::SessionEnded => return Self::SessionEnded,
            Acquired::Settled(entry) => return Self::Answered(replay(*entry)),
            Acquired::Reused => Denied::KeyReused,
            Acquired::Expired => Denied::KeyExpired,
            Acquired::Marked(mark) => Denied::OutcomeUnknown(mark),
            Acquired::VersionMismatch { current } => Denied::VersionMismatch { current },
            Acquired::NotFound => Denied::NotFound,
        };
        Self::Answered(Ended::Denied(denied))
    }
}

/// What the journal's word on a key means for a request with this claim, if it ends it.
pub(super) fn judge(claim: &Claim, known: Known) -> Option<Answered> {
    match known {
        Known::Settled(entry) if entry.fingerprint != claim.fingerprint => {
            Some(Ended::Denied(Denied::KeyReused))
        }
        Known::Settled(entry) => Some(replay(*entry)),
        Known::Expired(fingerprint) if fingerprint != claim.fingerprint => {
            Some(Ended::Denied(Denied::KeyReused))
        }
        Known::Expired(_) => Some(Ended::Denied(Denied::KeyExpired)),
        Known::Running(view) if view.fingerprint != Some(claim.fingerprint) => {
            Some(Ended::Denied(Denied::KeyReused))
        }
        Known::Marked(mark) if mark.fingerprint != claim.fingerprint => {
            Some(Ended::Denied(Denied::KeyReused))
        }
        Known::Running(_) | Known::Marked(_) | Known::Unknown => None,
    }
}

/// What a request is denied with whose key the journal does not answer for: if that key is at work,
/// wherever it is, that it is; otherwise the denial.
pub(super) fn unless_running(claim: &Claim, known: &Known, denied: Denied) -> Denied {
    match known {
        Known::Running(view) if view.fingerprint == Some(claim.fingerprint) => {
            Denied::InProgress(Some(running(view)))
        }
        _ => denied,
    }
}

/// What a request is denied with whose key could not be looked up. A denial that claims to know the
/// key gives way to the cause.
pub(super) fn not_looked_up(denied: Denied, error: StoreError) -> Denied {
    match denied {
        Denied::InProgress(_) | Denied::ShuttingDown | Denied::NodeFull => denied,
        _ => Denied::unavailable(error),
    }
}

/// A stored answer, as a retry gets it.
pub(super) fn replay(entry: Entry) -> Answered {
    match entry.answer {
        Some(answer) => Ended::Settled {
            order: entry.target.order,
            answer,
            replayed: true,
            expires: entry.expires,
            outcome: entry.outcome,
        },
        None => Ended::Denied(Denied::KeyExpired),
    }
}

pub(super) fn unavailable(error: StoreError) -> Answered {
    Ended::Denied(Denied::unavailable(error))
}

pub(super) fn running(view: &LeaseView) -> Running {
    Running {
        operation: view.operation.clone(),
        since: view.since,
        attempt: view.attempt,
        foreign: view.state == LeaseViewState::Foreign,
    }
}
