//! What a store may believe of its clock where it is about to forget: that cannot be undone, and a
//! wall clock can be wrong for a moment.

use std::time::{Duration, Instant};

use jiff::SignedDuration;

use crate::Timestamp;

/// How far a wall clock and one that never goes back may drift apart between two looks: a clock
/// that is set by the network moves in such steps.
const DRIFT: Duration = Duration::from_secs(60);

/// How long a new time must hold before it is believed; and how old, at most, the time may be that
/// a store has kept as seen last.
const HOUR: Duration = Duration::from_secs(3600);

/// A store's clock, as far as it is believed: it follows the wall clock, unless that jumps away from
/// a clock that never goes back, or from the time that the store had seen when it was last open.
///
/// After a jump there are two times, one on each side of it, until the new one has held for an hour.
/// Retention begins at the later of the two and ends at the earlier, so that nothing is forgotten
/// too soon, whichever is right.
///
/// ```
/// use std::time::{Duration, Instant};
/// use orderlock_core::Timestamp;
/// use orderlock_core::store::RetentionClock;
///
/// let (noon, start) = ("2026-11-30T12:00:00Z".parse::<Timestamp>()?, Instant::now());
/// let mut clock = RetentionClock::new(noon, noon, start);
/// let second = Duration::from_secs(1);
/// let times = clock.at(noon + second, start + second);
/// assert_eq!((times.earliest, times.latest), (noon + second, noon + second));
/// // Somebody sets the clock a month ahead.
/// let ahead = noon + 30 * 24 * 3600 * second;
/// let times = clock.at(ahead, start + 2 * second);
/// assert_eq!((times.earliest, times.latest), (noon + 2 * second, ahead));
/// # Ok::<(), jiff::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RetentionClock {
    /// A time that is believed, and when it was.
    believed: Timestamp,
    at: Instant,
    jump: Option<Jump>,
}

/// A wall clock that is elsewhere than it should be.
#[derive(Clone, Copy, Debug)]
struct Jump {
    /// When it was noticed.
    since: Instant,
    /// How far ahead it is.
    by: SignedDuration,
}

/// The time, or the two between which it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionTime {
    /// What ends by this time has certainly ended: forget by it.
    pub earliest: Timestamp,
    /// What begins now lasts from here.
    pub latest: Timestamp,
}

impl RetentionClock {
    /// The clock of a store that is being opened, which has kept this time as seen last. A store
    /// keeps [`believed`](Self::believed) at least hourly.
    #[must_use]
    pub fn new(seen: Timestamp, wall: Timestamp, now: Instant) -> Self {
        let by = wall.duration_since(seen);
        let mut clock = Self {
            believed: seen,
            at: now,
            jump: None,
        };
        if by.unsigned_abs() <= HOUR + DRIFT {
            clock.believed = wall;
        } else {
            clock.notice(by, now);
        }
        clock
    }

    /// The time for what is told by the wall clock and by one that never goes back.
    pub fn at(&mut self, wall: Timestamp, now: Instant) -> RetentionTime {
        let expected = self.believed(now);
        let by = wall.duration_since(expected);
        if by.unsigned_abs() <= DRIFT {
            if self.jump.take().is_some() {
                tracing::info!(%wall, "the clock is back where it was");
            }
            return self.believe(wall, now);
        }
        match self.jump {
            Some(jump) if (by - jump.by).unsigned_abs() <= DRIFT => {
                if now.saturating_duration_since(jump.since) >= HOUR {
                    tracing::info!(%wall, "the clock's new time has held, and counts");
                    self.jump = None;
                    return self.believe(wall, now);
                }
            }
            _ => self.notice(by, now),
        }
        RetentionTime {
            earliest: expected.min(wall),
            latest: expected.max(wall),
        }
    }

    /// The time that is believed at this instant: what a store keeps as seen last.
    #[must_use]
    pub fn believed(&self, now: Instant) -> Timestamp {
        let passed = now.saturating_duration_since(self.at);
        self.believed.checked_add(passed).unwrap_or(Timestamp::MAX)
    }

