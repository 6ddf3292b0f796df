//! What one seed makes of a run: how many nodes, orders and clients, which faults and at what rate.

use std::time::Duration;

use orderlock_core::{Limits, Retention};

use super::chaos::Blow;
use super::handlers::Behaviour;
use super::store::Strike;
use crate::Dice;

/// The settings of one run. Each seed turns a part of the faults off and draws the rates of the
/// others: a swarm of different runs finds more than one mixture of everything.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What everything else follows from.
    pub seed: u64,
    pub(super) nodes: usize,
    pub(super) orders: usize,
    pub(super) intents: Vec<Intent>,
    pub(super) limits: Limits,
    /// Faults of the store, each with its rate in ten thousand calls.
    pub(super) strikes: Vec<(Strike, u32)>,
    /// Blows from outside, each with its rate in ten thousand polls.
    pub(super) blows: Vec<(Blow, u32)>,
    pub(super) behaviours: Vec<Behaviour>,
    /// How long a request may be on its way, or a node stand still.
    pub(super) latest: Duration,
    /// After so many polls the faults stop.
    pub(super) polls: u64,
    /// How often a client goes away before its answer, in ten thousand requests.
    pub(super) leaving: u32,
    /// Whether what is written becomes durable at a later flush.
    pub(super) flushes_late: bool,
    /// Whether nothing goes wrong in this run but that answers and flushes take their time.
    pub(super) gentle: bool,
    /// Whether nothing goes wrong but that operators break leases.
    pub(super) broken: bool,
    /// A bug for the schedules to find: a settle is called durable when it is accepted.
    pub(super) lies: bool,
}

/// What a client wants, and how it goes about it.
#[derive(Clone, Debug)]
pub(super) struct Intent {
    pub(super) key: Key,
    /// Asks for something else under the same key.
    pub(super) other_body: bool,
    /// When it comes; most orders are there by then.
    pub(super) begins: Duration,
    pub(super) wait: Duration,
    pub(super) expects: bool,
    pub(super) odd_type: bool,
    pub(super) tries: u32,
}

/// One intent's key, and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) order: usize,
    pub(super) number: usize,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 0);
        let orders = 1 + dice.below(2);
        let keys = 1 + dice.below(5);
        let clients = 2 + dice.below(6);
        let intents = (0..clients)
            .map(|_| intent(&mut dice, orders, keys))
            .collect();
        let limits = limits(&mut dice);
        let mut behaviours = vec![Behaviour::Apply; 3];
        behaviours.extend(Behaviour::ALL.iter().filter(|_| dice.chance(3_500)));
        let plan = Self {
            seed,
            nodes: 1 + dice.below(3),
            orders,
            intents,
            strikes: swarm(&mut dice, &Strike::ALL, 1_000),
            blows: swarm(&mut dice, &Blow::ALL, 200),
            behaviours,
            latest: limits.session * 2,
            limits,
            polls: 200 + dice.number() % 800,
            leaving: if dice.chance(3_000) { 2_500 } else { 0 },
            flushes_late: dice.chance(4_000),
            gentle: false,
            broken: false,
            lies: false,
        };
        match dice.below(100) {
            0..6 => plan.doubled(),
            6..16 => plan.gentle(),
            16..20 => plan.paused(),
            20..25 => plan.broken(),
            _ => plan,
        }
    }

    /// The same plan without faults: answers and flushes take their time, and that is all. Then
    /// nobody loses a lease, and no order stays locked.
    #[must_use]
    pub fn gentle(self) -> Self {
        Self {
            strikes: vec![(Strike::SlowAnswer, 3_000), (Strike::SlowFlush, 3_000)],
            blows: Vec::new(),
            gentle: true,
            ..self
        }
    }

    /// The same plan over a store that calls a settle durable as soon as it is accepted.
    #[must_use]
    pub fn lying(self) -> Self {
        Self {
            flushes_late: true,
            lies: true,
            ..self
        }
    }

    /// The same plan in a storm of one kind: requests come to the store twice, leases are void at
    /// any time, and handlers take long enough to meet both. Here the version is what keeps an
    /// order right: a holder whose late request was granted again holds its fence once more.
    #[must_use]
    pub fn doubled(self) -> Self {
        Self {
            strikes: vec![(Strike::Duplicate, 5_000)],
            blows: vec![(Blow::VoidAll, 500), (Blow::Sweep, 200)],
            behaviours: vec![Behaviour::Apply, Behaviour::Long],
            gentle: false,
            ..self
        }
    }

    /// The same plan in another storm: nodes stand still, often past their session, while handlers
    /// run. A holder that goes on has lost its lease, and must be told so.
    #[must_use]
    pub fn paused(self) -> Self {
        Self {
            strikes: Vec::new(),
            blows: vec![(Blow::Pause, 500), (Blow::Sweep, 300)],
            behaviours: vec![Behaviour::Apply, Behaviour::Long],
            gentle: false,
            ..self
        }
    }

    /// The same plan in which operators break leases of handlers that take their time, and nothing
    /// else happens. Whoever waits for such an order has its turn, on the holder's node too.
    #[must_use]
    pub fn broken(self) -> Self {
        Self {
            strikes: Vec::new(),
            blows: vec![(Blow::Break, 200)],
            behaviours: vec![Behaviour::Apply, Behaviour::Slow],
            gentle: false,
            broken: true,
            ..self
        }
    }
}

fn swarm<T: Copy>(dice: &mut Dice, all: &[T], rate_max: usize) -> Vec<(T, u32)> {
    let mut chosen = Vec::new();
    // One run in eight is calm: what goes wrong there needs no fault.
    let share = dice.one_of(&[0, 1_500, 1_500, 3_000, 3_000, 3_000, 5_000, 7_000]);
    for one in all {
        if dice.chance(share) {
            let rate = u32::try_from(1 + dice.below(rate_max)).unwrap_or(1);
            chosen.push((*one, rate));
        }
    }
    chosen
}

fn intent(dice: &mut Dice, orders: usize, keys: usize) -> Intent {
    let key = Key {
        // One order more than there is: a client may be wrong.
        order: if dice.chance(200) {
            orders
        } else {
            dice.below(orders)
        },
        number: dice.below(keys),
    };
    Intent {
        key,
        other_body: dice.chance(700),
        begins: Duration::from_millis(dice.one_of(&[0, 50, 50, 50, 500, 2_000])),
        wait: Duration::from_secs(dice.one_of(&[0, 0, 2, 10, 30])),
        expects: dice.chance(500),
        odd_type: dice.chance(300),
        tries: 1 + u32::try_from(dice.below(5)).unwrap_or(0),
    }
}

fn limits(dice: &mut Dice) -> Limits {
    let seconds = Duration::from_secs;
    let answer = dice.one_of(&[seconds(5), seconds(24 * 3600), seconds(24 * 3600)]);
    Limits {
        chain: dice.one_of(&[0, 2, 256, 256]),
        handler: seconds(dice.one_of(&[2, 5, 30])),
        wait: seconds(30),
        line: dice.one_of(&[2, 3, 100, 100]),
        in_flight: dice.one_of(&[2, 100, 100]),
        store: seconds(dice.one_of(&[1, 3, 5])),
        repeats: dice.one_of(&[0, 1, 3]),
        session: seconds(dice.one_of(&[4, 10])),
        retention: Retention {
            answer,
            tombstone: seconds(30 * 24 * 3600),
        },
        checkpoints: dice.one_of(&[1, 1_000]),
    }
}
