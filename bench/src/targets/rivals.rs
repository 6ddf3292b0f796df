//! What is aimed at on a PostgreSQL, beside the rivals.

use super::{Target, share_of_most};
use crate::Plan;
use crate::figures::Run;
use crate::subject::System;
use crate::workloads::Measured;

/// More connections to the database than this are too many for handlers that sleep.
const CONNECTIONS_MAX: i64 = 16;

pub(super) fn judge(plan: &Plan, measured: &Measured) -> Vec<Target> {
    let mut targets = uniform(measured);
    targets.extend(hot(measured));
    targets.extend(slow(plan, measured));
    targets.extend(replay(measured));
    targets.extend(nodes(measured));
    targets
}

/// Orderlock's run and that of the better rival, by throughput.
fn beside<'a>(
    measured: &'a Measured,
    name: &str,
    concurrency: usize,
) -> Option<(&'a Run, System, &'a Run)> {
    let ours = measured.run(System::OneNode, name, concurrency)?;
    let rivals = System::RIVALS.into_iter();
    let rivals = rivals.filter_map(|rival| Some((rival, measured.run(rival, name, concurrency)?)));
    let (rival, run) = rivals.max_by(|(_, one), (_, other)| one.rate.total_cmp(&other.rate))?;
    Some((ours, rival, run))
}

fn uniform(measured: &Measured) -> Vec<Target> {
    let mut targets = Vec::new();
    if let Some((ours, rival, run)) = beside(measured, "uniform", 256) {
        let times = ours.rate / run.rate;
        targets.push(Target {
            what: "PostgreSQL, uniform at 256: at least 3 times the better rival's throughput (the aim: 4)",
            figure: format!("{times:.1} times the {}", rival.name()),
            met: times >= 3.0,
        });
        if let (Some(ours), Some(theirs)) = (ours.whole_processor(), run.whole_processor()) {
            let share = ours / theirs * 100.0;
            targets.push(Target {
                what: "PostgreSQL, uniform at 256: at most a third of its processor time, the database's included \
                       (the aim: a fifth)",
                figure: format!("{share:.0} %"),
                met: share <= 100.0 / 3.0,
            });
        }
    }
    let lone = System::RIVALS.map(|rival| measured.run(rival, "uniform", 1));
    let ours = measured.run(System::OneNode, "uniform", 1);
    let theirs = lone.into_iter().flatten().map(|run| run.p50).min();
    if let (Some(ours), Some(theirs)) = (ours, theirs) {
        targets.push(Target {
            what: "PostgreSQL, uniform at 1: p50 not above that of the quicker rival",
            figure: format!("{} us of {theirs} us", ours.p50),
            met: ours.p50 <= theirs,
        });
    }
    targets
}

fn hot(measured: &Measured) -> Vec<Target> {
    let ours = measured.run(System::OneNode, "hot", 256);
    let theirs = measured.run(System::OneTransaction, "hot", 256);
    let (Some(ours), Some(theirs)) = (ours, theirs) else {
        return Vec::new();
    };
    let times = ours.rate / theirs.rate;
    let spread = ours.p99 as f64 / ours.p50 as f64;
    vec![
        Target {
            what: "PostgreSQL, hot at 256: at least 5 times the rival with one transaction",
            figure: format!("{times:.1} times"),
            met: times >= 5.0,
        },
        Target {
            what: "PostgreSQL, hot at 256: p99 at most 5 times p50",
            figure: format!("{spread:.1} times"),
            met: spread <= 5.0,
        },
    ]
}

fn slow(plan: &Plan, measured: &Measured) -> Vec<Target> {
    let mut targets = Vec::new();
    let slow = measured.run(System::OneNode, "slow", plan.shared_in_flight);
    let uniform = measured.run(System::OneNode, "uniform", 256);
    if let (Some(slow), Some(uniform)) = (slow, uniform) {
        let share = share_of_most(slow, plan.shared_in_flight, uniform);
        targets.push(Target {
            what: "PostgreSQL, slow: within 10 % of in-flight / 100 ms or of uniform, whichever is less",
            figure: format!("{share:.0} %"),
            met: share >= 90.0,
        });
    }
    if let Some(shared) = slow.and_then(|slow| slow.shared) {
        targets.push(Target {
            what: "PostgreSQL, slow: at most 16 connections to the database",
            figure: shared.connections.to_string(),
            met: shared.connections <= CONNECTIONS_MAX,
        });
    }
    targets
}

fn replay(measured: &Measured) -> Option<Target> {
    let (ours, rival, run) = beside(measured, "replay", 256)?;
    let times = ours.rate / run.rate;
    Some(Target {
        what: "PostgreSQL, replay at 256: at least 3 times the better rival's throughput",
        figure: format!("{times:.1} times the {}", rival.name()),
        met: times >= 3.0,
    })
}

fn nodes(measured: &Measured) -> Option<Target> {
    let one = measured.run(System::OneNode, "uniform", 256)?;
    let two = measured.run(System::TwoNodes, "uniform", 256)?;
    let share = two.rate / one.rate * 100.0;
    Some(Target {
        what: "PostgreSQL, uniform at 256: two nodes together not slower than one",
        figure: format!("{share:.0} %"),
        met: share >= 100.0,
    })
}
