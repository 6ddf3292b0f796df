//! The end of an attempt: the one write that applies, stores the answer and lets go; or the
//! release. Both take the next in line along.

use std::sync::Arc;

use super::ended::{Answered, Ended, Failed};
use super::footing::Ground;
use super::node::Node;
use super::place::Seat;
use super::session::Chain;
use crate::store::{
    Accepted, Acquire, Acquired, Change, Claim, Fate, Known, Lookup, MarkFate, NewEntry, Settle,
    Settled, Then,
};
use crate::{Fence, OrderStore as _, OutcomeKind, StoreError, Version};

/// A settle without what becomes of the lease: that is decided anew at each try.
pub(super) struct Settling {
    pub(super) claim: Claim,
    pub(super) fence: Fence,
    pub(super) step: u32,
    pub(super) version: Version,
    pub(super) change: Option<Change>,
    pub(super) entry: NewEntry,
}

/// How a settle ended, before it is told.
pub(super) enum Concluded {
    /// Durable.
    Settled {
        expires: Option<crate::Timestamp>,
    },
    Lost,
    Impossible(String),
    Unknown,
    /// Not applied; the lease is still held.
    Unavailable(StoreError),
}

impl Concluded {
    /// What this end is to a successor that stands on it.
    fn ground(&self) -> Ground {
        match self {
            Self::Settled { .. } => Ground::Durable,
            Self::Lost | Self::Impossible(_) | Self::Unavailable(_) => Ground::Lost,
            Self::Unknown => Ground::Unknown,
        }
    }
}

impl Node {
    /// Sends a settle, and sends it again under the same (fence, step) while its answer is lost:
    /// a repeat is answered as the first was. A settle is never cancelled.
    pub(super) async fn settle(
        &self,
        settling: &Settling,
        then: impl Fn() -> Then,
    ) -> Result<Settled, StoreError> {
        let mut repeat = 0;
        let mut doubtful = false;
        loop {
            let request = Settle {
                claim: settling.claim.clone(),
                fence: settling.fence,
                step: settling.step,
                version: settling.version,
                change: settling.change.clone(),
                entry: settling.entry.clone(),
                then: then(),
            };
            let error = match self.ask(self.store.settle(request)).await {
                Ok(settled) => return Ok(settled),
                Err(error) => error,
            };
            let repeatable = matches!(
                error,
                StoreError::NotApplied(_) | StoreError::OutcomeUnknown(_)
            );
            doubtful |= error.may_have_happened();
            if !repeatable || repeat >= self.limits.repeats {
                // Once a try may have happened, a later one that did not says nothing about it.
                return Err(if doubtful { into_doubt(error) } else { error });
            }
            repeat += 1;
            self.runtime
                .sleep(self.pause(repeat, self.limits.store))
                .await;
        }
    }

    /// Settles an attempt for good and lets the next in line have the order. Returns when the
    /// settle is durable, or what else became of it, with what is still to be handed on.
    pub(super) async fn conclude(
        self: &Arc<Self>,
        seat: &Seat,
        settling: &Settling,
    ) -> (Concluded, Option<Acquired>) {
        let then = || match self.offer(seat) {
            Some(next) => Then::HandOver(Box::new(next)),
            None => Then::Unlock,
        };
        match self.settle(settling, then).await {
            Ok(Settled::Accepted(accepted)) => self.harden(seat, settling, accepted).await,
            Ok(Settled::Lost(_)) => (Concluded::Lost, None),
            Ok(Settled::Impossible(reason)) => (Concluded::Impossible(reason), None),
            Err(error) if error.may_have_happened() => (Concluded::Unknown, None),
            Err(error) => (Concluded::Unavailable(error), None),
        }
    }

