//! The steps of the test command, their order, and the report about each.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use clap::ValueEnum;

use crate::cargo::Workspace;
use crate::parts::{Part, Provided};
use crate::postgres::Edition;
use crate::process::Process;
use crate::tools::{self, Tool};
use crate::{examples, postgres, tidy, torture, walkthrough};

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
    /// Each store for a minute and a half with everything going wrong, and a planted fault each.
    Torture,
}

impl Step {
    /// Every step, in the order in which they run.
    pub(crate) const ALL: [Self; 8] = [
        Self::Fmt,
        Self::Clippy,
        Self::Tidy,
        Self::Tests,
        Self::Docs,
        Self::Walkthrough,
        Self::Bench,
        Self::Torture,
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
            Self::Torture => "torture",
        }
    }

    fn tools(self) -> &'static [Tool] {
        match self {
            Self::Fmt => &[Tool::Rustfmt],
            Self::Clippy => &[Tool::Clippy, Tool::Compiler],
            Self::Tidy => &[],
            Self::Docs | Self::Bench => &[Tool::Compiler],
            Self::Torture => &[Tool::Compiler, Tool::Bash],
            Self::Tests | Self::Walkthrough => &[Tool::Compiler, Tool::Bash, Tool::Curl],
        }
    }

    /// Whether it asks the server of a part.
    fn asks(self, part: Part) -> bool {
        match part {
            Part::Postgres | Part::Mongodb => {
                matches!(self, Self::Tests | Self::Bench | Self::Torture)
            }
        }
    }

    fn run(self, workspace: &Workspace, provided: &Provided) -> Result<()> {
        match self {
            Self::Fmt => workspace.fmt(),
            Self::Clippy => workspace.clippy(),
            Self::Tidy => tidy::run(workspace),
            Self::Tests => tests(workspace, provided),
            Self::Docs => workspace.doc(),
            Self::Walkthrough => walkthrough::run(workspace),
            Self::Bench => bench(workspace, provided),
            Self::Torture => torture::step(workspace, provided),
        }
    }
}

fn tests(workspace: &Workspace, provided: &Provided) -> Result<()> {
    let servers = provided.start(|part| Step::Tests.asks(part))?;
    workspace.test(&provided.left_out, servers.variables())?;
    drop(servers);
    let package = Part::Postgres.package();
    provided.start_further(|servers| {
        workspace.test_of(package, &postgres::TESTED, servers.variables())
    })?;
    examples::run_all(workspace)
}

/// How long all benchmarks together may take.
const BENCH_MAX: Duration = Duration::from_mins(5);

fn bench(workspace: &Workspace, provided: &Provided) -> Result<()> {
    workspace.build()?;
    let servers = provided.start(|part| Step::Bench.asks(part))?;
    let mut command = Command::new(workspace.program("orderlock-bench"));
    command.arg("--smoke").current_dir(&workspace.root);
    for part in &provided.left_out {
        // Who leaves it out does not mean one that this shell knows of.
        command.env_remove(part.variable());
    }
    command.envs(servers.variables().iter().cloned());
    Process::start(&mut command)?.succeed(BENCH_MAX)
}

/// Runs the steps in order and stops at the first that fails. Returns the closing line.
///
/// # Errors
/// What failed, and which command repeats it alone.
pub(crate) fn run(steps: &[Step], without: &[Part], workspace: &Workspace) -> Result<String> {
    let in_ci = std::env::var_os("CI").is_some();
    ensure!(
        without.is_empty() || !in_ci,
        "CI checks everything: `--without` is for other machines"
    );
    for part in without {
        println!("\n==> {}", part.unchecked());
    }
    // Checked before the first step, so that a missing curl is not reported only after many
    // minutes.
    for tool in steps.iter().flat_map(|step| step.tools()) {
        tools::need(*tool)?;
    }
    let asked = |part| steps.iter().any(|step| step.asks(part));
    let editions = if steps.contains(&Step::Tests) {
        &Edition::ALL[..]
    } else {
        &[Edition::Machine]
    };
    let provided = Provided::need(asked, without, editions, workspace)?;
    let mut times = Vec::new();
    for (position, step) in steps.iter().enumerate() {
        let name = step.name();
        println!("\n==> step {} of {}: {name}", position + 1, steps.len());
        let start = Instant::now();
        step.run(workspace, &provided).map_err(|error| {
            let time = seconds(start.elapsed());
            anyhow!("{name}, after {time}: {error:#}\nTo repeat it alone: cargo xtask test {name}")
        })?;
        println!("==> {name} passed in {}", seconds(start.elapsed()));
        times.push((name, start.elapsed()));
    }
    Ok(summary(&times, without))
}

fn summary(times: &[(&str, Duration)], without: &[Part]) -> String {
    let total = times.iter().map(|(_, time)| *time).sum();
    let each: Vec<String> = times
        .iter()
        .map(|(name, time)| format!("{name} {}", seconds(*time)))
        .collect();
    let mut told = format!("PASSED in {}: {}", seconds(total), each.join(", "));
    for part in without {
        told.push('\n');
        told.push_str(part.unchecked());
    }
    told
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
        assert_eq!(summary(&times, &[]), passed);
        let told = summary(&times, &[Part::Postgres, Part::Mongodb]);
        assert!(told.starts_with(passed), "{told}");
        assert_eq!(told.matches("\nNOT CHECKED").count(), 2, "{told}");
    }
}
