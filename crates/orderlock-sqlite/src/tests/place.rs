//! What becomes of the files under an open store: removed, replaced, put back; no room.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use orderlock_core::store::{Acquired, Renew, Settle, Settled};
use orderlock_core::{Fence, OrderStore as _, StoreError, Version};
use orderlock_testkit::fixtures;

use super::{Bench, accepted};
use crate::open::files::beside;

/// As long as the writer's looks are apart at most.
pub(super) const LOOK: Duration = Duration::from_secs(3);

impl Bench {
    fn trouble(&self) -> Option<String> {
        self.store.describe().trouble
    }

    /// What a node does all the time: the writer takes it for a look around.
    pub(super) async fn keep_alive(&self, known: &[Fence]) {
        self.runtime.advance(LOOK);
        let (session, known) = (self.session, known.to_vec());
        for _ in 0..2 {
            let known = known.clone();
            self.store.renew(Renew { session, known }).await.unwrap();
        }
    }

    fn names(&self) -> [PathBuf; 3] {
        ["", "-wal", "-lock"].map(|suffix| beside(&self.path(), suffix))
    }
}

/// Nothing is answered that would be gone with the last handle.
async fn refuses(bench: &Bench, settle: &Settle, told: &str) {
    let error = bench.store.settle(settle.clone()).await.unwrap_err();
    println!("{error:?}");
    assert!(
        matches!(error, StoreError::OutcomeUnknown(_)),
        "it is written into nothing: {error:?}"
    );
    for _ in 0..2 {
        let error = bench.store.settle(settle.clone()).await.unwrap_err();
        assert!(matches!(error, StoreError::NotApplied(_)), "{error:?}");
        let create = fixtures::create(fixtures::claim("new", "k"), bench.clock_now());
        let error = bench.store.create(create).await.unwrap_err();
        assert!(matches!(error, StoreError::NotApplied(_)), "{error:?}");
    }
    let trouble = bench.trouble().expect("the store knows of its trouble");
    assert!(trouble.contains(told), "{trouble}");
}

impl Bench {
    fn clock_now(&self) -> orderlock_core::Timestamp {
        orderlock_core::Runtime::wall(&self.runtime)
    }
}

#[tokio::test]
async fn what_was_removed_takes_no_writes_until_it_is_put_back() {
    for which in 0..3 {
        let bench = Bench::new().await;
        bench.order("o").await;
        assert_eq!(bench.trouble(), None);
        let settle = bench.held("o", "k").await;
        let name = &bench.names()[which];
        let aside = bench.folder.path().join("aside");
        fs::rename(name, &aside).unwrap();
        refuses(&bench, &settle, "removed").await;
        fs::rename(&aside, name).unwrap();
        accepted(bench.store.settle(settle).await.unwrap());
        bench.keep_alive(&[]).await;
        assert_eq!(bench.trouble(), None);
        assert_eq!(bench.view("o").await.version, Version(2), "applied once");
    }
}

#[tokio::test]
async fn what_was_replaced_takes_no_writes() {
    for which in 0..3 {
        let bench = Bench::new().await;
        bench.order("o").await;
        let settle = bench.held("o", "k").await;
        let name = &bench.names()[which];
        let backup = bench.folder.path().join("backup");
        fs::copy(name, &backup).unwrap();
        fs::rename(&backup, name).unwrap();
        refuses(&bench, &settle, "replaced").await;
        // Nobody reads either what may not survive.
        let new = bench.request("unread", "k");
        bench.store.acquire(new).await.unwrap_err();
    }
}

/// Nobody writes, and it is found out all the same.
#[tokio::test]
async fn an_idle_store_sees_that_its_file_has_gone() {
    let bench = Bench::new().await;
    bench.order("o").await;
    let aside = bench.folder.path().join("aside");
    fs::rename(bench.path(), &aside).unwrap();
    assert_eq!(bench.trouble(), None, "nobody has looked");
    bench.runtime.advance(LOOK);
    let (session, known) = (bench.session, Vec::new());
    let _ = bench.store.renew(Renew { session, known }).await;
    // What the writer takes next comes after its look.
    bench.on_writer(|_| Ok(())).await.unwrap_err();
    let trouble = bench.trouble().expect("somebody has looked");
    assert!(trouble.contains("removed"), "{trouble}");
    fs::rename(&aside, bench.path()).unwrap();
    bench.keep_alive(&[]).await;
    assert_eq!(bench.trouble(), None);
}

