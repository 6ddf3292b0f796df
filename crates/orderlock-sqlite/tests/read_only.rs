//! A file that this process may read and not write.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails loudly, and says what it saw"
)]

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use orderlock_sqlite::{OpenError, SqliteOptions, SqliteStore};

const FILE: &str = "ORDERLOCK_SQLITE_READ_ONLY_FILE";

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Runs the test below in a process that has no more rights than the file gives. Root may write
/// every file, so that it has to become somebody else for that; nobody may read root's folders, so
/// that the program has to come along.
fn unprivileged(folder: &Path, file: &Path) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut command = if OpenOptions::new().write(true).open(file).is_ok() {
        let copy = folder.join("test");
        fs::copy(program, &copy).unwrap();
        set_mode(&copy, 0o755);
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(copy).current_dir(folder);
        command
    } else {
        Command::new(program)
    };
    command
        .args(["--exact", "--nocapture", "child_that_may_not_write"])
        .env(FILE, file);
    command
}

#[test]
fn a_file_without_the_right_to_write_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    drop(SqliteStore::open(&path, SqliteOptions::default()).unwrap());
    // The folder and the owner's lock are not in the way: it is the file itself that refuses.
    set_mode(folder.path(), 0o777);
    set_mode(&folder.path().join("orders.db-lock"), 0o666);
    set_mode(&path, 0o444);
    let before = fs::read(&path).unwrap();

    let output = unprivileged(folder.path(), &path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success());
    assert!(text.contains("refused: the file may be read but not written"));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn child_that_may_not_write() {
    let Some(path) = std::env::var_os(FILE) else {
        return;
    };
    let error = SqliteStore::open(&path, SqliteOptions::default()).unwrap_err();
    assert!(matches!(error, OpenError::ReadOnly), "{error:?}");
    println!("refused: {error}");
}
