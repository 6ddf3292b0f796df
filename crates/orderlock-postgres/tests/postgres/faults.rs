//! A server that goes away, refuses writes, or is followed by another: clear answers meanwhile, and
//! the same store goes on afterwards.

use std::time::Duration;

use orderlock_core::store::{Acquired, Read, Settled};
use orderlock_core::{OrderStore as _, StoreError};
use orderlock_postgres::{OpenError, PostgresOptions, PostgresStore};
use orderlock_testkit::fixtures::{self, ids};

use crate::cluster::{Cluster, PASSWORD};
use crate::opening::refused;
use crate::place::{Place, connect};
use crate::world::{applied, create, hold, join, renew, request};

async fn count(store: &PostgresStore, order: &str) -> Result<u64, StoreError> {
    let target = ids::target(order);
    let view = store.read(Read { target }).await?;
    Ok(fixtures::count(&view.unwrap().document))
}

#[tokio::test]
async fn a_server_that_died_is_missed_and_found_again() {
    let cluster = Cluster::new(&[]);
    let address = cluster.address("postgres");
    let store = PostgresStore::open(&address, PostgresOptions::default())
        .await
        .unwrap();
    create(&store, "o1").await;
    let session = join(&store, "a").await;
    let held = hold(&store, request(session, "o1", "k1")).await;
    applied(store.settle(held.settle()).await.unwrap()).await;
    let held = hold(&store, request(session, "o1", "k2")).await;
    cluster.crash();
    for _ in 0..3 {
        let error = store.settle(held.settle()).await.unwrap_err();
        let known = matches!(
            error,
            StoreError::NotApplied(_) | StoreError::OutcomeUnknown(_)
        );
        assert!(known, "{error:?}");
        let error = store
            .acquire(request(session, "o1", "k3"))
            .await
            .unwrap_err();
        assert!(!matches!(error, StoreError::Corrupt(_)), "{error:?}");
    }
    // Nothing is open any more, so that what is told now is certain.
    let error = store.settle(held.settle()).await.unwrap_err();
    assert!(matches!(error, StoreError::NotApplied(_)), "{error:?}");

    cluster.start();
    assert_eq!(
        count(&store, "o1").await.unwrap(),
        1,
        "what was answered is there"
    );
    // The lease may have survived the crash or not. The settle is told, and does no harm.
    match store.settle(held.settle()).await.unwrap() {
        Settled::Accepted(_) => assert_eq!(count(&store, "o1").await.unwrap(), 2),
        Settled::Lost(_) => assert_eq!(count(&store, "o1").await.unwrap(), 1),
        other => panic!("neither applied nor lost but {other:?}"),
    }
    let replay = store.acquire(request(session, "o1", "k1")).await.unwrap();
    assert!(matches!(replay, Acquired::Settled(_)), "{replay:?}");
}

