//! What must hold in every state, and what must be met in some.

use stateright::Property;

use super::state::{KEYS, State};
use super::system::System;

/// What the lock promises, as far as the model can break it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Promise {
    /// At most one grant holds the order.
    OneHolder,
    /// A key takes effect once, and so does its checkpoint.
    OneEffect,
    /// A key that is answered is not run again.
    AnsweredKey,
    /// A client is told one answer, for ever.
    OneAnswer,
    /// What a client was told survives power loss.
    ToldIsDurable,
    /// Each change is made on what was there before it.
    NoStaleWrite,
    /// What a client was told has changed nothing, never does.
    Disowned,
    /// Nobody else is let in while an effect outside is open.
    OpenEffect,
    /// A release ends no grant but its own.
    OwnRelease,
    /// Nothing that rests on what is not durable is told, or done outside.
    Ground,
    /// When the faults stop the order comes free, and every key gets its answer.
    NeverStuck,
}

impl Promise {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OneHolder => "at most one grant holds the order",
            Self::OneEffect => "a key takes effect once",
            Self::AnsweredKey => "a key that is answered is not run again",
            Self::OneAnswer => "a client is told one answer for ever",
            Self::ToldIsDurable => "what was told is durable",
            Self::NoStaleWrite => "each change is made on the one before it",
            Self::Disowned => "what was told to have changed nothing never does",
            Self::OpenEffect => "nobody else is let in while an effect outside is open",
            Self::OwnRelease => "a release ends no grant but its own",
            Self::Ground => "nothing comes of what is not durable",
            Self::NeverStuck => "the order comes free and every key gets its answer",
        }
    }
}

/// Nothing has broken a promise on the way, and nothing in the state does.
macro_rules! always {
    ($promise:ident) => {
        always!($promise, |_, _| true)
    };
    ($promise:ident, $holds:expr) => {
        Property::always(
            Promise::$promise.name(),
            |system: &System, state: &State| {
                let holds: fn(&System, &State) -> bool = $holds;
                !state.broken.contains(&Promise::$promise) && holds(system, state)
            },
        )
    };
}

pub(super) fn all() -> Vec<Property<System>> {
    vec![
        always!(OneHolder),
        always!(OneEffect, |_, state| {
            (0..KEYS).all(|key| takes_effect_once(state, key))
        }),
        always!(AnsweredKey),
        always!(OneAnswer),
        always!(ToldIsDurable, |_, state| told_is_durable(state)),
        always!(NoStaleWrite, |_, state| no_stale_write(state)),
        always!(Disowned, |_, state| disowned_is_not_applied(state)),
        always!(OpenEffect),
        always!(OwnRelease),
        always!(Ground),
        always!(NeverStuck, System::comes_to_rest),
    ]
}

fn takes_effect_once(state: &State, key: u16) -> bool {
    let entries = || {
        let journal = state.store.written.journal.iter();
        journal.filter(move |entry| entry.key == key)
    };
    let answers = entries().filter(|entry| entry.last);
    let checkpoints = entries().filter(|entry| !entry.last && entry.by.is_some());
    answers.count() <= 1 && checkpoints.count() <= 1
}

fn told_is_durable(state: &State) -> bool {
    let mut told = state.told.iter().flatten();
    told.all(|entry| entry.last && state.durable.journal.contains(entry))
}

fn disowned_is_not_applied(state: &State) -> bool {
    let mut answers = state.store.written.journal.iter().filter(|it| it.last);
    answers.all(|entry| {
        entry
            .by
            .is_none_or(|(fence, _)| !state.disowned.contains(&fence))
    })
}

fn no_stale_write(state: &State) -> bool {
    let mut version = 0;
    state.store.written.journal.iter().all(|entry| {
        let follows = entry.base == version;
        version += u16::from(entry.changes);
        follows
    })
}
