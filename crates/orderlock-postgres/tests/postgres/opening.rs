//! Opening the store: by many at once, and where it cannot be opened.

use std::error::Error as _;

use orderlock_core::OrderStore as _;
use orderlock_core::store::Read;
use orderlock_postgres::{OpenError, PostgresOptions, PostgresStore};
use orderlock_testkit::fixtures::ids;
use tokio_postgres::Client;

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
    for (table, rows) in [("orderlock_migrations", 4), ("store", 1), ("sessions", 10)] {
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
    let address = role(&place, &hand).await;
    let rights = format!(
        "GRANT USAGE ON SCHEMA {schema} TO {schema};
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {schema}"
    );
    hand.batch_execute(&rights).await.unwrap();
    let node = open(&address).await.unwrap();
    join(&node, "a").await;
    drop(store);
    let end = format!("DROP OWNED BY {schema}; DROP ROLE {schema}");
    hand.batch_execute(&end).await.unwrap();
}

/// A role that may log in, and its address in a place.
async fn role(place: &Place, hand: &Client) -> String {
    let schema = place.schema();
    let role = format!("CREATE ROLE {schema} LOGIN PASSWORD 'node'");
    hand.batch_execute(&role).await.unwrap();
    let rest = place.address();
    let (_, rest) = rest.rsplit_once('@').unwrap();
    format!("postgres://{schema}:node@{rest}")
}

/// What is to be said to the database stands in the error, and helps.
#[tokio::test]
async fn a_role_with_too_few_rights_is_told_which() {
    let place = Place::new().await;
    let hand = connect(&place.address()).await;
    let schema = place.schema();
    let address = role(&place, &hand).await;
    let usage = format!("GRANT USAGE ON SCHEMA {schema} TO {schema}");
    hand.batch_execute(&usage).await.unwrap();
    let error = refused(&address).await.to_string();
    let create = format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO {schema}");
    assert!(error.contains("permission denied for schema"), "{error}");
    assert!(error.contains(&create), "{error}");

    place.open(PostgresOptions::default()).await;
    // Not even the list of steps can be read.
    let error = refused(&address).await.to_string();
    assert!(error.contains("permission denied for table"), "{error}");
    let all = format!("ON ALL TABLES IN SCHEMA {schema} TO {schema}");
    hand.batch_execute(&format!("GRANT SELECT {all}"))
        .await
        .unwrap();
    let error = refused(&address).await.to_string();
    let grant = format!("GRANT SELECT, INSERT, UPDATE, DELETE {all}");
    assert!(error.ends_with(&grant), "{error}");
    hand.batch_execute(&grant).await.unwrap();
    drop(open(&address).await.unwrap());

    hand.batch_execute(&format!("REVOKE DELETE ON waits FROM {schema}"))
        .await
        .unwrap();
    let error = refused(&address).await.to_string();
    assert!(error.contains("read and write waits;"), "{error}");
    let end = format!("DROP OWNED BY {schema}; DROP ROLE {schema}");
    hand.batch_execute(&end).await.unwrap();
}

/// A step that only adds: the version before works beside it. One that does not says so.
#[tokio::test]
async fn a_later_layout_is_worked_with_if_it_says_that_it_can() {
    let place = Place::new().await;
    drop(place.open(PostgresOptions::default()).await);
    let hand = connect(&place.address()).await;
    let later = "INSERT INTO orderlock_migrations
        SELECT 99, 'later', applied_on, '1' FROM orderlock_migrations LIMIT 1";
    hand.batch_execute(later).await.unwrap();
    drop(open(&place.address()).await.unwrap());
    let finished = "UPDATE store SET oldest_layout = 99";
    hand.batch_execute(finished).await.unwrap();
    let error = refused(&place.address()).await;
    assert!(matches!(error, OpenError::Newer(_)), "{error:?}");
}

/// What is left of an index whose builder died is built again.
#[tokio::test]
async fn an_index_that_was_built_half_way_is_built_again() {
    let place = Place::new().await;
    drop(place.open(PostgresOptions::default()).await);
    let hand = connect(&place.address()).await;
    let half = "UPDATE pg_index SET indisvalid = false
        WHERE indexrelid = 'orders_by_mark'::regclass";
    hand.batch_execute(half).await.unwrap();
    drop(open(&place.address()).await.unwrap());
    let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'orders_by_mark'::regclass";
    assert!(hand.query_one(valid, &[]).await.unwrap().get::<_, bool>(0));
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

/// A server that is stopped, or whose disk hangs, still takes connections.
#[tokio::test]
async fn a_host_that_says_nothing_keeps_nobody_from_the_next() {
    let cluster = Cluster::new(&[]);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let both = format!("{},{}", silent.local_addr().unwrap(), cluster.host());
    let address = cluster.address("postgres");
    let store = open(&address.replace(&cluster.host(), &both))
        .await
        .unwrap();
    join(&store, "n").await;
}