#[tokio::test]
async fn a_full_disk_is_trouble_until_there_is_room() {
    let bench = Bench::new().await;
    bench.order("o").await;
    let mut settle = bench.held("o", "k").await;
    let text = "x".repeat(512 * 1024);
    let large = orderlock_core::Document::encode(&serde_json::json!({"count": 1, "text": text}));
    fixtures::change_of(&mut settle).after = large.unwrap();
    let limit = |pages: i64| {
        bench.on_writer(move |context| {
            let set = (None, "max_page_count", pages);
            Ok(context
                .connection
                .pragma_update_and_check(set.0, set.1, set.2, |_| Ok(()))?)
        })
    };
    limit(1).await.unwrap();
    let error = bench.store.settle(settle.clone()).await.unwrap_err();
    assert!(matches!(error, StoreError::Full(_)), "{error:?}");
    let trouble = bench.trouble().expect("nothing can be written");
    assert!(trouble.contains("the disk is full"), "{trouble}");
    // Its session goes on, and so does what takes no room.
    limit(1 << 30).await.unwrap();
    assert!(bench.trouble().is_some(), "nothing was written since");
    bench.keep_alive(&[settle.fence]).await;
    assert_eq!(bench.trouble(), None, "it recovers by itself");
    accepted(bench.store.settle(settle).await.unwrap());
}

#[tokio::test]
async fn another_owner_is_trouble() {
    let bench = Bench::new().await;
    bench.order("o").await;
    let settle = bench.held("o", "k").await;
    bench
        .file()
        .execute("UPDATE store SET owner = owner + 1", [])
        .unwrap();
    bench.store.settle(settle).await.unwrap_err();
    let trouble = bench.trouble().expect("the file is another's");
    assert!(trouble.contains("another process"), "{trouble}");
}

#[tokio::test]
async fn a_writer_that_has_died_is_trouble() {
    let bench = Bench::new().await;
    bench
        .on_writer::<()>(|_| panic!("on purpose"))
        .await
        .unwrap_err();
    // The next one finds it gone.
    while bench.trouble().is_none() {
        bench.on_writer(|_| Ok(())).await.unwrap_err();
    }
}

/// A settle that could not be brought to the disk, and whose order waits for it: every way out of it
/// frees the order at once.
#[tokio::test]
async fn an_order_is_free_at_once_after_a_write_that_failed() {
    for repeats in [true, false] {
        let bench = Bench::new().await;
        bench.order("o").await;
        let plain = bench.held("o", "k").await;
        let next = bench.request("o", "next");
        let settle = fixtures::handing_over(plain.clone(), next);
        let aside = bench.folder.path().join("aside");
        fs::rename(bench.path(), &aside).unwrap();
        match bench.store.settle(settle.clone()).await {
            Ok(Settled::Accepted(accepted)) => {
                let fate = accepted.durable.await;
                assert!(
                    matches!(fate, Err(StoreError::OutcomeUnknown(_))),
                    "{fate:?}"
                );
            }
            other => panic!("{other:?}"),
        }
        fs::rename(&aside, bench.path()).unwrap();
        if repeats {
            accepted(bench.store.settle(plain).await.unwrap());
        } else {
            let release = orderlock_core::store::Release {
                target: settle.claim.target(),
                fence: settle.fence,
                mark: orderlock_core::store::MarkFate::Keep,
                next: None,
            };
            assert!(bench.store.release(release).await.unwrap().held);
        }
        let other = bench.store.acquire(bench.request("o", "other")).await;
        assert!(matches!(other, Ok(Acquired::Granted(_))), "{other:?}");
        assert_eq!(bench.view("o").await.version, Version(2), "applied once");
    }
}
