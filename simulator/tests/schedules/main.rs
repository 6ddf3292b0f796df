//! Random schedules of several nodes over one store, from seeds; and the model of the lock that each
//! of them is held against, itself taken through every order of events.
//!
//! `ORDERLOCK_SCHEDULES=n` runs so many instead of the default; `ORDERLOCK_SEED=n` runs one alone
//! and prints what happened.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "these are tests: they fail loudly and say what they did"
)]

mod buggy;
mod bugs;
mod model;
mod numbers;
mod recorded;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use orderlock_simulator::{self as simulator, Coverage, Plan, Report};

/// Seeds that have failed once are run for ever, before all others.
const FAILED_ONCE: &str = include_str!("seeds.txt");

/// As many as take well under two minutes on two cores in the `ci` profile. Each is run twice and held
/// against the model.
const SCHEDULES: u64 = 80_000;

/// On average everything is met at least once in so many.
const MEETS_ALL: u64 = 10_000;

/// Runs a seed twice: the same seed is the same run.
fn checked(seed: u64) -> Report {
    let report = simulator::run(Plan::of(seed));
    let again = simulator::run(Plan::of(seed));
    let plan = Plan::of(seed);
    let alone = format!(
        "ORDERLOCK_SEED={seed} cargo test -p orderlock-simulator --test schedules every_schedule"
    );
    assert!(
        report.violations.is_empty(),
        "seed {seed}: {:#?}\n{plan:#?}\nrun it alone: {alone}",
        report.violations
    );
    assert_eq!(
        recorded::refusal(&report.events),
        None,
        "seed {seed}: the model disagrees\n{plan:#?}\nrun it alone: {alone}"
    );
    assert_eq!(
        report.hash, again.hash,
        "seed {seed} made two different runs\n{plan:#?}\nrun it alone: {alone}"
    );
    report
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is not a number")),
    )
}

fn failed_once() -> impl Iterator<Item = u64> {
    let lines = FAILED_ONCE
        .lines()
        .map(|line| line.split('#').next().unwrap_or("").trim());
    lines
        .filter(|line| !line.is_empty())
        .map(|line| line.parse().unwrap())
}

/// Runs schedules on every core; each takes the next seed.
fn many(count: u64) -> (Coverage, u64) {
    let next = AtomicU64::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let (mut coverage, mut polls) = (Coverage::default(), 0);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= count {
                return (coverage, polls);
            }
            let report = checked(seed);
            coverage.add(&report.coverage);
            polls += report.polls;
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let mut all = (Coverage::default(), 0);
        for worker in workers {
            let (coverage, polls) = worker.join().expect("a schedule failed: see above");
            all.0.add(&coverage);
            all.1 += polls;
        }
        all
    })
}

#[test]
fn every_schedule_keeps_every_promise() {
    if let Some(seed) = number("ORDERLOCK_SEED") {
        let report = simulator::run_traced(Plan::of(seed));
        report.trace.iter().for_each(|line| println!("{line}"));
        let again = simulator::run_traced(Plan::of(seed));
        let mut pairs = report.trace.iter().zip(&again.trace);
        if let Some((one, other)) = pairs.find(|(one, other)| one != other) {
            println!("the second run says {other:?} where the first said {one:?}");
        }
        checked(seed);
        return;
    }
    failed_once().for_each(|seed| drop(checked(seed)));
    let count = number("ORDERLOCK_SCHEDULES").unwrap_or(SCHEDULES);
    let begun = Instant::now();
    let (coverage, polls) = many(count);
    let took = begun.elapsed().as_secs_f64();
    let each = f64::from(u32::try_from(2 * count).unwrap_or(u32::MAX)) / took;
    println!("{count} schedules, each run twice, in {took:.1} s: {each:.0} runs per second");
    println!("{polls} polls\n{coverage}");
    // A few runs need not meet everything.
    let missing = coverage.missing(count / MEETS_ALL);
    assert_eq!(missing, Vec::<String>::new(), "too seldom met");
}
