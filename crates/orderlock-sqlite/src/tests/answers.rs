//! Stored answers in memory: who tells them, and until when.

use std::fs;

use orderlock_core::store::{Acquired, Entry, Expire, Known, Lookup, Renew};
use orderlock_core::{OrderStore as _, StoreError, Timestamp};
use orderlock_testkit::fixtures::{self, RETENTION};

use super::flushing::{Flushing, Go};
use super::place::LOOK;
use super::reading::Busy;
use super::{Bench, accepted, join, start};
use crate::SqliteOptions;

impl Bench {
    /// An order with a settled key, whose answer was asked for once.
    async fn replayed(&self) -> Box<Entry> {
        self.order("o").await;
        let settle = self.held("o", "k").await;
        accepted(self.store.settle(settle).await.unwrap());
        self.replay().await
    }

    async fn replay(&self) -> Box<Entry> {
        match self.again().await.unwrap() {
            Acquired::Settled(entry) => entry,
            other => panic!("{other:?}"),
        }
    }

    async fn again(&self) -> Result<Acquired, StoreError> {
        self.store.acquire(self.request("o", "k")).await
    }

    /// Has the writer find that the file is not there.
    async fn look_around(&self) {
        self.runtime.advance(LOOK);
        let (session, known) = (self.session, Vec::new());
        let _ = self.store.renew(Renew { session, known }).await;
        // What the writer takes next comes after its look.
        self.on_writer(|_| Ok(())).await.unwrap_err();
    }

    /// Sets the clock so far ahead, or back.
    fn set_clock(&self, hours: i64) {
        let there = Timestamp::from_second(hours * 3_600).unwrap();
        let ahead = there.duration_since(Timestamp::UNIX_EPOCH);
        self.runtime.set_clock(ahead);
    }

    async fn look_up(&self) -> Known {
        let (target, key_id) = (fixtures::ids::target("o"), fixtures::claim("o", "k").key_id);
        let lookup = Lookup { target, key_id };
        self.store.lookup(lookup).await.unwrap()
    }
}

#[tokio::test]
async fn a_retry_that_comes_again_waits_for_no_thread_and_no_flush() {
    let bench = Bench::with(SqliteOptions::default().with_readers(4)).await;
    let entry = bench.replayed().await;
    // Whatever the writer is doing with that order, and however busy those are who read.
    let settle = bench.held("o", "another").await;
    let busy = Busy::new(&bench, false, 2).await;
    let stopped = bench.stop().await;
    let settled = start(&bench.store, move |store| store.settle(settle)).await;
    assert_eq!(bench.replay().await, entry);
    assert_eq!(bench.look_up().await, Known::Settled(entry));
    let mut reused = bench.request("o", "k");
    reused.claim.fingerprint = fixtures::fingerprint("something else");
    let reused = bench.store.acquire(reused).await.unwrap();
    assert_eq!(reused, Acquired::Reused);
    stopped.go().await.unwrap().unwrap();
    accepted(settled.await.unwrap().unwrap());
    busy.let_go().await;
    bench.agree();
}

/// An answer whose end the clock has passed is the file's to tell, whatever the clock says later.
#[tokio::test]
async fn memory_tells_no_answer_past_its_end() {
    let mut bench = Bench::new().await;
    bench.replayed().await;
    bench.runtime.advance(RETENTION.answer);
    bench.session = join(&bench.store, &bench.runtime, "node").await;
    let expired = bench.again().await.unwrap();
    assert_eq!(expired, Acquired::Expired, "it has not been removed yet");
    assert!(matches!(bench.look_up().await, Known::Expired(_)));
    let removed = bench.store.expire(Expire { limit: 9 }).await.unwrap();
    assert_eq!(removed.answers, 2, "the creation's too");
    // Somebody sets the clock back to when it was retained.
    bench.set_clock(-30);
    assert_eq!(bench.again().await.unwrap(), Acquired::Expired);
    assert!(matches!(bench.look_up().await, Known::Expired(_)));
    bench.agree();
}

/// A clock that was ahead for a moment has ended nothing: the file tells the answer again.
#[tokio::test]
async fn an_answer_outlives_a_clock_that_was_ahead() {
    let bench = Bench::new().await;
    let entry = bench.replayed().await;
    bench.set_clock(48);
    assert_eq!(bench.again().await.unwrap(), Acquired::Expired);
    bench.set_clock(-48);
    assert_eq!(bench.replay().await, entry);
    bench.agree();
}

/// What a settle has come to whose flush failed is told by the file, once that is known to be on the
/// disk, and by nobody before.
#[tokio::test]
async fn an_answer_whose_flush_has_failed_is_in_no_memory() {
    let mut flushing = Flushing::new().await;
    let settle = flushing.bench.held("o", "k").await;
    let settled = start(&flushing.bench.store, move |store| store.settle(settle)).await;
    flushing.begun().await;
    // A retry waits for the flush.
    let request = flushing.bench.request("o", "k");
    let retry = start(&flushing.bench.store, move |store| store.acquire(request)).await;
    assert!(!retry.is_finished());
    flushing.flush(Go::Fail);
    let error = settled.await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::OutcomeUnknown(_)), "{error:?}");
    flushing.flush(Go::Open);
    drop(retry.await.unwrap());
    let first = flushing.bench.replay().await;
    assert_eq!(flushing.bench.replay().await, first);
    flushing.bench.agree();
}

/// Where the file has gone, or another lies in its place, nobody tells any more what would have gone
/// with it.
#[tokio::test]
async fn nothing_is_told_from_memory_while_the_file_is_gone() {
    for replaced in [false, true] {
        let bench = Bench::new().await;
        let entry = bench.replayed().await;
        let aside = bench.folder.path().join("aside");
        fs::rename(bench.path(), &aside).unwrap();
        if replaced {
            fs::copy(&aside, bench.path()).unwrap();
        }
        bench.look_around().await;
        assert!(bench.store.describe().trouble.is_some());
        let error = bench.again().await.unwrap_err();
        assert!(matches!(error, StoreError::NotApplied(_)), "{error:?}");
        fs::rename(&aside, bench.path()).unwrap();
        bench.keep_alive(&[]).await;
        assert_eq!(bench.store.describe().trouble, None);
        assert_eq!(bench.replay().await, entry);
    }
}
