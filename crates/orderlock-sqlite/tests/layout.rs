//! A file of version 0.1: everything in it is found after it was opened, and goes on.
//!
//! It has an order of 25 hours ago whose answers have ended; and, made just now: one with a settled
//! and a refused key, one with so many entries that the older ones lie apart and with checkpoints
//! before some settles, one whose key has made a checkpoint and nothing else, an open mark that may
//! be resumed, one that may not, a broken lease, a mark that was cleared, and another tenant's order.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of these tests fail as loudly as the tests"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orderlock_core::store::{
    Acquire, Acquired, Create, Created, Decision, Entries, EntriesSince, Entry, Expire, Filter,
    Grant, History, Join, Known, List, Lookup, Read, Resolve, Resolved, Settled,
};
use orderlock_core::{
    Fence, LeaseViewState, OrderStore as _, OutcomeKind, Recovery, Runtime as _, SessionId, Tenant,
    Version,
};
use orderlock_sqlite::{SqliteOptions, SqliteStore};
use orderlock_testkit::{TestRuntime, fixtures};
use rusqlite::Connection;
use tempfile::TempDir;

const SESSION: SessionId = SessionId(1);
const RESUME: Recovery = Recovery::Resume {
    times: 3,
    within: Duration::from_secs(3600),
};

struct Old {
    store: SqliteStore,
    runtime: TestRuntime,
    folder: TempDir,
}

impl Old {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders.db");
        let file = Connection::open(&path).unwrap();
        file.pragma_update(None, "foreign_keys", false).unwrap();
        file.execute_batch(include_str!("fixtures/orders-0.1.sql"))
            .unwrap();
        file.close().unwrap();
        let runtime = TestRuntime::new();
        runtime.advance(Duration::from_secs(25 * 3600 + 60));
        let store = open(&path, &runtime).await;
        Self {
            store,
            runtime,
            folder,
        }
    }

    async fn reopen(self) -> Self {
        drop(self.store);
        let store = open(&self.folder.path().join("orders.db"), &self.runtime).await;
        Self { store, ..self }
    }

    fn request(&self, order: &str, key: &str, mark: Option<Recovery>) -> Acquire {
        let fence = Fence(self.runtime.random());
        let mut request = fixtures::acquire(fixtures::claim(order, key), SESSION, fence);
        request.mark = mark;
        request
    }

    async fn acquire(&self, order: &str, key: &str, mark: Option<Recovery>) -> Acquired {
        let request = self.request(order, key, mark);
        self.store.acquire(request).await.unwrap()
    }

    async fn granted(&self, order: &str, key: &str, mark: Option<Recovery>) -> (Acquire, Grant) {
        let request = self.request(order, key, mark);
        match self.store.acquire(request.clone()).await.unwrap() {
            Acquired::Granted(grant) => (request, *grant),
            other => panic!("{order}, {key}: not granted but {other:?}"),
        }
    }

    async fn settle(&self, order: &str, key: &str, mark: Option<Recovery>) {
        let (request, grant) = self.granted(order, key, mark).await;
        let settle = fixtures::settle(&request, &grant);
        let settled = self.store.settle(settle).await.unwrap();
        assert!(matches!(settled, Settled::Accepted(_)), "{settled:?}");
    }

    /// The answer that a key is given again.
    async fn replayed(&self, order: &str, key: &str) -> Entry {
        match self.acquire(order, key, None).await {
            Acquired::Settled(entry) => *entry,
            other => panic!("{order}, {key}: {other:?}"),
        }
    }

    async fn known(&self, order: &str, key: &str) -> Known {
        let claim = fixtures::claim(order, key);
        let lookup = Lookup {
            target: claim.target(),
            key_id: claim.key_id,
        };
        self.store.lookup(lookup).await.unwrap()
    }

    async fn history(&self, order: &str) -> Vec<Entry> {
        let request = History {
            target: fixtures::ids::target(order),
            limit: 100,
            cursor: None,
        };
        self.store.history(request).await.unwrap().unwrap().items
    }

    async fn journal(&self, tenant: &Tenant) -> Vec<Entry> {
        let request = EntriesSince {
            tenant: tenant.clone(),
            cursor: None,
            limit: 1_000,
        };
        match self.store.entries_since(request).await.unwrap() {
            Entries::Some { entries, .. } => entries,
            Entries::NewEpoch => panic!("no cursor was given"),
        }
    }
}

async fn open(path: &Path, runtime: &TestRuntime) -> SqliteStore {
    let options = SqliteOptions::default().with_runtime(Arc::new(runtime.clone()));
    let store = SqliteStore::open(path, options).unwrap();
    let join = Join {
        node: "node".into(),
        session: SESSION,
        length: Duration::from_secs(1_000_000_000),
        // The file has the first node's.
        secret: orderlock_core::Secret::new([8; 32]),
    };
    let joined = store.join(join).await.unwrap();
    assert_eq!(joined.secret, fixtures::secret());
    store
}

