//! Mutexes that go on after a panic elsewhere.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Each value behind one is changed in one step, so that a panic elsewhere leaves it whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
