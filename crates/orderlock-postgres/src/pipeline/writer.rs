//! The task that writes one order's chain, and what it does when a write fails.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, TryFutureExt as _};
use orderlock_core::store::{Fate, Loss};
use orderlock_core::{StoreError, Target};

use crate::pipeline::Pipeline;
use crate::pipeline::speculative::{FateSender, LINKS_MAX, Waiting};
use crate::pipeline::write::{Link, RowState, Segment, Written};

/// How many orders are kept in mind whose chains are idle. The others are asked about anew when they
/// are handed over next.
const IDLE_MAX: usize = 1_024;

/// How often a write that certainly did not happen is tried, and the pause after the first try.
const TRIES_MAX: u32 = 5;
const PAUSE: Duration = Duration::from_millis(50);

/// Writes an order's chain, a segment after the other, until nothing of it waits.
pub(super) struct Writer {
    pipeline: Arc<Pipeline>,
    target: Target,
    /// The row as the last write has left it.
    row: RowState,
    /// Whether the chain is idle or has ended, and this task did not end on its way.
    ended: bool,
}

impl Writer {
    pub(super) fn new(pipeline: &Arc<Pipeline>, target: Target, row: RowState) -> Self {
        Self {
            pipeline: Arc::clone(pipeline),
            target,
            row,
            ended: false,
        }
    }

    pub(super) fn spawn(self) {
        let runtime = Arc::clone(&self.pipeline.runtime);
        runtime.spawn(self.run().boxed());
    }

    async fn run(mut self) {
        // Once values were refused, one settle at a time: those before the refused one are well.
        let mut most = LINKS_MAX;
        loop {
            let (links, fates) = self.take(most);
            let Some(after) = links.last().map(|link| link.after) else {
                self.ended = true;
                return;
            };
            match self.write(&links).await {
                Ok(Written::Durable { kept }) => {
                    self.row = after;
                    self.durable(fates, kept);
                }
                Ok(Written::Refused) if links.len() > 1 => {
                    most = 1;
                    self.put_back(&links, fates);
                }
                Ok(Written::Lost(loss)) => return self.fail(fates, Some(loss)),
                Err(error) if error.may_have_happened() => return self.fail(fates, None),
                // Nothing of it is there. The grants that the database knows are released as any
                // that was lost.
                Ok(Written::Refused) | Err(_) => return self.fail(fates, Some(Loss::NotHeld)),
            }
        }
    }

    /// What the next write takes. If nothing waits, the chain is idle; or it is forgotten, if it is of
    /// no more use.
    fn take(&self, most: usize) -> (Arc<[Link]>, Vec<FateSender>) {
        let mut orders = self.pipeline.lock();
        let many = orders.len() > IDLE_MAX;
        let Some(chain) = orders.get_mut(&self.target) else {
            return (Arc::default(), Vec::new());
        };
        let (links, fates) = chain.take(most, self.pipeline.bytes);
        if links.is_empty() {
            chain.idle = true;
            chain.changes.send_replace(());
            if many || chain.kept {
                orders.remove(&self.target);
            }
        }
        (links.into(), fates)
    }

    /// Has a segment written. If that certainly did not happen, it is tried again for a while: what was
    /// accepted is not given up for a server that restarts.
    async fn write(&self, links: &Arc<[Link]>) -> Result<Written, StoreError> {
        let written = persist(|| {
            let segment = Segment {
                target: self.target.clone(),
                before: self.row,
                links: Arc::clone(links),
            };
            let written = self.pipeline.writes.run(None, segment);
            written.inspect_err(|error| {
                let order = &self.target;
                tracing::warn!(%error, %order, "accepted settles are not written yet");
            })
        });
        written.await
    }

    fn durable(&self, fates: Vec<FateSender>, kept: bool) {
        if let Some(chain) = self.pipeline.lock().get_mut(&self.target) {
            chain.kept |= kept;
            chain.unwritten.drain(..fates.len());
        }
        for fate in fates {
            // Whoever settled may have gone away.
            let _ = fate.send(Ok(Fate::Durable));
        }
    }

    fn put_back(&self, links: &[Link], fates: Vec<FateSender>) {
        if let Some(chain) = self.pipeline.lock().get_mut(&self.target) {
            for (link, fate) in links.iter().cloned().zip(fates).rev() {
                chain.waiting.push_front(Waiting { link, fate });
            }
        }
    }

    /// Ends the chain: these settles, the first of which is lost in this way, and all that was built on
    /// them. Without a loss, nobody knows what became of them.
    fn fail(&mut self, fates: Vec<FateSender>, loss: Option<Loss>) {
        self.ended = true;
        let waiting = self.pipeline.lock().remove(&self.target);
        let waiting = waiting.into_iter().flat_map(|chain| chain.waiting);
        let mut loss = loss;
        for fate in fates.into_iter().chain(waiting.map(|it| it.fate)) {
            let told = loss.map_or_else(|| Err(unknown()), |loss| Ok(Fate::Lost(loss)));
            let _ = fate.send(told);
            loss = loss.map(|_| Loss::NotHeld);
        }
    }
}

/// A task that ends by a panic, or is dropped, leaves no chain behind that nobody writes: every later
/// verb on the order would wait for it.
impl Drop for Writer {
    fn drop(&mut self) {
        if !self.ended {
            self.fail(Vec::new(), None);
        }
    }
}

/// Tries something until it succeeds, a few times, with longer and longer pauses between. If no try did,
/// it is in doubt as soon as one of them may have happened.
async fn persist<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut doubtful = false;
    for tries in 1.. {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) => doubtful |= error.may_have_happened(),
        }
        if tries == TRIES_MAX {
            break;
        }
        // The wait is for the database, whose time passes whatever clock the store is given.
        tokio::time::sleep(PAUSE * 2_u32.pow(tries - 1)).await;
    }
    Err(if doubtful {
        unknown()
    } else {
        StoreError::NotApplied("the database could not be reached".into())
    })
}

fn unknown() -> StoreError {
    StoreError::OutcomeUnknown("the database did not say what became of an accepted settle".into())
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_after_the_last_try() {
        let begun = tokio::time::Instant::now();
        let mut last = begun;
        let mut tries = 0;
        let failed = persist(|| {
            tries += 1;
            last = tokio::time::Instant::now();
            ready(Err::<(), _>(StoreError::NotApplied("it is away".into())))
        });
        assert!(!failed.await.unwrap_err().may_have_happened());
        assert_eq!(tries, TRIES_MAX);
        assert_eq!(last - begun, PAUSE * 15);
        assert_eq!(tokio::time::Instant::now(), last, "time passed for nothing");
    }
}
