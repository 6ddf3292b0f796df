//! The rules that keep the promises. A variant of the model lacks one of them, and must break.

/// One thing that store or lifecycle must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A settle asks whether its fence holds the order.
    SettleAsksFence,
    /// A settle asks whether the order is at the version that it was made on.
    SettleAsksVersion,
    /// A settle asks whether its key has been answered.
    SettleAsksKey,
    /// A settle is named by its step too: a checkpoint is not taken for the answer.
    SettleNamesStep,
    /// A grant looks its key up when it is given, not before.
    GrantLooksKeyUp,
    /// A grant asks whether somebody holds the order.
    GrantAsksHolder,
    /// A grant asks whether its session is alive.
    GrantAsksSession,
    /// A release ends the grant that it names, not whoever has its key.
    ReleaseAsksFence,
    /// A failure leaves the mark of an external operation.
    FailureKeepsMark,
    /// A renewal voids what its node does not know.
    RenewalVoidsTheUnknown,
    /// Stored answers leave when they are durable.
    AnswersWait,
    /// A handler begins when its mark, and the order that it is given, are durable.
    GrantsWait,
    /// Only a pure operation begins on what is not durable.
    OnlyPureBeginsEarly,
    /// What it then comes to is told when its ground is durable, failures too.
    FailuresWait,
}

/// All rules but some.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    without: &'static [Rule],
}

impl Rules {
    pub(crate) const ALL: Self = Self::without(&[]);

    pub(crate) const fn without(without: &'static [Rule]) -> Self {
        Self { without }
    }

    pub(crate) fn keep(self, rule: Rule) -> bool {
        !self.without.contains(&rule)
    }
}
