//! Recorded runs of the real lifecycle, held against the model: to every verb the model must say
//! the same word, and after every verb that may void a lease the same leases and marks must stand.

use std::collections::BTreeMap;
use std::fmt::Debug;

use orderlock_core::store::{
    Acquire, BreakLease, Decision, Join, Loss, MarkFate, Release, Renew, Resolve, Settle, Undo,
};
use orderlock_core::{
    Fence, Fingerprint, KeyId, LeaseId, LeaseView, LeaseViewState, SessionId, Target, Version,
};
use orderlock_simulator::{Event, SettleWord, Word};

use crate::model::rules::Rules;
use crate::model::store::Store;
use crate::model::words;
use crate::numbers::{Numbers, narrow};

/// The first verb to which the model says another word, and both words.
pub(crate) fn refusal(events: &[Event]) -> Option<String> {
    let mut replay = Replay::default();
    let mut events = events.iter().enumerate();
    events.find_map(|(at, event)| {
        let refused = replay.replay(event).err()?;
        Some(format!(
            "the model refuses event {at}: {refused}\n{event:?}"
        ))
    })
}

/// The model in the place of the store. A recorded order is one model of its own.
#[derive(Default)]
struct Replay {
    now: Orders,
    /// As it was when the flush that is awaited began.
    saved: Orders,
    names: Numbers<String>,
    sessions: Numbers<SessionId>,
    fences: Numbers<Fence>,
    keys: Numbers<KeyId>,
    prints: Numbers<Fingerprint>,
}

#[derive(Clone, Default)]
struct Orders {
    orders: BTreeMap<Target, Store>,
    /// An order that nobody has touched: it knows the sessions.
    new: Store,
}

/// What the model says, if it is not what the store said.
type Agreed = Result<(), String>;

fn agree<T: PartialEq + Debug>(store: &T, model: &T) -> Agreed {
    if store == model {
        Ok(())
    } else {
        Err(format!("the store says {store:?}, the model {model:?}"))
    }
}

impl Replay {
    fn replay(&mut self, event: &Event) -> Agreed {
        match event {
            Event::Created(target) => {
                let mut order = self.now.new.clone();
                order.written.version = number(Version::FIRST);
                let before = self.now.orders.insert(target.clone(), order);
                return agree(&false, &before.is_some());
            }
            Event::Joined(request) => self.join(request),
            Event::Renewed(request, extended) => return self.renew(request, *extended),
            Event::Left(request) => self.end_session(request.session),
            Event::Swept(ended) => ended.iter().for_each(|session| self.end_session(*session)),
            Event::Acquired(request, word) => return self.acquire(request, *word),
            Event::Settled(request, word, next) => return self.settle(request, *word, *next),
            Event::Released(request, held, next) => return self.release(request, *held, *next),
            Event::Undone(request, held, next) => return self.undo(request, *held, *next),
            Event::Broken(request, broken) => return self.break_lease(request, *broken),
            Event::Resolved(request, resolved) => return self.resolve(request, *resolved),
            Event::VoidedAll => self.now.each(Store::void),
            Event::Restarted => self.now.each(Store::restart),
            Event::Saved => self.saved = self.now.clone(),
            Event::WentBack => self.now = self.saved.clone(),
            Event::Stand(leases) => return self.stand(leases),
        }
        Ok(())
    }

    fn join(&mut self, request: &Join) {
        let name = self.names.number(&request.node);
        let session = self.sessions.number(&request.session);
        self.now.each(|order| order.join(name, session));
    }

    fn renew(&mut self, request: &Renew, extended: bool) -> Agreed {
        let session = self.sessions.number(&request.session);
        let known = request.known.iter();
        let known: Vec<_> = known.map(|fence| self.fences.number(fence)).collect();
        let mut alive = false;
        let renew = |order: &mut Store| alive = order.renew(Rules::ALL, session, &known);
        self.now.each(renew);
        agree(&extended, &alive)
    }

    fn end_session(&mut self, session: SessionId) {
        let session = self.sessions.number(&session);
        self.now.each(|order| order.end_session(session));
    }

    fn acquire(&mut self, request: &Acquire, word: Word) -> Agreed {
        let asked = self.asked(request, word);
        let Some(order) = self.now.orders.get_mut(&request.claim.target()) else {
            return agree(&word, &Word::NotFound);
        };
        same(word, order.acquire(Rules::ALL, asked))
    }

    fn settle(&mut self, request: &Settle, word: SettleWord, next: Option<Word>) -> Agreed {
        let claim = &request.claim;
        // What was not heard may have been anything.
        let heard = next.unwrap_or(Word::Held);
        let then = request.next().map(|next| self.asked(next, heard));
        let asked = words::Settle {
            key: self.keys.number(&claim.key_id),
            print: self.prints.number(&claim.fingerprint),
            fence: self.fences.number(&request.fence),
            step: narrow(request.step),
            version: number(request.version),
            changes: request.change().is_some(),
            keeps: !request.is_final(),
            next: then,
        };
        let Some(order) = self.now.orders.get_mut(&claim.target()) else {
            return agree(&word, &SettleWord::Lost(Loss::NotHeld));
        };
        if word == SettleWord::Impossible {
            let would = order.clone().settle(Rules::ALL, asked);
            order.release(Rules::ALL, releasing(asked));
            return match would {
                words::Settled::Accepted(_) => Ok(()),
                words::Settled::Lost(_) => agree(&format!("{word:?}"), &format!("{would:?}")),
            };
        }
        match order.settle(Rules::ALL, asked) {
            words::Settled::Accepted(then) => {
                agree(&word, &SettleWord::Accepted)?;
                same_next(next, then)
            }
            words::Settled::Lost(loss) => agree(&word, &SettleWord::Lost(lost(loss))),
        }
    }

