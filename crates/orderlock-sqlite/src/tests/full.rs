//! No room, and room again; a commit that ends in an I/O error.

use std::process::Command;

use orderlock_core::store::{Read, Renew, Renewed};
use orderlock_core::{Document, OrderStore as _, StoreError, Version};
use orderlock_testkit::fixtures;
use serde_json::json;

use super::{Bench, accepted, start};

#[tokio::test]
async fn a_full_disk_is_said_to_be_full_until_there_is_room() {
    let bench = Bench::new().await;
    bench.order("o").await;
    let mut settle = bench.held("o", "k").await;
    let text = "x".repeat(512 * 1024);
    fixtures::change_of(&mut settle).after =
        Document::encode(&json!({ "count": 1, "text": text })).unwrap();
    let limit = |pages: i64| {
        bench.on_writer(move |context| {
            let set = context.connection.pragma_update_and_check(
                None,
                "max_page_count",
                pages,
                |row| row.get::<_, i64>(0),
            )?;
            Ok(set)
        })
    };
    println!("limited to {} pages", limit(1).await.unwrap());
    for _ in 0..2 {
        let error = bench.store.settle(settle.clone()).await.unwrap_err();
        assert!(matches!(error, StoreError::Full(_)), "{error:?}");
        assert_eq!(bench.view("o").await.version, Version(1));
        assert!(bench.view("o").await.lease.is_some(), "still held");
    }
    limit(1 << 30).await.unwrap();
    accepted(bench.store.settle(settle).await.unwrap());
    assert_eq!(bench.view("o").await.version, Version(2));
}

/// A node whose settles find no room is still alive, and its renewals say so.
#[tokio::test]
async fn a_full_disk_fails_no_renewal_in_the_same_batch() {
    let bench = Bench::new().await;
    bench.order("o").await;
    let mut settle = bench.held("o", "k").await;
    let text = "x".repeat(512 * 1024);
    fixtures::change_of(&mut settle).after =
        Document::encode(&json!({ "count": 1, "text": text })).unwrap();
    let (session, known) = (bench.session, vec![settle.fence]);
    bench
        .on_writer(|context| {
            let connection = context.connection;
            Ok(connection.pragma_update_and_check(None, "max_page_count", 1, |_| Ok(()))?)
        })
        .await
        .unwrap();
    let stopped = bench.stop().await;
    let before = start(&bench.store, {
        let known = known.clone();
        move |store| store.renew(Renew { session, known })
    })
    .await;
    let full = start(&bench.store, move |store| store.settle(settle)).await;
    let after = start(&bench.store, move |store| {
        store.renew(Renew { session, known })
    })
    .await;
    stopped.go();
    let error = full.await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Full(_)), "{error:?}");
    for renewed in [before, after] {
        assert_ne!(renewed.await.unwrap().unwrap(), Renewed::Ended);
    }
}

const CHILD: &str = "ORDERLOCK_SQLITE_SMALL_FILES";

/// The operating system refuses to let the log grow: the commit ends in an I/O error. That limit
/// holds for a whole process, so that the test runs in one of its own.
#[test]
fn a_commit_that_fails_is_looked_up_by_repeating_it() {
    if cfg!(not(target_os = "linux")) || Command::new("prlimit").arg("--version").output().is_err()
    {
        println!("skipped: there is no prlimit here");
        return;
    }
    let program = std::env::current_exe().unwrap();
    // The signal that comes with the limit would kill the process; ignored, the write fails.
    let script = "trap '' XFSZ; exec \"$0\" --exact --nocapture tests::full::in_small_files";
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(program)
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    println!("{text}{errors}");
    assert!(output.status.success());
    assert!(text.contains("recovered"), "the child did its work");
}

#[tokio::test]
async fn in_small_files() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let bench = Bench::new().await;
    bench.order("o").await;
    let settle = bench.held("o", "k").await;
    let limit = |bytes: &str| {
        let pid = std::process::id().to_string();
        let limit = Command::new("prlimit")
            .args(["--pid", &pid, &format!("--fsize={bytes}:unlimited")])
            .status();
        assert!(limit.unwrap().success());
    };
    limit("4096");
    let error = bench.store.settle(settle.clone()).await.unwrap_err();
    println!("{error:?}");
    assert!(matches!(error, StoreError::OutcomeUnknown(_)), "{error:?}");
    // As long as the file cannot be brought back to what is known to be on the disk, nothing is
    // written, and nothing is read that may not survive.
    let error = bench.store.settle(settle.clone()).await.unwrap_err();
    println!("{error:?}");
    assert!(matches!(error, StoreError::NotApplied(_)), "{error:?}");
    let target = fixtures::ids::target("o");
    bench.store.read(Read { target }).await.unwrap_err();
    limit("unlimited");
    let receipt = accepted(bench.store.settle(settle.clone()).await.unwrap()).receipt;
    let again = accepted(bench.store.settle(settle).await.unwrap()).receipt;
    assert_eq!(again, receipt);
    let view = bench.view("o").await;
    assert_eq!(view.version, Version(2), "applied once");
    assert!(view.lease.is_none());
    println!("recovered");
}
