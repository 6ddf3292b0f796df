//! Stored answers that were asked for lately: a retry that comes again is answered from memory.
//!
//! A final entry never changes while its answer is retained, and only one that was on the disk when
//! it was read is kept here, under the rules by which orders are (see [`crate::state::orders`]). So it may be
//! told until its retention ends. Once the clock has been seen past that, the file is asked: the
//! answer may have been removed meanwhile, and stays so even if the clock is set back.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;
use orderlock_core::store::Entry;
use orderlock_core::{KeyId, Target};

use crate::clock::Now;

/// What an entry takes beside its document and its answer, about: itself, its places here, and its
/// names.
const OVERHEAD: usize = size_of::<Entry>() + 4 * size_of::<KeyId>() + 160;

/// The answers of one part of memory, bounded in bytes. Retries come soon: what was read first goes
/// first.
#[derive(Debug)]
pub(crate) struct Answers {
    entries: HashMap<KeyId, Box<Entry>, RandomState>,
    /// The keys of them, in the order in which they were read.
    read: VecDeque<KeyId>,
    bytes: usize,
    bytes_max: usize,
}

impl Answers {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            entries: HashMap::default(),
            read: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// The final entry of a key with its answer, while that is certainly retained.
    pub(crate) fn find(&self, target: &Target, key: KeyId, now: Now) -> Option<&Entry> {
        let entry = self.entries.get(&key)?;
        let retained = entry
            .expires
            .is_some_and(|expires| expires > now.wall_latest);
        (retained && entry.target == *target).then_some(entry)
    }

    /// Keeps a final entry that has its answer, as it is on the disk.
    pub(crate) fn put(&mut self, entry: &Entry) {
        if !entry.outcome.is_final() || entry.answer.is_none() || bytes(entry) > self.bytes_max {
            return;
        }
        match self.entries.insert(entry.key_id, Box::new(entry.clone())) {
            Some(before) => self.bytes -= bytes(&before),
            None => self.read.push_back(entry.key_id),
        }
        self.bytes += bytes(entry);
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.read.pop_front()
        {
            let gone = self.entries.remove(&oldest);
            self.bytes -= gone.as_deref().map_or(0, bytes);
        }
    }

    /// All of them, for the tests that hold them against the file.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().map(|entry| &**entry)
    }
}

fn bytes(entry: &Entry) -> usize {
    let change = entry.change.as_ref().map_or(0, |change| change.size());
    let answer = entry.answer.as_ref().map_or(0, |it| it.body.len());
    OVERHEAD + change + answer
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use orderlock_core::store::RetentionTime;
    use orderlock_core::{Answer, OutcomeKind, Timestamp};
    use orderlock_testkit::fixtures;

    use super::*;

    const EXPIRES: Timestamp = Timestamp::UNIX_EPOCH;

    fn entry(key: usize, bytes: usize) -> Entry {
        let claim = fixtures::claim("o", &format!("k{key}"));
        let answer = Answer {
            body: vec![b'x'; bytes].into(),
            ..fixtures::answer("done")
        };
        let entry = fixtures::new_entry(EXPIRES);
        Entry {
            answer: Some(answer),
            expires: Some(EXPIRES),
            ..Entry::of_claim(&claim, &entry, OutcomeKind::Refused)
        }
    }

    /// A moment at which the clock has been seen as late as that.
    fn at(wall_latest: Timestamp) -> Now {
        let wall = Timestamp::MIN;
        Now {
            wall,
            wall_latest,
            instant: Instant::now(),
            retention: RetentionTime {
                earliest: wall,
                latest: wall,
            },
        }
    }

    fn found(answers: &Answers, key: usize) -> bool {
        let entry = entry(key, 0);
        let found = answers.find(&entry.target, entry.key_id, at(Timestamp::MIN));
        found.is_some()
    }

    #[test]
    fn what_was_read_first_goes_first_and_the_bound_holds() {
        let mut answers = Answers::new(4 * (OVERHEAD + 100));
        for key in 0..6 {
            answers.put(&entry(key, 100));
            answers.put(&entry(key, 100));
            assert!(answers.bytes <= answers.bytes_max);
        }
        let left: Vec<_> = (0..6).filter(|key| found(&answers, *key)).collect();
        assert_eq!(left, [2, 3, 4, 5]);
        // One that takes another's room, and one that would take more than there is.
        answers.put(&entry(3, 200));
        assert!(!found(&answers, 2) && found(&answers, 3));
        answers.put(&entry(7, answers.bytes_max));
        assert!(!found(&answers, 7) && found(&answers, 5));
        let taken: usize = answers.iter().map(bytes).sum();
        assert_eq!(answers.bytes, taken);
        assert_eq!(answers.entries.len(), answers.read.len());
    }

    #[test]
    fn an_answer_is_told_of_its_own_order_and_until_its_end() {
        let mut answers = Answers::new(1 << 20);
        let kept = entry(1, 10);
        answers.put(&kept);
        let find = |target, now| answers.find(target, kept.key_id, now);
        let before = EXPIRES.checked_sub(std::time::Duration::from_nanos(1));
        assert_eq!(find(&kept.target, at(before.unwrap())), Some(&kept));
        assert_eq!(find(&kept.target, at(EXPIRES)), None);
        let other = fixtures::ids::target("another");
        assert_eq!(find(&other, at(Timestamp::MIN)), None);
    }

    #[test]
    fn what_is_not_final_or_has_lost_its_answer_is_not_kept() {
        let mut answers = Answers::new(1 << 20);
        let (mut checkpoint, mut ended) = (entry(1, 10), entry(2, 10));
        checkpoint.outcome = OutcomeKind::Checkpoint;
        ended.answer = None;
        answers.put(&checkpoint);
        answers.put(&ended);
        assert_eq!((answers.entries.len(), answers.bytes), (0, 0));
    }
}
