//! `read`, `list`, `history`, `describe`, `freed`: what readers see, and how much at once.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::FutureExt as _;
use orderlock_core::store::{Cursor, Filter, History, List, Loss, OrderView, Page};
use orderlock_core::{OwnedIndex, Recovery, Runtime as _};

use super::world::{Ended, Verbs, World, applied, single};
use crate::fixtures::{self, ids};

pub(super) fn list(filter: &Filter, limit: usize, cursor: Option<Cursor>) -> List {
    List {
        tenant: single(),
        filter: filter.clone(),
        limit,
        cursor,
    }
}

async fn listed(verbs: &Verbs, filter: &Filter, limit: usize) -> Vec<String> {
    let (mut names, mut cursor) = (Vec::new(), None);
    loop {
        let request = list(filter, limit, cursor);
        let page: Page<OrderView> = verbs.store().list(request).await.unwrap();
        assert!(page.items.len() <= limit, "more than was asked for");
        names.extend(page.items.iter().map(|view| view.target.order.to_string()));
        cursor = page.next;
        if cursor.is_none() {
            return names;
        }
        assert!(names.len() < 1_000, "the list has no end");
    }
}

pub(super) async fn some_orders(world: &World) {
    for (order, status, customer) in [
        ("o1", "open", "ann"),
        ("o2", "paid", "bob"),
        ("o3", "open", "bob"),
        ("o4", "open", "ann"),
        ("o5", "paid", "ann"),
    ] {
        let claim = fixtures::claim(order, "create");
        let mut request = fixtures::create(claim, world.runtime.wall());
        request.index = OwnedIndex {
            status: Some(status.into()),
            customer: Some(customer.into()),
        };
        world.create(request).await;
        world.pass(Duration::from_secs(1));
    }
}

pub(crate) async fn lists_newest_first_in_pages(world: World) {
    some_orders(&world).await;
    for limit in [1, 2, 3, 5, 6, usize::MAX] {
        let names = listed(&world, &Filter::default(), limit).await;
        assert_eq!(names, ["o5", "o4", "o3", "o2", "o1"], "limit {limit}");
    }
}

pub(crate) async fn lists_by_equality(world: World) {
    some_orders(&world).await;
    let filter = |status: Option<&str>, customer: Option<&str>| Filter {
        status: status.map(Into::into),
        customer: customer.map(Into::into),
        locked: None,
    };
    let open = listed(&world, &filter(Some("open"), None), 2).await;
    assert_eq!(open, ["o4", "o3", "o1"]);
    let anns = listed(&world, &filter(None, Some("ann")), 2).await;
    assert_eq!(anns, ["o5", "o4", "o1"]);
    let both = listed(&world, &filter(Some("open"), Some("ann")), 2).await;
    assert_eq!(both, ["o4", "o1"]);
    let none = listed(&world, &filter(Some("ope"), None), 2).await;
    assert_eq!(none, [""; 0]);
    // A change of what an order can be found by.
    let held = world.join("a").await.hold("o4", "k1").await;
    applied(world.settle(held.settle()).await);
    let open = listed(&world, &filter(Some("open"), None), 2).await;
    assert_eq!(open, ["o3", "o1"]);
    let changed = listed(&world, &filter(Some("changed"), None), 2).await;
    assert_eq!(changed, ["o4"]);
}

pub(crate) async fn locked_means_held_by_a_live_lease(world: World) {
    some_orders(&world).await;
    let filter = |locked| Filter {
        locked: Some(locked),
        ..Filter::default()
    };
    let node = world.join("a").await;
    node.hold("o1", "k1").await;
    node.mark("o3", "k1", Recovery::Reconcile).await;
    let held = node.mark("o5", "k1", Recovery::Reconcile).await;
    world
        .release(held.release(orderlock_core::store::MarkFate::Keep))
        .await;
    assert_eq!(listed(&world, &filter(true), 1).await, ["o3", "o1"]);
    assert_eq!(listed(&world, &filter(false), 2).await, ["o5", "o4", "o2"]);
    world.join("a").await;
    assert_eq!(listed(&world, &filter(true), 1).await, [""; 0]);
    assert_eq!(listed(&world, &filter(false), 9).await.len(), 5);
}

pub(crate) async fn pages_hold_while_orders_are_made(world: World) {
    some_orders(&world).await;
    let filter = Filter::default();
    let first = world.store().list(list(&filter, 2, None)).await.unwrap();
    world.order("o6").await;
    let mut seen: Vec<_> = first.items.iter().map(|view| view.target.clone()).collect();
    let mut cursor = first.next;
    while let Some(at) = cursor {
        let page = world
            .store()
            .list(list(&filter, 2, Some(at)))
            .await
            .unwrap();
        seen.extend(page.items.into_iter().map(|view| view.target));
        cursor = page.next;
    }
    let names: Vec<_> = seen.iter().map(|target| target.order.as_str()).collect();
    assert_eq!(names, ["o5", "o4", "o3", "o2", "o1"]);
}

