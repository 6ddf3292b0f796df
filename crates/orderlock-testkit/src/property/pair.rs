//! The two stores, and how a step is asked of both.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use orderlock_core::store::{
    Acquire, Acquired, BreakLease, Change, Decision, Join, Leave, MarkFate, Release, Renew,
    Resolve, Resolved, Retention, Settle, Then,
};
use orderlock_core::{
    Document, Fence, LeaseId, OutcomeKind, Recovery, Runtime as _, SessionId, Version,
};

use super::plain::{Plain, without_expiry};
use super::steps::{Ask, External, How, KEYS, NODES, ORDERS, Step};
use crate::suite::{Ended, Verbs, World, single};
use crate::{MemoryStore, fixtures};

/// Between any two steps, so that 'before' and 'after' are never the same time.
const TICK: Duration = Duration::from_millis(2);
const SESSION: Duration = Duration::from_millis(10_001);
const RESUME: Recovery = Recovery::Resume {
    times: 2,
    within: Duration::from_millis(30_001),
};
/// No tombstone ends in these sequences.
const RETENTION: Retention = Retention {
    answer: Duration::from_millis(86_400_001),
    tombstone: Duration::from_secs(10 * 365 * 24 * 3600),
};

/// A grant and what its holder knows.
struct Run {
    request: Acquire,
    attempt: u32,
    step: u32,
    version: Version,
    document: Document,
    now: orderlock_core::Timestamp,
    last: Option<(usize, Settle)>,
}

pub(super) struct Pair {
    world: World,
    model: MemoryStore,
    model_verbs: Verbs,
    sessions: [SessionId; NODES],
    runs: Vec<Run>,
    now: usize,
}

type Difference = Result<(), String>;

fn order(number: usize) -> String {
    format!("o{number}")
}

