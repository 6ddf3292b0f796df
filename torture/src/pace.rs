//! How long the store takes with what it is asked, by whoever asks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::ledger::lock;

/// A verb that takes longer than this is slow: the nodes wait three times as long.
const SLOW: Duration = Duration::from_secs(1);
/// How far back it is looked, and how many verbs are kept at most.
const RECENT: Duration = Duration::from_secs(3);
const KEPT: usize = 10_000;
/// So many verbs must be slow, and one of so many, until it is the store that is slow, and not what one
/// of them waits for.
const LEAST: usize = 4;
const SHARE: usize = 8;

/// What is being asked, and how long the last questions took.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    number: u64,
    asking: BTreeMap<u64, (&'static str, Instant)>,
    /// When each has ended, and whether it was slow.
    ended: VecDeque<(Instant, bool)>,
}

/// A verb is being asked until this is dropped, by whoever has its answer or has lost patience.
#[derive(Debug)]
pub(crate) struct UnderWay {
    number: u64,
    pace: Arc<Pace>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.pace.ends(self.number, Instant::now());
    }
}

impl Pace {
    pub(crate) fn asks(self: &Arc<Self>, verb: &'static str) -> UnderWay {
        UnderWay {
            number: self.begins(verb, Instant::now()),
            pace: Arc::clone(self),
        }
    }

    fn begins(&self, verb: &'static str, now: Instant) -> u64 {
        let mut inner = lock(&self.0);
        inner.number += 1;
        let number = inner.number;
        inner.asking.insert(number, (verb, now));
        number
    }

    fn ends(&self, number: u64, now: Instant) {
        let mut inner = lock(&self.0);
        let Some((_, begun)) = inner.asking.remove(&number) else {
            return;
        };
        if inner.ended.len() == KEPT {
            inner.ended.pop_front();
        }
        let slow = now.saturating_duration_since(begun) > SLOW;
        inner.ended.push_back((now, slow));
    }

    /// How often one of these verbs is being asked.
    pub(crate) fn asked_now(&self, verbs: &[&str]) -> usize {
        let inner = lock(&self.0);
        let asked = inner.asking.values();
        asked.filter(|(verb, _)| verbs.contains(verb)).count()
    }

    /// Whether the store takes its time with everybody.
    pub(crate) fn is_slow(&self) -> bool {
        self.was_slow(Instant::now())
    }

    fn was_slow(&self, now: Instant) -> bool {
        let inner = lock(&self.0);
        let ago = |then: Instant| now.saturating_duration_since(then);
        let late = inner.asking.values();
        let late = late.filter(|(_, begun)| ago(*begun) > SLOW).count();
        let recent = inner.ended.iter().rev();
        let recent = recent.take_while(|(then, _)| ago(*then) < RECENT);
        let (slow, all) = recent.fold((late, late), |(slow, all), (_, was)| {
            (slow + usize::from(*was), all + 1)
        });
        slow >= LEAST && slow * SHARE >= all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many verbs of so many milliseconds each, and how it looks so long after the first began.
    fn is_slow(verbs: &[(usize, u64)], at: u64) -> bool {
        let (pace, begun) = (Pace::default(), Instant::now());
        for (times, millis) in verbs {
            for _ in 0..*times {
                let number = pace.begins("settle", begun);
                if *millis < at {
                    pace.ends(number, begun + Duration::from_millis(*millis));
                }
            }
        }
        pace.was_slow(begun + Duration::from_millis(at))
    }

    #[test]
    fn a_store_is_slow_that_is_so_to_many() {
        assert!(is_slow(&[(10, 1_500)], 2_000));
        assert!(is_slow(&[(10, 1_500), (20, 10)], 2_000));
        // It answers nobody at all.
        assert!(is_slow(&[(10, 9_000)], 2_000));
    }

    #[test]
    fn one_that_waits_is_its_own_fault() {
        assert!(!is_slow(&[(1, 9_000)], 2_000));
        assert!(!is_slow(&[(10, 9_000), (100, 10)], 2_000));
        assert!(!is_slow(&[(10, 100)], 2_000));
    }

    #[test]
    fn what_was_long_ago_counts_no_more() {
        assert!(!is_slow(&[(10, 1_500)], 9_000));
    }

    #[test]
    fn what_is_asked_now_is_counted_until_it_ends() {
        let pace = Arc::new(Pace::default());
        let one = pace.asks("settle");
        let _other = pace.asks("renew");
        assert_eq!(pace.asked_now(&["settle", "create"]), 1);
        drop(one);
        assert_eq!(pace.asked_now(&["settle", "create"]), 0);
    }
}
