//! Who holds an order, and which marks are open.

use jiff::Timestamp;
use orderlock_core::store::{
    About, Acquire, Acquired, BreakLease, Broken, Decision, Entry, Facts, Grant, Granted, Leases,
    MarkFate, Page, Release, Released, Resolve, Resolved, Retention, Undo, Verdict, decide,
};
use orderlock_core::{KeyId, LeaseEvent, LeaseState, LeaseView, OutcomeKind, StoreError, Target};

use super::journal::Word;
use super::state::{BrokenGrant, State, page, place};

impl State {
    pub(super) fn acquire(&mut self, request: &Acquire, now: Timestamp) -> Acquired {
        let target = request.claim.target();
        let word = self.word(&target, request.claim.key_id);
        let order = self.orders.get(&target);
        let lease = order.map_or(&LeaseState::Free, |order| &order.lock);
        let facts = Facts {
            version: order.map(|order| order.version),
            key: Word::facts(word.as_ref(), now),
            lease,
            session_alive: self.sessions.contains_key(&request.session),
            now,
        };
        match decide(request, facts) {
            Verdict::Answer(answer) => answer,
            Verdict::Replay => match word {
                Some(Word::Final(record)) => Acquired::Settled(Box::new(record.shown(now))),
                Some(Word::Progress(_)) | None => Acquired::NotFound,
            },
            Verdict::Repeat => self.granted(&target, now),
            Verdict::Grant(granted) => {
                self.grant(&target, *granted);
                self.granted(&target, now)
            }
        }
    }

    fn grant(&mut self, target: &Target, granted: Granted) {
        let event = self.next_event();
        if let Some(order) = self.orders.get_mut(target) {
            order.granted_event = event;
        }
        self.step(target, granted.into())
            .expect("the verdict grants what is free, or marked by the same key");
    }

    /// The grant that holds the order now.
    fn granted(&self, target: &Target, now: Timestamp) -> Acquired {
        let order = self.orders.get(target);
        let Some((order, lease)) = order.and_then(|order| Some((order, order.lock.lease()?)))
        else {
            return Acquired::NotFound;
        };
        let progress = match self.word(target, lease.key_id) {
            // What this very run has done is no news to it.
            Some(Word::Progress(_)) => self
                .checkpoint(target, lease.key_id)
                .filter(|record| record.entry.attempt < lease.attempt)
                .map(|record| Box::new(record.shown(now))),
            Some(Word::Final(_)) | None => None,
        };
        Acquired::Granted(Box::new(Grant {
            fence: lease.fence,
            version: order.version,
            document: order.document.clone(),
            index: order.index.clone(),
            times: order.times,
            now: lease.since,
            attempt: lease.attempt,
            progress,
        }))
    }

    pub(super) fn release(&mut self, request: &Release, now: Timestamp) -> Released {
        let event = match request.mark {
            MarkFate::Keep => LeaseEvent::Released(request.fence),
            MarkFate::Clear => LeaseEvent::ReleasedWithoutEffect(request.fence),
        };
        self.let_go(&request.target, event, request.next.as_deref(), now)
    }

    pub(super) fn undo(&mut self, request: &Undo, now: Timestamp) -> Released {
        let event = LeaseEvent::Undone(request.fence);
        self.let_go(&request.target, event, request.next.as_deref(), now)
    }

    fn let_go(
        &mut self,
        target: &Target,
        event: LeaseEvent,
        next: Option<&Acquire>,
        now: Timestamp,
    ) -> Released {
        if self.step(target, event).is_err() {
            return Released {
                held: false,
                next: None,
            };
        }
        let next = next.map(|next| self.acquire(next, now));
        self.hint(target);
        Released { held: true, next }
    }

    pub(super) fn leases(&self, request: &Leases) -> Result<Page<LeaseView>, StoreError> {
        let after = place('l', request.cursor.as_ref())?.unwrap_or(0);
        let leases = self
            .by_serial(&request.tenant)
            .into_iter()
            .filter(|(serial, _)| *serial > after)
            .filter_map(|(serial, view)| Some((serial, view.lease?)));
        Ok(page('l', leases, request.limit))
    }

    pub(super) fn break_lease(&mut self, request: BreakLease, now: Timestamp) -> Broken {
        let found = self.orders.iter().find_map(|(target, order)| {
            let lease = order.lock.lease()?;
            let view = lease.view(target);
            let meant = target.tenant == request.tenant && view.id == request.lease;
            meant.then(|| (lease.clone(), view))
        });
        let Some((lease, view)) = found else {
            return Broken::NotFound;
        };
        self.step(&view.target, LeaseEvent::Voided(lease.fence))
            .expect("the lease was found there");
        if let Some(session) = self.sessions.get_mut(&lease.session) {
            session.broken.push(BrokenGrant {
                fence: lease.fence,
                unknown: false,
            });
        }
        let entry = Entry::of_act(
            &view.target,
            About::from(&lease),
            OutcomeKind::LeaseBroken,
            request.actor,
            Some(request.reason),
            now,
        );
        self.append(entry, Retention::NONE);
        self.hint(&view.target);
        Broken::Broken(view)
    }

    pub(super) fn resolve(&mut self, request: Resolve, now: Timestamp) -> Resolved {
        let target = request.target.clone();
        let Some(order) = self.orders.get(&target) else {
            return Resolved::NotMarked;
        };
        let LeaseState::Unattended(mark) = &order.lock else {
            return Resolved::NotMarked;
        };
        if !request.is_about(mark) {
            return Resolved::NotMarked;
        }
        let about = About::from(mark);
        let current = order.version;
        let (actor, reason) = (request.actor, Some(request.reason));
        let receipt = match request.decision {
            Decision::RunAgain { retention } => {
                self.unmark(&target, request.key_id);
                let cleared = OutcomeKind::MarkCleared;
                let entry = Entry::of_act(&target, about, cleared, actor, reason, now);
                self.append(entry, retention)
            }
            Decision::Settle { version, .. } if version != current => {
                return Resolved::VersionMismatch { current };
            }
            Decision::Settle { end, retention, .. } => {
                self.unmark(&target, request.key_id);
                let outcome = end.outcome.kind();
                let mut entry = Entry::of_act(&target, about, outcome, actor, reason, now);
                entry.answer = Some(end.answer);
                if let Some(change) = end.outcome.change() {
                    self.change(&target, change);
                    entry.change = Some(change.after.clone());
                }
                self.append(entry, retention)
            }
        };
        self.hint(&target);
        Resolved::Resolved(receipt)
    }

    fn unmark(&mut self, target: &Target, key_id: KeyId) {
        self.step(target, LeaseEvent::Resolved(key_id))
            .expect("the mark was found there");
    }
}
