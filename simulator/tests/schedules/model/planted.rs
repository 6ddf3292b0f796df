//! Rules that are missing: without each of them a promise breaks, and the model finds how.

use stateright::{Checker as _, HasDiscoveries, Model as _};

use super::explore;
use super::properties::Promise;
use super::rules::{Rule, Rules};
use super::system::{Bounds, System};

/// In some order of events the system breaks this promise.
fn breaks(system: System, promise: Promise) {
    let (rules, name) = (system.rules, promise.name());
    let found = HasDiscoveries::AnyOf([name].into());
    let checker = system.checker().finish_when(found).spawn_bfs().join();
    match checker.discovery(name) {
        Some(path) => println!(
            "{rules:?}, not so: {name}, after {:#?}",
            path.into_actions()
        ),
        None => panic!("{rules:?}: {name}, all the same"),
    }
}

fn breaks_without(rules: &'static [Rule], system: System, promise: Promise) {
    let rules = Rules::without(rules);
    breaks(System { rules, ..system }, promise);
}

#[test]
fn a_settle_must_ask_for_its_fence() {
    let without = &[Rule::SettleAsksFence];
    breaks_without(without, System::plain(), Promise::Disowned);
}

/// Fence and step alone keep a holder right, but for one that a late copy of its `acquire` has
/// granted the order once more.
#[test]
fn a_settle_must_ask_for_its_version() {
    let without = &[Rule::SettleAsksVersion];
    breaks_without(without, System::plain(), Promise::NoStaleWrite);
}

#[test]
fn a_settle_must_name_its_step() {
    let without = &[Rule::SettleNamesStep];
    let system = System::with_checkpoints();
    breaks_without(without, system, Promise::ToldIsDurable);
}

#[test]
fn a_grant_must_look_its_key_up_itself() {
    let without = &[Rule::GrantLooksKeyUp];
    breaks_without(without, System::plain(), Promise::AnsweredKey);
}

/// The settle looks at the key once more: it takes two missing rules to apply a key twice.
#[test]
fn a_settle_must_ask_for_its_key_where_the_grant_has_not() {
    let without = &[Rule::GrantLooksKeyUp, Rule::SettleAsksKey];
    breaks_without(without, System::plain(), Promise::OneEffect);
    let rules = Rules::without(&[Rule::SettleAsksKey]);
    let alone = System {
        rules,
        ..System::plain()
    };
    explore(alone, &[]);
}

#[test]
fn a_grant_must_ask_who_holds_the_order() {
    let without = &[Rule::GrantAsksHolder];
    breaks_without(without, System::plain(), Promise::OneHolder);
}

/// Nobody ends the leases of a session that has ended.
#[test]
fn a_grant_must_ask_for_its_session() {
    let without = &[Rule::GrantAsksSession];
    breaks_without(without, System::plain(), Promise::NeverStuck);
}

#[test]
fn a_release_must_ask_for_its_fence() {
    let without = &[Rule::ReleaseAsksFence];
    breaks_without(without, System::plain(), Promise::OwnRelease);
}

#[test]
fn a_failure_must_leave_the_mark() {
    let without = &[Rule::FailureKeepsMark];
    breaks_without(without, System::with_marks(), Promise::OpenEffect);
}

#[test]
fn a_renewal_must_void_what_its_node_does_not_know() {
    let without = &[Rule::RenewalVoidsTheUnknown];
    breaks_without(without, System::plain(), Promise::NeverStuck);
}

#[test]
fn an_answer_must_wait_for_its_flush() {
    let without = &[Rule::AnswersWait];
    breaks_without(without, System::plain(), Promise::ToldIsDurable);
    breaks_without(without, System::plain(), Promise::OneAnswer);
}

#[test]
fn a_grant_must_wait_for_the_flush_of_its_mark() {
    let without = &[Rule::GrantsWait];
    breaks_without(without, System::with_marks(), Promise::OpenEffect);
}

#[test]
fn only_a_pure_operation_may_begin_before_the_flush() {
    let without = &[Rule::OnlyPureBeginsEarly];
    breaks_without(without, System::with_marks(), Promise::Ground);
}

#[test]
fn a_failure_must_wait_for_its_ground() {
    let without = &[Rule::FailuresWait];
    breaks_without(without, System::with_lines(), Promise::Ground);
}

/// The seam's own limit, which it documents: a lease that has ended may be granted again by a late
/// copy of its `acquire`, and a late copy of its settle then goes through, although the client was
/// told that nothing was applied. It takes two copies, and a retry still finds one effect.
#[test]
fn two_late_copies_are_what_the_seam_does_not_guard_against() {
    let bounds = Bounds {
        runs: 1,
        faults: 3,
        late: 2,
    };
    let system = System {
        bounds,
        ..System::plain()
    };
    breaks(system, Promise::Disowned);
}
