//! A server that was set up for others, or that is set up anew while the store runs.

use orderlock_core::OrderStore as _;
use orderlock_core::SessionId;
use orderlock_core::store::Read;
use orderlock_postgres::{PostgresOptions, PostgresStore};
use orderlock_testkit::fixtures::{self, ids};

use crate::cluster::Cluster;
use crate::place::connect;
use crate::seen::Seen;
use crate::world::{applied, create, hold, join, renew, request};

/// Settings of the database that are meant for other programs, and not for this one.
const ODD: [(&str, &str); 16] = [
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_deferrable", "on"),
    ("client_min_messages", "error"),
    ("synchronous_commit", "off"),
    ("statement_timeout", "'1min'"),
    ("lock_timeout", "'1min'"),
    ("idle_session_timeout", "'1min'"),
    ("jit", "on"),
    ("plan_cache_mode", "auto"),
    ("enable_nestloop", "off"),
    ("enable_indexscan", "off"),
    ("\"DateStyle\"", "'German'"),
    ("\"IntervalStyle\"", "sql_standard"),
    ("bytea_output", "escape"),
    ("standard_conforming_strings", "off"),
    ("\"TimeZone\"", "'Asia/Kathmandu'"),
];

async fn open(address: &str) -> PostgresStore {
    let options = PostgresOptions::default();
    PostgresStore::open(address, options).await.unwrap()
}

async fn operate(store: &PostgresStore, session: SessionId, order: &str) {
    create(store, order).await;
    let held = hold(store, request(session, order, "k1")).await;
    applied(store.settle(held.settle()).await.unwrap()).await;
}

#[tokio::test]
async fn settings_that_are_meant_for_others_change_nothing() {
    let cluster = Cluster::new(&[]);
    let hand = connect(&cluster.address("postgres")).await;
    for (name, value) in ODD {
        let set = format!("ALTER DATABASE postgres SET {name} = {value}");
        hand.batch_execute(&set).await.unwrap();
    }
    let store = open(&cluster.address("postgres")).await;
    let session = join(&store, "a").await;
    let seen = Seen::by(connect(&cluster.address("postgres")).await).await;
    operate(&store, session, "o1").await;
    let expected = [
        ("jit", "off"),
        ("statement_timeout", "4s"),
        ("lock_timeout", "100ms"),
        ("transaction_isolation", "read committed"),
        ("plan_cache_mode", "force_generic_plan"),
        ("client_min_messages", "notice"),
        ("enable_nestloop", "on"),
        ("idle_session_timeout", "0"),
    ];
    for (name, value) in expected {
        assert_eq!(seen.of(name).await, [value], "{name}");
    }
    assert_eq!(seen.of("synchronous_commit").await, ["off", "on"]);
    let target = ids::target("o1");
    let view = store.read(Read { target }).await.unwrap().unwrap();
    assert_eq!(fixtures::count(&view.document), 1);
}

#[tokio::test]
async fn settings_in_the_address_win_unless_a_promise_rests_on_them() {
    let cluster = Cluster::new(&[]);
    let options =
        "-cstatement_timeout%3D3s%20-cidle_session_timeout%3D9min%20-csynchronous_commit%3Doff";
    let address = format!("{}?options={options}", cluster.address("postgres"));
    let store = open(&address).await;
    let session = join(&store, "a").await;
    let seen = Seen::by(connect(&cluster.address("postgres")).await).await;
    operate(&store, session, "o1").await;
    for (name, value) in [
        ("idle_session_timeout", "9min"),
        ("statement_timeout", "3s"),
    ] {
        assert_eq!(seen.of(name).await, [value], "{name}");
    }
    assert_eq!(seen.of("synchronous_commit").await, ["off", "on"]);
}

/// A reload, or a fail-over to a server that is set up otherwise.
#[tokio::test]
async fn what_a_commit_waits_for_holds_whatever_is_set_later() {
    let cluster = Cluster::new(&[]);
    let options = PostgresOptions::default().with_connections(2);
    let store = PostgresStore::open(&cluster.address("postgres"), options)
        .await
        .unwrap();
    let session = join(&store, "a").await;
    let seen = Seen::by(connect(&cluster.address("postgres")).await).await;
    cluster.set("synchronous_commit", "off").await;
    operate(&store, session, "o1").await;
    assert_eq!(seen.of("synchronous_commit").await, ["off", "on"]);
    // Who wants more than that is followed, from the next look on.
    cluster.set("synchronous_commit", "remote_apply").await;
    renew(&store, session).await;
    seen.clear().await;
    operate(&store, session, "o2").await;
    let seen = seen.of("synchronous_commit").await;
    assert_eq!(seen, ["off", "remote_apply"]);
}

#[tokio::test]
async fn what_is_promised_is_what_holds_now() {
    let cluster = Cluster::new(&[]);
    let store = open(&cluster.address("postgres")).await;
    let session = join(&store, "a").await;
    let durability = || store.describe().durability;
    assert!(durability().contains("may lose"), "{}", durability());
    cluster.set("full_page_writes", "off").await;
    renew(&store, session).await;
    assert!(durability().contains("NOT"), "{}", durability());
    cluster.set("full_page_writes", "on").await;
    renew(&store, session).await;
    assert!(durability().contains("may lose"), "{}", durability());
    assert_eq!(store.describe().trouble, None);
}
