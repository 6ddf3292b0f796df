//! What each statement looks at, as the store sends it: on tables of a size, by plans that were made when
//! they were empty, and by plans that were made since, before the tables are analyzed and after. None
//! looks at more because a tenant has more orders, or an order more entries.
//!
//! The server itself tells, by its module `auto_explain`, how each statement was carried out that the
//! store has sent; whatever the store does not send in these tests is missed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use orderlock_postgres::{PostgresOptions, PostgresStore, Statement, statements};

use crate::cluster::Cluster;
use crate::deeds::Deeds;
use crate::place::connect;
use crate::told::{Told, told};

const SETTINGS: [&str; 8] = [
    "fsync = off",
    "autovacuum = off",
    "session_preload_libraries = 'auto_explain'",
    "auto_explain.log_min_duration = 0",
    "auto_explain.log_analyze = on",
    "auto_explain.log_buffers = on",
    "auto_explain.log_timing = off",
    "auto_explain.log_format = 'json'",
];

/// How many orders there are, all of one tenant: no bound depends on it. A variable makes more of them,
/// by hand.
fn orders() -> u64 {
    match std::env::var("ORDERLOCK_TEST_ORDERS") {
        Ok(number) => number.parse().expect("ORDERLOCK_TEST_ORDERS is a number"),
        Err(_) => 50_000,
    }
}

/// Orders as if they had been created, with a settled operation each. Of the keys of the creations some
/// are due to be forgotten, and some of those of the operations.
const FILL: &str = "
    INSERT INTO orders (writes, version, entries, position, created, updated, tenant, id, status,
        customer, document)
    SELECT 1, 2, 2, n * 2 + 1, now(), now(), '-', 'order-' || n, 'open', 'customer-' || n % 500,
        '{\"count\":1}'
    FROM generate_series(1, $1) n;
    INSERT INTO entries (order_row, number, position, version, at, attempt, step, key_hash, key_id,
        fingerprint, tenant, operation, outcome, actor, change)
    SELECT row, number, position - 2 + number, number, now(), 1, 0, row * 2 + number,
        decode(lpad(to_hex(row * 2 + number), 64, '0'), 'hex'), decode(repeat('00', 32), 'hex'), '-',
        CASE number WHEN 1 THEN 'create' ELSE 'change' END,
        CASE number WHEN 1 THEN 'created' ELSE 'applied' END, '-', document
    FROM orders CROSS JOIN generate_series(1, 2) number WHERE id LIKE 'order-%';
    INSERT INTO keys (key_hash, order_row, number, expires, forgotten, answer_status, content_type, body)
    SELECT key_hash, order_row, number,
        now() + CASE WHEN order_row % 10 = 0 THEN -1 ELSE 1 END * interval '1 day' - key_hash * interval '1 ms',
        CASE number WHEN 2 THEN now() + CASE WHEN order_row % 10 = 1 THEN -1 ELSE 30 END
            * interval '1 day' - key_hash * interval '1 ms' END,
        CASE WHEN number = 1 OR order_row % 10 <> 1 THEN 200 END, 'application/json', '{}'
    FROM entries WHERE order_row IN (SELECT row FROM orders WHERE id LIKE 'order-%')";

/// Operations whose marks nobody attends to, and leases of a node that has gone, at the oldest orders.
const LEFT: &str = "
    UPDATE orders SET writes = writes + 1, mark_attempt = 1, mark_since = now(), mark_principal = '-',
        mark_operation = 'pay', mark_key_id = decode(lpad(to_hex(row), 64, '0'), 'hex'),
        mark_fingerprint = decode(repeat('00', 32), 'hex')
    WHERE row BETWEEN 1000 AND 2999;
    UPDATE orders SET writes = writes + 1, fence = gen_random_uuid(),
        session = '00000000-0000-0000-0000-000000000001', since = now(), attempt = 1, steps = 0,
        granted = 0, principal = '-', operation = 'change',
        key_id = decode(lpad(to_hex(row), 64, '0'), 'hex'),
        fingerprint = decode(repeat('00', 32), 'hex')
    WHERE row BETWEEN 3000 AND 3099;
    INSERT INTO ended (session, heard) VALUES ('00000000-0000-0000-0000-000000000001', 0)
    ON CONFLICT DO NOTHING";

