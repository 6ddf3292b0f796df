//! Ends a server when this program has ended, however that ended.
//!
//! A program that is killed runs no code at its end. So a shell of its own waits on a pipe whose
//! other end only this program holds: the system closes it for a process that dies. Nothing ever
//! comes through the pipe. What the shell does then is each server's own affair.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;

use crate::process::Process;

/// How long the end of the server may take.
pub(crate) const STOP_MAX: Duration = Duration::from_secs(30);

/// The shell that waits.
#[derive(Debug)]
pub(crate) struct Guard(Process);

impl Guard {
    /// Starts a shell whose script reads a line before it ends the server.
    ///
    /// # Errors
    /// The shell is not there.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        command
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C reaches every process of the terminal's group, and must not reach this one.
            .process_group(0);
        Process::start(command).map(Self)
    }

    /// What the shell prints, if that is piped.
    pub(crate) fn output(&mut self) -> Option<std::process::ChildStdout> {
        self.0.output.take()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.input.take());
        // Not reported: a server that does not stop is killed with its guard, and is no fault of
        // what was tested.
        let _ = self.0.wait(STOP_MAX);
    }
}
