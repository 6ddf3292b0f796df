//! The fast path: grants, releases, orders and keys that memory answers at once, on the caller's
//! thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use orderlock_core::store::{Acquire, Acquired, Known, Lookup, OrderView, Read, Released};
use orderlock_core::{StoreError, Target};

use crate::clock::{Clock, Now};
use crate::file::error::Fault;
use crate::state::durability::Durability;
use crate::state::leases::{Held, Leases};
use crate::state::shared::Shared;
use crate::state::shared::taken;
use crate::state::view::{Certainty, MemoryView, Seen};
use crate::verbs::acquire::{Decided, decide_acquire, hand_over};
use crate::verbs::settle::LetGo;
use crate::verbs::views;

/// What memory says to a request, or who is to be asked.
#[derive(Debug)]
pub(crate) enum Asked<T> {
    Told(T),
    /// Memory does not know enough.
    TheFile,
    /// The writer is just at this order, or has to write for it.
    TheWriter,
}

/// All that is shared between those who ask, those who read and the writer.
#[derive(Debug)]
pub(crate) struct Direct {
    pub(crate) leases: Arc<Leases>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) durability: Arc<Durability>,
    pub(crate) clock: Arc<Clock>,
}

impl Direct {
    /// While another process owns the file, this one's leases mean nothing.
    pub(crate) fn owned(&self) -> Result<(), StoreError> {
        if self.is_taken() {
            return Err(taken());
        }
        Ok(())
    }

    pub(crate) fn is_taken(&self) -> bool {
        self.shared.taken.load(Ordering::Acquire)
    }

    /// One order as memory has it. Nobody else changes it while this lives.
    pub(crate) fn view<'a>(&'a self, target: &'a Target) -> MemoryView<'a> {
        MemoryView::of(&self.leases, &self.durability, target)
    }

    /// The live lease of an order, as it is now.
    pub(crate) fn held(&self, target: &Target) -> Option<Held> {
        self.view(target).order().held
    }

    /// Grants what memory alone can grant.
    ///
    /// The order's part of memory stays locked from the look to the grant, and a settle frees its
    /// lease there only once it is on the disk: so a grant sees every settle that went before, and
    /// none that may still be lost.
    pub(crate) fn acquire(&self, request: &Acquire) -> Result<Asked<Acquired>, Fault> {
        let (target, now) = (request.claim.target(), self.clock.now());
        let mut view = self.view(&target);
        let seen = view.order();
        if let Some(entry) = view.answer(&seen, request.claim.key_id, now) {
            return Ok(Asked::Told(
                if entry.fingerprint == request.claim.fingerprint {
                    Acquired::Settled(entry.clone().into())
                } else {
                    Acquired::Reused
                },
            ));
        }
        match seen.certainty {
            Certainty::OnDisk => {}
            Certainty::BeingFlushed | Certainty::InDoubt => return Ok(Asked::TheWriter),
        }
        match decide(&mut view, request, &seen, now)? {
            Some(decided) => Ok(grant(&mut view, request, decided)),
            None => Ok(Asked::TheFile),
        }
    }

