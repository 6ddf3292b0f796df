//! The system that is explored: two nodes, their store, and how much may happen to them.

use stateright::{Model, Property};

use super::action::Action;
use super::rules::{Rule, Rules};
use super::sights::{Sight, Sights};
use super::state::{KEYS, NODES, Run, State};
use super::words::{Acquire, Key, Resolve};

#[derive(Clone, Debug)]
pub(crate) struct System {
    pub(crate) rules: Rules,
    pub(crate) bounds: Bounds,
    /// What each key's operation may do.
    pub(crate) kinds: [Kind; KEYS as usize],
    /// Whether the first key's handler may make a checkpoint.
    pub(crate) checkpoints: bool,
    /// Whether requests wait in line for a hand-over.
    pub(crate) lines: bool,
    pub(crate) sights: Sights,
}

/// How much may happen in one run; together they bound the states.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Runs of handlers: each takes a fence.
    pub(crate) runs: u16,
    /// Whatever goes wrong.
    pub(crate) faults: u8,
    /// Of these, messages that come to the store late, or once more.
    pub(crate) late: u8,
}

/// What an operation may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Touches nothing but the order.
    Pure,
    Plain,
    /// Calls the outside, and may run again under its mark.
    External,
}

impl Model for System {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = State::default();
        (0..NODES).for_each(|node| state.join(node));
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.possible(state, actions);
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        self.step(&mut state, action)?;
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        super::properties::all()
    }
}

impl System {
    /// None if the action is not possible, or beyond its bound.
    pub(super) fn step(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Acquire { node, key, fate } => self.acquire(state, node, key, fate)?,
            Action::Wait { node, key } => {
                let request = self.request(state, node, key);
                state.nodes[node].behind = Some(Run::new(request));
            }
            Action::Repeat { node } => self.repeat(state, node)?,
            Action::Settle {
                node,
                outcome,
                fate,
            } => self.settle(state, node, outcome, fate)?,
            Action::Release { node, clear, fate } => self.release(state, node, clear, fate)?,
            Action::GiveUp { node } => state.nodes[node].end_front(),
            Action::Renew { node } => self.renew(state, node),
            Action::Sweep { node } => {
                self.fault(state)?;
                let session = state.nodes[node].session;
                state.store.end_session(session);
            }
            Action::Kill { node } => {
                self.fault(state)?;
                state.restart(node);
            }
            Action::Deliver { message } => {
                state.late.remove(&message);
                self.arrive(state, message);
            }
            Action::VoidAll => {
                self.fault(state)?;
                state.store.void();
            }
            Action::Flush => self.flush(state),
            Action::RollBack => {
                self.fault(state)?;
                self.roll_back(state)?;
            }
            Action::PowerLoss => {
                self.fault(state)?;
                self.lose_power(state);
            }
            Action::Resolve { settles } => self.resolve(state, settles)?,
        }
        Some(())
    }

    pub(super) fn kind(&self, key: Key) -> Kind {
        self.kinds[usize::from(key)]
    }

    /// Something goes wrong, if that is within the bound.
    pub(super) fn fault(&self, state: &mut State) -> Option<()> {
        state.spent.faults += 1;
        (state.spent.faults <= self.bounds.faults).then_some(())
    }

    pub(super) fn met(&self, sight: Sight) {
        self.sights.count(sight);
    }

    /// A client asks a node for a run of a key.
    pub(super) fn request(&self, state: &mut State, node: usize, key: Key) -> Acquire {
        let fence = state.spent.runs;
        state.spent.runs += 1;
        let external = self.kind(key) == Kind::External;
        let looks_early = !self.rules.keep(Rule::GrantLooksKeyUp);
        Acquire {
            key,
            print: key,
            fence,
            session: state.nodes[node].session,
            expected: None,
            external,
            resumes: external,
            blind: looks_early && state.store.written.answer(key).is_none(),
        }
    }

    fn resolve(&self, state: &mut State, settles: bool) -> Option<()> {
        let written = &state.store.written;
        let request = Resolve {
            key: written.mark?.key,
            settles: settles.then_some((written.version, true)),
        };
        if !state.store.resolve(request) {
            return None;
        }
        state.decide();
        self.met(Sight::Resolved);
        Some(())
    }
}
