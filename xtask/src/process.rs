//! Programs that are started here: waited for with a bound, and never left behind.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// How long a program may take to end when it is asked to; then it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// A program that runs. It is stopped, with everything that it started, when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    id: u32,
    ended: Receiver<std::io::Result<ExitStatus>>,
    running: bool,
    /// Its input, if piped and not yet taken.
    pub(crate) input: Option<ChildStdin>,
    /// Its output, if piped and not yet taken.
    pub(crate) output: Option<ChildStdout>,
}

impl Process {
    /// Starts a program.
    ///
    /// # Errors
    /// The program is not there.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        forget_package(command);
        let mut child = command
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        Ok(Self {
            name,
            id: child.id(),
            ended: report_end(child),
            running: true,
            input,
            output,
        })
    }

    /// Waits for the program's end.
    ///
    /// # Errors
    /// It ran too long, and was stopped.
    pub(crate) fn wait(&mut self, bound: Duration) -> Result<ExitStatus> {
        match self.ended.recv_timeout(bound) {
            Ok(status) => {
                self.running = false;
                Ok(status?)
            }
            Err(RecvTimeoutError::Timeout) => {
                self.stop();
                bail!(
                    "{} ran longer than {} s and was stopped",
                    self.name,
                    bound.as_secs()
                )
            }
            Err(RecvTimeoutError::Disconnected) => bail!("{} ended unseen", self.name),
        }
    }

    /// Waits for the program's end, and takes nothing but success.
    ///
    /// # Errors
    /// It failed or ran too long.
    pub(crate) fn succeed(mut self, bound: Duration) -> Result<()> {
        let status = self.wait(bound)?;
        ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }

    /// Asks the program and all that it started to end, and kills what is left after a while.
    fn stop(&mut self) {
        if !self.running {
            return;
        }
        // Looked up before the signal: a program that has ended has no children any more.
        let family = family(self.id);
        signal("-TERM", &family);
        let ended = self.ended.recv_timeout(GRACE).is_ok();
        signal("-KILL", &family);
        self.running = !ended && self.ended.recv_timeout(GRACE).is_err();
    }
}

/// Cargo tells this program that it runs as the package `xtask`. Build scripts that look at this would
/// take it for a change, and half of the dependencies would be built anew whenever a developer's own
/// cargo and this one take turns.
pub(crate) fn forget_package(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits in a thread of its own, because the standard library cannot wait with a bound.
fn report_end(mut child: Child) -> Receiver<std::io::Result<ExitStatus>> {
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(child.wait()));
    receiver
}

/// Sends a signal through the shell's own `kill`: a small Debian has no other.
fn signal(signal: &str, processes: &[u32]) {
    // A process that is gone already is what is wanted here, so the answer does not matter.
    let _ = Command::new("bash")
        .args(["-c", "kill \"$@\"", "kill", signal])
        .args(processes.iter().map(u32::to_string))
        .stderr(Stdio::null())
        .status();
}

/// A process and all that descend from it. Where there is no `/proc`, the process alone.
fn family(id: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let line = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(parent) = parent(&line) {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut found = vec![id];
    let mut next = 0;
    while next < found.len() {
        found.extend(children.remove(&found[next]).unwrap_or_default());
        next += 1;
    }
    found
}

/// The parent in a line of `/proc/<id>/stat`: `id (name) state parent ...`. A name may hold
/// anything, parentheses too.
fn parent(line: &str) -> Option<u32> {
    let (_, after_name) = line.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}

/// The lines that a program prints, read as they come.
#[derive(Debug)]
pub(crate) struct Lines(Receiver<String>);

impl Lines {
    /// Reads in a thread of its own, which ends with the output.
    pub(crate) fn read(output: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                if sender.send(line.trim_end_matches('\r').into()).is_err() {
                    break;
                }
            }
        });
        Self(receiver)
    }

    /// The next line, or none if there was none for so long, or the output has ended.
    pub(crate) fn next(&self, bound: Duration) -> Option<String> {
        self.0.recv_timeout(bound).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bash(script: &str) -> Process {
        let mut command = Command::new("bash");
        command.args(["-c", script]).stdout(Stdio::piped());
        Process::start(&mut command).unwrap()
    }

    #[test]
    fn a_failure_is_told() {
        assert!(bash("exit 0").succeed(GRACE).is_ok());
        let error = bash("exit 3").succeed(GRACE).unwrap_err().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn what_runs_too_long_is_stopped_with_its_children() {
        // The inner shell holds the pipe as well: the lines end only when both are gone.
        let mut process = bash("bash -c 'echo begun; read -r < <(tail -f /dev/null)'; echo never");
        let lines = Lines::read(process.output.take().unwrap());
        assert_eq!(lines.next(GRACE).as_deref(), Some("begun"));
        let error = process.wait(Duration::ZERO).unwrap_err().to_string();
        assert!(error.contains("ran longer"), "{error}");
        assert_eq!(lines.next(GRACE), None);
    }

    #[test]
    fn a_parent_is_found_behind_any_name() {
        assert_eq!(parent("7 (odd) name) S 3 7 7"), Some(3));
        assert_eq!(parent("7 (cut"), None);
    }
}
