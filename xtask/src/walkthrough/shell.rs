//! One bash for all commands of the README, so that variables and folders stay as the reader's do.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::isolate;
use crate::process::{Lines, Process};

/// How long one command may take.
const COMMAND_MAX: Duration = Duration::from_mins(1);

/// Begins the line that the shell prints after each command.
const MARK: &str = "=== walkthrough: the command ended with ";

/// Run first. Curl shows its progress bar only when it is not at a terminal; a reader is, and so
/// does not see it.
const PREPARE: &str = "exec 2>&1; curl() { command curl --silent --show-error \"$@\"; }";

/// A shell that waits for commands.
#[derive(Debug)]
pub(super) struct Shell {
    _process: Process,
    input: ChildStdin,
    lines: Lines,
    script: PathBuf,
}

/// How a command ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// What it printed, errors included.
    pub(super) printed: Vec<String>,
    /// Zero for success.
    pub(super) status: i32,
}

impl Shell {
    /// Starts a shell that finds the programs of one folder first.
    ///
    /// # Errors
    /// Bash cannot be started.
    pub(super) fn start(programs: &Path, folder: &Path) -> Result<Self> {
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let others = std::env::split_paths(&inherited);
        let path = std::env::join_paths([programs.to_owned()].into_iter().chain(others))?;
        let mut command = Command::new("bash");
        isolate(&mut command, folder);
        command
            .args(["--noprofile", "--norc"])
            .env("PATH", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = Process::start(&mut command)?;
        let input = process.input.take().context("its input is piped")?;
        let output = process.output.take().context("its output is piped")?;
        let mut shell = Self {
            _process: process,
            input,
            lines: Lines::read(output),
            script: folder.join(".walkthrough.sh"),
        };
        shell.run(PREPARE)?;
        Ok(shell)
    }

    /// Runs one command and waits for its end.
    ///
    /// # Errors
    /// The command did not end, or ended the shell.
    pub(super) fn run(&mut self, command: &str) -> Result<Ended> {
        // Read from a file, a command cannot swallow what is meant for the shell, and one that is
        // not valid fails alone.
        fs::write(&self.script, format!("{command}\n"))?;
        let script = self.script.display();
        writeln!(
            self.input,
            "source '{script}' </dev/null; printf '\\n{MARK}%s\\n' $?"
        )
        .context("the shell has ended")?;
        let end = Instant::now() + COMMAND_MAX;
        let mut printed = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Some(line) = self.lines.next(left) else {
                bail!(
                    "the command ended the shell, or did not end in {} s",
                    COMMAND_MAX.as_secs()
                );
            };
            if let Some(status) = line.strip_prefix(MARK) {
                let status = status.parse().context("the shell prints a number")?;
                return Ok(Ended { printed, status });
            }
            printed.push(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(folder: &Path) -> Shell {
        Shell::start(folder, folder).unwrap()
    }

    fn text(ended: &Ended) -> String {
        ended.printed.join("\n").trim_end().to_owned()
    }

    #[test]
    fn state_is_kept_from_command_to_command() {
        let folder = tempfile::tempdir().unwrap();
        let mut shell = shell(folder.path());
        shell.run("a=one; mkdir b; cd b").unwrap();
        let ended = shell.run("printf '%s in %s' $a \"${PWD##*/}\"").unwrap();
        assert_eq!((text(&ended).as_str(), ended.status), ("one in b", 0));
    }

    #[test]
    fn failures_are_told_and_do_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let mut shell = shell(folder.path());
        assert_eq!(shell.run("(exit 7)").unwrap().status, 7);
        assert_ne!(shell.run("if then").unwrap().status, 0);
        let swallowed = shell.run("cat; echo done >&2").unwrap();
        assert_eq!(text(&swallowed), "done");
        assert!(shell.run("exit 3").is_err());
    }
}
