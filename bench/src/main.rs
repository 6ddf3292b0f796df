//! What an operation costs, measured on this machine and written to `docs/benchmarks.md`.
//!
//! `cargo run --release -p orderlock-bench` builds the server, starts it in a folder of its own,
//! and loads it over HTTP from one thread, beside an axum handler that does nothing and the disk's
//! own flush. Servers are processes of their own, so that their processor time can be told apart.

#![allow(clippy::print_stdout, reason = "a benchmark shows what it measures")]

mod connection;
mod disk;
mod figures;
mod load;
mod machine;
mod peer;
mod report;
mod requests;
mod servers;
mod targets;
mod workloads;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

/// The server takes and gives back memory in several threads; what it is compared with shall not
/// lose by another allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures what an operation costs, and writes docs/benchmarks.md.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    server: Option<Peer>,
    /// How long each run is measured.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How many runs of each row; the median counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Only these workloads.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Workload>,
    /// How many orders the large store has.
    #[arg(long, default_value_t = 1_000_000)]
    growth: usize,
    /// One short run of each with small numbers: shows that everything works, and writes nothing.
    #[arg(long)]
    smoke: bool,
    /// Where the table is written.
    #[arg(long, default_value = "docs/benchmarks.md")]
    output: PathBuf,
}

/// The servers that are no `orderlock serve`: this program starts itself with one of these.
#[derive(Debug, Subcommand)]
enum Peer {
    /// A handler that does nothing.
    ServeNoop,
    /// A library server whose handler sleeps, over a file in the present folder.
    ServeSlow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Workload {
    Uniform,
    Hot,
    Replay,
    Slow,
    Growth,
}

/// How much is measured.
#[derive(Clone, Debug)]
struct Plan {
    time: Duration,
    warm_up: Duration,
    runs: usize,
    only: Vec<Workload>,
    orders: usize,
    growth: usize,
    in_flight: usize,
    profile: &'static str,
}

impl Plan {
    fn of(cli: &Cli) -> Self {
        if cli.smoke {
            return Self {
                time: Duration::from_secs(1),
                warm_up: Duration::from_millis(100),
                runs: 1,
                only: cli.only.clone(),
                orders: 200,
                growth: 2_000,
                in_flight: 200,
                profile: "ci",
            };
        }
        Self {
            time: Duration::from_secs(cli.seconds),
            warm_up: Duration::from_secs(1),
            runs: cli.runs.max(1),
            only: cli.only.clone(),
            orders: 10_000,
            growth: cli.growth,
            in_flight: 10_000,
            profile: "release",
        }
    }

    fn has(&self, workload: Workload) -> bool {
        self.only.is_empty() || self.only.contains(&workload)
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = match cli.server {
        Some(Peer::ServeNoop) => servers::noop::run(),
        Some(Peer::ServeSlow) => servers::slow::run(),
        None => measure(&cli),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("orderlock-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(cli: &Cli) -> Result<()> {
    let plan = Plan::of(cli);
    machine::allow_many_files()?;
    let measured = workloads::run(&plan)?;
    let text = report::document(&plan, &measured);
    println!("\n{text}");
    measured.fail_on_errors()?;
    if !cli.smoke && cli.only.is_empty() {
        std::fs::write(&cli.output, text)?;
        println!("written to {}", cli.output.display());
    }
    Ok(())
}
