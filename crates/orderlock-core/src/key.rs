//! The client's name for one intent, who asks, and what is derived from both.
//!
//! Every look-up goes by a keyed hash of (tenant, principal, order, key), each part with its
//! length in front, so that nobody can compute or probe another caller's keys or order ids, and
//! `("a:b", "c")` is never taken for `("a", "b:c")`.

use std::fmt;

use crate::text::text_type;
use crate::{OperationName, OrderId, Target, Tenant};

text_type! {
    /// The client's name for one intent: 1 to 255 visible ASCII characters. Never shown in logs.
    IdempotencyKey, "an idempotency key", max 255, |c| c.is_ascii_graphic()
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey(..)")
    }
}

text_type! {
    /// A lasting identity, never a credential: a rotated token is the same principal. 1 to 255
    /// characters without control characters.
    Principal, "a principal", max 255, |c| !c.is_control()
}
crate::text::shown!(Principal);

/// Who asks: part of every key's scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Whose orders the caller works on.
    pub tenant: Tenant,
    /// Who it is there.
    pub principal: Principal,
}

impl Caller {
    /// The one caller of an installation without tenants and sign-in.
    #[must_use]
    pub fn single() -> Self {
        Self {
            tenant: Tenant::single(),
            principal: Principal("-".into()),
        }
    }

    /// The address of one of the caller's orders.
    #[must_use]
    pub fn target(&self, order: &OrderId) -> Target {
        Target {
            tenant: self.tenant.clone(),
            order: order.clone(),
        }
    }
}

/// A keyed hash that stands for (caller, order, key) in the store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 32]);

impl KeyId {
    /// Its first 64 bits: enough among the keys of one order.
    #[must_use]
    pub fn first_bits(&self) -> u64 {
        let (first, _) = self.0.as_chunks::<8>();
        first.first().map_or(0, |first| u64::from_be_bytes(*first))
    }
}

impl fmt::Debug for KeyId {
    /// The first four bytes: enough to follow one key through a log, too few to look it up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({})", data_encoding::HEXLOWER.encode(&self.0[..4]))
    }
}

/// The secret of an installation: made once, by the first node, kept in the store beside the data.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Takes 32 random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the store that keeps them.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The id under which the store knows a key.
    #[must_use]
    pub fn key_id(&self, caller: &Caller, order: &OrderId, key: &IdempotencyKey) -> KeyId {
        let parts = [
            caller.tenant.as_str(),
            caller.principal.as_str(),
            order.as_str(),
            key.as_str(),
        ];
        KeyId(self.hash("key id", &parts))
    }

    /// The id of the order that this caller creates under this key. It does not depend on the
    /// body, so that creating is idempotent without a second index, on any shard.
    #[must_use]
    pub fn order_id(&self, caller: &Caller, key: &IdempotencyKey) -> OrderId {
        let parts = [
            caller.tenant.as_str(),
            caller.principal.as_str(),
            key.as_str(),
        ];
        let hash = self.hash("order id", &parts);
        let text = data_encoding::BASE32_NOPAD
            .encode(&hash[..16])
            .to_ascii_lowercase();
        OrderId::parse(&format!("ord_{text}")).expect("base32 is visible ASCII and short")
    }

    fn hash(&self, purpose: &str, parts: &[&str]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        absorb(&mut hasher, purpose);
        for part in parts {
            absorb(&mut hasher, part);
        }
        *hasher.finalize().as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

fn absorb(hasher: &mut blake3::Hasher, part: &str) {
    hasher.update(&(part.len() as u64).to_le_bytes());
    hasher.update(part.as_bytes());
}

/// The key of a running operation, with everything that its derived keys depend on.
#[derive(Clone)]
pub struct OperationKey {
    secret: Secret,
    caller: Caller,
    order: OrderId,
    operation: OperationName,
    key: IdempotencyKey,
}

impl OperationKey {
    pub(crate) fn new(
        secret: &Secret,
        caller: &Caller,
        order: &OrderId,
        operation: &OperationName,
        key: IdempotencyKey,
    ) -> Self {
        Self {
            secret: secret.clone(),
            caller: caller.clone(),
            order: order.clone(),
            operation: operation.clone(),
            key,
        }
    }

    /// The key as the client sent it.
    #[must_use]
    pub fn idempotency_key(&self) -> &IdempotencyKey {
        &self.key
    }

    /// A stable sub-key to send to an outside service, so that a second attempt of the same
    /// operation is one effect there: 32 lower-case hexadecimal digits, different for each label,
    /// caller, order, operation and key.
    #[must_use]
    pub fn derive(&self, label: &str) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.scope());
        absorb(&mut hasher, label);
        data_encoding::HEXLOWER.encode(&hasher.finalize().as_bytes()[..16])
    }

    /// Made when it is asked for: most handlers derive nothing.
    fn scope(&self) -> [u8; 32] {
        let parts = [
            self.caller.tenant.as_str(),
            self.caller.principal.as_str(),
            self.order.as_str(),
            self.operation.as_str(),
            self.key.as_str(),
        ];
        self.secret.hash("derived key", &parts)
    }
}

