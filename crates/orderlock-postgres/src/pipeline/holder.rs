//! The grant that a settle hands over with, decided here: from the order as the settle leaves it, and
//! from what is known of the next in line.

use orderlock_core::store::{
    Acquire, Facts, Grant, Granted, KeyFacts, Receipt, Settle, Verdict, decide,
};
use orderlock_core::{Document, LeaseState, OutcomeKind, OwnedIndex, SessionId, Times};

use crate::pipeline::probe::SeenOrder;
use crate::pipeline::write::{Link, RowState};
use crate::sql::clock::{end_of, in_microseconds};
use crate::verbs::acquire_facts::Requester;

/// Who holds an order, and the order as it is for that one.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) row: RowState,
    pub(crate) session: SessionId,
    /// None if nobody needs it.
    pub(crate) document: Option<Document>,
    pub(crate) index: OwnedIndex,
    pub(crate) times: Times,
}

/// A settle that can be accepted.
#[derive(Debug)]
pub(crate) struct Acceptance {
    pub(crate) link: Link,
    pub(crate) grant: Grant,
    pub(crate) receipt: Receipt,
    pub(crate) before: RowState,
    pub(crate) after: Holder,
}

impl Holder {
    /// The holder that the database knows, if it is the one that settles.
    pub(crate) fn seen(request: &Settle, order: &SeenOrder) -> Option<Self> {
        let LeaseState::Held(lease) = &order.lease else {
            return None;
        };
        let holds = (lease.fence, lease.steps, order.version)
            == (request.fence, request.step, request.version);
        holds.then(|| Self {
            row: RowState {
                fence: lease.fence,
                step: lease.steps,
                version: order.version,
                entries: order.entries,
            },
            session: lease.session,
            document: order.document.clone(),
            index: order.index.clone(),
            times: order.times,
        })
    }

    /// What the holder leaves by its settle, in the hands of the next one.
    fn settled(&self, request: &Settle, next: &Acquire) -> Self {
        let row = RowState {
            fence: next.fence,
            step: 0,
            version: self.row.version,
            entries: self.row.entries + 1,
        };
        let session = next.session;
        match request.change() {
            None => Self {
                row,
                session,
                ..self.clone()
            },
            Some(change) => Self {
                row: RowState {
                    version: self.row.version.next(),
                    ..row
                },
                session,
                document: Some(change.after.clone()),
                index: change.index.clone(),
                times: Times {
                    updated: in_microseconds(change.at),
                    ..self.times
                },
            },
        }
    }
}

/// The settle with what it hands over, if the next one would be granted the order.
pub(crate) fn acceptance(
    request: &Settle,
    next: &Acquire,
    requester: Requester,
    holder: &Holder,
) -> Option<Acceptance> {
    let after = holder.settled(request, next);
    let facts = Facts {
        version: Some(after.row.version),
        key: requester.key,
        lease: &LeaseState::Free,
        session_alive: requester.alive,
        now: requester.now,
    };
    let Verdict::Grant(granted) = decide(next, facts) else {
        return None;
    };
    let Granted { lease, mark: None } = *granted else {
        return None;
    };
    // A mark that was cleared binds the key, but is no progress: which that is, the facts tell.
    let entry = requester.entry.as_ref();
    if entry.is_some_and(|entry| entry.outcome == OutcomeKind::MarkCleared) {
        return None;
    }
    let grant = Grant {
        fence: next.fence,
        version: after.row.version,
        document: after.document.clone()?,
        index: after.index.clone(),
        times: after.times,
        now: lease.since,
        attempt: lease.attempt,
        progress: match requester.key {
            KeyFacts::New => None,
            KeyFacts::Final { .. } | KeyFacts::Progress { .. } => requester.entry,
        },
    };
    let link = Link {
        settle: request.clone(),
        settled: requester.latest,
        after: after.row,
        lease,
    };
    Some(Acceptance {
        grant,
        receipt: Receipt {
            number: after.row.entries,
            expires: end_of(requester.latest, request.entry.retention.answer),
        },
        before: holder.row,
        link,
        after,
    })
}
