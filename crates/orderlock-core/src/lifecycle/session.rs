//! A node's sign of life: it joins when it is first needed, is kept by a task of its own, and
//! joins again under a new identity when it has ended.

use std::pin::pin;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::{Either, select};

use super::ended::Denied;
use super::keeping::{PAUSE_MIN, keep_house};
use super::node::{Node, Phase};
use super::verbs::Deadline;
use crate::store::{Cause, Join, Leave, Renew, Renewed};
use crate::{OrderStore as _, Runtime, Secret, SessionId, StoreError};

/// In so many parts of a session's length it is renewed at most once, however often the keeper is
/// asked to look.
const LOOKS: u32 = 12;

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
    /// A join that was not answered, and when it was first sent. It is repeated as it was: were each
    /// try another session, one that arrives late would end the session that came after it.
    joining: Option<(Join, Instant)>,
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
    pub(crate) async fn session(self: &Arc<Self>, by: Deadline) -> Result<Arc<Session>, Denied> {
        if let Some(session) = self.live_session() {
            return Ok(session);
        }
        // Whoever stands behind others who wait for the store waits no longer than for the store.
        let turn = self.within(self.left(by), self.session.lock()).await;
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
            Some(_) if self.renew(by).await.map_err(unavailable)? => {}
            Some(_) | None => self.join(by).await.map_err(unavailable)?,
        }
        self.live_session().ok_or_else(|| {
            let late = Cause::from("the session could not be begun in time");
            unavailable(StoreError::NotApplied(late))
        })
    }

    async fn join(self: &Arc<Self>, by: Deadline) -> Result<(), StoreError> {
        let (request, asked) = self.joining();
        let id = request.session;
        let joined = self.ask_by(by, self.store.join(request)).await;
        let mut state = self.session_state();
        if !matches!(&joined, Err(error) if error.may_have_happened()) {
            state.joining = None;
        }
        let secret = joined?.secret;
        // It never changes, so that it does not matter who is first.
        let _known = self.secret.set(secret.clone());
        state.joined = Some(Arc::new(Session { id, secret }));
        state.lapses = Some(asked + self.limits.session);
        if !std::mem::replace(&mut state.kept, true) {
            self.spawn_keepers();
        }
        Ok(())
    }

    /// What is asked to join, and since when: the join that was not answered, as long as its session
    /// may still be alive.
    fn joining(&self) -> (Join, Instant) {
        let now = self.now();
        let mut state = self.session_state();
        if let Some((join, asked)) = &state.joining
            && now.saturating_duration_since(*asked) < self.limits.session
        {
            return (join.clone(), *asked);
        }
        let mut secret = [0; 32];
        secret[..16].copy_from_slice(&self.runtime.random().to_le_bytes());
        secret[16..].copy_from_slice(&self.runtime.random().to_le_bytes());
        let join = Join {
            node: self.name.clone(),
            session: SessionId(self.runtime.random()),
            length: self.limits.session,
            secret: Secret::new(secret),
        };
        state.joining = Some((join.clone(), now));
        (join, now)
    }

    fn spawn_keepers(self: &Arc<Self>) {
        let node = || Arc::downgrade(self);
        let runtime = || Arc::clone(&self.runtime);
        let spawn = |task| self.runtime.spawn(task);
        spawn(Box::pin(keep(node(), runtime(), Arc::clone(&self.look))));
        spawn(Box::pin(keep_house(node(), runtime())));
        spawn(Box::pin(listen(node(), self.store.freed())));
    }

    /// Renews the session, and lets the lines know which grants are void. False if it has ended.
    async fn renew(&self, by: Deadline) -> Result<bool, StoreError> {
        let Some(session) = self.current_session() else {
            return Ok(false);
        };
        let asked = self.now();
        let request = Renew {
            session: session.id,
            known: self.lines.fences(),
        };
        match self.ask_by(by, self.store.renew(request)).await? {
            Renewed::Extended { voided } => {
                let mut state = self.session_state();
                // Another task may have joined anew in the meantime.
                if state.joined().is_some_and(|joined| joined.id == session.id) {
                    state.lapses = Some(asked + self.limits.session);
                }
                drop(state);
                self.lines.grants_voided(&voided);
                Ok(true)
            }
            Renewed::Ended => {
                self.session_ended(session.id);
                Ok(false)
            }
        }
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

    /// Forgets a session that the store has called ended, and whatever it held.
    pub(crate) fn session_ended(&self, id: SessionId) {
        let mut state = self.session_state();
        if state.joined().is_some_and(|joined| joined.id == id) {
            let early = state.lapses.is_some_and(|lapses| self.now() < lapses);
            (state.joined, state.lapses) = (None, None);
            self.tell_of_the_end(early);
        }
        drop(state);
        self.lines.session_ended(id);
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
}

/// Renews the session three times in its length, and sooner if somebody wants to know which grants
/// are void. It does nothing else: nothing that is not needed to stay alive delays a renewal. A
/// round that took long is followed by the next one at once, so that one lost answer costs no
/// session.
async fn keep(node: Weak<Node>, runtime: Arc<dyn Runtime>, look: Arc<tokio::sync::Notify>) {
    let mut begun = runtime.now();
    loop {
        let Some(length) = node.upgrade().map(|node| node.limits.session) else {
            return;
        };
        let left = |of: Duration| {
            let spent = runtime.now().saturating_duration_since(begun);
            of.saturating_sub(spent).max(PAUSE_MIN)
        };
        let looks = pin!(look.notified());
        // Handlers that block their threads must not cost the session either.
        if let Either::Right((_, alarm)) = select(runtime.alarm(left(length / 3)), looks).await {
            drop(alarm);
            runtime.alarm(left(length / LOOKS)).await;
        }
        let Some(node) = node.upgrade() else { return };
        if node.phase() >= Phase::Stopping {
            return;
        }
        begun = runtime.now();
        if let Err(error) = node.renew(node.deadline()).await {
            tracing::warn!(node = %node.name, error = %Chain(&error), "the session was not renewed");
        }
    }
}

/// Wakes the line of an order that was let go elsewhere. If this node believes that it holds the
/// order itself, it looks.
async fn listen(
    node: Weak<Node>,
    mut freed: futures_util::stream::BoxStream<'static, crate::Target>,
) {
    while let Some(target) = freed.next().await {
        let Some(node) = node.upgrade() else { return };
        if node.lines.freed(&target, node.now()) {
            node.look.notify_one();
        }
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
