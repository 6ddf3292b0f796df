//! Orders that do not fit into JSON, or JSON that does not fit the order type.

use orderlock_core::{Ended, Failed, LockedOrder, OrderType, Outcome};
use serde::{Deserialize, Serialize, Serializer};

use crate::world::{World, request};

/// An order whose encoding fails as its value says.
#[derive(Deserialize)]
struct Brittle {
    count: u64,
}

impl Serialize for Brittle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.count {
            13 => panic!("in the encoding"),
            14 => Err(serde::ser::Error::custom("fourteen cannot be written")),
            count => serializer.serialize_u64(count),
        }
    }
}

impl OrderType for Brittle {}

#[tokio::test]
async fn an_order_that_cannot_be_encoded_fails_and_unlocks() {
    let world = World::new().await;
    let work = |count| {
        move |_: LockedOrder<Brittle>| async move {
            Ok::<_, String>(Outcome::Applied(Brittle { count }))
        }
    };
    let ended = world.lifecycle.run(request("k"), work(13)).await;
    assert!(
        matches!(
            ended,
            Ended::Failed {
                failure: Failed::Panicked,
                ..
            }
        ),
        "{ended:?}"
    );
    let ended = world.lifecycle.run(request("k"), work(14)).await;
    assert!(
        matches!(
            ended,
            Ended::Failed {
                failure: Failed::Unwritable(_),
                ..
            }
        ),
        "{ended:?}"
    );
    World::assert_free(&world.view().await, 1, 0);
}

#[derive(Serialize, Deserialize)]
struct Stranger {
    colour: String,
}

impl OrderType for Stranger {}

#[tokio::test]
async fn an_order_of_another_shape_is_unreadable_and_stays_free() {
    let world = World::new().await;
    let work =
        |order: LockedOrder<Stranger>| async { Ok::<_, String>(Outcome::Applied(order.split().0)) };
    let ended = world.lifecycle.run(request("k"), work).await;
    assert!(
        matches!(
            ended,
            Ended::Failed {
                failure: Failed::Unreadable(_),
                ..
            }
        ),
        "{ended:?}"
    );
    World::assert_free(&world.view().await, 1, 0);
}
