//! The store behind a pooler that gives each transaction to another session of the server.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use orderlock_core::OrderStore as _;
use orderlock_postgres::{PostgresOptions, PostgresStore};
use orderlock_testkit::suite::examine;
use orderlock_testkit::{StoreFactory, TestRuntime, suite::Door};

use crate::cluster::{Cluster, PASSWORD, command, give};
use crate::place::connect;
use crate::seen::Seen;
use crate::world::{applied, create, hold, join, request};

/// Ends the pooler when the test's process has ended, however that ended.
const GUARD: &str = r#""$1" "$2" & pooler=$!; read -r _; kill "$pooler""#;

/// PgBouncer in front of a cluster, with fewer sessions than the store has connections.
struct Pooler {
    cluster: Cluster,
    port: u16,
    guard: Child,
    databases: AtomicUsize,
}

impl Pooler {
    async fn new() -> Self {
        let cluster = Cluster::new(&["max_connections = 200"]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (host, server) = cluster
            .host()
            .split_once(':')
            .map(|(host, port)| (host.to_owned(), port.to_owned()))
            .unwrap();
        cluster.write(
            "pgbouncer.ini",
            &format!(
                "[databases]\n* = host={host} port={server} user=postgres password={PASSWORD}\n\
                 [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
                 auth_type = any\npool_mode = transaction\ndefault_pool_size = 3\n\
                 server_idle_timeout = 1\n"
            ),
        );
        // Copied to where the server's user may run it.
        let program = cluster.path("pgbouncer");
        fs::copy(program_of_the_pooler(), &program).unwrap();
        give(&program);
        drop(listener);
        let mut guard = command(Path::new("bash"), &cluster.path(""));
        guard
            .args(["-c", GUARD, "guard"])
            .args([&program, &cluster.path("pgbouncer.ini")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let pooler = Self {
            guard: guard.spawn().unwrap(),
            port,
            cluster,
            databases: AtomicUsize::new(0),
        };
        while tokio_postgres::connect(&pooler.address("postgres"), tokio_postgres::NoTls)
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
        pooler
    }

    fn address(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn program_of_the_pooler() -> std::ffi::OsString {
    std::env::var_os("ORDERLOCK_TEST_PGBOUNCER").expect(
        "this test needs PgBouncer: `cargo xtask test tests` says where it is, or set \
         ORDERLOCK_TEST_PGBOUNCER to the program",
    )
}

/// A database of its own for each place: a pooler passes no search path on.
#[derive(Clone)]
struct Pooled(Arc<Pooler>);

impl StoreFactory for Pooled {
    type Store = PostgresStore;
    type Place = String;

    async fn place(&self, _: TestRuntime) -> String {
        let number = self.0.databases.fetch_add(1, Ordering::Relaxed);
        let hand = connect(&self.0.cluster.address("postgres")).await;
        let create = format!("CREATE DATABASE place_{number}");
        hand.batch_execute(&create).await.unwrap();
        format!("place_{number}")
    }

    async fn open(&self, place: &String, runtime: TestRuntime) -> PostgresStore {
        let address = format!("{}?orderlock_pooler=transaction", self.0.address(place));
        let options = PostgresOptions::default().with_runtime(Arc::new(runtime));
        PostgresStore::open(&address, options).await.unwrap()
    }

    async fn close(&self, store: PostgresStore) {
        drop(store);
    }
}

/// A check of every kind, and those that have many connections at work at once.
const CHECKS: [&str; 20] = [
    "sessions::renewing_voids_what_the_node_does_not_know",
    "sessions::sweeping_ends_what_is_lapsed",
    "create::one_of_many_equal_requests_makes_it",
    "acquire::repeats_the_same_grant",
    "settle::answers_are_kept_byte_for_byte",
    "undo::a_plain_grant_leaves_the_order_free",
    "checkpoints::the_next_run_is_given_the_last_one",
    "handover::a_long_chain_loses_nothing",
    "marks::its_own_key_resumes_so_many_times",
    "operator::a_resolution_settles_in_the_name_of_the_key",
    "views::locked_means_held_by_a_live_lease",
    "views::what_was_answered_survives_a_restart",
    "bounds::no_limit_stops_or_breaks_a_reader",
    "journal::skips_nothing_under_load",
    "retention::ends_in_small_batches",
    "tenants::the_same_id_is_an_order_in_each",
    "repeats::of_verbs_whose_caller_went_away",
    "race::many_increments_end_at_their_number",
    "race::orders_do_not_disturb_each_other",
    "race::a_settle_and_a_sweep_agree",
];

/// Settings of the database that are meant for other programs, and not for this one.
const ODD: [(&str, &str); 6] = [
    ("jit", "on"),
    ("statement_timeout", "'1min'"),
    ("lock_timeout", "'1min'"),
    ("synchronous_commit", "off"),
    ("client_min_messages", "error"),
    ("default_transaction_isolation", "serializable"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_transaction_begins_with_the_settings_that_it_rests_on() {
    let pooler = Pooler::new().await;
    let hand = connect(&pooler.cluster.address("postgres")).await;
    for (name, value) in ODD {
        let set = format!("ALTER ROLE postgres SET {name} = {value}");
        hand.batch_execute(&set).await.unwrap();
    }
    let address = format!(
        "{}?orderlock_pooler=transaction",
        pooler.address("postgres")
    );
    let options = PostgresOptions::default();
    let store = PostgresStore::open(&address, options).await.unwrap();
    let seen = Seen::by(hand).await;
    let session = join(&store, "a").await;
    create(&store, "o1").await;
    let held = hold(&store, request(session, "o1", "k1")).await;
    applied(store.settle(held.settle()).await.unwrap()).await;
    let expected = [
        ("jit", "off"),
        ("statement_timeout", "4s"),
        ("lock_timeout", "100ms"),
        ("transaction_isolation", "read committed"),
        ("plan_cache_mode", "force_generic_plan"),
        ("client_min_messages", "notice"),
    ];
    for (name, value) in expected {
        assert_eq!(seen.of(name).await, [value], "{name}");
    }
    // The creation and the settle, and the grant, which waits for nothing.
    assert_eq!(seen.of("synchronous_commit").await, ["off", "on"]);
}

#[test]
fn the_store_keeps_its_promises_behind_a_transaction_pooler() {
    let tokio = tokio::runtime::Runtime::new().unwrap();
    let pooler = Pooled(Arc::new(tokio.block_on(Pooler::new())));
    let failures = CHECKS.iter().filter_map(|check| {
        let failure = examine(pooler.clone(), Door::Direct, check).err()?;
        Some(format!("{check}: {failure}"))
    });
    let failures: Vec<_> = failures.collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
