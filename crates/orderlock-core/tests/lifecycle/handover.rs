//! A pure operation begins on what is accepted and not durable yet; nothing is told before.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join;
use orderlock_core::{Denied, Ended, Failed, Limits, Operation, OperationRequest, Version};
use orderlock_testkit::faults::{Fault, FaultStore, Gate, Plan, Verb};

use crate::late::Late;
use crate::nodes::add_on;
use crate::world::{Ending, Handler, World, asking, patient, request, settled};

/// A request for a pure operation that is ready to wait.
pub(crate) fn pure(key: &str) -> OperationRequest {
    OperationRequest {
        wait: Duration::from_secs(30),
        ..asking(Operation::named("add").pure(), key, "{}")
    }
}

pub(crate) type Asked = std::pin::Pin<Box<dyn Future<Output = Ending>>>;

pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) late: Late,
}

impl Scene {
    pub(crate) async fn new(limits: Limits) -> Self {
        let mut late = None;
        let world = World::over(limits, |memory| late.insert(Late::new(memory)).clone()).await;
        let late = late.expect("it was made");
        Self { world, late }
    }

    fn ask(&self, request: OperationRequest) -> (Asked, Handler) {
        let (ended, handler) = self.world.add_later(request);
        (ended.boxed(), handler)
    }

    /// The key `first` is accepted and not durable, and the next request has its turn, if it may.
    pub(crate) async fn accepted(&self, next: OperationRequest) -> (Asked, Asked, Handler) {
        let (mut first, mut handler) = self.ask(pure("first"));
        handler.begun().await;
        let (next, next_handler) = self.ask(next);
        self.world.waiting(1).await;
        handler.go();
        self.late.accepted().await;
        quiet(&mut first).await;
        (first, next, next_handler)
    }
}

/// Nothing is told, however often everybody else has had a turn.
async fn quiet(asked: &mut Asked) {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(asked.now_or_never().is_none(), "it was told too early");
}