pub(crate) async fn histories_come_in_pages(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    for key in ["k1", "k2", "k3", "k4"] {
        let held = node.hold("o1", key).await;
        applied(world.settle(held.settle()).await);
    }
    let all = world.history("o1").await;
    for limit in [1, 2, 5, usize::MAX] {
        let (mut entries, mut cursor) = (Vec::new(), None);
        loop {
            let target = ids::target("o1");
            let request = History {
                target,
                limit,
                cursor,
            };
            let page = world.store().history(request).await.unwrap().unwrap();
            assert!(page.items.len() <= limit);
            entries.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(entries, all, "limit {limit}");
    }
    let numbers: Vec<_> = all.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    let missing = History {
        target: ids::target("o9"),
        limit: 10,
        cursor: None,
    };
    assert_eq!(world.store().history(missing).await.unwrap(), None);
}

pub(crate) async fn says_what_it_is(world: World) {
    let info = world.store().describe();
    assert!(!info.name.is_empty());
    assert!(!info.durability.is_empty());
    assert!(info.document_bytes_max >= 64 * 1024, "{info:?}");
    assert_eq!(world.store().describe(), info);
}

pub(crate) async fn hints_name_only_what_was_let_go(world: World) {
    // Hints may be lost, so a missing one is no failure; but each must name an order.
    let mut freed = world.store().freed();
    world.order("o1").await;
    world.order("o2").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    node.hold("o2", "k1").await;
    applied(world.settle(held.settle()).await);
    let mut named = BTreeSet::new();
    while let Some(Some(target)) = futures_util::StreamExt::next(&mut freed).now_or_never() {
        named.insert(target);
        assert!(named.len() < 10);
    }
    named.remove(&ids::target("o1"));
    assert_eq!(named, BTreeSet::new(), "o2 is still held");
}

pub(crate) async fn readers_see_only_whole_states(world: World) {
    world.order("o1").await;
    let reader = (*world).clone();
    let (done, watch) = tokio::sync::watch::channel(false);
    let reading = tokio::spawn(async move {
        let mut newest = 0;
        while !*watch.borrow() {
            let view = reader.view("o1").await;
            // The fixtures move count and version together.
            assert_eq!(fixtures::count(&view.document) + 1, view.version.0);
            assert!(view.version.0 >= newest, "a reader was sent back");
            newest = view.version.0;
            let history = reader.history("o1").await;
            assert!(history.len() as u64 >= newest, "a change without its entry");
            let last = history.last().unwrap();
            let change = last.change.as_ref().expect("every entry is a change");
            assert_eq!(fixtures::count(change) + 1, last.version.0);
        }
    });
    let node = world.join("a").await;
    for turn in 0..100 {
        let held = node.hold("o1", &format!("k{turn}")).await;
        applied(world.settle(held.settle()).await);
    }
    done.send(true).unwrap();
    reading.await.unwrap();
    assert_eq!(world.count("o1").await, 100);
}

pub(crate) async fn what_was_answered_survives_a_restart(mut world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    for key in ["k1", "k2"] {
        let held = node.hold("o1", key).await;
        applied(world.settle(held.settle()).await);
    }
    let held = node.hold("o1", "k3").await;
    let (view, history) = (world.view("o1").await, world.history("o1").await);
    let (journal, end) = world.since(&single(), None, 100).await;
    world.restart().await;
    let again = world.view("o1").await;
    assert_eq!(
        (again.version, again.document),
        (view.version, view.document)
    );
    assert_eq!((again.index, again.times), (view.index, view.times));
    assert_eq!(world.history("o1").await, history);
    assert_eq!(world.journal(&single()).await, journal);
    assert_eq!(world.since(&single(), Some(end), 100).await.0, []);
    let known = world.known(&fixtures::claim("o1", "k2")).await;
    assert!(
        matches!(known, orderlock_core::store::Known::Settled(_)),
        "{known:?}"
    );
    // The lease may have outlived the restart or not, but never half.
    let after = world.settle(held.settle()).await;
    match after {
        Ended::Applied(..) => assert_eq!(world.count("o1").await, 3),
        Ended::Lost(Loss::NotHeld) => assert_eq!(world.count("o1").await, 2),
        other => panic!("neither applied nor lost but {other:?}"),
    }
}
