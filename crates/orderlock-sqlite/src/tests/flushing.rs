//! What is seen and told while the log is flushed, and when that fails.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};

use futures_util::FutureExt as _;
use orderlock_core::store::{
    Acquired, EntriesSince, Fate, History, Known, List, Lookup, MarkFate, Read, Release, Settle,
    Settled,
};
use orderlock_core::{Fence, OrderStore as _, StoreError, Version};
use orderlock_testkit::fixtures;

use super::{Bench, accepted, granted, start};
use crate::SqliteOptions;
use crate::writer::flusher::{Log, LogFile};

/// A log that is flushed when the test says so, well or not at all.
struct Gate {
    begun: Sender<()>,
    go: Receiver<Go>,
    file: LogFile,
    open: bool,
}

pub(super) enum Go {
    Flush,
    Fail,
    /// From here on it flushes by itself.
    Open,
}

impl Log for Gate {
    fn flush(&mut self) -> io::Result<()> {
        if !self.open {
            let _ = self.begun.send(());
            match self.go.recv().unwrap_or(Go::Open) {
                Go::Flush => {}
                Go::Fail => return Err(io::Error::other("the disk did not take it")),
                Go::Open => self.open = true,
            }
        }
        self.file.flush()
    }
}

pub(super) struct Flushing {
    pub(super) bench: Bench,
    begun: Option<Receiver<()>>,
    go: Sender<Go>,
}

impl Flushing {
    /// A store with the order `o`; from here on the test flushes.
    pub(super) async fn new() -> Self {
        let (begin, begun) = channel();
        let (go, gone) = channel();
        // The node joins and makes one order first.
        for _ in 0..2 {
            go.send(Go::Flush).unwrap();
        }
        let bench = Bench::flushing(SqliteOptions::default(), |file| {
            let (begun, go, open) = (begin, gone, false);
            Box::new(Gate {
                begun,
                go,
                file,
                open,
            })
        });
        let bench = bench.await;
        bench.order("o").await;
        for _ in 0..2 {
            begun.recv().unwrap();
        }
        let begun = Some(begun);
        Self { bench, begun, go }
    }

    /// Waits until a flush has begun.
    pub(super) async fn begun(&mut self) {
        let begun = self.begun.take().unwrap();
        let waiting = tokio::task::spawn_blocking(move || {
            begun.recv().unwrap();
            begun
        });
        self.begun = Some(waiting.await.unwrap());
    }

    pub(super) fn flush(&self, go: Go) {
        self.go.send(go).unwrap();
    }

    /// A settle that hands `o` over to another key, and that one's fence.
    async fn handing_over(&self, key: &str, next: &str) -> (Settle, Fence) {
        let settle = self.bench.held("o", key).await;
        let next = self.bench.request("o", next);
        let fence = next.fence;
        let settle = fixtures::handing_over(settle, next);
        (settle, fence)
    }
}

#[tokio::test]
async fn a_settle_that_hands_over_is_accepted_before_it_is_on_the_disk() {
    let mut flushing = Flushing::new().await;
    let (settle, fence) = flushing.handing_over("first", "next").await;
    let first = accepted(flushing.bench.store.settle(settle).await.unwrap());
    flushing.begun().await;
    let grant = granted(first.next.unwrap());
    assert_eq!((grant.fence, grant.version), (fence, Version(2)));
    let mut durable = first.durable;
    assert!((&mut durable).now_or_never().is_none(), "not on the disk");
    flushing.flush(Go::Flush);
    assert_eq!(durable.await.unwrap(), Fate::Durable);
}

