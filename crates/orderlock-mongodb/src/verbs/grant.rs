//! What is done under a new lease before its holder may begin: a change by another service is written
//! down, the key is looked up where the document does not list it, the bounds are checked.

use orderlock_core::StoreError;
use orderlock_core::store::{Acquire, Acquired, Verdict};

use crate::document::keys::ListedKey;
use crate::document::order::OrderDocument;
use crate::document::update::Update;
use crate::error::Failure;
use crate::shared::Inner;
use crate::verbs::answers::{answer, granted};
use crate::verbs::changed_elsewhere::note_change;
use crate::verbs::decide::verdict;
use crate::verbs::give_up::undo;

/// How an `acquire` ends that has taken the order.
enum Finished {
    Answered(Acquired),
    /// The order was lost again at once: it is to be asked for anew.
    Lost,
    /// It takes no further operation, and was let go.
    Full(StoreError),
}

/// Ends an `acquire` that has taken the order. None if the order was lost again at once. An error
/// leaves the grant standing, and says so.
pub(crate) async fn finish(
    inner: &Inner,
    request: &Acquire,
    order: OrderDocument,
) -> Result<Option<Acquired>, StoreError> {
    match finish_under(inner, request, order).await {
        Ok(Finished::Answered(acquired)) => Ok(Some(acquired)),
        Ok(Finished::Lost) => Ok(None),
        Ok(Finished::Full(full)) => Err(full),
        Err(error) => Err(in_doubt(error)),
    }
}

/// An error behind a grant that is written: whoever asked must ask again, or take it back.
pub(crate) fn in_doubt(error: StoreError) -> StoreError {
    match error {
        StoreError::OutcomeUnknown(_) => error,
        other => StoreError::OutcomeUnknown(Box::new(other)),
    }
}

async fn finish_under(
    inner: &Inner,
    request: &Acquire,
    mut order: OrderDocument,
) -> Result<Finished, StoreError> {
    if order.changed_elsewhere() {
        let Some(noted) = note_change(inner, &order, inner.clock.now()).await? else {
            return Ok(Finished::Lost);
        };
        order = noted;
        if request.expected.is_some() {
            let current = order.version;
            undo(inner, &order).await?;
            return Ok(Finished::Answered(Acquired::VersionMismatch { current }));
        }
    }
    if let Some(full) = still_full(inner, &order).await? {
        undo(inner, &order).await?;
        return Ok(Finished::Full(full));
    }
    // Nobody else can settle the key while this grant holds the order.
    let key_id = request.claim.key_id;
    let now = inner.clock.forgets_by();
    let word = inner.calls.key(&order, key_id, now).await?;
    if order.keys.known(key_id, now) == ListedKey::AskTheJournal {
        let before = order.mark.clone().filter(|_| request.mark.is_none());
        let free = order.clone().let_go(before);
        let now = inner.clock.now();
        match verdict(request, &free, word.as_ref(), true, now) {
            Verdict::Grant(granted) => {
                let attempt = granted.lease.attempt;
                let Some(counted) = count_attempt(inner, &order, attempt).await? else {
                    return Ok(Finished::Lost);
                };
                order = counted;
            }
            other => {
                undo(inner, &order).await?;
                let answer = answer(inner, &free, key_id, other, word).await?;
                return Ok(Finished::Answered(answer));
            }
        }
    }
    granted(inner, &order, word).await.map(Finished::Answered)
}

/// Corrects which run a grant is, once earlier ones were found in the journal.
async fn count_attempt(
    inner: &Inner,
    order: &OrderDocument,
    attempt: u32,
) -> Result<Option<OrderDocument>, StoreError> {
    let Some(held) = order.lease() else {
        return Ok(None);
    };
    if held.lease.attempt >= attempt {
        return Ok(Some(order.clone()));
    }
    let mut update = Update::default();
    let attempt = i64::from(attempt);
    update.set.insert("orderlock.lease.attempt", attempt);
    if order.mark.is_some() {
        update.set.insert("orderlock.mark.attempt", attempt);
    }
    let update = update.into_fields();
    let counted = inner.calls.change(order.unchanged(), update).await;
    counted.map_err(Failure::of_a_write)
}

/// Why the order takes no further operation: too much in it waits for the relay, although the relay
/// was asked to move it.
async fn still_full(
    inner: &Inner,
    order: &OrderDocument,
) -> Result<Option<StoreError>, StoreError> {
    if !inner.is_full(order) {
        return Ok(None);
    }
    inner.relay.try_move(&order.id).await;
    let found = inner.calls.order(&order.id).await;
    let found = found.map_err(Failure::not_applied)?;
    let full = found.is_some_and(|order| inner.is_full(&order));
    Ok(full.then(|| {
        let why = format!(
            "{} entries of the order {} wait for the journal, and no more fit into its document; \
             see why the journal's collection takes none",
            order.entries.len(),
            order.target
        );
        StoreError::NotApplied(why.into())
    }))
}
