//! What happens when the file or the writer fails.

use orderlock_core::store::{Acquired, Settled};
use orderlock_core::{OrderStore as _, StoreError, Version};
use rusqlite::{Connection, named_params};

use super::{Bench, accepted, granted, start};

#[tokio::test]
async fn a_file_that_takes_no_writes_is_said_to_be_so_until_it_does() {
    let bench = Bench::new().await;
    bench.order("o").await;
    let settle = bench.held("o", "k").await;
    let set = |on: bool| {
        bench.on_writer(move |context| {
            Ok(context.connection.pragma_update(None, "query_only", on)?)
        })
    };
    let stopped = bench.stop().await;
    // All in one batch, in this order.
    let refused = bench.store.settle(settle.clone());
    let (on, refused, off, ()) =
        tokio::join!(set(true), refused, set(false), async { drop(stopped.go()) });
    let error = refused.unwrap_err();
    on.unwrap();
    off.unwrap();
    assert!(matches!(error, StoreError::ReadOnly(_)), "{error:?}");
    // The lease is still held: the same settle takes effect now.
    accepted(bench.store.settle(settle).await.unwrap());
}

#[tokio::test]
async fn another_owner_ends_the_work() {
    let bench = Bench::new().await;
    bench.order("o").await;
    let settle = bench.held("o", "k").await;
    // A process that does not see our lock, on a file system without locks for example.
    let path = bench.folder.path().join("orders.db");
    let other = Connection::open(path).unwrap();
    other
        .execute("UPDATE store SET owner = owner + 1", [])
        .unwrap();
    for _ in 0..2 {
        let error = bench.store.settle(settle.clone()).await.unwrap_err();
        assert!(matches!(error, StoreError::NotApplied(_)), "{error:?}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("another process"), "{cause}");
    }
    let refused = bench.store.acquire(bench.request("o", "other")).await;
    assert!(
        matches!(refused, Err(StoreError::NotApplied(_))),
        "{refused:?}"
    );
    assert_eq!(bench.view("o").await.version, Version(1));
}

#[tokio::test]
async fn a_writer_that_panics_leaves_nobody_waiting() {
    let bench = Bench::new().await;
    bench.order("o").await;
    let settle = bench.held("o", "k").await;
    let later = settle.clone();
    let stopped = bench.stop().await;
    let settled = start(&bench.store, move |store| store.settle(settle)).await;
    let panicked = bench.on_writer::<()>(|_| panic!("on purpose"));
    let (panicked, ()) = tokio::join!(panicked, async { drop(stopped.go()) });
    let settled = settled.await.unwrap().map(|_| ());
    for told in [panicked, settled] {
        assert!(
            matches!(told, Err(StoreError::OutcomeUnknown(_))),
            "{told:?}"
        );
    }
    bench.store.settle(later).await.unwrap_err();
    assert_eq!(bench.view("o").await.version, Version(1));
}

/// The commit happened and its knowledge was lost: memory still holds the lease as it was.
#[tokio::test]
async fn a_repeated_settle_brings_memory_up_to_the_file() {
    let bench = Bench::new().await;
    bench.order("o").await;
    let settle = bench.held("o", "k").await;
    let receipt = accepted(bench.store.settle(settle.clone()).await.unwrap()).receipt;
    // As if the answer to the commit had been an I/O error: the lease is back as it was.
    let lease = bench.request("o", "k");
    let (target, fence, session) = (lease.claim.target(), settle.fence, bench.session);
    let put_back = move |context: &mut crate::state::context::WriteContext<'_>| {
        assert!(context.held(&target).is_none());
        let lease = orderlock_core::Lease {
            fence,
            session,
            caller: lease.claim.caller.clone(),
            key_id: lease.claim.key_id,
            fingerprint: lease.claim.fingerprint,
            operation: lease.operation.clone(),
            attempt: 1,
            since: context.now.wall,
            steps: 0,
            resumed: None,
        };
        let state = orderlock_core::LeaseState::Held(lease);
        let place = crate::file::rows::ListPlace {
            row: 1,
            created: context.now.wall,
        };
        let held = crate::state::leases::Held::new(state, place, 0);
        context.stage(&target, held.map(crate::state::leases::Held::doubted));
        Ok(())
    };
    bench.on_writer(put_back).await.unwrap();
    let other = bench.store.acquire(bench.request("o", "other")).await;
    assert!(matches!(other, Ok(Acquired::Held(_))), "{other:?}");

    let again = accepted(bench.store.settle(settle).await.unwrap());
    assert_eq!(again.receipt, receipt);
    assert_eq!(bench.view("o").await.version, Version(2), "applied once");
    granted(
        bench
            .store
            .acquire(bench.request("o", "other"))
            .await
            .unwrap(),
    );
}

