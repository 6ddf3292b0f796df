//! Values as other services write them, and clients send them.

use std::sync::Arc;

use mongodb::bson::{Bson, DateTime, doc};
use orderlock_core::store::{Change, Created, Settled};
use orderlock_core::{
    Answer, Answers, Caller, CreateRequest, Document, Ended, Failed, Lifecycle, OrderStore as _,
    OrderType, OwnedIndex, Problem, Runtime as _, SettledView, StoreError, TokioRuntime,
};
use orderlock_testkit::fixtures::{self, ids};
use serde::{Deserialize, Serialize};

use crate::world::{Held, World};

#[derive(Serialize, Deserialize)]
struct Line {
    sku: String,
    quantity: u32,
}

/// What a handler knows of an order that is another service's too.
#[derive(Serialize, Deserialize)]
struct Order {
    lines: Vec<Line>,
    total: i64,
}

async fn shared(world: &World) {
    let until = DateTime::from_millis(1_900_000_000_000);
    let line = |sku: &str, note: &str| {
        doc! {"sku": sku, "quantity": 1, "reservedUntil": until, "giftNote": note, "taxClass": 7}
    };
    let order = doc! {
        "_id": "f1", "locked": null, "total": 3_000_000_000.0, "at": 1.5, "count": 0,
        "lines": [line("A", "for Ann"), line("B", "for Bob")],
    };
    world.foreign_order(order).await;
}

async fn write(world: &World, held: &Held, order: &Order) -> Settled {
    let mut settle = held.settle();
    *fixtures::change_of(&mut settle) = Change {
        before: held.grant.document.clone(),
        after: Document::encode(order).unwrap(),
        index: OwnedIndex::default(),
        at: held.grant.now,
    };
    world.store.settle(settle).await.unwrap()
}

#[tokio::test]
async fn members_of_list_items_stay_that_a_type_does_not_know() {
    let world = World::new().await;
    shared(&world).await;
    let before = world.raw("f1").await;
    let held = world.hold("f1", "k1").await;
    let mut order: Order = held.grant.document.decode().unwrap();
    order.lines[0].quantity = 2;
    let written = write(&world, &held, &order).await;
    assert!(matches!(written, Settled::Accepted(_)), "{written:?}");
    let (after, mut expected) = (world.raw("f1").await, before.get("lines").cloned().unwrap());
    let first = expected.as_array_mut().unwrap()[0].as_document_mut();
    first.unwrap().insert("quantity", 2);
    assert_eq!(after.get("lines"), Some(&expected));
}

#[tokio::test]
async fn a_change_that_could_lose_them_is_refused() {
    let world = World::new().await;
    shared(&world).await;
    let before = world.raw("f1").await;
    let held = world.hold("f1", "k1").await;
    let mut order: Order = held.grant.document.decode().unwrap();
    order.lines[0].sku = "C".into();
    let Settled::Impossible(why) = write(&world, &held, &order).await else {
        panic!("the note for Ann is lost, or another article's");
    };
    assert!(why.contains("`lines`"), "{why}");
    assert_eq!(world.raw("f1").await.get("lines"), before.get("lines"));
    assert_eq!(world.view("f1").await.lease, None);
}

