//! Orders that do not fit into JSON, or JSON that does not fit the order type.

use std::time::Duration;

use orderlock_core::store::Read;
use orderlock_core::{
    Caller, Ended, Failed, LockedOrder, OrderId, OrderStore as _, OrderType, Outcome, Times,
};
use serde::{Deserialize, Serialize, Serializer};

use crate::world::{Counter, World, request};

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

/// What an answer shows must be what is read later, and not every store keeps more than this.
#[tokio::test]
async fn times_are_whole_microseconds() {
    let world = World::new().await;
    let moment = Duration::from_nanos(1_001);
    world.runtime.advance(moment);
    world.create("p").await;
    let clock = world.runtime.clone();
    let work = move |order: LockedOrder<Counter>| async move {
        clock.advance(moment);
        let count = order.count + 1;
        Ok::<_, String>(Outcome::Applied(Counter { count }))
    };
    let ended = world.lifecycle.run(request("k"), work).await;
    assert!(matches!(ended, Ended::Settled { .. }), "{ended:?}");
    for order in ["o", "p"] {
        let target = Caller::single().target(&OrderId::parse(order).unwrap());
        let view = world.store.read(Read { target }).await.unwrap().unwrap();
        let Times { created, updated } = view.times;
        println!("{order}: created at {created}, updated at {updated}");
        for time in [created, updated] {
            assert_eq!(time.subsec_nanosecond() % 1_000, 0, "{order}: {time}");
        }
    }
}
