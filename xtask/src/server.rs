//! What the servers that the tests need have in common.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::process::Process;

/// How often a port is tried: between the look for a free one and the server's start, another
/// program else may take it.
pub(crate) const PORTS: usize = 3;

/// How much of a log is shown when something fails.
const LOG_LINES_MAX: usize = 30;

/// A port of loopback that is free now.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("loopback has no free port")?;
    Ok(listener.local_addr()?.port())
}

/// The last lines of a log; nothing if it is not there.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n")
}

/// Runs a program that is of interest only when it fails: then the end of its log is shown.
pub(crate) fn run_quietly(mut command: Command, log: &Path, bound: Duration) -> Result<()> {
    let file = File::create(log)?;
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file);
    Process::start(&mut command)?
        .succeed(bound)
        .with_context(|| tail(log))
}
