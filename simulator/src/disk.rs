//! The disk under the model: what has been written is not durable until it has been flushed, and a
//! flush may fail.
//!
//! A settle that hands over is answered before; everything else waits. What is thrown away takes
//! with it all that was built on it.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt as _;
use orderlock_core::store::{Fate, Loss};
use orderlock_core::{Fence, OrderStore, StoreError};
use tokio::sync::oneshot;

use super::book::{Book, Cause};
use super::event::Event;
use super::executor::OUTSIDE;
use super::scene::{Scene, lock};
use orderlock_testkit::MemoryStore;

/// What came of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Everything is durable.
    Done,
    /// Everything was thrown away, and that is known.
    RolledBack,
    /// Nobody knows; it is there.
    UnknownKept,
    /// Nobody knows; it is gone.
    UnknownGone,
}

impl Flushed {
    pub(super) const ALL: [Self; 4] = [
        Self::Done,
        Self::RolledBack,
        Self::UnknownKept,
        Self::UnknownGone,
    ];

    /// What is said of an accepted settle.
    pub(super) fn fate(self) -> Result<Fate, StoreError> {
        match self {
            Self::Done => Ok(Fate::Durable),
            Self::RolledBack => Ok(Fate::Lost(Loss::NotHeld)),
            Self::UnknownKept | Self::UnknownGone => {
                Err(StoreError::OutcomeUnknown("planned".into()))
            }
        }
    }

    /// What is said of everything else.
    fn outcome(self) -> Result<(), StoreError> {
        match self {
            Self::Done => Ok(()),
            Self::RolledBack => Err(StoreError::NotApplied("planned".into())),
            Self::UnknownKept | Self::UnknownGone => {
                Err(StoreError::OutcomeUnknown("planned".into()))
            }
        }
    }
}

/// What has been written since the last flush.
#[derive(Default)]
pub(super) struct Disk {
    /// What is durable, and what was known of it; none while everything is.
    saved: Option<(MemoryStore, Book)>,
    /// Grants that stand on what waits for a flush, and for which.
    early: HashMap<Fence, u64>,
    waiting: Vec<oneshot::Sender<Flushed>>,
    /// Counts flushes.
    epoch: u64,
}

pub(super) type Flush = oneshot::Receiver<Flushed>;

impl Scene {
    /// Says that something is going to be written. None if writing is durable at once.
    pub(super) fn write(self: &Arc<Self>) -> Option<Flush> {
        if !self.plan.flushes_late || (self.is_calm() && lock(&self.disk).saved.is_none()) {
            return None;
        }
        let mut disk = lock(&self.disk);
        if disk.saved.is_none() {
            disk.saved = Some((self.memory.copy(), self.book().clone()));
            self.record(Event::Saved);
            let scene = Arc::clone(self);
            let pause = self.executor.sleep(self.delay() / 16);
            let flush = async move {
                pause.await;
                scene.flush();
            };
            self.executor.spawn(OUTSIDE, flush.boxed());
        }
        drop(disk);
        self.unflushed()
    }

    /// The flush that is awaited, if anything has been written since the last one.
    pub(super) fn unflushed(&self) -> Option<Flush> {
        let mut disk = lock(&self.disk);
        disk.saved.as_ref()?;
        let (word, flush) = oneshot::channel();
        disk.waiting.push(word);
        Some(flush)
    }

    /// An answer that rests on what has been written leaves when that is durable.
    pub(super) async fn hardened<T>(&self, answer: T) -> Result<T, StoreError> {
        if let Some(flush) = self.unflushed() {
            hard(flush).await?;
        }
        Ok(answer)
    }

    /// The store as readers see it: what is durable, and nothing else.
    pub(super) fn durable(&self) -> Arc<dyn OrderStore> {
        match &lock(&self.disk).saved {
            Some((saved, _)) => Arc::new(saved.clone()),
            None => Arc::clone(&self.base),
        }
    }

    /// Says that a grant was handed over before the flush of what it stands on.
    pub(super) fn handed_over(&self, fence: Fence) {
        let mut disk = lock(&self.disk);
        let epoch = disk.epoch;
        disk.early.insert(fence, epoch);
    }

    /// Which flush a grant's order waited for when it was handed over.
    pub(super) fn ground(&self, fence: Fence) -> Option<u64> {
        lock(&self.disk).early.get(&fence).copied()
    }

    /// How many flushes there have been.
    pub(super) fn flushes(&self) -> u64 {
        lock(&self.disk).epoch
    }

    fn flush(&self) {
        let flushed = if self.is_calm() || self.plan.gentle {
            Flushed::Done
        } else {
            let all = Flushed::ALL;
            let well = self.dice().chance(8_000);
            if well {
                Flushed::Done
            } else {
                self.dice().one_of(&all[1..])
            }
        };
        self.end_flush(flushed);
    }

    /// Ends the flush that is under way, if there is one.
    pub(super) fn end_flush(&self, flushed: Flushed) {
        self.trace.note(format_args!("flush {flushed:?}"));
        self.count(format!("flush: {flushed:?}"));
        let mut disk = lock(&self.disk);
        let Some(saved) = disk.saved.take() else {
            return;
        };
        let handed_over = disk.early.values().any(|epoch| *epoch == disk.epoch);
        disk.epoch += 1;
        let waiting = std::mem::take(&mut disk.waiting);
        drop(disk);
        if let ((memory, book), Flushed::RolledBack | Flushed::UnknownGone) = (saved, flushed) {
            self.go_back_to(&memory, book);
        }
        if flushed == Flushed::RolledBack && handed_over {
            // Whoever was accepted early is told that it holds nothing, and so it must be.
            self.void_all(Cause::WentBack);
        }
        for word in waiting {
            let _gone = word.send(flushed);
        }
    }

    /// The power fails: what was not durable is gone, and nobody is told.
    pub(super) fn lose_power(&self) {
        let mut disk = lock(&self.disk);
        let saved = disk.saved.take();
        disk.epoch += 1;
        disk.waiting.clear();
        drop(disk);
        if let Some((memory, book)) = saved {
            self.count("chaos: power lost before a flush".into());
            self.go_back_to(&memory, book);
        }
        self.restart_store();
    }

    /// The store starts again: its sessions and leases are gone.
    pub(super) fn restart_store(&self) {
        self.memory.restart();
        self.record(Event::Restarted);
        self.book().end_all_sessions();
    }

    pub(super) fn void_all(&self, cause: Cause) {
        self.memory.void_all_leases();
        self.record(Event::VoidedAll);
        self.book().voided(&[], cause);
    }

    fn go_back_to(&self, memory: &MemoryStore, book: Book) {
        self.memory.go_back_to(memory);
        self.record(Event::WentBack);
        self.book().go_back_to(book);
    }
}

pub(super) async fn hard(flush: Flush) -> Result<(), StoreError> {
    match flush.await {
        Ok(flushed) => flushed.outcome(),
        // The power has failed: nobody answers.
        Err(_) => std::future::pending().await,
    }
}