impl fmt::Debug for OperationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperationKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(tenant: &str, principal: &str) -> Caller {
        Caller {
            tenant: Tenant::parse(tenant).unwrap(),
            principal: Principal::parse(principal).unwrap(),
        }
    }

    #[test]
    fn the_parts_of_a_scope_never_run_into_each_other() {
        let secret = Secret::new([7; 32]);
        let order = OrderId::parse("o1").unwrap();
        let key = IdempotencyKey::parse("k").unwrap();
        let one = secret.key_id(&caller("a:b", "c"), &order, &key);
        let other = secret.key_id(&caller("a", "b:c"), &order, &key);
        assert_ne!(one, other);
    }

    #[test]
    fn another_installation_derives_other_ids() {
        let key = IdempotencyKey::parse("k").unwrap();
        let caller = caller("t", "p");
        let one = Secret::new([1; 32]).order_id(&caller, &key);
        assert_eq!(one, Secret::new([1; 32]).order_id(&caller, &key));
        assert_ne!(one, Secret::new([2; 32]).order_id(&caller, &key));
        assert!(one.as_str().starts_with("ord_"), "{one}");
    }

    #[test]
    fn a_derived_key_depends_on_every_part() {
        let secret = Secret::new([1; 32]);
        let order = OrderId::parse("o1").unwrap();
        let confirm = OperationName::parse("confirm").unwrap();
        let cancel = OperationName::parse("cancel").unwrap();
        let other = OrderId::parse("o2").unwrap();
        let on = |order, operation, text| {
            let key = IdempotencyKey::parse(text).unwrap();
            OperationKey::new(&secret, &Caller::single(), order, operation, key)
        };
        let key = |operation, text| on(&order, operation, text);
        let capture = key(&confirm, "k").derive("capture");
        assert_eq!(capture, key(&confirm, "k").derive("capture"));
        assert_ne!(capture, key(&confirm, "k").derive("refund"));
        assert_ne!(capture, key(&cancel, "k").derive("capture"));
        assert_ne!(capture, key(&confirm, "l").derive("capture"));
        assert_ne!(capture, on(&other, &confirm, "k").derive("capture"));
    }

    /// A provider knows an operation that is open by its derived key, over an update of this program
    /// too. The value was computed by another implementation of BLAKE3.
    #[test]
    fn a_derived_key_is_the_same_in_every_version() {
        let key = OperationKey::new(
            &Secret::new([1; 32]),
            &Caller::single(),
            &OrderId::parse("o1").unwrap(),
            &OperationName::parse("confirm").unwrap(),
            IdempotencyKey::parse("k").unwrap(),
        );
        assert_eq!(key.derive("capture"), "1938591749f692192219455c7f5483a6");
    }

    #[test]
    fn secrets_and_keys_stay_out_of_debug_output() {
        let key = IdempotencyKey::parse("sensitive").unwrap();
        let text = format!("{:?} {:?}", key, Secret::new([9; 32]));
        assert_eq!(text, "IdempotencyKey(..) Secret(..)");
    }
}
