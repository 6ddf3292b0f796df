//! What all parts of one run share.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orderlock_core::{Caller, IdempotencyKey, Lifecycle, OrderId, OrderStore, Principal, Tenant};

use super::book::Book;
use super::coverage::Coverage;
use super::disk::Disk;
use super::event::Event;
use super::executor::{Executor, OUTSIDE, Tag};
use super::handlers::Behaviour;
use super::plan::{Key, Plan};
use super::runtime::{NodeRuntime, WallClock};
use super::store::{NodeStore, Strike};
use super::trace::Trace;
use crate::Dice;
use crate::tally::{Plain, Told};
use orderlock_testkit::MemoryStore;

/// One run of a node's process.
#[derive(Clone)]
pub(super) struct Slot {
    pub(super) place: usize,
    pub(super) tag: Tag,
    pub(super) dead: Arc<AtomicBool>,
    pub(super) clock: WallClock,
    pub(super) lifecycle: Lifecycle,
}

impl Slot {
    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }
}

pub(super) struct Scene {
    pub(super) plan: Plan,
    pub(super) executor: Executor,
    pub(super) trace: Trace,
    pub(super) memory: MemoryStore,
    /// The model, or a store over it that has a bug.
    pub(super) base: Arc<dyn OrderStore>,
    pub(super) nodes: Mutex<Vec<Slot>>,
    /// Runs of nodes that have drained and may be ended.
    pub(super) drained: Mutex<Vec<Tag>>,
    /// Runs of nodes that have been asked to drain.
    pub(super) draining: Mutex<Vec<Tag>>,
    pub(super) told: Mutex<Vec<Told>>,
    pub(super) clients: AtomicUsize,
    /// Counts what makes a request take longer than its bounds: kills and pauses.
    pub(super) disturbed: AtomicUsize,
    pub(super) disk: Mutex<Disk>,
    /// The store's.
    pub(super) clock: WallClock,
    calm: AtomicBool,
    book: Mutex<Book>,
    dice: Mutex<Dice>,
    coverage: Mutex<Coverage>,
    events: Mutex<Vec<Event>>,
    derived: Mutex<BTreeMap<(String, String), String>>,
}

