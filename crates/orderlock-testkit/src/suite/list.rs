//! The lists of checks, and the macro that makes tests of them.

/// Calls a macro of this crate with the list of checks that every store must pass.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_check {
    ($callback:ident, $($argument:tt)*) => {
        $crate::$callback! {
            $($argument)*;
            sessions:
                the_first_secret_stays,
                a_restarted_node_frees_its_own_leases,
                a_repeated_join_voids_nothing,
                renewing_keeps_a_session_alive,
                renewing_voids_what_the_node_does_not_know,
                a_renewal_names_what_was_broken,
                what_is_broken_on_its_way_is_named_when_it_is_known,
                an_unknown_lease_keeps_its_mark,
                a_session_is_not_ended_by_the_clock_alone,
                a_clock_that_is_set_ends_no_session,
                a_settle_before_the_sweep_is_good,
                sweeping_ends_what_is_lapsed,
                a_small_sweep_comes_to_its_end,
                leaving_frees_everything_and_repeats,
                an_ended_session_gets_nothing_new;
            create:
                makes_an_order_at_version_one,
                a_repeat_gets_the_first_answer,
                the_key_stands_for_one_request,
                a_key_makes_one_order_whatever_its_id,
                a_taken_id_uses_up_no_key,
                one_of_many_ids_makes_it,
                one_of_many_equal_requests_makes_it,
                the_order_is_the_tombstone,
                its_key_is_settled_for_the_order,
                too_large_a_document_is_not_taken;
            acquire:
                grants_a_free_order,
                repeats_the_same_grant,
                tells_others_who_holds_it,
                orders_are_held_one_by_one,
                a_settled_key_wins_over_everything,
                another_callers_same_key_is_another_key,
                another_orders_same_key_is_another_key,
                compares_the_expected_version_at_the_grant,
                knows_what_is_not_there,
                a_failed_key_leaves_nothing;
            settle:
                changes_records_and_unlocks,
                a_refusal_changes_nothing_and_is_kept,
                every_kind_of_outcome_is_kept,
                answers_are_kept_byte_for_byte,
                documents_are_kept_as_written,
                only_the_grants_fence_may,
                the_impossible_frees_the_order;
            transitions:
                requests_come_to_what_the_table_says,
                the_words_of_holders_come_to_what_the_table_says,
                the_acts_of_others_come_to_what_the_table_says;
            release:
                frees_the_order_without_a_trace,
                repeats_without_harm,
                hands_over_only_what_it_held,
                passes_over_a_next_that_needs_no_grant,
                keeps_the_mark_or_clears_it,
                a_mark_that_stays_passes_the_next_over;
            undo:
                a_plain_grant_leaves_the_order_free,
                a_first_mark_goes_with_its_grant,
                an_earlier_runs_mark_stands_as_it_did,
                it_hands_over_with_every_check,
                another_grant_is_not_touched,
                what_a_step_has_written_stays;
            checkpoints:
                keeps_the_lease_and_moves_the_order,
                is_never_an_answer,
                the_next_run_is_given_the_last_one,
                a_key_with_progress_stands_for_one_request,
                a_repeat_is_applied_once,
                a_repeat_is_not_the_final_settle,
                steps_come_in_their_order;
            handover:
                grants_the_state_that_the_settle_leaves,
                a_repeat_is_the_same_hand_over,
                a_long_chain_loses_nothing,
                passes_over_a_settled_key,
                passes_over_the_very_key_that_settles,
                passes_over_a_reused_key,
                passes_over_another_version,
                passes_over_an_ended_session,
                carries_a_mark,
                a_lost_settle_hands_nothing_over;
            marks:
                the_grant_writes_it_durably,
                a_final_settle_ends_it,
                a_checkpoint_leaves_it,
                a_void_lease_leaves_it,
                others_are_told_what_stands,
                its_own_key_resumes_so_many_times,
                its_own_key_resumes_for_so_long,
                a_resumed_run_settles_for_its_key,
                a_key_without_a_mark_of_its_own_does_not_resume;
            operator:
                leases_and_marks_are_listed,
                breaking_voids_one_grant_with_a_reason,
                breaking_does_not_end_a_mark,
                a_cleared_mark_lets_the_key_run_again,
                a_cleared_mark_binds_its_key,
                a_cleared_mark_forgets_no_checkpoint,
                a_resolution_settles_in_the_name_of_the_key,
                a_decision_on_another_state_is_not_carried_out,
                a_decision_ends_no_mark_of_another_run,
                an_attended_mark_is_not_resolved,
                the_end_of_a_mark_is_found;
            views:
                lists_newest_first_in_pages,
                lists_by_equality,
                locked_means_held_by_a_live_lease,
                pages_hold_while_orders_are_made,
                histories_come_in_pages,
                says_what_it_is,
                hints_name_only_what_was_let_go,
                readers_see_only_whole_states,
                what_was_answered_survives_a_restart;
            bounds:
                no_limit_stops_or_breaks_a_reader,
                a_foreign_cursor_is_refused;
            journal:
                is_the_same_in_any_pieces,
                is_made_of_the_orders_histories,
                folds_to_the_orders,
                says_everything_once_to_one_who_follows,
                skips_nothing_under_load,
                keys_and_answers_of_an_operator_are_nobodys;
            retention:
                an_answer_is_kept_for_its_time,
                past_its_time_it_counts_as_expired_at_once,
                the_record_outlives_its_answer,
                after_its_tombstone_a_key_is_unknown,
                each_settle_brings_its_own_time,
                ends_in_small_batches,
                tombstones_do_not_wait_for_answers,
                says_how_far_behind_it_is,
                a_clock_that_is_ahead_for_a_moment_ends_nothing,
                a_new_time_is_believed_when_it_has_held,
                a_clock_that_is_ahead_at_the_start_ends_nothing,
                what_is_settled_while_the_clock_is_behind_is_kept;
            tenants:
                another_tenants_order_is_not_there,
                another_tenant_changes_nothing,
                another_tenant_resolves_nothing,
                the_same_id_is_an_order_in_each;
            fences:
                after_a_release,
                after_a_break,
                after_a_sweep,
                after_a_leave,
                under_the_same_key,
                after_a_restart,
                another_grant_of_the_same_node;
            repeats:
                of_a_create,
                of_an_acquire,
                of_a_settle,
                of_a_refusal,
                of_a_settle_with_a_mark,
                of_a_hand_over,
                of_a_renewal,
                of_an_operators_acts,
                of_verbs_whose_caller_went_away;
            race:
                many_increments_end_at_their_number,
                many_runs_of_one_key_have_one_effect,
                orders_do_not_disturb_each_other,
                one_of_many_settles_of_a_grant_is_written,
                chains_and_newcomers_share_an_order,
                a_settle_and_a_sweep_agree,
                leases_voided_at_any_moment_do_no_damage;
            model:
                says_and_shows_the_same;
        }
    };
}

