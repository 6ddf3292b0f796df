//! The commands that are sent: how many, and what is in them.

use std::sync::{Arc, Mutex};

use mongodb::bson::{Document as Fields, doc};
use mongodb::event::command::CommandEvent;
use orderlock_core::OrderStore as _;
use orderlock_core::store::{Acquired, Settled};
use orderlock_mongodb::MongodbOptions;
use orderlock_testkit::{TestRuntime, fixtures};

use crate::world::World;

/// Commands as they were sent.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<Fields>>>);

impl Sent {
    fn options(&self) -> MongodbOptions {
        let sent = Arc::clone(&self.0);
        MongodbOptions::default().with_command_events(move |event| {
            if let CommandEvent::Started(started) = event {
                sent.lock().unwrap().push(started.command);
            }
        })
    }

    /// The commands about orders since the last look, without those of the relay: their names and
    /// themselves.
    fn about_orders(&self) -> Vec<(String, Fields)> {
        let sent = std::mem::take(&mut *self.0.lock().unwrap());
        let named = sent.into_iter().map(|command| {
            let name = command.keys().next().unwrap().clone();
            (name, command)
        });
        named
            .filter(|(name, command)| command.get_str(name).ok() == Some("orders"))
            .filter(|(_, command)| !is_of_the_relay(command))
            .collect()
    }
}

fn is_of_the_relay(command: &Fields) -> bool {
    // It looks for orders that wait, and takes out of them what it has moved, which is no new revision.
    let text = command.to_string();
    let waits = text.contains("orderlock.waiting") || text.contains("orderlock.entries");
    waits && (command.contains_key("find") || !text.contains("orderlock.turn"))
}

#[track_caller]
fn one_write(sent: &[(String, Fields)]) -> &Fields {
    let [(name, command)] = sent else {
        panic!("not one command but {sent:?}");
    };
    assert_eq!(name, "findAndModify");
    let query = command.get_document("query").unwrap();
    assert!(query.get("_id").is_some(), "addressed by its shard key");
    let concern = command.get_document("writeConcern").unwrap();
    assert_eq!(concern.get_str("w").ok(), Some("majority"));
    assert_eq!(concern.get_bool("j").ok(), Some(true));
    command
}

#[tokio::test]
async fn an_operation_is_two_writes_one_after_the_other() {
    let sent = Sent::default();
    let world = World::with(sent.options()).await;
    world.order("o1").await;
    sent.about_orders();
    let held = world.hold("o1", "k1").await;
    let grant = sent.about_orders();
    let query = one_write(&grant).get_document("query").unwrap();
    assert!(query.contains_key("locked"), "it takes only what is free");
    world.settle(held.settle()).await.unwrap();
    let settle = sent.about_orders();
    let query = one_write(&settle).get_document("query").unwrap();
    let locked = format!("orderlock:{}", held.grant.fence);
    assert_eq!(query.get_str("locked").ok(), Some(locked.as_str()));
    println!(
        "a grant sent {} command, a settle {}",
        grant.len(),
        settle.len()
    );
}

/// An order whose document does not list all its keys has the journal asked, once, under the grant.
#[tokio::test]
async fn a_grant_asks_the_journal_for_its_key_once() {
    let sent = Sent::default();
    let world = World::with(sent.options()).await;
    world.order("o1").await;
    for turn in 0..45 {
        let held = world.hold("o1", &format!("k{turn}")).await;
        world.settle(held.settle()).await.unwrap();
        // A reader of the history has the relay move what waits.
        world.history("o1").await;
    }
    sent.0.lock().unwrap().clear();
    world.hold("o1", "new").await;
    let looks = std::mem::take(&mut *sent.0.lock().unwrap());
    let looks = looks.iter().filter(|command| {
        let of_journal = command.get_str("find").ok() == Some("orders_orderlock_journal");
        let filter = command.get_document("filter");
        of_journal && filter.is_ok_and(|filter| filter.contains_key("key"))
    });
    assert_eq!(looks.count(), 1);
}

#[tokio::test]
async fn a_release_is_one_write() {
    let sent = Sent::default();
    let world = World::with(sent.options()).await;
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    sent.about_orders();
    assert!(world.store.release(held.release()).await.unwrap().held);
    one_write(&sent.about_orders());
}

#[tokio::test]
async fn a_chain_is_one_write_for_each_link() {
    let sent = Sent::default();
    // Under a clock that stands: the holder of an old grant looks whether another node waits.
    let runtime = Arc::new(TestRuntime::new());
    let world = World::with(sent.options().with_runtime(runtime)).await;
    world.order("o1").await;
    let mut held = world.hold("o1", "k0").await;
    for turn in 1..=5 {
        sent.about_orders();
        let next = world.request("o1", &format!("k{turn}"));
        let settle = fixtures::handing_over(held.settle(), next.clone());
        let Settled::Accepted(accepted) = world.store.settle(settle).await.unwrap() else {
            panic!("the chain broke");
        };
        let Some(Acquired::Granted(grant)) = accepted.next else {
            panic!("the next was not granted");
        };
        one_write(&sent.about_orders());
        held = crate::world::Held {
            request: next,
            grant: *grant,
        };
    }
    world.settle(held.settle()).await.unwrap();
    assert_eq!(world.count("o1").await, 6);
}

#[tokio::test]
async fn a_settle_writes_only_the_fields_that_differ() {
    let sent = Sent::default();
    let world = World::with(sent.options()).await;
    world
        .foreign_order(doc! {"_id": "f1", "count": 3, "note": "theirs", "lines": [1, 2]})
        .await;
    let held = world.hold("f1", "k1").await;
    sent.about_orders();
    world.settle(held.settle()).await.unwrap();
    let settle = sent.about_orders();
    let update = one_write(&settle).get_document("update").unwrap();
    let set = update.get_document("$set").unwrap();
    let own: Vec<_> = set
        .keys()
        .filter(|path| !path.starts_with("orderlock"))
        .collect();
    assert_eq!(own, ["count", "locked"]);
    let unset = update.get_document("$unset").unwrap();
    assert!(
        unset.keys().all(|path| path.starts_with("orderlock.")),
        "{unset}"
    );
}

#[tokio::test]
async fn reads_ask_for_what_cannot_be_rolled_back() {
    let sent = Sent::default();
    let world = World::with(sent.options()).await;
    world.order("o1").await;
    sent.about_orders();
    world.view("o1").await;
    let read = sent.about_orders();
    let [(name, command)] = read.as_slice() else {
        panic!("not one command but {read:?}");
    };
    assert_eq!(name, "find");
    let concern = command.get_document("readConcern").unwrap();
    assert_eq!(concern.get_str("level").ok(), Some("majority"));
}
