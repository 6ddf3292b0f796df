//! A hand-over to one who cannot be judged: whoever lets go has let go all the same.

use std::time::Duration;

use mongodb::bson::doc;
use orderlock_core::OrderStore as _;
use orderlock_core::store::{Acquire, Acquired, Release, Settled, Undo};
use orderlock_mongodb::MongodbOptions;
use orderlock_testkit::fixtures;

use crate::proxy::{Fate, Proxy};
use crate::world::{Held, World, collection};

/// An order whose document does not list all its keys.
pub(crate) async fn spilled(world: &World) {
    world.order("o1").await;
    for turn in 0..36 {
        let held = world.hold("o1", &format!("k{turn}")).await;
        world.settle(held.settle()).await.unwrap();
        // A reader of the history has the relay move what waits.
        world.history("o1").await;
    }
    let raw = world.raw("o1").await;
    assert!(
        raw.get_document("orderlock")
            .unwrap()
            .contains_key("spilled")
    );
}

/// Lets go of a held order in each way that there is, with this one next in line.
async fn let_go(world: &World, how: usize, held: &Held, next: Acquire) -> Option<Acquired> {
    let boxed = Box::new(next.clone());
    match how {
        0 => {
            let settle = fixtures::handing_over(held.settle(), next);
            match world.store.settle(settle).await.unwrap() {
                Settled::Accepted(accepted) => accepted.next,
                other => panic!("not accepted but {other:?}"),
            }
        }
        1 => {
            let release = Release {
                next: Some(boxed),
                ..held.release()
            };
            let released = world.store.release(release).await.unwrap();
            assert!(released.held);
            released.next
        }
        _ => {
            let undo = Undo {
                target: held.request.claim.target(),
                fence: held.grant.fence,
                next: Some(boxed),
            };
            let released = world.store.undo(undo).await.unwrap();
            assert!(released.held);
            released.next
        }
    }
}

#[tokio::test]
async fn one_whose_entry_cannot_be_read() {
    let world = World::new().await;
    spilled(&world).await;
    let key = blake3::Hash::from(fixtures::claim("o1", "k0").key_id.0).to_hex();
    let journal = collection(&world.place, "orders_orderlock_journal").await;
    let spoilt = journal.update_many(doc! {"key": key.as_str()}, doc! {"$unset": {"outcome": ""}});
    assert_eq!(spoilt.await.unwrap().modified_count, 1);
    for how in 0..3 {
        let held = world.hold("o1", &format!("mine{how}")).await;
        let next = world.request("o1", "k0");
        assert_eq!(let_go(&world, how, &held, next).await, None);
        assert_eq!(world.view("o1").await.lease, None, "it is free");
    }
    assert_eq!(world.count("o1").await, 37);
}

#[tokio::test]
async fn one_of_whom_the_journal_says_nothing() {
    let proxy = Proxy::new().await;
    let patience = Duration::from_secs(2);
    let options = MongodbOptions::default().with_patience(patience);
    let world = World::by_way_of(&proxy.address(), options).await;
    spilled(&world).await;
    for how in 0..3 {
        let held = world.hold("o1", &format!("mine{how}")).await;
        let next = world.request("o1", "new");
        proxy.meet(
            "find",
            "orders_orderlock_journal",
            Fate::Silence,
            usize::MAX,
        );
        assert_eq!(let_go(&world, how, &held, next).await, None);
        proxy.let_pass();
        assert_eq!(world.view("o1").await.lease, None, "it is free");
    }
    assert_eq!(world.count("o1").await, 37);
}
