//! One order's life: it is created, worked on under some keys by clients at every node, and then
//! closed: every key is asked for until it is settled, and all that was seen is held against what
//! the store has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use orderlock_core::{
    Caller, IdempotencyKey, Operation, OrderId, Principal, Recovery, Target, Tenant, Timestamp,
};
use orderlock_simulator::tally::{self, Told};

use crate::checkers::Book;
use crate::ledger::lock;

/// How often a resumed operation may run.
pub(crate) const RESUMES: u32 = 4;

/// An order that clients work on.
pub(crate) struct Tale {
    pub(crate) order: OrderId,
    /// How many keys there are for it.
    pub(crate) keys: usize,
    pub(crate) born: Instant,
    /// What is certain of its lock.
    pub(crate) book: Mutex<Book>,
    told: Mutex<BTreeMap<String, Answered>>,
    derived: Mutex<BTreeMap<String, String>>,
    /// Keys whose mark an operator has cleared, or may have.
    pub(crate) cleared: Mutex<BTreeSet<String>>,
    users: AtomicUsize,
    /// When it was created, as its first answer says.
    pub(crate) created: Mutex<Option<Instant>>,
    /// Whether its document has been replaced. It has no place in lists by its age until a node has
    /// found that out, and so it may move past somebody who walks through them.
    pub(crate) replaced: AtomicBool,
    /// Whether readers are expected to have had all of it.
    pub(crate) closed: AtomicBool,
}

/// What a client was told for good, and until when it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub(crate) told: Told,
    pub(crate) expires: Option<Timestamp>,
}

/// Somebody is at work on an order.
pub(crate) struct Working(Arc<Tale>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Tale {
    pub(crate) fn new(number: u64, keys: usize) -> Self {
        Self {
            order: OrderId::parse(&format!("order-{number}")).expect("short, and visible ASCII"),
            keys,
            born: Instant::now(),
            book: Mutex::default(),
            told: Mutex::default(),
            derived: Mutex::default(),
            cleared: Mutex::default(),
            users: AtomicUsize::new(0),
            created: Mutex::default(),
            replaced: AtomicBool::default(),
            closed: AtomicBool::default(),
        }
    }

    pub(crate) fn target(&self) -> Target {
        caller(0).target(&self.order)
    }

    pub(crate) fn work(self: &Arc<Self>) -> Working {
        self.users.fetch_add(1, Ordering::AcqRel);
        Working(Arc::clone(self))
    }

    /// How many are at work on it.
    pub(crate) fn users(&self) -> usize {
        self.users.load(Ordering::Acquire)
    }

    /// Keeps what a client was told. False if an earlier one was told something else.
    pub(crate) fn tell(&self, answered: &Answered) -> bool {
        let mut told = lock(&self.told);
        let first = told.entry(answered.told.name.clone());
        let first = first.or_insert_with(|| answered.clone());
        let (one, other) = (&first.told, &answered.told);
        one.answer == other.answer && one.outcome == other.outcome
    }

    pub(crate) fn told(&self, name: &str) -> Option<Answered> {
        lock(&self.told).get(name).cloned()
    }

    pub(crate) fn all_told(&self) -> Vec<Answered> {
        lock(&self.told).values().cloned().collect()
    }

    /// Whether every key has its answer.
    pub(crate) fn is_told(&self) -> bool {
        let told = lock(&self.told);
        (0..self.keys).all(|number| told.contains_key(&name(number)))
    }

    /// Whether this run's derived key is the one that earlier runs of the key have derived.
    pub(crate) fn derives(&self, name: &str, derived: &str) -> bool {
        let mut all = lock(&self.derived);
        let known = all.entry(name.to_owned());
        known.or_insert_with(|| derived.to_owned()) == derived
    }
}

/// Two callers use the same keys, and never meet.
pub(crate) fn caller(number: usize) -> Caller {
    let principal = if number.is_multiple_of(2) {
        "even"
    } else {
        "odd"
    };
    Caller {
        tenant: Tenant::single(),
        principal: Principal::parse(principal).expect("short, without control characters"),
    }
}

pub(crate) fn key(number: usize) -> IdempotencyKey {
    let text = format!("k{}", number / 2 * 2);
    IdempotencyKey::parse(&text).expect("short, and visible ASCII")
}

/// The n-th key of an order, as the order counts it.
pub(crate) fn name(number: usize) -> String {
    tally::name(&caller(number), &key(number))
}

/// The key under which one of its clients creates an order: no other order is created by it.
pub(crate) fn creation_key(tale: &Tale, creator: usize) -> IdempotencyKey {
    let text = format!("create-{}-{creator}", tale.order);
    IdempotencyKey::parse(&text).expect("short, and visible ASCII")
}

/// What the n-th key is for. Its operation never changes, so that a retry is the same request.
pub(crate) fn operation(number: usize) -> Operation {
    let within = std::time::Duration::from_secs(24 * 3600);
    let times = RESUMES;
    match number % 7 {
        0 | 6 => Operation::named("plain"),
        1 => Operation::named("pure").pure(),
        2 => Operation::named("unstored").without_stored_refusals(),
        3 => Operation::named("resumed").external(Recovery::Resume { times, within }),
        _ => Operation::named("reconciled").external(Recovery::Reconcile),
    }
}

/// Who decides.
pub(crate) fn operator() -> Principal {
    Principal::parse("operator").expect("short, without control characters")
}
