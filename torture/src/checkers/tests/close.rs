//! What an order must show once nobody works on it any more.

use orderlock_core::Recovery::{self, Reconcile};
use orderlock_core::store::{Entry, OrderView, Position};
use orderlock_core::{Document, Fence, KeyId, OutcomeKind, Timestamp, Version};
use orderlock_simulator::tally::{self, Tally};
use orderlock_testkit::fixtures::{answer, claim, new_entry};

use super::super::book::Book;
use super::super::close::held_against;
use super::script::{ORDER, RESUME, view, who};
use crate::tale::Answered;

/// An order with its history, and what was seen of it.
#[derive(Default)]
struct Closed {
    book: Book,
    entries: Vec<Entry>,
    order: Tally,
    version: u64,
    told: Vec<Answered>,
}

impl Closed {
    /// A new order.
    fn new() -> Self {
        Self::default().with("create", OutcomeKind::Created, 1)
    }

    /// With one more entry under this key, as this run.
    fn with(mut self, key: &str, outcome: OutcomeKind, attempt: u32) -> Self {
        let claim = claim(ORDER, key);
        self.book.name(&claim);
        if outcome.moves_version() {
            self.version += 1;
        }
        if matches!(outcome, OutcomeKind::Applied) {
            let name = tally::name(&claim.caller, &claim.key);
            self.order = self.order.clone().with_effect(&name);
        }
        let number = self.entries.len() as u64 + 1;
        let change = outcome.moves_version();
        let change = change.then(|| Document::encode(&self.order).unwrap());
        let new = new_entry(Timestamp::UNIX_EPOCH);
        self.entries.push(Entry {
            number,
            position: Position(number),
            version: Version(self.version),
            fence: Some(Fence(u128::from(number))),
            attempt,
            change,
            answer: Some(answer(key)),
            ..Entry::of_claim(&claim, &new, outcome)
        });
        self
    }

    /// A handler has begun outside.
    fn begins(mut self, key: &str, attempt: u32, recovery: Recovery) -> Self {
        let key = self.key(key);
        self.book.outside.begins(key, attempt, recovery);
        self
    }

    fn declares(mut self, key: &str, attempt: u32) -> Self {
        let key = self.key(key);
        self.book.outside.declares(key, attempt);
        self
    }

    fn key(&mut self, key: &str) -> KeyId {
        let claim = claim(ORDER, key);
        self.book.name(&claim);
        claim.key_id
    }

    /// A client was told this under a key.
    fn told(mut self, key: &str, said: &str) -> Self {
        let claim = claim(ORDER, key);
        let told = tally::Told {
            target: claim.target(),
            name: tally::name(&who(), &claim.key),
            fingerprint: claim.fingerprint,
            answer: answer(said),
            outcome: OutcomeKind::Applied,
        };
        self.told.push(Answered {
            told,
            expires: None,
        });
        self
    }

    fn broken(&self) -> Vec<String> {
        let view = OrderView {
            document: Document::encode(&self.order).unwrap(),
            ..view(self.version, None)
        };
        held_against(&self.book, &self.entries, &view, &self.told)
    }

    #[track_caller]
    fn is_well(&self) {
        let broken = self.broken();
        assert!(broken.is_empty(), "{broken:?}");
    }

    #[track_caller]
    fn breaks(&self, words: &str) {
        let broken = self.broken();
        let said = matches!(&broken[..], [only] if only.contains(words));
        assert!(said, "{broken:?} is not {words:?}");
    }
}

const CLEARED: OutcomeKind = OutcomeKind::MarkCleared;
const APPLIED: OutcomeKind = OutcomeKind::Applied;

#[test]
fn an_answer_is_in_the_journal() {
    let closed = || Closed::new().with("a", APPLIED, 1);
    closed().told("a", "a").is_well();
    closed().told("b", "b").breaks("is not in the journal");
    closed().told("a", "b").breaks("another answer");
}

#[test]
fn the_history_folds_to_the_order() {
    let mut closed = Closed::new().with("a", APPLIED, 1).with("b", APPLIED, 1);
    closed.is_well();
    closed.order = closed.order.with_effect("-/c");
    closed.breaks("does not fold to the order");
}

#[test]
fn a_key_ends_once() {
    let closed = Closed::new().with("a", APPLIED, 1);
    closed.is_well();
    closed
        .with("a", OutcomeKind::Refused, 1)
        .breaks("two final entries");
}

#[test]
fn what_was_disowned_is_not_there() {
    let mut closed = Closed::new().with("a", APPLIED, 1);
    closed.book.disown(Fence(7));
    closed.is_well();
    closed.book.disown(Fence(2));
    closed.breaks("told that nothing was applied, and it was");
}

#[test]
fn a_mark_is_ended_by_an_entry() {
    let begun = || Closed::new().begins("a", 1, Reconcile);
    begun().with("a", APPLIED, 1).is_well();
    begun().with("a", CLEARED, 1).is_well();
    begun().declares("a", 1).is_well();
    begun().breaks("the mark of run 1 of -/a was ended by nothing");
}

#[test]
fn the_mark_of_a_second_run_needs_an_end_of_its_own() {
    let again = || {
        let cleared = Closed::new()
            .begins("a", 1, Reconcile)
            .with("a", CLEARED, 1);
        cleared.begins("a", 2, Reconcile)
    };
    again().with("a", APPLIED, 2).is_well();
    again().breaks("the mark of run 2 of -/a was ended by nothing");
}

#[test]
fn a_run_that_is_counted_anew_needs_an_end_of_its_own() {
    let again = || {
        let cleared = Closed::new()
            .begins("a", 1, Reconcile)
            .with("a", CLEARED, 1);
        cleared.begins("a", 1, Reconcile)
    };
    again().with("a", APPLIED, 1).is_well();
    again().breaks("the mark of run 1");
}

#[test]
fn a_run_that_was_resumed_hands_its_mark_on() {
    let resumed = || Closed::new().begins("a", 1, RESUME).begins("a", 2, RESUME);
    resumed().with("a", APPLIED, 2).is_well();
    resumed().with("a", CLEARED, 1).breaks("the mark of run 2");
}

#[test]
fn a_run_that_declares_leaves_the_mark_of_the_one_before() {
    let declared = || {
        let resumed = Closed::new().begins("a", 1, RESUME).begins("a", 2, RESUME);
        resumed.declares("a", 2)
    };
    declared().with("a", CLEARED, 1).is_well();
    declared().with("a", CLEARED, 2).is_well();
    declared().breaks("the mark of run 1");
}
