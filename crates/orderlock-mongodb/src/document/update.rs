//! One update of one order's document.

use mongodb::bson::{Bson, Document as Fields, doc};

/// Where an order's revision stands: a count of Orderlock's writes, under the name that it has always had
/// in documents.
pub(crate) const REVISION: &str = "orderlock.turn";

/// An update of one order. Each is a new revision of it, so that whoever has read the order before can
/// tell that it has gone on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Update {
    pub(crate) set: Fields,
    unset: Fields,
}

impl Update {
    /// Sets a path, whatever was to become of it before.
    pub(crate) fn put(&mut self, path: &str, value: impl Into<Bson>) {
        self.unset.remove(path);
        self.set.insert(path, value);
    }

    pub(crate) fn unset(&mut self, path: impl Into<String>) {
        self.unset.insert(path, "");
    }

    /// The lease ends; a mark stays.
    pub(crate) fn unlock(&mut self) {
        self.set.insert("locked", Bson::Null);
        self.unset("orderlock.lease");
    }

    pub(crate) fn into_fields(self) -> Fields {
        let mut update = doc! {};
        if !self.set.contains_key(REVISION) {
            update.insert("$inc", doc! {REVISION: 1_i64});
        }
        if !self.set.is_empty() {
            update.insert("$set", self.set);
        }
        if !self.unset.is_empty() {
            update.insert("$unset", self.unset);
        }
        update
    }
}
