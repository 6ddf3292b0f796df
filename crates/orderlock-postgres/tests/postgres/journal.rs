//! The journal as a stream: what a reader is given while others write, and after a restore.

use orderlock_core::OrderStore as _;
use orderlock_core::store::{Cursor, Entries, EntriesSince, Entry};
use orderlock_postgres::{PostgresOptions, PostgresStore};
use orderlock_testkit::fixtures::ids;

use crate::cluster::{Cluster, run};
use crate::place::{connect, server};
use crate::world::{World, applied, hold, join, request};

/// Everything that a reader may see behind a cursor; none if a new epoch has begun.
async fn since(store: &PostgresStore, cursor: Option<Cursor>) -> Option<(Vec<Entry>, Cursor)> {
    let request = EntriesSince {
        tenant: ids::target("o1").tenant,
        cursor,
        limit: 100,
    };
    match store.entries_since(request).await.unwrap() {
        Entries::Some { entries, next } => Some((entries, next)),
        Entries::NewEpoch => None,
    }
}

fn names(entries: &[Entry]) -> Vec<String> {
    let name = |entry: &Entry| format!("{}-{}", entry.target.order, entry.number);
    entries.iter().map(name).collect()
}

/// Makes the entries of one order wait in the middle of their transaction, once they have their
/// position, for as long as the hand holds a lock.
const SLOW: &str = "
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF new.order_row = (SELECT row FROM orders WHERE id = 'slow') THEN
            PERFORM pg_advisory_xact_lock('entries'::regclass::oid::bigint);
        END IF;
        RETURN new;
    END $$;
    CREATE TRIGGER slow BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION slow();
    SELECT pg_advisory_lock('entries'::regclass::oid::bigint)";

const GO_ON: &str = "SELECT pg_advisory_unlock('entries'::regclass::oid::bigint)";