/// A whole chain of settles is accepted while one flush is under way, and flushed as one.
#[tokio::test]
async fn a_chain_is_one_write() {
    let mut flushing = Flushing::new().await;
    let (settle, _) = flushing.handing_over("k0", "k1").await;
    let before = flushing.bench.store.statistics();
    let mut last = accepted(flushing.bench.store.settle(settle).await.unwrap());
    flushing.begun().await;
    let mut fates = Vec::new();
    for number in 1..20 {
        let grant = granted(last.next.take().unwrap());
        let mut request = flushing.bench.request("o", &format!("k{number}"));
        request.fence = grant.fence;
        let settle = fixtures::settle(&request, &grant);
        let next = flushing.bench.request("o", &format!("k{}", number + 1));
        let settle = fixtures::handing_over(settle, next);
        let accepted = accepted(flushing.bench.store.settle(settle).await.unwrap());
        fates.push(std::mem::replace(&mut last, accepted).durable);
    }
    flushing.flush(Go::Open);
    fates.push(last.durable);
    for fate in fates {
        assert_eq!(fate.await.unwrap(), Fate::Durable);
    }
    let after = flushing.bench.store.statistics();
    println!("{before:?} -> {after:?}");
    assert_eq!(after.settles - before.settles, 20);
    assert_eq!(after.commits - before.commits, 2, "the first, and the rest");
    assert_eq!(flushing.bench.view("o").await.version, Version(21));
}

/// A key is settled from its settle on, and not only once that is on the disk.
#[tokio::test]
async fn a_key_whose_settle_is_being_flushed_is_granted_to_nobody() {
    let mut flushing = Flushing::new().await;
    let (settle, fence) = flushing.handing_over("first", "next").await;
    let first = accepted(flushing.bench.store.settle(settle).await.unwrap());
    flushing.begun().await;
    let mut request = flushing.bench.request("o", "next");
    request.fence = fence;
    let second = fixtures::settle(&request, &granted(first.next.unwrap()));
    let again = flushing.bench.request("o", "first");
    let second = fixtures::handing_over(second, again);
    let store = &flushing.bench.store;
    let second = start(store, move |store| store.settle(second)).await;
    drop(flushing.bench.queue_stop().reached().await.go());
    flushing.flush(Go::Open);
    let next = accepted(second.await.unwrap().unwrap()).next;
    assert!(matches!(next, Some(Acquired::Settled(_))), "{next:?}");
}

/// Nobody but the successor sees what is not on the disk: each answer waits for the flush.
#[tokio::test]
async fn what_is_not_on_the_disk_is_told_to_nobody() {
    let mut flushing = Flushing::new().await;
    let bench = &flushing.bench;
    let settle = bench.held("o", "k").await;
    let (claim, target) = (settle.claim.clone(), settle.claim.target());
    let again = bench.request("o", "k");
    let (other, tenant) = (bench.request("o", "other"), target.tenant.clone());
    let lookup = Lookup {
        target: target.clone(),
        key_id: claim.key_id,
    };
    let settled = start(&bench.store, move |store| store.settle(settle)).await;
    flushing.begun().await;
    let store = &flushing.bench.store;
    let read = Read {
        target: target.clone(),
    };
    let again_read = read.clone();
    let history = History {
        target,
        limit: 9,
        cursor: None,
    };
    let list = List {
        tenant: tenant.clone(),
        filter: orderlock_core::store::Filter::default(),
        limit: 9,
        cursor: None,
    };
    let since = EntriesSince {
        tenant,
        cursor: None,
        limit: 9,
    };
    let read = start(store, move |store| store.read(read)).await;
    let known = start(store, move |store| store.lookup(lookup)).await;
    let history = start(store, move |store| store.history(history)).await;
    let list = start(store, move |store| store.list(list)).await;
    let since = start(store, move |store| store.entries_since(since)).await;
    let replay = start(store, move |store| store.acquire(again)).await;
    let granting = start(store, move |store| store.acquire(other)).await;
    // An order is read as it is on the disk.
    assert_eq!(read.await.unwrap().unwrap().unwrap().version, Version(1));
    for waits in [
        settled.is_finished(),
        known.is_finished(),
        history.is_finished(),
        list.is_finished(),
        since.is_finished(),
        replay.is_finished(),
        granting.is_finished(),
    ] {
        assert!(!waits, "nothing is told before the flush");
    }
    flushing.flush(Go::Open);
    accepted(settled.await.unwrap().unwrap());
    let read = store.read(again_read).await.unwrap().unwrap();
    assert_eq!(read.version, Version(2));
    let known = known.await.unwrap().unwrap();
    assert!(matches!(known, Known::Settled(_)), "{known:?}");
    assert_eq!(history.await.unwrap().unwrap().unwrap().items.len(), 2);
    assert_eq!(list.await.unwrap().unwrap().items[0].version, Version(2));
    since.await.unwrap().unwrap();
    let replay = replay.await.unwrap().unwrap();
    assert!(matches!(replay, Acquired::Settled(_)), "{replay:?}");
    let grant = granted(granting.await.unwrap().unwrap());
    assert_eq!(grant.version, Version(2));
}