/// How much one statement may look at: the rows of each step, whatever becomes of them, and the pages.
#[derive(Clone, Copy)]
struct Bound {
    rows: f64,
    pages: u64,
}

/// For a few requests about an order each, and a page of a list that has its index. A join of what the
/// server tells of itself looks at a thousand rows.
const FEW: Bound = Bound {
    rows: 2_000.0,
    pages: 500,
};

/// A list that no index has looks at 10,000 orders for a page.
const LIST: Bound = Bound {
    rows: 17_000.0,
    pages: 17_000,
};

/// A sweep looks at up to 16,384 orders at once, by its index and once more for the session.
const SWEEP: Bound = Bound {
    rows: 2.0 * 17_000.0,
    pages: 17_000,
};

/// A page of the journal, or a batch of answers or tombstones that end.
const BATCH: Bound = Bound {
    rows: 500.0,
    pages: 5_000,
};

fn bound(statement: &str) -> Bound {
    match statement {
        "lists::LIST"
        | "lists::LIST_BY_STATUS"
        | "lists::LIST_BY_CUSTOMER"
        | "lists::LIST_BY_BOTH"
        | "lists::LEASES" => LIST,
        "void::VOID" => SWEEP,
        "expire::END_ANSWERS" | "expire::END_TOMBSTONES" | "entries_since::SINCE" => BATCH,
        _ => FEW,
    }
}

/// What has no plan: a lock on a table.
const WITHOUT: [&str; 1] = ["epoch::STOP"];

async fn open(cluster: &Cluster) -> PostgresStore {
    let address = cluster.address("postgres");
    // Whatever a walk takes, it is to be told by how much it looked at.
    let options = PostgresOptions::default().with_patience(Duration::from_secs(300));
    PostgresStore::open(&address, options).await.unwrap()
}

/// The statements by what stands in the server's log of them.
fn by_text() -> BTreeMap<&'static str, Statement> {
    statements().into_iter().map(|it| (it.text, it)).collect()
}

/// What was done too much of, and what was not done at all.
fn faults(when: &str, all: &[Told]) -> Vec<String> {
    let by_text = by_text();
    let mut missed: BTreeSet<_> = by_text.keys().copied().collect();
    let mut faults = Vec::new();
    let mut most = Bound {
        rows: 0.0,
        pages: 0,
    };
    for told in all {
        let Some((text, statement)) = by_text.get_key_value(&*told.text) else {
            continue;
        };
        missed.remove(text);
        most.rows = most.rows.max(told.rows);
        most.pages = most.pages.max(told.pages);
        let bound = bound(statement.name);
        if told.rows > bound.rows || told.pages > bound.pages || told.walks {
            let Told { rows, pages, .. } = told;
            faults.push(format!(
                "{when}: {} looks at {rows} rows and {pages} pages: {}",
                statement.name, told.plan
            ));
        }
    }
    println!(
        "{when}: no statement looks at more than {} rows, or {} pages",
        most.rows, most.pages
    );
    let missed = missed.into_iter().map(|text| by_text[text].name);
    faults.extend(
        missed
            .filter(|name| !WITHOUT.contains(name))
            .map(|name| format!("{when}: {name} was not carried out")),
    );
    faults
}

#[tokio::test]
async fn no_statement_looks_at_more_for_a_tenant_that_has_more_orders() {
    let cluster = Cluster::new(&SETTINGS);
    let log = || std::fs::read_to_string(cluster.path("server.log")).unwrap();
    let old = open(&cluster).await;
    let hand = connect(&cluster.address("postgres")).await;
    let deeds = Deeds {
        hand: &hand,
        address: cluster.address("postgres"),
        read: Mutex::default(),
    };
    deeds.of(&old, "empty").await;
    let fill = FILL.replace("$1", &orders().to_string());
    hand.batch_execute(&fill).await.unwrap();
    let mut found = Vec::new();
    for when in ["planned before", "not analyzed", "analyzed"] {
        if when == "analyzed" {
            hand.batch_execute("ANALYZE").await.unwrap();
        }
        hand.batch_execute(LEFT).await.unwrap();
        let before = log().len();
        match when {
            "planned before" => deeds.of(&old, when).await,
            _ => deeds.of(&open(&cluster).await, when).await,
        }
        let told = told(&log()[before..]);
        found.extend(faults(when, &told));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
