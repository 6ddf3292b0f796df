//! The suite finds what it is for: a store that breaks one promise fails the check of that promise.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "these are tests: they fail loudly"
)]

mod planted;

use orderlock_testkit::suite::{CHECKS, Door, SHARED_CHECKS, compare, examine};
use planted::Bug;

/// For each bug, checks that must fail because of it.
const BITES: &[(Bug, &[&str])] = &[
    (
        Bug::SettlesWithoutFence,
        &[
            "fences::after_a_break",
            "fences::under_the_same_key",
            "settle::only_the_grants_fence_may",
        ],
    ),
    (
        Bug::AppliesARepeat,
        &[
            "repeats::of_a_settle",
            "race::one_of_many_settles_of_a_grant_is_written",
        ],
    ),
    (
        Bug::ForgetsSteps,
        &[
            "repeats::of_a_settle",
            "checkpoints::a_repeat_is_applied_once",
        ],
    ),
    (
        Bug::ForgetsTheKey,
        &[
            "acquire::a_settled_key_wins_over_everything",
            "settle::changes_records_and_unlocks",
        ],
    ),
    (
        Bug::IgnoresTheFingerprint,
        &["acquire::a_settled_key_wins_over_everything"],
    ),
    (
        Bug::ForgetsMarks,
        &[
            "marks::the_grant_writes_it_durably",
            "marks::a_void_lease_leaves_it",
        ],
    ),
    (
        Bug::ClearsMarks,
        &[
            "release::keeps_the_mark_or_clears_it",
            "marks::its_own_key_resumes_so_many_times",
        ],
    ),
    (
        Bug::UndoesTheEarlierMark,
        &["undo::an_earlier_runs_mark_stands_as_it_did"],
    ),
    (
        Bug::UndoKeepsTheMark,
        &["undo::a_first_mark_goes_with_its_grant"],
    ),
    (
        Bug::UnbindsClearedKeys,
        &["operator::a_cleared_mark_binds_its_key"],
    ),
    (
        Bug::MakesAnOrderForEachId,
        &["create::a_key_makes_one_order_whatever_its_id"],
    ),
    (
        Bug::HandsOverBlindly,
        &[
            "handover::passes_over_a_settled_key",
            "handover::passes_over_a_reused_key",
        ],
    ),
    (
        Bug::UnlocksAtCheckpoints,
        &[
            "checkpoints::keeps_the_lease_and_moves_the_order",
            "marks::a_checkpoint_leaves_it",
        ],
    ),
    (
        Bug::EndsSessionsByTheClock,
        &["sessions::a_session_is_not_ended_by_the_clock_alone"],
    ),
    (
        Bug::VoidsTheYoung,
        &["sessions::renewing_voids_what_the_node_does_not_know"],
    ),
    (
        Bug::KeepsTheUnknown,
        &["sessions::renewing_voids_what_the_node_does_not_know"],
    ),
    (
        Bug::BreaksAnybody,
        &["operator::breaking_voids_one_grant_with_a_reason"],
    ),
    (
        Bug::MixesTenants,
        &["tenants::another_tenants_order_is_not_there"],
    ),
    (
        Bug::SkipsEntries,
        &[
            "journal::is_the_same_in_any_pieces",
            "journal::skips_nothing_under_load",
        ],
    ),
    (
        Bug::TakesAnyCursor,
        &["bounds::a_foreign_cursor_is_refused"],
    ),
    (
        Bug::BendsAnswers,
        &["settle::answers_are_kept_byte_for_byte"],
    ),
    (
        Bug::KeepsNothing,
        &[
            "views::what_was_answered_survives_a_restart",
            "repeats::of_a_settle",
        ],
    ),
    (Bug::ListsBackwards, &["views::lists_newest_first_in_pages"]),
    (
        Bug::ForgetsAnswers,
        &["retention::an_answer_is_kept_for_its_time"],
    ),
    (
        Bug::BelievesTheClock,
        &[
            "retention::a_clock_that_is_ahead_for_a_moment_ends_nothing",
            "retention::a_new_time_is_believed_when_it_has_held",
        ],
    ),
    (
        Bug::RepeatsNoGrant,
        &["acquire::repeats_the_same_grant", "repeats::of_an_acquire"],
    ),
    (
        Bug::HandsOverOutOfTurn,
        &[
            "turns::a_long_line_on_one_node_lets_another_in",
            "turns::a_holder_that_takes_long_sees_who_has_come_since_its_grant",
        ],
    ),
    (
        Bug::ReleasesOutOfTurn,
        &["turns::a_release_that_hands_over_lets_another_node_in"],
    ),
    (
        Bug::LetsTheLastGoFirst,
        &["turns::nodes_that_wait_have_their_turns_in_the_order_in_which_they_came"],
    ),
    (
        Bug::KeepsForTheGone,
        &["turns::an_order_is_not_kept_for_one_that_has_gone"],
    ),
    (
        Bug::RemembersTheGone,
        &["turns::an_order_is_not_kept_for_one_that_has_gone"],
    ),
];

