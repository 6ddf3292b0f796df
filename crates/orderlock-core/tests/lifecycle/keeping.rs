//! What a slow store may cost: not the session, and nobody more than a bounded wait.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use orderlock_core::store::Expire;
use orderlock_core::{Denied, Ended, Limits, OperationRequest, OrderStore as _, Retention};
use orderlock_testkit::faults::{Fault, FaultStore, Gate, Plan, Verb};

use crate::faults::{Faulty, world};
use crate::world::{World, patient, request, settled};

/// Moves the clock on in small steps, and says whether the node was ready all the time.
async fn stays_ready(world: &World, time: Duration) -> bool {
    let step = Duration::from_millis(100);
    let end = world.runtime.elapsed() + time;
    let mut ready = true;
    while world.runtime.elapsed() < end {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        ready &= world.lifecycle.is_ready();
        world.runtime.advance(step);
    }
    ready
}

#[tokio::test]
async fn a_session_outlives_one_renewal_without_an_answer() {
    let (world, store) = world().await;
    store.plan(Plan::new().at_call(Verb::Renew, 1, Fault::Hang));
    assert!(stays_ready(&world, Duration::from_secs(30)).await);
}

/// A store voids what is older than the last renewal and not named by this one. The next in line
/// holds the order as soon as the store has taken the hand-over, even if its node waits for long to
/// be told.
#[tokio::test]
async fn a_renewal_names_the_grant_of_a_hand_over_that_is_on_its_way() {
    let (world, store) = world().await;
    let (first, mut handler) = world.add_later(request("first"));
    handler.begun().await;
    let second = world.add(patient("second"));
    world.waiting(1).await;
    assert!(stays_ready(&world, Duration::from_secs(3)).await);
    let settling = Gate::new();
    store.fail_next(Verb::Settle, Fault::DelayAfter(settling.clone()));
    handler.go();
    settling.reached(1).await;
    assert!(stays_ready(&world, Duration::from_millis(4_500)).await);
    let renewals = store
        .calls()
        .into_iter()
        .filter(|call| *call == Verb::Renew);
    assert_eq!(
        renewals.count(),
        2,
        "both came while the answer was on its way"
    );
    settling.open();
    settled(first.await);
    assert_eq!(
        settled(second.await),
        (r#"applied {"count":2}"#.into(), false)
    );
}

#[tokio::test]
async fn slow_housekeeping_delays_no_renewal() {
    let (world, store) = world().await;
    let hung = |plan: Plan, call| {
        plan.at_call(Verb::Sweep, call, Fault::Hang)
            .at_call(Verb::Expire, call, Fault::Hang)
    };
    store.plan((1..=9).fold(Plan::new(), hung));
    assert!(stays_ready(&world, Duration::from_secs(30)).await);
}

/// A node that has settled so many keys, and whose answers and tombstones are all due by now.
async fn expired(session: Duration, keys: usize) -> (World, Faulty) {
    let limits = Limits {
        session,
        retention: Retention {
            answer: Duration::from_secs(1),
            tombstone: Duration::from_secs(2),
        },
        ..Limits::default()
    };
    let mut faulty = None;
    let world = World::over(limits, |memory| {
        let store = Arc::new(FaultStore::new(memory, Plan::new()));
        faulty = Some(Arc::clone(&store));
        store
    });
    let (world, store) = (world.await, faulty.expect("the store was wrapped"));
    for number in 0..keys {
        settled(world.add(request(&format!("k{number}"))).await);
    }
    world.runtime.advance(Duration::from_secs(2));
    (world, store)
}

fn expiries(store: &Faulty) -> usize {
    let calls = store.calls().into_iter();
    calls.filter(|call| *call == Verb::Expire).count()
}

/// Housekeeping goes on batch after batch while there is more, however long a session is.
#[tokio::test]
async fn what_has_expired_is_ended_as_fast_as_it_comes() {
    for session in [Duration::from_secs(10), Duration::from_secs(3_600)] {
        let (world, store) = expired(session, 1_700).await;
        let begun = world.runtime.elapsed();
        world
            .runtime
            .drive(async {
                while expiries(&store) < 4 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        let took = world.runtime.elapsed() - begun;
        assert!(took <= Duration::from_secs(6), "{took:?}");
        let left = world.memory.expire(Expire { limit: 9 }).await.unwrap();
        assert_eq!((left.answers, left.tombstones), (0, 0));
    }
}

/// For as long as the housekeeping does not come through, it is known how far it is behind.
#[tokio::test]
async fn it_is_known_how_far_the_housekeeping_is_behind() {
    let (world, store) = expired(Duration::from_secs(10), 600).await;
    assert_eq!(world.lifecycle.expiry_behind(), Duration::ZERO);
    let failed = |plan: Plan, call| plan.at_call(Verb::Expire, call, Fault::FailBefore);
    store.plan((2..=3).fold(Plan::new(), failed));
    let until = async |calls| {
        let work = async {
            while expiries(&store) < calls {
                tokio::task::yield_now().await;
            }
        };
        world.runtime.drive(work).await;
    };
    until(3).await;
    let behind = world.lifecycle.expiry_behind();
    assert!(behind >= Duration::from_secs(1), "{behind:?}");
    until(5).await;
    assert_eq!(world.lifecycle.expiry_behind(), Duration::ZERO);
}

/// A node that stood still for longer than its session does not end that session itself.
#[tokio::test]
async fn a_node_that_was_paused_renews_before_it_sweeps() {
    let world = World::new().await;
    let limits = Limits {
        handler: Duration::from_secs(3_600),
        ..Limits::default()
    };
    let node = World::node(&world.store, &world.runtime, "node-2", limits);
    let (begin, begun) = tokio::sync::oneshot::channel();
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let ended = node.run::<crate::world::Counter, String, _, _>(request("k"), |order| async move {
        begin.send(()).unwrap();
        gone.await.unwrap();
        Ok(orderlock_core::Outcome::Applied((*order).clone()))
    });
    begun.await.unwrap();
    world.lifecycle.drain(Duration::ZERO).await.unwrap();
    world.runtime.advance(Duration::from_secs(60));
    stays_ready(&world, Duration::from_secs(5)).await;
    assert!(node.is_ready());
    go.send(()).unwrap();
    settled(ended.await);
}

#[tokio::test]
async fn nobody_waits_for_the_session_behind_all_the_others() {
    let (world, store) = world().await;
    let hung = |plan: Plan, call| plan.at_call(Verb::Join, call, Fault::Hang);
    store.plan((2..=99).fold(Plan::new(), hung));
    let node = World::node(&world.store, &world.runtime, "node-2", Limits::default());
    let begun = world.runtime.elapsed();
    let requests = (0..20).map(|number| {
        let key = format!("k{number}");
        node.run::<crate::world::Counter, String, _, _>(patient(&key), |order| async move {
            Ok(orderlock_core::Outcome::Applied((*order).clone()))
        })
    });
    let requests: Vec<_> = requests.collect();
    for ended in world.runtime.drive(join_all(requests)).await {
        assert!(
            matches!(ended, Ended::Denied(Denied::StoreUnavailable(_))),
            "{ended:?}"
        );
    }
    let waited = world.runtime.elapsed() - begun;
    println!("the last of 20 waited {waited:?}");
    assert!(waited <= Limits::default().store + Duration::from_secs(1));
}

#[tokio::test]
async fn bounds_beyond_every_clock_are_no_bounds_and_no_fault() {
    let limits = Limits {
        handler: Duration::MAX,
        wait: Duration::MAX,
        store: Duration::MAX,
        session: Duration::MAX,
        ..Limits::default()
    };
    let world = World::with_limits(limits).await;
    let ended = world.add(OperationRequest {
        wait: Duration::MAX,
        ..request("k")
    });
    assert_eq!(
        settled(ended.await),
        (r#"applied {"count":1}"#.into(), false)
    );
}
