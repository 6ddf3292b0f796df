//! Runs the server, and ends it when this program has ended, however that ended.
//!
//! A program that is killed runs no code at its end. So a shell of its own starts the server and
//! waits on a pipe whose other end only this program holds: the system closes it for whoever dies.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::process::{Lines, Process};

/// How long the end of the server may take.
const STOP_MAX: Duration = Duration::from_secs(30);

/// Nothing ever comes through the pipe. The shell lets go of its own output, so that this ends with
/// the server's. The data are thrown away, so that the server need not put them in order first.
const SCRIPT: &str = r#"
    folder=$1
    shift
    "$@" </dev/null 2>&1 &
    exec >/dev/null
    read -r _
    kill -KILL "$!"
    wait
    cd / && rm -rf "$folder"
"#;

/// The shell that waits.
#[derive(Debug)]
pub(super) struct Guard(Process);

impl Guard {
    /// Starts the server in a folder, which goes with it. Returns what it says, too.
    ///
    /// # Errors
    /// The shell is not there.
    pub(super) fn start(server: &Command, folder: &Path) -> Result<(Self, Lines)> {
        let mut command = Command::new("bash");
        command
            .args(["-c", SCRIPT, "guard"])
            .arg(folder)
            .arg(server.get_program())
            .args(server.get_args())
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C reaches every process of the terminal's group, and must not reach this one.
            .process_group(0);
        let mut process = Process::start(&mut command)?;
        let output = process.output.take().context("the output was piped")?;
        Ok((Self(process), Lines::read(output)))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.input.take());
        // Told to nobody: a server that does not stop is killed with its guard, and is no fault of
        // what was tested.
        let _ = self.0.wait(STOP_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_and_its_folder_go_with_the_guard() {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Command::new("bash");
        server.args(["-c", "echo $$; exec tail -f /dev/null"]);
        let (guard, lines) = Guard::start(&server, folder.path()).unwrap();
        let process = Path::new("/proc").join(lines.next(STOP_MAX).unwrap());
        assert!(process.exists());
        drop(guard);
        assert!(!process.exists());
        assert!(!folder.path().exists());
    }

    #[test]
    fn what_a_server_says_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Command::new("bash");
        server.args(["-c", "echo no >&2"]);
        let (_guard, lines) = Guard::start(&server, folder.path()).unwrap();
        assert_eq!(lines.next(STOP_MAX).as_deref(), Some("no"));
        assert_eq!(lines.next(STOP_MAX), None);
    }
}
