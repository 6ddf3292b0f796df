//! Who may read and write the files, and what is not written through.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use orderlock_sqlite::{OpenError, SqliteOptions, SqliteStore};

fn open(path: &Path) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(path, SqliteOptions::default())
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

/// The file has the installation's secret, and every order.
#[test]
fn new_files_are_their_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let store = open(&path).unwrap();
    for name in [
        "orders.db",
        "orders.db-wal",
        "orders.db-shm",
        "orders.db-lock",
    ] {
        assert_eq!(mode(&folder.path().join(name)), 0o600, "{name}");
    }
    drop(store);
    assert_eq!(mode(&path), 0o600);
}

/// Rights that somebody has given are theirs to take away: a group may make the backups.
#[test]
fn the_rights_of_a_file_that_is_there_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    drop(open(&path).unwrap());
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    drop(open(&path).unwrap());
    assert_eq!(mode(&path), 0o640);
}

#[test]
fn nothing_is_written_through_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let lock = folder.path().join("orders.db-lock");
    let victim = folder.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, &lock).unwrap();
    let refused = open(&path).unwrap_err();
    assert!(matches!(refused, OpenError::Io { .. }), "{refused:?}");
    fs::remove_file(&lock).unwrap();
    fs::hard_link(&victim, &lock).unwrap();
    open(&path).unwrap_err();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    // Nor is a file made where a link leads to none.
    fs::remove_file(&lock).unwrap();
    symlink(folder.path().join("nobody"), &lock).unwrap();
    open(&path).unwrap_err();
    assert!(!folder.path().join("nobody").exists());
    fs::remove_file(&lock).unwrap();
    open(&path).unwrap();
}
