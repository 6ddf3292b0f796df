//! What signs of life cost: they read leases that they are about, and no orders.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mongodb::event::command::CommandEvent;
use orderlock_core::store::{Join, Leave, Renew, Renewed, Sweep};
use orderlock_core::{Fence, OrderStore as _, Runtime as _, SessionId, TokioRuntime};
use orderlock_mongodb::{MongodbOptions, MongodbStore};
use orderlock_testkit::{TestRuntime, fixtures};

use crate::place::Place;
use crate::world::{SESSION, hold, join, request};

const ORDERS: u64 = 60;

/// What came back from the server.
#[derive(Clone, Default)]
struct Read(Arc<AtomicU64>);

impl Read {
    fn options(&self) -> MongodbOptions {
        let bytes = Arc::clone(&self.0);
        // The relay of a store under a clock that stands reads nothing.
        let runtime = Arc::new(TestRuntime::seeded(Arc::as_ptr(&bytes) as u64));
        let options = MongodbOptions::default().with_command_events(move |event| {
            if let CommandEvent::Succeeded(done) = event {
                let reply = done.reply.to_vec().unwrap();
                bytes.fetch_add(reply.len() as u64, Ordering::Relaxed);
            }
        });
        options.with_runtime(runtime)
    }

    fn bytes(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// A node that holds many orders, each of some size.
async fn holding(place: &Place, read: &Read) -> (MongodbStore, SessionId, Vec<Fence>) {
    let address = place.address();
    let store = MongodbStore::connect(&address, read.options())
        .await
        .unwrap();
    let session = join(&store, "a").await;
    let mut known = Vec::new();
    for number in 0..ORDERS {
        let order = format!("o{number}");
        let mut create = fixtures::create(fixtures::claim(&order, "c"), TokioRuntime.wall());
        let text = serde_json::json!({"count": 0, "text": "x".repeat(10_000)});
        create.document = orderlock_core::Document::encode(&text).unwrap();
        store.create(create).await.unwrap();
        known.push(
            hold(&store, request(session, &order, "k"))
                .await
                .grant
                .fence,
        );
    }
    read.bytes();
    (store, session, known)
}

#[tokio::test]
async fn a_renewal_looks_at_each_lease_once_and_now_and_then_again() {
    let (place, read) = (Place::new(), Read::default());
    let (store, session, known) = holding(&place, &read).await;
    let mut most = Vec::new();
    for _ in 0..16 {
        let known = known.clone();
        let renewed = store.renew(Renew { session, known }).await.unwrap();
        assert_ne!(renewed, Renewed::Ended);
        most.push(read.bytes());
    }
    let looked = |bytes: &u64| *bytes > ORDERS * 50;
    assert!(most.iter().all(|bytes| *bytes < ORDERS * 300), "{most:?}");
    let looks = most.iter().filter(|bytes| looked(bytes)).count();
    assert!((2..=6).contains(&looks), "{most:?}");
    // What the node ceases to know is found without a look at the others.
    let (gone, known) = known.split_first().unwrap();
    let (gone, known) = (*gone, known.to_vec());
    store.renew(Renew { session, known }).await.unwrap();
    assert!(read.bytes() < 3_000);
    let view = store.read(orderlock_core::store::Read {
        target: fixtures::ids::target("o0"),
    });
    assert_eq!(view.await.unwrap().unwrap().lease, None, "{gone:?} is void");
}

#[tokio::test]
async fn a_sweep_reads_no_lease_of_a_session_that_goes_on() {
    let (place, read, other) = (Place::new(), Read::default(), Read::default());
    let (store, session, _) = holding(&place, &read).await;
    let address = place.address();
    let beside = MongodbStore::connect(&address, other.options())
        .await
        .unwrap();
    join(&beside, "b").await;
    other.bytes();
    beside.sweep(Sweep { limit: 500 }).await.unwrap();
    let bytes = other.bytes();
    assert!(bytes < 2_000, "{bytes} bytes were read");
    store.leave(Leave { session }).await.unwrap();
}

#[tokio::test]
async fn a_node_that_comes_back_frees_its_leases_together() {
    let (place, read, other) = (Place::new(), Read::default(), Read::default());
    let (_, _, known) = holding(&place, &read).await;
    let address = place.address();
    let commands = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&commands);
    let options = other.options().with_command_events(move |event| {
        count.fetch_add(
            u64::from(matches!(event, CommandEvent::Started(_))),
            Ordering::Relaxed,
        );
    });
    let again = MongodbStore::connect(&address, options).await.unwrap();
    commands.store(0, Ordering::Relaxed);
    let request = Join {
        node: "a".into(),
        session: SessionId(TokioRuntime.random()),
        length: SESSION,
        secret: fixtures::secret(),
    };
    again.join(request).await.unwrap();
    let sent = commands.load(Ordering::Relaxed);
    assert!(sent < 12, "{sent} commands for {} leases", known.len());
    let target = fixtures::ids::target("o7");
    let view = again
        .read(orderlock_core::store::Read { target })
        .await
        .unwrap();
    assert_eq!(view.unwrap().lease, None);
}
