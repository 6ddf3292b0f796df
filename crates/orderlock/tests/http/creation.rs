//! Creations, as an application makes them with the key of a request.

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::post;
use orderlock::{Caller, OrderLock, OrderLockError, RequestKey};
use orderlock_testkit::faults::{Fault, Verb};
use orderlock_testkit::fixtures::ids;

use crate::client::Ask;
use crate::world::{Door, Order, World};

fn order(count: u64) -> Order {
    Order {
        count,
        filling: String::new(),
    }
}

/// A creation, as a service of one's own would write it.
async fn create(
    State(orders): State<OrderLock<Order>>,
    RequestKey(key): RequestKey,
) -> Result<impl IntoResponse, OrderLockError> {
    orders.create(&Caller::single(), key, None, order(0)).await
}

#[tokio::test]
async fn a_creation_is_answered_like_any_operation() {
    let world = World::app(|orders| {
        let answers = orderlock::JsonAnswers::new().with_location_prefix("/orders/");
        let orders = orders.clone().with_answers(answers);
        Router::new()
            .route("/orders", post(create))
            .with_state(orders)
    })
    .await;
    let missing = world.ask(&Ask::new("POST", "/orders")).await;
    missing.expect(400, "idempotency-key-missing");
    let ask = Ask::new("POST", "/orders").header("idempotency-key", "c");
    let first = world.ask(&ask).await.success();
    assert_eq!((first.status, first.header("etag")), (201, Some("\"1\"")));
    let location = first.header("location").unwrap();
    assert!(location.starts_with("/orders/ord_"), "{location}");
    let again = world.ask(&ask).await.success();
    assert_eq!(
        (again.status, again.header("location")),
        (201, Some(location))
    );
    assert_eq!((again.replayed(), &again.body), (true, &first.body));
}

#[tokio::test]
async fn a_creation_with_an_id_of_ones_own_is_one_effect_for_its_key() {
    let world = World::new(Door::Adapter).await;
    let create = async |id: &'static str, count: u64| {
        let (key, id) = (ids::key("own"), Some(ids::order(id)));
        let order = order(count);
        world.orders.create(&Caller::single(), key, id, order).await
    };
    let first = create("BK-1", 0).await.unwrap();
    assert_eq!((first.replayed, first.order.as_str()), (false, "BK-1"));
    // The id is drawn anew on the retry, as everybody would.
    let again = create("BK-2", 0).await.unwrap();
    assert_eq!((again.replayed, again.order.as_str()), (true, "BK-1"));
    let other = create("BK-1", 1).await.unwrap_err();
    assert_eq!(other.problem().kind(), "idempotency-key-reused");
    assert!(!other.is_retryable());
}

#[tokio::test]
async fn a_creation_that_fails_says_so_and_may_be_repeated() {
    let world = World::new(Door::Adapter).await;
    let create = async || {
        let (key, id) = (ids::key("k"), Some(ids::order("o-2")));
        let orders = &world.orders;
        orders.create(&Caller::single(), key, id, order(3)).await
    };
    world.store.fail_next(Verb::Create, Fault::FailBefore);
    let error = create().await.unwrap_err();
    assert_eq!(error.problem().kind(), "store-unavailable");
    assert!(
        error.is_retryable() && error.to_string().contains("same key"),
        "{error}"
    );
    let settled = create().await.unwrap();
    let read = world
        .orders
        .read(&Caller::single(), &settled.order)
        .await
        .unwrap();
    assert_eq!(
        (read.id.as_str(), read.version.0, read.order.count),
        ("o-2", 1, 3)
    );
    assert_eq!(read.times.created, read.times.updated);
    let shown = serde_json::to_value(&read).unwrap();
    assert_eq!(shown["order"]["count"], 3);
    assert_eq!(
        (&shown["id"], &shown["version"]),
        (&"o-2".into(), &1.into())
    );
    assert_eq!(shown["createdAt"], read.times.created.to_string());
    let missing = world
        .orders
        .read(&Caller::single(), &ids::order("o-9"))
        .await;
    assert_eq!(missing.unwrap_err().problem().kind(), "order-not-found");
}
