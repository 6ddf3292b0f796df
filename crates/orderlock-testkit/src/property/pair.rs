//! The two stores, and how a step is asked of both.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use orderlock_core::store::{Acquire, Join, Leave, Renew, Renewed, Retention};
use orderlock_core::{Fence, Recovery, Runtime as _, SessionId, Version};

use super::holder::Run;
use super::plain::Plain;
use super::steps::{Ask, External, KEYS, NODES, ORDERS, Step};
use crate::suite::{Verbs, World, single};
use crate::{MemoryStore, fixtures};

/// Between any two steps, so that 'before' and 'after' are never the same time.
const TICK: Duration = Duration::from_millis(2);
const SESSION: Duration = Duration::from_millis(10_001);
const RESUME: Recovery = Recovery::Resume {
    times: 2,
    within: Duration::from_millis(30_001),
};
/// No tombstone ends in these sequences.
pub(super) const RETENTION: Retention = Retention {
    answer: Duration::from_millis(86_400_001),
    tombstone: Duration::from_secs(10 * 365 * 24 * 3600),
};

pub(super) struct Pair {
    pub(super) world: World,
    model: MemoryStore,
    pub(super) model_verbs: Verbs,
    sessions: [SessionId; NODES],
    pub(super) runs: Vec<Run>,
    /// The grants that a renewal has left out: their nodes have let them go, and name them no more.
    let_go: HashSet<Fence>,
    pub(super) now: usize,
}

pub(super) type Difference = Result<(), String>;

pub(super) fn order(number: usize) -> String {
    format!("o{number}")
}

pub(super) fn claim(number: usize, key: usize) -> orderlock_core::store::Claim {
    fixtures::claim(&order(number), &format!("k{key}"))
}

impl Pair {
    pub(super) fn new(world: World) -> Self {
        let model = MemoryStore::new(Arc::new(world.runtime.clone()))
            .with_document_bytes_max(world.store().describe().document_bytes_max);
        let model_verbs = Verbs::new(Arc::new(model.clone()), world.runtime.clone());
        Self {
            world,
            model,
            model_verbs,
            sessions: [SessionId(0); NODES],
            runs: Vec::new(),
            let_go: HashSet::new(),
            now: 0,
        }
    }

    /// Takes the steps, and compares all that can be seen after each.
    pub(super) async fn run(mut self, steps: &[Step]) -> Difference {
        for node in 0..NODES {
            self.join(node).await?;
        }
        self.create(0, "{}", "create").await?;
        for (now, step) in steps.iter().enumerate() {
            self.now = now;
            self.world.pass(TICK);
            let taken = match self.take(step).await {
                Ok(()) => self.look().await,
                Err(difference) => Err(difference),
            };
            taken.map_err(|difference| format!("step {now}, {step:?}: {difference}"))?;
        }
        Ok(())
    }

    /// Asks both; the answer if it is the same.
    pub(super) async fn both<T: PartialEq + Debug>(
        &self,
        what: &str,
        ask: impl AsyncFn(&Verbs) -> T,
    ) -> Result<T, String> {
        let (store, model) = (ask(&self.world).await, ask(&self.model_verbs).await);
        if store == model {
            Ok(store)
        } else {
            Err(format!("{what}\n store: {store:?}\n model: {model:?}"))
        }
    }

