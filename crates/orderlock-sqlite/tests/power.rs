//! A power cut at every frame of the log: what was answered is there, what was not is there whole
//! or not at all.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "the helpers of these tests fail as loudly as the tests"
)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orderlock_core::store::{Acquired, History, Join, Read, Settled};
use orderlock_core::{Fence, OrderStore as _, Runtime as _, SessionId, Version};
use orderlock_sqlite::{SqliteOptions, SqliteStore};
use orderlock_testkit::{TestRuntime, fixtures};

const ORDERS: usize = 5;
/// The log's own layout: a header, then frames of a header and a page each.
const LOG_HEADER: usize = 32;
const FRAME: usize = 24 + 4096;

fn open(path: &Path) -> SqliteStore {
    let options = SqliteOptions::default()
        .with_runtime(Arc::new(TestRuntime::new()))
        .with_readers(1);
    SqliteStore::open(path, options).unwrap()
}

/// Creates orders, then settles one after the other; returns the log's length at each answer.
async fn settle_all(store: &SqliteStore, log: &Path) -> Vec<usize> {
    let session = SessionId(1);
    let join = Join {
        node: "node".into(),
        session,
        length: Duration::from_secs(10),
        secret: fixtures::secret(),
    };
    store.join(join).await.unwrap();
    for order in 0..ORDERS {
        let claim = fixtures::claim(&format!("o{order}"), "create");
        let create = fixtures::create(claim, TestRuntime::new().wall());
        store.create(create).await.unwrap();
    }
    let length = || usize::try_from(fs::metadata(log).unwrap().len()).unwrap();
    let mut answered = vec![length()];
    for order in 0..ORDERS {
        let claim = fixtures::claim(&format!("o{order}"), "k");
        let request = fixtures::acquire(claim, session, Fence(order as u128));
        let Acquired::Granted(grant) = store.acquire(request.clone()).await.unwrap() else {
            panic!("not granted");
        };
        let settled = store.settle(fixtures::settle(&request, &grant)).await;
        assert!(matches!(settled, Ok(Settled::Accepted(_))), "{settled:?}");
        answered.push(length());
    }
    answered
}

/// How many of the orders are settled; each must be whole, and they must be the first ones.
async fn settled(store: &SqliteStore) -> usize {
    let mut count = 0;
    for order in 0..ORDERS {
        let target = fixtures::ids::target(&format!("o{order}"));
        let read = Read {
            target: target.clone(),
        };
        let view = store.read(read).await.unwrap().unwrap();
        let history = History {
            target,
            limit: 10,
            cursor: None,
        };
        let entries = store.history(history).await.unwrap().unwrap().items;
        match view.version {
            Version(1) => assert_eq!((fixtures::count(&view.document), entries.len()), (0, 1)),
            Version(2) => {
                assert_eq!((fixtures::count(&view.document), entries.len()), (1, 2));
                assert_eq!(entries[1].change.as_ref(), Some(&view.document));
                assert!(entries[1].answer.is_some());
                assert_eq!(count, order, "no settle without the one before it");
                count += 1;
            }
            other => panic!("version {other}"),
        }
    }
    count
}

#[tokio::test]
async fn a_cut_log_has_everything_that_was_answered_and_no_half() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let store = open(&path);
    let log_path = folder.path().join("orders.db-wal");
    let answered = settle_all(&store, &log_path).await;
    let file = fs::read(&path).unwrap();
    let log = fs::read(&log_path).unwrap();
    println!("the log at each answer: {answered:?}");
    assert_eq!(
        store.statistics().checkpoints,
        0,
        "the file has not moved since"
    );

    let mut cuts = 0;
    for done in 0..ORDERS {
        let (from, to) = (answered[done], answered[done + 1]);
        assert_eq!(
            (from - LOG_HEADER) % FRAME,
            0,
            "a log ends with a whole frame"
        );
        let edges = (from..to).step_by(FRAME);
        for cut in edges.flat_map(|edge| [edge, edge + FRAME / 2]) {
            for tail in [None, Some(0_u8), Some(0xa5)] {
                let mut image = log[..cut].to_vec();
                image.extend(tail.map(|byte| vec![byte; to - cut]).unwrap_or_default());
                let cut_folder = tempfile::tempdir().unwrap();
                let cut_path = cut_folder.path().join("orders.db");
                fs::write(&cut_path, &file).unwrap();
                fs::write(cut_folder.path().join("orders.db-wal"), image).unwrap();
                let found = settled(&open(&cut_path)).await;
                assert_eq!(found, done, "cut at {cut}, tail {tail:?}");
                cuts += 1;
            }
        }
    }
    println!("{cuts} cuts");
    assert!(
        cuts >= ORDERS * 6,
        "each settle writes pages, and each was cut"
    );
}
