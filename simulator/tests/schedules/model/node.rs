//! What a node says to its store.

use super::action::{Fate, Outcome};
use super::sights::Sight;
use super::state::{Message, Run, Stage, State};
use super::system::System;
use super::words::{Acquire, Key, Release, Settle};

impl System {
    pub(super) fn acquire(
        &self,
        state: &mut State,
        node: usize,
        key: Key,
        fate: Fate,
    ) -> Option<()> {
        let request = self.request(state, node, key);
        state.nodes[node].front = Some(Run::new(request));
        self.send(state, node, Message::Acquire(request), fate)
    }

    pub(super) fn repeat(&self, state: &mut State, node: usize) -> Option<()> {
        let session = state.nodes[node].session;
        let run = state.nodes[node].front.as_mut()?;
        let message = match run.stage {
            Stage::Asks => {
                run.request.session = session;
                Message::Acquire(run.request)
            }
            Stage::Settles(request) => Message::Settle(request),
            _ => return None,
        };
        self.send(state, node, message, Fate::Answered)
    }

    pub(super) fn settle(
        &self,
        state: &mut State,
        node: usize,
        outcome: Outcome,
        fate: Fate,
    ) -> Option<()> {
        let request = self.settling(state, node, outcome)?;
        state.nodes[node].front.as_mut()?.stage = Stage::Settles(request);
        self.send(state, node, Message::Settle(request), fate)
    }

    /// The handler has failed, or nothing was heard of its grant.
    pub(super) fn release(
        &self,
        state: &mut State,
        node: usize,
        clear: bool,
        fate: Fate,
    ) -> Option<()> {
        let request = self.releasing(state, node, clear)?;
        if clear {
            state.decide();
        }
        self.fail_front(state, node);
        self.send(state, node, Message::Release(request), fate)
    }

    pub(super) fn renew(&self, state: &mut State, node: usize) {
        let it = &state.nodes[node];
        let known: Vec<_> = it.runs().map(|run| run.request.fence).collect();
        let held = state.store.lease.is_some();
        if !state.store.renew(self.rules, it.session, &known) {
            state.join(node);
        } else if held && state.store.lease.is_none() {
            self.met(Sight::UnknownVoided);
        }
    }

    /// Sends a message, as well as its fate lets it come.
    fn send(&self, state: &mut State, node: usize, message: Message, fate: Fate) -> Option<()> {
        if fate != Fate::Answered {
            self.fault(state)?;
        }
        if matches!(fate, Fate::Late | Fate::Twice) {
            state.spent.late += 1;
            state.late.insert(message);
            if state.spent.late > self.bounds.late {
                return None;
            }
        }
        if fate == Fate::Late {
            return Some(());
        }
        let answer = self.arrive(state, message);
        if fate != Fate::AnswerLost {
            self.hear(state, node, answer);
        }
        Some(())
    }

    /// The words with which the run at the front lets go.
    pub(super) fn releasing(&self, state: &State, node: usize, clear: bool) -> Option<Release> {
        let run = state.nodes[node].front?;
        Some(Release {
            fence: run.request.fence,
            key: run.request.key,
            clear,
            undo: run.stage == Stage::Asks,
            next: next(state, node),
        })
    }

    /// The words with which it settles.
    fn settling(&self, state: &State, node: usize, outcome: Outcome) -> Option<Settle> {
        let run = state.nodes[node].front?;
        let Stage::Holds { version, step, .. } = run.stage else {
            return None;
        };
        let keeps = outcome == Outcome::Checkpoint;
        Some(Settle {
            key: run.request.key,
            print: run.request.print,
            fence: run.request.fence,
            step,
            version,
            changes: outcome != Outcome::Refused,
            keeps,
            next: next(state, node).filter(|_| !keeps),
        })
    }
}

/// What is asked for the next in line by the one that lets go.
fn next(state: &State, node: usize) -> Option<Acquire> {
    let it = &state.nodes[node];
    let request = it.behind?.request;
    let session = it.session;
    Some(Acquire { session, ..request })
}
