//! Cures that can be taken out, one at a time, for the torture to find what each of them cures. Only the
//! feature `planted-faults` builds a way to do so; without it, none is ever out.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use orderlock_core::Timestamp;

/// A cure that is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "planted-faults"),
    allow(unreachable_pub, reason = "only that feature exports it")
)]
pub enum Planted {
    /// A grant that has waited compares the position of the last entry and the fence alone.
    StaleGrant,
    /// A writer that has a number, and no lock on it yet, holds no reader of the journal back.
    EarlyHorizon,
    /// A renewal compares every grant that it names with every other.
    SquareRenewal,
    /// A batch waits for a row that somebody keeps locked, each time, and then for each of its
    /// requests by itself.
    OneLane,
    /// A session is measured by the database's clock, which can be set back.
    FarDeadline,
}

/// What is written otherwise in a statement without a cure: the fault, the words with the cure, and
/// without it.
const TWISTS: [(Planted, &str, &str); 4] = [
    (
        Planted::StaleGrant,
        "s.renewals, o.writes,",
        "s.renewals, o.position, o.fence AS stood,",
    ),
    (
        Planted::StaleGrant,
        "AND o.writes = seen.writes",
        "AND o.position = seen.position AND o.fence IS NOT DISTINCT FROM seen.stood",
    ),
    (
        Planted::EarlyHorizon,
        "LEFT JOIN locks own",
        "JOIN locks own",
    ),
    (
        Planted::SquareRenewal,
        "SELECT ARRAY(SELECT k.fence FROM known k WHERE k.session = $1 AND k.broken)",
        // The sum is formed of all pairs before anything is left out.
        "SELECT ARRAY(SELECT one.fence FROM (
                SELECT k.fence, bool_or(k.broken AND k.fence = other.fence) AS broken
                FROM known k CROSS JOIN known other
                WHERE k.session = $1 AND other.session = $1
                GROUP BY k.fence
            ) one WHERE one.broken)",
    ),
];

/// A statement's text, without the cure that is taken out.
pub(crate) fn twisted(text: &'static str) -> Cow<'static, str> {
    let twists = TWISTS.iter().filter(|(planted, ..)| is_planted(*planted));
    twists.fold(text.into(), |text, (_, right, wrong)| {
        text.replace(right, wrong).into()
    })
}

/// The time that sessions are measured by: a clock that never goes back, or without that cure, the
/// database's.
pub(crate) fn measured(now: Instant, wall: Option<Timestamp>) -> Instant {
    static BEGUN: OnceLock<(Instant, Timestamp)> = OnceLock::new();
    let Some(wall) = wall.filter(|_| is_planted(Planted::FarDeadline)) else {
        return now;
    };
    // A day ahead, so that there is something to go back to.
    let (begun, at) = BEGUN.get_or_init(|| (now + Duration::from_secs(24 * 3600), wall));
    let by = wall.duration_since(*at);
    let moved = if by.is_negative() {
        begun.checked_sub(by.unsigned_abs())
    } else {
        begun.checked_add(by.unsigned_abs())
    };
    moved.unwrap_or(now)
}

#[cfg(feature = "planted-faults")]
pub(crate) use on::is_planted;
#[cfg(feature = "planted-faults")]
pub use on::plant;

#[cfg(feature = "planted-faults")]
mod on {
    use std::sync::Mutex;
    use std::sync::PoisonError;

    use super::Planted;

    static OUT: Mutex<Option<Planted>> = Mutex::new(None);

    /// Takes a cure out of every store of this process.
    pub fn plant(planted: Planted) {
        *OUT.lock().unwrap_or_else(PoisonError::into_inner) = Some(planted);
    }

    /// Whether this cure is out.
    pub(crate) fn is_planted(planted: Planted) -> bool {
        *OUT.lock().unwrap_or_else(PoisonError::into_inner) == Some(planted)
    }
}

#[cfg(not(feature = "planted-faults"))]
pub(crate) const fn is_planted(_planted: Planted) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::statements;

    #[test]
    fn each_cure_is_in_the_statements_that_it_is_taken_out_of() {
        for (planted, right, _) in TWISTS {
            let found = statements().iter().any(|it| it.text.contains(right));
            assert!(found, "{planted:?}: {right}");
        }
    }
}
