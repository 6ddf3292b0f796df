//! A step that changes one order: what is written, and the order as it is then.

use mongodb::bson::{Document as Fields, doc};
use orderlock_core::store::Change;
use orderlock_core::{Document, OwnedIndex, Timestamp, Version};

use crate::document::difference::{Absent, FieldChanges, difference};
use crate::document::entry::StoredEntry;
use crate::document::fields::{hash_hex, long, micros, size};
use crate::document::json::{self, Doubles};
use crate::document::keys::KeyEntry;
use crate::document::order::{Locked, OrderDocument, index_of};
use crate::document::update::Update;
use crate::error::Failure;

/// What MongoDB takes as one document, less what is beside the fields that are counted here.
const BYTES_MAX: usize = 16 * 1024 * 1024 - 64 * 1024;

/// A step that changes one order: what is written, and the order as it is then.
#[derive(Debug)]
pub(crate) struct StepPlan {
    pub(crate) update: Update,
    pub(crate) after: OrderDocument,
    pub(crate) record: StoredEntry,
}

impl StepPlan {
    pub(crate) fn new(order: &OrderDocument, mut record: StoredEntry) -> Self {
        record.entry.number = order.number + 1;
        record.entry.version = order.version;
        Self {
            update: Update::default(),
            after: order.clone(),
            record,
        }
    }

    /// The order's fields change, and its version moves. `whole`: the orders' type knows every
    /// member.
    pub(crate) fn change(&mut self, change: &Change, whole: bool) -> Result<(), Failure> {
        if self.after.exact && self.after.fields_changed() {
            // Somebody has written to the order while it was held: it is not Orderlock's alone.
            self.after.exact = false;
            self.update.unset("orderlock.exact");
        }
        let absent = match self.after.exact || whole {
            true => Absent::Removed,
            false => Absent::Kept,
        };
        let returned = json::to_fields(&change.after)?;
        let FieldChanges { set, unset, after } = difference(&self.after.own, &returned, absent)?;
        self.update.set.extend(set);
        unset.into_iter().for_each(|path| self.update.unset(path));
        let version = self.after.version.next();
        self.update.set.insert("orderlock.version", long(version.0));
        self.update
            .set
            .insert("orderlock.updated", micros(change.at));
        self.update.set.insert("orderlock.hash", json::hash(&after));
        let written = json::to_document(&after, self.after.doubles())?;
        let text = (absent == Absent::Removed && !json::says_the_same(&written, &change.after))
            .then(|| text_of(&change.after))
            .transpose()?;
        match text {
            Some(text) => {
                self.update.set.insert("orderlock.text", text);
                self.record.entry.change = Some(change.after.clone());
            }
            None => {
                self.update.unset("orderlock.text");
                self.record.entry.change = Some(written);
            }
        }
        match index_to_fields(&change.index, &after) {
            Some(index) => drop(self.update.set.insert("orderlock.index", index)),
            None => self.update.unset("orderlock.index"),
        }
        self.after.own = after;
        self.moved_to(version);
        Ok(())
    }

    fn moved_to(&mut self, version: Version) {
        self.after.version = version;
        self.record.entry.version = version;
    }

    /// Somebody else has changed the order's own fields: its version moves, and the entry that says
    /// so has a key that is nobody's.
    pub(crate) fn note_change(&mut self) -> Result<(), Failure> {
        let own = &self.after.own;
        let change = json::to_document(own, Doubles::WholeAsIntegers)?;
        self.record.entry.change = Some(change);
        self.update.set.insert("orderlock.hash", json::hash(own));
        for stale in ["text", "index", "exact", "floor"] {
            self.update.unset(format!("orderlock.{stale}"));
        }
        let last = self.after.version;
        let version = self
            .after
            .floor
            .map_or(last, |floor| floor.max(last))
            .next();
        self.update.set.insert("orderlock.version", long(version.0));
        self.moved_to(version);
        self.append()
    }

    /// The entry is written into the order's document, where it waits for the relay.
    pub(crate) fn append(&mut self) -> Result<(), Failure> {
        let number = self.record.entry.number;
        let fields = self.record.to_fields()?;
        self.after.number = number;
        self.after.entries.insert(number, fields.clone());
        self.update.set.insert("orderlock.number", long(number));
        self.update.set.insert("orderlock.waiting", 1);
        self.update
            .set
            .insert(format!("orderlock.entries.e{number}"), fields);
        Ok(())
    }

    /// The entry is written, and its key is listed in the order's document, at a time by which others
    /// are forgotten.
    pub(crate) fn write_entry(&mut self, now: Timestamp) -> Result<(), Failure> {
        self.append()?;
        if let Some(word) = KeyEntry::of(&self.record) {
            let key_id = self.record.entry.key_id;
            let entries = &self.after.entries;
            let waits = |number| entries.contains_key(&number);
            let taken = self.after.keys.list(key_id, word.clone(), waits, now);
            for key in taken {
                self.update.unset(format!("orderlock.keys.{key}"));
            }
            let key = hash_hex(key_id.0);
            self.update
                .set
                .insert(format!("orderlock.keys.{key}"), word.to_fields());
            if self.after.keys.spilled {
                self.update.set.insert("orderlock.spilled", 1);
            }
        }
        self.fits()
    }

    /// Whether MongoDB takes such a document: looked at before it is sent.
    fn fits(&self) -> Result<(), Failure> {
        let text = self
            .update
            .set
            .get_str("orderlock.text")
            .map_or(0, str::len);
        let bytes = size(&self.after.own) + text + self.after.pending_bytes();
        if bytes > BYTES_MAX {
            return Err(Failure::impossible(
                "the order and the entries that wait in its document are over MongoDB's 16 MiB",
            ));
        }
        Ok(())
    }

    /// The lease ends, and with it the mark of its key.
    pub(crate) fn unlock(&mut self) {
        self.update.unlock();
        if self.after.mark.take().is_some() {
            self.update.unset("orderlock.mark");
        }
        self.after.granted = None;
        self.after.locked = Locked::Free;
    }

    /// The mark ends; nobody holds the order.
    pub(crate) fn unmark(&mut self) {
        self.update.unset("orderlock.mark");
    }

    /// The lease stays, one step further.
    pub(crate) fn keep(&mut self) {
        if let Some(granted) = &mut self.after.granted {
            granted.lease.steps = granted.lease.steps.saturating_add(1);
            let steps = i64::from(granted.lease.steps);
            self.update.set.insert("orderlock.lease.steps", steps);
        }
    }
}

/// What is kept of what lists find an order by: nothing, if its own fields say the same.
pub(crate) fn index_to_fields(index: &OwnedIndex, own: &Fields) -> Option<Fields> {
    if *index == index_of(own) {
        return None;
    }
    let mut fields = doc! {};
    if let Some(status) = &index.status {
        fields.insert("status", status);
    }
    if let Some(customer) = &index.customer {
        fields.insert("customer", customer);
    }
    Some(fields)
}

pub(crate) fn text_of(document: &Document) -> Result<String, Failure> {
    String::from_utf8(document.as_bytes().to_vec())
        .map_err(|_| Failure::impossible("the order is not UTF-8"))
}
