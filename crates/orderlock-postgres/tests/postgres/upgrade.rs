//! From the layout of 0.1 to today's: what was there is there still, and nodes of 0.1 write nothing more.

use std::sync::Arc;
use std::time::Duration;

use orderlock_core::store::{Acquired, Entries, EntriesSince, History, Known, Lookup};
use orderlock_core::{OrderStore as _, OutcomeKind, Recovery, Version};
use orderlock_postgres::{OpenError, PostgresOptions, PostgresStore};
use orderlock_testkit::TestRuntime;
use orderlock_testkit::fixtures::{self, ids};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::opening::refused;
use crate::place::{Place, connect};
use crate::world::{applied, granted, join, request};

/// What `pg_dump` wrote of a database of 0.1, with `PLACE` for its schema. Everything in it happened at
/// the start of a `TestRuntime`, or two seconds later.
const LAYOUT: &str = include_str!("../fixtures/layout-0.1.sql");

/// The statements of 0.1 that write orders, locks, entries or keys, and the most used that read them,
/// each behind its name and the types of its parameters.
const STATEMENTS: &str = include_str!("../fixtures/statements-0.1.sql");

/// Those that may still be carried out.
const HARMLESS: [&str; 0] = [];

/// A database that 0.1 has left behind, and a hand on it.
async fn of_0_1() -> (Place, Client) {
    let place = Place::new().await;
    let hand = connect(&place.address()).await;
    let layout = LAYOUT.replace("PLACE.", &format!("{}.", place.schema()));
    hand.batch_execute(&layout).await.unwrap();
    (place, hand)
}

fn two_seconds_later() -> PostgresOptions {
    let runtime = TestRuntime::new();
    runtime.advance(Duration::from_secs(2));
    PostgresOptions::default().with_runtime(Arc::new(runtime))
}

#[tokio::test]
async fn what_0_1_has_written_counts() {
    let (place, hand) = of_0_1().await;
    let store = place.open(two_seconds_later()).await;
    let session = join(&store, "b").await;
    let acquire = |order, key| store.acquire(request(session, order, key));

    let Acquired::Settled(entry) = acquire("settled", "k1").await.unwrap() else {
        panic!("its answer is retained");
    };
    assert_eq!(entry.outcome, OutcomeKind::Applied);
    let answer = entry.answer.unwrap().body;
    assert!(answer.starts_with(b"count 1 by "), "{answer:?}");
    let Acquired::Settled(entry) = acquire("settled", "k2").await.unwrap() else {
        panic!("its answer is retained");
    };
    assert_eq!(entry.answer.unwrap().status, 409);
    assert_eq!(acquire("ended", "k1").await.unwrap(), Acquired::Expired);
    let begun = granted(acquire("progress", "k1").await.unwrap());
    assert_eq!((begun.attempt, begun.version), (2, Version(2)));
    assert_eq!(begun.progress.unwrap().outcome, OutcomeKind::Checkpoint);
    let told = acquire("marked", "k2").await.unwrap();
    assert!(matches!(told, Acquired::Marked(_)), "{told:?}");
    let mut resumes = request(session, "resumed", "k1");
    resumes.mark = Some(Recovery::Resume {
        times: 3,
        within: Duration::from_secs(3600),
    });
    assert_eq!(granted(store.acquire(resumes).await.unwrap()).attempt, 3);
    let history = History {
        target: ids::target("broken"),
        limit: 10,
        cursor: None,
    };
    let history = store.history(history).await.unwrap().unwrap().items;
    assert_eq!(history[1].outcome, OutcomeKind::LeaseBroken);

    let held = crate::world::hold(&store, request(session, "settled", "k3")).await;
    applied(store.settle(held.settle()).await.unwrap()).await;
    let known = Lookup {
        target: ids::target("settled"),
        key_id: held.request.claim.key_id,
    };
    let known = store.lookup(known).await.unwrap();
    assert!(matches!(known, Known::Settled(_)), "{known:?}");
    let since = EntriesSince {
        tenant: ids::tenant("-"),
        cursor: None,
        limit: 100,
    };
    let Entries::Some { entries, .. } = store.entries_since(since).await.unwrap() else {
        panic!("it is read from its beginning");
    };
    assert_eq!(entries.len(), 15);
    assert!(entries.is_sorted_by(|one, other| one.position < other.position));
    assert_eq!(fixtures::count(entries[14].change.as_ref().unwrap()), 2);
    let index = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'orders_by_mark'::regclass";
    let index = hand.query_one(index, &[]).await.unwrap();
    assert!(index.get::<_, bool>(0));
}

/// A statement as a node of 0.1 has it prepared: its name, a word for it, and how many parameters it
/// takes.
struct Prepared {
    name: &'static str,
    word: String,
    parameters: usize,
}

impl Prepared {
    async fn all(client: &Client) -> Vec<Self> {
        let mut all = Vec::new();
        for (number, text) in STATEMENTS.split("\n\n-- ").enumerate() {
            let text = text.trim_start_matches("-- ");
            let (head, body) = text.split_once('\n').unwrap();
            let (name, types) = head.split_once(' ').unwrap();
            let word = format!("statement_{number}");
            let prepare = format!("PREPARE {word} {types} AS {body}");
            client.batch_execute(&prepare).await.unwrap();
            let parameters = types.split(", ").count();
            all.push(Self {
                name,
                word,
                parameters,
            });
        }
        all
    }

    /// Carries it out with nothing, and takes it back.
    async fn run(&self, client: &Client) -> Result<(), tokio_postgres::Error> {
        let nothing = vec!["NULL"; self.parameters].join(", ");
        let run = format!("BEGIN; EXECUTE {} ({nothing})", self.word);
        let ended = client.batch_execute(&run).await;
        client.batch_execute("ROLLBACK").await.unwrap();
        ended
    }
}

#[tokio::test]
async fn a_node_of_0_1_that_still_runs_writes_nothing_more() {
    let (place, hand) = of_0_1().await;
    let horizon = "SET orderlock.horizon = '1'";
    hand.batch_execute(horizon).await.unwrap();
    let statements = Prepared::all(&hand).await;
    for statement in &statements {
        // It is carried out, or refused for being given nothing.
        if let Err(error) = statement.run(&hand).await {
            let code = error.code();
            assert_eq!(code, Some(&SqlState::NOT_NULL_VIOLATION), "{error:?}");
        }
    }
    place.open(two_seconds_later()).await;
    for statement in &statements {
        let name = statement.name;
        if HARMLESS.contains(&name) {
            continue;
        }
        let error = statement.run(&hand).await.expect_err(name);
        assert_eq!(error.code(), Some(&SqlState::UNDEFINED_COLUMN), "{name}");
    }
}

#[tokio::test]
async fn a_table_that_somebody_keeps_is_not_waited_for_without_end() {
    let (place, hand) = of_0_1().await;
    hand.batch_execute("BEGIN; LOCK TABLE orders IN ACCESS SHARE MODE")
        .await
        .unwrap();
    let short = "options=-clock_timeout%3D100ms%20";
    let address = place.address().replace("options=", short);
    let error = refused(&address).await;
    assert!(matches!(error, OpenError::Locked), "{error:?}");
    hand.batch_execute("COMMIT").await.unwrap();
    drop(
        PostgresStore::open(&place.address(), PostgresOptions::default())
            .await
            .unwrap(),
    );
}
