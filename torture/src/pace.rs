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
/// So many verbs of a node must be slow, and one of so many, until it is the way to the store that is slow,
/// and not what one of them waits for.
const LEAST: usize = 4;
const SHARE: usize = 4;

/// What is being asked, and how long the last questions took.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<Inner>);

/// Which verb is asked, and at which node.
type Asked = (&'static str, usize);

#[derive(Debug, Default)]
struct Inner {
    number: u64,
    asking: BTreeMap<u64, (Asked, Instant)>,
    /// At which node and when each has ended, and whether it was slow.
    ended: VecDeque<(usize, Instant, bool)>,
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
    pub(crate) fn asks(self: &Arc<Self>, asked: Asked) -> UnderWay {
        UnderWay {
            number: self.begins(asked, Instant::now()),
            pace: Arc::clone(self),
        }
    }

    fn begins(&self, asked: Asked, now: Instant) -> u64 {
        let mut inner = lock(&self.0);
        inner.number += 1;
        let number = inner.number;
        inner.asking.insert(number, (asked, now));
        number
    }

    fn ends(&self, number: u64, now: Instant) {
        let mut inner = lock(&self.0);
        let Some(((_, node), begun)) = inner.asking.remove(&number) else {
            return;
        };
        if inner.ended.len() == KEPT {
            inner.ended.pop_front();
        }
        let slow = now.saturating_duration_since(begun) > SLOW;
        inner.ended.push_back((node, now, slow));
    }

    /// How often one of these verbs is being asked.
    pub(crate) fn asked_now(&self, verbs: &[&str]) -> usize {
        let inner = lock(&self.0);
        let asked = inner.asking.values();
        asked.filter(|((verb, _), _)| verbs.contains(verb)).count()
    }

    /// Whether the store takes its time with all that some node asks.
    pub(crate) fn is_slow(&self) -> bool {
        self.was_slow(Instant::now())
    }

    fn was_slow(&self, now: Instant) -> bool {
        let inner = lock(&self.0);
        let ago = |then: Instant| now.saturating_duration_since(then);
        let mut nodes: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        let mut count = |node: usize, slow: bool| {
            let (late, all) = nodes.entry(node).or_default();
            *late += usize::from(slow);
            *all += 1;
        };
        let late = inner.asking.values();
        late.filter(|(_, begun)| ago(*begun) > SLOW)
            .for_each(|((_, node), _)| count(*node, true));
        let recent = inner.ended.iter().rev();
        recent
            .take_while(|(_, then, _)| ago(*then) < RECENT)
            .for_each(|(node, _, slow)| count(*node, *slow));
        let mut nodes = nodes.values();
        nodes.any(|(slow, all)| *slow >= LEAST && slow * SHARE >= *all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many verbs of so many milliseconds each at one node, while another is served at once; and how
    /// that looks so long after the first began.
    fn is_slow(verbs: &[(usize, u64)], at: u64) -> bool {
        let (pace, begun) = (Pace::default(), Instant::now());
        let after = |millis| begun + Duration::from_millis(millis);
        for (times, millis) in verbs {
            for _ in 0..*times {
                let number = pace.begins(("settle", 0), begun);
                if *millis < at {
                    pace.ends(number, after(*millis));
                }
            }
        }
        for _ in 0..200 {
            let number = pace.begins(("settle", 1), after(at - 2));
            pace.ends(number, after(at - 1));
        }
        pace.was_slow(after(at))
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
        let one = pace.asks(("settle", 0));
        let _other = pace.asks(("renew", 1));
        assert_eq!(pace.asked_now(&["settle", "create"]), 1);
        drop(one);
        assert_eq!(pace.asked_now(&["settle", "create"]), 0);
    }
}