/// A damaged page is found when it is read, and said to be damage.
#[tokio::test]
async fn a_damaged_row_is_called_damaged() {
    let bench = Bench::new().await;
    bench.order("o-damaged").await;
    bench
        .on_writer(|context| {
            let sql = "UPDATE entries SET outcome = 'nonsense'";
            Ok(context.connection.execute(sql, [])?)
        })
        .await
        .unwrap();
    let request = orderlock_core::store::History {
        target: orderlock_testkit::fixtures::ids::target("o-damaged"),
        limit: 10,
        cursor: None,
    };
    let error = bench.store.history(request).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    names_the_order(&error);
}

/// Whoever has to mend it must know which order it is.
#[track_caller]
fn names_the_order(error: &StoreError) {
    let cause = std::error::Error::source(error).unwrap().to_string();
    assert!(cause.contains("the order o-damaged"), "{cause}");
}

#[tokio::test]
async fn a_damaged_order_is_named_wherever_it_is_met() {
    let options = crate::SqliteOptions::default().with_order_memory(0);
    let bench = Bench::with(options).await;
    for order in ["o-well", "o-damaged"] {
        bench.order(order).await;
    }
    let mut marked = bench.request("o-damaged", "k");
    marked.mark = Some(orderlock_core::Recovery::Reconcile);
    granted(bench.store.acquire(marked).await.unwrap());
    let session = bench.session;
    let left = orderlock_core::store::Leave { session };
    bench.store.leave(left).await.unwrap();
    let damage = "UPDATE marks SET operation = 'no name' || char(7)";
    let damaged = bench.on_writer(move |context| Ok(context.connection.execute(damage, [])?));
    assert_eq!(damaged.await.unwrap(), 1);
    let target = orderlock_testkit::fixtures::ids::target("o-damaged");
    let read = orderlock_core::store::Read { target };
    names_the_order(&bench.store.read(read).await.unwrap_err());
    let list = orderlock_core::store::List {
        tenant: orderlock_core::Tenant::single(),
        filter: orderlock_core::store::Filter::default(),
        limit: 9,
        cursor: None,
    };
    names_the_order(&bench.store.list(list).await.unwrap_err());
    let acquired = bench.store.acquire(bench.request("o-damaged", "other"));
    names_the_order(&acquired.await.unwrap_err());
    assert_eq!(bench.view("o-well").await.version, Version(1));
}

#[tokio::test]
async fn every_list_is_read_in_the_order_of_an_index() {
    use orderlock_core::store::Filter;
    let bench = Bench::new().await;
    let some = || Some(String::from("x"));
    for (status, customer) in [
        (None, None),
        (some(), None),
        (None, some()),
        (some(), some()),
    ] {
        let filter = Filter {
            status,
            customer,
            locked: None,
        };
        let sql = format!(
            "EXPLAIN QUERY PLAN {}",
            crate::verbs::lists::list_statement(&filter)
        );
        let plan: Vec<String> = bench
            .on_writer(move |context| {
                let mut statement = context.connection.prepare(&sql)?;
                let steps = statement.query_map(
                    named_params! {
                        ":tenant": "t", ":created": 9, ":id": "o", ":status": "x",
                        ":customer": "x",
                    },
                    |row| row.get(3),
                )?;
                Ok(steps.collect::<Result<_, _>>()?)
            })
            .await
            .unwrap();
        println!("{filter:?}: {plan:?}");
        assert!(
            plan.iter().all(|step| !step.contains("TEMP B-TREE")),
            "{plan:?}"
        );
        assert!(
            plan.iter().any(|step| step.contains("INDEX orders_by")),
            "{plan:?}"
        );
    }
}

/// Settled comes with its answer also while the writer is busy with others.
#[tokio::test]
async fn a_replay_waits_for_no_commit() {
    let bench = Bench::new().await;
    bench.order("o").await;
    let settle = bench.held("o", "k").await;
    let accepted_settle = bench.store.settle(settle).await.unwrap();
    assert!(matches!(accepted_settle, Settled::Accepted(_)));
    let stopped = bench.stop().await;
    let replay = bench.store.acquire(bench.request("o", "k")).await.unwrap();
    assert!(matches!(replay, Acquired::Settled(_)), "{replay:?}");
    stopped.go();
}
