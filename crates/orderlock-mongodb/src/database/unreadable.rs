//! Documents that cannot be read. One of them holds up none of the others; the log names it, once.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use mongodb::bson::Bson;

/// How many documents are remembered as named. More are named again.
const NAMED_MAX: usize = 1_000;

/// The documents that were named.
#[derive(Debug, Default)]
pub(crate) struct Unreadable(Mutex<HashSet<String>>);

impl Unreadable {
    /// Names a document that is passed over.
    pub(crate) fn note(&self, id: &Bson, why: &dyn Display) {
        if self.is_news(&id.to_string()) {
            tracing::error!(
                %id, %why,
                "a document of the orders' collection cannot be read, and is passed over"
            );
        }
    }

    fn is_news(&self, id: &str) -> bool {
        let mut named = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if named.contains(id) {
            return false;
        }
        if named.len() >= NAMED_MAX {
            named.clear();
        }
        named.insert(id.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_named_once_and_few_are_remembered() {
        let unreadable = Unreadable::default();
        for number in 0..3 * NAMED_MAX {
            assert!(unreadable.is_news(&number.to_string()));
            assert!(!unreadable.is_news(&number.to_string()));
        }
        assert!(unreadable.0.lock().unwrap().len() <= NAMED_MAX);
    }
}