impl fmt::Debug for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scene").finish_non_exhaustive()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scene {
    pub(super) fn new(
        plan: Plan,
        keep_trace: bool,
        over: impl FnOnce(MemoryStore) -> Arc<dyn OrderStore>,
    ) -> Arc<Self> {
        let trace = Trace::new(keep_trace);
        let executor = Executor::new(plan.seed, trace.clone());
        let clock = WallClock::default();
        let runtime = NodeRuntime {
            executor: executor.clone(),
            tag: OUTSIDE,
            clock: clock.clone(),
        };
        let memory = MemoryStore::new(Arc::new(runtime)).with_document_bytes_max(8_000);
        Arc::new(Self {
            base: over(memory.clone()),
            dice: Mutex::new(Dice::new(plan.seed, 3)),
            plan,
            executor,
            trace,
            memory,
            nodes: Mutex::default(),
            drained: Mutex::default(),
            draining: Mutex::default(),
            told: Mutex::default(),
            clients: AtomicUsize::new(0),
            disturbed: AtomicUsize::new(0),
            disk: Mutex::default(),
            clock,
            calm: AtomicBool::new(false),
            book: Mutex::default(),
            coverage: Mutex::default(),
            events: Mutex::default(),
            derived: Mutex::default(),
        })
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        let mut book = lock(&self.book);
        book.now = self.executor.elapsed();
        book
    }

    pub(super) fn dice(&self) -> MutexGuard<'_, Dice> {
        lock(&self.dice)
    }

    pub(super) fn count(&self, what: String) {
        lock(&self.coverage).count(what);
    }

    pub(super) fn coverage(&self) -> Coverage {
        lock(&self.coverage).clone()
    }

    /// Keeps what has taken effect in the store, at the moment when it does.
    pub(super) fn record(&self, event: Event) {
        lock(&self.events).push(event);
    }

    pub(super) fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut *lock(&self.events))
    }

    /// From now on nothing goes wrong any more.
    pub(super) fn calm_down(&self) {
        self.calm.store(true, Ordering::Release);
    }

    pub(super) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Acquire)
    }

    /// What goes wrong with a request, and how often others come first on its way and back.
    pub(super) fn on_the_way(&self, verb: &str) -> (Option<Strike>, usize, usize) {
        let strike = self.strike_of(&Strike::ON_THE_WAY, verb);
        let mut dice = self.dice();
        (strike, dice.below(3), dice.below(3))
    }

    /// One of these faults, if the plan and the dice say so.
    pub(super) fn strike_of(&self, among: &[Strike], verb: &str) -> Option<Strike> {
        if self.is_calm() {
            return None;
        }
        let mut dice = self.dice();
        let strikes = self.plan.strikes.iter();
        let mut strikes = strikes.filter(|(strike, _)| among.contains(strike));
        let (strike, _) = strikes.find(|(_, rate)| dice.chance(*rate))?;
        drop(dice);
        self.count(format!("fault: {verb} {strike:?}"));
        Some(*strike)
    }

    pub(super) fn delay(&self) -> Duration {
        self.dice().duration(self.plan.latest)
    }

    pub(super) fn few(&self) -> usize {
        self.dice().below(4)
    }

    pub(super) fn behaviour(&self) -> Behaviour {
        if self.is_calm() {
            Behaviour::Apply
        } else {
            self.dice().one_of(&self.plan.behaviours)
        }
    }

    /// Whether this run's derived key is the one that earlier runs of the key have derived.
    pub(super) fn derived_key(&self, order: &OrderId, name: &str, derived: &str) -> bool {
        let mut all = lock(&self.derived);
        let place = (order.as_str().to_owned(), name.to_owned());
        all.entry(place).or_insert_with(|| derived.to_owned()) == derived
    }

    /// Starts a node under its name, in place of what ran under it.
    pub(super) fn start_node(self: &Arc<Self>, place: usize) {
        let tag = {
            let mut dice = self.dice();
            1 + (dice.number() >> 1)
        };
        let dead = Arc::new(AtomicBool::new(false));
        let clock = WallClock::default();
        let wrong = [Duration::ZERO, Duration::from_secs(86_400)];
        clock.jump(self.dice().one_of(&wrong), true);
        let store = NodeStore::new(self, &dead);
        let runtime = NodeRuntime {
            executor: self.executor.clone(),
            tag,
            clock: clock.clone(),
        };
        let lifecycle = Lifecycle::builder(store, Plain)
            .runtime(Arc::new(runtime))
            .limits(self.plan.limits.clone())
            .node_name(format!("node-{place}"))
            .build();
        let slot = Slot {
            place,
            tag,
            dead,
            clock,
            lifecycle,
        };
        let mut nodes = lock(&self.nodes);
        nodes.retain(|old| old.place != place);
        nodes.push(slot);
    }

    /// Kills a node's run: first its store, then its tasks.
    pub(super) fn kill(&self, slot: &Slot) {
        self.trace.note(format_args!("kill {}", slot.place));
        self.disturbed.fetch_add(1, Ordering::Relaxed);
        slot.dead.store(true, Ordering::Release);
        self.executor.kill(slot.tag);
    }

    /// A node that runs, or none.
    pub(super) fn some_node(&self) -> Option<Slot> {
        let nodes = lock(&self.nodes);
        let alive: Vec<&Slot> = nodes.iter().filter(|slot| !slot.is_dead()).collect();
        let at = self.dice().below(alive.len());
        alive.get(at).map(|slot| Slot::clone(slot))
    }
}

pub(super) fn order_id(order: usize) -> OrderId {
    OrderId::parse(&format!("order-{order}")).expect("short, and visible ASCII")
}

/// Two callers use the same keys, and never meet.
pub(super) fn caller(key: usize) -> Caller {
    let principal = if key.is_multiple_of(2) { "even" } else { "odd" };
    Caller {
        tenant: Tenant::single(),
        principal: Principal::parse(principal).expect("short, without control characters"),
    }
}

pub(super) fn idempotency_key(key: Key) -> IdempotencyKey {
    let text = format!("key-{}", key.number / 2 * 2);
    IdempotencyKey::parse(&text).expect("short, and visible ASCII")
}
