//! A store that fails before, after, twice or not at all, at each verb of one operation.

use std::sync::Arc;
use std::time::Duration;

use orderlock_core::{Ended, Failed, Limits, LockedOrder, Outcome, OutcomeKind, Version};
use orderlock_testkit::MemoryStore;
use orderlock_testkit::faults::{Fault, FaultStore, Gate, Plan, Verb};
use tokio::sync::oneshot;

use crate::world::{Counter, World, patient, request, settled};

pub(crate) type Faulty = Arc<FaultStore<Arc<MemoryStore>>>;

pub(crate) async fn world() -> (World, Faulty) {
    let mut faulty = None;
    let world = World::over(Limits::default(), |memory| {
        let store = Arc::new(FaultStore::new(memory, Plan::new()));
        faulty = Some(Arc::clone(&store));
        store
    });
    (world.await, faulty.expect("the store was wrapped"))
}

fn faults() -> [(&'static str, Fault); 6] {
    [
        ("fails before", Fault::FailBefore),
        ("done, but told failed", Fault::FailAfter),
        ("not done, and told unknown", Fault::LoseRequest),
        ("done twice", Fault::Repeat),
        ("done, and no answer", Fault::DropAnswer),
        ("not done, and no answer", Fault::Hang),
    ]
}

/// Sends the request until it is settled, as a client does.
async fn until_settled(world: &World, key: &str) -> String {
    for _ in 0..20 {
        if let Ended::Settled { answer, .. } = world.add(patient(key)).await {
            return String::from_utf8(answer.body.to_vec()).unwrap();
        }
    }
    panic!("{key} never settled");
}

#[tokio::test]
async fn whatever_fails_once_a_retry_finds_one_effect() {
    for verb in [
        Verb::Acquire,
        Verb::Settle,
        Verb::Release,
        Verb::Undo,
        Verb::Lookup,
    ] {
        for (name, fault) in faults() {
            let (world, store) = world().await;
            store.fail_next(verb, fault);
            let work = async {
                // A failure makes the lifecycle release; the retry settles.
                let down = |_: LockedOrder<Counter>| async {
                    Err::<Outcome<Counter>, _>("down".to_owned())
                };
                let _failed = world.lifecycle.run(request("k"), down).await;
                let first = until_settled(&world, "k").await;
                assert_eq!(first, until_settled(&world, "k").await, "{verb:?} {name}");
                // Whatever lease was left behind is not known to the node's renewals.
                until_settled(&world, "other").await
            };
            world.runtime.drive(work).await;
            World::assert_free(&world.view().await, 3, 2);
            let outcomes = world.outcomes().await;
            assert_eq!(outcomes, [OutcomeKind::Applied; 2], "{verb:?} {name}");
            println!("{verb:?} {name}: struck {:?}", store.struck());
        }
    }
}

#[tokio::test]
async fn a_hand_over_whose_answer_is_lost_reaches_the_one_that_waits() {
    for (name, fault) in faults() {
        let (world, store) = world().await;
        let (first, mut handler) = world.add_later(request("first"));
        handler.begun().await;
        let waiting = world.add(patient("waiting"));
        let behind = world.add(patient("behind"));
        world.waiting(2).await;
        store.fail_next(Verb::Settle, fault);
        handler.go();
        world
            .runtime
            .drive(async {
                let _perhaps_unknown = first.await;
                let _perhaps_unknown = (waiting.await, behind.await);
                for key in ["first", "waiting", "behind"] {
                    until_settled(&world, key).await;
                }
            })
            .await;
        World::assert_free(&world.view().await, 4, 3);
        assert_eq!(world.outcomes().await, [OutcomeKind::Applied; 3], "{name}");
    }
}

#[tokio::test]
async fn a_settle_without_an_answer_is_told_as_unknown_and_the_key_tells_the_rest() {
    let (world, store) = world().await;
    let lost = |plan: Plan, call| plan.at_call(Verb::Settle, call, Fault::DropAnswer);
    store.plan((1..=4).fold(Plan::new(), lost));
    let ended = world.runtime.drive(world.add(request("k"))).await;
    assert!(matches!(ended, Ended::Unknown), "{ended:?}");
    let retry = world.runtime.drive(until_settled(&world, "k")).await;
    assert_eq!(retry, r#"applied {"count":1}"#);
    World::assert_free(&world.view().await, 2, 1);
}

/// The first try was applied and its answer lost. That the later ones were not says nothing.
#[tokio::test]
async fn a_settle_that_may_have_happened_is_told_as_unknown_whatever_its_repeats_come_to() {
    let (world, store) = world().await;
    let plan = Plan::new().at_call(Verb::Settle, 1, Fault::FailAfter);
    let failed = |plan: Plan, call| plan.at_call(Verb::Settle, call, Fault::FailBefore);
    store.plan((2..=4).fold(plan, failed));
    let ended = world.runtime.drive(world.add(request("k"))).await;
    assert!(matches!(ended, Ended::Unknown), "{ended:?}");
    assert_eq!(
        settled(world.add(request("k")).await),
        (r#"applied {"count":1}"#.into(), true)
    );
    World::assert_free(&world.view().await, 2, 1);
}

#[tokio::test]
async fn a_time_out_waits_for_the_checkpoint_that_is_on_its_way() {
    let (world, store) = world().await;
    let gate = Gate::new();
    store.fail_next(Verb::Settle, Fault::DelayAfter(gate.clone()));
    let (begin, begun) = oneshot::channel();
    let work = |order: LockedOrder<Counter>| async move {
        begin.send(()).unwrap();
        let order = order.checkpoint(Counter { count: 10 }).await.unwrap();
        Ok::<_, String>(Outcome::Applied(Counter {
            count: order.count + 1,
        }))
    };
    let ended = world.lifecycle.run(request("k"), work);
    begun.await.unwrap();
    gate.reached(1).await;
    // The handler's limit comes before the store's answer, and the checkpoint has been applied.
    world.runtime.advance(Duration::from_secs(31));
    gate.open();
    let ended = world.runtime.drive(ended).await;
    let Ended::Failed {
        failure: Failed::TimedOut,
        partial,
        ..
    } = ended
    else {
        panic!("{ended:?}")
    };
    assert_eq!(partial.expect("the checkpoint counts").version, Version(2));
    World::assert_free(&world.view().await, 2, 10);
}

#[tokio::test]
async fn a_store_that_takes_no_writes_for_a_while_loses_nothing() {
    let (world, store) = world().await;
    settled(world.add(request("before")).await);
    let failed = |plan: Plan, call| plan.at_call(Verb::Settle, call, Fault::FailBefore);
    store.plan((2..=5).fold(Plan::new(), failed));
    let ended = world.runtime.drive(world.add(request("k"))).await;
    let Ended::Denied(orderlock_core::Denied::StoreUnavailable(_)) = ended else {
        panic!("{ended:?}")
    };
    World::assert_free(&world.view().await, 2, 1);
    let (_, replayed) = settled(world.add(request("k")).await);
    assert!(!replayed);
    World::assert_free(&world.view().await, 3, 2);
}
