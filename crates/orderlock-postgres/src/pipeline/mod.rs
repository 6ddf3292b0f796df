//! The speculative pipeline: an order goes from one request to the next before the database has
//! written what the first one settled.
//!
//! ```text
//!  settle A, hand over to B     settle B, hand over to C
//!           |                            |
//!        accept                       accept              [probe] asks the database about the next
//!           |                            |                in line, unless enough is known of it
//!           v                            v
//!      +---------------- chain of one order ---------------+
//!      | written ... | segment under way | waiting: A  B   |  holder: C, known here alone
//!      +----------------------------------------------------+
//!                            |
//!                      [writer], one task for each order
//!                            |  one row, and one commit, for all that waited
//!                            v
//!                        database                          holder: the last durable one
//! ```
//!
//! A settle that hands over is accepted as soon as the next in line is known to be granted the order.
//! Its write leaves with whatever else is accepted of the order while an earlier write is under way.
//! To everybody else the database says who holds the order, and that is always somebody whose
//! predecessors are durable. Each write is conditional on the row that the one before it has left, so
//! that what is built on a settle that is lost is lost too.
//!
//! The rest of the store uses two calls. [`Pipeline::accept`] takes a settle in; [`Pipeline::drained`]
//! waits until nothing is left of an order's chain, before any verb that asks the database about it.

pub(crate) mod holder;
pub(crate) mod probe;
pub(crate) mod speculative;
pub(crate) mod write;
mod write_rows;
pub(crate) mod write_statement;
mod writer;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orderlock_core::store::{Accepted, Acquire, Acquired, Durable, KeyFacts, Settle};
use orderlock_core::{KeyId, Runtime, StoreError, Target};
use tokio::sync::oneshot;

use crate::batch::{Batcher, Batches};
use crate::pipeline::holder::{Acceptance, Holder, acceptance};
use crate::pipeline::probe::{Probe, ProbeBatch, Scope};
use crate::pipeline::speculative::{Chain, Waiting};
use crate::pipeline::write::WriteBatch;
use crate::pipeline::writer::Writer;
use crate::sql::clock::ObservedClock;
use crate::verbs::acquire_facts::Requester;

/// The orders that are handed on ahead of the database.
#[derive(Debug)]
pub(crate) struct Pipeline {
    probes: Batcher<ProbeBatch>,
    writes: Batcher<WriteBatch>,
    runtime: Arc<dyn Runtime>,
    clock: Arc<ObservedClock>,
    /// How many bytes one write takes.
    bytes: usize,
    orders: Mutex<HashMap<Target, Chain>>,
    /// How many keys were looked up: each lookup has a number of its own.
    lookups: AtomicU64,
}

impl Pipeline {
    pub(crate) fn new(
        probes: Batcher<ProbeBatch>,
        writes: Batcher<WriteBatch>,
        runtime: Arc<dyn Runtime>,
        clock: Arc<ObservedClock>,
        bytes: usize,
    ) -> Self {
        Self {
            probes,
            writes,
            runtime,
            clock,
            bytes,
            orders: Mutex::default(),
            lookups: AtomicU64::new(0),
        }
    }

    /// Accepts a settle that hands over, if that can be done before the database has written it. If
    /// not, the order has no chain any more when this returns. The caller has passed the order's gate.
    pub(crate) async fn accept(self: &Arc<Self>, request: &Settle) -> Option<Accepted> {
        let accepted = self.accept_early(request).await;
        if accepted.is_none() {
            self.drained(&request.claim.target()).await;
        }
        accepted
    }

    /// Waits until all that was accepted of an order is durable, or is known not to be, and forgets
    /// its chain. The caller has passed the order's gate, so that nothing more is accepted meanwhile.
    pub(crate) async fn drained(&self, target: &Target) {
        loop {
            let mut changes = {
                let mut orders = self.lock();
                match orders.get(target) {
                    None => return,
                    Some(chain) if chain.idle => {
                        orders.remove(target);
                        return;
                    }
                    Some(chain) => chain.changes.subscribe(),
                }
            };
            // A chain that ends is dropped, which ends this wait too.
            let _ = changes.changed().await;
        }
    }