    fn believe(&mut self, wall: Timestamp, now: Instant) -> RetentionTime {
        (self.believed, self.at) = (wall, now);
        RetentionTime {
            earliest: wall,
            latest: wall,
        }
    }

    fn notice(&mut self, by: SignedDuration, now: Instant) {
        if self.jump.is_none() {
            let direction = if by.is_negative() { "back" } else { "ahead" };
            tracing::warn!(
                by = %by.abs(),
                direction,
                "the clock has jumped; until its new time has held for an hour, no answer and no \
                 key is forgotten"
            );
        }
        self.jump = Some(Jump { since: now, by });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Runtime as _, TokioRuntime};

    const MONTH: Duration = Duration::from_secs(31 * 24 * 3600);
    const SECOND: Duration = Duration::from_secs(1);

    struct Clocks {
        wall: Timestamp,
        now: Instant,
        clock: RetentionClock,
    }

    impl Clocks {
        fn new() -> Self {
            let (wall, now) = (Timestamp::constant(1_800_000_000, 0), TokioRuntime.now());
            Self {
                wall,
                now,
                clock: RetentionClock::new(wall, wall, now),
            }
        }

        fn pass(&mut self, time: Duration) {
            self.wall += time;
            self.now += time;
        }

        fn look(&mut self) -> RetentionTime {
            self.clock.at(self.wall, self.now)
        }

        /// Whether there is one time, the wall clock's.
        fn is_sure(&mut self) -> bool {
            let (wall, time) = (self.wall, self.look());
            time.earliest == wall && time.latest == wall
        }
    }

    #[test]
    fn it_follows_a_clock_that_is_well() {
        let mut clocks = Clocks::new();
        for time in [SECOND, HOUR, MONTH, 40 * MONTH] {
            clocks.pass(time);
            assert!(clocks.is_sure());
        }
        // Set by the network, in small steps, either way.
        for _ in 0..100 {
            clocks.wall += DRIFT;
            assert!(clocks.is_sure());
        }
        for _ in 0..200 {
            clocks.wall -= DRIFT;
            assert!(clocks.is_sure());
        }
    }

    #[test]
    fn a_jump_is_believed_when_it_has_held() {
        for ahead in [true, false] {
            let mut clocks = Clocks::new();
            let before = clocks.wall;
            clocks.wall = if ahead {
                before + MONTH
            } else {
                before - MONTH
            };
            let times = [before, clocks.wall];
            let RetentionTime { earliest, latest } = clocks.look();
            assert_eq!(
                [earliest, latest],
                [times[0].min(times[1]), times[0].max(times[1])]
            );
            clocks.pass(HOUR - SECOND);
            assert!(!clocks.is_sure());
            assert_eq!(clocks.clock.believed(clocks.now), before + HOUR - SECOND);
            clocks.pass(SECOND);
            assert!(clocks.is_sure());
        }
    }

    #[test]
    fn a_clock_that_was_wrong_for_a_moment_is_never_believed() {
        let mut clocks = Clocks::new();
        for _ in 0..10 {
            clocks.wall += MONTH;
            assert!(!clocks.is_sure());
            clocks.pass(HOUR / 2);
            assert!(!clocks.is_sure());
            clocks.wall -= MONTH;
            assert!(clocks.is_sure());
            clocks.pass(HOUR / 2);
        }
        // One that is never the same for an hour neither.
        for _ in 0..10 {
            clocks.wall += MONTH;
            assert!(!clocks.is_sure());
            clocks.pass(HOUR / 2);
            assert!(!clocks.is_sure());
        }
    }

    #[test]
    fn a_store_that_was_closed_for_long_waits_for_an_hour() {
        let Clocks { wall, now, .. } = Clocks::new();
        for closed in [Duration::ZERO, HOUR] {
            let clock = RetentionClock::new(wall - closed, wall, now);
            assert_eq!(clock.believed(now), wall);
        }
        let mut clock = RetentionClock::new(wall - MONTH, wall, now);
        assert_eq!(clock.at(wall, now).earliest, wall - MONTH);
        let (later, then) = (wall + HOUR, now + HOUR);
        assert_eq!(clock.at(later, then).earliest, later);
    }
}
