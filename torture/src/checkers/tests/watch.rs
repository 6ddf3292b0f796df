//! A node's way to the store.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock_core::store::{
    Accepted, Acquire, Acquired, Durable, Expire, Fate, Receipt, Release, Released, Settle,
    Settled, StoreError, StoreFuture,
};
use orderlock_core::{OrderStore, Timestamp, forward};
use orderlock_testkit::{MemoryStore, TestRuntime, fixtures};

use super::super::watch::Watched;
use super::script::{Run, Script, next};
use crate::clock::{Clock, NodeRuntime};
use crate::faults::Fault;
use crate::plan::Plan;
use crate::scene::Scene;
use crate::stores::{Bed, Kind, Struck};
use crate::tale::Tale;

/// Nothing is opened here, and nothing befalls it.
#[derive(Default)]
struct NoBed(Arc<Clock>);

impl Bed for NoBed {
    fn clock(&self) -> &Arc<Clock> {
        &self.0
    }

    fn faults(&self) -> Vec<Fault> {
        Vec::new()
    }

    fn open(
        self: Arc<Self>,
        _: usize,
        _: Arc<NodeRuntime>,
    ) -> BoxFuture<'static, anyhow::Result<Arc<dyn OrderStore>>> {
        async { anyhow::bail!("nobody asks") }.boxed()
    }

    fn strike(self: Arc<Self>, _: Fault, _: Arc<Scene>) -> BoxFuture<'static, Struck> {
        async { Ok(None) }.boxed()
    }

    fn calm(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        async { Ok(()) }.boxed()
    }
}

/// Says yes to everybody at once, and accepts settles early; what becomes of those it was told.
#[derive(Debug)]
struct Agreeing {
    rest: MemoryStore,
    keeps: bool,
}

impl OrderStore for Agreeing {
    forward!(|agreeing| agreeing.rest;
        describe, freed, join, renew, leave, sweep, create, read, list, history, mark_end, lookup,
        undo, leases, break_lease, resolve, entries_since, expire);

    fn acquire(&self, request: Acquire) -> StoreFuture<'_, Acquired> {
        let run = next(request, 1);
        async { Ok(Acquired::Granted(Box::new(run.grant))) }.boxed()
    }

    fn settle(&self, request: Settle) -> StoreFuture<'_, Settled> {
        let asked = request.next().cloned();
        let next = asked.map(|asked| Acquired::Granted(Box::new(next(asked, 2).grant)));
        let keeps = self.keeps;
        let durable = Durable::later(async move {
            match keeps {
                true => Ok(Fate::Durable),
                false => Err(StoreError::NotApplied("planned".into())),
            }
        });
        let receipt = Receipt {
            number: 2,
            expires: Timestamp::MAX,
        };
        let accepted = Accepted {
            receipt,
            durable,
            next,
        };
        async { Ok(Settled::Accepted(accepted)) }.boxed()
    }

    fn release(&self, _: Release) -> StoreFuture<'_, Released> {
        async {
            Ok(Released {
                held: true,
                next: None,
            })
        }
        .boxed()
    }
}

struct Stage {
    scene: Arc<Scene>,
    watched: Watched,
    script: Script,
}

fn stage(keeps: bool) -> Stage {
    let plan = Plan::new(1, Kind::Sqlite, Duration::from_secs(1), None);
    let scene = Scene::new(plan, Arc::new(NoBed::default()));
    // Its name is that of the fixtures' order.
    scene.add_tale(&Arc::new(Tale::new(1, 1)));
    let rest = MemoryStore::new(Arc::new(TestRuntime::new()));
    let store = Arc::new(Agreeing { rest, keeps });
    Stage {
        watched: Watched::new(store, (&scene, 0), &Arc::default(), &Arc::default()),
        scene,
        script: Script::default(),
    }
}

impl Stage {
    fn broken(&self) -> Vec<String> {
        self.scene.ledger.pages().broken
    }

    async fn grant(&mut self, key: &str) -> super::script::Run {
        let asked = self.script.request(key, None);
        match self.watched.acquire(asked.clone()).await {
            Ok(Acquired::Granted(grant)) => super::script::Run {
                asked,
                grant: *grant,
            },
            other => panic!("{other:?}"),
        }
    }

    async fn settle(&self, run: &Run, next: Option<&Run>) -> Accepted {
        let mut settle = fixtures::settle(&run.asked, &run.grant);
        if let Some(next) = next {
            settle = fixtures::handing_over(settle, next.asked.clone());
        }
        match self.watched.settle(settle).await {
            Ok(Settled::Accepted(accepted)) => accepted,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn two_grants_at_a_time_are_seen_by_what_they_release() {
    let mut stage = stage(true);
    let (one, other) = (stage.grant("a").await, stage.grant("b").await);
    for run in [&one, &other] {
        assert!(stage.broken().is_empty(), "{:?}", stage.broken());
        let release = Release {
            target: run.asked.claim.target(),
            fence: run.asked.fence,
            mark: orderlock_core::store::MarkFate::Keep,
            next: None,
        };
        stage.watched.release(release).await.unwrap();
    }
    let broken = stage.broken();
    assert!(
        broken[0].contains("held the order at the same time"),
        "{broken:?}"
    );
}

/// The order goes from `a` to `b` and on, and `a` is told afterwards that it holds it still.
async fn handed_over(keeps: bool) -> Vec<String> {
    let mut stage = stage(keeps);
    let one = stage.grant("a").await;
    let other = next(stage.script.request("b", None), 2);
    let handing = stage.settle(&one, Some(&other)).await;
    let ending = stage.settle(&other, None).await;
    for accepted in [handing, ending] {
        assert_eq!(accepted.durable.await.is_ok(), keeps);
    }
    let release = Release {
        target: one.asked.claim.target(),
        fence: one.asked.fence,
        mark: orderlock_core::store::MarkFate::Keep,
        next: None,
    };
    stage.watched.release(release).await.unwrap();
    stage.broken()
}

#[tokio::test]
async fn what_is_accepted_early_is_certain_once_it_is_durable() {
    assert_eq!(handed_over(false).await, Vec::<String>::new());
    let broken = handed_over(true).await;
    assert!(
        broken[0].contains("held the order at the same time"),
        "{broken:?}"
    );
}

#[tokio::test]
async fn rounds_of_the_nodes_own_housekeeping_are_counted() {
    let mut stage = stage(true);
    let rounds = Arc::default();
    let rest = MemoryStore::new(Arc::new(TestRuntime::new()));
    stage.watched = Watched::new(Arc::new(rest), (&stage.scene, 0), &Arc::default(), &rounds);
    stage.watched.expire(Expire { limit: 1 }).await.unwrap();
    assert_eq!(rounds.load(std::sync::atomic::Ordering::Acquire), 1);
}
