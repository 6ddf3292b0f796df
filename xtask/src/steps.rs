//! The steps of the test command, their order, and what is told about each.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use clap::ValueEnum;

use crate::cargo::Workspace;
use crate::postgres;
use crate::process::Process;
use crate::tools::{self, Tool};
use crate::{examples, tidy, walkthrough};

/// One step of the test command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// The formatting, by rustfmt.
    Fmt,
    /// The compiler's and clippy's warnings, as errors.
    Clippy,
    /// The laws of this project that no other tool knows.
    Tidy,
    /// Unit, integration and documentation tests, then every example.
    Tests,
    /// The documentation, with its warnings as errors.
    Docs,
    /// Every command of README.md, against a real server.
    Walkthrough,
    /// Each benchmark for a second: that it works, not what it measures.
    Bench,
}

impl Step {
    /// Every step, in the order in which they run.
    pub(crate) const ALL: [Self; 7] = [
        Self::Fmt,
        Self::Clippy,
        Self::Tidy,
        Self::Tests,
        Self::Docs,
        Self::Walkthrough,
        Self::Bench,
    ];

    /// The word for it on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::Tidy => "tidy",
            Self::Tests => "tests",
            Self::Docs => "docs",
            Self::Walkthrough => "walkthrough",
            Self::Bench => "bench",
        }
    }

    fn tools(self) -> &'static [Tool] {
        match self {
            Self::Fmt => &[Tool::Rustfmt],
            Self::Clippy => &[Tool::Clippy, Tool::Compiler],
            Self::Tidy => &[],
            Self::Docs | Self::Bench => &[Tool::Compiler],
            Self::Tests | Self::Walkthrough => &[Tool::Compiler, Tool::Bash, Tool::Curl],
        }
    }

    /// Whether it asks a PostgreSQL.
    fn asks_postgres(self) -> bool {
        matches!(self, Self::Tests | Self::Bench)
    }

    fn run(self, workspace: &Workspace, postgres: Option<&postgres::Programs>) -> Result<()> {
        match self {
            Self::Fmt => workspace.fmt(),
            Self::Clippy => workspace.clippy(),
            Self::Tidy => tidy::run(workspace),
            Self::Tests => tests(workspace, postgres),
            Self::Docs => workspace.doc(),
            Self::Walkthrough => walkthrough::run(workspace),
            Self::Bench => bench(workspace, postgres),
        }
    }
}

/// A part that may be left unchecked where it cannot be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The tests of orderlock-postgres and the benchmarks beside it, which need a PostgreSQL.
    Postgres,
}

impl Part {
    /// What is said of it, before everything and after everything.
    fn unchecked(self) -> &'static str {
        match self {
            Self::Postgres => {
                "NOT CHECKED, because of `--without postgres`: every test of orderlock-postgres, and \
                 of several nodes on one database, and every benchmark on one"
            }
        }
    }
}

/// The crate whose tests need a PostgreSQL.
const POSTGRES: &str = "orderlock-postgres";

fn tests(workspace: &Workspace, postgres: Option<&postgres::Programs>) -> Result<()> {
    match postgres {
        Some(programs) => {
            let server = postgres::Server::start(programs)?;
            workspace.test(None, &server.variables())?;
        }
        None => workspace.test(Some(POSTGRES), &[])?,
    }
    examples::run_all(workspace)
}

/// How long all benchmarks together may take.
const BENCH_MAX: Duration = Duration::from_mins(5);

fn bench(workspace: &Workspace, postgres: Option<&postgres::Programs>) -> Result<()> {
    workspace.build()?;
    let server = postgres.map(postgres::Server::start).transpose()?;
    let mut command = Command::new(workspace.program("orderlock-bench"));
    command.arg("--smoke").current_dir(&workspace.root);
    match &server {
        Some(server) => command.envs(server.variables()),
        // Who leaves it out does not mean one that this shell knows of.
        None => command.env_remove("ORDERLOCK_TEST_POSTGRES_URL"),
    };
    Process::start(&mut command)?.succeed(BENCH_MAX)
}

/// Runs the steps in order and stops at the first that fails. Returns the closing line.
///
/// # Errors
/// What failed, and which command repeats it alone.
pub(crate) fn run(steps: &[Step], without: Option<Part>, workspace: &Workspace) -> Result<String> {
    if let Some(part) = without {
        let in_ci = std::env::var_os("CI").is_some();
        ensure!(
            !in_ci,
            "CI checks everything: `--without` is for other machines"
        );
        println!("\n==> {}", part.unchecked());
    }
    // Asked before the first step, so that nobody learns after many minutes that curl is missing.
    for tool in steps.iter().flat_map(|step| step.tools()) {
        tools::need(*tool)?;
    }
    let asked = without.is_none() && steps.iter().any(|step| step.asks_postgres());
    let postgres = asked.then(|| postgres::Programs::need(&workspace.programs()));
    let postgres = postgres.transpose()?;
    let mut times = Vec::new();
    for (position, step) in steps.iter().enumerate() {
        let name = step.name();
        println!("\n==> step {} of {}: {name}", position + 1, steps.len());
        let start = Instant::now();
        step.run(workspace, postgres.as_ref()).map_err(|error| {
            let time = seconds(start.elapsed());
            anyhow!("{name}, after {time}: {error:#}\nTo repeat it alone: cargo xtask test {name}")
        })?;
        println!("==> {name} passed in {}", seconds(start.elapsed()));
        times.push((name, start.elapsed()));
    }
    Ok(summary(&times, without))
}

fn summary(times: &[(&str, Duration)], without: Option<Part>) -> String {
    let total = times.iter().map(|(_, time)| *time).sum();
    let each: Vec<String> = times
        .iter()
        .map(|(name, time)| format!("{name} {}", seconds(*time)))
        .collect();
    let passed = format!("PASSED in {}: {}", seconds(total), each.join(", "));
    without.map_or(passed.clone(), |part| {
        format!("{passed}\n{}", part.unchecked())
    })
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_named_as_on_the_command_line() {
        for step in Step::ALL {
            assert_eq!(Step::from_str(step.name(), false), Ok(step));
        }
        assert_eq!(Step::value_variants(), Step::ALL);
    }

    #[test]
    fn the_closing_line_adds_up() {
        let times = [
            ("fmt", Duration::from_millis(500)),
            ("tidy", Duration::from_secs(2)),
        ];
        let passed = "PASSED in 2.5 s: fmt 0.5 s, tidy 2.0 s";
        assert_eq!(summary(&times, None), passed);
        let told = summary(&times, Some(Part::Postgres));
        assert!(
            told.starts_with(passed) && told.contains("\nNOT CHECKED"),
            "{told}"
        );
    }
}
