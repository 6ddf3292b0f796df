//! What all parts of one run share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use orderlock_core::OrderId;
use orderlock_simulator::Dice;
use tokio::sync::watch;

use crate::checkers::Streams;
use crate::faults::Fault;
use crate::ledger::{Ledger, lock};
use crate::node::Node;
use crate::plan::{Plan, What};
use crate::stores::Bed;
use crate::tale::Tale;

/// One run.
pub(crate) struct Scene {
    pub(crate) plan: Plan,
    pub(crate) bed: Arc<dyn Bed>,
    pub(crate) ledger: Ledger,
    pub(crate) streams: Streams,
    weather: watch::Sender<Weather>,
    nodes: Vec<Mutex<Option<Arc<Node>>>>,
    tales: Mutex<Tales>,
    dice: Mutex<Dice>,
    tick: AtomicU64,
    strikes: Mutex<Strikes>,
}

/// Faults that are being dealt, and when the last of them ended.
#[derive(Debug, Default)]
struct Strikes {
    under_way: usize,
    /// How often it was found that the machine stands still.
    stalls: u64,
    ended: Option<Instant>,
}

/// A fault is being dealt.
pub(crate) struct Striking<'a>(&'a Scene);

impl Drop for Striking<'_> {
    fn drop(&mut self) {
        let mut strikes = lock(&self.0.strikes);
        strikes.under_way -= 1;
        strikes.ended = Some(Instant::now());
    }
}

/// What goes on at the moment.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    pub(crate) what: What,
    pub(crate) faults: Vec<Fault>,
    pub(crate) since: Instant,
}

#[derive(Default)]
struct Tales {
    live: Vec<Arc<Tale>>,
    by_order: HashMap<OrderId, Arc<Tale>>,
}

impl Scene {
    pub(crate) fn new(plan: Plan, bed: Arc<dyn Bed>) -> Arc<Self> {
        Arc::new(Self {
            weather: watch::Sender::new(Weather {
                what: What::Calm,
                faults: Vec::new(),
                since: Instant::now(),
            }),
            nodes: (0..plan.nodes).map(|_| Mutex::default()).collect(),
            streams: Streams::new(plan.nodes),
            dice: Mutex::new(Dice::new(plan.seed, 1)),
            ledger: Ledger::new(),
            tales: Mutex::default(),
            tick: AtomicU64::new(1),
            strikes: Mutex::default(),
            plan,
            bed,
        })
    }

    /// The faults that are dealt.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let left_out = |fault: &Fault| self.plan.without.iter().any(|it| it == fault.name());
        let mut faults = self.bed.faults();
        faults.retain(|fault| !left_out(fault));
        faults
    }

    pub(crate) fn dice(&self) -> MutexGuard<'_, Dice> {
        lock(&self.dice)
    }

    /// A moment: later ones are larger.
    pub(crate) fn tick(&self) -> u64 {
        self.tick.fetch_add(1, Ordering::SeqCst)
    }

    pub(crate) fn weather(&self) -> Weather {
        self.weather.borrow().clone()
    }

    pub(crate) fn set_weather(&self, what: What, faults: Vec<Fault>) {
        let names: Vec<_> = faults.iter().map(|fault| fault.name()).collect();
        self.ledger
            .line(&format!("-- {}: {}", what.name(), names.join(", ")));
        self.weather.send_replace(Weather {
            what,
            faults,
            since: Instant::now(),
        });
    }

    /// Resolves when this fault is in the weather.
    pub(crate) async fn is_due(&self, fault: Fault) {
        let mut weather = self.weather.subscribe();
        // The sender lives in `self`, so the wait can end in no other way.
        let _due = weather
            .wait_for(|weather| weather.faults.contains(&fault))
            .await;
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.weather.borrow().faults.contains(&fault)
    }

    /// Whether nothing has gone wrong for so long that nothing may be lost any more, since then.
    pub(crate) fn calm_since(&self) -> Option<Instant> {
        let (what, since) = {
            let weather = self.weather.borrow();
            (weather.what, weather.since)
        };
        let strikes = lock(&self.strikes);
        let last = strikes.ended.map_or(since, |ended| ended.max(since));
        let settled = last + self.plan.calms_after();
        let calm = what.is_calm() && strikes.under_way == 0 && Instant::now() > settled;
        calm.then_some(settled)
    }

    /// The machine stood still: whatever is lost for a while after that has an excuse.
    pub(crate) fn stalled(&self) {
        let mut strikes = lock(&self.strikes);
        strikes.ended = Some(Instant::now());
        strikes.stalls += 1;
    }

    /// How often it was found so far that the machine stands still.
    pub(crate) fn stalls(&self) -> u64 {
        lock(&self.strikes).stalls
    }

    /// Counts a fault as under way until this is dropped.
    pub(crate) fn striking(&self) -> Striking<'_> {
        lock(&self.strikes).under_way += 1;
        Striking(self)
    }

    /// The node at a place, if it runs.
    pub(crate) fn node(&self, place: usize) -> Option<Arc<Node>> {
        lock(self.nodes.get(place)?).clone()
    }

    pub(crate) fn put_node(&self, place: usize, node: Option<Arc<Node>>) -> Option<Arc<Node>> {
        std::mem::replace(&mut *lock(&self.nodes[place]), node)
    }

    pub(crate) fn all_nodes(&self) -> Vec<Arc<Node>> {
        (0..self.nodes.len())
            .filter_map(|place| self.node(place))
            .collect()
    }

    /// How many requests are in flight.
    pub(crate) fn busy(&self) -> usize {
        let nodes = self.all_nodes();
        nodes.iter().map(|node| node.lifecycle.in_flight()).sum()
    }

    /// Some node that runs.
    pub(crate) fn some_node(&self) -> Option<Arc<Node>> {
        let nodes = self.all_nodes();
        let at = self.dice().below(nodes.len());
        nodes.get(at).cloned()
    }

    pub(crate) fn add_tale(&self, tale: &Arc<Tale>) {
        let mut tales = lock(&self.tales);
        tales.live.push(Arc::clone(tale));
        tales.by_order.insert(tale.order.clone(), Arc::clone(tale));
    }

    /// Takes an order from clients; what is seen of it is noted until it is forgotten.
    pub(crate) fn retire(&self, tale: &Tale) {
        lock(&self.tales)
            .live
            .retain(|other| other.order != tale.order);
    }

    pub(crate) fn forget(&self, tale: &Tale) {
        self.retire(tale);
        lock(&self.tales).by_order.remove(&tale.order);
    }

    pub(crate) fn live(&self) -> Vec<Arc<Tale>> {
        lock(&self.tales).live.clone()
    }

    /// Every order that is not forgotten.
    pub(crate) fn all_tales(&self) -> Vec<Arc<Tale>> {
        lock(&self.tales).by_order.values().cloned().collect()
    }

    pub(crate) fn tale(&self, order: &OrderId) -> Option<Arc<Tale>> {
        lock(&self.tales).by_order.get(order).cloned()
    }

    /// Some order that clients work on: half of the time one of the first few.
    pub(crate) fn some_tale(&self) -> Option<Arc<Tale>> {
        let tales = lock(&self.tales);
        let mut dice = self.dice();
        let among = if dice.chance(5_000) {
            tales.live.len().min(3)
        } else {
            tales.live.len()
        };
        tales.live.get(dice.below(among)).cloned()
    }

    /// Waits for about this long.
    pub(crate) async fn pause(&self, about: Duration) {
        let pause = self.dice().duration(about * 2);
        tokio::time::sleep(pause).await;
    }
}
