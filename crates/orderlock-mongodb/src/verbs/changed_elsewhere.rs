//! An order's own fields that a service has changed which does not know Orderlock: before anybody is
//! granted the order, the change gets a version and an entry of its own.

use orderlock_core::store::About;
use orderlock_core::{
    Fingerprint, KeyId, OperationName, OutcomeKind, Principal, StoreError, Timestamp,
};

use crate::document::entry::StoredEntry;
use crate::document::order::OrderDocument;
use crate::document::plan::StepPlan;
use crate::error::Failure;
use crate::shared::Inner;

/// The name of a change that a service made which does not know Orderlock.
const CHANGED_ELSEWHERE: &str = "changed-elsewhere";

/// Writes down that somebody else has changed the order: the version moves, and the journal has an
/// entry for it. None if the order has gone on.
pub(crate) async fn note_change(
    inner: &Inner,
    order: &OrderDocument,
    now: Timestamp,
) -> Result<Option<OrderDocument>, StoreError> {
    let name = |_| Failure::unreadable("a name of the store's own").not_applied();
    let about = About {
        key_id: KeyId([0; 32]),
        fingerprint: Fingerprint([0; 32]),
        operation: OperationName::parse(CHANGED_ELSEWHERE).map_err(name)?,
        attempt: 1,
    };
    let actor = Principal::parse("elsewhere").map_err(name)?;
    let act = (OutcomeKind::Applied, actor, None);
    let record = StoredEntry::of_act(&order.target, about, act, now);
    let mut plan = StepPlan::new(order, record);
    plan.note_change().map_err(Failure::not_applied)?;
    let noted = inner
        .calls
        .change(order.unchanged(), plan.update.into_fields())
        .await;
    let noted = noted.map_err(Failure::of_a_write)?;
    if noted.is_some() {
        inner.relay.wants(&order.id, plan.record);
    }
    Ok(noted)
}
