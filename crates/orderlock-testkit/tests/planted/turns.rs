//! Turns between nodes over the model, which has none, and what can be wrong with them.

use std::time::Duration;

use orderlock_core::store::{
    Acquire, Acquired, MarkFate, Part, Release, Released, Settle, Settled, kept_for_another,
};
use orderlock_core::{OrderStore as _, Runtime as _, SessionId, StoreError, Target};

use super::{Bug, Planted};

/// How long a node waits until it is its turn, and how soon it asks again.
const PATIENCE: Duration = Duration::from_millis(500);

impl Bug {
    /// The store without this bug.
    pub(crate) fn sound(self) -> Self {
        if self.has_turns() {
            Self::NoneWithTurns
        } else {
            Self::None
        }
    }

    /// Whether it is one of a store that has turns.
    pub(crate) fn has_turns(self) -> bool {
        matches!(
            self,
            Self::NoneWithTurns
                | Self::HandsOverOutOfTurn
                | Self::ReleasesOutOfTurn
                | Self::LetsTheLastGoFirst
                | Self::KeepsForTheGone
                | Self::RemembersTheGone
        )
    }
}

/// A node that waits for an order.
#[derive(Debug)]
pub(crate) struct Wait {
    target: Target,
    session: SessionId,
    since: Duration,
    asked: Duration,
}

impl Planted {
    pub(crate) async fn acquire_in_turn(&self, request: Acquire) -> Result<Acquired, StoreError> {
        let (target, session) = (request.claim.target(), request.session);
        let fence = request.fence;
        let mut told = self.inner.acquire(request).await?;
        let granted = matches!(told, Acquired::Granted(_));
        if granted && self.keeps_for_another(&target, session) {
            let release = Release {
                target: target.clone(),
                fence,
                mark: MarkFate::Clear,
                next: None,
            };
            self.inner.release(release).await?;
            told = self.kept(target.clone());
        }
        self.note(target, session, matches!(told, Acquired::Held(_)));
        Ok(told)
    }

    pub(crate) async fn settle_in_turn(&self, mut request: Settle) -> Result<Settled, StoreError> {
        let target = request.claim.target();
        let kept = match request.next() {
            Some(next) => self.keeps_for_another(&target, next.session),
            None => false,
        };
        if !kept || self.has(Bug::HandsOverOutOfTurn) {
            return self.inner.settle(request).await;
        }
        if let Part::Final { next, .. } = &mut request.part {
            *next = None;
        }
        let mut settled = self.inner.settle(request).await?;
        if let Settled::Accepted(accepted) = &mut settled {
            accepted.next = Some(self.kept(target));
        }
        Ok(settled)
    }

    pub(crate) async fn release_in_turn(
        &self,
        mut request: Release,
    ) -> Result<Released, StoreError> {
        let target = request.target.clone();
        let kept = match &request.next {
            Some(next) => self.keeps_for_another(&target, next.session),
            None => false,
        };
        if !kept || self.has(Bug::ReleasesOutOfTurn) {
            return self.inner.release(request).await;
        }
        request.next = None;
        let mut released = self.inner.release(request).await?;
        released.next = Some(self.kept(target));
        Ok(released)
    }

    fn kept(&self, target: Target) -> Acquired {
        Acquired::Held(kept_for_another(target, self.runtime.wall()))
    }

    fn keeps_for_another(&self, target: &Target, session: SessionId) -> bool {
        let now = self.runtime.elapsed();
        let memory = self.memory.lock().unwrap();
        let waits = || {
            let of_the_order = memory.waits.iter().filter(|wait| wait.target == *target);
            of_the_order.filter(|wait| self.asks(wait))
        };
        let own = waits().find(|wait| wait.session == session);
        waits().any(|wait| {
            let first = own.is_none_or(|own| match self.bug {
                Bug::LetsTheLastGoFirst => wait.since > own.since,
                _ => wait.since < own.since,
            });
            wait.session != session && first && now >= wait.since + PATIENCE
        })
    }

    /// Whether a node that waits has asked lately.
    fn asks(&self, wait: &Wait) -> bool {
        self.has(Bug::KeepsForTheGone) || self.runtime.elapsed() <= wait.asked + PATIENCE
    }

    /// Records a node's answer for an order: a node that finds the order held waits.
    fn note(&self, target: Target, session: SessionId, held: bool) {
        let now = self.runtime.elapsed();
        let mut memory = self.memory.lock().unwrap();
        let own = |wait: &Wait| wait.target == target && wait.session == session;
        let mut found = memory.waits.iter().find(|wait| own(wait));
        if !self.has(Bug::RemembersTheGone) {
            found = found.filter(|wait| self.asks(wait));
        }
        let since = found.map_or(now, |wait| wait.since);
        memory.waits.retain(|wait| !own(wait));
        if held {
            memory.waits.push(Wait {
                target,
                session,
                since,
                asked: now,
            });
        }
    }
}
