//! The lock lifecycle: takes the order's lock, runs the handler, applies what it returns and lets
//! go, in one atomic write. The one place that acquires, settles and releases.
//!
//! A request enters the line of its order, asks the store when it stands at the front, runs its
//! handler in a task of its own, settles, and hands the order to the next in line with the same
//! write. Everything from the grant on happens whether its client is there or not.

mod admission;
mod attempt;
mod checkpoint;
mod create;
mod ended;
mod ending;
mod footing;
mod handover;
mod keeping;
mod keys;
mod line;
mod locked;
mod node;
mod place;
mod resolve;
mod run;
mod session;
mod settle;
mod tries;
mod verbs;
mod views;
mod waiting;
mod word;

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::Instrument as _;

pub use ended::{
    CreateRequest, Denied, Ended, Failed, KeyStatus, OperationRequest, Running, Snapshot,
};
pub use locked::{HeldLease, Interrupted, LockedOrder};
pub use resolve::{Resolution, ResolveRequest, Unresolved};

pub(crate) use node::Node;
use node::Phase;

use crate::{
    Answer, Answers, HandlerError, Limits, OrderStore, OrderType, Outcome, Runtime, Secret,
    SettledView, StoreError, TokioRuntime,
};

/// The lock lifecycle of one node. Cloning it gives another handle on the same node.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    node: Arc<Node>,
}

/// What a [`Lifecycle`] is made from.
#[derive(Debug)]
pub struct LifecycleBuilder {
    store: Arc<dyn OrderStore>,
    answers: Arc<dyn Answers>,
    runtime: Arc<dyn Runtime>,
    limits: Limits,
    node: Option<String>,
}

impl LifecycleBuilder {
    /// Other bounds than the defaults.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Another rendering of answers.
    #[must_use]
    pub fn answers(self, answers: impl Answers) -> Self {
        Self {
            answers: Arc::new(answers),
            ..self
        }
    }

    /// Another source of tasks, time and randomness than Tokio and the machine.
    #[must_use]
    pub fn runtime(self, runtime: Arc<dyn Runtime>) -> Self {
        Self { runtime, ..self }
    }

    /// The node's lasting name. A node that starts again under its name frees the orders that its
    /// last run held at once; two nodes that run at the same time must not share one. Without a
    /// name a random one is drawn, and the orders are freed when the old session lapses.
    #[must_use]
    pub fn node_name(self, name: impl Into<String>) -> Self {
        Self {
            node: Some(name.into()),
            ..self
        }
    }

    /// The lifecycle. It joins the store when it is first needed, or by [`Lifecycle::start`].
    #[must_use]
    pub fn build(self) -> Lifecycle {
        let Self {
            store,
            answers,
            runtime,
            limits,
            node,
        } = self;
        Lifecycle {
            node: Node::new(store, runtime, answers, limits.within_reach(), node),
        }
    }
}

impl Lifecycle {
    /// A lifecycle over a store, with the default limits.
    pub fn builder(store: impl OrderStore, answers: impl Answers) -> LifecycleBuilder {
        LifecycleBuilder {
            store: Arc::new(store),
            answers: Arc::new(answers),
            runtime: Arc::new(TokioRuntime),
            limits: Limits::default(),
            node: None,
        }
    }

    /// What this lifecycle was made from, to make another over the same store: a node of its own,
    /// with its own name, session and lines.
    #[must_use]
    pub fn to_builder(&self) -> LifecycleBuilder {
        LifecycleBuilder {
            store: Arc::clone(&self.node.store),
            answers: Arc::clone(&self.node.answers),
            runtime: Arc::clone(&self.node.runtime),
            limits: self.node.limits.clone(),
            node: None,
        }
    }

    /// Runs an operation under the order's lock.
    ///
    /// It starts at the call, not at the first poll. Dropping the future leaves the line if
    /// nothing has been granted yet; after the grant it changes nothing: the operation runs to its
    /// end, and a retry with the same key gets its answer.
    ///
    /// `work` may run once or not at all; on other requests of the same key, again.
    pub fn run<T, E, W, F>(
        &self,
        request: OperationRequest,
        work: W,
    ) -> impl Future<Output = Ended<E>> + Send + use<T, E, W, F>
    where
        T: OrderType,
        E: HandlerError,
        W: FnOnce(LockedOrder<T>) -> F + Send + 'static,
        F: Future<Output = Result<Outcome<T>, E>> + Send + 'static,
    {
        let answers = Arc::clone(&self.node.answers);
        self.run_described(request, work, move |_| {
            let title = "The operation failed and was not applied";
            let problem = crate::Problem::new(500, "handler-failed", title)
                .retryable(true)
                .applied(crate::AppliedPart::None);
            answers.problem(&problem, None)
        })
    }

