//! An order that counts each key's effects, so that a doubled or a lost one is seen; and what must
//! hold of its journal, whoever has written it.

use std::collections::BTreeMap;
use std::panic::resume_unwind;

use bytes::Bytes;
use orderlock_core::store::Entry;
use orderlock_core::{
    Answer, Answers, Caller, Fingerprint, IdempotencyKey, KeyId, OrderType, OutcomeKind, Problem,
    SettledView, Target, Version,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An order that knows what was done to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How often each key has taken effect.
    pub effects: BTreeMap<String, u64>,
    /// How often each key has made a checkpoint.
    pub parts: BTreeMap<String, u64>,
    /// How many changes there were, kept apart so that a torn state is seen.
    pub changes: u64,
    /// Nothing but bytes.
    pub padding: String,
    /// Where it is armed, the order panics while it is written.
    pub bomb: Bomb,
}

impl OrderType for Tally {}

impl Tally {
    /// The order with this key's effect.
    #[must_use]
    pub fn with_effect(mut self, name: &str) -> Self {
        *self.effects.entry(name.to_owned()).or_default() += 1;
        self.changes += 1;
        self
    }

    /// The order with this key's checkpoint.
    #[must_use]
    pub fn with_part(mut self, name: &str) -> Self {
        *self.parts.entry(name.to_owned()).or_default() += 1;
        self.changes += 1;
        self
    }

    /// An order that panics while it is written.
    #[must_use]
    pub fn armed(self) -> Self {
        Self {
            bomb: Bomb(true),
            ..self
        }
    }

    /// Whether all of it is of one moment.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.changes
            == self
                .effects
                .values()
                .chain(self.parts.values())
                .sum::<u64>()
    }
}

/// What may panic when it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bomb(bool);

impl Serialize for Bomb {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 {
            // Without the panic hook, which would print it.
            resume_unwind(Box::new("planned"));
        }
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer).map(|()| Self(false))
    }
}

/// An order type that no stored order fits.
#[derive(Debug, Serialize, Deserialize)]
pub struct Odd {
    another_shape: u64,
}

impl OrderType for Odd {}

/// A caller's key, as the order counts it.
#[must_use]
pub fn name(caller: &Caller, key: &IdempotencyKey) -> String {
    format!("{}/{}", caller.principal, key.as_str())
}

/// Answers that show everything that they were made from.
#[derive(Debug)]
pub struct Plain;

impl Answers for Plain {
    fn answer(&self, settled: SettledView<'_>) -> Answer {
        let document = String::from_utf8_lossy(settled.document.as_bytes());
        let (outcome, version) = (settled.outcome.as_str(), settled.version);
        let updated = settled.times.updated;
        Answer {
            status: settled.problem.map_or(200, Problem::status),
            content_type: "text/plain".into(),
            location: None,
            version: Some(version),
            body: format!("{outcome} {version} {updated} {document}").into(),
        }
    }

    fn problem(&self, problem: &Problem, _: Option<SettledView<'_>>) -> Answer {
        Answer {
            status: problem.status(),
            content_type: "text/plain".into(),
            location: None,
            version: None,
            body: Bytes::from(problem.kind().to_owned()),
        }
    }
}

/// What a client was told for good.
#[derive(Clone, Debug)]
pub struct Told {
    /// Of which order.
    pub target: Target,
    /// Under which key, as the order counts it.
    pub name: String,
    /// What was asked.
    pub fingerprint: Fingerprint,
    /// What was answered.
    pub answer: Answer,
    /// How it was settled.
    pub outcome: OutcomeKind,
}

/// What is wrong with an order's journal: it has no gap, each of its changes is that of its own key
/// alone, no key has a second end, and folding it gives the order. A change under a key that nobody
/// is known by leaves what is counted as it was.
#[must_use]
pub fn journal(
    entries: &[Entry],
    names: &BTreeMap<KeyId, String>,
    last: &Tally,
    version: Version,
) -> Vec<&'static str> {
    let mut wrong = Vec::new();
    let (mut order, mut at) = (Tally::default(), Version(0));
    for (number, entry) in (1..).zip(entries) {
        let after = after(&order, entry, names);
        if entry.outcome.moves_version() {
            at = at.next();
        }
        let change = entry.change.as_ref();
        let change = change.and_then(|change| change.decode::<Tally>().ok());
        if entry.number != number {
            wrong.push("an entry's number does not follow the one before it");
        }
        if entry.version != at {
            wrong.push("a version does not follow the one before it");
        }
        if change.is_some() != entry.outcome.moves_version() {
            wrong.push("an entry's change does not fit its outcome");
        }
        if change.is_some_and(|change| change != after) {
            wrong.push("a change is not its own key's alone");
        }
        order = after;
    }
    if finals(entries, names).values().any(|times| *times > 1) {
        wrong.push("a key has two final entries");
    }
    if order != *last || at != version {
        wrong.push("the journal does not fold to the order");
    }
    let counts = last.effects.values().chain(last.parts.values());
    if counts.into_iter().any(|times| *times > 1) {
        wrong.push("a key has taken effect twice");
    }
    wrong
}

fn after(order: &Tally, entry: &Entry, names: &BTreeMap<KeyId, String>) -> Tally {
    let order = order.clone();
    match (names.get(&entry.key_id), entry.outcome) {
        (Some(name), OutcomeKind::Applied | OutcomeKind::AppliedWithError) => {
            order.with_effect(name)
        }
        (Some(name), OutcomeKind::Checkpoint) => order.with_part(name),
        _ => order,
    }
}

fn finals<'a>(entries: &[Entry], names: &'a BTreeMap<KeyId, String>) -> BTreeMap<&'a str, usize> {
    let mut finals = BTreeMap::new();
    let ends = entries.iter().filter(|entry| entry.outcome.is_final());
    for name in ends.filter_map(|entry| names.get(&entry.key_id)) {
        *finals.entry(name.as_str()).or_default() += 1;
    }
    finals
}

/// What is wrong with what a client was told: it is in the journal, was asked by it, and never
/// differs.
#[must_use]
pub fn answered(
    entries: &[Entry],
    names: &BTreeMap<KeyId, String>,
    told: &Told,
) -> Vec<&'static str> {
    let entry = entries
        .iter()
        .rev()
        .find(|entry| entry.outcome.is_final() && names.get(&entry.key_id) == Some(&told.name));
    let Some(entry) = entry else {
        return vec!["an acknowledged settle is not in the journal"];
    };
    let mut wrong = Vec::new();
    let same = entry.answer.as_ref();
    if same.is_some_and(|answer| *answer != told.answer) || entry.outcome != told.outcome {
        wrong.push("a client was told another answer than the journal has");
    }
    if entry.fingerprint != told.fingerprint {
        wrong.push("a request was given the answer to another one");
    }
    wrong
}
