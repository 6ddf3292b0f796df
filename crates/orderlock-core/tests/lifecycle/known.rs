//! What is known of a key, and told without a run.

use std::time::Duration;

use orderlock_core::{
    Denied, Ended, Fingerprint, KeyStatus, Limits, LockedOrder, Operation, OperationRequest,
    Outcome, Recovery,
};
use orderlock_testkit::faults::{Fault, Verb};

use crate::faults::world;
use crate::world::{Counter, Ending, World, asking, creation, request, settled};

/// The same key, asked for something else.
fn otherwise(request: &OperationRequest) -> OperationRequest {
    OperationRequest {
        fingerprint: asking(request.operation.clone(), "k", r#"{"x":1}"#).fingerprint,
        ..request.clone()
    }
}

async fn stored(
    world: &World,
    request: &OperationRequest,
) -> Result<Option<Ended<std::convert::Infallible>>, Denied> {
    let node = &world.lifecycle;
    let order = Some(&request.order);
    node.stored(&request.caller, order, &request.key, request.fingerprint)
        .await
}

async fn status(world: &World, request: &OperationRequest) -> KeyStatus {
    let node = &world.lifecycle;
    let status = node.status(&request.caller, &request.order, &request.key);
    status.await.unwrap()
}

/// The journal has nothing to say to this request, and refuses another under its key.
async fn assert_open(world: &World, request: &OperationRequest) {
    let told = stored(world, request).await;
    assert!(matches!(told, Ok(None)), "{told:?}");
    assert_reused(world, request).await;
}

async fn assert_reused(world: &World, request: &OperationRequest) {
    let told = stored(world, &otherwise(request)).await;
    assert!(
        matches!(told, Ok(Some(Ended::Denied(Denied::KeyReused)))),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_stored_answer_is_told_to_its_own_request_only() {
    let world = World::new().await;
    let request = request("k");
    for new in [request.clone(), otherwise(&request)] {
        let told = stored(&world, &new).await;
        assert!(matches!(told, Ok(None)), "{told:?}");
    }
    let (running, mut handler) = world.add_later(request.clone());
    handler.begun().await;
    assert_open(&world, &request).await;
    handler.go();
    settled(running.await);
    let told = stored(&world, &request).await.unwrap();
    let told = settled(told.expect("it is stored"));
    assert_eq!(told, (r#"applied {"count":1}"#.into(), true));
    assert_reused(&world, &request).await;
}

#[tokio::test]
async fn a_key_past_its_retention_is_told_as_such_to_its_own_request_only() {
    let world = World::new().await;
    let request = request("k");
    settled(world.add(request.clone()).await);
    world.runtime.advance(Limits::default().retention.answer);
    let told = stored(&world, &request).await;
    assert!(
        matches!(told, Ok(Some(Ended::Denied(Denied::KeyExpired)))),
        "{told:?}"
    );
    assert_reused(&world, &request).await;
    assert!(matches!(status(&world, &request).await, KeyStatus::Expired));
    let ended = world.add(request.clone()).await;
    assert!(
        matches!(ended, Ended::Denied(Denied::KeyExpired)),
        "{ended:?}"
    );
    let ended = world.add(otherwise(&request)).await;
    assert!(
        matches!(ended, Ended::Denied(Denied::KeyReused)),
        "{ended:?}"
    );
}

#[tokio::test]
async fn an_open_mark_is_told_as_the_keys_status() {
    let recovery = Recovery::Resume {
        times: 2,
        within: Duration::from_secs(60),
    };
    let world = World::new().await;
    let paying = asking(Operation::named("pay").external(recovery), "k", "{}");
    let failing = |_: LockedOrder<Counter>| async { Err::<Outcome<Counter>, _>("down".to_owned()) };
    let ended: Ending = world.lifecycle.run(paying.clone(), failing).await;
    assert!(
        matches!(ended, Ended::Failed { marked: true, .. }),
        "{ended:?}"
    );
    assert_open(&world, &paying).await;
    let seen = async || match status(&world, &paying).await {
        KeyStatus::OutcomeUnknown(mark) => mark.recovery,
        other => panic!("{other:?}"),
    };
    assert_eq!(seen().await, recovery);
    // Its time is over: the client's own retry would not run any more.
    world.runtime.advance(Duration::from_secs(61));
    assert_eq!(seen().await, Recovery::Reconcile);
}

#[tokio::test]
async fn a_key_that_creates_is_told_without_its_order() {
    let world = World::new().await;
    let request = creation(None, "c", "body");
    let told = world
        .lifecycle
        .create(request.clone(), Counter { count: 5 });
    settled(told.await);
    let stored = async |fingerprint| {
        let node = &world.lifecycle;
        let told = node.stored(&request.caller, None, &request.key, fingerprint);
        told.await.unwrap().expect("it is stored")
    };
    let told = settled(stored(request.fingerprint).await);
    assert_eq!(told, (r#"created {"count":5}"#.into(), true));
    let other = stored(Fingerprint([9; 32])).await;
    assert!(
        matches!(other, Ended::Denied(Denied::KeyReused)),
        "{other:?}"
    );

    let order = world.lifecycle.order_id(&request.caller, &request.key);
    let add = OperationRequest {
        order: order.await.unwrap(),
        ..crate::world::request("k")
    };
    let told = settled(world.add(add).await);
    assert_eq!(told, (r#"applied {"count":6}"#.into(), false));
}

#[tokio::test]
async fn a_store_out_of_reach_is_no_word_about_a_key() {
    let (world, store) = world().await;
    store.fail_next(Verb::Lookup, Fault::FailBefore);
    let told = stored(&world, &request("k")).await;
    assert!(matches!(told, Err(Denied::StoreUnavailable(_))), "{told:?}");
    store.fail_next(Verb::Lookup, Fault::LoseRequest);
    let request = request("k");
    let node = &world.lifecycle;
    let told = node.status(&request.caller, &request.order, &request.key);
    let told = told.await;
    assert!(matches!(told, Err(Denied::StoreUnavailable(_))), "{told:?}");
}

/// Where the answer is out of reach, nobody is told that nothing was applied: this one is a retry.
#[tokio::test]
async fn no_denial_claims_to_know_a_key_that_could_not_be_looked_up() {
    let (world, store) = world().await;
    settled(world.add(request("done")).await);
    let (first, mut handler) = world.add_later(request("k"));
    handler.begun().await;
    store.fail_next(Verb::Lookup, Fault::FailBefore);
    let ended = world.add(request("done")).await;
    assert!(
        matches!(ended, Ended::Denied(Denied::StoreUnavailable(_))),
        "{ended:?}"
    );
    handler.go();
    settled(first.await);
}
