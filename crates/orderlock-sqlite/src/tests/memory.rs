//! What memory knows of orders: that it is the same as the file, and what becomes of it.

use orderlock_core::store::{
    Acquired, Entry, Filter, History, List, Loss, OrderView, Read, Settled,
};
use orderlock_core::{OrderStore as _, OwnedIndex, Recovery, Tenant, Version};
use orderlock_testkit::fixtures;
use rusqlite::Connection;

use super::{Bench, accepted, granted};
use crate::SqliteStore;
use crate::file::key_index::NEWEST_MAX;
use crate::state::orders::KEYS_READ_MAX;

async fn history(store: &SqliteStore) -> Vec<Entry> {
    let request = History {
        target: fixtures::ids::target("o"),
        limit: 1_000,
        cursor: None,
    };
    store.history(request).await.unwrap().unwrap().items
}

async fn view(store: &SqliteStore) -> OrderView {
    let target = fixtures::ids::target("o");
    store.read(Read { target }).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_restart_finds_what_memory_knew() {
    let bench = Bench::new().await;
    bench.order("o").await;
    for key in ["k1", "k2"] {
        let settle = bench.held("o", key).await;
        accepted(bench.store.settle(settle).await.unwrap());
    }
    let mut marked = bench.request("o", "marked");
    marked.mark = Some(Recovery::Reconcile);
    let grant = granted(bench.store.acquire(marked.clone()).await.unwrap());
    let checkpoint = fixtures::checkpoint(&marked, &grant);
    accepted(bench.store.settle(checkpoint).await.unwrap());
    let release = orderlock_core::store::Release {
        target: marked.claim.target(),
        fence: marked.fence,
        mark: orderlock_core::store::MarkFate::Keep,
        next: None,
    };
    bench.store.release(release).await.unwrap();
    assert_eq!(bench.agree(), 1);
    let (before, entries) = (view(&bench.store).await, history(&bench.store).await);
    assert_eq!(before.version, Version(4));
    assert!(before.lease.is_some(), "the mark stands");

    let bench = bench.reopened().await;
    assert_eq!(bench.agree(), 0, "nothing is known yet");
    assert_eq!(view(&bench.store).await, before);
    assert_eq!(history(&bench.store).await, entries);
    assert_eq!(bench.agree(), 1);
}

/// With few keys memory knows them all, with many it does not; either way each is settled once.
#[tokio::test]
async fn a_key_is_settled_once_however_many_there_are() {
    for count in [3, KEYS_READ_MAX + NEWEST_MAX + 3] {
        let mut bench = Bench::new().await;
        bench.order("o").await;
        for key in 0..count {
            let settle = bench.held("o", &format!("k{key}")).await;
            accepted(bench.store.settle(settle).await.unwrap());
        }
        for restarted in [false, true] {
            if restarted {
                bench = bench.reopened().await;
            }
            // The second look finds the order in memory, and looks for its keys.
            for key in ["k0", "k1", &format!("k{}", count - 1)] {
                let again = bench.store.acquire(bench.request("o", key)).await;
                assert!(matches!(again, Ok(Acquired::Settled(_))), "{again:?}");
                bench.agree();
            }
            let settle = bench.held("o", &format!("new{restarted}")).await;
            accepted(bench.store.settle(settle).await.unwrap());
            bench.agree();
        }
        assert_eq!(history(&bench.store).await.len(), count + 3);
    }
}

/// Nobody else may write the file. If somebody does, nothing is written over it, and the order is
/// read anew.
#[tokio::test]
async fn a_change_behind_the_back_of_memory_is_not_written_over() {
    let bench = Bench::new().await;
    bench.order("o").await;
    let settle = bench.held("o", "k").await;
    let other = Connection::open(bench.folder.path().join("orders.db")).unwrap();
    other
        .execute("UPDATE orders SET version = 7, status = 'theirs'", [])
        .unwrap();
    let lost = bench.store.settle(settle).await.unwrap();
    assert!(
        matches!(lost, Settled::Lost(Loss::VersionMoved)),
        "{lost:?}"
    );
    let view = view(&bench.store).await;
    assert_eq!(view.version, Version(7));
    assert_eq!(view.index.status.as_deref(), Some("theirs"));
    bench.agree();
}

/// Whichever of an order's filters change, lists find it by what they are now, and by nothing else.
#[tokio::test]
async fn an_order_is_listed_by_what_it_has_become() {
    let bench = Bench::new().await;
    bench.order("o").await;
    let names = [None, Some("a"), Some("b")];
    let all = names.map(|status| names.map(|customer| (status, customer)));
    // From each to each.
    let pairs = all.iter().flatten();
    let pairs = pairs.flat_map(|from| all.iter().flatten().map(move |to| [from, to]));
    for (number, (status, customer)) in pairs.flatten().enumerate() {
        let index = OwnedIndex {
            status: status.map(Into::into),
            customer: customer.map(Into::into),
        };
        let mut settle = bench.held("o", &format!("k{number}")).await;
        fixtures::change_of(&mut settle).index = index.clone();
        accepted(bench.store.settle(settle).await.unwrap());
        bench.agree();
        for (status, customer) in all.iter().flatten() {
            let filter = Filter {
                status: status.map(Into::into),
                customer: customer.map(Into::into),
                locked: None,
            };
            let fits = (status.is_none() || filter.status == index.status)
                && (customer.is_none() || filter.customer == index.customer);
            let request = List {
                tenant: Tenant::single(),
                filter,
                limit: 9,
                cursor: None,
            };
            let found = bench.store.list(request).await.unwrap().items;
            assert_eq!(found.len(), usize::from(fits), "{status:?} {customer:?}");
        }
    }
}
