//! A hand-over: the next request is decided against the order as the step before leaves it, and
//! taken by the same write.

use orderlock_core::StoreError;
use orderlock_core::store::{Acquire, Acquired, Verdict, kept_for_another};

use crate::document::keys::KeyEntry;
use crate::document::order::OrderDocument;
use crate::document::update::Update;
use crate::document::waits::WaitList;
use crate::error::Failure;
use crate::shared::Inner;
use crate::verbs::acquire::acquire;
use crate::verbs::answers::answer;
use crate::verbs::decide::{take, verdict};
use crate::verbs::fairness;
use crate::verbs::give_up::undo;
use crate::verbs::grant::finish;

/// What the next request comes to, if the step is carried out.
#[derive(Debug)]
pub(crate) struct NextHolder<'a> {
    pub(crate) request: &'a Acquire,
    verdict: Verdict,
    word: Option<KeyEntry>,
    /// What the node knew of the session; none if it is alive as far as was looked.
    renewals: Option<i64>,
    /// Who else waits for the order, as far as was looked.
    waits: WaitList,
    /// Whether the order is to be let go, because it is kept for another node.
    kept: bool,
}

/// Which part of a command's time the look at the next request may take altogether.
const PART_OF_PATIENCE: u32 = 5;

impl<'a> NextHolder<'a> {
    /// Decides about the next request, against the order as it is to be after the one that is held.
    /// Nobody else can settle a key while this node holds the order, so that what the journal says of
    /// it stays true. None if it cannot be decided now: whoever lets go waits for nobody, and the
    /// next request is asked for by itself.
    pub(crate) async fn decide(
        inner: &Inner,
        request: &'a Acquire,
        orders: (&OrderDocument, &OrderDocument),
    ) -> Option<Self> {
        let patience = inner.calls.patience / PART_OF_PATIENCE;
        let decided = Self::look_and_decide(inner, request, orders);
        let error = match tokio::time::timeout(patience, decided).await {
            Ok(Ok(next)) => return Some(next),
            Ok(Err(error)) => error,
            Err(_) => Failure::TimedOut(patience).not_applied(),
        };
        tracing::warn!(%error, order = %orders.0.target, "the next in line is not handed the order");
        None
    }

    async fn look_and_decide(
        inner: &Inner,
        request: &'a Acquire,
        (held, after): (&OrderDocument, &OrderDocument),
    ) -> Result<Self, StoreError> {
        let now = inner.clock.now();
        let renewals = match inner.sessions.renewals(request.session) {
            Some(renewals) => Some(renewals),
            None => {
                let looked = inner.sessions.look(request.session).await;
                looked.map_err(Failure::not_applied)?
            }
        };
        let (key_id, forgets_by) = (request.claim.key_id, inner.clock.forgets_by());
        let word = inner.calls.key(after, key_id, forgets_by).await?;
        let verdict = verdict(request, after, word.as_ref(), renewals.is_some(), now);
        let waits = match verdict {
            Verdict::Grant(_) => fairness::look(inner, held, request.session).await?,
            _ => WaitList::default(),
        };
        let kept = waits.kept_for_another(request.session, inner.clock.now());
        Ok(Self {
            request,
            verdict,
            word,
            renewals,
            waits,
            kept,
        })
    }

    /// Adds the grant to the update that carries the step out, if there is one.
    pub(crate) fn add_to(&self, update: &mut Update) {
        let (Verdict::Grant(granted), Some(renewals)) = (&self.verdict, self.renewals) else {
            return;
        };
        if self.kept {
            return;
        }
        let now = granted.lease.since;
        take(update, (**granted).clone(), renewals);
        self.waits.remove_from(update, self.request.session, now);
    }

    /// Whether the update takes the order for the next request.
    pub(crate) fn is_granted(&self) -> bool {
        matches!(self.verdict, Verdict::Grant(_)) && !self.kept
    }

    /// The answer to the next request, once the step is carried out and the order is as it is then.
    /// None if it is not known: the step is good, and the next request is asked for by itself.
    pub(crate) async fn answer(
        self,
        inner: &Inner,
        order: OrderDocument,
        session: Result<Option<i64>, Failure>,
    ) -> Option<Acquired> {
        let request = self.request;
        match self.answer_as_written(inner, order, session).await {
            Ok(acquired) => Some(acquired),
            Err(_) => Box::pin(acquire(inner, request)).await.ok(),
        }
    }

    async fn answer_as_written(
        self,
        inner: &Inner,
        order: OrderDocument,
        session: Result<Option<i64>, Failure>,
    ) -> Result<Acquired, StoreError> {
        if self.kept {
            return Ok(Acquired::Held(kept_for_another(
                order.target,
                inner.clock.now(),
            )));
        }
        if !self.is_granted() {
            let mark = order.mark.clone();
            let free = order.let_go(mark);
            let key_id = self.request.claim.key_id;
            return answer(inner, &free, key_id, self.verdict, self.word).await;
        }
        match session {
            Ok(Some(_)) => match finish(inner, self.request, order).await? {
                Some(acquired) => Ok(acquired),
                None => Box::pin(acquire(inner, self.request)).await,
            },
            Ok(None) => {
                undo(inner, &order).await?;
                Ok(Acquired::SessionEnded)
            }
            Err(failure) => Err(StoreError::OutcomeUnknown(Box::new(failure))),
        }
    }

    /// Looks whether the session of the next request goes on, beside the write.
    pub(crate) async fn look(&self, inner: &Inner) -> Result<Option<i64>, Failure> {
        if self.is_granted() {
            inner.sessions.look(self.request.session).await
        } else {
            Ok(None)
        }
    }
}
