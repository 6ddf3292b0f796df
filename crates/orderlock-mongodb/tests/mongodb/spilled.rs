//! Keys of which only the journal knows.

use std::sync::{Arc, Mutex};

use mongodb::bson::{Document as Fields, doc};
use mongodb::event::command::CommandEvent;
use orderlock_core::store::{Acquired, Decision, Final, FinalOutcome, Resolve, Resolved};
use orderlock_core::{OrderStore as _, Recovery, StoreError};
use orderlock_mongodb::MongodbOptions;
use orderlock_testkit::fixtures::{self, ids};

use crate::handing::spilled;
use crate::proxy::{Fate, Proxy};
use crate::world::{World, hold};

/// A node that died between the grant and its look into the journal would leave a mark of a settled key.
#[tokio::test]
async fn no_mark_is_written_before_the_journal_is_asked() {
    let sent: Arc<Mutex<Vec<Fields>>> = Arc::default();
    let log = Arc::clone(&sent);
    let options = MongodbOptions::default().with_command_events(move |event| {
        if let CommandEvent::Started(started) = event {
            log.lock().unwrap().push(started.command);
        }
    });
    let world = World::with(options).await;
    spilled(&world).await;
    sent.lock().unwrap().clear();
    let mut request = world.request("o1", "k0");
    request.mark = Some(Recovery::Reconcile);
    let told = world.store.acquire(request).await.unwrap();
    assert!(matches!(told, Acquired::Settled(_)), "{told:?}");
    let commands = std::mem::take(&mut *sent.lock().unwrap());
    let wrote = commands.iter().any(|command| {
        let update = command.get_document("update");
        let set = update.and_then(|update| update.get_document("$set"));
        set.is_ok_and(|set| set.contains_key("orderlock.mark"))
    });
    assert!(
        wrote,
        "the first try of an operation names all that it rests on"
    );
    assert_eq!(world.view("o1").await.lease, None);
    // Its filter lets it take no order whose document says less than all of its keys.
    let takes = commands
        .iter()
        .find(|command| command.contains_key("findAndModify"));
    let query = takes.unwrap().get_document("query").unwrap();
    assert!(query.contains_key("orderlock.spilled"), "{query}");
    let mut request = world.request("o1", "new");
    request.mark = Some(Recovery::Reconcile);
    let held = hold(&world.store, request).await;
    world.settle(held.settle()).await.unwrap();
}

#[tokio::test]
async fn a_mark_of_a_settled_key_is_no_mark() {
    let world = World::new().await;
    world.order("o1").await;
    let mut request = world.request("o1", "k1");
    request.mark = Some(Recovery::Reconcile);
    let held = hold(&world.store, request).await;
    let raw = world.raw("o1").await;
    let mark = raw.get_document("orderlock").unwrap().get("mark").cloned();
    world.settle(held.settle()).await.unwrap();
    // As an earlier build could leave it.
    world
        .write("o1", doc! {"$set": {"orderlock.mark": mark}})
        .await;
    let told = world
        .store
        .acquire(world.request("o1", "k2"))
        .await
        .unwrap();
    assert!(matches!(told, Acquired::Marked(_)), "{told:?}");
    let retention = fixtures::RETENTION;
    let settle = Decision::Settle {
        version: held.grant.version.next(),
        end: Final {
            outcome: FinalOutcome::Refused,
            answer: fixtures::answer("decided"),
        },
        retention,
    };
    for decision in [settle, Decision::RunAgain { retention }] {
        let resolve = Resolve {
            target: ids::target("o1"),
            key_id: held.request.claim.key_id,
            attempt: held.grant.attempt,
            since: held.grant.now,
            decision,
            actor: ids::principal("operator"),
            reason: "it stands there".into(),
        };
        assert_eq!(
            world.store.resolve(resolve).await.unwrap(),
            Resolved::NotMarked
        );
    }
    assert_eq!(world.history("o1").await.len(), 2);
    world.hold("o1", "k2").await;
}

/// The grant is written, and what it rests on is not known: nobody says that it was not granted.
#[tokio::test]
async fn an_error_behind_a_grant_leaves_it_in_doubt() {
    let proxy = Proxy::new().await;
    let world = World::by_way_of(&proxy.address(), MongodbOptions::default()).await;
    spilled(&world).await;
    let request = world.request("o1", "new");
    let answer = doc! {"ok": 0.0, "code": 13, "codeName": "Unauthorized", "errmsg": "no"};
    proxy.meet(
        "find",
        "orders_orderlock_journal",
        Fate::Answered(answer),
        usize::MAX,
    );
    let told = world.store.acquire(request.clone()).await;
    assert!(
        matches!(told, Err(StoreError::OutcomeUnknown(_))),
        "{told:?}"
    );
    proxy.let_pass();
    let held = hold(&world.store, request).await;
    world.settle(held.settle()).await.unwrap();
}
