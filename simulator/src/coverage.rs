//! What a number of runs has met. A fault that never struck and an end that was never seen prove
//! nothing, so their absence is a failure of its own.

use std::collections::BTreeMap;
use std::fmt;

use super::book::Cause;
use super::chaos::Blow;
use super::disk::Flushed;
use super::handlers::Behaviour;
use super::store::Strike;

/// How often each thing was met, by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<String, u64>);

/// Every end that a client can be told, but for those of faults of our own.
const ENDS: &[&str] = &[
    "applied",
    "appliedWithError",
    "created",
    "denied exists",
    "denied inProgress",
    "denied keyExpired",
    "denied keyReused",
    "denied locked",
    "denied notFound",
    "denied outcomeUnknown",
    "denied nodeFull",
    "denied queueFull",
    "denied shuttingDown",
    "denied storeUnavailable",
    "denied versionMismatch",
    "failed attached",
    "failed error",
    "failed panicked",
    "failed stopped",
    "failed timedOut",
    "failed unreadable",
    "failed unwritable",
    "lost",
    "refused",
    "refusedUnstored",
    "replayed",
    "unchanged",
    "unknown",
];

/// Every verb that a lifecycle says by itself.
const VERBS: &[&str] = &[
    "acquire", "create", "expire", "join", "leave", "lookup", "release", "renew", "settle", "sweep",
];

/// What else must have happened.
const MORE: &[&str] = &[
    "chaos: client gone",
    "chaos: handed over before a flush",
    "chaos: paused past its session",
    "chaos: power lost before a flush",
    "chaos: ran before a flush",
    "clock: of a node, back",
    "clock: of a node, forward",
    "clock: of a store, back",
    "clock: of a store, forward",
];

impl Coverage {
    pub(super) fn count(&mut self, what: String) {
        *self.0.entry(what).or_default() += 1;
    }

    /// Adds what another run has met.
    pub fn add(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            *self.0.entry(what.clone()).or_default() += times;
        }
    }

    /// What a large number of runs must have met so often and these have not.
    #[must_use]
    pub fn missing(&self, times: u64) -> Vec<String> {
        let strikes = VERBS.iter().flat_map(|verb| {
            let strikes = Strike::ON_THE_WAY.iter();
            strikes.map(move |strike| format!("fault: {verb} {strike:?}"))
        });
        strikes
            .chain(named("fault: flush", &Strike::OF_A_FLUSH))
            .chain(named("flush:", &Flushed::ALL))
            .chain(named("chaos:", &Blow::ALL))
            .chain(named("handler:", &Behaviour::ALL))
            .chain(named("told lost:", &Cause::TOLD))
            .chain(ENDS.iter().map(|end| format!("end: {end}")))
            .chain(MORE.iter().map(|what| (*what).to_owned()))
            .filter(|what| self.0.get(what).copied().unwrap_or(0) < times)
            .collect()
    }
}

fn named<T: fmt::Debug>(kind: &str, all: &[T]) -> impl Iterator<Item = String> {
    all.iter().map(move |one| format!("{kind} {one:?}"))
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, times) in &self.0 {
            writeln!(f, "{times:>9}  {what}")?;
        }
        Ok(())
    }
}
