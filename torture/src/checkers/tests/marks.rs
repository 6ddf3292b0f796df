//! Which marks are certainly open.

use orderlock_core::Recovery::Reconcile;
use orderlock_core::store::{Decision, MarkFate, Resolve, Resolved, Retention};
use orderlock_core::{Timestamp, Version};
use orderlock_testkit::fixtures::ids;

use super::script::{RESUME, Run, Script, in_doubt, lost, next, not_applied};

#[test]
fn a_mark_does_not_vanish() {
    let mut script = Script::default();
    let run = script.holds("a", Some(Reconcile));
    script.reads(1, Some(&run));
    script.is_well();
    script.reads(1, None);
    script.breaks("the open mark of -/a has vanished");
}

#[test]
fn a_settle_that_was_sent_may_have_ended_it() {
    let mut script = Script::default();
    let run = script.holds("a", Some(Reconcile));
    let settle = script.settles(&run, None);
    script.reads(1, None);
    script.settled(&settle, &Err(in_doubt()));
    script.reads(1, None);
    script.is_well();
}

#[test]
fn a_settle_that_was_not_applied_has_not_ended_it() {
    for told in [lost(), Err(not_applied())] {
        let mut script = Script::default();
        let run = script.holds("a", Some(Reconcile));
        let settle = script.settles(&run, None);
        script.settled(&settle, &told);
        script.reads(1, None);
        script.breaks("has vanished");
    }
}

#[test]
fn a_settle_that_was_taken_back_has_not_ended_it() {
    let mut script = Script::default();
    let run = script.holds("a", Some(Reconcile));
    let settle = script.settles(&run, None);
    script.accepted_early(&settle, None);
    script.reads(1, None);
    script.is_well();
    script.hardened(&settle, None, &Err(not_applied()));
    script.reads(1, None);
    script.breaks("has vanished");
}

#[test]
fn nobody_else_is_granted_over_it() {
    let mut script = Script::default();
    script.holds("a", Some(Reconcile));
    script.holds("b", None);
    script.breaks("-/b was granted over the open mark of -/a");
}

#[test]
fn others_are_granted_once_it_has_ended() {
    let mut script = Script::default();
    let run = script.holds("a", Some(Reconcile));
    script.ends(&run);
    let asked = script.asks("b", None);
    script.granted(asked, 2, 1);
    script.is_well();
}

#[test]
fn nobody_has_held_over_it() {
    let mut script = Script::default();
    // Asked for before there was a mark, so that the grant alone says nothing.
    let asked = script.asks("b", None);
    script.holds("a", Some(Reconcile));
    let other = script.granted(asked, 1, 1);
    script.is_well();
    script.ends(&other);
    script.breaks("-/b held the order over the open mark of -/a");
}

#[test]
fn a_hand_over_has_no_mark_before_it_is_durable() {
    let mut script = Script::default();
    let one = script.holds("a", None);
    let other = next(script.request("b", Some(Reconcile)), 2);
    let handing = script.settles(&one, Some(&other));
    script.accepted_early(&handing, Some(&other));
    script.reads(1, None);
    script.is_well();
    let fate = Ok(orderlock_core::store::Fate::Durable);
    script.hardened(&handing, Some(&other), &fate);
    script.reads(2, None);
    script.breaks("the open mark of -/b has vanished");
}

#[test]
fn a_run_is_resumed_as_the_next_attempt() {
    for (attempt, well) in [(1, false), (2, true)] {
        let mut script = Script::default();
        script.holds("a", Some(RESUME));
        let asked = script.asks("a", Some(RESUME));
        script.granted(asked, 1, attempt);
        if well {
            script.is_well();
        } else {
            script.breaks("was granted as attempt 1 after attempt 1");
        }
    }
}

#[test]
fn what_is_to_be_reconciled_does_not_run_again() {
    let mut script = Script::default();
    script.holds("a", Some(Reconcile));
    let asked = script.asks("a", Some(Reconcile));
    script.granted(asked, 1, 2);
    script.breaks("-/a was run again while its mark was open");
}