/// Waits until a transaction waits for the hand's lock.
async fn is_slow(world: &World) {
    let waiting = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
        AND objid = 'entries'::regclass::oid";
    while world.hand.query(waiting, &[]).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_entry_that_commits_late_is_skipped_by_nobody() {
    let world = World::waiting(PostgresOptions::default()).await;
    world.order("slow").await;
    world.order("quick").await;
    let (slow, quick) = (
        world.hold("slow", "k1").await,
        world.hold("quick", "k1").await,
    );
    let (entries, start) = since(&world.store, None).await.unwrap();
    assert_eq!(names(&entries), ["slow-1", "quick-1"]);
    world.hand.batch_execute(SLOW).await.unwrap();

    let late = world.settle(slow.settle());
    is_slow(&world).await;
    // Another node settles, and its entry is there, at a higher position.
    let other = world.place.open(PostgresOptions::default()).await;
    applied(other.settle(quick.settle()).await.unwrap()).await;
    for reader in [&world.store, &other] {
        let (entries, next) = since(reader, Some(start.clone())).await.unwrap();
        assert_eq!(
            names(&entries),
            [""; 0],
            "what comes first is not there yet"
        );
        assert_eq!(next, start);
    }
    let lag = other.lag().await.unwrap();
    assert_eq!(lag.writers, 1);
    assert!(lag.oldest.is_some());

    world.hand.query(GO_ON, &[]).await.unwrap();
    applied(late.await.unwrap().unwrap()).await;
    let (entries, _) = since(&world.store, Some(start.clone())).await.unwrap();
    assert_eq!(names(&entries), ["slow-2", "quick-2"]);
    let (same, _) = since(&other, Some(start)).await.unwrap();
    assert_eq!(same, entries, "each node reads the same");
    assert_eq!(other.lag().await.unwrap().writers, 0);
}

#[tokio::test]
async fn an_entry_whose_writer_waited_for_its_session_is_skipped_by_nobody() {
    let world = World::new().await;
    world.order("slow").await;
    world.order("quick").await;
    let slow = world.hold("slow", "k1").await;
    let other = world.place.open(PostgresOptions::default()).await;
    let session = join(&other, "b").await;
    let quick = hold(&other, request(session, "quick", "k1")).await;
    let (_, start) = since(&world.store, None).await.unwrap();
    let seize = "BEGIN; SELECT FROM sessions WHERE node = 'a' FOR UPDATE";
    world.hand.batch_execute(seize).await.unwrap();
    let late = world.settle(slow.settle());
    world.blocked(1).await;
    applied(other.settle(quick.settle()).await.unwrap()).await;
    // Which of them comes first is the store's to say; but what a reader was given stays the first.
    let (mut entries, next) = since(&other, Some(start.clone())).await.unwrap();
    world.commit().await;
    applied(late.await.unwrap().unwrap()).await;
    let (rest, _) = since(&other, Some(next)).await.unwrap();
    entries.extend(rest);
    assert_eq!(entries.len(), 2);
    assert_eq!(since(&other, Some(start)).await.unwrap().0, entries);
}

/// The server gives a transaction its number a moment before it notes that among the locks. A writer that
/// is stopped in between has the lock of a writer, and a number that no lock tells: here they are in two
/// hands, so that it can be stopped there. Another one has a higher number and is done.
#[tokio::test]
async fn an_entry_whose_writers_number_is_not_noted_yet_is_skipped_by_nobody() {
    let world = World::new().await;
    world.order("slow").await;
    world.order("quick").await;
    let quick = world.hold("quick", "k1").await;
    let (_, start) = since(&world.store, None).await.unwrap();
    let lock = "BEGIN; LOCK TABLE entries IN ROW EXCLUSIVE MODE";
    world.hand.batch_execute(lock).await.unwrap();
    let writer = connect(&world.place.address()).await;
    let number = "BEGIN; SELECT pg_current_xact_id()";
    writer.batch_execute(number).await.unwrap();

    applied(world.store.settle(quick.settle()).await.unwrap()).await;
    let other = world.place.open(PostgresOptions::default()).await;
    for reader in [&world.store, &other] {
        let (entries, next) = since(reader, Some(start.clone())).await.unwrap();
        assert_eq!(
            names(&entries),
            [""; 0],
            "what comes first is not there yet"
        );
        assert_eq!(next, start);
    }
    let write = "INSERT INTO entries (order_row, number, position, version, at, attempt, step,
            key_hash, key_id, fingerprint, tenant, operation, outcome, actor)
        SELECT row, 2, pg_current_xact_id()::text::bigint << 20, 1, now(), 1, 0,
            1, decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex'), tenant,
            'change', 'refused', '-'
        FROM orders WHERE id = 'slow'";
    writer.batch_execute(write).await.unwrap();
    writer.batch_execute("COMMIT").await.unwrap();
    world.commit().await;
    for reader in [&world.store, &other] {
        let (entries, _) = since(reader, Some(start.clone())).await.unwrap();
        assert_eq!(names(&entries), ["slow-2", "quick-2"]);
    }
}