#[test]
fn each_bug_fails_its_checks() {
    for (bug, checks) in BITES {
        for check in *checks {
            let sound = examine(bug.sound(), Door::Direct, check);
            assert_eq!(sound, Ok(()), "{check} fails a store without a bug");
            match examine(*bug, Door::Direct, check) {
                Err(failure) => println!("{bug:?}: {check}: {}", failure.lines().next().unwrap()),
                Ok(()) => panic!("{check} passes a store with the bug {bug:?}"),
            }
        }
    }
}

/// The bugs that random sequences must find without a hint.
const FOUND_AT_RANDOM: &[Bug] = &[
    Bug::SettlesWithoutFence,
    Bug::AppliesARepeat,
    Bug::ForgetsSteps,
    Bug::ForgetsTheKey,
    Bug::IgnoresTheFingerprint,
    Bug::ForgetsMarks,
    Bug::ClearsMarks,
    Bug::HandsOverBlindly,
    Bug::UnlocksAtCheckpoints,
    Bug::EndsSessionsByTheClock,
    Bug::VoidsTheYoung,
    Bug::KeepsTheUnknown,
    Bug::BreaksAnybody,
    Bug::BendsAnswers,
    Bug::KeepsNothing,
    Bug::ForgetsAnswers,
    Bug::RepeatsNoGrant,
];

#[test]
fn random_sequences_find_the_same_bugs() {
    let check = "model::says_and_shows_the_same";
    for bug in FOUND_AT_RANDOM {
        match examine(*bug, Door::Direct, check) {
            Err(failure) => println!("{bug:?}: {}", failure.lines().next().unwrap()),
            Ok(()) => panic!("no sequence finds {bug:?}"),
        }
    }
}

#[test]
fn every_check_passes_a_store_without_a_bug() {
    assert!(CHECKS.len() > 100);
    for check in CHECKS {
        assert_eq!(examine(Bug::None, Door::Direct, check), Ok(()), "{check}");
    }
    for check in SHARED_CHECKS {
        let told = examine(Bug::NoneWithTurns, Door::Direct, check);
        assert_eq!(told, Ok(()), "{check}");
    }
}

/// The model has no turns: it grants a free order to any request, and hands over to any request
/// that a settle or a release names. So there is no check of turns that it may pass.
#[test]
fn every_check_of_turns_fails_a_store_without_turns() {
    for check in SHARED_CHECKS {
        match examine(Bug::None, Door::Direct, check) {
            Err(failure) => assert!(failure.contains("out of turn"), "{check}: {failure}"),
            Ok(()) => panic!("{check} passes a store that has no turns"),
        }
    }
}

#[test]
fn equal_models_agree_under_any_seed() {
    for seed in 2..6 {
        assert_eq!(compare(Bug::None, 50, seed), Ok(()), "seed {seed}");
    }
    assert!(compare(Bug::ForgetsSteps, 50, 2).is_err());
}
