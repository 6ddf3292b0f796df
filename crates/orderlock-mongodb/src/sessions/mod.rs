//! Nodes' signs of life. A session is a document, and ends by its removal; a lease whose session is not
//! there counts as free, whenever it was written.

mod counts;
mod look;
pub(crate) mod row;
pub(crate) mod tended;

use std::sync::Arc;
use std::time::Instant;

use mongodb::bson::{Document as Fields, doc};
use orderlock_core::{Lease, SessionId, StoreError};

use crate::database::calls::Calls;
use crate::database::clock::StoreClock;
use crate::document::fields::hex;
use crate::error::Failure;
use crate::sessions::counts::Counts;
use crate::sessions::look::SharedLooks;
use crate::sessions::row::{SessionRow, path_of_broken};
use crate::sessions::tended::TendedSessions;

/// How many sessions there may be: more nodes than one database serves.
pub(crate) const SESSIONS_MAX: i64 = 10_000;

/// The sessions of all nodes, as this one sees them.
#[derive(Debug)]
pub(crate) struct Sessions {
    calls: Arc<Calls>,
    clock: Arc<StoreClock>,
    counts: Counts,
    looks: SharedLooks,
    /// What the renewals of this node's own sessions have seen.
    pub(crate) tended: TendedSessions,
}

impl Sessions {
    pub(crate) fn new(calls: Arc<Calls>, clock: Arc<StoreClock>) -> Self {
        Self {
            calls,
            clock,
            counts: Counts::default(),
            looks: SharedLooks::default(),
            tended: TendedSessions::default(),
        }
    }

    /// How often a session was renewed, as far as this node knows; none if it does not know.
    pub(crate) fn renewals(&self, session: SessionId) -> Option<i64> {
        self.counts.renewals(session)
    }

    /// Notes a count, and says since when it has been seen.
    pub(crate) fn note(&self, session: SessionId, renewals: i64) -> Instant {
        self.counts.note(session, renewals, self.clock.instant())
    }

    /// A session has ended.
    pub(crate) fn forget(&self, session: SessionId) {
        self.counts.forget(session);
        self.tended.forget(session);
    }

    /// Whether a session goes on: how often it was renewed, or none if it has ended. One look serves
    /// all who ask for it at the same time.
    pub(crate) async fn look(&self, session: SessionId) -> Result<Option<i64>, Failure> {
        let found = self.looks.look(&self.calls, session).await?;
        match found {
            Some(renewals) => drop(self.note(session, renewals)),
            None => self.forget(session),
        }
        Ok(found)
    }

    /// Every session that stands in the database.
    pub(crate) async fn all(&self) -> Result<Vec<SessionRow>, Failure> {
        let query = self.calls.sessions.find(doc! {}).limit(SESSIONS_MAX);
        let found = self.calls.all(query).await?;
        found.iter().map(SessionRow::read).collect()
    }

    /// Ends a session, if it is still so. Says whether it did.
    pub(crate) async fn end(&self, session: SessionId, still: Fields) -> Result<bool, StoreError> {
        let mut filter = doc! {"_id": hex(session.0)};
        filter.extend(still);
        let command = self.calls.sessions.find_one_and_delete(filter);
        let ended = self.calls.bounded(command).await;
        let ended = ended.map_err(Failure::of_a_write)?.is_some();
        if ended {
            self.forget(session);
        }
        Ok(ended)
    }

    /// Has the session of a grant that was broken say so at its next renewal. If it does not, the
    /// holder learns it when it next writes.
    pub(crate) async fn note_broken(&self, lease: &Lease) {
        let filter = doc! {"_id": hex(lease.session.0)};
        let update = doc! {"$set": {path_of_broken(lease.fence): 1}};
        let noted = self.calls.sessions.update_one(filter, update);
        if let Err(failure) = self.calls.bounded(noted).await {
            let error = failure.not_applied();
            tracing::warn!(%error, "the holder of a broken lease will learn it late");
        }
    }
}
