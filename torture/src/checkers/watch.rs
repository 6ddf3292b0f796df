//! A node's way to the store, on which every question and every answer is noted.

use std::fmt;
use std::future::{Future, pending};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::stream::BoxStream;
use orderlock_core::store::{
    Accepted, Acquire, Acquired, BreakLease, Broken, Create, Created, Durable, Entries,
    EntriesSince, Entry, Expire, Expired, History, Join, Joined, Known, Leases, Leave, Left, List,
    Lookup, MarkEnd, OrderView, Page, Read, Release, Released, Renew, Renewed, Resolve, Resolved,
    Settle, Settled, StoreFuture, StoreInfo, Sweep, Swept, Undo,
};
use orderlock_core::{LeaseView, OrderId, OrderStore, StoreError, Target};

use super::book::Book;
use crate::ledger::lock;
use crate::scene::Scene;
use crate::tale::Tale;

/// The store as one run of a node sees it.
pub(crate) struct Watched {
    store: Arc<dyn OrderStore>,
    scene: Weak<Scene>,
    place: usize,
    /// Set before the node's futures are dropped: what they do then, a killed process does not do.
    dead: Arc<AtomicBool>,
    /// Counts the rounds of the node's own housekeeping that were answered.
    rounds: Arc<AtomicU64>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.store).finish()
    }
}

impl Watched {
    pub(crate) fn new(
        store: Arc<dyn OrderStore>,
        (scene, place): (&Arc<Scene>, usize),
        dead: &Arc<AtomicBool>,
        rounds: &Arc<AtomicU64>,
    ) -> Self {
        Self {
            store,
            scene: Arc::downgrade(scene),
            place,
            dead: Arc::clone(dead),
            rounds: Arc::clone(rounds),
        }
    }

    /// The run, while the node lives.
    async fn scene(&self) -> Arc<Scene> {
        match self.scene.upgrade() {
            Some(scene) if !self.dead.load(Ordering::Acquire) => scene,
            _ => pending().await,
        }
    }

    /// Asks the store, and counts how that ended.
    async fn ask<T>(
        &self,
        verb: &'static str,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let under_way = self.scene().await.ledger.asks(verb, self.place);
        let answer = answer.await;
        drop(under_way);
        let scene = self.scene().await;
        match &answer {
            Ok(_) => scene.ledger.verb(format!("{verb} answered")),
            Err(error) => scene.ledger.verb(format!("{verb} {}", word(error))),
        }
        answer
    }

    /// Asks about one order, with a note before and after.
    async fn note<T>(
        &self,
        verb: &'static str,
        order: &OrderId,
        before: impl FnOnce(&mut Book, u64),
        answer: impl Future<Output = Result<T, StoreError>>,
        after: impl FnOnce(&mut Book, &Result<T, StoreError>, (u64, u64)) -> Vec<String>,
    ) -> Result<T, StoreError> {
        let scene = self.scene().await;
        let tale = scene.tale(order);
        let sent = noted(&scene, tale.as_ref(), before);
        drop(scene);
        let begun = Instant::now();
        let answer = self.ask(verb, answer).await;
        let scene = self.scene().await;
        if let Some(tale) = tale {
            let broken = {
                let mut book = lock(&tale.book);
                let now = scene.tick();
                if let Err(error) = &answer {
                    book.failed_to(verb, error, begun.elapsed());
                }
                after(&mut book, &answer, (sent, now))
            };
            tell(&scene, &tale, verb, broken);
        }
        answer
    }

    /// Notes what becomes of a settle that was accepted before it is durable.
    fn until_durable(&self, asked: Settle, accepted: Accepted) -> Accepted {
        if accepted.durable.is_already() {
            return accepted;
        }
        let (scene, next) = (Weak::clone(&self.scene), accepted.next.clone());
        let (durable, begun) = (accepted.durable, Instant::now());
        Accepted {
            durable: Durable::later(async move {
                let fate = durable.await;
                let scene = scene.upgrade();
                let tale = scene.as_ref().and_then(|it| it.tale(&asked.claim.order));
                if let (Some(scene), Some(tale)) = (scene, tale) {
                    let broken = {
                        let mut book = lock(&tale.book);
                        let now = scene.tick();
                        if let Err(error) = &fate {
                            book.failed_to("settle, once accepted,", error, begun.elapsed());
                        }
                        book.hardened(&asked, next.as_ref(), &fate, now)
                    };
                    tell(&scene, &tale, "settle", broken);
                }
                fate
            }),
            ..accepted
        }
    }
}

/// Tells what broke.
fn tell(scene: &Scene, tale: &Tale, verb: &str, broken: Vec<String>) {
    for what in broken {
        let order = &tale.order;
        scene.ledger.violation(&format!("{order}: {what} ({verb})"));
    }
}

/// Takes the moment at which something is sent.
fn noted(scene: &Scene, tale: Option<&Arc<Tale>>, note: impl FnOnce(&mut Book, u64)) -> u64 {
    let Some(tale) = tale else {
        return scene.tick();
    };
    let mut book = lock(&tale.book);
    let now = scene.tick();
    note(&mut book, now);
    now
}

