//! The bugs by name.

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Nothing.
    None,
    /// Settles under whatever fence holds the order.
    SettlesWithoutFence,
    /// Runs a repeated step once more.
    AppliesARepeat,
    /// Says 'lost' to a repeated step.
    ForgetsSteps,
    /// Grants a key that is settled.
    ForgetsTheKey,
    /// Replays an answer to another request.
    IgnoresTheFingerprint,
    /// Grants without a mark.
    ForgetsMarks,
    /// Ends the mark with the lease.
    ClearsMarks,
    /// Ends the mark of an earlier run with the grant that it takes back.
    UndoesTheEarlierMark,
    /// Lets the mark of a grant stand that it takes back.
    UndoKeepsTheMark,
    /// Forgets what a key was used for whose mark was cleared.
    UnbindsClearedKeys,
    /// Makes an order for each id that a key is given.
    MakesAnOrderForEachId,
    /// Hands over without a look at the key.
    HandsOverBlindly,
    /// Unlocks at a checkpoint.
    UnlocksAtCheckpoints,
    /// Ends sessions as soon as their time is over.
    EndsSessionsByTheClock,
    /// Voids leases that are younger than the last renewal.
    VoidsTheYoung,
    /// Voids nothing at a renewal.
    KeepsTheUnknown,
    /// Breaks the lease of an order, whichever key holds it.
    BreaksAnybody,
    /// Shows one tenant's orders to another.
    MixesTenants,
    /// Leaves an entry out now and then.
    SkipsEntries,
    /// Begins again at a cursor that it cannot read.
    TakesAnyCursor,
    /// Keeps a part of the answer.
    BendsAnswers,
    /// Loses everything when it is closed.
    KeepsNothing,
    /// Lists the oldest first.
    ListsBackwards,
    /// Ends answers before their time.
    ForgetsAnswers,
    /// Forgets on the word of a clock that was set.
    BelievesTheClock,
    /// Forgets the leases' holders when a lease is asked for again.
    RepeatsNoGrant,
    /// Nothing, and nodes have their turns, which the model does not have.
    NoneWithTurns,
    /// Has turns, and hands over to any request that a settle names.
    HandsOverOutOfTurn,
    /// Has turns, and hands over to any request that a release names.
    ReleasesOutOfTurn,
    /// Has turns, the one that came last first.
    LetsTheLastGoFirst,
    /// Has turns, and keeps an order for one that does not ask any more.
    KeepsForTheGone,
    /// Has turns, and lets one that was gone wait on from when it first came.
    RemembersTheGone,
}