    fn release(&mut self, request: &Release, held: bool, next: Option<Word>) -> Agreed {
        let then = request.next.as_ref();
        let then = then.map(|request| self.asked(request, next.unwrap_or(Word::Held)));
        let asked = words::Release {
            fence: self.fences.number(&request.fence),
            key: 0,
            clear: request.mark == MarkFate::Clear,
            undo: false,
            next: then,
        };
        self.let_go(&request.target, asked, held, next)
    }

    fn undo(&mut self, request: &Undo, held: bool, next: Option<Word>) -> Agreed {
        let then = request.next.as_ref();
        let then = then.map(|request| self.asked(request, next.unwrap_or(Word::Held)));
        let asked = words::Release {
            fence: self.fences.number(&request.fence),
            key: 0,
            clear: false,
            undo: true,
            next: then,
        };
        self.let_go(&request.target, asked, held, next)
    }

    fn let_go(
        &mut self,
        target: &Target,
        asked: words::Release,
        held: bool,
        next: Option<Word>,
    ) -> Agreed {
        let Some(order) = self.now.orders.get_mut(target) else {
            return agree(&held, &false);
        };
        let released = order.release(Rules::ALL, asked);
        agree(&held, &released.held)?;
        same_next(next, released.next)
    }

    fn break_lease(&mut self, request: &BreakLease, broken: bool) -> Agreed {
        let named = request.lease.grant().map(|(fence, _)| fence);
        let fence = named.and_then(|named| self.fences.find(|fence| *fence == named));
        let mut orders = self.now.orders.values_mut();
        let broke = fence.is_some_and(|fence| orders.any(|order| order.break_lease(fence)));
        agree(&broken, &broke)
    }

    fn resolve(&mut self, request: &Resolve, resolved: bool) -> Agreed {
        let settles = match &request.decision {
            Decision::RunAgain { .. } => None,
            Decision::Settle { version, end, .. } => {
                Some((number(*version), end.outcome.change().is_some()))
            }
        };
        let asked = words::Resolve {
            key: self.keys.number(&request.key_id),
            settles,
        };
        let order = self.now.orders.get_mut(&request.target);
        let done = order.is_some_and(|order| order.resolve(asked));
        agree(&resolved, &done)
    }

    /// Whether these leases and marks stand in the model too, and no others.
    fn stand(&self, leases: &[LeaseView]) -> Agreed {
        for (target, order) in &self.now.orders {
            let store = leases.iter().find(|lease| lease.target == *target);
            let held = store.filter(|lease| lease.state == LeaseViewState::Held);
            let held = held.map(|lease| lease.id.clone());
            let model = order
                .lease
                .map(|lease| LeaseId::of_grant(self.fences.of(lease.fence), &target.order));
            agree(&held, &model)?;
            let marked = store.filter(|lease| lease.state == LeaseViewState::Marked);
            let marked = marked.and_then(|lease| lease.key_id);
            let open = order.written.mark.filter(|_| order.lease.is_none());
            agree(&marked, &open.map(|mark| self.keys.of(mark.key)))?;
        }
        Ok(())
    }

    /// An `acquire` in the model's words. How often a mark may be resumed, and for how long, the
    /// model does not know: there it takes the store's word.
    fn asked(&mut self, request: &Acquire, word: Word) -> words::Acquire {
        words::Acquire {
            key: self.keys.number(&request.claim.key_id),
            print: self.prints.number(&request.claim.fingerprint),
            fence: self.fences.number(&request.fence),
            session: self.sessions.number(&request.session),
            expected: request.expected.map(number),
            external: request.mark.is_some(),
            resumes: word != Word::Marked,
            blind: false,
        }
    }
}

impl Orders {
    fn each(&mut self, mut verb: impl FnMut(&mut Store)) {
        self.orders.values_mut().for_each(&mut verb);
        verb(&mut self.new);
    }
}

/// A settle that can never be stored ends the lease, and the mark stays.
fn releasing(request: words::Settle) -> words::Release {
    words::Release {
        fence: request.fence,
        key: request.key,
        clear: false,
        undo: false,
        next: None,
    }
}

fn same_next(store: Option<Word>, model: Option<words::Acquired>) -> Agreed {
    match (store, model) {
        (Some(word), Some(acquired)) => same(word, acquired),
        (store, model) => agree(&store.is_some(), &model.is_some()),
    }
}

fn same(store: Word, model: words::Acquired) -> Agreed {
    let same = match model {
        words::Acquired::Granted { version, progress } => {
            let version = Version(version.into());
            store == Word::Granted { version, progress }
        }
        // The model keeps answers for ever.
        words::Acquired::Settled(_) => matches!(store, Word::Settled | Word::Expired),
        words::Acquired::Reused => store == Word::Reused,
        words::Acquired::InProgress => store == Word::InProgress,
        words::Acquired::Held => store == Word::Held,
        words::Acquired::Marked => store == Word::Marked,
        words::Acquired::VersionMismatch => store == Word::VersionMismatch,
        words::Acquired::SessionEnded => store == Word::SessionEnded,
    };
    if same {
        return Ok(());
    }
    Err(format!("the store says {store:?}, the model {model:?}"))
}

fn lost(loss: words::Loss) -> Loss {
    match loss {
        words::Loss::NotHeld => Loss::NotHeld,
        words::Loss::KeySettled => Loss::KeySettled,
        words::Loss::VersionMoved => Loss::VersionMoved,
    }
}

fn number(version: Version) -> u16 {
    narrow(version.0)
}
