//! What the journal and the line know of a key.

use std::convert::Infallible;
use std::sync::Arc;

use super::Lifecycle;
use super::ended::{Answered, Denied, Ended, KeyStatus, OperationRequest};
use super::node::Node;
use super::verbs::Deadline;
use super::word::{judge, not_looked_up, running, unless_running};
use crate::store::{Claim, Known, Lookup};
use crate::{Caller, Fingerprint, IdempotencyKey, OrderId, OrderStore as _, Secret, StoreError};

impl OperationRequest {
    pub(super) fn claim(&self, secret: &Secret) -> Claim {
        Claim::new(
            secret,
            &self.caller,
            &self.order,
            &self.key,
            self.fingerprint,
        )
    }
}

impl Lifecycle {
    /// What the journal answers to a request without running it: its stored answer, or that its
    /// key stands for another request or is past the retention. None if the key is new or running.
    /// Without an order, the key is one that creates.
    ///
    /// # Errors
    /// [`Denied`] if the store cannot be asked.
    pub async fn stored(
        &self,
        caller: &Caller,
        order: Option<&OrderId>,
        key: &IdempotencyKey,
        fingerprint: Fingerprint,
    ) -> Result<Option<Ended<Infallible>>, Denied> {
        let by = self.node.deadline();
        let claim = self.claim(caller, order, key, fingerprint, by).await?;
        let known = self
            .node
            .look_up(&claim, by)
            .await
            .map_err(Denied::unavailable)?;
        Ok(judge(&claim, known))
    }

    /// The id of the order that this caller creates under this key, whether it exists or not.
    ///
    /// # Errors
    /// [`Denied`] if the store cannot be asked for the installation's secret.
    pub async fn order_id(&self, caller: &Caller, key: &IdempotencyKey) -> Result<OrderId, Denied> {
        let secret = self.node.secret(self.node.deadline()).await?;
        Ok(secret.order_id(caller, key))
    }

    /// What became of a key.
    ///
    /// # Errors
    /// [`Denied`] if the store cannot be asked.
    pub async fn status(
        &self,
        caller: &Caller,
        order: &OrderId,
        key: &IdempotencyKey,
    ) -> Result<KeyStatus, Denied> {
        let (by, any) = (self.node.deadline(), Fingerprint([0; 32]));
        let claim = self.claim(caller, Some(order), key, any, by).await?;
        // The line comes first: what leaves it meanwhile is settled by the time of the look-up, and
        // whatever comes into it meanwhile was not there at the first look.
        let here = match self.node.lines.find(&claim.target(), claim.key_id) {
            Some(running @ Some(_)) => KeyStatus::Running(running),
            Some(None) => KeyStatus::Waiting,
            None => KeyStatus::Unknown,
        };
        let known = match self.node.look_up(&claim, by).await {
            Ok(Known::Unknown) => self.made_by(&claim, by).await,
            known => known,
        };
        Ok(match known.map_err(Denied::unavailable)? {
            Known::Settled(entry) => match entry.answer {
                Some(answer) => KeyStatus::Settled {
                    answer,
                    expires: entry.expires,
                },
                None => KeyStatus::Expired,
            },
            Known::Running(view) => KeyStatus::Running(Some(running(&view))),
            Known::Marked(mark) => {
                let now = self.node.runtime.wall();
                KeyStatus::OutcomeUnknown(Box::new(mark.counted_at(now)))
            }
            Known::Expired(_) => KeyStatus::Expired,
            Known::Unknown => here,
        })
    }

    /// What is known of a key that has made this order: it stands under the id that is derived from
    /// it, whatever id was chosen.
    async fn made_by(&self, claim: &Claim, by: Deadline) -> Result<Known, StoreError> {
        let Some(secret) = self.node.secret.get() else {
            return Ok(Known::Unknown);
        };
        let derived = secret.order_id(&claim.caller, &claim.key);
        if derived == claim.order {
            return Ok(Known::Unknown);
        }
        let made = Claim::new(
            secret,
            &claim.caller,
            &derived,
            &claim.key,
            claim.fingerprint,
        );
        Ok(match self.node.look_up(&made, by).await? {
            Known::Settled(entry) if entry.target == claim.target() => Known::Settled(entry),
            _ => Known::Unknown,
        })
    }

    async fn claim(
        &self,
        caller: &Caller,
        order: Option<&OrderId>,
        key: &IdempotencyKey,
        fingerprint: Fingerprint,
        by: Deadline,
    ) -> Result<Claim, Denied> {
        let secret = self.node.secret(by).await?;
        Ok(match order {
            Some(order) => Claim::new(&secret, caller, order, key, fingerprint),
            None => Claim::that_creates(&secret, caller, key, fingerprint),
        })
    }
}

impl Node {
    /// The installation's secret. It is the same in every session, so that a node which has joined
    /// once needs no session for it.
    async fn secret(self: &Arc<Self>, by: Deadline) -> Result<Secret, Denied> {
        match self.secret.get() {
            Some(secret) => Ok(secret.clone()),
            None => Ok(self.session(by).await?.secret.clone()),
        }
    }

    pub(super) async fn look_up(&self, claim: &Claim, by: Deadline) -> Result<Known, StoreError> {
        let lookup = Lookup {
            target: claim.target(),
            key_id: claim.key_id,
        };
        self.ask_by(by, self.store.lookup(lookup)).await
    }

    /// The stored answer of this key, or what else the journal says of it; otherwise the denial. No
    /// request is told that nothing was applied before the journal was asked.
    pub(super) async fn unless_known(
        &self,
        claim: &Claim,
        denied: Denied,
        by: Deadline,
    ) -> Answered {
        match self.look_up(claim, by).await {
            Ok(known) => {
                let denied = unless_running(claim, &known, denied);
                judge(claim, known).unwrap_or(Ended::Denied(denied))
            }
            Err(error) => Ended::Denied(not_looked_up(denied, error)),
        }
    }

    /// What a request is told that the node does not let in. A node that is shutting down still
    /// replays what is stored; one that is full asks nobody.
    pub(super) async fn refused(
        &self,
        claim: impl FnOnce(&Secret) -> Claim,
        denied: Denied,
    ) -> Answered {
        let (Denied::ShuttingDown, Some(secret)) = (&denied, self.secret.get()) else {
            return Ended::Denied(denied);
        };
        let claim = claim(secret);
        let known = self.unless_known(&claim, denied.clone(), self.deadline());
        let known = self.while_refusing(known).await;
        known.unwrap_or(Ended::Denied(denied))
    }
}
