//! What a message does in the store, watched as it happens.

use super::properties::Promise;
use super::sights::Sight;
use super::state::{Message, State};
use super::store::Lease;
use super::system::{Kind, System};
use super::words::{Acquire, Acquired, Key, Settle, Settled};

/// A store's answer to a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Acquired(Acquired),
    Settled(Settle, Settled),
    Released(Option<Acquired>),
}

impl System {
    /// A message takes effect in the store, and is watched.
    pub(super) fn arrive(&self, state: &mut State, message: Message) -> Answer {
        let before = state.store.lease;
        match message {
            Message::Acquire(request) => {
                let acquired = state.store.acquire(self.rules, request);
                self.watch_grant(state, before, request, acquired);
                Answer::Acquired(acquired)
            }
            Message::Settle(request) => {
                let settled = state.store.settle(self.rules, request);
                if let (Settled::Accepted(Some(acquired)), Some(next)) = (settled, request.next) {
                    self.watch_grant(state, None, next, acquired);
                }
                Answer::Settled(request, settled)
            }
            Message::Release(request) => {
                let released = state.store.release(self.rules, request);
                let mine = before.is_some_and(|lease| lease.fence == request.fence);
                if released.held && !mine {
                    state.broken.insert(Promise::OwnRelease);
                }
                if let (Some(acquired), Some(next)) = (released.next, request.next) {
                    self.watch_grant(state, None, next, acquired);
                }
                Answer::Released(released.next)
            }
        }
    }

    fn watch_grant(
        &self,
        state: &mut State,
        before: Option<Lease>,
        request: Acquire,
        acquired: Acquired,
    ) {
        let repeated = before.is_some_and(|lease| lease.fence == request.fence);
        if repeated || !matches!(acquired, Acquired::Granted { .. }) {
            return;
        }
        if before.is_some() {
            state.broken.insert(Promise::OneHolder);
        }
        let written = &state.store.written;
        let answered = [0, 1].map(|key| written.answer(key).is_some());
        let open = |key: Key| self.kind(key) == Kind::External && !answered[usize::from(key)];
        if answered[usize::from(request.key)] {
            state.broken.insert(Promise::AnsweredKey);
        }
        if state.outside && open(1 - request.key) {
            state.broken.insert(Promise::OpenEffect);
        }
        if state.outside && open(request.key) {
            self.met(Sight::Resumed);
        }
        if request.external {
            state.open.insert(request.fence);
        }
    }
}