    /// Lets a lease without a mark go. The writer is asked if a mark is in play, or if the grant is
    /// not here (it may still stand in the writer's queue, and must not outlive this).
    pub(crate) fn let_go(&self, request: &LetGo) -> Result<Asked<Released>, Fault> {
        let next = request.next.as_deref();
        let next_needs_more =
            next.is_some_and(|next| next.mark.is_some() || next.claim.target() != request.target);
        let mut view = self.view(&request.target);
        let mut seen = view.order();
        let held = seen.held.take();
        let Some(held) = held.filter(|held| held.lease().fence == request.fence) else {
            return Ok(Asked::TheWriter);
        };
        match seen.certainty {
            Certainty::OnDisk if !next_needs_more && held.state().mark().is_none() => {}
            Certainty::OnDisk | Certainty::BeingFlushed | Certainty::InDoubt => {
                return Ok(Asked::TheWriter);
            }
        }
        let free = request.leaves(held.state())?;
        debug_assert!(free.lease().is_none(), "what is let go has no lease");
        let next = match next {
            None => None,
            // By now nobody holds the order.
            Some(next) => match hand_over(decide(&mut view, next, &seen, self.clock.now()))? {
                None => None,
                Some(Some(decided)) => Some((next, decided)),
                Some(None) => return Ok(Asked::TheWriter),
            },
        };
        view.hold(None);
        let mut freed = true;
        let next = next.and_then(|(next, decided)| {
            freed = !matches!(decided, Decided::Grant(..)) || next.mark.is_some();
            match grant(&mut view, next, decided) {
                Asked::Told(answer) => Some(answer),
                Asked::TheFile | Asked::TheWriter => None,
            }
        });
        drop(view);
        if freed {
            self.leases.announce(&request.target);
        }
        Ok(Asked::Told(Released { held: true, next }))
    }

    /// One order and its lease at one moment, as memory has them: as they are on the disk, also while
    /// the writer is at the order.
    pub(crate) fn read(&self, request: &Read) -> Asked<OrderView> {
        if self.is_taken() {
            return Asked::TheFile;
        }
        let seen = self.view(&request.target).order();
        match (seen.latest, seen.certainty) {
            (Some(latest), _) => {
                Asked::Told(views::order(latest.whole.clone(), seen.held.as_ref()))
            }
            (None, Certainty::OnDisk) => Asked::TheFile,
            (None, Certainty::BeingFlushed | Certainty::InDoubt) => Asked::TheWriter,
        }
    }

    /// What memory says of a key. What it knows is on the disk, also while the writer is at the
    /// order; but then that may be settling the key that holds the order, which is worth waiting
    /// for.
    pub(crate) fn look_up(&self, request: &Lookup) -> Asked<Known> {
        if self.is_taken() {
            return Asked::TheFile;
        }
        let mut view = self.view(&request.target);
        let seen = view.order();
        if let Some(entry) = view.answer(&seen, request.key_id, self.clock.now()) {
            return Asked::Told(Known::Settled(entry.clone().into()));
        }
        let latest = seen.latest.filter(|_| view.lacks(request.key_id));
        let known = latest.map(|latest| {
            let mark = latest.whole.order.mark.as_ref();
            views::unsettled(request, mark, seen.held.as_ref())
        });
        match (known, seen.certainty) {
            (Some(known), Certainty::OnDisk) => Asked::Told(known),
            (Some(Known::Unknown), Certainty::BeingFlushed | Certainty::InDoubt) => {
                Asked::Told(Known::Unknown)
            }
            (_, Certainty::BeingFlushed | Certainty::InDoubt) => Asked::TheWriter,
            (None, Certainty::OnDisk) => Asked::TheFile,
        }
    }
}

/// Decides a request for an order that is so seen; none if the file has to be asked.
fn decide(
    view: &mut MemoryView<'_>,
    request: &Acquire,
    seen: &Seen,
    now: Now,
) -> Result<Option<Decided>, Fault> {
    let latest = seen.latest.as_deref();
    let Some(latest) = latest.filter(|_| view.lacks(request.claim.key_id)) else {
        return Ok(None);
    };
    let session = view.session(request.session);
    let (held, session) = (seen.held.as_ref(), session.as_ref());
    decide_acquire(request, Some(latest), None, held, session, now).map(Some)
}

/// Carries out what was decided, if that takes no write.
pub(crate) fn grant(
    view: &mut MemoryView<'_>,
    request: &Acquire,
    decided: Decided,
) -> Asked<Acquired> {
    match decided {
        Decided::Answer(answer) => Asked::Told(answer),
        Decided::Grant(..) if request.mark.is_some() => Asked::TheWriter,
        Decided::Grant(held, grant) => {
            view.hold(Some(held));
            Asked::Told(Acquired::Granted(grant))
        }
    }
}
