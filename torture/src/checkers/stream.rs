//! Readers of the journal, one at each node: each has every entry exactly once, and those of an
//! order in their order.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orderlock_core::store::{Cursor, Entries, EntriesSince, Entry};
use orderlock_core::{OrderId, OrderStore as _, Tenant};

use crate::ledger::{Ledger, lock};
use crate::scene::Scene;

/// How far a reader has come with one order: the number of the last entry, and a hash of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) number: u64,
    hash: u64,
}

impl Told {
    /// With one more entry.
    pub(crate) fn and(self, entry: &Entry) -> Self {
        let mut hasher = DefaultHasher::new();
        let what = (entry.number, entry.position, entry.version.0);
        (self.hash, what, entry.outcome, entry.key_id).hash(&mut hasher);
        Self {
            number: entry.number,
            hash: hasher.finish(),
        }
    }
}

/// Where one reader stands, which outlives its node.
#[derive(Debug, Default)]
struct Reader {
    cursor: Option<Cursor>,
    position: u64,
    orders: HashMap<OrderId, Told>,
    /// What each closed order must come to.
    due: HashMap<OrderId, Told>,
    entries: u64,
}

/// All readers.
#[derive(Debug)]
pub(crate) struct Streams(Vec<Mutex<Reader>>);

impl Streams {
    pub(crate) fn new(nodes: usize) -> Self {
        Self((0..nodes).map(|_| Mutex::default()).collect())
    }

    /// What a reader was told. True if there was nothing new.
    pub(super) fn told(&self, ledger: &Ledger, place: usize, entries: Entries) -> bool {
        let Entries::Some { entries, next } = entries else {
            let what = "a reader was told of a new epoch, and nothing was restored";
            ledger.violation(what);
            return true;
        };
        let mut reader = lock(&self.0[place]);
        for entry in &entries {
            reader.take(ledger, place, entry);
        }
        reader.cursor = Some(next);
        entries.is_empty()
    }

    /// Every reader must come to this with an order that is closed.
    pub(crate) fn expect(&self, ledger: &Ledger, order: &OrderId, all: Told) {
        for (place, reader) in self.0.iter().enumerate() {
            let mut reader = lock(reader);
            reader.due.insert(order.clone(), all);
            reader.compare(ledger, place, order);
        }
    }

    /// How many entries each reader has been told, and how many closed orders it has not all of.
    pub(crate) fn behind(&self) -> Vec<(u64, usize)> {
        let readers = self.0.iter().map(|reader| lock(reader));
        let counts = readers.map(|reader| (reader.entries, reader.due.len()));
        counts.collect()
    }

    /// Some of the orders of which a reader has not been told all.
    pub(crate) fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for (place, reader) in self.0.iter().enumerate() {
            let reader = lock(reader);
            for (order, due) in reader.due.iter().take(3) {
                let has = reader.orders.get(order).copied().unwrap_or_default();
                let (due, has) = (due.number, has.number);
                missing.push(format!(
                    "the reader at node {place} has {has} of {due} entries of {order}"
                ));
            }
        }
        missing
    }
}

impl Reader {
    fn take(&mut self, ledger: &Ledger, place: usize, entry: &Entry) {
        self.entries += 1;
        let broken = |what: &str| {
            let (order, number) = (&entry.target.order, entry.number);
            let position = entry.position.0;
            ledger.violation(&format!(
                "the reader at node {place} was told {what}: entry {number} of {order} at {position}"
            ));
        };
        if entry.position.0 <= self.position {
            broken("a position that it had passed");
        }
        self.position = entry.position.0;
        let told = self.orders.entry(entry.target.order.clone()).or_default();
        if entry.number <= told.number {
            broken("an entry again");
        } else if entry.number > told.number + 1 {
            let (from, to) = (told.number + 1, entry.number - 1);
            broken(&format!("nothing of the entries {from} to {to}"));
        }
        *told = told.and(entry);
        self.compare(ledger, place, &entry.target.order);
    }

    /// A closed order is done with once the reader has all of it.
    fn compare(&mut self, ledger: &Ledger, place: usize, order: &OrderId) {
        let (Some(due), Some(told)) = (self.due.get(order), self.orders.get(order)) else {
            return;
        };
        if told.number < due.number {
            return;
        }
        if told != due {
            ledger.violation(&format!(
                "the reader at node {place} was told another history of {order} than it has"
            ));
        }
        // From here on, a place that the reader has passed is all that it could be told again.
        self.due.remove(order);
        self.orders.remove(order);
        ledger.checked("a reader had each entry of an order once");
    }
}

/// Reads the journal at one place, whichever node runs there, until the run is over.
pub(crate) async fn read(scene: Arc<Scene>, place: usize) {
    loop {
        let quiet = match scene.node(place) {
            Some(node) => {
                let cursor = lock(&scene.streams.0[place]).cursor.clone();
                let limit = scene.dice().one_of(&[1, 10, 200, 200, 1_000]);
                let store = Arc::clone(node.lifecycle.store());
                let asked = node.serve(async move {
                    let tenant = Tenant::single();
                    let request = EntriesSince {
                        tenant,
                        cursor,
                        limit,
                    };
                    store.entries_since(request).await
                });
                match tokio::time::timeout(Duration::from_secs(10), asked).await {
                    Ok(Some(Ok(entries))) => scene.streams.told(&scene.ledger, place, entries),
                    _ => true,
                }
            }
            None => true,
        };
        if quiet {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