    /// Waits until an accepted settle is durable. A pure successor begins in the meantime, and is
    /// told what became of the ground that it stands on.
    async fn harden(
        &self,
        seat: &Seat,
        settling: &Settling,
        accepted: Accepted,
    ) -> (Concluded, Option<Acquired>) {
        let Accepted {
            receipt,
            durable,
            next,
        } = accepted;
        let (next, successor) = match next {
            Some(next) if !durable.is_already() => match self.lines.hand_on_early(seat, next) {
                Ok(successor) => (None, Some(successor)),
                Err(next) => (Some(next), None),
            },
            next => (next, None),
        };
        let expires = Some(receipt.expires);
        let concluded = match self.ask(durable).await {
            Ok(Fate::Durable) => Concluded::Settled { expires },
            Ok(Fate::Lost(_)) => Concluded::Lost,
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "it is not known if a settle is durable");
                self.look_up(settling).await
            }
        };
        if let Some(successor) = successor {
            let _gone = successor.send(concluded.ground());
        }
        match concluded {
            Concluded::Settled { .. } => (concluded, next),
            // What was asked for the next in line rests on a settle that is not there.
            _ => (concluded, None),
        }
    }

    /// What the journal says of an accepted settle whose flush failed. That it is not there is no
    /// proof that it will not be.
    async fn look_up(&self, settling: &Settling) -> Concluded {
        let lookup = Lookup {
            target: settling.claim.target(),
            key_id: settling.claim.key_id,
        };
        let mine = (Some(settling.fence), settling.step);
        match self.ask(self.store.lookup(lookup)).await {
            Ok(Known::Settled(entry)) if (entry.fence, entry.step) == mine => Concluded::Settled {
                expires: entry.expires,
            },
            // Another settle of this key has taken effect, so this one never can.
            Ok(Known::Settled(_)) => Concluded::Lost,
            // Past its retention the journal does not say whose it was: it may be this one.
            _ => Concluded::Unknown,
        }
    }

    /// What is asked for the next in line, unless the node is shutting down.
    fn offer(&self, seat: &Seat) -> Option<Acquire> {
        let session = self.current_session()?;
        self.lines.offer(seat, session.id)
    }

    /// Gives the lease up without an entry. Returns what is to be handed on.
    pub(super) async fn give_up(
        &self,
        seat: &Seat,
        fence: Fence,
        mark: MarkFate,
    ) -> Option<Acquired> {
        let offer = self.offer(seat);
        let released = self
            .release(seat.target(), fence, mark, offer.as_ref())
            .await;
        released.ok().and_then(|released| released.next)
    }

    /// Takes back a grant under which no handler has run. Returns what is to be handed on.
    pub(super) async fn take_back(&self, seat: &Seat, fence: Fence) -> Option<Acquired> {
        let offer = self.offer(seat);
        let undone = self.undo(seat.target(), fence, offer.as_ref()).await;
        undone.ok().and_then(|undone| undone.next)
    }

    /// Tells the end to all who were attached, and its turn to the next in line. A grant that
    /// nobody is left to take is taken back, with what is asked for the one behind it: at most once
    /// for each place in the line.
    pub(super) async fn hand_on(
        self: &Arc<Self>,
        seat: Seat,
        ended: &Answered,
        next: Option<Acquired>,
    ) {
        let mut unclaimed = self.lines.finish(&seat, ended, next);
        while let Some((seat, grant)) = unclaimed {
            let next = self.take_back(&seat, grant.fence).await;
            unclaimed = self.lines.finish(&seat, ended, next);
        }
    }
}

fn into_doubt(error: StoreError) -> StoreError {
    if error.may_have_happened() {
        error
    } else {
        StoreError::OutcomeUnknown(Box::new(error))
    }
}

/// Whether the version moves, in one place.
pub(super) fn version_after(version: Version, outcome: OutcomeKind) -> Version {
    if outcome.moves_version() {
        version.next()
    } else {
        version
    }
}

/// An end that says nothing was stored because the order could not be.
pub(super) fn unwritable(reason: String) -> Answered {
    Ended::Failed {
        failure: Failed::Unwritable(reason),
        partial: None,
        marked: false,
    }
}
