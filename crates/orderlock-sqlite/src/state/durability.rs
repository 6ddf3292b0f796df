//! How far the file is flushed to the disk.
//!
//! A commit is written to the log first and flushed afterwards, so a snapshot of the file may show
//! more than would survive power loss. Whoever has read such a thing waits here before it says so.

use std::sync::atomic::{AtomicU64, Ordering};

use orderlock_core::StoreError;
use tokio::sync::watch;

/// How far commits and flushes have gone.
#[derive(Debug)]
pub(crate) struct Durability {
    /// Commits that have been tried: a snapshot may show every one of them.
    tried: AtomicU64,
    flushed: watch::Sender<Flushed>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Flushed {
    /// This many commits are on the disk, or are certain not to be in the file.
    commits: u64,
    /// A flush has failed, and what the file shows may not be on the disk.
    in_doubt: bool,
}

impl Durability {
    pub(crate) fn new() -> Self {
        Self {
            tried: AtomicU64::new(0),
            flushed: watch::Sender::new(Flushed::default()),
        }
    }

    /// Says that a commit is going to be tried. Only the writer calls this and the next two.
    pub(crate) fn committing(&self) {
        self.tried.fetch_add(1, Ordering::AcqRel);
    }

    /// Says that everything that was committed is on the disk.
    pub(crate) fn flushed(&self) {
        let commits = self.tried.load(Ordering::Acquire);
        let in_doubt = false;
        self.flushed.send_replace(Flushed { commits, in_doubt });
    }

    /// Says that nobody knows how much of the file is on the disk.
    pub(crate) fn doubted(&self) {
        self.flushed.send_modify(|flushed| flushed.in_doubt = true);
    }

    /// Whether the file may show what is not on the disk, and nothing is known to bring it there.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.flushed.borrow().in_doubt
    }

    /// Waits until all that a snapshot may show, which was taken before the call, is on the disk.
    ///
    /// # Errors
    /// If that is not known, because a flush has failed.
    pub(crate) async fn reached(&self) -> Result<(), StoreError> {
        let tried = self.tried.load(Ordering::Acquire);
        let known = |flushed: &Flushed| flushed.in_doubt || flushed.commits >= tried;
        let now = *self.flushed.borrow();
        let flushed = if known(&now) {
            now
        } else {
            let mut watched = self.flushed.subscribe();
            // The sender lives in `self`, so the wait can end in no other way.
            watched
                .wait_for(known)
                .await
                .map_or(now, |flushed| *flushed)
        };
        if flushed.in_doubt {
            let text = "the disk did not take the log; what the file shows may not survive";
            return Err(StoreError::NotApplied(text.into()));
        }
        Ok(())
    }
}
