//! Ends the server when this program has ended, however that ended.
//!
//! A program that is killed runs no code at its end. So a shell of its own waits on a pipe whose
//! other end only this program holds: the system closes it for whoever dies.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Result;

use super::Cluster;
use crate::process::Process;

/// How long the end of the server may take.
const STOP_MAX: Duration = Duration::from_secs(30);

/// Nothing ever comes through the pipe. The data are thrown away, so that the server need not put
/// them in order first.
const SCRIPT: &str = r#"
    read -r _
    if [ -e data/postmaster.pid ]; then "$1" stop --wait --mode=immediate --pgdata=data; fi
    cd / && rm -rf "$2"
"#;

/// The shell that waits.
#[derive(Debug)]
pub(super) struct Guard(Process);

impl Guard {
    /// Begins to watch over a cluster that need not be there yet.
    ///
    /// # Errors
    /// The shell is not there.
    pub(super) fn over(cluster: &Cluster<'_>) -> Result<Self> {
        let mut command = cluster.command(Path::new("bash"));
        command
            .args(["-c", SCRIPT, "guard"])
            .arg(cluster.programs.join("pg_ctl"))
            .arg(cluster.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C reaches every process of the terminal's group, and must not reach this one.
            .process_group(0);
        Process::start(&mut command).map(Self)
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
    fn the_folder_goes_with_the_guard() {
        let folder = tempfile::tempdir().unwrap();
        let cluster = Cluster {
            programs: Path::new("/"),
            folder: folder.path(),
            account: None,
        };
        let guard = Guard::over(&cluster).unwrap();
        assert!(folder.path().exists());
        drop(guard);
        assert!(!folder.path().exists());
    }
}
