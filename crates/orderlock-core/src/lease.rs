//! An order's lock as held, and the one place where its transitions are decided.

use std::fmt;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;

use crate::{
    Caller, Fingerprint, KeyId, Mark, OperationName, OrderId, Recovery, Target, Timestamp,
};

/// Names one grant of one lease: 128 random bits, drawn by the node, compared for equality, never
/// reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u128);

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fence({self})")
    }
}

/// Names one session of a node: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u128);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({:032x})", self.0)
    }
}

/// How an operator names one grant. Opaque to clients: it is made from the fence and the order, so
/// that a store finds the grant without a walk through its orders; or, for a lock that others took,
/// from what the store has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaseId(pub Arc<str>);

impl LeaseId {
    /// The name of this grant of this order.
    #[must_use]
    pub fn of_grant(fence: Fence, order: &OrderId) -> Self {
        let order = BASE64URL_NOPAD.encode(order.as_str().as_bytes());
        Self(format!("lck_{fence}-{order}").into())
    }

    /// The grant and the order that it names; none if it does not name a grant.
    #[must_use]
    pub fn grant(&self) -> Option<(Fence, OrderId)> {
        let (digits, order) = self.0.strip_prefix("lck_")?.split_once('-')?;
        let fence = Fence(u128::from_str_radix(digits, 16).ok()?);
        let order = BASE64URL_NOPAD.decode(order.as_bytes()).ok()?;
        let order = OrderId::parse(std::str::from_utf8(&order).ok()?).ok()?;
        // Only the one way to write it is its name.
        (Self::of_grant(fence, &order) == *self).then_some((fence, order))
    }
}

impl serde::Serialize for LeaseId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who holds an order, for what, since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The grant.
    pub fence: Fence,
    /// The session that it lives in.
    pub session: SessionId,
    /// Who asked.
    pub caller: Caller,
    /// Under which key.
    pub key_id: KeyId,
    /// For what.
    pub fingerprint: Fingerprint,
    /// For which operation.
    pub operation: OperationName,
    /// Which run of the key this is.
    pub attempt: u32,
    /// When it was granted, by the store's clock.
    pub since: Timestamp,
    /// How many settles this grant has made: the step that the next one must name.
    pub steps: u32,
    /// What stood before this grant, if it resumed an open mark: an undo puts it back.
    pub resumed: Option<Resumed>,
}

/// What a grant that resumes an open mark replaces. All else of the mark stays as it was: its
/// caller, its key, its fingerprint, its operation, and when its first run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// The run that left the mark.
    pub attempt: u32,
    /// What might be done about the mark.
    pub recovery: Recovery,
}

/// The lock of one order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LeaseState {
    /// Nobody holds it and nothing is open.
    #[default]
    Free,
    /// Held, and nothing would be left if the holder vanished.
    Held(Lease),
    /// Held by an external operation that has begun.
    Begun(Lease, Mark),
    /// An external operation has begun and nobody attends to it: outcome unknown.
    Unattended(Mark),
}

/// What can happen to the lock of one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseEvent {
    /// A grant, with its mark if the operation is external.
    Granted(Lease, Option<Mark>),
    /// The final settle of this grant.
    Settled(Fence),
    /// A settle that keeps the lease.
    Checkpointed(Fence),
    /// The holder gives up, and the mark stays.
    Released(Fence),
    /// The holder gives up and declares that nothing happened outside.
    ReleasedWithoutEffect(Fence),
    /// No handler has run under this grant: what stood before the grant stands again. A grant that
    /// has settled a step is not undone; the mark then stays as it is.
    Undone(Fence),
    /// The grant is void: its session ended, the node no longer knows it, or an operator broke it.
    Voided(Fence),
    /// A person or program with the right to has ended the mark of this key.
    Resolved(KeyId),
}

/// An event that cannot happen in a state: a stale holder's word, or a mistake of the store's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lease does not allow that event now")]
pub struct IllegalTransition;

