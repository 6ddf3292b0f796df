//! The end of an attempt: the one write that applies, stores the answer and lets go; or the
//! release. Both take the next in line along.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::ended::{Answered, Ended, Failed};
use super::footing::Ground;
use super::node::Node;
use super::place::Seat;
use super::session::Chain;
use super::tries::{Retry, Tries};
use crate::store::{Accepted, Acquire, Acquired, Fate, MarkFate, Part, Settle, Settled};
use crate::{Fence, OrderStore as _, OutcomeKind, StoreError, Version};

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

/// Whom the order goes to after a final settle.
struct Succession<'a> {
    seat: &'a Seat,
    /// What was asked for the next in line with the last try.
    next: Option<Acquired>,
    /// A pure successor has begun on what was accepted, and is owed a word on what became of that.
    begun: Option<Begun>,
}

struct Begun {
    word: oneshot::Sender<Ground>,
    fence: Option<Fence>,
}

impl Node {
    /// Settles a part and keeps the lease. Returns when that is durable.
    pub(super) async fn settle_part(&self, settle: &mut Settle) -> Concluded {
        self.settle(settle, None).await
    }

    /// Settles an attempt for good and lets the next in line have the order. Returns when the
    /// settle is durable, or what else became of it, with what is still to be handed on.
    pub(super) async fn conclude(
        &self,
        seat: &Seat,
        settle: &mut Settle,
    ) -> (Concluded, Option<Acquired>) {
        let mut succession = Succession {
            seat,
            next: None,
            begun: None,
        };
        let concluded = self.settle(settle, Some(&mut succession)).await;
        if let Some(begun) = succession.begun {
            self.tell(begun, concluded.ground());
        }
        // What was asked for the next in line rests on this settle.
        let settled = matches!(concluded, Concluded::Settled { .. });
        (concluded, succession.next.filter(|_| settled))
    }

    /// Sends a settle until its fate is known, under the same (fence, step): a repeat is answered as
    /// the first was, or makes good what did not happen. That it was accepted is not its fate: its
    /// flush may fail, and then it is asked about like one whose answer was lost. A settle is never
    /// cancelled.
    async fn settle(
        &self,
        settle: &mut Settle,
        mut succession: Option<&mut Succession<'_>>,
    ) -> Concluded {
        let mut tries = Tries::new(self, Retry::MayPass, None);
        loop {
            if let (Part::Final { next, .. }, Some(succession)) = (&mut settle.part, &succession) {
                // Who is next is decided anew at each try.
                *next = self.offer(succession.seat).map(Box::new);
            }
            let error = match self.ask(self.store.settle(settle.clone())).await {
                Ok(Settled::Accepted(accepted)) => {
                    let expires = Some(accepted.receipt.expires);
                    match self.harden(accepted, succession.as_deref_mut()).await {
                        Ok(Fate::Durable) => return Concluded::Settled { expires },
                        Ok(Fate::Lost(_)) => return Concluded::Lost,
                        Err(error) => error,
                    }
                }
                Ok(Settled::Lost(_)) => return Concluded::Lost,
                Ok(Settled::Impossible(reason)) => return Concluded::Impossible(reason),
                Err(error) => error,
            };
            if !tries.again(&error).await {
                let in_doubt = tries.in_doubt();
                tracing::warn!(error = %Chain(&error), in_doubt, "a settle was given up");
                // Once a try may have happened, a later one that did not says nothing about it.
                return if in_doubt {
                    Concluded::Unknown
                } else {
                    Concluded::Unavailable(error)
                };
            }
        }
    }

    /// Waits until an accepted settle is durable. A pure successor begins in the meantime.
    async fn harden(
        &self,
        accepted: Accepted,
        succession: Option<&mut Succession<'_>>,
    ) -> Result<Fate, StoreError> {
        let Accepted { durable, next, .. } = accepted;
        let Some(succession) = succession else {
            return self.ask(durable).await;
        };
        succession.next = match next {
            Some(next) if !durable.is_already() => self.begin_early(succession, next),
            next => next,
        };
        let fate = self.ask(durable).await;
        if let Err(error) = &fate {
            succession.next = None;
            // What did not happen has granted nothing: the successor stands on nothing.
            if !error.may_have_happened()
                && let Some(begun) = succession.begun.take()
            {
                self.tell(begun, Ground::Lost);
            }
        }
        fate
    }

    /// Tells a successor that has begun what became of the ground it stands on. Where that is lost so
    /// is its grant, and the order's line does not wait until its handler has ended.
    fn tell(&self, begun: Begun, ground: Ground) {
        if ground == Ground::Lost {
            self.lines.grants_voided(begun.fence.as_slice());
        }
        let _gone = begun.word.send(ground);
    }

    /// Lets the next in line begin, if it may. Returns what is still to be handed on otherwise.
    fn begin_early(&self, succession: &mut Succession<'_>, next: Acquired) -> Option<Acquired> {
        let fence = match &next {
            Acquired::Granted(grant) => Some(grant.fence),
            _ => None,
        };
        match self.lines.hand_on_early(succession.seat, next) {
            Ok(word) => {
                succession.begun = Some(Begun { word, fence });
                None
            }
            Err(next) => Some(next),
        }
    }

    /// What is asked for the next in line, unless the node is shutting down.
    fn offer(&self, seat: &Seat) -> Option<Acquire> {
        let session = self.current_session()?;
        self.lines.offer(seat, session.id, || self.new_fence())
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
        while let Some((seat, fence)) = unclaimed {
            let next = self.take_back(&seat, fence).await;
            unclaimed = self.lines.finish(&seat, ended, next);
        }
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
