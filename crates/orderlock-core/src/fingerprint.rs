//! A hash of what a request asks for: operation, target and canonical body.
//!
//! The same key with another fingerprint is refused. JSON bodies are hashed in a canonical form:
//! members sorted, white space and string escapes made equal, numbers *as written*. The form of
//! RFC 8785 turns numbers into doubles, which makes different amounts equal.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::Error as _;

use crate::json::{Begun, Reader, unquoted};
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
            // No body, an empty one of whatever media type, and `{}` ask for the same.
            Body::Bytes(b"") => absorb(b"{}"),
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

/// Writes JSON text in its canonical form, in one pass over it.
///
/// # Errors
/// The text is not JSON, nests deeper than [`DEPTH_MAX`], or names a member twice.
pub fn canonical(text: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(text.len());
    write(&mut Reader::new(text)?, DEPTH_MAX, &mut out)?;
    Ok(out)
}

fn write(
    reader: &mut Reader<'_>,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    let begun = reader.value();
    let inner = match begun {
        Begun::Scalar(written) if written.starts_with('"') => return text(written, out),
        Begun::Scalar(written) => {
            out.extend_from_slice(written.as_bytes());
            return Ok(());
        }
        _ => depth.checked_sub(1),
    };
    let inner = inner.ok_or_else(|| serde_json::Error::custom("nested too deep"))?;
    if begun == Begun::Object {
        return object(reader, inner, out);
    }
    out.push(b'[');
    let begin = out.len();
    while reader.item() {
        if out.len() > begin {
            out.push(b',');
        }
        write(reader, inner, out)?;
    }
    out.push(b']');
    Ok(())
}

/// Writes the members of an object, sorted, each name once.
fn object(
    reader: &mut Reader<'_>,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    out.push(b'{');
    let begin = out.len();
    let mut members: Vec<(Cow<'_, str>, Range<usize>)> = Vec::new();
    let mut sorted = true;
    while let Some(written) = reader.member() {
        let name = unquoted(written)?;
        if out.len() > begin {
            out.push(b',');
        }
        let start = out.len() - begin;
        text(written, out)?;
        out.push(b':');
        write(reader, depth, out)?;
        sorted &= members.last().is_none_or(|(last, _)| *last < name);
        members.push((name, start..out.len() - begin));
    }
    if !sorted {
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(serde_json::Error::custom("a member is named twice"));
        }
        let as_written = out.split_off(begin);
        for (_, place) in members {
            if out.len() > begin {
                out.push(b',');
            }
            out.extend_from_slice(&as_written[place]);
        }
    }
    out.push(b'}');
    Ok(())
}

/// Writes a text with the escapes that must be, and no other.
fn text(written: &str, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    if !written.contains('\\') {
        out.extend_from_slice(written.as_bytes());
        return Ok(());
    }
    serde_json::to_writer(out, &unquoted(written)?)
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
        let operation = OperationName::parse("capture-payment").unwrap();
        let none = Fingerprint::of(&operation, None, Body::Bytes(b""));
        assert_eq!(none, of("{}"));
    }

    #[test]
    fn the_canonical_form_is_the_one_that_earlier_builds_wrote() {
        let texts = [
            (
                "{ \"b\" : [1.0, 1e2,-0 ], \"a\\u0062\":{\"z\":null,\"y\":\"\\u00e4\\/\"} , \"\":\"\\n\" }",
                "{\"\":\"\\n\",\"ab\":{\"y\":\"\u{e4}/\",\"z\":null},\"b\":[1.0,1e2,-0]}",
            ),
            ("[ [ ] , { } , [{}] ]", "[[],{},[{}]]"),
            (
                "{\"b\":1,\"a\":{\"d\":2,\"c\":[]}}",
                "{\"a\":{\"c\":[],\"d\":2},\"b\":1}",
            ),
            (" \"\\ud83c\\udf75\" ", "\"\u{1F375}\""),
            ("true", "true"),
        ];
        for (text, expected) in texts {
            let canonical = canonical(text.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(canonical).unwrap(), expected);
        }
        for text in [
            "{\"a\":1,\"b\":2,\"\\u0061\":3}",
            "[{\"a\":1,\"a\":1}]",
            "\"\\ud800\"",
            "{\"\\ud800\":1}",
        ] {
            assert!(canonical(text.as_bytes()).is_err(), "{text}");
        }
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
