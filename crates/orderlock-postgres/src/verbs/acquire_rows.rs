//! Requests for orders as the parameters of statements.

use orderlock_core::store::Acquire;
use orderlock_core::{Fence, Recovery, Timestamp};
use tokio_postgres::types::ToSql;

use crate::sql::clock::{ObservedClock, span_to_sql};
use crate::sql::columns::columns;
use crate::sql::rows::{Id, key_hash, signed};

columns! {
    /// What is asked for, as far as a grant is decided by it.
    pub(crate) struct GrantRows<'a> of it: &'a Acquire {
        3 tenant: &'a str, TEXT_ARRAY = it.claim.caller.tenant.as_str();
        4 id: &'a str, TEXT_ARRAY = it.claim.order.as_str();
        5 fence: Id, UUID_ARRAY = it.fence.into();
        6 session: Id, UUID_ARRAY = it.session.into();
        7 principal: &'a str, TEXT_ARRAY = it.claim.caller.principal.as_str();
        8 operation: &'a str, TEXT_ARRAY = it.operation.as_str();
        9 key_hash: i64, INT8_ARRAY = key_hash(it.claim.key_id);
        10 key_id: &'a [u8], BYTEA_ARRAY = &it.claim.key_id.0[..];
        11 fingerprint: &'a [u8], BYTEA_ARRAY = &it.claim.fingerprint.0[..];
        12 expected: Option<i64>, INT8_ARRAY = Some(signed(it.expected?.0));
        13 marks: bool, BOOL_ARRAY = it.mark.is_some();
        14 times: Option<i64>, INT8_ARRAY = match it.mark? {
            Recovery::Resume { times, .. } => Some(times.into()),
            Recovery::Reconcile => None,
        };
        15 within: Option<i64>, INT8_ARRAY = match it.mark? {
            Recovery::Resume { within, .. } => Some(span_to_sql(within)),
            Recovery::Reconcile => None,
        };
    }
}

columns! {
    /// Whose facts are asked for. The document is told to the grant of this fence alone.
    pub(crate) struct FactRows<'a> of it: (&'a Acquire, Option<Fence>) {
        2 tenant: &'a str, TEXT_ARRAY = it.0.claim.caller.tenant.as_str();
        3 id: &'a str, TEXT_ARRAY = it.0.claim.order.as_str();
        4 fence: Option<Id>, UUID_ARRAY = it.1.map(Id::from);
        5 session: Id, UUID_ARRAY = it.0.session.into();
        6 key_hash: i64, INT8_ARRAY = key_hash(it.0.claim.key_id);
        7 key_id: &'a [u8], BYTEA_ARRAY = &it.0.claim.key_id.0[..];
    }
}

/// Requests as the parameters of the statement that grants, and of the one that tells the facts.
#[derive(Debug)]
pub(crate) struct GrantParameters<'a> {
    now: Option<Timestamp>,
    believed: Option<Timestamp>,
    grants: GrantRows<'a>,
    facts: FactRows<'a>,
}

impl<'a> GrantParameters<'a> {
    pub(crate) fn of(requests: &[&'a Acquire], clock: &ObservedClock) -> Self {
        let all = || requests.iter().copied();
        Self {
            now: clock.parameter(),
            believed: clock.believed(),
            grants: GrantRows::of(all()),
            facts: FactRows::of(all().map(|it| (it, Some(it.fence)))),
        }
    }

    /// The parameters of `GRANT`. Successors are granted only what this very transaction has let go, and
    /// leave to it what its commit waits for.
    pub(crate) fn to_grant<'b>(
        &'b self,
        successors: &'b bool,
        unflushed: &'b bool,
    ) -> Vec<&'b (dyn ToSql + Sync)> {
        let mut all: Vec<&(dyn ToSql + Sync)> = vec![&self.now, successors];
        all.extend(self.grants.parameters());
        all.extend([unflushed as &(dyn ToSql + Sync), &self.believed]);
        all
    }

    /// The parameters of `FACTS`.
    pub(crate) fn to_tell(&self) -> Vec<&(dyn ToSql + Sync)> {
        let mut all: Vec<&(dyn ToSql + Sync)> = vec![&self.now];
        all.extend(self.facts.parameters());
        all
    }
}