    async fn take(&mut self, step: &Step) -> Difference {
        match *step {
            Step::Join(node) => self.join(node).await,
            Step::Leave(node) => {
                let session = self.sessions[node];
                let ask = async |verbs: &Verbs| verbs.store().leave(Leave { session }).await.ok();
                self.both("leave", ask).await.map(drop)
            }
            Step::Renew { node, knows } => self.renew(node, knows).await,
            Step::Sweep => {
                let ask = async |verbs: &Verbs| verbs.sweep().await;
                self.both("sweep", ask).await.map(drop)
            }
            Step::Create {
                order,
                other_body,
                other_key,
            } => {
                let body = if other_body { r#"{"other": 1}"# } else { "{}" };
                let key = if other_key { "other" } else { "create" };
                self.create(order, body, key).await
            }
            Step::Acquire(ref ask) => {
                let request = self.request(ask).await;
                self.acquire(request).await
            }
            Step::AcquireAgain { run } => self.acquire_again(run).await,
            Step::Settle { run, how, ref next } => self.settle(run, how, next.as_ref()).await,
            Step::SettleAgain { run } => self.settle_again(run).await,
            Step::Release {
                run,
                clear,
                ref next,
            } => self.release(run, clear, next.as_ref()).await,
            Step::Break { order } => self.break_holder(order).await,
            Step::BreakRun { run } => self.break_run(run).await,
            Step::Resolve {
                order,
                key,
                settle,
                stale,
            } => self.resolve(order, key, settle, stale).await,
            Step::Pass(duration) => {
                self.world.pass(duration);
                Ok(())
            }
            Step::Expire => {
                // How it is counted is the store's affair; what is seen afterwards is not.
                self.world.expire().await;
                self.model_verbs.expire().await;
                Ok(())
            }
            Step::Restart => {
                self.world.restart().await;
                self.model.restart();
                for node in 0..NODES {
                    self.join(node).await?;
                }
                Ok(())
            }
        }
    }

    async fn join(&mut self, node: usize) -> Difference {
        let session = SessionId(self.world.runtime.random());
        self.sessions[node] = session;
        let request = Join {
            node: format!("node{node}"),
            session,
            length: SESSION,
            secret: fixtures::secret(),
        };
        let ask = async |verbs: &Verbs| {
            let joined = verbs.store().join(request.clone()).await;
            joined.ok().map(|joined| *joined.secret.expose())
        };
        self.both("join", ask).await.map(drop)
    }

    async fn renew(&mut self, node: usize, knows: bool) -> Difference {
        let session = self.sessions[node];
        let own = self.runs.iter();
        let own = own.filter(|run| run.request.session == session);
        let own = own.map(|run| run.request.fence);
        let known: Vec<Fence> = match knows {
            true => own.filter(|fence| !self.let_go.contains(fence)).collect(),
            false => {
                self.let_go.extend(own);
                Vec::new()
            }
        };
        let ask = async |verbs: &Verbs| {
            let known = known.clone();
            let mut renewed = verbs.store().renew(Renew { session, known }).await.ok()?;
            if let Renewed::Extended { voided } = &mut renewed {
                voided.sort_unstable();
            }
            Some(renewed)
        };
        self.both("renew", ask).await.map(drop)
    }

    async fn create(&self, number: usize, body: &str, key: &str) -> Difference {
        let claim = fixtures::asking(fixtures::claim(&order(number), key), body);
        let mut request = fixtures::create(claim, self.world.runtime.wall());
        request.entry.retention = RETENTION;
        let ask = async |verbs: &Verbs| verbs.create(request.clone()).await.plain();
        self.both("create", ask).await.map(drop)
    }

    pub(super) async fn request(&self, ask: &Ask) -> Acquire {
        let mut claim = claim(ask.order, ask.key);
        if ask.other_body {
            claim = fixtures::asking(claim, r#"{"other": 1}"#);
        }
        let view = self.model_verbs.read(claim.target()).await;
        let current = view.map_or(Version(0), |view| view.version);
        Acquire {
            expected: ask
                .expects
                .map(|right| if right { current } else { Version(999) }),
            mark: match ask.external {
                External::No => None,
                External::Reconcile => Some(Recovery::Reconcile),
                External::Resume => Some(RESUME),
            },
            ..fixtures::acquire(claim, self.sessions[ask.node], self.world.fence())
        }
    }

    async fn acquire(&mut self, request: Acquire) -> Difference {
        let ask = async |verbs: &Verbs| verbs.acquire(request.clone()).await.plain();
        let acquired = self.both("acquire", ask).await?;
        self.note(request, acquired);
        Ok(())
    }

    /// Compares everything that can be seen.
    async fn look(&self) -> Difference {
        for number in 0..ORDERS {
            let target = fixtures::ids::target(&order(number));
            let ask = async |verbs: &Verbs| verbs.read(target.clone()).await.plain();
            if self.both("read", ask).await?.is_some() {
                let ask = async |verbs: &Verbs| verbs.history_of(target.clone()).await.plain();
                self.both("history", ask).await?;
            }
            for key in 0..KEYS {
                let claim = claim(number, key);
                let ask = async |verbs: &Verbs| verbs.known(&claim).await.plain();
                self.both("lookup", ask).await?;
            }
        }
        let ask = async |verbs: &Verbs| {
            let mut leases = verbs.leases(&single()).await.plain();
            leases.sort_by(|a, b| a.target.cmp(&b.target));
            leases
        };
        self.both("leases", ask).await?;
        let ask = async |verbs: &Verbs| verbs.journal(&single()).await.plain();
        self.both("entries_since", ask).await.map(drop)
    }
}
