//! A hash of what a request asks for: operation, target and canonical body.
//!
//! The same key with another fingerprint is refused. JSON bodies are hashed in a canonical form:
//! members sorted, white space and string escapes made equal, numbers *as written*. The form of
//! RFC 8785 turns numbers into doubles, which makes different amounts equal.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{OperationName, OrderId};

/// The hash of one request's meaning. Collisions are hard to find on purpose too (BLAKE3).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Fingerprint({})",
            data_encoding::HEXLOWER.encode(&self.0[..4])
        )
    }
}

/// The body of a request as far as its fingerprint is concerned.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// JSON text: hashed in canonical form, or as bytes if it is not JSON.
    Json(&'a [u8]),
    /// Anything else: hashed as bytes.
    Bytes(&'a [u8]),
}

/// How deep JSON may be nested. Deeper text is not canonicalised: see [`canonical`].
pub const DEPTH_MAX: usize = 64;

impl Fingerprint {
    /// The fingerprint of an operation on an order.
    #[must_use]
    pub fn of(operation: &OperationName, order: Option<&OrderId>, body: Body<'_>) -> Self {
        let mut hasher = blake3::Hasher::new();
        let mut absorb = |part: &[u8]| {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        };
        absorb(operation.as_str().as_bytes());
        absorb(order.map_or("", OrderId::as_str).as_bytes());
        match body {
            // An empty body and `{}` ask for the same.
            Body::Json(text) if text.trim_ascii().is_empty() => absorb(b"{}"),
            Body::Json(text) => match canonical(text) {
                Ok(canonical) => absorb(&canonical),
                Err(_) => absorb(text),
            },
            Body::Bytes(bytes) => absorb(bytes),
        }
        Self(*hasher.finalize().as_bytes())
    }
}

/// Writes JSON text in its canonical form.
///
/// # Errors
/// The text is not JSON, nests deeper than [`DEPTH_MAX`], or names a member twice.
pub fn canonical(text: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(text.len());
    write(serde_json::from_slice(text)?, DEPTH_MAX, &mut out)?;
    Ok(out)
}

fn write(value: &RawValue, depth: usize, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'{' | b'[') if depth == 0 => {
            return Err(serde_json::Error::custom("nested too deep"));
        }
        Some(b'{') => {
            let Members(members) = serde_json::from_str(text)?;
            out.push(b'{');
            for (at, (name, value)) in members.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                serde_json::to_writer(&mut *out, name)?;
                out.push(b':');
                write(value, depth - 1, out)?;
            }
            out.push(b'}');
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            out.push(b'[');
            for (at, item) in items.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(item, depth - 1, out)?;
            }
            out.push(b']');
        }
        Some(b'"') => serde_json::to_writer(out, &serde_json::from_str::<String>(text)?)?,
        _ => out.extend_from_slice(text.as_bytes()),
    }
    Ok(())
}

/// The members of an object, sorted, each name once.
struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    if let Some(_first) = members.insert(name, value) {
                        return Err(A::Error::custom("a member is named twice"));
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Fingerprint {
        let operation = OperationName::parse("capture-payment").unwrap();
        Fingerprint::of(&operation, None, Body::Json(body.as_bytes()))
    }

    #[test]
    fn spelling_does_not_matter() {
        assert_eq!(
            of(r#"{"a":1,"b":["x",null]}"#),
            of("{ \"b\" : [\"\\u0078\", null],\n\"a\":1}")
        );
        assert_eq!(of(""), of("{}"));
    }

    #[test]
    fn numbers_count_as_written() {
        assert_ne!(
            of(r#"{"amount":9007199254740993}"#),
            of(r#"{"amount":9007199254740992}"#)
        );
        assert_ne!(of(r#"{"amount":1.0}"#), of(r#"{"amount":1}"#));
    }

    #[test]
    fn operation_and_target_count() {
        let name = |text| OperationName::parse(text).unwrap();
        let order = OrderId::parse("o").unwrap();
        let body = Body::Json(b"{}");
        let one = Fingerprint::of(&name("confirm"), Some(&order), body);
        assert_ne!(one, Fingerprint::of(&name("cancel"), Some(&order), body));
        assert_ne!(one, Fingerprint::of(&name("confirm"), None, body));
    }

    #[test]
    fn what_is_not_canonical_json_is_refused_and_hashed_as_bytes() {
        let deep = "[".repeat(DEPTH_MAX + 1) + &"]".repeat(DEPTH_MAX + 1);
        assert!(canonical(deep.as_bytes()).is_err());
        assert!(canonical(("[".repeat(DEPTH_MAX) + &"]".repeat(DEPTH_MAX)).as_bytes()).is_ok());
        assert!(canonical(br#"{"a":1,"a":2}"#).is_err());
        assert!(canonical(b"{").is_err());
        assert_ne!(of("{"), of("{ "));
        assert_ne!(of(&deep), of("{}"));
    }
}
