//! Bugs that the schedules must find, each within a bounded number of seeds.

use std::sync::Arc;

use orderlock_core::OrderStore;
use orderlock_simulator::{self as simulator, Plan};

use crate::buggy::{Bug, Buggy};
use crate::recorded;

/// The schedules find this bug within so many seeds.
fn found(bug: Bug, within: u64, plan: impl Fn(u64) -> Plan) {
    found_as(bug, "", within, plan);
}

/// The same, by this broken promise.
fn found_as(bug: Bug, violation: &str, within: u64, plan: impl Fn(u64) -> Plan) {
    let over = |inner| Arc::new(Buggy::new(inner, bug)) as Arc<dyn OrderStore>;
    let found = (0..within).find_map(|seed| {
        let report = simulator::run_over(plan(seed), false, over);
        let mut violations = report.violations.iter();
        let named = violations.any(|found| found.contains(violation));
        named.then_some((seed, report.violations))
    });
    match found {
        Some((seed, violations)) => println!("{bug:?} was found by seed {seed}: {violations:?}"),
        None => panic!("{bug:?} was not found within {within} seeds"),
    }
}

/// The model says another word than this store in some recorded run, whatever its clients see.
fn refused(bug: Bug, within: u64) {
    let over = |inner| Arc::new(Buggy::new(inner, bug)) as Arc<dyn OrderStore>;
    let refused = (0..within).find_map(|seed| {
        let plan = match bug {
            Bug::SettlesWithoutVersion => Plan::of(seed).doubled(),
            _ => Plan::of(seed),
        };
        let events = simulator::run_over(plan, false, over).events;
        Some((seed, recorded::refusal(&events)?))
    });
    match refused {
        Some((seed, refusal)) => {
            let refusal = refusal.lines().next().unwrap_or_default();
            println!("{bug:?} was refused in seed {seed}: {refusal}");
        }
        None => panic!("{bug:?} was not refused within {within} seeds"),
    }
}

#[test]
fn the_model_refuses_the_word_of_every_store_with_a_bug() {
    let bugs = [
        Bug::SettlesWithoutFence,
        Bug::SettlesWithoutVersion,
        Bug::ReleasesByKey,
        Bug::LosesEntries,
        Bug::HandsOverBlindly,
        Bug::ForgetsTheStep,
        Bug::GrantsToTheEnded,
        Bug::IgnoresTheFingerprint,
        Bug::ClearsMarks,
        Bug::StoresTheAnswerFirst,
        Bug::LooksTheKeyUpFirst,
        Bug::KeepsTheUnknown,
        Bug::RemembersHeld,
    ];
    bugs.into_iter().for_each(|bug| refused(bug, 5_000));
}

/// A store that lies about its flushes breaks this promise within so many seeds.
fn found_lying(violation: &str, within: u64) {
    let found = (0..within).find(|seed| {
        let report = simulator::run(Plan::of(*seed).lying());
        report.violations.iter().any(|found| found == violation)
    });
    match found {
        Some(seed) => println!("{violation}: found by seed {seed}"),
        None => panic!("{violation}: not found within {within} seeds"),
    }
}

#[test]
fn a_settle_without_fence_is_found() {
    found(Bug::SettlesWithoutFence, 2_000, Plan::of);
}

#[test]
fn a_settle_without_version_is_found() {
    // Fence and step alone keep a holder right, but for one that was granted anew.
    found(Bug::SettlesWithoutVersion, 5_000, |seed| {
        Plan::of(seed).doubled()
    });
}

#[test]
fn a_release_by_key_alone_is_found() {
    found(Bug::ReleasesByKey, 2_000, Plan::of);
}

#[test]
fn a_lost_entry_is_found() {
    found(Bug::LosesEntries, 2_000, Plan::of);
}

#[test]
fn a_hand_over_to_a_settled_key_is_found() {
    found(Bug::HandsOverBlindly, 2_000, Plan::of);
}

#[test]
fn a_checkpoint_taken_for_the_final_settle_is_found() {
    found(Bug::ForgetsTheStep, 2_000, Plan::of);
}

#[test]
fn a_grant_to_an_ended_session_is_found() {
    found(Bug::GrantsToTheEnded, 2_000, Plan::of);
}

#[test]
fn an_answer_to_another_request_is_found() {
    found(Bug::IgnoresTheFingerprint, 2_000, Plan::of);
}

#[test]
fn a_release_that_always_clears_the_mark_is_found() {
    found(Bug::ClearsMarks, 2_000, Plan::of);
}

#[test]
fn an_answer_stored_before_its_change_is_found() {
    found(Bug::StoresTheAnswerFirst, 2_000, Plan::of);
}

#[test]
fn a_key_looked_up_before_the_grant_is_found() {
    // The version saves all but a key that was refused: its settle has moved none.
    let violation = "a settled key was granted";
    found_as(Bug::LooksTheKeyUpFirst, violation, 5_000, Plan::of);
}

#[test]
fn an_acquire_whose_answer_was_lost_under_a_living_session_is_found() {
    found(Bug::KeepsTheUnknown, 5_000, Plan::of);
}

#[test]
fn a_lost_wake_up_is_found() {
    found(Bug::RemembersHeld, 5_000, |seed| Plan::of(seed).gentle());
}

#[test]
fn a_broken_lease_that_its_node_is_not_told_of_is_found() {
    found(Bug::KeepsBreaksToItself, 5_000, |seed| {
        Plan::of(seed).broken()
    });
}

#[test]
fn an_acknowledged_settle_that_was_never_flushed_is_found() {
    found_lying("one key was told two answers", 5_000);
}

#[test]
fn an_answer_before_its_ground_is_durable_is_found() {
    let violation = "an answer was told before the ground of its run was durable";
    found_lying(violation, 5_000);
}

#[test]
fn a_failure_told_before_its_ground_is_durable_is_found() {
    let violation = "a failure was told before the ground of its run was durable";
    found_lying(violation, 20_000);
}
