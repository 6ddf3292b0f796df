//! Reads that take long: who waits for them, and for how long.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use futures_util::FutureExt as _;
use orderlock_core::store::{Filter, List, Lookup, Page, Read};
use orderlock_core::{OrderStore as _, StoreError, Tenant, Version};
use orderlock_testkit::fixtures;
use rusqlite::Connection;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::flushing::{Flushing, Go};
use super::{Bench, accepted, granted, start};
use crate::SqliteOptions;
use crate::file::error::SqlError;
use crate::file::readers::Question;

const TIMEOUT: Duration = Duration::from_secs(5);

fn list() -> List {
    List {
        tenant: Tenant::single(),
        filter: Filter::default(),
        limit: 9,
        cursor: None,
    }
}

/// A question that takes long.
struct Long<F>(Option<F>, Option<oneshot::Sender<()>>);

impl<F: FnOnce() + Send> Question for Long<F> {
    fn look(&mut self) {}

    fn read(&mut self, _: Result<&Connection, &SqlError>) {
        (self.0.take().unwrap())();
    }

    fn answer(mut self: Box<Self>) -> Option<Box<dyn Question>> {
        let _ = self.1.take().unwrap().send(());
        None
    }
}

/// Threads that read until they are let go.
pub(super) struct Busy {
    go: Vec<Sender<()>>,
    done: Vec<JoinHandle<()>>,
}

impl Busy {
    /// All threads of one kind.
    pub(super) async fn new(bench: &Bench, pages: bool, threads: usize) -> Self {
        let (mut go, mut done) = (Vec::new(), Vec::new());
        for _ in 0..threads {
            let (release, released) = channel::<()>();
            let (begin, begun) = oneshot::channel();
            let store = bench.store.clone();
            done.push(tokio::spawn(async move {
                let work = move || {
                    let _ = begin.send(());
                    // Bounded, so that a test that fails does not hang.
                    let _ = released.recv_timeout(Duration::from_secs(60));
                };
                let readers = &store.inner().readers;
                if pages {
                    return readers.page(|_| work()).await.unwrap();
                }
                let (end, ended) = oneshot::channel();
                let long = Long(Some(work), Some(end));
                readers.order(Box::new(long)).await.unwrap();
                ended.await.unwrap();
            }));
            begun.await.unwrap();
            go.push(release);
        }
        Self { go, done }
    }

    pub(super) async fn let_go(self) {
        drop(self.go);
        for done in self.done {
            done.await.unwrap();
        }
    }
}

/// A store that keeps no order in memory, so that each has to be read.
async fn forgetful() -> Bench {
    let options = SqliteOptions::default()
        .with_order_memory(0)
        .with_readers(4);
    let bench = Bench::with(options).await;
    bench.order("o").await;
    bench
}

#[tokio::test]
async fn a_list_that_takes_long_stops_nobody() {
    let bench = forgetful().await;
    let busy = Busy::new(&bench, true, 2).await;
    let listed = start(&bench.store, |store| store.list(list())).await;
    // It waits for a thread, and holds nothing.
    let settle = bench.held("o", "k").await;
    assert!(bench.view("o").await.lease.is_some());
    accepted(bench.store.settle(settle).await.unwrap());
    assert_eq!(bench.view("o").await.version, Version(2));
    assert!(!listed.is_finished());
    busy.let_go().await;
    assert_eq!(listed.await.unwrap().unwrap().items.len(), 1);
}

#[tokio::test]
async fn what_is_not_read_in_time_is_told_so() {
    let bench = forgetful().await;
    let pages = Busy::new(&bench, true, 2).await;
    let orders = Busy::new(&bench, false, 2).await;
    let target = fixtures::ids::target("o");
    let key_id = fixtures::claim("o", "k").key_id;
    let request = bench.request("o", "k");
    let (read, lookup) = (
        Read {
            target: target.clone(),
        },
        Lookup { target, key_id },
    );
    let listed = start(&bench.store, |store| store.list(list())).await;
    let read = start(&bench.store, move |store| store.read(read)).await;
    let known = start(&bench.store, move |store| store.lookup(lookup)).await;
    let sent = request.clone();
    let acquired = start(&bench.store, move |store| store.acquire(sent)).await;
    bench.runtime.advance(TIMEOUT);
    let late = |error: StoreError| assert!(matches!(error, StoreError::NotApplied(_)), "{error:?}");
    late(listed.await.unwrap().unwrap_err());
    late(read.await.unwrap().unwrap_err());
    late(known.await.unwrap().unwrap_err());
    // A grant may just have been made.
    let error = acquired.await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::OutcomeUnknown(_)), "{error:?}");
    pages.let_go().await;
    orders.let_go().await;
    // Nobody waited for it any more: nothing was granted, and nothing is later.
    bench.order("another").await;
    assert!(bench.view("o").await.lease.is_none());
    granted(bench.store.acquire(request).await.unwrap());
}

#[tokio::test]
async fn a_disk_that_hangs_keeps_nobody_for_ever() {
    let mut flushing = Flushing::new().await;
    let bench = &flushing.bench;
    let settle = bench.held("o", "k").await;
    let again = settle.clone();
    let settled = start(&bench.store, move |store| store.settle(settle)).await;
    flushing.begun().await;
    let bench = &flushing.bench;
    let listed = start(&bench.store, |store| store.list(list())).await;
    // What was read waits for the disk.
    let read = start(&bench.store, |store| store.inner().reached().boxed()).await;
    assert!(!read.is_finished());
    bench.runtime.advance(TIMEOUT);
    let error = read.await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::NotApplied(_)), "{error:?}");
    let error = settled.await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::OutcomeUnknown(_)), "{error:?}");
    // It may only now have been read, and waits for the disk from here on.
    while !listed.is_finished() {
        bench.runtime.advance(TIMEOUT);
        tokio::task::yield_now().await;
    }
    let error = listed.await.unwrap().map(|page: Page<_>| page.items.len());
    assert!(matches!(error, Err(StoreError::NotApplied(_))), "{error:?}");
    flushing.flush(Go::Open);
    accepted(flushing.bench.store.settle(again).await.unwrap());
    assert_eq!(flushing.bench.view("o").await.version, Version(2));
}
