//! Runs the server, and ends it with this program.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::guard::Guard;
use crate::process::Lines;

/// The shell closes its own output, so that this ends with the server's. The data are thrown away,
/// so that the server need not put them in order first.
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

/// Starts the server in a folder, which goes with it. Returns what it says, too.
///
/// # Errors
/// The shell is not there.
pub(super) fn start(server: &Command, folder: &Path) -> Result<(Guard, Lines)> {
    let mut command = Command::new("bash");
    command
        .args(["-c", SCRIPT, "guard"])
        .arg(folder)
        .arg(server.get_program())
        .args(server.get_args())
        .current_dir(folder)
        .stdout(Stdio::piped());
    let mut guard = Guard::start(&mut command)?;
    let output = guard.output().context("the output was piped")?;
    Ok((guard, Lines::read(output)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::STOP_MAX;

    #[test]
    fn the_server_and_its_folder_go_with_the_guard() {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Command::new("bash");
        server.args(["-c", "echo $$; exec tail -f /dev/null"]);
        let (guard, lines) = start(&server, folder.path()).unwrap();
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
        let (_guard, lines) = start(&server, folder.path()).unwrap();
        assert_eq!(lines.next(STOP_MAX).as_deref(), Some("no"));
        assert_eq!(lines.next(STOP_MAX), None);
    }
}