#[tokio::test]
async fn who_writes_no_entries_holds_nobody_back() {
    let world = World::new().await;
    // It has a number of its own and stays open, as a report or a backup may.
    let open = "BEGIN; SELECT pg_current_xact_id(); UPDATE store SET base = base";
    world.hand.batch_execute(open).await.unwrap();
    world.order("o1").await;
    let (entries, _) = since(&world.store, None).await.unwrap();
    assert_eq!(names(&entries), ["o1-1"]);
    world.commit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_at_every_node_follow_the_same_stream() {
    const TURNS: usize = 40;
    let world = World::new().await;
    let nodes = [
        world.place.open(PostgresOptions::default()).await,
        world.place.open(PostgresOptions::default()).await,
    ];
    let mut writers = Vec::new();
    for (number, store) in nodes.iter().enumerate() {
        let order = format!("o{number}");
        world.order(&order).await;
        let store = store.clone();
        writers.push(tokio::spawn(async move {
            let session = join(&store, &order).await;
            for turn in 0..TURNS {
                let request = request(session, &order, &format!("k{turn}"));
                let held = hold(&store, request).await;
                applied(store.settle(held.settle()).await.unwrap()).await;
            }
        }));
    }
    let all = nodes.len() * (TURNS + 1);
    let mut followed: [Vec<Entry>; 2] = [vec![], vec![]];
    let mut cursors = [None, None];
    while followed.iter().any(|entries| entries.len() < all) {
        for (reader, store) in nodes.iter().enumerate() {
            let (entries, next) = since(store, cursors[reader].take()).await.unwrap();
            followed[reader].extend(entries);
            cursors[reader] = Some(next);
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(followed[0], followed[1]);
    assert!(followed[0].is_sorted_by(|one, other| one.position < other.position));
    for order in ["o0", "o1"] {
        let target = ids::target(order);
        let own = followed[0].iter().filter(|entry| entry.target == target);
        let numbers: Vec<_> = own.map(|entry| entry.number).collect();
        assert!(numbers.into_iter().eq(1..=TURNS as u64 + 1), "{order}");
    }
}

#[tokio::test]
async fn a_reader_of_what_was_lost_begins_again() {
    let world = World::new().await;
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    applied(world.store.settle(held.settle()).await.unwrap()).await;
    let (_, next) = since(&world.store, None).await.unwrap();
    // A fail-over to a standby that had not got the last entry; its position is given again.
    let lost = "UPDATE entries SET at = at + interval '1 second', key_hash = 7 WHERE number = 2";
    world.hand.execute(lost, &[]).await.unwrap();
    assert_eq!(since(&world.store, Some(next)).await, None);
    let (entries, _) = since(&world.store, None).await.unwrap();
    assert_eq!(names(&entries), ["o1-1", "o1-2"]);
}

#[tokio::test]
async fn a_restored_database_begins_a_new_epoch() {
    let world = World::new().await;
    // So that this server's transactions have higher numbers than the other's.
    let numbers = "DO $$ BEGIN FOR i IN 1..5000 LOOP
        PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$";
    world.hand.batch_execute(numbers).await.unwrap();
    world.order("o1").await;
    let held = world.hold("o1", "k1").await;
    applied(world.store.settle(held.settle()).await.unwrap()).await;
    let (before, cursor) = since(&world.store, None).await.unwrap();

    let other = Cluster::new(&[]);
    let dump = other.path("dump.sql");
    let folder = dump.parent().unwrap().to_owned();
    let (file, schema) = (format!("--file={}", dump.display()), world.place.schema());
    let of = format!("--schema={schema}");
    run("pg_dump", &[&file, &of, "--no-owner", &server()], &folder);
    run(
        "psql",
        &[
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            &file,
            &other.address("postgres"),
        ],
        &folder,
    );
    let address = format!(
        "{}?options=-csearch_path%3D{schema}",
        other.address("postgres")
    );
    // Of nodes that start at once, one begins the epoch.
    let open = || PostgresStore::open(&address, PostgresOptions::default());
    let (one, two) = tokio::join!(open(), open());
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(since(&one, Some(cursor)).await, None);
    assert_eq!(since(&two, None).await.unwrap().0, before);

    let session = join(&one, "a").await;
    let held = hold(&one, request(session, "o1", "k2")).await;
    applied(one.settle(held.settle()).await.unwrap()).await;
    let (after, _) = since(&two, None).await.unwrap();
    assert_eq!(names(&after), ["o1-1", "o1-2", "o1-3"]);
    assert!(after.is_sorted_by(|one, other| one.position < other.position));
    let hand = connect(&address).await;
    let again = "UPDATE store SET base = 0";
    hand.execute(again, &[]).await.unwrap();
    // The same, found by a node that was open all the time.
    assert_eq!(since(&two, None).await, None);
    assert_eq!(since(&two, None).await.unwrap().0, after);
}