#[tokio::test]
async fn a_pure_successor_begins_early_and_both_are_told_when_it_is_durable() {
    let scene = Scene::new(Limits::default()).await;
    let (mut first, mut second, mut handler) = scene.accepted(pure("second")).await;
    handler.begun().await;
    handler.go();
    quiet(&mut second).await;
    quiet(&mut first).await;
    scene.late.flush();
    let (first, second) = join(first, second).await;
    assert_eq!(settled(first).0, r#"applied {"count":1}"#);
    assert_eq!(settled(second).0, r#"applied {"count":2}"#);
    World::assert_free(&scene.world.view().await, 3, 2);
}

#[tokio::test]
async fn any_other_successor_begins_when_it_is_durable() {
    let scene = Scene::new(Limits::default()).await;
    let (first, mut second, mut handler) = scene.accepted(patient("second")).await;
    quiet(&mut second).await;
    assert!(!handler.has_begun(), "it calls who knows what");
    scene.late.flush();
    settled(first.await);
    handler.begun().await;
    handler.go();
    settled(second.await);
}

#[tokio::test]
async fn a_failure_is_told_when_its_ground_is_durable() {
    let scene = Scene::new(Limits::default()).await;
    let (first, mut second, mut handler) = scene.accepted(pure("second")).await;
    handler.begun().await;
    drop(handler);
    quiet(&mut second).await;
    scene.late.flush();
    settled(first.await);
    let failed = second.await;
    assert!(
        matches!(
            &failed,
            Ended::Failed {
                failure: Failed::Error(_),
                ..
            }
        ),
        "{failed:?}"
    );
    World::assert_free(&scene.world.view().await, 2, 1);
}

#[tokio::test]
async fn an_equal_request_finds_the_one_that_settles() {
    let scene = Scene::new(Limits::default()).await;
    let (first, second, mut handler) = scene.accepted(pure("second")).await;
    handler.begun().await;
    let mut equal = scene.world.add(pure("first")).boxed() as Asked;
    quiet(&mut equal).await;
    let hasty = OperationRequest {
        wait: Duration::ZERO,
        ..pure("first")
    };
    // The journal of the model has it already; a durable one would not.
    let hasty = scene.world.add(hasty).await;
    assert!(
        matches!(
            &hasty,
            Ended::Denied(Denied::InProgress(Some(_))) | Ended::Settled { .. }
        ),
        "{hasty:?}"
    );
    scene.late.flush();
    settled(first.await);
    assert_eq!(
        settled(equal.await),
        (r#"applied {"count":1}"#.into(), true)
    );
    handler.go();
    settled(second.await);
    assert_eq!(scene.world.count().await, 2);
}

#[tokio::test]
async fn a_failure_on_a_lost_settle_is_told_as_lost() {
    let scene = Scene::new(Limits::default()).await;
    let (first, mut second, mut handler) = scene.accepted(pure("second")).await;
    handler.begun().await;
    drop(handler);
    quiet(&mut second).await;
    scene.late.lose();
    let lost = first.await;
    assert!(matches!(lost, Ended::Lost { .. }), "{lost:?}");
    let lost = second.await;
    assert!(
        matches!(lost, Ended::Lost { partial: None, .. }),
        "{lost:?}"
    );
}

#[tokio::test]
async fn a_chain_has_its_bound() {
    for chain in [0, 1] {
        let limits = Limits {
            chain,
            ..Limits::default()
        };
        let scene = Scene::new(limits).await;
        let (first, second, mut handler) = scene.accepted(pure("second")).await;
        if chain == 0 {
            assert!(!handler.has_begun());
            scene.late.flush();
            handler.begun().await;
            handler.go();
        } else {
            handler.begun().await;
            let (third, mut last) = scene.ask(pure("third"));
            scene.world.waiting(2).await;
            handler.go();
            scene.late.accepted().await;
            tokio::task::yield_now().await;
            assert!(!last.has_begun(), "one settle is under way already");
            scene.late.flush();
            scene.late.flush();
            last.begun().await;
            last.go();
            settled(third.await);
        }
        settled(first.await);
        settled(second.await);
    }
}

/// What was asked for the next in line is an answer too: it rests on what is not durable.
#[tokio::test]
async fn an_answer_that_was_handed_over_waits_as_well() {
    for loses in [false, true] {
        let scene = Scene::new(Limits::default()).await;
        let stale = OperationRequest {
            expected: Some(Version(1)),
            ..pure("second")
        };
        let (first, mut second, mut handler) = scene.accepted(stale).await;
        quiet(&mut second).await;
        match loses {
            true => scene.late.lose(),
            false => scene.late.flush(),
        }
        let (_, second) = join(first, second).await;
        let current = Version(2);
        assert!(
            matches!(&second, Ended::Denied(Denied::VersionMismatch { current: at }) if *at == current),
            "{second:?}"
        );
        assert!(!handler.has_begun());
    }
}

/// If the settle is lost, so is what was asked with it, and the order may have gone on since.
#[tokio::test]
async fn an_answer_that_rests_on_a_lost_settle_is_asked_for_anew() {
    for loses in [false, true] {
        let scene = Scene::new(Limits::default()).await;
        let next = OperationRequest {
            expected: Some(Version(3)),
            ..pure("second")
        };
        let (first, second, handler) = scene.accepted(next).await;
        let (world, limits) = (&scene.world, Limits::default());
        let elsewhere = World::node(&world.store, &world.runtime, "node-2", limits);
        settled(add_on(&elsewhere, request("elsewhere")).await);
        match loses {
            true => scene.late.lose(),
            false => scene.late.flush(),
        }
        let _ended = first.await;
        if loses {
            handler.go();
            settled(second.await);
        } else {
            let told = second.await;
            let current = Version(2);
            assert!(
                matches!(&told, Ended::Denied(Denied::VersionMismatch { current: at }) if *at == current),
                "{told:?}"
            );
        }
    }
}

/// It goes away after it was offered the order and before it is told.
#[tokio::test]
async fn a_successor_that_has_gone_is_passed_over() {
    let (mut late, mut faulty) = (None, None);
    let world = World::over(Limits::default(), |memory| {
        let late = late.insert(Late::new(memory)).clone();
        let store = Arc::new(FaultStore::new(late, Plan::new()));
        Arc::clone(faulty.insert(store))
    });
    let world = world.await;
    let (late, store) = late.zip(faulty).expect("they were made");
    let (first, mut handler) = world.add_later(pure("first"));
    handler.begun().await;
    let (gone, mut never) = world.add_later(pure("gone"));
    world.waiting(1).await;
    let last = world.add(pure("last"));
    world.waiting(2).await;
    let settling = Gate::new();
    store.fail_next(Verb::Settle, Fault::DelayAfter(settling.clone()));
    handler.go();
    settling.reached(1).await;
    drop(gone);
    let mut first = first.boxed() as Asked;
    quiet(&mut first).await;
    settling.open();
    quiet(&mut first).await;
    late.flush();
    settled(first.await);
    assert_eq!(settled(last.await).0, r#"applied {"count":2}"#);
    assert!(!never.has_begun());
    World::assert_free(&world.view().await, 3, 2);
}

#[tokio::test]
async fn a_drain_waits_for_what_settles() {
    let scene = Scene::new(Limits::default()).await;
    let (first, second, mut handler) = scene.accepted(pure("second")).await;
    handler.begun().await;
    handler.go();
    let lifecycle = scene.world.lifecycle.clone();
    let mut drain = Box::pin(async move { lifecycle.drain(Duration::from_secs(10)).await });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(
        (&mut drain).now_or_never().is_none(),
        "two are on their way"
    );
    scene.late.flush();
    drain.await.unwrap();
    settled(first.await);
    settled(second.await);
}
