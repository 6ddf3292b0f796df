//! The orders that memory knows, beside the leases and under the same locks, so that most grants
//! and settles read nothing.
//!
//! What stands here is the order as it is on the disk, and all of its keys or a word that they are
//! not known. The file has one owner, so three rules keep that true:
//!
//! - What is read from the file is put here under the lock under which it was read, and only while
//!   the writer is not at that order.
//! - What the writer writes is put here with the leases of its batch, once that is on the disk.
//! - When a batch is thrown away, whatever the reason, its orders are forgotten here.
//!
//! Forgetting is always right: then the file is asked. So is a key too many.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use orderlock_core::Target;

use crate::file::key_index::KeyHash;
use crate::file::rows::Latest;
use crate::state::leases::ByTarget;

/// An order with more older keys than this has them looked up in the file, if they were not
/// written while memory knew it.
pub(crate) const KEYS_READ_MAX: usize = 128;
/// The most older keys of one order that memory keeps.
const KEYS_MAX: usize = 16 * 1024;

/// What an order takes beside its document and its keys, about: its row, its place in both lists,
/// and its names.
const OVERHEAD: usize =
    size_of::<Latest>() + size_of::<KnownOrder>() + 2 * size_of::<Target>() + 160;

/// The keys of those entries that an order's row does not tell.
#[derive(Debug)]
enum Older {
    /// Nobody has asked for them yet.
    Unread,
    /// Every one that the file has, and perhaps some that it has no longer.
    All(HashSet<KeyHash, RandomState>),
    /// Too many to be kept here.
    Many,
}

impl Older {
    /// Takes the keys that the file has, read up to one more than are kept.
    fn read(keys: Vec<KeyHash>) -> Self {
        if keys.len() > KEYS_READ_MAX {
            Self::Many
        } else {
            Self::All(keys.into_iter().collect())
        }
    }

    fn add(&mut self, written: impl Iterator<Item = KeyHash>) {
        let Self::All(keys) = self else { return };
        keys.extend(written);
        if keys.len() > KEYS_MAX {
            *self = Self::Many;
        }
    }
}

/// An order that memory knows.
#[derive(Debug)]
pub(crate) struct KnownOrder {
    latest: Arc<Latest>,
    older: Older,
    /// It was asked for since its last turn to go.
    used: bool,
}

impl KnownOrder {
    fn new(latest: Arc<Latest>) -> Self {
        let older = match latest.journal.older() {
            0 => Older::All(HashSet::default()),
            _ => Older::Unread,
        };
        Self {
            latest,
            older,
            used: false,
        }
    }

    pub(crate) fn latest(&self) -> &Arc<Latest> {
        &self.latest
    }

    pub(crate) fn keys_are_unread(&self) -> bool {
        matches!(self.older, Older::Unread)
    }

    /// Whether the file certainly has no entry of that key. If not, it has to be asked.
    pub(crate) fn lacks(&self, key: KeyHash) -> bool {
        let newest = &self.latest.journal.newest;
        matches!(&self.older, Older::All(keys) if !keys.contains(&key))
            && newest.keys().all(|other| other != key)
    }

    /// Takes the order as it is by now. What its row told before and does not tell now is older.
    fn advance(&mut self, latest: Arc<Latest>, written: &[KeyHash]) {
        let before = std::mem::replace(&mut self.latest, latest);
        if self.latest.journal.older() != before.journal.older() {
            let told = before.journal.newest.keys();
            self.older.add(told.chain(written.iter().copied()));
        }
    }

    fn bytes(&self) -> usize {
        let keys = match &self.older {
            // A place and its sign; an eighth of them stays empty at least.
            Older::All(keys) => keys.capacity() * (size_of::<KeyHash>() + 2),
            Older::Unread | Older::Many => 0,
        };
        OVERHEAD + self.latest.whole.document.size() + keys
    }
}

/// The known orders of one part of memory, bounded in bytes. Where there is no room, each has its
/// turn to go, the oldest first; one that was asked for since its last turn is passed over.
#[derive(Debug)]
pub(crate) struct Orders {
    known: ByTarget<KnownOrder>,
    /// Each known order once.
    turns: VecDeque<Target>,
    bytes: usize,
    bytes_max: usize,
}

impl Orders {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            known: ByTarget::default(),
            turns: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    pub(crate) fn get(&mut self, target: &Target) -> Option<&mut KnownOrder> {
        let known = self.known.get_mut(target)?;
        known.used = true;
        Some(known)
    }

    /// Puts an order here as it is on the disk by now, with the keys that were written since it was
    /// put here last.
    pub(crate) fn put(&mut self, latest: Arc<Latest>, written: &[KeyHash]) {
        let target = &latest.whole.order.target;
        if let Some(known) = self.known.get_mut(target) {
            self.bytes -= known.bytes();
            known.advance(latest, written);
            self.bytes += known.bytes();
        } else {
            let target = target.clone();
            let known = KnownOrder::new(latest);
            self.bytes += known.bytes();
            self.turns.push_back(target.clone());
            self.known.insert(target, known);
        }
        self.make_room();
    }

    /// Takes the keys of a known order's older entries, read up to one more than are kept.
    pub(crate) fn learn_keys(&mut self, target: &Target, keys: Vec<KeyHash>) {
        if let Some(known) = self.known.get_mut(target) {
            self.bytes -= known.bytes();
            known.older = Older::read(keys);
            self.bytes += known.bytes();
        }
        self.make_room();
    }

