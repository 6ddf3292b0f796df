//! The conformance suite: what every store must do, as checks that run against any of them.
//!
//! A store's own test is a [`StoreFactory`] and one line, [`conformance!`](crate::conformance). A
//! store that several processes share asks there for the checks of [`SHARED_CHECKS`] as well.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "these are tests: they fail loudly"
)]

mod factory;
#[macro_use]
mod list;
mod world;

mod acquire;
mod bounds;
mod checkpoints;
mod create;
mod fences;
mod handover;
mod journal;
mod marks;
mod model;
mod node;
mod operator;
mod race;
mod release;
mod repeats;
mod retention;
mod sessions;
mod settle;
mod tenants;
mod transitions;
mod turns;
mod undo;
mod views;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

pub use factory::{Door, StoreFactory};
pub(crate) use world::{Ended, Verbs, World, single};

use crate::TestRuntime;

/// How long a check may take before it counts as stuck. No check waits for time to pass; this is
/// only so that a store that hangs fails one check instead of stopping the whole run.
const STUCK: Duration = Duration::from_secs(300);

type Check = fn(World) -> BoxFuture<'static, ()>;

crate::for_each_check!(
    conformance_table,
    /// The name of every check that each store must pass.
    CHECKS,
    find
);

crate::for_each_shared_check!(
    conformance_table,
    /// The name of every check that only a store must pass which several processes share.
    SHARED_CHECKS,
    find_shared
);

/// Runs one check on a fresh store.
///
/// # Panics
/// If the store does not conform, with what it did and what it should have done.
pub fn run<F: StoreFactory>(factory: F, door: Door, name: &str) {
    if let Err(failure) = examine(factory, door, name) {
        panic!("{name}: {failure}");
    }
}

/// Runs one check on a fresh store, and says how the store failed it instead of panicking: for
/// tests of the suite itself.
///
/// # Errors
/// What the store did and what it should have done.
///
/// # Panics
/// If there is no check of that name.
pub fn examine<F: StoreFactory>(factory: F, door: Door, name: &str) -> Result<(), String> {
    let Some(check) = find(name).or_else(|| find_shared(name)) else {
        panic!("there is no check {name}");
    };
    within(factory, door, STUCK, check)
}

/// Compares a kind of store with the [`MemoryStore`](crate::MemoryStore) in so many random
/// sequences of requests: the check `model::says_and_shows_the_same` for longer, and with a seed of
/// your own. It takes as long as it takes.
///
/// # Errors
/// The shortest sequence that was found on which they differ, and where.
pub fn compare<F: StoreFactory>(factory: F, cases: u32, seed: u64) -> Result<(), String> {
    within(factory, Door::Direct, Duration::MAX, move |world| {
        async move {
            if let Err(difference) = crate::property::agree(&world, cases, seed) {
                panic!("{difference}");
            }
        }
        .boxed()
    })
}

/// Runs something on a fresh store, on a runtime of its own.
fn within<F: StoreFactory>(
    factory: F,
    door: Door,
    limit: Duration,
    check: impl FnOnce(World) -> BoxFuture<'static, ()>,
) -> Result<(), String> {
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    tokio.block_on(async {
        let examination = async {
            let runtime = TestRuntime::new();
            let opened = factory::open(Arc::new(factory), door, runtime.clone()).await;
            check(World::new(opened, runtime)).await;
        };
        let examination = AssertUnwindSafe(examination).catch_unwind();
        match tokio::time::timeout(limit, examination).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(panic)) => Err(text(panic.as_ref())),
            Err(_) => Err("stuck: the store does not answer".into()),
        }
    })
}

fn text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()))
        .unwrap_or_else(|| "a panic without a message".into())
}
