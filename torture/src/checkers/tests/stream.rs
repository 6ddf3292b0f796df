//! What a reader of the journal must be told.

use orderlock_core::store::{Claim, Cursor, Entries, Entry, Position};
use orderlock_core::{OrderId, OutcomeKind, Timestamp, Version};
use orderlock_testkit::fixtures::{claim, ids, new_entry};

use super::super::stream::{Streams, Told};
use super::script::ORDER;
use crate::ledger::Ledger;

/// The n-th entry of the order, at this place of the journal.
fn entry(number: u64, position: u64) -> Entry {
    let claim: Claim = claim(ORDER, &format!("k{number}"));
    let new = new_entry(Timestamp::UNIX_EPOCH);
    Entry {
        number,
        position: Position(position),
        version: Version(number),
        ..Entry::of_claim(&claim, &new, OutcomeKind::Applied)
    }
}

fn order() -> OrderId {
    ids::order(ORDER)
}

/// What is said of a reader that is told these pages, of an order that has these entries.
fn told(pages: &[&[Entry]], has: &[Entry]) -> Vec<String> {
    let (streams, ledger) = (Streams::new(1), Ledger::new());
    for entries in pages {
        let entries = entries.to_vec();
        let next = Cursor("here".into());
        streams.told(&ledger, 0, Entries::Some { entries, next });
    }
    let all = has.iter().fold(Told::default(), Told::and);
    streams.expect(&ledger, &order(), all);
    let mut broken = ledger.pages().broken;
    broken.extend(streams.missing());
    broken
}

#[track_caller]
fn breaks(broken: &[String], words: &str) {
    let said = broken.first().is_some_and(|first| first.contains(words));
    assert!(said, "{broken:?} is not {words:?}");
}

#[test]
fn each_entry_once_and_in_order_is_well() {
    let all = [entry(1, 10), entry(2, 20), entry(3, 21)];
    let broken = told(&[&all[..1], &[], &all[1..]], &all);
    assert!(broken.is_empty(), "{broken:?}");
}

#[test]
fn no_entry_is_left_out() {
    let all = [entry(1, 10), entry(2, 20), entry(3, 21)];
    let some = [all[0].clone(), all[2].clone()];
    breaks(
        &told(&[&some], &all),
        "was told nothing of the entries 2 to 2",
    );
    breaks(&told(&[&all[..2]], &all), "has 2 of 3 entries");
}

#[test]
fn no_entry_comes_again() {
    let all = [entry(1, 10), entry(2, 20), entry(2, 21)];
    breaks(&told(&[&all], &all[..2]), "was told an entry again");
}

#[test]
fn no_reader_goes_back() {
    let all = [entry(1, 10), entry(2, 9)];
    breaks(&told(&[&all], &all), "a position that it had passed");
}

#[test]
fn a_reader_is_told_what_the_order_has() {
    let all = [entry(1, 10), entry(2, 20)];
    let other = Entry {
        outcome: OutcomeKind::Refused,
        ..entry(2, 20)
    };
    let other = [entry(1, 10), other];
    breaks(&told(&[&all], &other), "another history");
}

#[test]
fn nothing_was_restored() {
    let (streams, ledger) = (Streams::new(1), Ledger::new());
    streams.told(&ledger, 0, Entries::NewEpoch);
    breaks(&ledger.pages().broken, "a new epoch");
}