#[tokio::test]
async fn a_server_without_a_connection_to_spare_is_asked_again() {
    let place = Place::new().await;
    let hand = connect(&place.address()).await;
    let role = place.schema();
    let make = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'few';
        GRANT ALL ON SCHEMA {role} TO {role}"
    );
    hand.batch_execute(&make).await.unwrap();
    let rest = place.address();
    let (_, rest) = rest.rsplit_once('@').unwrap();
    let address = format!("postgres://{role}:few@{rest}");
    let options = PostgresOptions::default();
    let store = PostgresStore::open(&address, options).await.unwrap();
    create(&store, "o1").await;
    let limit = |most| format!("ALTER ROLE {role} CONNECTION LIMIT {most}");
    hand.batch_execute(&limit(0)).await.unwrap();
    let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = $1";
    hand.query(end, &[&role]).await.unwrap();
    // The connections that were ended are found out one by one.
    let why = loop {
        let error = count(&store, "o1").await.unwrap_err();
        assert!(matches!(error, StoreError::NotApplied(_)), "{error:?}");
        let why = std::error::Error::source(&error).unwrap().to_string();
        if why.starts_with("no connection") {
            break why;
        }
    };
    assert!(why.contains("too many connections"), "{why}");
    hand.batch_execute(&limit(5)).await.unwrap();
    assert_eq!(count(&store, "o1").await.unwrap(), 0);
    drop(store);
    let gone = format!("DROP OWNED BY {role} CASCADE");
    hand.batch_execute(&gone).await.unwrap();
    hand.query(end, &[&role]).await.unwrap();
    hand.batch_execute(&format!("DROP ROLE {role}"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_database_that_takes_no_writes_says_so_and_takes_them_again() {
    let cluster = Cluster::new(&[]);
    let address = cluster.address("postgres");
    let options = PostgresOptions::default();
    let store = PostgresStore::open(&address, options).await.unwrap();
    create(&store, "o1").await;
    let session = join(&store, "a").await;
    let held = hold(&store, request(session, "o1", "k1")).await;
    let hand = connect(&address).await;
    let read_only = "ALTER DATABASE postgres SET default_transaction_read_only = on";
    hand.batch_execute(read_only).await.unwrap();
    let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
        WHERE application_name = 'orderlock'";
    hand.query(end, &[]).await.unwrap();
    let settled = loop {
        match store.settle(held.settle()).await {
            // The connections that were ended are found out one by one.
            Err(StoreError::NotApplied(_) | StoreError::OutcomeUnknown(_)) => {}
            settled => break settled,
        }
    };
    assert!(
        matches!(settled, Err(StoreError::ReadOnly(_))),
        "{settled:?}"
    );
    assert_eq!(count(&store, "o1").await.unwrap(), 0, "it is still read");
    let error = refused(&address).await;
    assert!(matches!(error, OpenError::ReadOnly), "{error:?}");

    // The sessions of before stay as they are: the store does not keep them.
    let writable = "ALTER DATABASE postgres RESET default_transaction_read_only";
    hand.batch_execute(writable).await.unwrap();
    let settled = loop {
        match store.settle(held.settle()).await {
            Err(StoreError::ReadOnly(_)) => {}
            settled => break settled.unwrap(),
        }
    };
    applied(settled).await;
    assert_eq!(count(&store, "o1").await.unwrap(), 1);
}

#[tokio::test]
async fn a_standby_is_refused_and_followed_once_it_is_the_primary() {
    let primary = Cluster::new(&[]);
    let standby = primary.standby();
    let alone = standby.address("postgres");
    let both = format!(
        "postgres://postgres:{PASSWORD}@{},{}/postgres",
        standby.host(),
        primary.host()
    );
    let options = PostgresOptions::default();
    let store = PostgresStore::open(&both, options.clone()).await.unwrap();
    assert!(
        store.describe().durability.contains("may lose"),
        "no standby is waited for"
    );
    primary.set("synchronous_standby_names", "*").await;
    let error = refused(&alone).await;
    assert!(matches!(error, OpenError::ReadOnly), "{error:?}");

    create(&store, "o1").await;
    let session = join(&store, "a").await;
    renew(&store, session).await;
    assert!(store.describe().durability.contains("and fail-over"));
    let held = hold(&store, request(session, "o1", "k1")).await;
    applied(store.settle(held.settle()).await.unwrap()).await;
    primary.crash();
    let error = store
        .acquire(request(session, "o1", "k2"))
        .await
        .unwrap_err();
    assert!(!matches!(error, StoreError::Corrupt(_)), "{error:?}");
    standby.promote();
    // Connections to the dead one are found out one by one; each is asked once at most.
    let found = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            if let Ok(count) = count(&store, "o1").await {
                return count;
            }
        }
    });
    assert_eq!(
        found.await.unwrap(),
        1,
        "what was answered is on the standby"
    );
    let session = join(&store, "a").await;
    renew(&store, session).await;
    assert!(
        store.describe().durability.contains("may lose"),
        "nobody stands behind the new primary"
    );
    let held = hold(&store, request(session, "o1", "k2")).await;
    applied(store.settle(held.settle()).await.unwrap()).await;
}
