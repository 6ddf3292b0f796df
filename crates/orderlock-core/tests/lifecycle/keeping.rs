//! What a slow store may cost: not the session, and nobody more than a bounded wait.

use std::time::Duration;

use futures_util::future::join_all;
use orderlock_core::{Denied, Ended, Limits, OperationRequest};
use orderlock_testkit::faults::{Fault, Gate, Plan, Verb};

use crate::faults::{driven, world};
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
    for ended in driven(&world.runtime, join_all(requests)).await {
        assert!(
            matches!(ended, Ended::Denied(Denied::StoreUnavailable(_))),
            "{ended:?}"
        );
    }
    let waited = world.runtime.elapsed() - begun;
    println!("the last of 20 waited {waited:?}");
    assert!(waited <= Limits::default().store * 2 + Duration::from_secs(1));
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
