//! The durable sign that an external operation has begun, and the name that operators know it by.

use crate::{
    Caller, Fingerprint, KeyId, LeaseId, LeaseView, LeaseViewState, OperationName, Recovery,
    Target, Timestamp,
};

/// The durable sign that an external operation has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Who asked.
    pub caller: Caller,
    /// Under which key.
    pub key_id: KeyId,
    /// For what.
    pub fingerprint: Fingerprint,
    /// For which operation.
    pub operation: OperationName,
    /// Which run left it.
    pub attempt: u32,
    /// What may be done about it.
    pub recovery: Recovery,
    /// When the first run began, by the store's clock.
    pub since: Timestamp,
}

impl Mark {
    /// Whether the key's own retry may run again at this time.
    #[must_use]
    pub fn may_resume(&self, now: Timestamp) -> bool {
        match self.recovery {
            Recovery::Reconcile => false,
            Recovery::Resume { times, within } => {
                let age = now.duration_since(self.since);
                self.attempt < times && age.unsigned_abs() <= within
            }
        }
    }
}

impl Mark {
    /// What others may see of it.
    #[must_use]
    pub fn view(&self, target: &Target) -> LeaseView {
        LeaseView {
            id: self.id(),
            target: target.clone(),
            state: LeaseViewState::Marked,
            operation: Some(self.operation.clone()),
            caller: Some(self.caller.clone()),
            key_id: Some(self.key_id),
            fingerprint: Some(self.fingerprint),
            attempt: self.attempt,
            since: Some(self.since),
        }
    }
}

impl Mark {
    /// How an operator names it: what views of the order show, and decisions are about.
    #[must_use]
    pub fn id(&self) -> LeaseId {
        MarkName::new(self.key_id, self.attempt, self.since).id()
    }

    /// The mark as it counts now: one that may not be resumed any more is left to a resolution.
    #[must_use]
    pub(crate) fn counted_at(self, now: Timestamp) -> Self {
        let recovery = if self.may_resume(now) {
            self.recovery
        } else {
            Recovery::Reconcile
        };
        Self { recovery, ..self }
    }
}

/// What a mark's id is made of. It differs for each run that leaves a mark, so that a decision
/// about one is never carried out on another; and it names the key by a part of its hash only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MarkName {
    pub(crate) since: Timestamp,
    pub(crate) attempt: u32,
    pub(crate) key: u64,
}

impl MarkName {
    fn new(key_id: KeyId, attempt: u32, since: Timestamp) -> Self {
        Self {
            since,
            attempt,
            key: key_id.first_bits(),
        }
    }

    fn id(&self) -> LeaseId {
        let nanoseconds = self.since.as_nanosecond();
        LeaseId(format!("mrk_{nanoseconds:x}-{:x}-{:016x}", self.attempt, self.key).into())
    }

    /// What an id names, if it is a mark's.
    pub(crate) fn parse(id: &LeaseId) -> Option<Self> {
        let mut parts = id.0.strip_prefix("mrk_")?.split('-');
        let nanoseconds = i128::from_str_radix(parts.next()?, 16).ok()?;
        let name = Self {
            since: Timestamp::from_nanosecond(nanoseconds).ok()?,
            attempt: u32::from_str_radix(parts.next()?, 16).ok()?,
            key: u64::from_str_radix(parts.next()?, 16).ok()?,
        };
        // Only the one way to write it is its name.
        (name.id() == *id).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_from_its_id_and_from_nothing_else() {
        let key_id = KeyId([0xab; 32]);
        let since = Timestamp::from_nanosecond(1_790_000_000_123_456_789).unwrap();
        let name = MarkName::new(key_id, 7, since);
        let id = name.id();
        assert_eq!(MarkName::parse(&id), Some(name));
        assert_eq!(name.key, 0xabab_abab_abab_abab);
        for other in [
            MarkName::new(key_id, 8, since),
            MarkName::new(KeyId([1; 32]), 7, since),
            MarkName::new(key_id, 7, Timestamp::UNIX_EPOCH),
        ] {
            assert_ne!(other.id(), id);
        }
        let text = id.to_string();
        let odd = [
            text.to_uppercase(),
            text.replace("mrk_", "lck_"),
            format!("{text}0"),
            format!("{text}-0"),
            text.replace("mrk_", "mrk_0"),
            "mrk_--".to_owned(),
            "mrk_ffffffffffffffffffffffffffffffffffff-1-0".to_owned(),
        ];
        for odd in odd {
            assert_eq!(
                MarkName::parse(&LeaseId(odd.as_str().into())),
                None,
                "{odd}"
            );
        }
    }
}
