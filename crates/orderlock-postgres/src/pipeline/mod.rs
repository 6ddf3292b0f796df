//! Orders that go from one request to the next before the database knows: the chain of settles that
//! are accepted and not durable yet, and what becomes of them.
//!
//! A settle that hands over is accepted as soon as the next in line has been looked at. Its write
//! goes into a fold with whatever is accepted while an earlier fold of the order is under way. The
//! holder after the last settle is known here alone; to everybody else the database says who it is,
//! and that is always somebody whose predecessors are durable.

pub(crate) mod holder;
pub(crate) mod probe;
pub(crate) mod speculative;
pub(crate) mod write;
pub(crate) mod write_rows;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use orderlock_core::store::{
    Accepted, Acquire, Acquired, Durable, Fate, KeyFacts, Known, Lookup, Loss, Settle, Then,
};
use orderlock_core::{Runtime, StoreError, Target};
use tokio::sync::oneshot;

use crate::batch::Batcher;
use crate::pipeline::holder::{Acceptable, Holder, acceptable};
use crate::pipeline::probe::{Look, Looking, Scope};
use crate::pipeline::speculative::{Chain, LINKS_MAX, Reply, Waiting};
use crate::pipeline::write::{Fold, Folded, Folding, Gate, Link};
use crate::sql::clock::Heard;
use crate::verbs::acquire_facts::Asker;
use crate::verbs::views::read::Lookups;

/// How many orders are kept in mind whose chains rest. The others are looked at anew when they are
/// handed over next.
const RESTING_MAX: usize = 1_024;

/// How often a fold that certainly was not written is tried again, and the first pause before that.
const TRIES_MAX: u32 = 5;
const PAUSE: Duration = Duration::from_millis(50);

/// The orders that are handed on ahead of the database.
#[derive(Debug)]
pub(crate) struct Chains {
    pub(crate) lookups: Batcher<Lookups>,
    pub(crate) looks: Batcher<Looking>,
    pub(crate) folds: Batcher<Folding>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) orders: Mutex<HashMap<Target, Chain>>,
    pub(crate) heard: Arc<Heard>,
    /// How many looks at keys there were, by which each has its number.
    pub(crate) looked: AtomicU64,
    /// How many bytes one fold takes.
    pub(crate) bytes: usize,
}

impl Chains {
    /// Accepts a settle that hands over, if that can be done without the database's write. If not,
    /// the order has no chain any more when this returns. The caller has the turn at the order.
    pub(crate) async fn accept(self: &Arc<Self>, request: &Settle) -> Option<Accepted> {
        let accepted = self.accept_early(request).await;
        if accepted.is_none() {
            self.drained(&request.claim.target()).await;
        }
        accepted
    }

    /// Waits until what was accepted of the order is durable, or is known not to be, and forgets its
    /// chain. The caller has the turn, so that nothing more is accepted meanwhile.
    pub(crate) async fn drained(&self, target: &Target) {
        loop {
            let mut news = {
                let mut orders = self.lock();
                match orders.get(target) {
                    None => return,
                    Some(chain) if chain.rests => {
                        orders.remove(target);
                        return;
                    }
                    Some(chain) => chain.news.subscribe(),
                }
            };
            // A chain that is dropped tells by that.
            let _ = news.changed().await;
        }
    }

    /// What became of a key. During a chain, one that has no entry is remembered as new.
    pub(crate) async fn lookup(&self, request: Lookup) -> Result<Known, StoreError> {
        let (target, key) = (request.target.clone(), request.key_id);
        let number = self.looked.fetch_add(1, Ordering::Relaxed);
        if let Some(chain) = self.lock().get_mut(&target) {
            chain.look_begins(key, number);
        }
        let looked = self.lookups.run(None, request).await;
        let new = looked.as_ref().is_ok_and(|(_, new)| *new);
        if let Some(chain) = self.lock().get_mut(&target) {
            chain.look_ends(key, number, new);
        }
        looked.map(|(known, _)| known)
    }

