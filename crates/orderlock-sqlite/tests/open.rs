//! Opening: one owner, the right file, and what is left after each way of stopping.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "the helpers of these tests fail as loudly as the tests"
)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use orderlock_core::store::{
    Acquired, Created, Cursor, Entries, EntriesSince, Join, Known, Lookup, Read, Settle, Settled,
};
use orderlock_core::{
    Fence, LeaseViewState, OrderStore as _, Recovery, Runtime as _, SessionId, Tenant, Version,
};
use orderlock_sqlite::{OpenError, SqliteOptions, SqliteStore};
use orderlock_testkit::{TestRuntime, fixtures};
use rusqlite::Connection;

const FILE: &str = "ORDERLOCK_SQLITE_TEST_FILE";

fn open(path: &Path) -> Result<SqliteStore, OpenError> {
    let options = SqliteOptions::default().with_runtime(Arc::new(TestRuntime::new()));
    SqliteStore::open(path, options)
}

/// The next operation on an order, held and not settled yet.
async fn held(store: &SqliteStore, order: &str, key: &str, mark: Option<Recovery>) -> Settle {
    let session = SessionId(1);
    let join = Join {
        node: "node".into(),
        session,
        length: Duration::from_secs(10),
        secret: fixtures::secret(),
    };
    store.join(join).await.unwrap();
    let claim = fixtures::claim(order, &format!("create-{order}"));
    let create = fixtures::create(claim, TestRuntime::new().wall());
    let created = store.create(create).await.unwrap();
    assert!(
        matches!(created, Created::Inserted(_) | Created::Settled(_)),
        "{created:?}"
    );
    let mut request = fixtures::acquire(fixtures::claim(order, key), session, Fence(7));
    request.mark = mark;
    match store.acquire(request.clone()).await.unwrap() {
        Acquired::Granted(grant) => fixtures::settle(&request, &grant),
        other => panic!("{other:?}"),
    }
}

async fn settle(store: &SqliteStore, settle: Settle) {
    let settled = store.settle(settle).await.unwrap();
    assert!(matches!(settled, Settled::Accepted(_)), "{settled:?}");
}

async fn version(store: &SqliteStore, order: &str) -> Version {
    let target = fixtures::ids::target(order);
    store.read(Read { target }).await.unwrap().unwrap().version
}

#[test]
fn a_second_store_in_the_same_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let first = open(&path).unwrap();
    let error = open(&path).unwrap_err();
    println!("{error}");
    let own = std::process::id();
    assert!(matches!(error, OpenError::Owned { pid: Some(pid), .. } if pid == own));
    // Another way to the same file is the same file.
    let detour = folder.path().join(".").join("orders.db");
    assert!(matches!(open(&detour), Err(OpenError::Owned { .. })));
    drop(first);
    open(&path).unwrap();
}

#[cfg(unix)]
#[test]
fn a_link_to_the_file_is_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let _first = open(&path).unwrap();
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(matches!(open(&link), Err(OpenError::Owned { .. })));
}

/// Under each name it would have a log and an owner of its own.
#[cfg(unix)]
#[test]
fn a_file_with_two_names_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let other = folder.path().join("other.db");
    let first = open(&path).unwrap();
    fs::hard_link(&path, &other).unwrap();
    let error = open(&other).unwrap_err();
    assert!(matches!(error, OpenError::Linked { .. }), "{error}");
    drop(first);
    open(&path).unwrap_err();
    fs::remove_file(&other).unwrap();
    open(&path).unwrap();
}

/// Runs one test of this file in a process of its own, over a file.
fn child(test: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "--nocapture", test])
        .env(FILE, path);
    command
}

#[test]
fn a_second_process_is_refused_and_told_by_whom() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let _first = open(&path).unwrap();
    let output = child("child_that_opens", &path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(text.contains(&format!("in use by process {}", std::process::id())));
    assert!(text.contains(&path.canonicalize().unwrap().display().to_string()));
}

#[test]
fn child_that_opens() {
    if let Some(path) = std::env::var_os(FILE) {
        match open(Path::new(&path)) {
            Ok(_) => println!("opened"),
            Err(error) => println!("refused: {error}"),
        }
    }
}

/// A process opens the file, settles and holds an order there, and is killed.
fn kill_an_owner(path: &Path) {
    let mut owner = child("child_that_is_killed", path)
        .stdout(Stdio::piped())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_line(&mut owner, "settled and holding");
    owner.kill().unwrap();
    owner.wait().unwrap();
}

/// A process that was killed leaves its lock file, its log and its leases behind.
#[tokio::test]
async fn a_killed_owner_leaves_nothing_locked_and_nothing_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    kill_an_owner(&path);
    assert!(folder.path().join("orders.db-lock").exists());

    let store = open(&path).unwrap();
    assert_eq!(version(&store, "settled").await, Version(2));
    assert_eq!(version(&store, "held").await, Version(1));
    let target = fixtures::ids::target("held");
    let view = store.read(Read { target }).await.unwrap().unwrap();
    assert!(view.lease.is_none(), "its leases went with it");
}

/// Whoever has moved the file of a killed owner away finds the log where it was.
#[tokio::test]
async fn a_log_without_its_file_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    kill_an_owner(&path);
    let away = folder.path().join("away.db");
    fs::rename(&path, &away).unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, OpenError::LogAlone { .. }), "{error}");
    // A copy that failed has left an empty one.
    fs::write(&path, "").unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, OpenError::LogAlone { .. }), "{error}");

    fs::rename(&away, &path).unwrap();
    let store = open(&path).unwrap();
    assert_eq!(version(&store, "settled").await, Version(2));
}

