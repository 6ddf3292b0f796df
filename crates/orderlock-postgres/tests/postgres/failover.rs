//! Two nodes under load whose primary is killed, and who go on at the standby that is promoted.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orderlock_core::store::Read;
use orderlock_core::{
    Answer, Answers, Body, Caller, CreateRequest, Ended, Fingerprint, Lifecycle, Limits,
    LockedOrder, Operation, OperationRequest, OrderStore as _, OrderType, Outcome, Problem,
    SettledView,
};
use orderlock_postgres::{PostgresOptions, PostgresStore};
use orderlock_testkit::fixtures::{self, ids};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, PASSWORD};
use crate::place::connect;

const ORDERS: usize = 8;
const CLIENTS: usize = 4;
/// How many acknowledged operations go before the kill, and as many after the promotion.
const ROUND: u32 = 200;
/// How long everything may take before the test counts as stuck.
const STUCK: Duration = Duration::from_secs(120);

#[derive(Serialize, Deserialize)]
struct Order {
    count: u64,
}

impl OrderType for Order {}

/// Answers that show what was settled.
#[derive(Debug)]
struct Plain;

impl Answers for Plain {
    fn answer(&self, settled: SettledView<'_>) -> Answer {
        let count = fixtures::count(settled.document);
        fixtures::answer(&format!("{count} at {}", settled.version))
    }

    fn problem(&self, problem: &Problem, _: Option<SettledView<'_>>) -> Answer {
        fixtures::answer(&format!("{problem:?}"))
    }
}

fn request(order: usize, key: &str) -> OperationRequest {
    let (caller, order) = (Caller::single(), ids::order(&format!("o{order}")));
    let operation = Operation::named("count").pure();
    OperationRequest {
        fingerprint: Fingerprint::of(operation.name(), Some(&order), Body::Bytes(b"")),
        caller,
        order,
        key: ids::key(key),
        operation,
        expected: None,
        wait: Duration::from_secs(10),
    }
}

/// Counts once under this key, and asks again until it is told how that ended.
async fn count(node: &Lifecycle, order: usize, key: &str) -> (bool, Vec<u8>) {
    loop {
        let work = async |order: LockedOrder<Order>| {
            let count = order.count + 1;
            Ok::<_, Infallible>(Outcome::Applied(Order { count }))
        };
        let ended = node.run(request(order, key), work).await;
        if let Ended::Settled {
            answer, replayed, ..
        } = ended
        {
            return (replayed, answer.body.to_vec());
        }
    }
}

async fn node(address: &str, name: &str) -> (Lifecycle, PostgresStore) {
    let options = PostgresOptions::default().with_patience(Duration::from_secs(2));
    let store = PostgresStore::open(address, options).await.unwrap();
    let limits = Limits {
        session: Duration::from_secs(2),
        store: Duration::from_secs(4),
        ..Limits::default()
    };
    let builder = Lifecycle::builder(store.clone(), Plain).limits(limits);
    (builder.node_name(name).build(), store)
}

/// What one client was told: for each order and key the answer.
type Told = BTreeMap<(usize, String), Vec<u8>>;

async fn client(
    node: Lifecycle,
    name: String,
    done: Arc<Semaphore>,
    stop: CancellationToken,
) -> Told {
    let mut told = Told::new();
    for number in 0_usize.. {
        if stop.is_cancelled() {
            break;
        }
        let (order, key) = (number % ORDERS, format!("{name}-{number}"));
        let (_, body) = count(&node, order, &key).await;
        told.insert((order, key), body);
        done.add_permits(1);
    }
    told
}

/// A primary whose commits wait for a standby, and that standby.
async fn pair() -> (Cluster, Cluster) {
    let primary = Cluster::new(&[]);
    let standby = primary.standby();
    // The standby was copied before this, so that it waits for nobody when it is promoted.
    primary.set("synchronous_standby_names", "*").await;
    let hand = connect(&primary.address("postgres")).await;
    let confirmed = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
    while hand
        .query_one(confirmed, &[])
        .await
        .unwrap()
        .get::<_, i64>(0)
        == 0
    {
        tokio::task::yield_now().await;
    }
    (primary, standby)
}

