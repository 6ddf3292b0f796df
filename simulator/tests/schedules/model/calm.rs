//! What must come of every state once nothing goes wrong any more.

use super::action::{Action, Fate, Outcome};
use super::sights::Sights;
use super::state::{KEYS, NODES, Stage, State};
use super::store::Entry;
use super::system::{Bounds, System};

/// More steps than any run takes to its end.
const STEPS_MAX: usize = 8;

impl System {
    /// The faults stop and every node runs: then the order comes free, and every key that is asked
    /// for gets one answer, by one effect.
    pub(super) fn comes_to_rest(&self, state: &State) -> bool {
        let system = Self {
            bounds: Bounds {
                runs: u16::MAX,
                ..self.bounds
            },
            sights: Sights::default(),
            ..self.clone()
        };
        let mut state = state.clone();
        while let Some(message) = state.late.pop_first() {
            system.arrive(&mut state, message);
        }
        system.go_on_until(&mut state, |state| {
            let idle = state.nodes.iter().all(|node| node.front.is_none());
            idle && state.store.lease.is_none()
        });
        let free = state.store.lease.is_none();
        free && (0..KEYS).all(|key| system.asked_again(&mut state, key).is_some())
    }

    /// Each node does the next thing and everything is flushed, again and again.
    fn go_on_until(&self, state: &mut State, done: impl Fn(&State) -> bool) {
        for _ in 0..STEPS_MAX {
            if done(state) {
                break;
            }
            for node in 0..NODES {
                self.go_on(state, node);
                self.renew(state, node);
            }
            self.flush(state);
        }
    }

    fn go_on(&self, state: &mut State, node: usize) {
        let Some(run) = state.nodes[node].front else {
            return;
        };
        let (outcome, fate) = (Outcome::Applied, Fate::Answered);
        let action = match run.stage {
            Stage::Asks | Stage::Settles(_) => Action::Repeat { node },
            Stage::Holds { .. } => Action::Settle {
                node,
                outcome,
                fate,
            },
            Stage::Hears(_) | Stage::Accepted(..) | Stage::Failed(_) => return,
        };
        self.step(state, action);
    }

    /// What a key's client is told when it asks once more. Marks are decided about before.
    fn asked_again(&self, state: &mut State, key: u16) -> Option<Entry> {
        self.step(state, Action::Resolve { settles: false });
        let (node, fate) = (0, Fate::Answered);
        self.step(state, Action::Acquire { node, key, fate })?;
        self.go_on_until(state, |state| state.is_told(key) && !state.is_dirty());
        state.told[usize::from(key)].filter(|_| state.broken.is_empty())
    }
}
