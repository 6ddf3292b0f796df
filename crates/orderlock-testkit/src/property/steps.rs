//! What may be asked, at random: few orders, keys and nodes, so that they meet often.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{bool, option};

pub(super) const NODES: usize = 2;
pub(super) const ORDERS: usize = 2;
pub(super) const KEYS: usize = 3;

/// A request for a lease.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) node: usize,
    pub(super) order: usize,
    pub(super) key: usize,
    /// Whether it asks for something else under the same key.
    pub(super) other_body: bool,
    pub(super) external: External,
    /// Whether the client expects a version, and the one that is there.
    pub(super) expects: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum External {
    No,
    Reconcile,
    Resume,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Apply,
    ApplyWithError,
    Refuse,
    Checkpoint,
}

/// One step. A run is one of the grants so far, alive or not, by its number from the newest.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Join(usize),
    Leave(usize),
    Renew {
        node: usize,
        knows: bool,
    },
    Sweep,
    Create {
        order: usize,
        other_body: bool,
        other_key: bool,
    },
    Acquire(Ask),
    AcquireAgain {
        run: usize,
    },
    Settle {
        run: usize,
        how: How,
        next: Option<Ask>,
    },
    SettleAgain {
        run: usize,
    },
    Release {
        run: usize,
        clear: bool,
        next: Option<Ask>,
    },
    Break {
        order: usize,
    },
    BreakRun {
        run: usize,
    },
    Resolve {
        order: usize,
        key: usize,
        settle: bool,
        stale: bool,
    },
    Pass(Duration),
    Expire,
    Restart,
}

pub(super) fn some(most: usize) -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..most)
}

fn ask() -> impl Strategy<Value = Ask> {
    let external = prop_oneof![
        3 => Just(External::No),
        1 => Just(External::Reconcile),
        1 => Just(External::Resume),
    ];
    let expects = option::weighted(0.15, any::<bool>());
    let (node, order, key) = (0..NODES, 0..ORDERS, 0..KEYS);
    (node, order, key, bool::weighted(0.1), external, expects).prop_map(
        |(node, order, key, other_body, external, expects)| Ask {
            node,
            order,
            key,
            other_body,
            external,
            expects,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let run = || prop_oneof![4 => Just(0_usize), 2 => 0..8_usize];
    let next = || option::weighted(0.3, ask());
    let how = prop_oneof![
        4 => Just(How::Apply),
        1 => Just(How::ApplyWithError),
        1 => Just(How::Refuse),
        3 => Just(How::Checkpoint),
    ];
    // Even milliseconds only: every length in the steps is odd, so that nothing ends exactly now.
    let pass = prop_oneof![
        2 => Just(Duration::from_secs(1)),
        3 => Just(Duration::from_secs(6)),
        1 => Just(Duration::from_secs(25)),
        1 => Just(Duration::from_secs(90_000)),
    ];
    let (node, order, key) = (|| 0..NODES, || 0..ORDERS, 0..KEYS);
    let flag = any::<bool>;
    prop_oneof![
        2 => node().prop_map(Step::Join),
        1 => node().prop_map(Step::Leave),
        4 => (node(), flag()).prop_map(|(node, knows)| Step::Renew { node, knows }),
        2 => Just(Step::Sweep),
        2 => (order(), bool::weighted(0.2), bool::weighted(0.2)).prop_map(
            |(order, other_body, other_key)| Step::Create { order, other_body, other_key },
        ),
        12 => ask().prop_map(Step::Acquire),
        1 => run().prop_map(|run| Step::AcquireAgain { run }),
        10 => (run(), how, next()).prop_map(|(run, how, next)| Step::Settle { run, how, next }),
        3 => run().prop_map(|run| Step::SettleAgain { run }),
        5 => (run(), flag(), next())
            .prop_map(|(run, clear, next)| Step::Release { run, clear, next }),
        2 => order().prop_map(|order| Step::Break { order }),
        1 => run().prop_map(|run| Step::BreakRun { run }),
        3 => (order(), key, flag(), bool::weighted(0.2)).prop_map(
            |(order, key, settle, stale)| Step::Resolve { order, key, settle, stale },
        ),
        3 => pass.prop_map(Step::Pass),
        1 => Just(Step::Expire),
        1 => Just(Step::Restart),
    ]
}