/// Orders that count from 0.
async fn create_orders(node: &Lifecycle) {
    for number in 0..ORDERS {
        let asked = request(number, &format!("create-{number}"));
        let creation = CreateRequest {
            caller: asked.caller,
            order: Some(asked.order),
            key: asked.key,
            fingerprint: asked.fingerprint,
            operation: asked.operation.name().clone(),
        };
        let created = node.create(creation, Order { count: 0 }).await;
        assert!(matches!(created, Ended::Settled { .. }), "{created:?}");
    }
}

/// Whatever was told is there, once, and another node tells the same, byte for byte.
async fn check(node: &Lifecycle, store: &PostgresStore, told: Vec<Told>) {
    let mut counts = [0; ORDERS];
    for ((order, key), body) in told.into_iter().flatten() {
        counts[order] += 1;
        assert_eq!(count(node, order, &key).await, (true, body), "{key}");
    }
    for (order, count) in counts.iter().enumerate() {
        let target = fixtures::claim(&format!("o{order}"), "k").target();
        let view = store.read(Read { target }).await.unwrap().unwrap();
        assert_eq!(fixtures::count(&view.document), *count, "o{order}");
        assert_eq!(view.version.0, count + 1);
    }
    let all: u64 = counts.iter().sum();
    println!("{all} operations, each applied once");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_primary_is_killed() {
    fail_over(Cluster::kill, |_| {}).await;
}

/// As one whose disk hangs: connections are still taken, and no word comes.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_primary_stands_still() {
    fail_over(
        |primary| primary.signal("-STOP"),
        |primary| primary.signal("-CONT"),
    )
    .await;
}

/// Nothing acknowledged is lost, and every key has one effect and one answer.
async fn fail_over(begin: fn(&Cluster), end: fn(&Cluster)) {
    let scene = async {
        let (primary, standby) = pair().await;
        let hosts = format!("{},{}", primary.host(), standby.host());
        let address = format!("postgres://postgres:{PASSWORD}@{hosts}/postgres");
        let (one, store) = node(&address, "one").await;
        let (two, _) = node(&address, "two").await;
        create_orders(&one).await;
        let (done, stop) = (Arc::new(Semaphore::new(0)), CancellationToken::new());
        let clients: Vec<_> = (0..2 * CLIENTS)
            .map(|number| {
                let node = if number % 2 == 0 { &one } else { &two };
                let (done, stop) = (Arc::clone(&done), stop.clone());
                tokio::spawn(client(node.clone(), format!("c{number}"), done, stop))
            })
            .collect();
        done.acquire_many(ROUND).await.unwrap().forget();
        let killed = Instant::now();
        begin(&primary);
        standby.promote();
        let promoted = killed.elapsed();
        // What was acknowledged before says nothing about the time after.
        let fresh = u32::try_from(done.available_permits()).unwrap() + 1;
        done.acquire_many(fresh).await.unwrap().forget();
        let served = killed.elapsed();
        println!("promoted {promoted:?} after its end, and served again after {served:?}");
        done.acquire_many(ROUND).await.unwrap().forget();
        stop.cancel();
        let mut told = Vec::new();
        for client in clients {
            told.push(client.await.unwrap());
        }
        check(&two, &store, told).await;
        end(&primary);
    };
    tokio::time::timeout(STUCK, scene)
        .await
        .expect("it came to its end");
}

/// What is answered survives a fail-over, also if somebody has cancelled the commit that waited for it: the
/// server shows it then, and a repeat finds it.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_standby_has_confirmed_is_answered_to_nobody() {
    let (primary, standby) = pair().await;
    let (one, _) = node(&primary.address("postgres"), "one").await;
    create_orders(&one).await;
    standby.crash();
    let ask = async |node: Lifecycle| {
        let work = async |order: LockedOrder<Order>| {
            let count = order.count + 1;
            Ok::<_, Infallible>(Outcome::Applied(Order { count }))
        };
        node.run(request(0, "k"), work).await
    };
    let hand = connect(&primary.address("postgres")).await;
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let cancelling = async {
        while hand.query(cancel, &[]).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let (told, ()) = tokio::join!(ask(one.clone()), cancelling);
    assert!(!matches!(told, Ended::Settled { .. }), "{told:?}");
    let retry = ask(one.clone()).await;
    assert!(!matches!(retry, Ended::Settled { .. }), "{retry:?}");
    primary.kill();
    standby.start();
    standby.promote();
    let (two, _) = node(&standby.address("postgres"), "two").await;
    assert!(
        !count(&two, 0, "k").await.0,
        "the standby knows nothing of it"
    );
}
