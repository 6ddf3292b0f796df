//! What others hold up: an order that somebody keeps locked, commits that nobody confirms, readers
//! without end. Whatever it is, the rest of the node goes on.

use std::time::Duration;

use futures_util::future::join_all;
use orderlock_core::store::{Create, List, Read};
use orderlock_core::{OrderStore as _, Runtime as _, Tenant, TokioRuntime};
use orderlock_postgres::{PostgresOptions, PostgresStore};
use orderlock_testkit::fixtures::{self, ids};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::cluster::Cluster;
use crate::place::connect;
use crate::world::{World, applied, join, renew};

/// Long enough that whoever waits for it is still waiting when everybody else is done.
const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
async fn one_locked_order_holds_up_no_other() {
    const ROUNDS: usize = 10;
    let world = World::with(PostgresOptions::default().with_patience(LONG)).await;
    let orders: Vec<_> = (0..8).map(|number| format!("o{number}")).collect();
    for order in orders.iter().map(String::as_str).chain(["locked", "held"]) {
        world.order(order).await;
    }
    let held = world.hold("held", "k1").await;
    let seize = "BEGIN; SELECT FROM orders WHERE id IN ('locked', 'held') FOR UPDATE";
    world.hand.batch_execute(seize).await.unwrap();
    let before = world.store.statistics();
    // A grant and a settle that others stand in the way of, amid those of others.
    let mut stuck = Vec::new();
    for round in 0..ROUNDS {
        let operations = orders.iter().map(async |order| {
            let held = world.hold(order, &format!("k{round}")).await;
            applied(world.store.settle(held.settle()).await.unwrap()).await;
        });
        if round == 1 {
            stuck.push(tokio::spawn({
                let acquire = world.acquire(world.request("locked", "k1"));
                async move { drop(acquire.await.unwrap().unwrap()) }
            }));
            stuck.push(tokio::spawn({
                let settle = world.settle(held.settle());
                async move { drop(settle.await.unwrap().unwrap()) }
            }));
        }
        join_all(operations).await;
    }
    assert!(stuck.iter().all(|task| !task.is_finished()));
    let after = world.store.statistics();
    let held_up = (
        after.acquires.held_up - before.acquires.held_up,
        after.settles.held_up - before.settles.held_up,
    );
    assert_eq!(
        held_up,
        (1, 1),
        "only the first that came upon it has waited"
    );
    world.commit().await;
    for task in stuck {
        task.await.unwrap();
    }
}

/// What the server has of this store's processes.
async fn processes(hand: &Client) -> i64 {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'orderlock'";
    hand.query_one(count, &[]).await.unwrap().get(0)
}

/// Commits in another's name until one of them waits for a standby.
async fn until_commits_wait(cluster: &Cluster, hand: &Client) -> JoinHandle<()> {
    let other = connect(&cluster.address("postgres")).await;
    let commits = tokio::spawn(async move {
        loop {
            let noise = "CREATE TABLE noise (); DROP TABLE noise";
            other.batch_execute(noise).await.unwrap();
        }
    });
    let waits = "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    while hand.query(waits, &[]).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    commits
}

fn creation(order: &str) -> Create {
    let claim = fixtures::claim(order, &format!("create-{order}"));
    fixtures::create(claim, TokioRuntime.wall())
}

#[tokio::test]
async fn commits_that_nobody_confirms_are_not_multiplied() {
    const CONNECTIONS: usize = 4;
    let cluster = Cluster::new(&[]);
    let options = PostgresOptions::default()
        .with_connections(CONNECTIONS)
        .with_patience(Duration::from_millis(400));
    let store = PostgresStore::open(&cluster.address("postgres"), options)
        .await
        .unwrap();
    let session = join(&store, "a").await;
    let hand = connect(&cluster.address("postgres")).await;
    cluster.set("synchronous_standby_names", "nobody").await;
    let noise = until_commits_wait(&cluster, &hand).await;
    for round in 0..4 {
        let orders: Vec<_> = (0..4).map(|number| format!("o{round}-{number}")).collect();
        let creations = orders.iter().map(|order| store.create(creation(order)));
        for created in join_all(creations).await {
            created.expect_err("nobody confirms it");
        }
        let processes = processes(&hand).await;
        let most = i64::try_from(CONNECTIONS).unwrap();
        assert!(processes <= most, "{processes} in round {round}");
    }
    let trouble = store.describe().trouble.expect("it is told");
    assert!(trouble.contains("commits"), "{trouble}");
    // What waits for nobody goes on.
    renew(&store, session).await;
    let trouble = store.describe().trouble.expect("it is told");
    assert!(trouble.contains("synchronous_standby_names"), "{trouble}");
    let target = ids::target("o0-0");
    let view = store.read(Read { target }).await.unwrap();
    assert_eq!(view, None, "nobody sees what is not confirmed");
    noise.abort();
    cluster.set("synchronous_standby_names", "").await;
    while store.describe().trouble.is_some() {
        tokio::task::yield_now().await;
    }
    store.create(creation("o0-0")).await.unwrap();
    let target = ids::target("o0-0");
    assert!(store.read(Read { target }).await.unwrap().is_some());
}

#[tokio::test]
async fn readers_without_end_end_no_session() {
    const CONNECTIONS: usize = 8;
    let options = PostgresOptions::default()
        .with_connections(CONNECTIONS)
        .with_patience(LONG);
    let world = World::with(options).await;
    world.order("o1").await;
    world
        .hand
        .batch_execute("BEGIN; LOCK TABLE orders")
        .await
        .unwrap();
    let list = || List {
        tenant: Tenant::single(),
        filter: Default::default(),
        limit: 10,
        cursor: None,
    };
    let lists: Vec<_> = (0..400)
        .map(|_| {
            let store = world.store.clone();
            let list = list();
            tokio::spawn(async move { store.list(list).await })
        })
        .collect();
    world.blocked(3).await;
    for _ in 0..3 {
        renew(&world.store, world.session).await;
    }
    assert!(lists.iter().all(|list| !list.is_finished()));
    let other = world.place.open(PostgresOptions::default()).await;
    join(&other, "b").await;
    world.commit().await;
    for list in lists {
        assert_eq!(list.await.unwrap().unwrap().items.len(), 1);
    }
}