/// Of a key that neither the disk nor the order's holder has, there is nothing to wait for.
#[tokio::test]
async fn a_key_that_nobody_knows_waits_for_no_flush() {
    let mut flushing = Flushing::new().await;
    let settle = flushing.bench.held("o", "k").await;
    let lookup = |key| Lookup {
        target: settle.claim.target(),
        key_id: fixtures::claim("o", key).key_id,
    };
    let (own, other) = (lookup("k"), lookup("other"));
    let settled = start(&flushing.bench.store, move |store| store.settle(settle)).await;
    flushing.begun().await;
    let store = &flushing.bench.store;
    assert_eq!(store.lookup(other).await.unwrap(), Known::Unknown);
    let own = start(store, move |store| store.lookup(own)).await;
    assert!(!own.is_finished(), "what is told of it is told on the disk");
    flushing.flush(Go::Open);
    accepted(settled.await.unwrap().unwrap());
    let own = own.await.unwrap().unwrap();
    assert!(matches!(own, Known::Settled(_)), "{own:?}");
}

/// A release that hands over shows the next one only what is on the disk.
#[tokio::test]
async fn a_release_on_unflushed_ground_waits_for_it() {
    let mut flushing = Flushing::new().await;
    let (settle, fence) = flushing.handing_over("first", "next").await;
    let first = accepted(flushing.bench.store.settle(settle).await.unwrap());
    flushing.begun().await;
    let release = Release {
        target: fixtures::ids::target("o"),
        fence,
        mark: MarkFate::Keep,
        next: Some(Box::new(flushing.bench.request("o", "third"))),
    };
    let store = &flushing.bench.store;
    let released = start(store, move |store| store.release(release)).await;
    assert!(!released.is_finished());
    flushing.flush(Go::Open);
    assert_eq!(first.durable.await.unwrap(), Fate::Durable);
    let released = released.await.unwrap().unwrap();
    assert_eq!(granted(released.next.unwrap()).version, Version(2));
}

/// A flush fails: nobody knows. What was built on it never happened. Whoever comes next brings the
/// log to the disk before it goes on, and a repeat then tells.
#[tokio::test]
async fn a_flush_that_fails_is_looked_up_by_repeating_the_settle() {
    let mut flushing = Flushing::new().await;
    let (settle, fence) = flushing.handing_over("first", "next").await;
    let first = accepted(flushing.bench.store.settle(settle.clone()).await.unwrap());
    flushing.begun().await;
    let mut request = flushing.bench.request("o", "next");
    request.fence = fence;
    let built = fixtures::settle(&request, &granted(first.next.unwrap()));
    let store = &flushing.bench.store;
    let built = start(store, move |store| store.settle(built)).await;
    // It stands in the open transaction before the flush fails.
    drop(flushing.bench.queue_stop().reached().await.go());
    flushing.flush(Go::Fail);
    let unknown = first.durable.await;
    assert!(
        matches!(unknown, Err(StoreError::OutcomeUnknown(_))),
        "{unknown:?}"
    );
    let built = built.await.unwrap();
    assert!(matches!(built, Err(StoreError::NotApplied(_))), "{built:?}");
    // Whoever reads it next brings the log to the disk first.
    let target = fixtures::ids::target("o");
    let view = store.read(Read { target }).await.unwrap().unwrap();
    assert_eq!(view.version, Version(2));

    flushing.flush(Go::Open);
    let store = &flushing.bench.store;
    match store.settle(settle).await.unwrap() {
        Settled::Accepted(again) => {
            assert_eq!(again.receipt, first.receipt);
            // The order is handed over as it was before.
            assert_eq!(granted(again.next.unwrap()).fence, fence);
            assert_eq!(again.durable.await.unwrap(), Fate::Durable);
        }
        other => panic!("{other:?}"),
    }
    let view = flushing.bench.view("o").await;
    assert_eq!(view.version, Version(2), "applied once");
}
