//! How SQLite goes about the statements of the hot path: what they cost must not grow with the
//! number of entries that an order has.

use orderlock_testkit::TestRuntime;
use rusqlite::Connection;

use crate::file::key_index::{NEXT_LIST, OLDER_OF_KEY};
use crate::file::keys::{ENTRY_AT, KEY_AT, PROGRESS_AT, SETTLE_AT};
use crate::open::migrate;
use crate::verbs::expire::DUE;

#[test]
fn an_entry_is_found_by_its_position_and_an_older_one_by_its_order() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate::migrate(&mut connection, &TestRuntime::new()).unwrap();
    let by_position = [KEY_AT, PROGRESS_AT, SETTLE_AT, ENTRY_AT];
    let by_position = by_position.map(|statement| (statement, "INTEGER PRIMARY KEY (rowid=?)"));
    let by_expires = [(DUE, "COVERING INDEX answers_by_expires (expires<?)")];
    let by_order = [
        (OLDER_OF_KEY, "PRIMARY KEY (order_row=? AND key_hash=?)"),
        (NEXT_LIST, "PRIMARY KEY (order_row=? AND last>?)"),
    ];
    for (statement, way) in by_position.into_iter().chain(by_order).chain(by_expires) {
        let explain = format!("EXPLAIN QUERY PLAN {statement}");
        let mut plan = connection.prepare(&explain).unwrap();
        let steps = plan.raw_query().mapped(|row| row.get::<_, String>(3));
        let steps: Vec<_> = steps.map(Result::unwrap).collect();
        println!("{steps:#?}");
        assert!(steps.iter().all(|step| step.contains(way)), "{steps:?}");
    }
}
