//! What an operation costs, measured on this machine and written to `docs/benchmarks.md`.
//!
//! `cargo run --release -p orderlock-bench` builds the server, starts it in a folder of its own,
//! and loads it over HTTP from one thread, beside an axum handler that does nothing and the disk's
//! own flush; then on a PostgreSQL and a MongoDB, if it is given them, beside what one would write
//! by hand. Servers are separate processes, so that their processor time can be measured
//! separately.

#![allow(clippy::print_stdout, reason = "a benchmark shows what it measures")]

mod connection;
mod database;
mod disk;
mod documents;
mod figures;
mod load;
mod machine;
mod peer;
#[path = "../peers/mod.rs"]
mod peers;
mod plan;
mod report;
mod requests;
mod rest;
mod servers;
mod subject;
mod targets;
mod workloads;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use plan::{Plan, Workload};

/// The server takes and gives back memory in several threads; what it is compared with shall not
/// lose by another allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures what an operation costs, and writes docs/benchmarks.md.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    server: Option<Server>,
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
    /// The address of a PostgreSQL for the workloads that share one: a superuser's, without TLS.
    /// Each system gets a schema of its own, which is dropped afterwards.
    #[arg(long, env = "ORDERLOCK_TEST_POSTGRES_URL", hide_env_values = true)]
    postgres: Option<String>,
    /// The address of a MongoDB, without a database. Each system gets one of its own, which is
    /// dropped afterwards.
    #[arg(long, env = "ORDERLOCK_TEST_MONGODB_URI", hide_env_values = true)]
    mongodb: Option<String>,
    /// After how many operations to look at the tables of the PostgreSQL, with 5,000,000 in mind.
    #[arg(long, default_value_t = 0)]
    bloat: u64,
    /// One short run of each with small numbers: shows that everything works, and writes nothing.
    #[arg(long)]
    smoke: bool,
    /// Where the table is written.
    #[arg(long, default_value = "docs/benchmarks.md")]
    output: PathBuf,
}

/// The servers that are no `orderlock serve`: this program starts itself with one of these.
#[derive(Debug, Subcommand)]
enum Server {
    /// A handler that does nothing.
    #[command(name = "serve-noop")]
    Noop,
    /// A library server whose handler sleeps, over a file in the present folder or a PostgreSQL.
    #[command(name = "serve-slow")]
    Slow(Store),
    /// A rival: one transaction round the handler.
    #[command(name = "serve-one-transaction")]
    OneTransaction(Store),
    /// A rival: one transaction before the handler, and one after it.
    #[command(name = "serve-two-transactions")]
    TwoTransactions(Store),
    /// A rival: the old pattern, on a MongoDB.
    #[command(name = "serve-old-pattern")]
    OldPattern(Store),
}

/// What a server keeps its orders in.
#[derive(Debug, Args)]
struct Store {
    /// The address of a database.
    #[arg(long, env = peer::STORE, hide_env_values = true)]
    store: Option<String>,
    /// How many orders it makes for handlers that sleep.
    #[arg(long, default_value_t = 0)]
    sleepers: usize,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = match &cli.server {
        Some(Server::Noop) => servers::noop::run(),
        Some(Server::Slow(store)) => servers::slow::run(store),
        Some(Server::OneTransaction(store)) => peers::one_transaction::run(store),
        Some(Server::TwoTransactions(store)) => peers::two_transactions::run(store),
        Some(Server::OldPattern(store)) => peers::old_pattern::run(store),
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
    let plan = Plan::of(cli)?;
    let left_out = plan.left_out();
    for part in &left_out {
        println!("{part}");
    }
    machine::allow_many_files()?;
    let measured = workloads::run(&plan)?;
    let text = report::document(&plan, &measured);
    println!("\n{text}");
    measured.fail_on_errors()?;
    if !cli.smoke && plan.is_full() {
        std::fs::write(&cli.output, text)?;
        println!("written to {}", cli.output.display());
    }
    for part in &left_out {
        println!("{part}");
    }
    Ok(())
}
