//! Who shares a commit.

use orderlock_core::store::{Loss, Settled};
use orderlock_core::{Document, OrderStore as _, Version};
use orderlock_testkit::fixtures;
use serde_json::json;

use super::{Bench, accepted, start};
use crate::SqliteOptions;
use crate::file::error::Fault;

#[tokio::test]
async fn settles_that_wait_share_one_commit() {
    let bench = Bench::new().await;
    let mut settles = Vec::new();
    for number in 0..64 {
        let order = format!("o{number}");
        bench.order(&order).await;
        settles.push(bench.held(&order, "k").await);
    }
    let stopped = bench.stop().await;
    let before = bench.store.statistics();
    let mut running = Vec::new();
    for settle in settles {
        running.push(start(&bench.store, move |store| store.settle(settle)).await);
    }
    stopped.go();
    for settle in running {
        accepted(settle.await.unwrap().unwrap());
    }
    let after = bench.store.statistics();
    println!("{before:?} -> {after:?}");
    assert_eq!(after.settles - before.settles, 64);
    assert_eq!(after.commits - before.commits, 1);
}

#[tokio::test]
async fn a_batch_and_the_queue_have_their_bounds() {
    let options = SqliteOptions::default().with_batch(4).with_queue(8);
    let bench = Bench::with(options).await;
    let mut settles = Vec::new();
    for number in 0..16 {
        let order = format!("o{number}");
        bench.order(&order).await;
        settles.push(bench.held(&order, "k").await);
    }
    let stopped = bench.stop().await;
    let before = bench.store.statistics();
    let mut running = Vec::new();
    for settle in settles {
        running.push(start(&bench.store, move |store| store.settle(settle)).await);
    }
    stopped.go();
    for settle in running {
        accepted(settle.await.unwrap().unwrap());
    }
    let after = bench.store.statistics();
    println!("{before:?} -> {after:?}");
    // More than the queue held, all the same: who finds it full waits for room.
    assert_eq!(after.settles - before.settles, 16);
    assert!(
        after.commits - before.commits >= 4,
        "no more than four to a commit"
    );
}

#[tokio::test]
async fn a_read_or_a_grant_costs_no_commit() {
    let bench = Bench::new().await;
    bench.order("o").await;
    let before = bench.store.statistics();
    let settle = bench.held("o", "k").await;
    bench.view("o").await;
    assert_eq!(bench.store.statistics().commits, before.commits);
    accepted(bench.store.settle(settle).await.unwrap());
    assert_eq!(bench.store.statistics().commits, before.commits + 1);
}

#[tokio::test]
async fn one_that_fails_never_fails_its_neighbours() {
    let bench = Bench::new().await;
    for order in ["good", "large", "stale", "late"] {
        bench.order(order).await;
    }
    let good = bench.held("good", "k").await;
    let mut large = bench.held("large", "k").await;
    let text = "x".repeat(2 * 1024 * 1024);
    let change = fixtures::change_of(&mut large);
    change.after = Document::encode(&json!({ "count": 1, "text": text })).unwrap();
    let mut stale = bench.held("stale", "k").await;
    stale.version = Version(7);
    let late = bench.held("late", "k").await;

    let stopped = bench.stop().await;
    let good = start(&bench.store, move |store| store.settle(good)).await;
    let large = start(&bench.store, move |store| store.settle(large)).await;
    let stale = start(&bench.store, move |store| store.settle(stale)).await;
    let broken = bench.on_writer(|context| {
        context
            .connection
            .execute("UPDATE orders SET version = 99", [])?;
        Err::<(), _>(context.connection.execute("no SQL", []).unwrap_err().into())
    });
    let (broken, late) = tokio::join!(broken, async {
        let late = start(&bench.store, move |store| store.settle(late)).await;
        stopped.go();
        late.await.unwrap().unwrap()
    });
    accepted(good.await.unwrap().unwrap());
    let large = large.await.unwrap().unwrap();
    assert!(matches!(large, Settled::Impossible(_)), "{large:?}");
    let stale = stale.await.unwrap().unwrap();
    assert!(
        matches!(stale, Settled::Lost(Loss::VersionMoved)),
        "{stale:?}"
    );
    broken.unwrap_err();
    accepted(late);
    for (order, version) in [("good", 2), ("large", 1), ("stale", 1), ("late", 2)] {
        assert_eq!(bench.view(order).await.version, Version(version), "{order}");
    }
    assert!(
        bench.view("large").await.lease.is_none(),
        "the impossible lets go"
    );
}