    /// All of them, for the tests that hold them against the file.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &KnownOrder> {
        self.known.values()
    }

    /// Has the file asked for this order from here on.
    pub(crate) fn forget(&mut self, target: &Target) {
        if self.remove(target) {
            self.turns.retain(|other| other != target);
        }
    }

    fn make_room(&mut self) {
        while self.bytes > self.bytes_max
            && let Some(target) = self.turns.pop_front()
        {
            match self.known.get_mut(&target) {
                Some(known) if known.used => {
                    known.used = false;
                    self.turns.push_back(target);
                }
                _ => drop(self.remove(&target)),
            }
        }
    }

    fn remove(&mut self, target: &Target) -> bool {
        let known = self.known.remove(target);
        self.bytes -= known.as_ref().map_or(0, KnownOrder::bytes);
        known.is_some()
    }
}

#[cfg(test)]
mod tests {
    use orderlock_core::{Document, OwnedIndex, Times, Timestamp, Version};
    use orderlock_testkit::fixtures;

    use super::*;
    use crate::file::key_index::{Journal, Newest};
    use crate::file::rows::{OrderRow, WholeOrder};

    /// An order of so many bytes, whose row tells none of its entries.
    fn latest(order: usize, number: u64, bytes: usize) -> Arc<Latest> {
        let newest = Newest::NONE;
        with_journal(order, Journal { number, newest }, bytes)
    }

    fn with_journal(order: usize, journal: Journal, bytes: usize) -> Arc<Latest> {
        let at = Timestamp::UNIX_EPOCH;
        Arc::new(Latest {
            whole: WholeOrder {
                order: OrderRow {
                    row: 1,
                    target: target(order),
                    version: Version(journal.number),
                    mark: None,
                },
                index: OwnedIndex::default(),
                times: Times {
                    created: at,
                    updated: at,
                },
                document: Document::trusted(vec![b'x'; bytes]),
            },
            journal,
        })
    }

    fn target(order: usize) -> Target {
        fixtures::ids::target(&format!("o{order}"))
    }

    fn known(orders: &Orders) -> Vec<usize> {
        let is_known = |order: &usize| orders.known.contains_key(&target(*order));
        (0..100).filter(is_known).collect()
    }

    #[test]
    fn the_oldest_goes_first_unless_it_was_asked_for() {
        let mut orders = Orders::new(4 * (OVERHEAD + 100));
        for order in 0..4 {
            orders.put(latest(order, 9, 100), &[]);
        }
        assert_eq!(known(&orders), [0, 1, 2, 3]);
        orders.get(&target(0)).unwrap();
        orders.put(latest(4, 9, 100), &[]);
        assert_eq!(known(&orders), [0, 2, 3, 4]);
        orders.put(latest(5, 9, 100), &[]);
        assert_eq!(known(&orders), [0, 3, 4, 5]);
        orders.put(latest(6, 9, 300), &[]);
        assert_eq!(known(&orders), [0, 5, 6]);
        // Its second turn comes, and nobody has asked for it since the first.
        orders.put(latest(7, 9, 300), &[]);
        assert_eq!(known(&orders), [5, 6, 7]);
    }

    #[test]
    fn what_it_takes_is_counted_whatever_becomes_of_it() {
        let mut orders = Orders::new(20 * (OVERHEAD + 100));
        for round in 0..50 {
            for order in 0..30 {
                orders.put(latest(order, round, (order * 7) % 200), &[1, 2]);
                let keys = (0..).take(order * 5).collect();
                orders.learn_keys(&target(order), keys);
                if order % 5 == 0 {
                    orders.forget(&target(order));
                }
            }
            let bytes: usize = orders.known.values().map(KnownOrder::bytes).sum();
            assert_eq!(orders.bytes, bytes);
            assert!(bytes <= orders.bytes_max);
            assert_eq!(orders.turns.len(), orders.known.len());
        }
        // One that is larger than everything is not kept at all.
        orders.put(latest(99, 1, orders.bytes_max), &[]);
        assert!(known(&orders).is_empty());
    }

    #[test]
    fn a_key_is_lacking_only_where_all_keys_are_known() {
        let mut orders = Orders::new(1 << 20);
        let lacks =
            |orders: &mut Orders, order, key| orders.get(&target(order)).unwrap().lacks(key);
        // Read from the file, which has more entries than the row tells.
        let mut journal = Journal::EMPTY;
        journal.number = 2;
        journal.add(7, 30);
        orders.put(with_journal(0, journal, 1), &[]);
        assert!(!lacks(&mut orders, 0, 8), "there may be others");
        orders.learn_keys(&target(0), vec![5, 6]);
        assert!(lacks(&mut orders, 0, 8));
        assert!(!lacks(&mut orders, 0, 5) && !lacks(&mut orders, 0, 7));
        // The row tells all of them, then none of those any more.
        let mut journal = Journal::EMPTY;
        journal.add(1, 10);
        journal.add(2, 20);
        orders.put(with_journal(1, journal, 1), &[1, 2]);
        assert!(lacks(&mut orders, 1, 4) && !lacks(&mut orders, 1, 2));
        journal.newest = Newest::NONE;
        journal.number = 3;
        journal.add(4, 50);
        orders.put(with_journal(1, journal, 1), &[3, 4]);
        assert!(lacks(&mut orders, 1, 5));
        assert!((1..=4).all(|key| !lacks(&mut orders, 1, key)));
        let many: Vec<KeyHash> = (10..).take(KEYS_MAX).collect();
        journal.newest = Newest::NONE;
        orders.put(with_journal(1, journal, 1), &many);
        assert!(!lacks(&mut orders, 1, 5), "they are not kept any more");
        // Read anew, that is found out again.
        orders.learn_keys(&target(1), (0..).take(KEYS_READ_MAX + 1).collect());
        assert!(!lacks(&mut orders, 1, -1));
    }
}