    /// Says that a key is looked up, and gives the lookup a number. A key that turns out to be new
    /// while its order has a chain need not be asked for again.
    pub(crate) fn lookup_begins(&self, target: &Target, key: KeyId) -> u64 {
        let number = self.lookups.fetch_add(1, Ordering::Relaxed);
        if let Some(chain) = self.lock().get_mut(target) {
            chain.lookup_begins(key, number);
        }
        number
    }

    /// Says what the lookup of this number has found.
    pub(crate) fn lookup_ends(&self, target: &Target, key: KeyId, number: u64, new: bool) {
        if let Some(chain) = self.lock().get_mut(target) {
            chain.lookup_ends(key, number, new);
        }
    }

    /// What was written so far.
    pub(crate) fn written(&self) -> Batches {
        self.writes.done()
    }

    async fn accept_early(self: &Arc<Self>, request: &Settle) -> Option<Accepted> {
        let next = request.next()?;
        // A mark must be durable before its operation begins, and so waits for the database anyway.
        if next.mark.is_some() {
            return None;
        }
        let target = request.claim.target();
        let (holder, known) = match self.lock().get(&target) {
            Some(chain) => {
                let holder = chain.goes_on_with(request, next.claim.key_id)?;
                (Some(holder), self.known(chain, next))
            }
            None if next.claim.key_id == request.claim.key_id => return None,
            None => (None, None),
        };
        let (holder, requester) = match (holder, known) {
            (Some(holder), Some(requester)) => (holder, requester),
            (holder, _) => self.probe(request, next, holder).await?,
        };
        let acceptance = acceptance(request, next, requester, &holder)?;
        self.append(target, acceptance)
    }

    /// The next one, if nothing has to be asked of it.
    fn known(&self, chain: &Chain, next: &Acquire) -> Option<Requester> {
        if !chain.knows(next) {
            return None;
        }
        // An order's entries do not go back in time, whatever the clocks do.
        let now = self.clock.now()?.max(chain.accepted);
        Some(Requester {
            now,
            latest: self.clock.believed().map_or(now, |it| it.max(now)),
            alive: true,
            key: KeyFacts::New,
            entry: None,
        })
    }

    /// Asks about the next one, and about the order if its holder is not known here.
    async fn probe(
        &self,
        request: &Settle,
        next: &Acquire,
        holder: Option<Holder>,
    ) -> Option<(Holder, Requester)> {
        let probe = Probe {
            next: next.clone(),
            order: match (&holder, request.change()) {
                (Some(_), _) => Scope::None,
                (None, Some(_)) => Scope::Lock,
                (None, None) => Scope::Whole(request.fence),
            },
        };
        let seen = self.probes.run(None, probe).await.ok()??;
        self.clock.observe(seen.next.now);
        let holder = match holder {
            Some(holder) => holder,
            None => {
                let order = seen.order.as_ref().filter(|order| !order.kept)?;
                Holder::seen(request, order)?
            }
        };
        Some((holder, seen.next))
    }

    fn append(self: &Arc<Self>, target: Target, acceptance: Acceptance) -> Option<Accepted> {
        let Acceptance {
            link,
            grant,
            receipt,
            before,
            after,
        } = acceptance;
        let (fate, told) = oneshot::channel();
        let waiting = Waiting { link, fate };
        let mut orders = self.lock();
        let begins = match orders.get_mut(&target) {
            Some(chain) if chain.holder.row != before => return None,
            Some(chain) => chain.push(waiting, after),
            None => {
                orders.insert(target.clone(), Chain::new(waiting, after));
                true
            }
        };
        drop(orders);
        if begins {
            Writer::new(self, target, before).spawn();
        }
        Some(Accepted {
            receipt,
            durable: Durable::later(async {
                let gone = || StoreError::OutcomeUnknown("the store has stopped half way".into());
                told.await.map_err(|_| gone())?
            }),
            next: Some(Acquired::Granted(grant.into())),
        })
    }

    /// Each change is one step, so that a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<Target, Chain>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
