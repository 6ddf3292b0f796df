//! What is aimed at, and whether it was met.

mod rivals;

use crate::Plan;
use crate::figures::Run;
use crate::subject::System;
use crate::workloads::{Measured, SLEEP};

/// One target: what, the figure, the bound, and whether it was met.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) what: &'static str,
    pub(crate) figure: String,
    pub(crate) met: bool,
}

const KIBIBYTE: f64 = 1_024.0;
const MEBIBYTE: f64 = KIBIBYTE * KIBIBYTE;

pub(crate) fn judge(plan: &Plan, measured: &Measured) -> Vec<Target> {
    let run = |name, concurrency| measured.run(System::Embedded, name, concurrency);
    let idle = |concurrency| measured.run(System::Noop, "no-op", concurrency);
    let mut targets = Vec::new();
    let (noop, uniform) = (idle(256), run("uniform", 256));
    if let (Some(noop), Some(uniform)) = (noop, uniform) {
        let share = uniform.rate / noop.rate * 100.0;
        targets.push(Target {
            what: "uniform at 256: at least 20 % of the no-op's throughput",
            figure: format!("{share:.0} %"),
            met: share >= 20.0,
        });
        let times = uniform.processor / noop.processor;
        targets.push(Target {
            what: "uniform at 256: at most 6 times the no-op's processor time",
            figure: format!("{times:.1} times"),
            met: times <= 6.0,
        });
    }
    if let (Some(noop), Some(uniform)) = (idle(1), run("uniform", 1)) {
        targets.push(lone(measured, noop, uniform));
    }
    if let (Some(hot), Some(uniform)) = (run("hot", 256), uniform) {
        let share = hot.rate / uniform.rate * 100.0;
        targets.push(Target {
            what: "hot at 256: at least half of uniform",
            figure: format!("{share:.0} %"),
            met: share >= 50.0,
        });
        let spread = hot.p99 as f64 / hot.p50 as f64;
        targets.push(Target {
            what: "hot at 256: p99 at most 5 times p50",
            figure: format!("{spread:.1} times"),
            met: spread <= 5.0,
        });
    }
    if let (Some(noop), Some(replay)) = (noop, run("replay", 256)) {
        let share = replay.rate / noop.rate * 100.0;
        targets.push(Target {
            what: "replay at 256: at least 60 % of the no-op's throughput",
            figure: format!("{share:.0} %"),
            met: share >= 60.0,
        });
    }
    targets.extend(slow(plan, measured, uniform));
    targets.extend(growth(measured, uniform));
    targets.extend(rivals::judge(plan, measured));
    targets.extend(old_pattern(measured));
    targets
}

fn old_pattern(measured: &Measured) -> Option<Target> {
    let ours = measured.run(System::MongodbNode, "uniform", 1)?;
    let theirs = measured.run(System::OldPattern, "uniform", 1)?;
    let share = ours.rate / theirs.rate * 100.0;
    Some(Target {
        what: "MongoDB, uniform at 1: not slower than the old pattern",
        figure: format!("{share:.0} %"),
        met: share >= 100.0,
    })
}

fn lone(measured: &Measured, noop: &Run, uniform: &Run) -> Target {
    let flush = measured.flushes.overwriting.value_at_quantile(0.5);
    let most = noop.p50 + 2 * flush;
    Target {
        what: "uniform at 1: p50 within the no-op's plus two flushes",
        figure: format!("{} us of {most} us", uniform.p50),
        met: uniform.p50 <= most,
    }
}

fn slow(plan: &Plan, measured: &Measured, uniform: Option<&Run>) -> Vec<Target> {
    let mut targets = Vec::new();
    let slow = measured.run(System::Embedded, "slow", plan.in_flight);
    if let (Some(slow), Some(uniform)) = (slow, uniform) {
        let share = share_of_most(slow, plan.in_flight, uniform);
        targets.push(Target {
            what: "slow: within 10 % of in-flight / 100 ms or of uniform, whichever is less",
            figure: format!("{share:.0} %"),
            met: share >= 90.0,
        });
    }
    if let Some(bytes) = measured.in_flight {
        let kibibytes = bytes as f64 / KIBIBYTE;
        targets.push(Target {
            what: "slow: at most 10 KiB of memory for each operation in flight",
            figure: format!("{kibibytes:.1} KiB"),
            met: kibibytes <= 10.0,
        });
    }
    targets
}

/// How much of what so many operations in flight could reach was reached, in percent.
fn share_of_most(slow: &Run, in_flight: usize, uniform: &Run) -> f64 {
    let most = (in_flight as f64 / SLEEP.as_secs_f64()).min(uniform.rate);
    slow.rate / most * 100.0
}

fn growth(measured: &Measured, uniform: Option<&Run>) -> Vec<Target> {
    let mut targets = Vec::new();
    let growth = measured.run(System::Embedded, "growth", 256);
    if let (Some(growth), Some(uniform)) = (growth, uniform) {
        let times = growth.processor / uniform.processor;
        targets.push(Target {
            what: "growth: processor time for each operation within 1.3 times that at 10,000 orders",
            figure: format!("{times:.2} times"),
            met: times <= 1.3,
        });
        let mebibytes = growth.resident as f64 / MEBIBYTE;
        targets.push(Target {
            what: "growth: under 150 MiB of memory",
            figure: format!("{mebibytes:.0} MiB"),
            met: mebibytes < 150.0,
        });
    }
    targets
}
