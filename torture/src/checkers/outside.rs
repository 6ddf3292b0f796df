//! The runs of external operations that have begun outside. Each has left a mark, and a mark is ended
//! by an entry that names its run: the holder's own last one, or an operator's.

use std::collections::BTreeMap;

use orderlock_core::store::Entry;
use orderlock_core::{KeyId, OutcomeKind, Recovery};

/// What has begun outside, for one order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outside(BTreeMap<KeyId, OfKey>);

/// The runs of one key.
#[derive(Clone, Debug)]
struct OfKey {
    resumes: bool,
    /// How many handlers have begun as each run of the key, without those that have declared that
    /// nothing happened.
    runs: BTreeMap<u32, usize>,
}

impl Outside {
    /// A handler begins as this run of its key.
    pub(crate) fn begins(&mut self, key: KeyId, attempt: u32, recovery: Recovery) {
        let of_key = self.0.entry(key).or_insert(OfKey {
            resumes: recovery != Recovery::Reconcile,
            runs: BTreeMap::new(),
        });
        *of_key.runs.entry(attempt).or_default() += 1;
    }

    /// It has declared that nothing happened: its own mark goes without an entry.
    pub(crate) fn declares(&mut self, key: KeyId, attempt: u32) {
        let runs = self.0.get_mut(&key).map(|of_key| &mut of_key.runs);
        if let Some(times) = runs.and_then(|runs| runs.get_mut(&attempt)) {
            *times = times.saturating_sub(1);
        }
    }

    /// Of an order without a mark: each run that has begun outside, its key, and whether its mark was
    /// ended by what may end it. Where runs follow one another, the last one takes the mark over.
    pub(super) fn ends(&self, entries: &[Entry]) -> Vec<(KeyId, u32, bool)> {
        let mut all = Vec::new();
        for (key, of_key) in &self.0 {
            let begun = of_key.runs.iter().filter(|(_, times)| **times > 0);
            for (attempt, times) in begun.rev().take(of_key.looked_at()) {
                let ended = |entry: &&Entry| {
                    let ends =
                        entry.outcome.is_final() || entry.outcome == OutcomeKind::MarkCleared;
                    ends && entry.key_id == *key && of_key.is_ended_by(*attempt, entry.attempt)
                };
                let ends = entries.iter().filter(ended).count();
                all.push((*key, *attempt, ends >= *times));
            }
        }
        all
    }
}

impl OfKey {
    /// How many of the last runs must have ends of their own.
    fn looked_at(&self) -> usize {
        if self.resumes { 1 } else { usize::MAX }
    }

    fn is_ended_by(&self, run: u32, of: u32) -> bool {
        of == run || self.resumes && of > run
    }
}
