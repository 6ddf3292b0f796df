//! What the rows of orders and the tables beside them tell of entries, held against the entries.

use std::collections::HashMap;

use orderlock_core::store::{Entry, History};
use orderlock_core::{KeyId, OrderStore as _};
use orderlock_testkit::fixtures;
use rusqlite::Connection;

use super::{Bench, accepted};
use crate::file::key_index::{NEWEST_MAX, find_by_key, journal_at, key_hash, positions_after};
use crate::file::rows::unsigned;

/// Looks through the whole file: each entry is told once, by its order's row or by the tables, in
/// the order of their numbers, and while its key is remembered under that; and nothing is told
/// that is not there.
#[track_caller]
pub(super) fn tells_every_entry(file: &Connection) -> rusqlite::Result<()> {
    let dangling = file.prepare("PRAGMA foreign_key_check")?.exists([])?;
    assert!(!dangling, "a row refers to none");
    let mut entries: HashMap<i64, Vec<(i64, KeyId)>> = HashMap::new();
    let mut all =
        file.prepare("SELECT order_row, number, position, key_id FROM entries ORDER BY position")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        let of_order = entries.entry(row.get(0)?).or_default();
        of_order.push((row.get(2)?, KeyId(row.get(3)?)));
        let number: i64 = row.get(1)?;
        assert_eq!(
            unsigned(number),
            of_order.len() as u64,
            "numbers have no gap"
        );
    }
    let orders: i64 = file.query_row("SELECT count(*) FROM orders", [], |row| row.get(0))?;
    assert_eq!(usize::try_from(orders), Ok(entries.len()));
    let mut older = 0;
    for (order, entries) in &entries {
        let journal = journal_at(file, *order)?;
        assert_eq!(journal.number, entries.len() as u64);
        let told = positions_after(file, (*order, &journal), 0, usize::MAX)?;
        let are: Vec<i64> = entries.iter().map(|(position, _)| *position).collect();
        assert_eq!(told, are, "order {order}");
        let remembered = "SELECT 1 FROM entries WHERE position = ?1 AND expires IS NOT NULL";
        let remembered = file.prepare(remembered);
        let mut remembered = remembered?;
        for (position, key_id) in entries {
            if !remembered.exists([position])? {
                continue;
            }
            let same = |other: i64| Ok((other == *position).then_some(()));
            let found = find_by_key(file, (*order, &journal), *key_id, same)?;
            assert!(found.is_some(), "{position} of order {order}");
        }
        older += journal.older();
    }
    let counts = "SELECT (SELECT count(*) FROM older_keys),
        (SELECT sum(length(list)) / 12 FROM older_entries)";
    let (keys, listed): (i64, Option<i64>) =
        file.query_row(counts, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    assert_eq!(
        unsigned(listed.unwrap_or(0)),
        older,
        "no entry is told twice"
    );
    assert!(unsigned(keys) <= older, "no key is told twice");
    Ok(())
}

/// Every key of an order that is remembered.
pub(super) fn remembered(file: &Connection, order: i64) -> rusqlite::Result<Vec<KeyId>> {
    let keys = "SELECT key_id FROM entries WHERE order_row = ?1 AND expires IS NOT NULL";
    let mut keys = file.prepare(keys)?;
    let keys = keys.query_map([order], |row| Ok(KeyId(row.get(0)?)))?;
    keys.collect()
}

/// The order's history, read in small pages.
pub(super) async fn history(bench: &Bench, order: &str) -> Vec<Entry> {
    let (mut entries, mut cursor) = (Vec::new(), None);
    loop {
        let request = History {
            target: fixtures::ids::target(order),
            limit: 7,
            cursor,
        };
        let page = bench.store.history(request).await.unwrap().unwrap();
        assert!(!page.items.is_empty(), "a page that is told of has entries");
        entries.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return entries;
        }
    }
}

/// Around each size at which the row's list is full, one entry more or less.
#[tokio::test]
async fn entries_move_out_of_the_row_and_every_one_is_found() {
    let bench = Bench::new().await;
    bench.order("o").await;
    for number in 2..=3 * NEWEST_MAX + 2 {
        let settle = bench.held("o", &format!("k{number}")).await;
        accepted(bench.store.settle(settle).await.unwrap());
        assert_eq!(bench.agree(), 1);
        let told = |file: &Connection| journal_at(file, 1);
        let journal = told(&bench.file()).unwrap();
        let newest = (number - 1) % NEWEST_MAX + 1;
        assert_eq!(
            (journal.number, journal.newest.len()),
            (number as u64, newest)
        );
        let entries = history(&bench, "o").await;
        let numbers: Vec<u64> = entries.iter().map(|entry| entry.number).collect();
        assert_eq!(numbers, (1..=number as u64).collect::<Vec<_>>());
        let hash = key_hash(entries[number - 1].key_id);
        assert!(journal.newest.keys().any(|key| key == hash));
    }
}