#[tokio::test]
async fn a_whole_number_of_a_driver_that_knows_only_doubles_is_an_integer() {
    let world = World::new().await;
    shared(&world).await;
    let held = world.hold("f1", "k1").await;
    let mut order: Order = held.grant.document.decode().unwrap();
    assert_eq!(order.total, 3_000_000_000);
    order.lines[0].quantity = 2;
    write(&world, &held, &order).await;
    let after = world.raw("f1").await;
    assert_eq!(
        after.get("total"),
        Some(&Bson::Double(3e9)),
        "its type stays"
    );
    // The same number of another type is no change.
    let whole = doc! {"$set": {"total": 3_000_000_000_i64}};
    world.write("f1", whole).await;
    let next = world.hold("f1", "k2").await;
    assert_eq!(next.grant.version, held.grant.version.next());
    let shown = String::from_utf8(next.grant.document.as_bytes().to_vec()).unwrap();
    assert!(
        shown.contains(r#""total":3000000000"#) && shown.contains(r#""at":1.5"#),
        "{shown}"
    );
}

/// A client's data are the client's, whatever they look like.
#[tokio::test]
async fn what_was_sent_is_what_is_shown() {
    let world = World::new().await;
    let data = [
        r#"{"$oid":"no"}"#,
        r#"{"$oid":"0123456789abcdef01234567"}"#,
        r#"{"$date":"x"}"#,
        r#"{"$numberLong":"12"}"#,
        r#"{"$numberDouble":"NaN"}"#,
        r#"{"$code":"x"}"#,
        r#"{"$minKey":1}"#,
        r#"{"$foo":1}"#,
        r#"{"b.c":1,"":2}"#,
        "18446744073709551615",
        "1.0",
        r#""a\u0000b""#,
    ];
    for (turn, data) in data.into_iter().enumerate() {
        let name = format!("o{turn}");
        let mut create = fixtures::create(fixtures::claim(&name, "c"), TokioRuntime.wall());
        let sent = format!(r#"{{"count":1,"metadata":{{"a":{data}}}}}"#);
        create.document = Document::parse(sent.clone()).unwrap();
        let created = world.store.create(create).await.unwrap();
        assert!(
            matches!(created, Created::Inserted(_)),
            "{data}: {created:?}"
        );
        let shown = world.view(&name).await.document;
        assert_eq!(String::from_utf8_lossy(shown.as_bytes()), sent);
        // A change beside it leaves it as it is.
        let held = world.hold(&name, "k1").await;
        let mut settle = held.settle();
        let after = sent.replace(r#""count":1"#, r#""count":2"#);
        fixtures::change_of(&mut settle).after = Document::parse(after.clone()).unwrap();
        world.settle(settle).await.unwrap();
        let shown = world.view(&name).await.document;
        assert_eq!(String::from_utf8_lossy(shown.as_bytes()), after);
        assert_eq!(
            world.history(&name).await.len(),
            2,
            "{data}: nobody else has changed it"
        );
    }
}

#[tokio::test]
async fn what_can_never_be_kept_is_refused_for_good() {
    let world = World::new().await;
    let deep = format!("{}1{}", "[".repeat(120), "]".repeat(120));
    for data in [r#"{"b\u0000c":1}"#, &deep] {
        let mut create = fixtures::create(fixtures::claim("o1", "c"), TokioRuntime.wall());
        create.document = Document::parse(format!(r#"{{"a":{data}}}"#)).unwrap();
        let refused = world.store.create(create).await;
        assert!(
            matches!(refused, Err(StoreError::Unsupported(_))),
            "{refused:?}"
        );
    }
}

/// Answers that nobody looks at.
#[derive(Debug)]
struct NoAnswers;

impl Answers for NoAnswers {
    fn answer(&self, _: SettledView<'_>) -> Answer {
        fixtures::answer("made")
    }

    fn problem(&self, _: &Problem, _: Option<SettledView<'_>>) -> Answer {
        fixtures::answer("not made")
    }
}

/// An order that holds what its client has sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sent(serde_json::Value);

impl OrderType for Sent {}

#[tokio::test]
async fn its_client_is_not_told_to_ask_again() {
    let world = World::new().await;
    let node = Lifecycle::builder(Arc::new(world.store.clone()), NoAnswers).build();
    let operation = ids::operation("create");
    let request = CreateRequest {
        caller: Caller::single(),
        order: None,
        key: ids::key("k1"),
        fingerprint: fixtures::fingerprint("{}"),
        operation,
    };
    let sent = Sent(serde_json::json!({"metadata": {"a\0b": 1}}));
    let ended = node.create(request, sent).await;
    let Ended::Failed { failure, .. } = ended else {
        panic!("not failed but {ended:?}");
    };
    assert!(matches!(failure, Failed::Unwritable(_)), "{failure:?}");
}