impl LeaseState {
    /// The state after an event. A store that writes its transitions as conditions of its statements is
    /// held against this by the conformance suite, in every state by every event.
    ///
    /// # Errors
    /// [`IllegalTransition`] for each pair that is not an arrow of the picture in
    /// `docs/lock-lifecycle.md`; above all for any word of a holder whose fence is not the one
    /// that holds the order.
    pub fn next(&self, event: LeaseEvent) -> Result<Self, IllegalTransition> {
        use LeaseEvent as E;
        match (self, event) {
            (Self::Free, E::Granted(lease, None)) => Ok(Self::Held(lease)),
            (Self::Free, E::Granted(lease, Some(mark))) => Ok(Self::Begun(lease, mark)),
            (Self::Unattended(open), E::Granted(lease, Some(mark)))
                if open.key_id == mark.key_id && lease.key_id == mark.key_id =>
            {
                Ok(Self::Begun(lease, mark))
            }

            (
                Self::Held(lease),
                E::Settled(fence)
                | E::Released(fence)
                | E::ReleasedWithoutEffect(fence)
                | E::Undone(fence)
                | E::Voided(fence),
            ) if lease.fence == fence => Ok(Self::Free),
            (Self::Held(lease), E::Checkpointed(fence)) if lease.fence == fence => {
                Ok(Self::Held(lease.stepped()))
            }

            (Self::Begun(lease, _), E::Settled(fence) | E::ReleasedWithoutEffect(fence))
                if lease.fence == fence =>
            {
                Ok(Self::Free)
            }
            (Self::Begun(lease, mark), E::Checkpointed(fence)) if lease.fence == fence => {
                Ok(Self::Begun(lease.stepped(), mark.clone()))
            }
            (Self::Begun(lease, mark), E::Undone(fence)) if lease.fence == fence => {
                Ok(lease.undone(mark))
            }
            (Self::Begun(lease, mark), E::Released(fence) | E::Voided(fence))
                if lease.fence == fence =>
            {
                Ok(Self::Unattended(mark.clone()))
            }

            (Self::Unattended(mark), E::Resolved(key_id)) if mark.key_id == key_id => {
                Ok(Self::Free)
            }

            (Self::Free | Self::Held(_) | Self::Begun(..) | Self::Unattended(_), _) => {
                Err(IllegalTransition)
            }
        }
    }

    /// The lease, if somebody holds the order.
    #[must_use]
    pub fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Held(lease) | Self::Begun(lease, _) => Some(lease),
            Self::Free | Self::Unattended(_) => None,
        }
    }

    /// The mark, attended or not.
    #[must_use]
    pub fn mark(&self) -> Option<&Mark> {
        match self {
            Self::Begun(_, mark) | Self::Unattended(mark) => Some(mark),
            Self::Free | Self::Held(_) => None,
        }
    }
}

impl Lease {
    fn stepped(&self) -> Self {
        Self {
            steps: self.steps.saturating_add(1),
            ..self.clone()
        }
    }

    /// The lock as it was before this grant wrote its mark.
    fn undone(&self, mark: &Mark) -> LeaseState {
        match self.resumed {
            _ if self.steps > 0 => LeaseState::Unattended(mark.clone()),
            Some(Resumed { attempt, recovery }) => LeaseState::Unattended(Mark {
                attempt,
                recovery,
                ..mark.clone()
            }),
            None => LeaseState::Free,
        }
    }

    /// What others may see of it.
    #[must_use]
    pub fn view(&self, target: &Target) -> LeaseView {
        LeaseView {
            id: LeaseId::of_grant(self.fence, &target.order),
            target: target.clone(),
            state: LeaseViewState::Held,
            operation: Some(self.operation.clone()),
            caller: Some(self.caller.clone()),
            key_id: Some(self.key_id),
            fingerprint: Some(self.fingerprint),
            attempt: self.attempt,
            since: Some(self.since),
        }
    }
}

/// In which way an order is not free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseViewState {
    /// Somebody holds it.
    Held,
    /// An external operation has begun and nobody attends to it.
    Marked,
    /// A service that does not know Orderlock took it.
    Foreign,
}

/// What others may see of a lease or a mark. It never shows the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// The grant's name, for an operator.
    pub id: LeaseId,
    /// Which order.
    pub target: Target,
    /// In which way it is not free.
    pub state: LeaseViewState,
    /// Which operation; unknown for a foreign lock.
    pub operation: Option<OperationName>,
    /// Who asked; unknown for a foreign lock.
    pub caller: Option<Caller>,
    /// Under which key; unknown for a foreign lock.
    pub key_id: Option<KeyId>,
    /// For what; unknown for a foreign lock.
    pub fingerprint: Option<Fingerprint>,
    /// Which run.
    pub attempt: u32,
    /// Since when, by the store's clock; unknown for a foreign lock.
    pub since: Option<Timestamp>,
}
