//! Creations, as an application makes them with the key of a request.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use orderlock::answer::{Asked, answer};
use orderlock::{Caller, Denied, Ended, Operation, OrderLock, RequestKey};
use orderlock_testkit::fixtures::ids;

use crate::client::Ask;
use crate::world::{Door, Order, World};

/// A creation, as a service of one's own would write it.
async fn create(State(orders): State<OrderLock<Order>>, RequestKey(key): RequestKey) -> Response {
    let order = Order {
        count: 0,
        filling: String::new(),
    };
    let ended = orders.create(&Caller::single(), key, None, order).await;
    let asked = Asked {
        order: None,
        operation: Operation::named("create").name().clone(),
        recovery: None,
        wait: None,
    };
    let Ok(reply) = answer(&**orders.lifecycle().answers(), &asked, ended);
    reply.into_response()
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
        let order = Order {
            count,
            filling: String::new(),
        };
        let (key, id) = (ids::key("own"), Some(ids::order(id)));
        world.orders.create(&Caller::single(), key, id, order).await
    };
    let first = create("BK-1", 0).await;
    assert!(matches!(
        first,
        Ended::Settled {
            replayed: false,
            ..
        }
    ));
    // The id is drawn anew on the retry, as everybody would.
    let again = create("BK-2", 0).await;
    assert!(matches!(again, Ended::Settled { replayed: true, .. }));
    let other = create("BK-1", 1).await;
    assert!(matches!(other, Ended::Denied(Denied::KeyReused)));
}
