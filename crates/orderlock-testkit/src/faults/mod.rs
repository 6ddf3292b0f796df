//! A store that fails on demand: before, after, late, twice, or not at all.

mod plan;

use std::fmt;
use std::future::{Future, pending};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::stream::BoxStream;
use orderlock_core::store::{
    Acquire, Acquired, BreakLease, Broken, Create, Created, Entries, EntriesSince, Entry, Expire,
    Expired, History, Join, Joined, Known, Leases, Leave, Left, List, Lookup, MarkEnd, OrderView,
    Page, Read, Release, Released, Renew, Renewed, Resolve, Resolved, Settle, Settled, StoreFuture,
    StoreInfo, Sweep, Swept, Undo,
};
use orderlock_core::{LeaseView, OrderStore, StoreError, Target};

use plan::When;
pub use plan::{Fault, Gate, Plan, Verb};

/// A fault that has struck.
#[derive(Clone, Debug)]
pub struct Struck {
    /// Which call it was, counted over all verbs from 1.
    pub step: u64,
    /// The verb whose call failed.
    pub verb: Verb,
    /// The fault that struck the call.
    pub fault: Fault,
}

/// A store round another that fails as planned. Clones are the same store.
///
/// Calls are counted when their futures are first polled. A call whose caller goes away at the gate
/// of a [`Fault::DelayBefore`] does not happen any more, as a request that never left.
/// [`describe`](OrderStore::describe) and [`freed`](OrderStore::freed) never fail.
pub struct FaultStore<S> {
    inner: Arc<S>,
    ledger: Arc<Mutex<Ledger>>,
}

#[derive(Debug, Default)]
struct Ledger {
    plan: Vec<(When, Fault)>,
    calls: Vec<Verb>,
    struck: Vec<Struck>,
    severed: bool,
}

impl<S> FaultStore<S> {
    /// Wraps a store, with a plan of the calls that fail.
    #[must_use]
    pub fn new(inner: S, plan: Plan) -> Self {
        let ledger = Ledger {
            plan: plan.0,
            ..Ledger::default()
        };
        Self {
            inner: Arc::new(inner),
            ledger: Arc::new(Mutex::new(ledger)),
        }
    }

    /// The store inside, which never fails on demand.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Adds to what shall go wrong; the counts go on from where they are.
    pub fn plan(&self, plan: Plan) {
        self.with_ledger(|ledger| ledger.plan.extend(plan.0));
    }

    /// The next call of a verb goes wrong.
    pub fn fail_next(&self, verb: Verb, fault: Fault) {
        self.with_ledger(|ledger| {
            let number = ledger.number_of(verb) + 1;
            ledger.plan.push((When::Call(verb, number), fault));
        });
    }

    /// From now on no call reaches the store and none is answered, as for a node that is cut off or
    /// dead. Do this before a node's futures are dropped: what they do while they are dropped, a
    /// killed process does not do.
    pub fn sever(&self) {
        self.with_ledger(|ledger| ledger.severed = true);
    }

    /// Calls reach the store again. Those that were made in between are never answered.
    pub fn mend(&self) {
        self.with_ledger(|ledger| ledger.severed = false);
    }

    /// What has gone wrong so far, in order; a severed store's calls are not among it.
    #[must_use]
    pub fn struck(&self) -> Vec<Struck> {
        self.with_ledger(|ledger| ledger.struck.clone())
    }

    /// Every call so far, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<Verb> {
        self.with_ledger(|ledger| ledger.calls.clone())
    }

    fn with_ledger<T>(&self, use_it: impl FnOnce(&mut Ledger) -> T) -> T {
        use_it(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Ledger {
    fn number_of(&self, verb: Verb) -> u64 {
        self.calls.iter().filter(|call| **call == verb).count() as u64
    }

    /// Counts a call in, and says what goes wrong with it.
    fn enter(&mut self, verb: Verb) -> Option<Fault> {
        self.calls.push(verb);
        if self.severed {
            return Some(Fault::Hang);
        }
        let step = self.calls.len() as u64;
        let call = When::Call(verb, self.number_of(verb));
        let due = |(when, _): &(When, Fault)| *when == When::Step(step) || *when == call;
        let place = self.plan.iter().position(due)?;
        let (_, fault) = self.plan.remove(place);
        self.struck.push(Struck {
            step,
            verb,
            fault: fault.clone(),
        });
        Some(fault)
    }
}

impl<S: OrderStore> FaultStore<S> {
    /// One call of a verb, counted when its future is first polled.
    fn call<T, R, V, F>(&self, verb: Verb, request: R, ask: V) -> StoreFuture<'_, T>
    where
        T: Send,
        R: Clone + Send + Sync + 'static,
        V: Fn(Arc<S>, R) -> F + Send + Sync + 'static,
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let inner = Arc::clone(&self.inner);
        async move {
            let ask = |request| ask(Arc::clone(&inner), request);
            match self.with_ledger(|ledger| ledger.enter(verb)) {
                None => ask(request).await,
                Some(Fault::FailBefore) => Err(StoreError::NotApplied("planned".into())),
                Some(Fault::LoseRequest) => Err(StoreError::OutcomeUnknown("planned".into())),
                Some(Fault::FailAfter) => {
                    ask(request).await?;
                    Err(StoreError::OutcomeUnknown("planned".into()))
                }
                Some(Fault::DelayBefore(gate)) => {
                    gate.pass().await;
                    ask(request).await
                }
                Some(Fault::DelayAfter(gate)) => {
                    let answer = ask(request).await;
                    gate.pass().await;
                    answer
                }
                Some(Fault::Repeat) => {
                    ask(request.clone()).await?;
                    ask(request).await
                }
                Some(Fault::DropAnswer) => {
                    ask(request).await?;
                    pending().await
                }
                Some(Fault::Hang) => pending().await,
            }
        }
        .boxed()
    }
}

impl<S> Clone for FaultStore<S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            ledger: Arc::clone(&self.ledger),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for FaultStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FaultStore").field(&self.inner).finish()
    }
}

macro_rules! faulty {
    ($($verb:ident $call:ident: $request:ty => $answer:ty;)+) => {
        #[deny(clippy::missing_trait_methods)]
        impl<S: OrderStore> OrderStore for FaultStore<S> {
            fn describe(&self) -> StoreInfo {
                self.inner.describe()
            }

            fn freed(&self) -> BoxStream<'static, Target> {
                self.inner.freed()
            }

            $(fn $call(&self, request: $request) -> StoreFuture<'_, $answer> {
                self.call(Verb::$verb, request, |inner, request| async move {
                    inner.$call(request).await
                })
            })+
        }
    };
}

faulty! {
    Join join: Join => Joined;
    Renew renew: Renew => Renewed;
    Leave leave: Leave => Left;
    Sweep sweep: Sweep => Swept;
    Create create: Create => Created;
    Read read: Read => Option<OrderView>;
    List list: List => Page<OrderView>;
    History history: History => Option<Page<Entry>>;
    MarkEnd mark_end: MarkEnd => Option<Entry>;
    Lookup lookup: Lookup => Known;
    Acquire acquire: Acquire => Acquired;
    Settle settle: Settle => Settled;
    Release release: Release => Released;
    Undo undo: Undo => Released;
    Leases leases: Leases => Page<LeaseView>;
    BreakLease break_lease: BreakLease => Broken;
    Resolve resolve: Resolve => Resolved;
    EntriesSince entries_since: EntriesSince => Entries;
    Expire expire: Expire => Expired;
}