fn claim(number: usize, key: usize) -> orderlock_core::store::Claim {
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
    async fn both<T: PartialEq + Debug>(
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

    async fn renew(&self, node: usize, knows: bool) -> Difference {
        let session = self.sessions[node];
        let own = self
            .runs
            .iter()
            .filter(|run| knows && run.request.session == session);
        let known: Vec<Fence> = own.map(|run| run.request.fence).collect();
        let ask = async |verbs: &Verbs| {
            let known = known.clone();
            verbs.store().renew(Renew { session, known }).await.ok()
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

    async fn request(&self, ask: &Ask) -> Acquire {
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

    /// Remembers a grant.
    fn note(&mut self, request: Acquire, acquired: Acquired) {
        if let Acquired::Granted(grant) = acquired {
            self.runs.push(Run {
                request,
                attempt: grant.attempt,
                step: 0,
                version: grant.version,
                document: grant.document,
                now: grant.now,
                last: None,
            });
        }
    }

    /// The place of a run, counted from the newest.
    fn place(&self, run: usize) -> Option<usize> {
        (!self.runs.is_empty()).then(|| self.runs.len() - 1 - run % self.runs.len())
    }

    /// Repeats the acquire of a run that has made no step, while it holds the order: after that, a
    /// node never sends it again.
    async fn acquire_again(&self, run: usize) -> Difference {
        let Some(place) = self.place(run) else {
            return Ok(());
        };
        let request = self.runs[place].request.clone();
        let view = self.model_verbs.read(request.claim.target()).await;
        let lease = view.and_then(|view| view.lease);
        if self.runs[place].step > 0 || lease.map(|lease| lease.id) != Some(request.fence.into()) {
            return Ok(());
        }
        let ask = async |verbs: &Verbs| verbs.acquire(request.clone()).await.plain();
        self.both("acquire again", ask).await.map(drop)
    }

    async fn settle(&mut self, run: usize, how: How, next: Option<&Ask>) -> Difference {
        let Some(place) = self.place(run) else {
            return Ok(());
        };
        let mut settle = self.runs[place].settle(how);
        let next = match next {
            Some(ask) if how != How::Checkpoint => {
                // A node hands over what it holds: the same order, to one of its own.
                let mut next = self.request(ask).await;
                let same = self.runs[place].request.claim.order.clone();
                next.claim = fixtures::claim(same.as_str(), &format!("k{}", ask.key));
                settle.then = Then::HandOver(Box::new(next.clone()));
                Some(next)
            }
            _ => None,
        };
        let ended = self.ask_settle(&settle).await?;
        let run = &mut self.runs[place];
        if let Ended::Applied(_, told) = ended {
            run.last = Some((self.now, settle.clone()));
            run.step += 1;
            if let Some(change) = settle.change {
                run.version = run.version.next();
                run.document = change.after;
            }
            if let (Some(request), Some(acquired)) = (next, told) {
                self.note(request, acquired);
            }
        }
        Ok(())
    }

    /// Repeats the last settle of a run; a hand-over only at once, before the next has gone on.
    async fn settle_again(&self, run: usize) -> Difference {
        let last = self
            .place(run)
            .and_then(|place| self.runs[place].last.as_ref());
        let Some((then, settle)) = last else {
            return Ok(());
        };
        if matches!(settle.then, Then::HandOver(_)) && *then + 1 < self.now {
            return Ok(());
        }
        self.ask_settle(settle).await.map(drop)
    }

    async fn ask_settle(&self, settle: &Settle) -> Result<Ended, String> {
        let ask = async |verbs: &Verbs| {
            let ended = verbs.settle(settle.clone()).await.plain();
            match settle.entry.outcome.is_final() {
                true => ended,
                false => without_expiry(ended),
            }
        };
        self.both("settle", ask).await
    }

    async fn release(&mut self, run: usize, clear: bool, next: Option<&Ask>) -> Difference {
        let Some(place) = self.place(run) else {
            return Ok(());
        };
        let next = match next {
            Some(ask) => {
                let mut next = self.request(ask).await;
                let same = self.runs[place].request.claim.order.clone();
                next.claim = fixtures::claim(same.as_str(), &format!("k{}", ask.key));
                Some(next)
            }
            None => None,
        };
        let request = Release {
            target: self.runs[place].request.claim.target(),
            fence: self.runs[place].request.fence,
            mark: if clear {
                MarkFate::Clear
            } else {
                MarkFate::Keep
            },
            next: next.clone().map(Box::new),
        };
        let ask = async |verbs: &Verbs| verbs.release(request.clone()).await.plain();
        let released = self.both("release", ask).await?;
        if let (Some(request), Some(acquired)) = (next, released.next) {
            self.note(request, acquired);
        }
        Ok(())
    }

    async fn break_holder(&self, number: usize) -> Difference {
        let target = fixtures::ids::target(&order(number));
        let ask = async |verbs: &Verbs| {
            let lease = verbs.read(target.clone()).await?.lease?;
            Some(verbs.break_lease(break_it(lease.id)).await.plain())
        };
        self.both("break_lease", ask).await.map(drop)
    }

    async fn break_run(&self, run: usize) -> Difference {
        let Some(place) = self.place(run) else {
            return Ok(());
        };
        // A store may name leases in its own way; this name is one that some store would give.
        let fence = self.runs[place].request.fence;
        let target = self.runs[place].request.claim.target();
        let view = self.model_verbs.read(target.clone()).await;
        let holds = view.and_then(|view| view.lease).map(|lease| lease.id) == Some(fence.into());
        let ask = async |verbs: &Verbs| {
            let id = match verbs.read(target.clone()).await?.lease {
                Some(lease) if holds => lease.id,
                _ => fence.into(),
            };
            Some(verbs.break_lease(break_it(id)).await.plain())
        };
        self.both("break_lease of a run", ask).await.map(drop)
    }

    async fn resolve(&self, order: usize, key: usize, settle: bool, stale: bool) -> Difference {
        let claim = claim(order, key);
        let Some(view) = self.model_verbs.read(claim.target()).await else {
            return Ok(());
        };
        let version = if stale { Version(999) } else { view.version };
        let change = Change {
            after: fixtures::document(fixtures::count(&view.document) + 100),
            before: view.document,
            index: fixtures::index("resolved"),
            at: self.world.runtime.wall(),
        };
        let settled = Decision::Settle {
            version,
            change: Some(change),
            outcome: OutcomeKind::Applied,
            answer: fixtures::answer("resolved"),
            retention: RETENTION,
        };
        let request = Resolve {
            target: claim.target(),
            key_id: claim.key_id,
            decision: if settle { settled } else { Decision::RunAgain },
            actor: fixtures::ids::principal("operator"),
            reason: "at random".into(),
        };
        let ask = async |verbs: &Verbs| match verbs.resolve(request.clone()).await {
            // Only a settled key has an answer that expires.
            Resolved::Resolved(receipt) => {
                let expires = settle.then_some(receipt.expires);
                Ok((receipt.number, expires))
            }
            other => Err(other),
        };
        self.both("resolve", ask).await.map(drop)
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

impl Run {
    fn settle(&self, how: How) -> Settle {
        let count = fixtures::count(&self.document) + 1;
        let outcome = match how {
            How::Apply => OutcomeKind::Applied,
            How::ApplyWithError => OutcomeKind::AppliedWithError,
            How::Refuse => OutcomeKind::Refused,
            How::Checkpoint => OutcomeKind::Checkpoint,
        };
        let answer = fixtures::answer(&format!("{} of {}", self.step, self.request.fence));
        let answer = (how != How::Checkpoint).then_some(answer);
        let mut entry = fixtures::new_entry(outcome, self.now, answer);
        entry.attempt = self.attempt;
        entry.retention = RETENTION;
        Settle {
            claim: self.request.claim.clone(),
            fence: self.request.fence,
            step: self.step,
            version: self.version,
            change: (how != How::Refuse).then(|| Change {
                before: self.document.clone(),
                after: fixtures::document(count),
                index: fixtures::index(&format!("count{count}")),
                at: self.now,
            }),
            entry,
            then: match how {
                How::Checkpoint => Then::Keep,
                _ => Then::Unlock,
            },
        }
    }
}

fn break_it(lease: LeaseId) -> BreakLease {
    BreakLease {
        tenant: single(),
        lease,
        actor: fixtures::ids::principal("operator"),
        reason: "at random".into(),
    }
}
