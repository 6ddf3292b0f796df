//! Signals to processes that this run has started: through a shell of our own, which lets every
//! stopped process go on when this program has ended, however that ended.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::ledger::lock;

/// Reads lines of a signal and a process, and answers each with whether it was there.
const SHELL: &str = r#"
    declare -A stopped
    while read -r signal process; do
        if kill "-$signal" "$process" 2>/dev/null; then echo sent; else echo gone; fi
        if [ "$signal" = STOP ]; then stopped[$process]=1; else unset "stopped[$process]"; fi
    done
    for process in "${!stopped[@]}"; do kill -CONT "$process" 2>/dev/null; done
"#;

/// The shell.
#[derive(Debug)]
pub(crate) struct Signals {
    shell: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

/// A process that stands still until this is dropped.
pub(crate) struct Stopped<'a> {
    signals: &'a Signals,
    process: i32,
}

impl Signals {
    pub(crate) fn new() -> Result<Self> {
        let mut shell = Command::new("bash")
            .args(["-c", SHELL])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("bash cannot be started")?;
        let (input, output) = (shell.stdin.take(), shell.stdout.take());
        let pipes = input.zip(output).context("both were piped")?;
        Ok(Self {
            shell,
            pipes: Mutex::new((pipes.0, BufReader::new(pipes.1))),
        })
    }

    /// True if there was such a process.
    fn send(&self, signal: &str, process: i32) -> bool {
        let (input, output) = &mut *lock(&self.pipes);
        let mut line = String::new();
        let sent = writeln!(input, "{signal} {process}").and_then(|()| input.flush());
        let told = sent.and_then(|()| output.read_line(&mut line));
        told.is_ok() && line == "sent\n"
    }

    /// Stops a process; none if it is not there.
    pub(crate) fn stop(&self, process: i32) -> Option<Stopped<'_>> {
        let stopped = Stopped {
            signals: self,
            process,
        };
        self.send("STOP", process).then_some(stopped)
    }
}

impl Stopped<'_> {
    /// Lets it go on after a while.
    pub(crate) async fn wait(self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.signals.send("CONT", self.process);
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // Its input ends with it, and so does the shell.
        let _ended = self.shell.kill();
        let _reaped = self.shell.wait();
    }
}
