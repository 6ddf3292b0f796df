//! Lists: their order, and what one page may cost.

use std::time::Duration;

use orderlock_core::store::{Cursor, Filter, Leases, List, OrderView, Page};
use orderlock_core::{
    Document, OrderStore as _, OwnedIndex, Recovery, Runtime as _, StoreError, Tenant, Times,
};
use orderlock_testkit::fixtures;
use serde_json::json;

use super::{Bench, granted};
use crate::verbs::pages::SCAN_MAX;

impl Bench {
    async fn page(&self, filter: &Filter, limit: usize, cursor: Option<Cursor>) -> Page<OrderView> {
        let list = List {
            tenant: Tenant::single(),
            filter: filter.clone(),
            limit,
            cursor,
        };
        self.store.list(list).await.unwrap()
    }

    /// All pages: what is on each.
    async fn pages(&self, filter: &Filter, limit: usize) -> Vec<Vec<String>> {
        let (mut pages, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.page(filter, limit, cursor).await;
            let names = page.items.iter().map(|it| it.target.order.to_string());
            pages.push(names.collect());
            cursor = page.next;
            if cursor.is_none() {
                return pages;
            }
        }
    }

    /// Makes an order with this index at this time, whenever that is.
    async fn order_of(&self, order: &str, seconds: u64, status: &str, customer: &str) {
        let at = self.runtime.wall() + Duration::from_secs(seconds);
        let mut create = fixtures::create(fixtures::claim(order, "create"), at);
        create.times = Times {
            created: at,
            updated: at,
        };
        create.index = index(status, customer);
        self.store.create(create).await.unwrap();
    }
}

fn index(status: &str, customer: &str) -> OwnedIndex {
    OwnedIndex {
        status: Some(status.into()),
        customer: Some(customer.into()),
    }
}

fn by(status: Option<&str>, customer: Option<&str>) -> Filter {
    Filter {
        status: status.map(Into::into),
        customer: customer.map(Into::into),
        locked: None,
    }
}

#[tokio::test]
async fn the_newest_come_first_by_their_time_then_by_their_id() {
    let bench = Bench::new().await;
    for (order, seconds) in [("c", 2), ("a", 1), ("b", 1), ("e", 3), ("d", 1), ("f", 2)] {
        bench.order_of(order, seconds, "open", "ann").await;
    }
    let locked = |locked| Filter {
        locked: Some(locked),
        ..Filter::default()
    };
    for order in ["a", "d", "c"] {
        bench.held(order, "k").await;
    }
    for limit in 1..8 {
        let all = bench.pages(&Filter::default(), limit).await.concat();
        assert_eq!(all, ["e", "f", "c", "d", "b", "a"]);
        for filter in [
            by(Some("open"), None),
            by(None, Some("ann")),
            by(Some("open"), Some("ann")),
        ] {
            assert_eq!(bench.pages(&filter, limit).await.concat(), all);
        }
        let held = bench.pages(&locked(true), limit).await.concat();
        assert_eq!(held, ["c", "d", "a"]);
        let free = bench.pages(&locked(false), limit).await.concat();
        assert_eq!(free, ["e", "f", "b"]);
    }
}

/// Many orders of one customer, none of which has the status: the page says honestly that it has
/// not seen all of them.
#[tokio::test]
async fn a_page_looks_at_so_many_orders_and_says_where_it_stands() {
    let bench = Bench::new().await;
    bench.order_of("first", 0, "draft", "ann").await;
    let many = i64::try_from(2 * SCAN_MAX).unwrap();
    let filled = bench.on_writer(move |context| {
        let fill = "INSERT INTO orders (tenant, id, version, status, customer, created, updated,
                number, newest, document)
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
            SELECT tenant, 'o' || i, 1, 'pending', customer, created + i, updated, 0,
                zeroblob(192), document FROM n JOIN orders ON id = 'first'";
        Ok(context.connection.execute(fill, [many])?)
    });
    assert_eq!(filled.await.unwrap(), 2 * SCAN_MAX);
    bench.order_of("last", 1_000_000, "draft", "ann").await;
    let filter = by(Some("draft"), Some("ann"));
    let pages = bench.pages(&filter, 10).await;
    assert_eq!(pages.len(), 3, "{pages:?}");
    assert_eq!(pages.concat(), ["last", "first"]);
    // A page that is full goes on where it stood.
    assert_eq!(bench.pages(&filter, 1).await.concat(), ["last", "first"]);
    let free = Filter {
        locked: Some(false),
        ..filter
    };
    assert_eq!(bench.pages(&free, 10).await.concat(), ["last", "first"]);
}

