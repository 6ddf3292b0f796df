//! No statement walks through a tenant's orders, entries or keys: the plan of each that the store has, on
//! tables of a size, before they are analyzed and after.

use orderlock_postgres::{PostgresOptions, Statement, statements};
use tokio_postgres::Client;

use crate::place::{Place, connect};

const FILL: &str = "
    ALTER TABLE orders SET (autovacuum_enabled = false);
    ALTER TABLE entries SET (autovacuum_enabled = false);
    ALTER TABLE keys SET (autovacuum_enabled = false);
    INSERT INTO orders (writes, version, entries, position, created, updated, tenant, id, status,
        customer, document)
    SELECT 0, 1, 1, n, now(), now(), '-', 'order-' || n, 'open', 'customer-' || n % 500, '{}'
    FROM generate_series(1, 50000) n;
    INSERT INTO entries (order_row, number, position, version, at, attempt, step, key_hash, key_id,
        fingerprint, tenant, operation, outcome, actor)
    SELECT row, 1, row, 1, now(), 1, 0, row, '', '', '-', 'create', 'created', '-' FROM orders;
    INSERT INTO keys (key_hash, order_row, number, expires, answer_status)
    SELECT row, row, 1, now(), 201 FROM orders";

/// As the store has it.
const PLANS: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
    SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_bitmapscan = off; SET jit = off";

/// The plan of a statement, a line for each step and condition.
async fn plan(hand: &Client, statement: &Statement) -> Vec<String> {
    let types: Vec<_> = statement.types.iter().map(|it| it.name()).collect();
    let nothing = vec!["NULL"; types.len()].join(", ");
    let (types, nothing) = match types.len() {
        0 => (String::new(), String::new()),
        _ => (format!("({})", types.join(", ")), format!("({nothing})")),
    };
    let prepare = format!("PREPARE it {types} AS {}", statement.text);
    hand.batch_execute(&prepare).await.unwrap();
    let explain = format!("EXPLAIN EXECUTE it {nothing}");
    let told = hand.simple_query(&explain).await.unwrap();
    hand.batch_execute("DEALLOCATE it").await.unwrap();
    let lines = told.iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    lines.map(|line| line.trim().to_owned()).collect()
}

/// The steps that look at more of a large table than an index names beyond the tenant.
fn walks(lines: &[String]) -> Vec<String> {
    let mut walks = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let large = ["orders", "entries", "keys"]
            .iter()
            .any(|table| line.contains(&format!(" on {table}")));
        if !large || !line.contains("Scan") {
            continue;
        }
        let condition = lines[at + 1..]
            .iter()
            .take_while(|line| !line.contains("->"));
        let mut condition = condition.filter_map(|line| line.strip_prefix("Index Cond: "));
        let narrow = condition.next().is_some_and(|condition| {
            let tenant_alone = condition.contains("tenant = ") && !condition.contains(" AND ");
            !tenant_alone
        });
        if !narrow {
            walks.push(line.clone());
        }
    }
    walks
}

#[tokio::test]
async fn no_statement_walks_through_a_tenant() {
    let place = Place::new().await;
    drop(place.open(PostgresOptions::default()).await);
    let hand = connect(&place.address()).await;
    hand.batch_execute(FILL).await.unwrap();
    hand.batch_execute(PLANS).await.unwrap();
    let mut found = Vec::new();
    for analyzed in [false, true] {
        if analyzed {
            let analyze = "ANALYZE orders; ANALYZE entries; ANALYZE keys";
            hand.batch_execute(analyze).await.unwrap();
        }
        for statement in statements() {
            // The highest position of each tenant is the first of its index; a lock has no plan.
            if statement.name.starts_with("epoch::") {
                continue;
            }
            for step in walks(&plan(&hand, &statement).await) {
                found.push(format!("{} (analyzed: {analyzed}): {step}", statement.name));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
