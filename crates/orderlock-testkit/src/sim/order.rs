//! The order of the schedules: it counts each key's effects, so that a doubled one is seen.

use std::collections::BTreeMap;
use std::panic::resume_unwind;

use bytes::Bytes;
use orderlock_core::{Answer, Answers, Caller, IdempotencyKey, OrderType, Problem, SettledView};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An order that knows what was done to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    /// How often each key has taken effect.
    pub(super) effects: BTreeMap<String, u64>,
    /// How often each key has made a checkpoint.
    pub(super) parts: BTreeMap<String, u64>,
    /// How many changes there were, kept apart so that a torn state is seen.
    pub(super) changes: u64,
    pub(super) padding: String,
    pub(super) bomb: Bomb,
}

impl OrderType for Tally {}

impl Tally {
    pub(super) fn with_effect(mut self, name: &str) -> Self {
        *self.effects.entry(name.to_owned()).or_default() += 1;
        self.changes += 1;
        self
    }

    pub(super) fn with_part(mut self, name: &str) -> Self {
        *self.parts.entry(name.to_owned()).or_default() += 1;
        self.changes += 1;
        self
    }

    /// An order that panics while it is written.
    pub(super) fn armed(self) -> Self {
        Self {
            bomb: Bomb(true),
            ..self
        }
    }

    /// Whether all of it is of one moment.
    pub(super) fn is_whole(&self) -> bool {
        self.changes
            == self
                .effects
                .values()
                .chain(self.parts.values())
                .sum::<u64>()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bomb(bool);

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
pub(super) struct Odd {
    another_shape: u64,
}

impl OrderType for Odd {}

/// A caller's key, as the order counts it.
pub(super) fn name(caller: &Caller, key: &IdempotencyKey) -> String {
    format!("{}/{}", caller.principal, key.as_str())
}

/// Answers that show everything that they were made from.
#[derive(Debug)]
pub(super) struct Plain;

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
