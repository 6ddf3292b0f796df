//! New orders as the parameters of statements.

use orderlock_core::Timestamp;
use orderlock_core::store::Create;

use crate::sql::columns::columns;

columns! {
    /// New orders.
    pub(crate) struct CreateRows<'a> of it: &'a Create {
        17 tenant: &'a str, TEXT_ARRAY = it.claim.caller.tenant.as_str();
        18 id: &'a str, TEXT_ARRAY = it.claim.order.as_str();
        19 created: Timestamp, TIMESTAMPTZ_ARRAY = it.times.created;
        20 updated: Timestamp, TIMESTAMPTZ_ARRAY = it.times.updated;
        21 order_status: Option<&'a str>, TEXT_ARRAY = it.index.status.as_deref();
        22 order_customer: Option<&'a str>, TEXT_ARRAY = it.index.customer.as_deref();
        23 document: &'a [u8], BYTEA_ARRAY = &it.document.as_bytes()[..];
        24 derived: &'a str, TEXT_ARRAY = it.derived.as_str();
    }
}
