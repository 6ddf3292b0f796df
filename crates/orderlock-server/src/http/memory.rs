//! What bodies and answers take in memory, over all connections.
//!
//! Each is bounded by itself; but there may be thousands of connections, whose clients send slowly
//! or do not read. The small ones are free, so that a client with ordinary requests never finds
//! the room taken by others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What each body and each answer has for itself.
pub(crate) const FREE: usize = 16 * 1024;

/// A number of bytes that all share. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Memory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    held: AtomicUsize,
}

/// Some of the bytes, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    memory: Memory,
    bytes: usize,
}

impl Memory {
    pub(crate) fn new(most: usize) -> Self {
        let held = AtomicUsize::new(0);
        Self(Arc::new(Shared { most, held }))
    }

    /// Holds so many bytes; none if there is no room for them.
    pub(crate) fn hold(&self, bytes: usize) -> Option<Held> {
        let Shared { most, held } = &*self.0;
        let before = held.fetch_add(bytes, Ordering::Relaxed);
        let taken = Held {
            memory: self.clone(),
            bytes,
        };
        // Without room, dropping it gives it back.
        (before.saturating_add(bytes) <= *most).then_some(taken)
    }
}

impl Held {
    /// Holds so many in all; false if there is no room for the rest.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        match self.memory.hold(more) {
            None => false,
            Some(mut taken) => {
                self.bytes += std::mem::take(&mut taken.bytes);
                true
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.0.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_comes_back() {
        let memory = Memory::new(100);
        let mut first = memory.hold(40).unwrap();
        assert!(first.grow(60) && first.grow(50));
        assert!(memory.hold(41).is_none());
        let second = memory.hold(40).unwrap();
        assert!(!first.grow(61));
        drop(second);
        assert!(first.grow(100));
        drop(first);
        assert!(memory.hold(100).is_some());
        assert!(memory.hold(100).is_some(), "the one before was given back");
    }
}
