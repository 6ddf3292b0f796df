//! A server as a newcomer starts it, on a free port and in an empty folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::isolate;
use crate::process::{Lines, Process};

/// How long the server may take to say where it listens.
const START_MAX: Duration = Duration::from_secs(30);

/// How much of the log is shown when something fails.
const LOG_LINES_MAX: usize = 30;

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub(super) struct Server {
    _process: Process,
    lines: Lines,
    printed: Vec<String>,
    address: String,
    log: PathBuf,
}

impl Server {
    /// Starts the server and waits until it says where it listens.
    ///
    /// # Errors
    /// It does not start; with what it printed.
    pub(super) fn start(mut command: Command, folder: &Path) -> Result<Self> {
        let log = folder.join("walkthrough-server.log");
        isolate(&mut command, folder);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?);
        let mut process = Process::start(&mut command)?;
        let output = process.output.take().context("its output is piped")?;
        let mut server = Self {
            _process: process,
            lines: Lines::read(output),
            printed: Vec::new(),
            address: String::new(),
            log,
        };
        let found = server.print_until(START_MAX, |printed| address(printed).is_some());
        let all = server.printed.join("\n");
        ensure!(
            found,
            "the server did not print its address\n{all}\n{}",
            server.log()
        );
        server.address = address(&server.printed).unwrap_or_default();
        Ok(server)
    }

    /// Where it listens, as `127.0.0.1:<port>`.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// What it has printed so far, as if it listened at another address.
    pub(super) fn printed(&self, address: &str) -> Vec<String> {
        let lines = self.printed.iter();
        lines
            .map(|line| line.replace(&self.address, address))
            .collect()
    }

    /// Reads on until what was printed is enough, or the time is over.
    pub(super) fn print_until(
        &mut self,
        bound: Duration,
        enough: impl Fn(&[String]) -> bool,
    ) -> bool {
        let end = Instant::now() + bound;
        loop {
            if enough(&self.as_in_readme()) {
                return true;
            }
            match self
                .lines
                .next(end.saturating_duration_since(Instant::now()))
            {
                Some(line) => self.printed.push(line),
                None => return false,
            }
        }
    }

    /// The end of its log.
    pub(super) fn log(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let start = lines.len().saturating_sub(LOG_LINES_MAX);
        format!("the server's log ends with:\n{}", lines[start..].join("\n"))
    }

    fn as_in_readme(&self) -> Vec<String> {
        match self.address.as_str() {
            // Until it is known, there is nothing to replace.
            "" => self.printed.clone(),
            _ => self.printed(super::ADDRESS),
        }
    }
}

/// The address in what a server prints.
fn address(printed: &[String]) -> Option<String> {
    const HOST: &str = "127.0.0.1:";
    printed.iter().find_map(|line| {
        let (_, after) = line.split_once(HOST)?;
        let port: String = after.chars().take_while(char::is_ascii_digit).collect();
        // A text that repeats the argument, port 0, does not say where it listens.
        (!port.is_empty() && port != "0").then(|| format!("{HOST}{port}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_any_text() {
        let found = |text: &str| address(&[text.into()]);
        assert_eq!(
            found("  listen   http://127.0.0.1:41233/").as_deref(),
            Some("127.0.0.1:41233")
        );
        assert_eq!(found("--listen 127.0.0.1:0"), None);
        assert_eq!(found("no address"), None);
    }
}
