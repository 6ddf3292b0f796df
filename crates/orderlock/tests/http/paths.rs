//! What a path asks for beside the order: under one key, another path is another request.

use axum::Router;
use axum::routing::{post, put};

use crate::client::Ask;
use crate::requests::count;
use crate::world::{Lock, Seen, World};

#[tokio::test]
async fn what_a_path_asks_for_is_part_of_what_the_key_belongs_to() {
    let world = World::app(|orders| {
        let rooms = Router::new()
            .route("/rooms/{room}", orders.put("room", count))
            .route("/tags/{tag}", put(count).layer(orders.layer("tag")));
        let changes = Router::new()
            .route("/confirm", post(count))
            .route("/cancel", post(count))
            .route_layer(orders.layer("change"));
        Router::new().nest("/hotels/{hotel}/orders/{id}", rooms.merge(changes))
    })
    .await;
    let asked = |method, path, key| Ask::new(method, path).header("idempotency-key", key);
    for (key, method, first, others) in [
        (
            "k-1",
            "PUT",
            "/hotels/ritz/orders/o-1/rooms/1",
            // A room by the order's own name is a room of its own, too.
            &[
                "/hotels/ritz/orders/o-1/rooms/2",
                "/hotels/ritz/orders/o-1/rooms/o-1",
            ][..],
        ),
        (
            "k-2",
            "PUT",
            "/hotels/ritz/orders/o-1/rooms/1",
            &["/hotels/savoy/orders/o-1/rooms/1"],
        ),
        (
            "k-3",
            "PUT",
            "/hotels/ritz/orders/o-1/tags/red",
            &["/hotels/ritz/orders/o-1/tags/blue"],
        ),
        (
            "k-4",
            "POST",
            "/hotels/ritz/orders/o-1/confirm",
            &["/hotels/ritz/orders/o-1/cancel"],
        ),
    ] {
        println!("{method} {first}, not {others:?}");
        world.ask(&asked(method, first, key)).await.success();
        for other in others {
            let told = world.ask(&asked(method, other, key)).await;
            told.expect(422, "idempotency-key-reused");
        }
        assert!(
            world
                .ask(&asked(method, first, key))
                .await
                .success()
                .replayed()
        );
    }
    assert_eq!(
        world.seen().await,
        Seen::new(4, &["applied"; 4], Lock::Free)
    );
}