#[tokio::test]
async fn its_keys_replay_and_its_orders_go_on() {
    let old = Old::open().await;
    let settled = old.replayed("plain", "k1").await.answer.unwrap();
    assert!(settled.body.starts_with(b"count 1 by "), "{settled:?}");
    assert_eq!(settled.version, Some(Version(2)));
    let refused = old.replayed("plain", "k2").await.answer.unwrap();
    assert_eq!(refused.status, 409);
    for key in 1..=20 {
        let entry = old.replayed("busy", &format!("k{key}")).await;
        assert!(entry.answer.is_some() && entry.outcome == OutcomeKind::Applied);
    }
    assert_eq!(old.acquire("old", "ended", None).await, Acquired::Expired);
    // Creations, under the key that made each.
    for (order, answered) in [("plain", true), ("old", false)] {
        let claim = fixtures::claim(order, &format!("create-{order}"));
        let create: Create = fixtures::create(claim, old.runtime.wall());
        match old.store.create(create).await.unwrap() {
            Created::Settled(entry) if answered => assert_eq!(entry.answer.unwrap().status, 201),
            Created::Expired if !answered => {}
            other => panic!("{order}: {other:?}"),
        }
    }
    let before = (old.history("busy").await, old.history("plain").await);
    assert_eq!((before.0.len(), before.1.len()), (25, 3));
    for order in ["plain", "busy", "broken"] {
        old.settle(order, "new", None).await;
    }
    let old = old.reopen().await;
    assert_eq!(old.history("busy").await[..25], before.0);
    assert_eq!(old.history("plain").await[..3], before.1);
    old.replayed("busy", "new").await;
}

#[tokio::test]
async fn its_marks_and_checkpoints_stand() {
    let old = Old::open().await;
    let view = old.store.read(Read {
        target: fixtures::ids::target("unknown"),
    });
    let lease = view.await.unwrap().unwrap().lease.unwrap();
    assert_eq!(lease.state, LeaseViewState::Marked);
    // One that may be resumed, with what its first run has done.
    let (_, grant) = old.granted("resumable", "pay", Some(RESUME)).await;
    assert_eq!(grant.attempt, 2);
    let progress = grant.progress.expect("its checkpoint");
    assert_eq!((progress.attempt, progress.version), (1, Version(2)));
    let (_, grant) = old.granted("progress", "begun", None).await;
    assert_eq!(grant.attempt, 2);
    assert!(grant.progress.is_some());
    // One that an operator ends.
    let other = old.acquire("unknown", "other", None).await;
    assert!(matches!(other, Acquired::Marked(_)), "{other:?}");
    let claim = fixtures::claim("unknown", "pay");
    let resolve = Resolve {
        target: claim.target(),
        key_id: claim.key_id,
        attempt: lease.attempt,
        since: lease.since.unwrap(),
        decision: Decision::RunAgain {
            retention: fixtures::RETENTION,
        },
        actor: fixtures::ids::principal("operator"),
        reason: "nothing was paid".into(),
    };
    let resolved = old.store.resolve(resolve).await.unwrap();
    assert!(matches!(resolved, Resolved::Resolved(_)), "{resolved:?}");
    let old = old.reopen().await;
    let (_, grant) = old.granted("unknown", "pay", None).await;
    assert_eq!(grant.attempt, 2, "the key stays bound");
    // One that was cleared before: nothing was kept of it then.
    let (_, grant) = old.granted("cleared", "pay", None).await;
    assert_eq!(grant.attempt, 1);
}

#[tokio::test]
async fn its_lists_and_its_journal_read_the_same() {
    let old = Old::open().await;
    let list = |filter| List {
        tenant: Tenant::single(),
        filter,
        limit: 100,
        cursor: None,
    };
    let page = old.store.list(list(Filter::default())).await.unwrap();
    let names: Vec<_> = page
        .items
        .iter()
        .map(|it| it.target.order.as_str())
        .collect();
    // The first of them a millisecond after the other, and then the one of the day before.
    let made = [
        "cleared",
        "broken",
        "unknown",
        "resumable",
        "progress",
        "busy",
        "plain",
        "old",
    ];
    assert_eq!(names, made);
    let changed = Filter {
        status: Some("changed".into()),
        customer: Some("customer".into()),
        locked: None,
    };
    let page = old.store.list(list(changed)).await.unwrap();
    assert_eq!(page.items.len(), 5);
    let journal = old.journal(&Tenant::single()).await;
    let mut told = 0;
    for name in made {
        let history = old.history(name).await;
        let of_order = journal
            .iter()
            .filter(|entry| entry.target.order.as_str() == name);
        assert!(of_order.eq(&history), "{name}");
        told += history.len();
    }
    assert_eq!(journal.len(), told);
    let other = fixtures::ids::tenant("other");
    assert_eq!(old.journal(&other).await.len(), 1);
}

#[tokio::test]
async fn what_it_remembers_ends_in_its_time() {
    let old = Old::open().await;
    let expire = async || old.store.expire(Expire { limit: 1_000 }).await.unwrap();
    assert_eq!(
        expire().await.answers,
        0,
        "those of the day before have ended"
    );
    assert!(matches!(old.known("plain", "k1").await, Known::Settled(_)));
    let day = Duration::from_secs(24 * 3600);
    old.runtime.advance(day);
    // Each settle's and each creation's.
    assert_eq!(expire().await.answers, 30);
    assert!(matches!(old.known("plain", "k1").await, Known::Expired(_)));
    old.runtime.advance(28 * day);
    assert_eq!(old.known("old", "ended").await, Known::Unknown);
    assert!(matches!(old.known("plain", "k1").await, Known::Expired(_)));
    old.runtime.advance(day);
    assert_eq!(old.known("plain", "k1").await, Known::Unknown);
    let (_, grant) = old.granted("progress", "begun", None).await;
    assert_eq!((grant.attempt, grant.progress), (1, None));
    let created = old.known("plain", "create-plain").await;
    assert!(matches!(created, Known::Expired(_)), "{created:?}");
}