    /// Like [`run`](Self::run); `describe` says what requests that were attached to this attempt
    /// are told of the handler's error.
    pub fn run_described<T, E, W, F, D>(
        &self,
        request: OperationRequest,
        work: W,
        describe: D,
    ) -> impl Future<Output = Ended<E>> + Send + use<T, E, W, F, D>
    where
        T: OrderType,
        E: HandlerError,
        W: FnOnce(LockedOrder<T>) -> F + Send + 'static,
        F: Future<Output = Result<Outcome<T>, E>> + Send + 'static,
        D: Fn(&E) -> Answer + Send + 'static,
    {
        let (reply, ended) = oneshot::channel();
        let (client, present) = oneshot::channel::<Infallible>();
        let node = Arc::clone(&self.node);
        let mut refused = None;
        match node.admit() {
            Err(denied) => {
                let claim = move |secret: &Secret| request.claim(secret);
                let refusal = async move { node.refused(claim, denied).await };
                refused = Some(Box::pin(refusal));
            }
            Ok(in_flight) => {
                // Boxed first: the span then goes round a pointer, and not round all of the work,
                // which would be copied once more for each of the two.
                let task = Box::pin(async move {
                    run::serve(node, request, work, describe, client, reply).await;
                    drop(in_flight);
                });
                self.node.runtime.spawn(Box::pin(task.in_current_span()));
            }
        }
        async move {
            if let Some(refused) = refused {
                return refused.await.tell();
            }
            let ended = ended.await;
            drop(present);
            // The task has vanished with its runtime: the same key tells what happened.
            ended.unwrap_or(Ended::Unknown)
        }
    }

    /// Creates an order, at most once for each caller and key.
    ///
    /// The order is inserted with its first entry in one write; what is returned is durable.
    pub async fn create<T: OrderType>(
        &self,
        request: CreateRequest,
        order: T,
    ) -> Ended<Infallible> {
        let answers = Arc::clone(&self.node.answers);
        let render = move |settled: SettledView<'_>| answers.answer(settled);
        self.create_rendered(request, order, render).await
    }

    /// Like [`create`](Self::create); `render` makes the answer that is stored.
    pub async fn create_rendered<T: OrderType>(
        &self,
        request: CreateRequest,
        order: T,
        render: impl FnOnce(SettledView<'_>) -> Answer + Send,
    ) -> Ended<Infallible> {
        match self.node.admit() {
            Ok(_in_flight) => self.node.create(request, order, render).await,
            Err(denied) => {
                self.node
                    .refused(|secret| request.claim(secret), denied)
                    .await
            }
        }
    }

    /// Joins the store now instead of at the first request.
    ///
    /// # Errors
    /// [`Denied`] if the store cannot be reached.
    pub async fn start(&self) -> Result<(), Denied> {
        self.node.session(self.node.deadline()).await.map(drop)
    }

    /// Whether the node has a session that is alive, and takes requests.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.node.phase() == Phase::Open && self.node.live_session().is_some()
    }

    /// For how long the oldest of what has expired is waiting to be ended, as this node last saw it:
    /// how far its housekeeping is behind.
    #[must_use]
    pub fn expiry_behind(&self) -> Duration {
        Duration::from_micros(self.node.behind.load(Ordering::Relaxed))
    }

    /// How many requests are in flight on this node.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.node.in_flight()
    }

    /// The source of tasks, time and randomness.
    #[must_use]
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.node.runtime
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.node.limits
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn OrderStore> {
        &self.node.store
    }

    /// What renders the answers.
    #[must_use]
    pub fn answers(&self) -> &Arc<dyn Answers> {
        &self.node.answers
    }

    /// Ends the node's work: takes no new request, tells all who wait, lets running handlers
    /// settle for as long as the limit, stops the rest and releases their orders, and leaves the
    /// store. Marks stay.
    ///
    /// # Errors
    /// [`StoreError`] if the session could not be ended: it lapses by itself.
    pub async fn drain(&self, limit: Duration) -> Result<(), StoreError> {
        self.node.enter_phase(Phase::Draining);
        self.node.lines.close();
        if self.node.within(limit, self.node.idle()).await.is_none() {
            self.node.enter_phase(Phase::Stopping);
            // What is left is a release each, which the store answers or not.
            let bound = self
                .node
                .limits
                .store
                .saturating_mul(self.node.limits.repeats.saturating_add(1));
            let _released = self.node.within(bound, self.node.idle()).await;
        }
        self.node.enter_phase(Phase::Stopping);
        self.node.leave().await
    }
}
