//! Two nodes, two keys and one order, at one moment.

use std::collections::BTreeSet;

use super::properties::Promise;
use super::store::{Entry, Store, Written};
use super::words::{Acquire, Acquired, Fence, Key, Release, Session, Settle, Version};

pub(crate) const NODES: usize = 2;
pub(crate) const KEYS: Key = 2;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) store: Store,
    /// What survives power loss.
    pub(crate) durable: Written,
    pub(crate) nodes: [Node; NODES],
    /// What is on its way to the store, and nobody waits for.
    pub(crate) late: BTreeSet<Message>,
    /// What each key's client was told.
    pub(crate) told: [Option<Entry>; KEYS as usize],
    /// Runs of which a client was told that they have changed nothing.
    pub(crate) disowned: BTreeSet<Fence>,
    /// Whether the handler of the external operation has begun, and has not declared that nothing
    /// happened.
    pub(crate) outside: bool,
    /// Grants of the external operation about which nobody has decided since. A handler that was
    /// given another begins too late: nobody waits for what it does.
    pub(crate) open: BTreeSet<Fence>,
    pub(crate) broken: BTreeSet<Promise>,
    pub(crate) spent: Spent,
}

/// How often what is bounded has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Spent {
    pub(crate) runs: u16,
    pub(crate) sessions: Session,
    pub(crate) faults: u8,
    pub(crate) late: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Message {
    Acquire(Acquire),
    Settle(Settle),
    Release(Release),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) session: Session,
    /// The run that asks for the order or holds it.
    pub(crate) front: Option<Run>,
    /// The one that waits in line behind it.
    pub(crate) behind: Option<Run>,
    /// The one before it, whose settle is accepted and not durable yet.
    pub(crate) before: Option<Run>,
}

/// One request on its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Run {
    pub(crate) request: Acquire,
    pub(crate) stage: Stage,
    /// How many entries the order had when it was given to the handler.
    pub(crate) rests: usize,
    /// Whether they were not durable then, and are not known to be.
    pub(crate) early: bool,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// It has asked for the order, or must ask again.
    Asks,
    /// It has an answer that leaves when it is durable.
    Hears(Acquired),
    /// Its handler runs.
    Holds {
        version: Version,
        step: u16,
        progress: bool,
    },
    /// Nobody knows what became of its settle.
    Settles(Settle),
    /// Its settle is accepted and not durable, and so is what was asked for the next in line.
    Accepted(Settle, Option<Acquired>),
    /// It has failed, and says so when its ground is durable; with what was asked for the next.
    Failed(Option<Acquired>),
}

impl Run {
    pub(crate) fn new(request: Acquire) -> Self {
        Self {
            request,
            stage: Stage::Asks,
            rests: 0,
            early: false,
        }
    }
}

impl Node {
    pub(crate) fn runs(&self) -> impl Iterator<Item = Run> {
        [self.before, self.front, self.behind].into_iter().flatten()
    }

    /// Ends the run at the front; the one behind it moves up, and asks.
    pub(crate) fn end_front(&mut self) {
        self.front = self.behind.take();
    }
}

impl State {
    /// Whether something was written since the last flush.
    pub(crate) fn is_dirty(&self) -> bool {
        self.store.written != self.durable
    }

    /// Whether this settle has taken effect and is durable.
    pub(crate) fn is_durable(&self, request: Settle) -> bool {
        let by = Some((request.fence, request.step));
        self.durable.journal.iter().any(|entry| entry.by == by)
    }

    /// Whether as many entries are durable.
    pub(crate) fn stands(&self, entries: usize) -> bool {
        entries <= self.durable.journal.len()
    }

    pub(crate) fn is_told(&self, key: Key) -> bool {
        self.told[usize::from(key)].is_some()
    }

    pub(crate) fn join(&mut self, node: usize) {
        let session = self.spent.sessions;
        self.spent.sessions += 1;
        self.nodes[node].session = session;
        let name = u16::try_from(node).unwrap_or(u16::MAX);
        self.store.join(name, session);
    }

    /// The process dies and starts again under its name.
    pub(crate) fn restart(&mut self, node: usize) {
        self.nodes[node] = Node::default();
        self.join(node);
    }

    /// Somebody says what has become of everything that was done outside until now.
    pub(crate) fn decide(&mut self) {
        self.outside = false;
        self.open.clear();
    }

    /// A client is told that this run has changed nothing.
    pub(crate) fn disown(&mut self, run: Run) {
        if !self.stands(run.rests) {
            self.broken.insert(Promise::Ground);
        }
        self.disowned.insert(run.request.fence);
    }

    /// A client is told what its key has come to.
    pub(crate) fn tell(&mut self, entry: Entry) {
        let told = &mut self.told[usize::from(entry.key)];
        if told.is_some_and(|before| before != entry) {
            self.broken.insert(Promise::OneAnswer);
        }
        *told = Some(entry);
    }
}
