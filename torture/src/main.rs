//! The torture: several nodes over a real store, clients that use every verb, faults at the store, at
//! the nodes and on the way between, and checkers that know the promises.
//!
//! `cargo xtask torture` finds the servers' programs and runs it; `docs/how-to/run-the-torture.md`
//! says more.

mod checkers;
mod clients;
mod clock;
mod faults;
mod full;
mod ledger;
mod node;
mod pace;
mod plan;
mod planted;
mod report;
mod run;
mod scene;
mod stalls;
mod stores;
mod tale;
mod verdict;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use orderlock_core::{Runtime as _, TokioRuntime};

use plan::Plan;
use planted::Planted;
use report::Report;
use stores::Kind;
use verdict::verdict;

/// Tortures a store, and tells whether its promises held.
#[derive(Debug, Parser)]
struct Cli {
    /// Only this store; all of them if none is named.
    #[arg(long, value_enum)]
    store: Option<Kind>,
    /// How long each run lasts. The first round of faults is played to its end.
    #[arg(long, default_value_t = 90)]
    seconds: u64,
    /// What clients and faults are drawn from; another one each time if none is named.
    #[arg(long)]
    seed: Option<u64>,
    /// Takes one cure out of its store: then a promise must be found broken.
    #[arg(long, value_enum)]
    plant: Option<Planted>,
    /// Leaves a kind of fault out, by its name in the table; once for each. Such a run looks past a
    /// fault that is known, and proves less.
    #[arg(long)]
    without: Vec<String>,
}

/// A node that vanishes may be in the middle of something, which then finds its timers gone.
const VANISHED: &str = "it is being shutdown";

fn main() -> ExitCode {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let words = panic.payload_as_str().unwrap_or_default();
        if !words.contains(VANISHED) {
            told(panic);
        }
    }));
    match torture(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let red = format!("RED: {error:#}");
            // Where the table cannot be told, the verdict may still reach somebody.
            if say(&red).is_err() {
                let _nobody_reads = writeln!(io::stderr(), "{red}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Tells a line. The disk is no longer full as a part of the run, whoever may still have it so.
fn say(line: &str) -> io::Result<()> {
    full::lift();
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

fn torture(cli: &Cli) -> Result<()> {
    let seed = cli.seed.unwrap_or_else(|| {
        let random = TokioRuntime.random();
        u64::try_from(random % 1_000_000_000).unwrap_or(0)
    });
    let stores = match (cli.plant, cli.store) {
        (Some(planted), _) => vec![planted.store()],
        (None, Some(store)) => vec![store],
        (None, None) => Kind::ALL.to_vec(),
    };
    if let Some(planted) = cli.plant {
        planted.plant();
    }
    for store in stores {
        let length = Duration::from_secs(cli.seconds);
        let plan = Plan {
            without: cli.without.clone(),
            ..Plan::new(seed, store, length, cli.plant)
        };
        judge(&plan)?;
    }
    Ok(())
}

/// Runs a plan, and says what it found.
fn judge(plan: &Plan) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(run::run(plan.clone()));
    // What goes wrong in this process ends with the tasks that deal it.
    runtime.shutdown_timeout(Duration::from_secs(5));
    let outcome = outcome?;
    let report = Report {
        plan,
        outcome: &outcome,
    };
    say(&report.to_string())?;
    let verdict = verdict(plan, &outcome);
    if verdict.is_err() {
        say("what happened last:")?;
        for line in &outcome.pages.lines {
            say(line)?;
        }
    }
    say(&verdict?)?;
    Ok(())
}
