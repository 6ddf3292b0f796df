//! Many calls at once: in any order of events, every effect is there once.

use std::collections::BTreeSet;

use orderlock_core::store::{Acquire, Acquired, Loss, MarkFate};

use super::node::{Held, Node};
use super::world::{Ended, World, granted, single};
use crate::fixtures;

const WORKERS: u64 = 5;
const TURNS: u64 = 20;

/// Asks until the lease is granted. Each turn lets the others run; their number bounds the wait.
async fn insist(node: &Node, request: &Acquire) -> Option<Held> {
    for _ in 0..1_000_000 {
        match node.acquire(request.clone()).await {
            Acquired::Granted(grant) => {
                return Some(Held {
                    request: request.clone(),
                    grant: *grant,
                });
            }
            Acquired::Held(_) | Acquired::InProgress(_) => tokio::task::yield_now().await,
            Acquired::Settled(_) => return None,
            other => panic!("neither granted nor held but {other:?}"),
        }
    }
    panic!("the order never becomes free");
}

#[track_caller]
fn assert_applied(ended: &Ended) {
    assert!(matches!(ended, Ended::Applied(..)), "{ended:?}");
}

pub(crate) async fn many_increments_end_at_their_number(world: World) {
    world.order("o1").await;
    let mut workers = Vec::new();
    for worker in 0..WORKERS {
        let node = world.join(&format!("node{worker}")).await;
        workers.push(tokio::spawn(async move {
            for turn in 0..TURNS {
                let claim = fixtures::claim("o1", &format!("w{worker}t{turn}"));
                let held = insist(&node, &node.request(claim)).await.unwrap();
                assert_applied(&node.settle(held.settle()).await);
            }
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(world.count("o1").await, WORKERS * TURNS);
    let history = world.history("o1").await;
    assert_eq!(history.len() as u64, WORKERS * TURNS + 1);
    let keys: BTreeSet<_> = history.iter().map(|entry| entry.key_id).collect();
    assert_eq!(keys.len(), history.len(), "each key has one effect");
}

pub(crate) async fn many_runs_of_one_key_have_one_effect(world: World) {
    world.order("o1").await;
    let mut workers = Vec::new();
    for worker in 0..8 {
        let node = world.join(&format!("node{worker}")).await;
        workers.push(tokio::spawn(async move {
            let request = node.request(fixtures::claim("o1", "k1"));
            match insist(&node, &request).await {
                Some(held) => {
                    assert_applied(&node.settle(held.settle()).await);
                    1
                }
                None => 0,
            }
        }));
    }
    let mut ran = 0;
    for worker in workers {
        ran += worker.await.unwrap();
    }
    assert_eq!(ran, 1);
    assert_eq!(world.count("o1").await, 1);
}

pub(crate) async fn orders_do_not_disturb_each_other(world: World) {
    let mut workers = Vec::new();
    for worker in 0..WORKERS {
        let order = format!("o{worker}");
        world.order(&order).await;
        let node = world.join(&format!("node{worker}")).await;
        workers.push(tokio::spawn(async move {
            for turn in 0..TURNS {
                // No other key wants this order, so it is never held.
                let held = node.hold(&order, &format!("k{turn}")).await;
                assert_applied(&node.settle(held.settle()).await);
            }
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    for worker in 0..WORKERS {
        assert_eq!(world.count(&format!("o{worker}")).await, TURNS);
    }
}

pub(crate) async fn one_of_many_settles_of_a_grant_is_written(world: World) {
    world.order("o1").await;
    let held = world.join("a").await.hold("o1", "k1").await;
    let mut repeats = Vec::new();
    for _ in 0..8 {
        let (verbs, settle) = ((*world).clone(), held.settle());
        repeats.push(tokio::spawn(async move { verbs.settle(settle).await }));
    }
    let mut answers = Vec::new();
    for repeat in repeats {
        answers.push(repeat.await.unwrap());
    }
    assert_applied(&answers[0]);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(world.count("o1").await, 1);
    assert_eq!(world.history("o1").await.len(), 2);
}

pub(crate) async fn chains_and_newcomers_share_an_order(world: World) {
    world.order("o1").await;
    let mut workers = Vec::new();
    for worker in 0..3 {
        let node = world.join(&format!("node{worker}")).await;
        workers.push(tokio::spawn(async move {
            let request = |turn| {
                let claim = fixtures::claim("o1", &format!("w{worker}t{turn}"));
                node.request(claim)
            };
            let mut held = insist(&node, &request(0)).await.unwrap();
            for turn in 1..TURNS {
                let next = request(turn);
                let settle = fixtures::handing_over(held.settle(), next.clone());
                let Ended::Applied(_, Some(acquired)) = node.settle(settle).await else {
                    panic!("the chain broke");
                };
                held = Held {
                    request: next,
                    grant: granted(acquired),
                };
            }
            assert_applied(&node.settle(held.settle()).await);
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(world.count("o1").await, 3 * TURNS);
}

pub(crate) async fn a_settle_and_a_sweep_agree(world: World) {
    let node = world.join("a").await;
    let mut held = Vec::new();
    for number in 0..30 {
        let order = format!("o{number}");
        world.order(&order).await;
        held.push(node.hold(&order, "k1").await);
    }
    world.pass(super::world::SESSION * 2);
    let sweep = {
        let verbs = (*world).clone();
        tokio::spawn(async move { verbs.sweep().await })
    };
    let mut applied = 0;
    for held in held {
        let order = held.request.claim.order.clone();
        let ended = world.settle(held.settle()).await;
        let count = world.count(order.as_str()).await;
        match ended {
            Ended::Applied(..) => {
                assert_eq!(count, 1);
                applied += 1;
            }
            other => assert_eq!((count, other), (0, Ended::Lost(Loss::NotHeld))),
        }
    }
    let voided = sweep.await.unwrap();
    assert_eq!(applied + voided, 30, "each lease ended in one way");
    assert_eq!(world.leases(&single()).await, []);
}

pub(crate) async fn leases_voided_at_any_moment_do_no_damage(world: World) {
    world.order("o1").await;
    let (done, watch) = tokio::sync::watch::channel(false);
    let vandal = {
        let verbs = (*world).clone();
        tokio::spawn(async move {
            let mut voided = 0_u64;
            while !*watch.borrow() {
                for lease in verbs.leases(&single()).await {
                    let request = orderlock_core::store::BreakLease {
                        tenant: single(),
                        lease: lease.id,
                        actor: fixtures::ids::principal("vandal"),
                        reason: "any moment".into(),
                    };
                    let broken = verbs.break_lease(request).await;
                    voided += u64::from(matches!(broken, orderlock_core::store::Broken::Broken(_)));
                }
                tokio::task::yield_now().await;
            }
            voided
        })
    };
    let mut workers = Vec::new();
    for worker in 0..3 {
        let node = world.join(&format!("node{worker}")).await;
        workers.push(tokio::spawn(async move {
            for turn in 0..TURNS {
                let claim = fixtures::claim("o1", &format!("w{worker}t{turn}"));
                run_until_settled(&node, claim).await;
            }
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    done.send(true).unwrap();
    let voided = vandal.await.unwrap();
    assert_eq!(world.count("o1").await, 3 * TURNS, "{voided} leases voided");
    let history = world.history("o1").await;
    let applied = history.iter().filter(|entry| entry.change.is_some());
    assert_eq!(applied.count() as u64, 3 * TURNS + 1);
    assert_eq!(history.len() as u64, 3 * TURNS + 1 + voided);
}

/// What a client does: the same key again, until it is settled.
async fn run_until_settled(node: &Node, claim: orderlock_core::store::Claim) {
    for _ in 0..100_000 {
        let Some(held) = insist(node, &node.request(claim.clone())).await else {
            return;
        };
        match node.settle(held.settle()).await {
            Ended::Applied(..) => return,
            Ended::Lost(_) => {}
            Ended::Impossible => panic!("a counter always fits"),
        }
        assert!(!node.release(held.release(MarkFate::Keep)).await.held);
    }
    panic!("a key is never settled");
}