#[tokio::test]
async fn a_page_is_bounded_in_bytes() {
    let bench = Bench::new().await;
    for number in 0..9 {
        let claim = fixtures::claim(&format!("o{number}"), "create");
        let mut create = fixtures::create(claim, bench.runtime.wall());
        let text = "x".repeat(300 * 1024);
        create.document = Document::encode(&json!({ "count": 0, "text": text })).unwrap();
        bench.store.create(create).await.unwrap();
    }
    let pages = bench.pages(&Filter::default(), 100).await;
    let sizes: Vec<usize> = pages.iter().map(Vec::len).collect();
    assert_eq!(
        sizes,
        [4, 4, 1],
        "a page ends with the order that passes 1 MiB"
    );
}

#[tokio::test]
async fn a_cursor_that_is_not_ours_is_refused() {
    let bench = Bench::new().await;
    bench.order("o").await;
    for cursor in [
        "o1",
        "o1.",
        "o.o",
        "o01.o",
        "o1.o o",
        "x1.o",
        "",
        "o9999999999999999999.o",
    ] {
        let list = List {
            tenant: Tenant::single(),
            filter: Filter::default(),
            limit: 9,
            cursor: Some(Cursor(cursor.into())),
        };
        let told = bench.store.list(list).await;
        assert!(
            matches!(told, Err(StoreError::InvalidCursor)),
            "{cursor}: {told:?}"
        );
    }
}

/// A list of one tenant's marks passes by those of others, so many at a time.
#[tokio::test]
async fn marks_of_others_are_passed_by_in_pieces() {
    let bench = Bench::new().await;
    bench.order("first").await;
    let mut request = bench.request("first", "k");
    request.mark = Some(Recovery::Reconcile);
    granted(bench.store.acquire(request).await.unwrap());
    let many = i64::try_from(SCAN_MAX + 9).unwrap();
    let filled = bench.on_writer(move |context| {
        let orders = "INSERT INTO orders (tenant, id, version, created, updated, number, newest,
                document)
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
            SELECT 'other', 'o' || i, 1, 0, 0, 0, zeroblob(192), x'30' FROM n";
        context.connection.execute(orders, [many])?;
        let marks = "INSERT INTO marks (order_row, principal, key_id, fingerprint, operation,
                attempt, since)
            SELECT o.row, m.principal, m.key_id, m.fingerprint, m.operation, 1, 0
            FROM orders o JOIN marks m WHERE o.tenant = 'other'";
        Ok(context.connection.execute(marks, [])?)
    });
    filled.await.unwrap();
    bench.order("last").await;
    let mut request = bench.request("last", "k");
    request.mark = Some(Recovery::Reconcile);
    granted(bench.store.acquire(request).await.unwrap());
    let session = bench.session;
    let left = orderlock_core::store::Leave { session };
    bench.store.leave(left).await.unwrap();
    let (mut found, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let leases = Leases {
            tenant: Tenant::single(),
            limit: 9,
            cursor,
        };
        let page = bench.store.leases(leases).await.unwrap();
        found.extend(page.items.into_iter().map(|it| it.target.order.to_string()));
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((found, pages), (vec!["first".into(), "last".into()], 2));
}
