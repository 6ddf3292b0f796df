//! Runs everything that the project checks: `cargo xtask test`.
#![allow(
    clippy::print_stdout,
    reason = "a task runner speaks to the person in front of it"
)]

mod cargo;
mod examples;
mod postgres;
mod process;
mod steps;
mod tidy;
mod tools;
mod walkthrough;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cargo::Workspace;
use crate::steps::{Part, Step};

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
        /// What to leave unchecked, on a machine that cannot check it. Never in CI.
        #[arg(long, value_enum)]
        without: Option<Part>,
    },
}

fn main() -> ExitCode {
    let Task::Test { step, without } = Arguments::parse().task;
    let steps = step.map_or_else(|| Step::ALL.to_vec(), |one| vec![one]);
    match Workspace::find().and_then(|workspace| steps::run(&steps, without, &workspace)) {
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
