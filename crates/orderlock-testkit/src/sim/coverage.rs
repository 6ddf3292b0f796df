//! What a number of runs has met. A fault that never struck and an end that was never seen prove
//! nothing, so their absence is a failure of its own.

use std::collections::BTreeMap;
use std::fmt;

use super::chaos::Blow;
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

    /// What a large number of runs must have met and these have not.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let ends = ENDS.iter().map(|end| format!("end: {end}"));
        let strikes = Strike::ALL
            .iter()
            .map(|strike| format!("fault: {strike:?}"));
        let blows = Blow::ALL.iter().map(|blow| format!("chaos: {blow:?}"));
        let handlers = Behaviour::ALL.iter().map(|how| format!("handler: {how:?}"));
        ends.chain(strikes)
            .chain(blows)
            .chain(handlers)
            .chain(["chaos: client gone".to_owned()])
            .filter(|what| !self.0.contains_key(what))
            .collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, times) in &self.0 {
            writeln!(f, "{times:>9}  {what}")?;
        }
        Ok(())
    }
}
