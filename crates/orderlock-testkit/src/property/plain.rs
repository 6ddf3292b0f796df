//! What two stores may rightly do in different ways is made equal before it is compared: the names
//! of leases, and the places in the journal.

use orderlock_core::store::{
    Acquired, Broken, Created, Entry, Known, OrderView, Position, Receipt, Released,
};
use orderlock_core::{LeaseId, LeaseView, Timestamp};

use crate::suite::Ended;

pub(super) trait Plain: Sized {
    fn plain(self) -> Self;
}

impl Plain for LeaseView {
    fn plain(self) -> Self {
        Self {
            id: LeaseId("lease".into()),
            ..self
        }
    }
}

impl Plain for Entry {
    fn plain(self) -> Self {
        let expires = self.expires.filter(|_| self.outcome.is_final());
        Self {
            position: Position(0),
            expires,
            ..self
        }
    }
}

impl Plain for Acquired {
    fn plain(self) -> Self {
        match self {
            Self::Granted(mut grant) => {
                grant.progress = grant.progress.map(|entry| Box::new(entry.plain()));
                Self::Granted(grant)
            }
            Self::Settled(entry) => Self::Settled(Box::new(entry.plain())),
            Self::InProgress(lease) => Self::InProgress(lease.plain()),
            Self::Held(lease) => Self::Held(lease.plain()),
            other => other,
        }
    }
}

impl Plain for Known {
    fn plain(self) -> Self {
        match self {
            Self::Settled(entry) => Self::Settled(Box::new(entry.plain())),
            Self::Running(lease) => Self::Running(lease.plain()),
            other => other,
        }
    }
}

impl Plain for Created {
    fn plain(self) -> Self {
        match self {
            Self::Settled(entry) => Self::Settled(Box::new(entry.plain())),
            other => other,
        }
    }
}

impl Plain for Broken {
    fn plain(self) -> Self {
        match self {
            Self::Broken(lease) => Self::Broken(lease.plain()),
            Self::NotFound => Self::NotFound,
        }
    }
}

impl Plain for OrderView {
    fn plain(self) -> Self {
        Self {
            lease: self.lease.map(Plain::plain),
            ..self
        }
    }
}

impl Plain for Released {
    fn plain(self) -> Self {
        Self {
            next: self.next.map(Plain::plain),
            ..self
        }
    }
}

impl Plain for Ended {
    fn plain(self) -> Self {
        match self {
            Self::Applied(receipt, next) => Self::Applied(receipt, next.map(Plain::plain)),
            other => other,
        }
    }
}

impl<T: Plain> Plain for Vec<T> {
    fn plain(self) -> Self {
        self.into_iter().map(Plain::plain).collect()
    }
}

impl<T: Plain> Plain for Option<T> {
    fn plain(self) -> Self {
        self.map(Plain::plain)
    }
}

/// The receipt of a settle that has no answer says nothing of its retention.
pub(super) fn without_expiry(ended: Ended) -> Ended {
    match ended {
        Ended::Applied(receipt, next) => {
            let receipt = Receipt {
                expires: Timestamp::UNIX_EPOCH,
                ..receipt
            };
            Ended::Applied(receipt, next)
        }
        other => other,
    }
}
