//! Leases and marks as they stand in an order's document.

use std::time::Duration;

use mongodb::bson::{Document as Fields, doc};
use orderlock_core::{Caller, Fence, Lease, Mark, Recovery, Resumed, Tenant};

use crate::document::fields::{FieldReader, hash_hex, hex, micros, span_to_micros};
use crate::error::Failure;

/// What stands in `locked` while Orderlock holds an order.
pub(crate) fn locked_by(fence: Fence) -> String {
    format!("orderlock:{fence}")
}

/// A lease, and how often its session had been renewed when it was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GrantedLease {
    pub(crate) lease: Lease,
    pub(crate) renewals: i64,
}

impl GrantedLease {
    pub(crate) fn to_fields(&self) -> Fields {
        let lease = &self.lease;
        let mut fields = doc! {
            "fence": hex(lease.fence.0),
            "session": hex(lease.session.0),
            "renewals": self.renewals,
            "principal": lease.caller.principal.as_str(),
            "key": hash_hex(lease.key_id.0),
            "fingerprint": hash_hex(lease.fingerprint.0),
            "operation": lease.operation.as_str(),
            "attempt": i64::from(lease.attempt),
            "since": micros(lease.since),
            "steps": i64::from(lease.steps),
        };
        if let Some(before) = &lease.resumed {
            let mut resumed = doc! {"attempt": i64::from(before.attempt)};
            put_recovery(&mut resumed, before.recovery);
            fields.insert("resumed", resumed);
        }
        fields
    }

    pub(crate) fn from_fields(fields: &Fields, tenant: &Tenant) -> Result<Self, Failure> {
        let reader = FieldReader::new("a lease", fields);
        Ok(Self {
            renewals: reader.number("renewals")?,
            lease: Lease {
                fence: reader.fence("fence")?,
                session: reader.session("session")?,
                caller: Caller {
                    tenant: tenant.clone(),
                    principal: reader.parsed("principal")?,
                },
                key_id: reader.key_id("key")?,
                fingerprint: reader.fingerprint("fingerprint")?,
                operation: reader.parsed("operation")?,
                attempt: reader.count("attempt")?,
                since: reader.time("since")?,
                steps: reader.count("steps")?,
                resumed: reader.document("resumed")?.map(resumed).transpose()?,
            },
        })
    }
}

pub(crate) fn mark_to_fields(mark: &Mark) -> Fields {
    let mut fields = doc! {
        "principal": mark.caller.principal.as_str(),
        "key": hash_hex(mark.key_id.0),
        "fingerprint": hash_hex(mark.fingerprint.0),
        "operation": mark.operation.as_str(),
        "attempt": i64::from(mark.attempt),
        "since": micros(mark.since),
    };
    put_recovery(&mut fields, mark.recovery);
    fields
}

fn put_recovery(fields: &mut Fields, recovery: Recovery) {
    if let Recovery::Resume { times, within } = recovery {
        let resume = doc! {"times": i64::from(times), "within": span_to_micros(within)};
        fields.insert("resume", resume);
    }
}

fn recovery(reader: FieldReader<'_>) -> Result<Recovery, Failure> {
    let Some(resume) = reader.document("resume")? else {
        return Ok(Recovery::Reconcile);
    };
    let resume = FieldReader::new("a mark's recovery", resume);
    Ok(Recovery::Resume {
        times: resume.count("times")?,
        within: Duration::from_micros(resume.count("within")?),
    })
}

/// What an undo of a lease puts back.
fn resumed(fields: &Fields) -> Result<Resumed, Failure> {
    let reader = FieldReader::new("what stood before a lease", fields);
    Ok(Resumed {
        attempt: reader.count("attempt")?,
        recovery: recovery(reader)?,
    })
}

pub(crate) fn mark_from_fields(fields: &Fields, tenant: &Tenant) -> Result<Mark, Failure> {
    let reader = FieldReader::new("a mark", fields);
    Ok(Mark {
        caller: Caller {
            tenant: tenant.clone(),
            principal: reader.parsed("principal")?,
        },
        key_id: reader.key_id("key")?,
        fingerprint: reader.fingerprint("fingerprint")?,
        operation: reader.parsed("operation")?,
        attempt: reader.count("attempt")?,
        recovery: recovery(reader)?,
        since: reader.time("since")?,
    })
}
