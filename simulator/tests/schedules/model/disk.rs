//! What becomes of what was written: it is flushed, thrown away, or gone with the power.

use super::sights::Sight;
use super::state::{NODES, Run, Stage, State};
use super::system::System;

impl System {
    /// Everything is durable, and whoever has waited for that hears it.
    pub(super) fn flush(&self, state: &mut State) {
        state.durable = state.store.written.clone();
        for node in 0..NODES {
            let it = &mut state.nodes[node];
            if let Some(run) = &mut it.front {
                run.early = false;
            }
            if let Some(Run {
                stage: Stage::Accepted(request, _),
                ..
            }) = it.before.take()
            {
                self.tell(state, request);
            }
            let Some(run) = state.nodes[node].front else {
                continue;
            };
            match run.stage {
                Stage::Accepted(..) => self.tell_front(state, node),
                Stage::Hears(acquired) => self.hear_acquired(state, node, acquired),
                Stage::Failed(next) => {
                    state.nodes[node].end_front();
                    state.disown(run);
                    if let Some(acquired) = next {
                        self.hear_acquired(state, node, acquired);
                    }
                }
                Stage::Asks | Stage::Holds { .. } | Stage::Settles(_) => {}
            }
        }
    }

    /// What was written is thrown away, and with it all that was built on it. None if nothing was.
    pub(super) fn roll_back(&self, state: &mut State) -> Option<()> {
        if !state.is_dirty() {
            return None;
        }
        self.met(Sight::RolledBack);
        state.store.written = state.durable.clone();
        state.store.void();
        for node in 0..NODES {
            if let Some(run) = state.nodes[node].before.take() {
                state.disowned.insert(run.request.fence);
            }
            let Some(run) = state.nodes[node].front else {
                continue;
            };
            match run.stage {
                // It was asked again, and of the first time nobody knows.
                Stage::Accepted(request, _) if state.is_durable(request) => {}
                Stage::Asks | Stage::Holds { .. } | Stage::Settles(_) if !run.early => continue,
                _ => drop(state.disowned.insert(run.request.fence)),
            }
            state.nodes[node].end_front();
        }
        Some(())
    }

    pub(super) fn lose_power(&self, state: &mut State) {
        if state.is_dirty() {
            self.met(Sight::PowerLostBeforeFlush);
        }
        state.store.written = state.durable.clone();
        state.store.restart();
        (0..NODES).for_each(|node| state.restart(node));
    }
}