/// The file takes the change and refuses the entry: neither is there, and the lease is let go.
#[tokio::test]
async fn a_settle_that_is_refused_half_way_leaves_nothing() {
    let bench = Bench::new().await;
    for order in ["refused", "good"] {
        bench.order(order).await;
    }
    let refuse = "CREATE TEMP TRIGGER refuse BEFORE INSERT ON main.entries WHEN NEW.order_row = 1
                  BEGIN SELECT raise(ABORT, 'not this one'); END";
    let refusing = bench.on_writer(move |context| Ok(context.connection.execute_batch(refuse)?));
    refusing.await.unwrap();
    let refused = bench.held("refused", "k").await;
    let good = bench.held("good", "k").await;
    let stopped = bench.stop().await;
    let refused = start(&bench.store, move |store| store.settle(refused)).await;
    let good = start(&bench.store, move |store| store.settle(good)).await;
    stopped.go();
    let refused = refused.await.unwrap().unwrap();
    assert!(matches!(refused, Settled::Impossible(_)), "{refused:?}");
    accepted(good.await.unwrap().unwrap());
    let view = bench.view("refused").await;
    assert_eq!((view.version, view.lease), (Version(1), None));
    assert_eq!(bench.view("good").await.version, Version(2));
    bench.agree();
}

/// A full disk makes SQLite roll the whole transaction back in the middle of one job.
#[tokio::test]
async fn one_that_takes_the_transaction_with_it_never_fails_its_neighbours() {
    let bench = Bench::new().await;
    for order in ["first", "last"] {
        bench.order(order).await;
    }
    let first = bench.held("first", "k").await;
    let last = bench.held("last", "k").await;
    let stopped = bench.stop().await;
    let first = start(&bench.store, move |store| store.settle(first)).await;
    let torn = bench.on_writer(|context| {
        context.connection.execute_batch("ROLLBACK")?;
        Err::<(), _>(Fault::Sql(rusqlite::Error::InvalidQuery))
    });
    let (torn, last) = tokio::join!(torn, async {
        let last = start(&bench.store, move |store| store.settle(last)).await;
        stopped.go();
        last.await.unwrap().unwrap()
    });
    torn.unwrap_err();
    accepted(first.await.unwrap().unwrap());
    accepted(last);
    assert_eq!(bench.view("first").await.version, Version(2));
    assert_eq!(bench.view("last").await.version, Version(2));
}

#[tokio::test]
async fn dropping_the_store_writes_what_is_queued() {
    let bench = Bench::new().await;
    bench.order("o").await;
    let settle = bench.held("o", "k").await;
    let stopped = bench.stop().await;
    let settle = start(&bench.store, move |store| store.settle(settle)).await;
    settle.abort();
    stopped.go().await.unwrap().unwrap();
    let path = bench.folder.path().join("orders.db");
    drop(bench.store);
    // Only once every clone is gone is the file free; the aborted task held one.
    settle.await.unwrap_err();
    let options = SqliteOptions::default();
    let store = crate::SqliteStore::open(path, options).unwrap();
    let target = orderlock_testkit::fixtures::ids::target("o");
    let view = store.read(orderlock_core::store::Read { target }).await;
    assert_eq!(view.unwrap().unwrap().version, Version(2));
}
