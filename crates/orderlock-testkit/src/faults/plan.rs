//! The plan of faults: which calls fail, and how.

use tokio::sync::watch;

/// A verb of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the verb of its name")]
pub enum Verb {
    Join,
    Renew,
    Leave,
    Sweep,
    Create,
    Read,
    List,
    History,
    MarkEnd,
    Lookup,
    Acquire,
    Settle,
    Release,
    Undo,
    Leases,
    BreakLease,
    Resolve,
    EntriesSince,
    Expire,
}

/// What goes wrong with one call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The call does nothing, and its error says so.
    FailBefore,
    /// The call takes effect, but its error says that the outcome is unknown.
    FailAfter,
    /// The call does nothing, but its error says that the outcome is unknown: the same error as
    /// after [`FailAfter`](Self::FailAfter), so that the caller cannot distinguish the two.
    LoseRequest,
    /// It waits at the gate, then happens, and its answer arrives.
    DelayBefore(Gate),
    /// It happens at once, and its answer waits at the gate.
    DelayAfter(Gate),
    /// It happens twice, and the caller gets the second answer.
    Repeat,
    /// It happens, and no answer ever arrives.
    DropAnswer,
    /// It never happens, and no answer ever arrives.
    Hang,
}

/// Which calls a fault strikes, each fault once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// The call of this number, counted over all verbs from 1.
    Step(u64),
    /// The call of this verb of this number, from 1.
    Call(Verb, u64),
}

/// What shall go wrong, and when. The counts begin when the store is wrapped.
#[derive(Clone, Debug, Default)]
pub struct Plan(pub(super) Vec<(When, Fault)>);

impl Plan {
    /// A plan without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The call of this number, counted over all verbs from 1, goes wrong.
    #[must_use]
    pub fn at_step(mut self, number: u64, fault: Fault) -> Self {
        self.0.push((When::Step(number), fault));
        self
    }

    /// The call of this number of a verb, counted from 1, goes wrong.
    #[must_use]
    pub fn at_call(mut self, verb: Verb, number: u64, fault: Fault) -> Self {
        self.0.push((When::Call(verb, number), fault));
        self
    }
}

/// Where delayed calls wait until the test opens it. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(watch::Sender<Passage>);

#[derive(Clone, Copy, Debug, Default)]
struct Passage {
    open: bool,
    arrived: usize,
}

impl Gate {
    /// A closed gate: calls wait in front of it until the test opens it.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(Passage::default()))
    }

    /// Lets everything pass, now and later.
    pub fn open(&self) {
        self.0.send_modify(|passage| passage.open = true);
    }

    /// Resolves when this many calls have arrived at the gate: the signal that they are in
    /// progress.
    pub async fn reached(&self, count: usize) {
        let mut passage = self.0.subscribe();
        // The sender lives in `self`, so the channel cannot close in between.
        let _ = passage.wait_for(|passage| passage.arrived >= count).await;
    }

    pub(super) async fn pass(&self) {
        self.0.send_modify(|passage| passage.arrived += 1);
        let mut passage = self.0.subscribe();
        let _ = passage.wait_for(|passage| passage.open).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}
