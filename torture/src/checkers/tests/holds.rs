//! Who has held the order, and at which version.

use orderlock_core::store::{Fate, Loss, MarkFate};

use super::script::{Script, in_doubt, lost, next, not_applied};

#[test]
fn two_that_settle_have_not_held_at_the_same_time() {
    let mut script = Script::default();
    let (one, other) = (script.holds("a", None), script.holds("b", None));
    script.ends(&one);
    script.ends(&other);
    script.breaks("held the order at the same time");
}

#[test]
fn one_may_hold_after_the_other() {
    let mut script = Script::default();
    let one = script.holds("a", None);
    script.ends(&one);
    let asked = script.asks("b", None);
    let other = script.granted(asked, 2, 1);
    script.ends(&other);
    script.is_well();
}

#[test]
fn whoever_lost_the_order_has_not_held_it_to_the_end() {
    let mut script = Script::default();
    let (one, other) = (script.holds("a", None), script.holds("b", None));
    let settle = script.settles(&one, None);
    script.settled(&settle, &lost());
    script.ends(&other);
    script.is_well();
}

#[test]
fn a_release_tells_too_who_has_held() {
    for held in [true, false] {
        let mut script = Script::default();
        let (one, other) = (script.holds("a", None), script.holds("b", None));
        let release = script.releases(&one, MarkFate::Keep);
        script.released(&release, Ok(held));
        script.ends(&other);
        if held {
            script.breaks("held the order at the same time");
        } else {
            script.is_well();
        }
    }
}

/// The order is handed from `a` to `b` on ground that is not durable, and `b` has settled early too.
/// Then `a` has the order again, and gives it up.
fn taken_back(of_the_second: &Result<Fate, orderlock_core::StoreError>) -> Script {
    let mut script = Script::default();
    let one = script.holds("a", None);
    let other = next(script.request("b", None), 2);
    let handing = script.settles(&one, Some(&other));
    script.accepted_early(&handing, Some(&other));
    let ending = script.settles(&other, None);
    script.accepted_early(&ending, None);
    script.hardened(&handing, Some(&other), &Err(not_applied()));
    script.hardened(&ending, None, of_the_second);
    let release = script.releases(&one, MarkFate::Keep);
    script.released(&release, Ok(true));
    script
}

#[test]
fn what_was_built_on_a_settle_that_was_taken_back_was_never_held() {
    taken_back(&Err(not_applied())).is_well();
    taken_back(&Err(in_doubt())).is_well();
    taken_back(&Ok(Fate::Lost(Loss::NotHeld))).is_well();
}

#[test]
fn what_was_built_on_it_is_not_durable_where_that_was_taken_back() {
    let script = taken_back(&Ok(Fate::Durable));
    script.breaks("-/b was settled on ground that was taken back");
}

#[test]
fn a_hand_over_that_becomes_durable_was_held_from_when_it_was_told() {
    for held in [true, false] {
        let mut script = Script::default();
        let one = script.holds("a", None);
        let other = next(script.request("b", None), 2);
        let handing = script.settles(&one, Some(&other));
        script.accepted_early(&handing, Some(&other));
        let third = script.holds("c", None);
        script.hardened(&handing, Some(&other), &Ok(Fate::Durable));
        script.ends(&other);
        let release = script.releases(&third, MarkFate::Keep);
        script.released(&release, Ok(held));
        if held {
            script.breaks("held the order at the same time");
        } else {
            script.is_well();
        }
    }
}

#[test]
fn a_grant_is_not_older_than_what_was_durable_before() {
    for (version, well) in [(1, false), (2, true)] {
        let mut script = Script::default();
        let one = script.holds("a", None);
        script.ends(&one);
        let asked = script.asks("b", None);
        script.granted(asked, version, 1);
        if well {
            script.is_well();
        } else {
            script.breaks("was granted version 1, older than 2");
        }
    }
}

#[test]
fn a_read_is_not_older_than_what_was_durable_before() {
    for (version, well) in [(1, false), (2, true)] {
        let mut script = Script::default();
        let one = script.holds("a", None);
        script.ends(&one);
        script.reads(version, None);
        if well {
            script.is_well();
        } else {
            script.breaks("version 1 was read, older than 2");
        }
    }
}

#[test]
fn a_version_is_not_known_before_it_is_durable() {
    for fate in [Ok(Fate::Durable), Err(not_applied())] {
        let mut script = Script::default();
        let one = script.holds("a", None);
        let settle = script.settles(&one, None);
        script.accepted_early(&settle, None);
        script.reads(1, None);
        script.is_well();
        script.hardened(&settle, None, &fate);
        script.reads(1, None);
        if fate.is_ok() {
            script.breaks("version 1 was read, older than 2");
        } else {
            script.is_well();
        }
    }
}
