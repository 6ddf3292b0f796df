//! A named change of one order, and what running it again may do.

use std::time::Duration;

use crate::text::{shown, text_type};

text_type! {
    /// The name of an operation, part of every fingerprint: 1 to 64 letters, digits, `-` and `_`.
    OperationName, "an operation name", max 64, |c| c.is_ascii_alphanumeric() || c == '-' || c == '_'
}
shown!(OperationName);

/// What the node that finds an external operation begun and unattended may do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// The client's retry runs it again, with the same derived keys.
    Resume {
        /// How many runs in all.
        times: u32,
        /// How long after the first run began.
        within: Duration,
    },
    /// Only a resolution ends it.
    Reconcile,
}

/// What running an operation again may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effect {
    /// It touches nothing but the order: a run may be thrown away and made again at will.
    Pure,
    /// Nothing is known: a failed attempt leaves no trace, and a retry runs it again.
    #[default]
    Plain,
    /// It calls the outside: a durable mark stands before the handler runs.
    External(Recovery),
}

/// A named change of one order.
///
/// ```
/// use orderlock_core::Operation;
/// let cancel = Operation::named("cancel");
/// let note = Operation::named("add-note").pure();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub(crate) name: OperationName,
    pub(crate) effect: Effect,
    pub(crate) stores_refusals: bool,
}

impl Operation {
    /// An operation of which nothing is known but its name.
    ///
    /// # Panics
    /// If the name is not 1 to 64 letters, digits, `-` and `_`. Names stand in the program, so
    /// this is found at its start.
    #[must_use]
    #[allow(clippy::panic, reason = "a wrong name in the program, not an input")]
    pub fn named(name: &str) -> Self {
        match OperationName::parse(name) {
            Ok(name) => Self {
                name,
                effect: Effect::Plain,
                stores_refusals: true,
            },
            Err(error) => panic!("{name:?} is {error}"),
        }
    }

    /// The operation touches nothing but the order.
    #[must_use]
    pub fn pure(self) -> Self {
        Self {
            effect: Effect::Pure,
            ..self
        }
    }

    /// The operation calls the outside; a mark is durable before its handler runs.
    #[must_use]
    pub fn external(self, recovery: Recovery) -> Self {
        Self {
            effect: Effect::External(recovery),
            ..self
        }
    }

    /// Refusals of this operation are not stored: a retry with the same key runs it again.
    #[must_use]
    pub fn without_stored_refusals(self) -> Self {
        Self {
            stores_refusals: false,
            ..self
        }
    }

    /// The operation's name.
    #[must_use]
    pub fn name(&self) -> &OperationName {
        &self.name
    }

    /// What running it again may do.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// How its mark is to be recovered, if it leaves one.
    #[must_use]
    pub fn mark(&self) -> Option<Recovery> {
        match self.effect {
            Effect::External(recovery) => Some(recovery),
            Effect::Pure | Effect::Plain => None,
        }
    }
}

impl From<&str> for Operation {
    fn from(name: &str) -> Self {
        Self::named(name)
    }
}
