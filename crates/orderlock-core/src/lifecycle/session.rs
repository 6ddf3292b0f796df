//! A node's sign of life: it joins when it is first needed, is kept by a task of its own, and
//! joins again under a new identity when it has ended.

use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;

use super::ended::Denied;
use super::node::{Node, Phase};
use crate::store::{Cause, Expire, Join, Leave, Renew, Renewed, Sweep};
use crate::{OrderStore as _, Secret, SessionId, StoreError};

/// How many leases, answers or tombstones one round of the keeper ends at most.
const ROUND_MAX: usize = 500;

/// The keeper's shortest pause, whatever the session's length: it never spins.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// A session of this node.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) secret: Secret,
}

#[derive(Debug, Default)]
pub(crate) struct SessionState {
    joined: Option<Arc<Session>>,
    /// Until when the store's word of the last renewal holds, by this node's own clock.
    lapses: Option<Instant>,
    kept: bool,
}

impl SessionState {
    pub(crate) fn joined(&self) -> Option<&Arc<Session>> {
        self.joined.as_ref()
    }
}

impl Node {
    pub(crate) fn session_state(&self) -> MutexGuard<'_, SessionState> {
        self.session_state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The node's session, if it is alive as far as the node knows.
    pub(crate) fn live_session(&self) -> Option<Arc<Session>> {
        let now = self.now();
        let state = self.session_state();
        if state.lapses.is_some_and(|lapses| now < lapses) {
            state.joined.clone()
        } else {
            None
        }
    }

    /// The node's session; joins if there is none. A node whose session could not be renewed in
    /// time starts no handler until it has been.
    pub(crate) async fn session(self: &Arc<Self>) -> Result<Arc<Session>, Denied> {
        if let Some(session) = self.live_session() {
            return Ok(session);
        }
        // Whoever stands behind others who wait for the store waits no longer than for the store.
        let turn = self.within(self.limits.store, self.session.lock()).await;
        let Some(_one_at_a_time) = turn else {
            let late = Cause::from("the session did not begin in time");
            return Err(Denied::StoreUnavailable(Arc::new(StoreError::NotApplied(
                late,
            ))));
        };
        if let Some(session) = self.live_session() {
            return Ok(session);
        }
        let unavailable = |error| Denied::StoreUnavailable(Arc::new(error));
        match self.current_session() {
            Some(_) if self.renew().await.map_err(unavailable)? => {}
            Some(_) | None => self.join().await.map_err(unavailable)?,
        }
        self.live_session().ok_or_else(|| {
            let late = Cause::from("the session could not be begun in time");
            unavailable(StoreError::NotApplied(late))
        })
    }

    async fn join(self: &Arc<Self>) -> Result<(), StoreError> {
        let asked = self.now();
        let id = SessionId(self.runtime.random());
        let mut secret = [0; 32];
        secret[..16].copy_from_slice(&self.runtime.random().to_le_bytes());
        secret[16..].copy_from_slice(&self.runtime.random().to_le_bytes());
        let request = Join {
            node: self.name.clone(),
            session: id,
            length: self.limits.session,
            secret: Secret::new(secret),
        };
        let joined = self.ask(self.store.join(request)).await?;
        let mut state = self.session_state();
        state.joined = Some(Arc::new(Session {
            id,
            secret: joined.secret,
        }));
        state.lapses = Some(asked + self.limits.session);
        if !std::mem::replace(&mut state.kept, true) {
            let runtime = Arc::clone(&self.runtime);
            self.runtime
                .spawn(Box::pin(keep(Arc::downgrade(self), runtime)));
            self.runtime
                .spawn(Box::pin(listen(Arc::downgrade(self), self.store.freed())));
        }
        Ok(())
    }