    async fn accept_early(self: &Arc<Self>, request: &Settle) -> Option<Accepted> {
        let Then::HandOver(next) = &request.then else {
            return None;
        };
        // A mark must be durable before its operation begins, and so waits for the database anyway.
        if next.mark.is_some() || !request.entry.outcome.is_final() {
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
        let (holder, asker) = match (holder, known) {
            (Some(holder), Some(asker)) => (holder, asker),
            (holder, _) => self.look(request, next, holder).await?,
        };
        let acceptable = acceptable(request, next, asker, &holder)?;
        self.append(target, acceptable)
    }

    /// The next one, if nothing has to be asked of it.
    fn known(&self, chain: &Chain, next: &Acquire) -> Option<Asker> {
        if !chain.knows(next) {
            return None;
        }
        // An order's entries do not go back in time, whatever the clocks do.
        let now = self.heard.now()?.max(chain.accepted);
        Some(Asker {
            now,
            latest: self.heard.believed().map_or(now, |it| it.max(now)),
            alive: true,
            key: KeyFacts::New,
            entry: None,
        })
    }

    /// Looks at the next one, and at the order if its holder is not known here.
    async fn look(
        &self,
        request: &Settle,
        next: &Acquire,
        holder: Option<Holder>,
    ) -> Option<(Holder, Asker)> {
        let look = Look {
            next: next.clone(),
            order: match (&holder, &request.change) {
                (Some(_), _) => Scope::None,
                (None, Some(_)) => Scope::Lock,
                (None, None) => Scope::Whole(request.fence),
            },
        };
        let looked = self.looks.run(None, look).await.ok()??;
        self.heard.hear(looked.next.now);
        let holder = match holder {
            Some(holder) => holder,
            None => {
                let order = looked.order.as_ref().filter(|order| !order.kept)?;
                Holder::seen(request, order)?
            }
        };
        Some((holder, looked.next))
    }

    fn append(self: &Arc<Self>, target: Target, acceptable: Acceptable) -> Option<Accepted> {
        let Acceptable {
            link,
            grant,
            receipt,
            before,
            after,
        } = acceptable;
        let (fate, told) = oneshot::channel();
        let waiting = Waiting { link, fate };
        let mut orders = self.lock();
        let begins = match orders.get_mut(&target) {
            Some(chain) if chain.holder.gate != before => return None,
            Some(chain) => chain.push(waiting, after),
            None => {
                orders.insert(target.clone(), Chain::new(waiting, after));
                true
            }
        };
        drop(orders);
        if begins {
            let chains = Arc::clone(self);
            let write = async move { chains.write(target, before).await };
            self.runtime.spawn(write.boxed());
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

    /// Writes an order's chain, a fold after the other, until nothing of it waits.
    async fn write(&self, target: Target, mut gate: Gate) {
        // Once values were refused, one settle at a time: those before the refused one are well.
        let mut most = LINKS_MAX;
        loop {
            let (links, fates) = self.next(&target, most);
            let Some(after) = links.last().map(|link| link.after) else {
                return;
            };
            let folded = self.fold(&target, gate, &links).await;
            match folded {
                Ok(Folded::Durable { kept }) => {
                    gate = after;
                    self.settled(&target, fates, kept);
                }
                Ok(Folded::Refused) if links.len() > 1 => {
                    most = 1;
                    self.put_back(&target, &links, fates);
                }
                Ok(Folded::Lost(loss)) => return self.fail(&target, fates, Some(loss)),
                Err(error) if error.may_have_happened() => {
                    return self.fail(&target, fates, None);
                }
                // Nothing of it is there. The grants that the database knows are released as any
                // that was lost.
                Ok(Folded::Refused) | Err(_) => {
                    return self.fail(&target, fates, Some(Loss::NotHeld));
                }
            }
        }
    }

    /// What the next fold takes. If nothing waits, the chain rests; unless it is of no more use.
    fn next(&self, target: &Target, most: usize) -> (Arc<[Link]>, Vec<Reply>) {
        let mut orders = self.lock();
        let many = orders.len() > RESTING_MAX;
        let Some(chain) = orders.get_mut(target) else {
            return (Arc::default(), Vec::new());
        };
        let (links, fates) = chain.take(most, self.bytes);
        if links.is_empty() {
            chain.rests = true;
            chain.news.send_replace(());
            if many || chain.kept {
                orders.remove(target);
            }
        }
        (links.into(), fates)
    }

    /// Has a fold written. One that certainly was not is tried again for a while: what was accepted
    /// is not given up for a server that restarts.
    async fn fold(
        &self,
        target: &Target,
        gate: Gate,
        links: &Arc<[Link]>,
    ) -> Result<Folded, StoreError> {
        let mut doubtful = false;
        for pause in (0..TRIES_MAX).map(|tries| PAUSE * 2_u32.pow(tries)) {
            let fold = Fold {
                target: target.clone(),
                gate,
                links: Arc::clone(links),
            };
            match self.folds.run(None, fold).await {
                Ok(folded) => return Ok(folded),
                Err(error) => {
                    tracing::warn!(%error, order = %target, "accepted settles are not written yet");
                    doubtful |= error.may_have_happened();
                }
            }
            // The wait is for the database, whose time passes whatever clock the store is given.
            tokio::time::sleep(pause).await;
        }
        Err(if doubtful {
            unknown()
        } else {
            StoreError::NotApplied("the database could not be reached".into())
        })
    }

    fn settled(&self, target: &Target, fates: Vec<Reply>, kept: bool) {
        if let Some(chain) = self.lock().get_mut(target) {
            chain.kept |= kept;
            chain.unwritten.drain(..fates.len());
        }
        for fate in fates {
            // Whoever settled may have gone away.
            let _ = fate.send(Ok(Fate::Durable));
        }
    }

    fn put_back(&self, target: &Target, links: &[Link], fates: Vec<Reply>) {
        if let Some(chain) = self.lock().get_mut(target) {
            for (link, fate) in links.iter().cloned().zip(fates).rev() {
                chain.waiting.push_front(Waiting { link, fate });
            }
        }
    }

    /// Ends a chain: these, the first of which is lost in this way, and all that was built on them.
    /// Without a loss nobody knows of any of them.
    fn fail(&self, target: &Target, fates: Vec<Reply>, loss: Option<Loss>) {
        let waiting = self.lock().remove(target).map(|chain| chain.waiting);
        let built_on = waiting.into_iter().flatten().map(|waiting| waiting.fate);
        let mut loss = loss;
        for fate in fates.into_iter().chain(built_on) {
            let told = loss.map_or_else(|| Err(unknown()), |loss| Ok(Fate::Lost(loss)));
            let _ = fate.send(told);
            loss = loss.map(|_| Loss::NotHeld);
        }
    }

    /// Each change is one step, so that a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<Target, Chain>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown() -> StoreError {
    StoreError::OutcomeUnknown("the database did not say what became of an accepted settle".into())
}