fn wait_for_line(child: &mut Child, wanted: &str) {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines {
        let line = line.unwrap();
        println!("child: {line}");
        if line.contains(wanted) {
            return;
        }
    }
    panic!("the child ended without saying {wanted:?}");
}

#[tokio::test]
async fn child_that_is_killed() {
    let Some(path) = std::env::var_os(FILE) else {
        return;
    };
    let store = open(Path::new(&path)).unwrap();
    let done = held(&store, "settled", "k", None).await;
    settle(&store, done).await;
    held(&store, "held", "k", None).await;
    println!("settled and holding");
    // Until it is killed; its parent's end ends it too.
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn a_lock_file_without_a_lock_means_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    fs::write(folder.path().join("orders.db-lock"), "4294967295\n").unwrap();
    let store = open(&path).unwrap();
    let signed = fs::read_to_string(folder.path().join("orders.db-lock")).unwrap();
    assert_eq!(signed.trim(), std::process::id().to_string());
    drop(store);
}

#[test]
fn a_newer_file_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    drop(open(&path).unwrap());
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    connection.close().unwrap();
    let before = fs::read(&path).unwrap();
    let error = open(&path).unwrap_err();
    println!("{error}");
    assert!(matches!(error, OpenError::Newer { found: 99, .. }));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn another_programs_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("theirs.db");
    let connection = Connection::open(&path).unwrap();
    connection.execute("CREATE TABLE theirs (a)", []).unwrap();
    connection.close().unwrap();
    let before = fs::read(&path).unwrap();
    let error = open(&path).unwrap_err();
    println!("{error}");
    assert!(matches!(error, OpenError::Foreign));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn what_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letter.txt");
    let letter = "Dear Sir or Madam, ".repeat(300);
    fs::write(&path, &letter).unwrap();
    let error = open(&path).unwrap_err();
    println!("{error}");
    assert!(matches!(error, OpenError::NotADatabase(_)));
    assert_eq!(fs::read_to_string(&path).unwrap(), letter);
}

#[test]
fn a_damaged_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    drop(open(&path).unwrap());
    let mut bytes = fs::read(&path).unwrap();
    // The header of the first page stays; the table of tables behind it is gone.
    bytes[100..4096].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let error = open(&path).unwrap_err();
    println!("{error}");
    assert!(matches!(error, OpenError::Corrupt(_)), "{error:?}");
}

#[test]
fn a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nowhere").join("orders.db");
    let error = open(&path).unwrap_err();
    println!("{error}");
    assert!(matches!(error, OpenError::Io { .. }));
    assert!(error.to_string().contains("nowhere"));
}

#[tokio::test]
async fn reopening_keeps_entries_and_marks_and_drops_leases() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let store = open(&path).unwrap();
    let done = held(&store, "settled", "k", None).await;
    let claim = done.claim.clone();
    settle(&store, done).await;
    held(&store, "held", "k", None).await;
    held(&store, "marked", "k", Some(Recovery::Reconcile)).await;
    drop(store);

    let store = open(&path).unwrap();
    let lookup = Lookup {
        target: claim.target(),
        key_id: claim.key_id,
    };
    let known = store.lookup(lookup).await.unwrap();
    assert!(matches!(known, Known::Settled(_)), "{known:?}");
    let state = async |order: &str| {
        let target = fixtures::ids::target(order);
        let view = store.read(Read { target }).await.unwrap().unwrap();
        view.lease.map(|lease| lease.state)
    };
    assert_eq!(state("held").await, None);
    assert_eq!(state("marked").await, Some(LeaseViewState::Marked));
}

/// What a power cut leaves: the file and its log as they lie on the disk, never closed.
#[tokio::test]
async fn a_copy_of_the_open_files_has_everything_that_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let store = open(&path).unwrap();
    for number in 0..20 {
        let order = format!("o{number}");
        let done = held(&store, &order, "k", None).await;
        settle(&store, done).await;
        let copy = folder.path().join(format!("copy-{number}"));
        fs::create_dir(&copy).unwrap();
        for name in ["orders.db", "orders.db-wal"] {
            fs::copy(folder.path().join(name), copy.join(name)).unwrap();
        }
        let copied = open(&copy.join("orders.db")).unwrap();
        for earlier in 0..=number {
            assert_eq!(version(&copied, &format!("o{earlier}")).await, Version(2));
        }
    }
}

#[tokio::test]
async fn a_restored_file_begins_a_new_epoch_when_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.db");
    let store = open(&path).unwrap();
    let done = held(&store, "o", "k", None).await;
    settle(&store, done).await;
    let since = async |store: &SqliteStore, cursor: Option<Cursor>| {
        let request = EntriesSince {
            tenant: Tenant::single(),
            cursor,
            limit: 100,
        };
        store.entries_since(request).await.unwrap()
    };
    let Entries::Some { entries, next } = since(&store, None).await else {
        panic!("a new epoch without a cursor");
    };
    assert_eq!(entries.len(), 2);
    drop(store);
    // Opened again, it is the same journal.
    let store = open(&path).unwrap();
    let same = since(&store, Some(next.clone())).await;
    assert!(matches!(same, Entries::Some { .. }), "{same:?}");
    drop(store);
    let options = SqliteOptions::default().with_new_epoch();
    let store = SqliteStore::open(&path, options).unwrap();
    assert_eq!(since(&store, Some(next)).await, Entries::NewEpoch);
}
