//! One order's chain: who holds the order ahead of the database, which settles are accepted and not
//! written yet, and which keys are known to be new.
//!
//! While a chain lasts, nobody but this node has the order, or what was built on that is lost: each
//! piece of it is written only if the row is as the piece before left it. So a key that had no entry
//! at a look during the chain has none until the chain itself settles it.

use std::collections::{HashMap, VecDeque};

use orderlock_core::store::{Acquire, Fate, Settle};
use orderlock_core::{KeyId, StoreError, Timestamp};
use tokio::sync::{oneshot, watch};

use crate::pipeline::holder::Holder;
use crate::pipeline::write::Link;
use crate::verbs::settle_rows::bytes;

/// How many settles of one order may be accepted and not durable.
pub(crate) const LINKS_MAX: usize = 256;

/// How many keys of one order are kept in mind. It is more than a line has places; what is not kept
/// is looked at once more.
const KEYS_MAX: usize = 4_096;

/// Where a settle's fate is waited for.
pub(crate) type FateSender = oneshot::Sender<Result<Fate, StoreError>>;

#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) link: Link,
    pub(crate) fate: FateSender,
}

/// One order's chain, for as long as its last holder has the order.
#[derive(Debug)]
pub(crate) struct Chain {
    /// Accepted, and in no write yet.
    pub(crate) waiting: VecDeque<Waiting>,
    /// The keys of all that are not durable: the database does not know yet that they are settled.
    pub(crate) unwritten: VecDeque<KeyId>,
    /// What the last of them leaves.
    pub(crate) holder: Holder,
    /// When the last of them was accepted.
    pub(crate) accepted: Timestamp,
    /// Whether it is another node's turn: then nothing more is accepted, so that the next settle lets
    /// the order go.
    pub(crate) kept: bool,
    /// Whether all of it is durable, and nobody writes.
    pub(crate) idle: bool,
    /// Says that the chain has become idle; one that ends is dropped, which says so too.
    pub(crate) changes: watch::Sender<()>,
    keys: HashMap<KeyId, Key>,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    /// A lookup of it is under way, which has this number.
    LookedUp(u64),
    /// It had no entry.
    New,
}

impl Chain {
    /// A chain whose first settle this is.
    pub(crate) fn new(first: Waiting, after: Holder) -> Self {
        let mut chain = Self {
            waiting: VecDeque::new(),
            unwritten: VecDeque::new(),
            accepted: first.link.settled,
            holder: after.clone(),
            kept: false,
            idle: true,
            changes: watch::Sender::new(()),
            keys: HashMap::new(),
        };
        chain.push(first, after);
        chain
    }

    /// One more settle. True if nobody writes yet.
    pub(crate) fn push(&mut self, waiting: Waiting, after: Holder) -> bool {
        let key = waiting.link.settle.claim.key_id;
        // From now on it is not new, whatever a look says that is under way.
        self.keys.remove(&key);
        self.accepted = waiting.link.settled;
        self.unwritten.push_back(key);
        self.waiting.push_back(waiting);
        self.holder = after;
        std::mem::replace(&mut self.idle, false)
    }

    /// The holder, if it is the one that settles, and the chain takes one more for this next key.
    pub(crate) fn goes_on_with(&self, request: &Settle, next: KeyId) -> Option<Holder> {
        let row = &self.holder.row;
        let holds =
            (row.fence, row.step, row.version) == (request.fence, request.step, request.version);
        let free = !self.kept && self.unwritten.len() < LINKS_MAX;
        let mut keys = self.unwritten.iter().chain([&request.claim.key_id]);
        (holds && free && keys.all(|key| *key != next)).then(|| self.holder.clone())
    }

    /// Whether nothing has to be asked of the next one: its key is new, and its session that of the
    /// holder, by which each piece is written.
    pub(crate) fn knows(&self, next: &Acquire) -> bool {
        let new = self.keys.get(&next.claim.key_id) == Some(&Key::New);
        new && next.session == self.holder.session
    }

    /// Says that a key is looked up, under a number that no other lookup has.
    pub(crate) fn lookup_begins(&mut self, key: KeyId, number: u64) {
        let room = self.keys.len() < KEYS_MAX;
        let waits = self.unwritten.contains(&key);
        if room && !waits && self.keys.get(&key) != Some(&Key::New) {
            self.keys.insert(key, Key::LookedUp(number));
        }
    }

    /// Says what a lookup has found, if nothing has happened to the key since it began.
    pub(crate) fn lookup_ends(&mut self, key: KeyId, number: u64, new: bool) {
        if self.keys.get(&key) == Some(&Key::LookedUp(number)) {
            if new {
                self.keys.insert(key, Key::New);
            } else {
                self.keys.remove(&key);
            }
        }
    }

    /// What the next write takes: so many settles, and about so many bytes.
    pub(crate) fn take(&mut self, most: usize, room: usize) -> (Vec<Link>, Vec<FateSender>) {
        let (mut links, mut fates, mut size) = (Vec::new(), Vec::new(), 0);
        while let Some(waiting) = self.waiting.pop_front() {
            size += bytes(&waiting.link.settle);
            if links.len() == most || (size > room && !links.is_empty()) {
                self.waiting.push_front(waiting);
                break;
            }
            links.push(waiting.link);
            fates.push(waiting.fate);
        }
        (links, fates)
    }
}
