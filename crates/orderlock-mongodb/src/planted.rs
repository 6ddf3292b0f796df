//! A cure that can be taken out, for the torture to find what it cures. Only the feature
//! `planted-faults` builds a way to do so; without it, none is ever out.

/// A cure that is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "planted-faults"),
    allow(unreachable_pub, reason = "only that feature exports it")
)]
pub enum Planted {
    /// A document that somebody has replaced counts as one that was never seen.
    Replaced,
}

#[cfg(feature = "planted-faults")]
pub(crate) use on::is_planted;
#[cfg(feature = "planted-faults")]
pub use on::plant;

#[cfg(feature = "planted-faults")]
mod on {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::Planted;

    static REPLACED: AtomicBool = AtomicBool::new(false);

    /// Takes a cure out of every store of this process.
    pub fn plant(planted: Planted) {
        match planted {
            Planted::Replaced => REPLACED.store(true, Ordering::Release),
        }
    }

    /// Whether this cure is out.
    pub(crate) fn is_planted(planted: Planted) -> bool {
        match planted {
            Planted::Replaced => REPLACED.load(Ordering::Acquire),
        }
    }
}

#[cfg(not(feature = "planted-faults"))]
pub(crate) const fn is_planted(_planted: Planted) -> bool {
    false
}