#[test]
fn an_undo_that_took_the_grant_back_took_its_mark_along() {
    for held in [true, false] {
        let mut script = Script::default();
        let run = script.holds("a", Some(Reconcile));
        let undo = script.undoes(&run);
        script.reads(1, None);
        script.is_well();
        script.undone(&undo, Ok(held));
        script.reads(1, None);
        if held {
            script.is_well();
        } else {
            script.breaks("has vanished");
        }
    }
}

#[test]
fn an_undo_that_nobody_answered_leaves_it_in_doubt() {
    let mut script = Script::default();
    let run = script.holds("a", Some(Reconcile));
    let undo = script.undoes(&run);
    script.undone(&undo, Err(in_doubt()));
    let again = script.undoes(&run);
    // The one before it may have done it.
    script.undone(&again, Ok(false));
    script.reads(1, None);
    script.is_well();
}

#[test]
fn an_undo_leaves_the_mark_of_the_run_before() {
    let mut script = Script::default();
    let first = script.holds("a", Some(RESUME));
    let asked = script.asks("a", Some(RESUME));
    let second = script.granted(asked, 1, 2);
    let undo = script.undoes(&second);
    script.undone(&undo, Ok(true));
    script.reads(1, Some(&first));
    script.is_well();
    script.reads(1, None);
    script.breaks("has vanished");
}

#[test]
fn a_release_clears_it_only_where_that_was_asked_for() {
    for (fate, well) in [(MarkFate::Clear, true), (MarkFate::Keep, false)] {
        let mut script = Script::default();
        let run = script.holds("a", Some(Reconcile));
        let release = script.releases(&run, fate);
        script.released(&release, Ok(true));
        script.reads(1, None);
        if well {
            script.is_well();
        } else {
            script.breaks("has vanished");
        }
    }
}

fn decision(run: &Run) -> Resolve {
    Resolve {
        target: run.asked.claim.target(),
        key_id: run.asked.claim.key_id,
        attempt: run.grant.attempt,
        since: Timestamp::UNIX_EPOCH,
        decision: Decision::RunAgain {
            retention: Retention::NONE,
        },
        actor: ids::principal("operator"),
        reason: "planned".into(),
    }
}

#[test]
fn a_decision_ends_it_only_where_it_was_carried_out() {
    let current = Version(2);
    for (told, well) in [
        (Resolved::NotMarked, false),
        (Resolved::VersionMismatch { current }, false),
    ] {
        let mut script = Script::default();
        let run = script.holds("a", Some(Reconcile));
        let decision = decision(&run);
        let sent = script.moment();
        script.book.resolves(&decision, sent);
        script.reads(1, None);
        script.is_well();
        let now = script.moment();
        script.book.resolved(&decision, &Ok(told), (sent, now));
        script.reads(1, None);
        if well {
            script.is_well();
        } else {
            script.breaks("has vanished");
        }
    }
}

#[test]
fn nobody_knows_of_a_mark_that_a_decision_may_have_met() {
    let mut script = Script::default();
    // The grant was made and lost, and its mark decided about, before its own node heard of it.
    let asked = script.asks("a", Some(Reconcile));
    let run = next(asked.clone(), 1);
    let decision = decision(&run);
    let sent = script.moment();
    script.book.resolves(&decision, sent);
    let now = script.moment();
    let receipt = orderlock_core::store::Receipt {
        number: 1,
        expires: Timestamp::MAX,
    };
    let told = Ok(Resolved::Resolved(receipt));
    script.book.resolved(&decision, &told, (sent, now));
    let run = script.granted(asked, 1, 1);
    script.reads(1, None);
    let settle = script.settles(&run, None);
    script.settled(&settle, &lost());
    script.reads(1, None);
    script.is_well();
}
