//! A node's way to the store, on which requests and answers are lost, late, or come twice.

use std::fmt;
use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use orderlock_core::store::{
    Acquire, Acquired, BreakLease, Broken, Create, Created, Durable, Entries, EntriesSince, Entry,
    Expire, Expired, History, Join, Joined, Known, Leases, Leave, Left, List, Lookup, MarkEnd,
    OrderView, Page, Read, Release, Released, Renew, Renewed, Resolve, Resolved, Settle, Settled,
    StoreFuture, StoreInfo, Sweep, Swept, Undo,
};
use orderlock_core::{LeaseView, OrderStore, StoreError, Target};

use super::executor::{Executor, OUTSIDE};
use super::scene::Scene;

/// What may go wrong between a node and its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strike {
    /// It did not happen, and the node is told so.
    FailBefore,
    /// It happened, and the node is told that nobody knows.
    FailAfter,
    /// It did not happen, and the node is told that nobody knows.
    LoseRequest,
    /// It does not happen and is never answered.
    Hang,
    /// It happens and is never answered.
    DropAnswer,
    /// It happens much later, perhaps after the lease, and is never answered.
    Late,
    /// It happens now, is answered, and happens again later.
    Duplicate,
    /// It happens, and the answer takes its time.
    SlowAnswer,
    /// A settle takes its time to become durable.
    SlowFlush,
    /// Nobody says whether an accepted settle has become durable.
    LostFlush,
}

impl Strike {
    pub(super) const ALL: [Self; 10] = [
        Self::FailBefore,
        Self::FailAfter,
        Self::LoseRequest,
        Self::Hang,
        Self::DropAnswer,
        Self::Late,
        Self::Duplicate,
        Self::SlowAnswer,
        Self::SlowFlush,
        Self::LostFlush,
    ];

    /// Those that any verb may meet.
    pub(super) const ON_THE_WAY: [Self; 8] = [
        Self::FailBefore,
        Self::FailAfter,
        Self::LoseRequest,
        Self::Hang,
        Self::DropAnswer,
        Self::Late,
        Self::Duplicate,
        Self::SlowAnswer,
    ];

    /// Those that meet an accepted settle on its way to the disk.
    pub(super) const OF_A_FLUSH: [Self; 2] = [Self::SlowFlush, Self::LostFlush];
}

/// The store as one run of a node sees it.
pub(super) struct NodeStore {
    scene: Arc<Scene>,
    /// Set before the node's futures are dropped: what they do then, a killed process does not do.
    dead: Arc<AtomicBool>,
}

impl NodeStore {
    pub(super) fn new(scene: &Arc<Scene>, dead: &Arc<AtomicBool>) -> Self {
        Self {
            scene: Arc::clone(scene),
            dead: Arc::clone(dead),
        }
    }

    async fn alive(&self) {
        if self.dead.load(Ordering::Acquire) {
            pending::<()>().await;
        }
    }

    fn call<T, R, F>(
        &self,
        verb: &'static str,
        request: R,
        ask: impl Fn(Arc<Scene>, R) -> F + Send + Sync + 'static,
    ) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        R: Clone + Send + Sync + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        async move {
            self.alive().await;
            let (strike, before, after) = self.scene.on_the_way(verb);
            self.scene.trace.note(format_args!("{verb} {strike:?}"));
            Executor::yields(before).await;
            self.alive().await;
            let ask = |request| ask(Arc::clone(&self.scene), request);
            let answer = match strike {
                None | Some(Strike::SlowFlush | Strike::LostFlush) => ask(request).await,
                Some(Strike::FailBefore) => Err(StoreError::NotApplied("planned".into())),
                Some(Strike::LoseRequest) => Err(unknown()),
                Some(Strike::FailAfter) => ask(request).await.and(Err(unknown())),
                Some(Strike::Hang) => pending().await,
                Some(Strike::DropAnswer) => {
                    drop(ask(request).await);
                    pending().await
                }
                Some(Strike::Late) => {
                    self.deliver_later(ask(request));
                    pending().await
                }
                Some(Strike::SlowAnswer) => {
                    let answer = ask(request).await;
                    // Shorter than what a session or a wait for the store allows.
                    let pause = self.scene.executor.sleep(self.scene.delay() / 32);
                    pause.await;
                    answer
                }
                Some(Strike::Duplicate) => {
                    self.deliver_later(ask(request.clone()));
                    // While a copy is under way, nobody can say that it will not happen.
                    ask(request).await.map_err(|_| unknown())
                }
            };
            Executor::yields(after).await;
            self.alive().await;
            answer
        }
        .boxed()
    }

    /// What is on the wire comes to the store even if its sender has died.
    fn deliver_later<T: Send + 'static>(
        &self,
        verb: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) {
        let pause = self.scene.executor.sleep(self.scene.delay());
        let deliver = async move {
            pause.await;
            drop(verb.await);
        };
        self.scene.executor.spawn(OUTSIDE, deliver.boxed());
    }

    fn flush(&self, settled: Settled) -> Settled {
        let Settled::Accepted(mut accepted) = settled else {
            return settled;
        };
        let executor = self.scene.executor.clone();
        match self.scene.strike_of(&Strike::OF_A_FLUSH, "flush") {
            Some(Strike::SlowFlush) => {
                let delay = self.scene.delay() / 32;
                let durable = accepted.durable;
                accepted.durable = Durable::later(async move {
                    let fate = durable.await;
                    executor.sleep(delay).await;
                    fate
                });
            }
            Some(_) => accepted.durable = Durable::later(async { Err(unknown()) }),
            None => {}
        }
        Settled::Accepted(accepted)
    }
}

fn unknown() -> StoreError {
    StoreError::OutcomeUnknown("planned".into())
}

impl fmt::Debug for NodeStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeStore").finish_non_exhaustive()
    }
}

macro_rules! over_the_wire {
    ($($verb:ident: $request:ty => $answer:ty;)+) => {
        #[deny(clippy::missing_trait_methods)]
        impl OrderStore for NodeStore {
            fn describe(&self) -> StoreInfo {
                self.scene.base.describe()
            }

            fn freed(&self) -> BoxStream<'static, Target> {
                self.scene.base.freed()
            }

            fn settle(&self, request: Settle) -> StoreFuture<'_, Settled> {
                let settle = self.call("settle", request, |scene, request: Settle| {
                    let asked: BoxFuture<'static, _> =
                        async move { scene.settle(request).await }.boxed();
                    asked
                });
                settle.map(|settled| settled.map(|settled| self.flush(settled))).boxed()
            }

            $(fn $verb(&self, request: $request) -> StoreFuture<'_, $answer> {
                self.call(stringify!($verb), request, |scene, request| async move {
                    scene.$verb(request).await
                })
            })+
        }
    };
}

over_the_wire! {
    join: Join => Joined;
    renew: Renew => Renewed;
    leave: Leave => Left;
    sweep: Sweep => Swept;
    create: Create => Created;
    read: Read => Option<OrderView>;
    list: List => Page<OrderView>;
    history: History => Option<Page<Entry>>;
    mark_end: MarkEnd => Option<Entry>;
    lookup: Lookup => Known;
    acquire: Acquire => Acquired;
    release: Release => Released;
    undo: Undo => Released;
    leases: Leases => Page<LeaseView>;
    break_lease: BreakLease => Broken;
    resolve: Resolve => Resolved;
    entries_since: EntriesSince => Entries;
    expire: Expire => Expired;
}
