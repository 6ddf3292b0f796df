//! Runs everything that the project checks: `cargo xtask test`.
#![allow(
    clippy::print_stdout,
    reason = "a task runner speaks to the person in front of it"
)]

mod cargo;
mod debian;
mod examples;
mod guard;
mod mongodb;
mod parts;
mod postgres;
mod process;
mod python;
mod server;
mod steps;
mod tidy;
mod tools;
mod torture;
mod walkthrough;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::cargo::Workspace;
use crate::parts::Part;
use crate::postgres::Edition;
use crate::steps::Step;

/// Runs everything that the project checks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Checks everything, or one step of it.
    Test {
        /// The one step to run; all of them if none is named.
        step: Option<Step>,
        /// What to leave unchecked, on a machine that cannot check it; once for each. Never in CI.
        #[arg(long, value_enum)]
        without: Vec<Part>,
    },
    /// Tortures the stores: nodes, clients and faults of every kind over real servers, for as long
    /// as is wished.
    Torture(torture::Wish),
    /// Runs one command beside the servers that its tests need, such as
    /// `cargo xtask with mongodb -- cargo test -p orderlock-mongodb`.
    With {
        /// The parts whose servers are started.
        #[arg(value_enum, required = true)]
        parts: Vec<Part>,
        /// Which PostgreSQL.
        #[arg(long, value_enum, default_value_t)]
        postgres: Edition,
        /// The command and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let task = Arguments::parse().task;
    match Workspace::find().and_then(|workspace| run(task, &workspace)) {
        Ok(summary) => {
            println!("\n{summary}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("\nFAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task, workspace: &Workspace) -> Result<String> {
    match task {
        Task::Test { step, without } => {
            let steps = step.map_or_else(|| Step::ALL.to_vec(), |one| vec![one]);
            steps::run(&steps, &without, workspace)
        }
        Task::Torture(wish) => torture::by_hand(&wish, workspace),
        Task::With {
            parts,
            postgres,
            command,
        } => parts::run_with(&parts, postgres, &command, workspace),
    }
}
