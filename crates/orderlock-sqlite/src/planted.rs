//! Cures that can be taken out, one at a time, for the torture to find what each of them cures; and
//! flushes that it has the disk refuse. Only the feature `planted-faults` builds a way to do so.

/// A cure that is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "planted-faults"),
    allow(unreachable_pub, reason = "only that feature exports it")
)]
pub enum Planted {
    /// What has expired by the wall clock is forgotten, however far that has jumped.
    AnyClock,
}

#[cfg(feature = "planted-faults")]
pub(crate) use on::{is_planted, refused};
#[cfg(feature = "planted-faults")]
pub use on::{plant, refuse_flushes};

#[cfg(feature = "planted-faults")]
mod on {
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::Planted;

    static ANY_CLOCK: AtomicBool = AtomicBool::new(false);
    static REFUSED: AtomicBool = AtomicBool::new(false);

    /// Takes a cure out of every store of this process.
    pub fn plant(planted: Planted) {
        match planted {
            Planted::AnyClock => ANY_CLOCK.store(true, Ordering::Release),
        }
    }

    /// Whether this cure is out.
    pub(crate) fn is_planted(planted: Planted) -> bool {
        match planted {
            Planted::AnyClock => ANY_CLOCK.load(Ordering::Acquire),
        }
    }

    /// From now on the disk refuses to flush the log, or does so again.
    pub fn refuse_flushes(refused: bool) {
        REFUSED.store(refused, Ordering::Release);
    }

    /// An error if the disk refuses.
    pub(crate) fn refused() -> io::Result<()> {
        match REFUSED.load(Ordering::Acquire) {
            true => Err(io::Error::other("the disk was told to refuse this")),
            false => Ok(()),
        }
    }
}

#[cfg(not(feature = "planted-faults"))]
pub(crate) const fn is_planted(_planted: Planted) -> bool {
    false
}

#[cfg(not(feature = "planted-faults"))]
pub(crate) const fn refused() -> std::io::Result<()> {
    Ok(())
}
