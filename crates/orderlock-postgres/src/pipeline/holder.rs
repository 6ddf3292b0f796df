//! Who holds an order before the database knows, and what a settle makes of it: the next in line's
//! grant, decided from what was seen of that one and from the order as the settle leaves it.

use orderlock_core::store::{
    Acquire, Facts, Grant, KeyFacts, Receipt, Settle, Verdict, decide, grant,
};
use orderlock_core::{Document, LeaseEvent, LeaseState, OutcomeKind, OwnedIndex, SessionId, Times};

use crate::pipeline::probe::SeenOrder;
use crate::pipeline::write::{Gate, Link};
use crate::sql::clock::{end_of, in_microseconds};
use crate::verbs::acquire_facts::Asker;

/// Who holds an order, and the order as it is for that one.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) gate: Gate,
    pub(crate) session: SessionId,
    /// None if nobody needs it.
    pub(crate) document: Option<Document>,
    pub(crate) index: OwnedIndex,
    pub(crate) times: Times,
}

/// A settle that can be accepted.
#[derive(Debug)]
pub(crate) struct Acceptable {
    pub(crate) link: Link,
    pub(crate) grant: Grant,
    pub(crate) receipt: Receipt,
    pub(crate) before: Gate,
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
            gate: Gate {
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
        let gate = Gate {
            fence: next.fence,
            step: 0,
            version: self.gate.version,
            entries: self.gate.entries + 1,
        };
        let session = next.session;
        match &request.change {
            None => Self {
                gate,
                session,
                ..self.clone()
            },
            Some(change) => Self {
                gate: Gate {
                    version: self.gate.version.next(),
                    ..gate
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
pub(crate) fn acceptable(
    request: &Settle,
    next: &Acquire,
    looked: Asker,
    holder: &Holder,
) -> Option<Acceptable> {
    let after = holder.settled(request, next);
    let facts = Facts {
        version: Some(after.gate.version),
        key: looked.key,
        lease: &LeaseState::Free,
        session_alive: looked.alive,
        now: looked.now,
    };
    let Verdict::Grant { attempt } = decide(next, facts) else {
        return None;
    };
    // A mark that was cleared binds the key, but is no progress: which that is, the facts tell.
    let entry = looked.entry.as_ref();
    if entry.is_some_and(|entry| entry.outcome == OutcomeKind::MarkCleared) {
        return None;
    }
    let granted = grant(next, &LeaseState::Free, attempt, looked.now);
    let LeaseEvent::Granted(lease, None) = granted else {
        return None;
    };
    let grant = Grant {
        fence: next.fence,
        version: after.gate.version,
        document: after.document.clone()?,
        index: after.index.clone(),
        times: after.times,
        now: looked.now,
        attempt,
        progress: match looked.key {
            KeyFacts::New => None,
            KeyFacts::Final { .. } | KeyFacts::Progress { .. } => looked.entry,
        },
    };
    let link = Link {
        settle: request.clone(),
        settled: looked.latest,
        after: after.gate,
        lease,
    };
    Some(Acceptable {
        grant,
        receipt: Receipt {
            number: after.gate.entries,
            expires: end_of(looked.latest, request.entry.retention.answer),
        },
        before: holder.gate,
        link,
        after,
    })
}