/// Calls a macro of this crate with the list of checks that a store must pass as well if several
/// processes share it.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_shared_check {
    ($callback:ident, $($argument:tt)*) => {
        $crate::$callback! {
            $($argument)*;
            turns:
                a_long_line_on_one_node_lets_another_in,
                requests_that_do_not_stand_in_line_let_another_node_in,
                an_order_is_not_kept_for_one_that_has_gone,
                nodes_that_wait_have_their_turns_in_the_order_in_which_they_came,
                a_holder_that_takes_long_sees_who_has_come_since_its_grant,
                a_release_that_hands_over_lets_another_node_in;
        }
    };
}

/// Makes one test of each check of the suite, for the store itself (`direct`) and for an
/// `Arc<dyn OrderStore>` used as a store (`pointer`).
///
/// The argument is an expression that gives a [`StoreFactory`](crate::StoreFactory); it is
/// evaluated once for each test. The tests need nothing else: no runtime, no attribute.
/// `orderlock_testkit::conformance!(MyFactory);` is the whole of such a test file beside the factory.
///
/// A store that several processes share writes `conformance!(shared: MyFactory);`. It is then
/// opened several times in one place, and must keep turns between its nodes too.
#[macro_export]
macro_rules! conformance {
    (shared: $factory:expr) => {
        $crate::conformance_doors!($factory; for_each_check, for_each_shared_check);
    };
    ($factory:expr) => {
        $crate::conformance_doors!($factory; for_each_check);
    };
}

/// Makes the tests of some lists, for both doors.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_doors {
    ($factory:expr; $($list:ident),+) => {
        mod direct {
            #[allow(unused_imports)]
            use super::*;
            $($crate::$list!(conformance_tests, $factory, Direct);)+
        }
        mod pointer {
            #[allow(unused_imports)]
            use super::*;
            $($crate::$list!(conformance_tests, $factory, Pointer);)+
        }
    };
}

/// Makes the tests of one list, for one door.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ($factory:expr, $door:ident; $($module:ident: $($check:ident),+ $(,)?;)+) => {
        $(mod $module {
            #[allow(unused_imports)]
            use super::*;
            $(#[test]
            fn $check() {
                $crate::suite::run(
                    $factory,
                    $crate::suite::Door::$door,
                    concat!(stringify!($module), "::", stringify!($check)),
                );
            })+
        })+
    };
}

/// Makes the table that the checks of one list are found in by name.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_table {
    ($(#[$about:meta])* $checks:ident, $find:ident; $($module:ident: $($check:ident),+ $(,)?;)+) => {
        fn $find(name: &str) -> Option<Check> {
            match name {
                $($(concat!(stringify!($module), "::", stringify!($check)) =>
                    Some(|world| $module::$check(world).boxed()),)+)+
                _ => None,
            }
        }

        $(#[$about])*
        pub const $checks: &[&str] =
            &[$($(concat!(stringify!($module), "::", stringify!($check)),)+)+];
    };
}