fn word(error: &StoreError) -> &'static str {
    match error {
        StoreError::NotApplied(_) => "not applied",
        StoreError::OutcomeUnknown(_) => "in doubt",
        StoreError::Full(_) => "full",
        StoreError::ReadOnly(_) => "read-only",
        StoreError::Corrupt(_) => "corrupt",
        StoreError::Unsupported(_) => "unsupported",
        StoreError::InvalidCursor => "invalid cursor",
        _ => "otherwise",
    }
}

macro_rules! watched {
    ($($verb:ident: $request:ty => $answer:ty;)+) => {
        #[deny(clippy::missing_trait_methods)]
        impl OrderStore for Watched {
            fn describe(&self) -> StoreInfo {
                self.store.describe()
            }

            fn freed(&self) -> BoxStream<'static, Target> {
                self.store.freed()
            }

            fn acquire(&self, request: Acquire) -> StoreFuture<'_, Acquired> {
                async move {
                    let (order, asked) = (request.claim.order.clone(), request.clone());
                    let before = |book: &mut Book, now| book.asks(&asked, now);
                    self.note("acquire", &order, before, self.store.acquire(request), {
                        |book, told, (_, now)| match told {
                            Ok(told) => book.acquired(&asked, told, now),
                            Err(_) => Vec::new(),
                        }
                    })
                    .await
                }
                .boxed()
            }

            fn settle(&self, request: Settle) -> StoreFuture<'_, Settled> {
                async move {
                    let (order, asked) = (request.claim.order.clone(), request.clone());
                    let before = |book: &mut Book, now| book.settles(&asked, now);
                    let settled = self.note("settle", &order, before, self.store.settle(request), {
                        |book, told, (_, now)| book.settled(&asked, told, now)
                    });
                    Ok(match settled.await? {
                        Settled::Accepted(accepted) => {
                            Settled::Accepted(self.until_durable(asked, accepted))
                        }
                        other => other,
                    })
                }
                .boxed()
            }

            fn release(&self, request: Release) -> StoreFuture<'_, Released> {
                async move {
                    let (order, asked) = (request.target.order.clone(), request.clone());
                    let before = |book: &mut Book, now| book.releases(&asked, now);
                    self.note("release", &order, before, self.store.release(request), {
                        |book, told, (_, now)| book.released(&asked, told, now)
                    })
                    .await
                }
                .boxed()
            }

            fn undo(&self, request: Undo) -> StoreFuture<'_, Released> {
                async move {
                    let (order, asked) = (request.target.order.clone(), request.clone());
                    let before = |book: &mut Book, now| book.undoes(&asked, now);
                    self.note("undo", &order, before, self.store.undo(request), {
                        |book, told, (_, now)| book.undone(&asked, told, now)
                    })
                    .await
                }
                .boxed()
            }

            fn resolve(&self, request: Resolve) -> StoreFuture<'_, Resolved> {
                async move {
                    let (order, asked) = (request.target.order.clone(), request.clone());
                    let before = |book: &mut Book, now| book.resolves(&asked, now);
                    self.note("resolve", &order, before, self.store.resolve(request), {
                        |book, told, moments| {
                            book.resolved(&asked, told, moments);
                            Vec::new()
                        }
                    })
                    .await
                }
                .boxed()
            }

            fn read(&self, request: Read) -> StoreFuture<'_, Option<OrderView>> {
                async move {
                    let order = request.target.order.clone();
                    let before = |_: &mut Book, _| {};
                    self.note("read", &order, before, self.store.read(request), {
                        |book, told, moments| match told {
                            Ok(Some(view)) => book.read(view, moments),
                            _ => Vec::new(),
                        }
                    })
                    .await
                }
                .boxed()
            }

            fn create(&self, request: Create) -> StoreFuture<'_, Created> {
                async move {
                    let (order, claim) = (request.claim.order.clone(), request.claim.clone());
                    let before = |book: &mut Book, _| book.name(&claim);
                    self.note("create", &order, before, self.store.create(request), {
                        |_, _, _| Vec::new()
                    })
                    .await
                }
                .boxed()
            }

            fn expire(&self, request: Expire) -> StoreFuture<'_, Expired> {
                async move {
                    drop(self.scene().await);
                    let expired = self.ask("expire", self.store.expire(request)).await?;
                    self.rounds.fetch_add(1, Ordering::AcqRel);
                    Ok(expired)
                }
                .boxed()
            }

            $(fn $verb(&self, request: $request) -> StoreFuture<'_, $answer> {
                async move {
                    drop(self.scene().await);
                    self.ask(stringify!($verb), self.store.$verb(request)).await
                }
                .boxed()
            })+
        }
    };
}

watched! {
    join: Join => Joined;
    renew: Renew => Renewed;
    leave: Leave => Left;
    sweep: Sweep => Swept;
    list: List => Page<OrderView>;
    history: History => Option<Page<Entry>>;
    mark_end: MarkEnd => Option<Entry>;
    lookup: Lookup => Known;
    leases: Leases => Page<LeaseView>;
    break_lease: BreakLease => Broken;
    entries_since: EntriesSince => Entries;
}
