//! Opening the store: by many at once, and where it cannot be opened.

use std::error::Error as _;

use orderlock_core::OrderStore as _;
use orderlock_core::store::Read;
use orderlock_postgres::{OpenError, PostgresOptions, PostgresStore};
use orderlock_testkit::fixtures::ids;

use crate::cluster::Cluster;
use crate::place::{Place, connect};
use crate::world::join;

async fn open(address: &str) -> Result<PostgresStore, OpenError> {
    PostgresStore::open(address, PostgresOptions::default()).await
}

/// The error of an address that cannot be opened.
pub(crate) async fn refused(address: &str) -> OpenError {
    match open(address).await {
        Err(error) => error,
        Ok(_) => panic!("{address} was opened"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_nodes_open_an_empty_database_at_once() {
    let place = Place::new().await;
    let mut openings = Vec::new();
    for _ in 0..10 {
        let place = place.clone();
        openings.push(tokio::spawn(async move {
            open(&place.address()).await.unwrap()
        }));
    }
    for (number, opening) in openings.into_iter().enumerate() {
        join(&opening.await.unwrap(), &format!("n{number}")).await;
    }
    let hand = connect(&place.address()).await;
    for (table, rows) in [("orderlock_migrations", 3), ("store", 1), ("sessions", 10)] {
        let count = format!("SELECT count(*) FROM {table}");
        let row = hand.query_one(&count, &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), rows, "{table}");
    }
}

#[tokio::test]
async fn a_node_needs_no_right_to_make_tables_once_they_are_there() {
    let place = Place::new().await;
    let store = place.open(PostgresOptions::default()).await;
    let hand = connect(&place.address()).await;
    let schema = place.schema();
    let role = format!(
        "CREATE ROLE {schema} LOGIN PASSWORD 'node';
        GRANT USAGE ON SCHEMA {schema} TO {schema};
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {schema}"
    );
    hand.batch_execute(&role).await.unwrap();
    let rest = place.address();
    let (_, rest) = rest.rsplit_once('@').unwrap();
    let address = format!("postgres://{schema}:node@{rest}");
    let node = open(&address).await.unwrap();
    join(&node, "a").await;
    drop(store);
    let end = format!("DROP OWNED BY {schema}; DROP ROLE {schema}");
    hand.batch_execute(&end).await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_not_this_programs_is_left_alone() {
    let place = Place::new().await;
    let hand = connect(&place.address()).await;
    hand.batch_execute("CREATE TABLE orders (mine int)")
        .await
        .unwrap();
    let error = refused(&place.address()).await;
    assert!(matches!(error, OpenError::Foreign(_)), "{error:?}");
    hand.batch_execute("DROP TABLE orders").await.unwrap();
    drop(open(&place.address()).await.unwrap());

    let changed = "UPDATE orderlock_migrations SET checksum = '1' WHERE version = 1";
    hand.batch_execute(changed).await.unwrap();
    let error = refused(&place.address()).await;
    assert!(matches!(error, OpenError::Changed(_)), "{error:?}");
    let newer = "INSERT INTO orderlock_migrations
        SELECT 99, 'later', applied_on, '1' FROM orderlock_migrations LIMIT 1";
    hand.batch_execute(newer).await.unwrap();
    hand.batch_execute("DELETE FROM orderlock_migrations WHERE version = 1")
        .await
        .unwrap();
    let error = refused(&place.address()).await;
    assert!(matches!(error, OpenError::Newer(_)), "{error:?}");
}

#[tokio::test]
async fn what_keeps_a_user_out_is_told() {
    let cluster = Cluster::new(&[]);
    let right = cluster.address("postgres");
    let error = refused(&right.replace("throw-away", "wrong")).await;
    assert!(matches!(error, OpenError::Login(_)), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("wrong@"));
    let error = refused(&cluster.address("missing")).await;
    assert!(matches!(error, OpenError::NoDatabase(_)), "{error:?}");
    assert!(error.source().unwrap().to_string().contains("missing"));

    let hand = connect(&right).await;
    let few = "CREATE ROLE few LOGIN PASSWORD 'few' CONNECTION LIMIT 1;
        CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0";
    for statement in few.split(';') {
        hand.batch_execute(statement).await.unwrap();
    }
    let few = right.replace("postgres:throw-away", "few:few");
    let only = connect(&few).await;
    let error = refused(&few).await;
    assert!(
        matches!(error, OpenError::TooManyConnections(_)),
        "{error:?}"
    );
    drop(only);
    let error = refused(&cluster.address("latin")).await;
    assert!(matches!(error, OpenError::Encoding(_)), "{error:?}");

    // What was refused left nothing behind: the same address, once it is right, is opened.
    let store = open(&right).await.unwrap();
    cluster.crash();
    let error = refused(&right).await;
    assert!(matches!(error, OpenError::Unreachable(_)), "{error:?}");
    cluster.start();
    let target = ids::target("o1");
    let mut read = store
        .read(Read {
            target: target.clone(),
        })
        .await;
    if read.is_err() {
        // The connection that was open when the server died is found out by its first use.
        read = store.read(Read { target }).await;
    }
    assert_eq!(read.unwrap(), None);
}
