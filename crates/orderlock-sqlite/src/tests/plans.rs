//! How SQLite goes about the statements of the hot path: what they cost must not grow with the
//! number of entries that an order has.

use orderlock_testkit::TestRuntime;
use rusqlite::Connection;

use crate::keys::{FIND_KEY, FIND_KEY_OF, FIND_PROGRESS, FIND_SETTLE};
use crate::migrate;

#[test]
fn a_key_is_looked_up_by_its_hash_however_many_entries_its_order_has() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate::migrate(&mut connection, &TestRuntime::new()).unwrap();
    for statement in [FIND_KEY, FIND_KEY_OF, FIND_SETTLE, FIND_PROGRESS] {
        let explain = format!("EXPLAIN QUERY PLAN {statement}");
        let mut plan = connection.prepare(&explain).unwrap();
        let steps = plan.raw_query().mapped(|row| row.get::<_, String>(3));
        let steps: Vec<_> = steps.map(Result::unwrap).collect();
        println!("{steps:#?}");
        assert!(
            steps.iter().any(|step| step.contains("keys_by_hash")),
            "{steps:?}"
        );
        assert!(
            !steps.iter().any(|step| step.contains("autoindex_entries")),
            "{steps:?}"
        );
        assert!(
            !steps.iter().any(|step| step.starts_with("SCAN")),
            "{steps:?}"
        );
    }
}
