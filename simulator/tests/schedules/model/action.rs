//! What may happen next. The names are those of the code.

use super::state::{KEYS, Message, NODES, Run, Stage, State};
use super::system::{Kind, System};
use super::words::Key;

/// One step of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A node begins a run of a key.
    Acquire { node: usize, key: Key, fate: Fate },
    /// A run of another key stands in line behind it.
    Wait { node: usize, key: Key },
    /// The node asks again, in the same words.
    Repeat { node: usize },
    /// The handler returns, or makes a checkpoint.
    Settle {
        node: usize,
        outcome: Outcome,
        fate: Fate,
    },
    /// The handler fails, or a grant of which nothing was heard is undone.
    Release {
        node: usize,
        clear: bool,
        fate: Fate,
    },
    /// The client is told that nobody knows what became of its settle.
    GiveUp { node: usize },
    /// A session is renewed; if it has ended, the node joins under another.
    Renew { node: usize },
    /// The session of a node that stands still is ended. Whatever the node does next, it does as
    /// one that was paused and goes on.
    Sweep { node: usize },
    /// A node dies, and starts again under its name.
    Kill { node: usize },
    /// Something comes to the store that nobody waits for.
    Deliver { message: Message },
    /// The lease is void, for no reason.
    VoidAll,
    /// What was written is durable.
    Flush,
    /// A flush fails, and that is known: what was written since the last one is thrown away.
    RollBack,
    /// Every process dies, and what was not flushed is gone.
    PowerLoss,
    /// An operator ends the mark: the key may run again, or is settled.
    Resolve { settles: bool },
}

/// What becomes of a message and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    AnswerLost,
    /// It comes to the store at any later time, and is never answered.
    Late,
    /// It comes to the store now and is answered, and comes once more at any later time.
    Twice,
}

impl Fate {
    const ALL: [Self; 4] = [Self::Answered, Self::AnswerLost, Self::Late, Self::Twice];
    /// Where nothing follows from the answer.
    const UNHEARD: [Self; 3] = [Self::Answered, Self::Late, Self::Twice];
}

/// What a handler returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Applied,
    Refused,
    Checkpoint,
}

impl System {
    /// What may happen now. Some of it turns out to be impossible, or beyond its bound.
    pub(super) fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        for node in 0..NODES {
            self.go_on_with(state, node, actions);
            actions.extend([Action::Sweep { node }, Action::Kill { node }]);
            if renewal_matters(state, node) {
                actions.push(Action::Renew { node });
            }
        }
        let late = state.late.iter();
        actions.extend(late.map(|message| Action::Deliver { message: *message }));
        actions.extend([Action::VoidAll, Action::Flush]);
        actions.extend([Action::RollBack, Action::PowerLoss]);
        actions.extend([false, true].map(|settles| Action::Resolve { settles }));
    }

    /// What a node may do with its requests.
    fn go_on_with(&self, state: &State, node: usize, actions: &mut Vec<Action>) {
        let Some(run) = state.nodes[node].front else {
            for key in self.open_keys(state, node) {
                let acquires = Fate::ALL.map(|fate| Action::Acquire { node, key, fate });
                actions.extend(acquires);
            }
            return;
        };
        match run.stage {
            Stage::Asks => {
                let clear = false;
                let releases = Fate::UNHEARD.map(|fate| Action::Release { node, clear, fate });
                actions.push(Action::Repeat { node });
                actions.extend(releases);
            }
            Stage::Settles(_) => actions.extend([Action::Repeat { node }, Action::GiveUp { node }]),
            Stage::Holds { .. } => self.end_handler(state, node, run, actions),
            Stage::Hears(_) | Stage::Accepted(..) | Stage::Failed(_) => {}
        }
    }

    /// What a handler that runs may come to.
    fn end_handler(&self, state: &State, node: usize, run: Run, actions: &mut Vec<Action>) {
        let mut outcomes = vec![Outcome::Applied, Outcome::Refused];
        if self.may_make_checkpoint(run) {
            outcomes.push(Outcome::Checkpoint);
        }
        for outcome in outcomes {
            let settles = Fate::ALL.map(|fate| Action::Settle {
                node,
                outcome,
                fate,
            });
            actions.extend(settles);
        }
        let external = self.kind(run.request.key) == Kind::External;
        let alone = state.nodes[node].behind.is_none();
        let fates = if alone {
            Fate::UNHEARD.as_slice()
        } else {
            &Fate::ALL
        };
        for clear in [false, true].into_iter().take(1 + usize::from(external)) {
            let fates = fates.iter();
            let releases = fates.map(|&fate| Action::Release { node, clear, fate });
            actions.extend(releases);
        }
        if self.lines && alone {
            let keys = self.open_keys(state, node).into_iter();
            actions.extend(keys.map(|key| Action::Wait { node, key }));
        }
    }

    fn may_make_checkpoint(&self, run: Run) -> bool {
        let begun = matches!(
            run.stage,
            Stage::Holds {
                step: 0,
                progress: false,
                ..
            }
        );
        self.checkpoints && run.request.key == 0 && begun
    }

    /// The keys that a client of this node may ask for.
    fn open_keys(&self, state: &State, node: usize) -> Vec<Key> {
        let spent = state.spent.runs;
        // The nodes are alike: the first run is the first node's. So may be the keys.
        let alike = self.kinds[0] == self.kinds[1] && !self.checkpoints;
        let keys = match spent {
            0 if node > 0 => 0..0,
            0 if alike => 0..1,
            _ if spent >= self.bounds.runs => 0..0,
            _ => 0..KEYS,
        };
        let it = &state.nodes[node];
        let runs = |key| it.runs().any(|run| run.request.key == key);
        keys.filter(|key| !state.is_told(*key) && !runs(*key))
            .collect()
    }
}

/// Whether a renewal has anything to tell: the session has ended, or the node does not know its
/// own grant.
fn renewal_matters(state: &State, node: usize) -> bool {
    let it = &state.nodes[node];
    let knows = |fence| it.runs().any(|run| run.request.fence == fence);
    let lease = state
        .store
        .lease
        .filter(|lease| lease.session == it.session);
    !state.store.is_alive(it.session) || lease.is_some_and(|lease| !knows(lease.fence))
}
