//! A file of an earlier layout: everything in it is found after it was opened, and it goes on.

use std::path::Path;
use std::sync::Arc;

use orderlock_core::store::{Acquired, Known, Lookup};
use orderlock_core::{KeyId, OrderStore as _, OutcomeKind, Runtime as _, Timestamp, Version};
use orderlock_testkit::{TestRuntime, fixtures};
use rusqlite::{Connection, params};

use super::journal::history;
use super::{Bench, accepted, granted, join};
use crate::SqliteOptions;
use crate::SqliteStore;
use crate::file::time;
use crate::open::migrate::make_layout;

/// How many keys each order has settled, and how many entries it has: with its creation, and with
/// a checkpoint and a broken lease before each key that can be divided by three.
const SETTLED: [u32; 3] = [0, 2, 40];

fn entries(settled: u32) -> u32 {
    1 + settled + 2 * (settled / 3)
}

struct Old<'a> {
    file: &'a Connection,
    now: Timestamp,
}

impl Old<'_> {
    fn order(&self, row: i64, settled: u32) {
        let (name, at) = (format!("o{row}"), time::to_sql(self.now));
        let document = fixtures::document(settled.into());
        let insert = "INSERT INTO orders VALUES (?1, ?2, ?3, ?4, 'open', 'c', ?5, ?5, ?6)";
        let target = fixtures::ids::target(&name);
        let values = params![
            row,
            target.tenant.as_str(),
            name,
            settled + 1,
            at,
            &document.as_bytes()[..]
        ];
        self.file.execute(insert, values).unwrap();
        let mut number = 1;
        self.entry(
            (row, number),
            &format!("create-{name}"),
            OutcomeKind::Created,
            0,
        );
        for key in 1..=settled {
            let name = format!("k{key}");
            if key % 3 == 0 {
                self.entry((row, number + 1), &name, OutcomeKind::Checkpoint, key - 1);
                self.entry((row, number + 2), &name, OutcomeKind::LeaseBroken, key - 1);
                number += 2;
            }
            number += 1;
            self.entry((row, number), &name, OutcomeKind::Applied, key);
        }
        assert_eq!(number, entries(settled));
    }

    fn entry(&self, (row, number): (i64, u32), key: &str, outcome: OutcomeKind, count: u32) {
        let claim = fixtures::claim(&format!("o{row}"), key);
        let KeyId(key_id) = claim.key_id;
        let at = time::to_sql(self.now);
        let document = fixtures::document(count.into());
        let changed = !matches!(outcome, OutcomeKind::Checkpoint | OutcomeKind::LeaseBroken);
        let insert = "INSERT INTO entries VALUES
            (NULL, ?1, ?2, ?3, 'confirm', ?4, ?5, NULL, ?6, 1, ?7, ?8, ?9, 0, ?10)";
        let values = params![
            row,
            number,
            count + 1,
            outcome.as_str(),
            claim.caller.principal.as_str(),
            at,
            key_id,
            claim.fingerprint.0,
            [7_u8; 16],
            changed.then(|| &document.as_bytes()[..]),
        ];
        self.file.execute(insert, values).unwrap();
        if outcome == OutcomeKind::LeaseBroken {
            return;
        }
        let mut first = [0; 8];
        first.copy_from_slice(&key_id[..8]);
        let answer = fixtures::answer(key);
        let is_final = outcome.is_final();
        let day = std::time::Duration::from_secs(24 * 3_600);
        let later = |days| time::to_sql(time::after(self.now, day * days));
        let insert = "INSERT INTO keys VALUES
            (last_insert_rowid(), ?1, ?2, ?3, ?4, ?5, NULL, ?6, ?7)";
        let values = params![
            i64::from_be_bytes(first),
            later(1),
            (outcome != OutcomeKind::Created).then(|| later(30)),
            is_final.then_some(answer.status),
            is_final.then_some(&answer.content_type),
            is_final.then_some(count + 1),
            is_final.then(|| &answer.body[..]),
        ];
        self.file.execute(insert, values).unwrap();
    }
}

fn make(path: &Path, now: Timestamp) {
    let mut file = Connection::open(path).unwrap();
    file.pragma_update(None, "foreign_keys", false).unwrap();
    make_layout(&mut file, 1);
    file.execute("INSERT INTO store VALUES (1, ?1, 4, NULL)", [[5_u8; 16]])
        .unwrap();
    let old = Old { file: &file, now };
    for (row, settled) in (1..).zip(SETTLED) {
        old.order(row, settled);
    }
}

async fn opened() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let runtime = TestRuntime::new();
    let path = folder.path().join("orders.db");
    make(&path, runtime.wall());
    let options = SqliteOptions::default().with_runtime(Arc::new(runtime.clone()));
    let store = SqliteStore::open(&path, options).unwrap();
    let session = join(&store, &runtime, "node").await;
    Bench {
        store,
        runtime,
        session,
        folder,
    }
}

#[tokio::test]
async fn a_file_of_the_first_layout_is_converted() {
    let bench = opened().await;
    bench.agree();
    for (row, settled) in (1..).zip(SETTLED) {
        let order = format!("o{row}");
        let view = bench.view(&order).await;
        assert_eq!(view.version, Version(u64::from(settled) + 1));
        assert_eq!(fixtures::count(&view.document), u64::from(settled));
        let before = history(&bench, &order).await;
        assert_eq!(before.len() as u64, u64::from(entries(settled)));
        for key in 1..=settled {
            let again = bench.request(&order, &format!("k{key}"));
            match bench.store.acquire(again).await.unwrap() {
                Acquired::Settled(entry) => assert_eq!(entry.answer.unwrap().status, 200),
                other => panic!("{other:?}"),
            }
        }
        let created = Lookup {
            target: fixtures::ids::target(&order),
            key_id: fixtures::claim(&order, &format!("create-{order}")).key_id,
        };
        let created = bench.store.lookup(created).await.unwrap();
        assert!(matches!(created, Known::Settled(_)), "{created:?}");
        // It goes on where the old file ends.
        for key in 0..20 {
            let settle = bench.held(&order, &format!("new{key}")).await;
            accepted(bench.store.settle(settle).await.unwrap());
            bench.agree();
        }
        let after = history(&bench, &order).await;
        assert_eq!(after[..before.len()], before);
        assert_eq!(after.len(), before.len() + 20);
    }
    // The tombstones of the old file end as any others.
    let month = std::time::Duration::from_secs(31 * 24 * 3_600);
    bench.runtime.advance(month);
    let session = join(&bench.store, &bench.runtime, "node").await;
    let bench = Bench { session, ..bench };
    while bench
        .store
        .expire(orderlock_core::store::Expire { limit: 9 })
        .await
        .unwrap()
        .more
    {}
    bench.agree();
    granted(
        bench
            .store
            .acquire(bench.request("o3", "k3"))
            .await
            .unwrap(),
    );
}