    /// Renews the session. False if it has ended.
    async fn renew(&self) -> Result<bool, StoreError> {
        let Some(session) = self.current_session() else {
            return Ok(false);
        };
        let asked = self.now();
        let request = Renew {
            session: session.id,
            known: self.lines.fences(),
        };
        let renewed = self.ask(self.store.renew(request)).await?;
        let mut state = self.session_state();
        // Another task may have joined anew in the meantime.
        if state
            .joined
            .as_ref()
            .is_some_and(|joined| joined.id == session.id)
        {
            match &renewed {
                Renewed::Extended { .. } => state.lapses = Some(asked + self.limits.session),
                Renewed::Ended => {
                    let early = state.lapses.is_some_and(|lapses| self.now() < lapses);
                    self.tell_of_the_end(early);
                    (state.joined, state.lapses) = (None, None);
                }
            }
        }
        Ok(renewed != Renewed::Ended)
    }

    /// A session that ends before its time was ended by somebody: whoever joins under a name ends
    /// what was there under it.
    fn tell_of_the_end(&self, early: bool) {
        let node = &*self.name;
        if early {
            tracing::warn!(
                %node,
                "the session was ended before its time, and its leases are void: does another \
                 process run under the node name {node}? Each needs one of its own (`node_name`)"
            );
        } else {
            tracing::warn!(%node, "the session has lapsed, and its leases are void");
        }
    }

    /// Forgets a session that the store has called ended.
    pub(crate) fn session_ended(&self, id: SessionId) {
        let mut state = self.session_state();
        if state.joined.as_ref().is_some_and(|joined| joined.id == id) {
            (state.joined, state.lapses) = (None, None);
        }
    }

    /// Ends the session, and with it whatever lease the node still has.
    pub(crate) async fn leave(&self) -> Result<(), StoreError> {
        let session = {
            let mut state = self.session_state();
            state.lapses = None;
            state.joined.take()
        };
        if let Some(session) = session {
            self.ask(self.store.leave(Leave {
                session: session.id,
            }))
            .await?;
        }
        Ok(())
    }

    /// One round of the keeper. What is not needed to stay alive never delays the next renewal.
    async fn keep(&self) {
        if let Err(error) = self.renew().await {
            tracing::warn!(node = %self.name, error = %Chain(&error), "the session was not renewed");
            return;
        }
        let bound = self.limits.session / 3;
        if self.within(bound, self.housekeep()).await.is_none() {
            tracing::warn!("lapsed sessions and expired answers were not ended in time");
        }
    }

    async fn housekeep(&self) {
        if let Err(error) = self.ask(self.store.sweep(Sweep { limit: ROUND_MAX })).await {
            tracing::warn!(error = %Chain(&error), "lapsed sessions were not swept");
        }
        if let Err(error) = self
            .ask(self.store.expire(Expire { limit: ROUND_MAX }))
            .await
        {
            tracing::warn!(error = %Chain(&error), "expired answers were not ended");
        }
    }
}

/// Renews the session three times in its length, sweeps, and ends what has expired. A round that
/// took long is followed by the next one at once, so that one lost answer costs no session.
async fn keep(node: Weak<Node>, runtime: Arc<dyn crate::Runtime>) {
    let mut begun = runtime.now();
    loop {
        let Some(length) = node.upgrade().map(|node| node.limits.session) else {
            return;
        };
        let spent = runtime.now().saturating_duration_since(begun);
        let pause = (length / 3).saturating_sub(spent);
        runtime.sleep(pause.max(PAUSE_MIN)).await;
        let Some(node) = node.upgrade() else { return };
        if node.phase() >= Phase::Stopping {
            return;
        }
        begun = runtime.now();
        node.keep().await;
    }
}

/// Wakes the line of an order that was let go elsewhere.
async fn listen(
    node: Weak<Node>,
    mut freed: futures_util::stream::BoxStream<'static, crate::Target>,
) {
    while let Some(target) = freed.next().await {
        let Some(node) = node.upgrade() else { return };
        node.lines.freed(&target);
    }
}

/// An error with all that lies below it, for the log.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut below = self.0.source();
        while let Some(error) = below {
            write!(f, ": {error}")?;
            below = error.source();
        }
        Ok(())
    }
}
