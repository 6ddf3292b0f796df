//! Orders that go from one request to the next before the database knows: the chain of settles that
//! are accepted and not durable yet, and what becomes of them.
//!
//! A settle that hands over is accepted as soon as the next in line has been looked at. Its write
//! goes into a fold with whatever is accepted while an earlier fold of the order is under way. The
//! holder after the last settle is known here alone; to everybody else the database says who it is,
//! and that is always somebody whose predecessors are durable.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use orderlock_core::store::{Accepted, Acquired, Durable, Fate, Loss, Settle, Then};
use orderlock_core::{KeyId, Runtime, StoreError, Target};
use tokio::sync::{oneshot, watch};

use crate::batch::Batcher;
use crate::fold::{Fold, Folded, Folding, Gate, Link};
use crate::holder::{Acceptable, Holder, acceptable};
use crate::look::{Look, Looking, Scope};
use crate::settle_rows::bytes;

/// How many settles of one order may be accepted and not durable.
const LINKS_MAX: usize = 256;

/// How many of them one fold takes.
const FOLD_MAX: usize = 64;

/// How often a fold that certainly was not written is tried again, and the first pause before that.
const TRIES_MAX: u32 = 5;
const PAUSE: Duration = Duration::from_millis(50);

/// The orders that are handed on ahead of the database.
#[derive(Debug)]
pub(crate) struct Chains {
    pub(crate) looks: Batcher<Looking>,
    pub(crate) folds: Batcher<Folding>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) orders: Mutex<HashMap<Target, Chain>>,
    /// How many bytes one fold takes.
    pub(crate) bytes: usize,
}

/// One order's chain, for as long as a settle of it is not durable.
#[derive(Debug)]
pub(crate) struct Chain {
    /// Accepted, and in no fold yet.
    waiting: VecDeque<Waiting>,
    /// The keys of all that are not durable: the database does not know yet that they are settled.
    keys: VecDeque<KeyId>,
    /// What the last of them leaves.
    holder: Holder,
    /// Whether it is another node's turn: then nothing more is accepted, so that the next settle lets
    /// the order go.
    kept: bool,
    /// Told that the chain has ended, one way or the other, when it is dropped.
    ended: watch::Sender<()>,
}

/// Where a settle's fate is waited for.
type Reply = oneshot::Sender<Result<Fate, StoreError>>;

#[derive(Debug)]
struct Waiting {
    link: Link,
    fate: Reply,
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

    /// Waits until what was accepted of the order is durable, or is known not to be. The caller has
    /// the turn, so that nothing more is accepted meanwhile.
    pub(crate) async fn drained(&self, target: &Target) {
        let ended = self.lock().get(target).map(|it| it.ended.subscribe());
        if let Some(mut ended) = ended {
            // The sender goes with the chain, and tells by that.
            while ended.changed().await.is_ok() {}
        }
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
        let holder = match self.lock().get(&target) {
            Some(chain) => Some(chain.goes_on_with(request, next.claim.key_id)?),
            None if next.claim.key_id == request.claim.key_id => return None,
            None => None,
        };
        let look = Look {
            next: (**next).clone(),
            order: match (&holder, &request.change) {
                (Some(_), _) => Scope::None,
                (None, Some(_)) => Scope::Lock,
                (None, None) => Scope::Whole(request.fence),
            },
        };
        let looked = self.looks.run(None, look).await.ok()??;
        let holder = match holder {
            Some(holder) => holder,
            None => Holder::seen(request, looked.order.as_ref().filter(|order| !order.kept)?)?,
        };
        let acceptable = acceptable(request, next, looked.next, &holder)?;
        self.append(target, acceptable)
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
        let key_id = link.settle.claim.key_id;
        let waiting = Waiting { link, fate };
        let mut orders = self.lock();
        match orders.get_mut(&target) {
            Some(chain) if chain.holder.gate != before => return None,
            Some(chain) => {
                chain.waiting.push_back(waiting);
                chain.keys.push_back(key_id);
                chain.holder = after;
            }
            None => {
                let chain = Chain {
                    waiting: VecDeque::from([waiting]),
                    keys: VecDeque::from([key_id]),
                    holder: after,
                    kept: false,
                    ended: watch::Sender::new(()),
                };
                orders.insert(target.clone(), chain);
                let chains = Arc::clone(self);
                let write = async move { chains.write(target, before).await };
                self.runtime.spawn(write.boxed());
            }
        }
        drop(orders);
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
        let mut most = FOLD_MAX;
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

    /// What the next fold takes; nothing, and no chain any more, if nothing waits.
    fn next(&self, target: &Target, most: usize) -> (Arc<[Link]>, Vec<Reply>) {
        let mut orders = self.lock();
        let Some(chain) = orders.get_mut(target) else {
            return (Arc::default(), Vec::new());
        };
        let (mut links, mut fates, mut size) = (Vec::new(), Vec::new(), 0);
        while let Some(waiting) = chain.waiting.front() {
            size += bytes(&waiting.link.settle);
            if links.len() == most || (size > self.bytes && !links.is_empty()) {
                break;
            }
            if let Some(waiting) = chain.waiting.pop_front() {
                links.push(waiting.link);
                fates.push(waiting.fate);
            }
        }
        if links.is_empty() {
            orders.remove(target);
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
            chain.keys.drain(..fates.len());
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

impl Chain {
    /// The holder, if it is the one that settles, and the chain takes one more for this next key.
    fn goes_on_with(&self, request: &Settle, next: KeyId) -> Option<Holder> {
        let gate = &self.holder.gate;
        let holds =
            (gate.fence, gate.step, gate.version) == (request.fence, request.step, request.version);
        let mut keys = self.keys.iter().chain([&request.claim.key_id]);
        let free = !self.kept && self.keys.len() < LINKS_MAX && keys.all(|key| *key != next);
        (holds && free).then(|| self.holder.clone())
    }
}

fn unknown() -> StoreError {
    StoreError::OutcomeUnknown("the database did not say what became of an accepted settle".into())
}
