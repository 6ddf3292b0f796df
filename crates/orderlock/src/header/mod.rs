//! The request headers of the contract: `Idempotency-Key`, `If-Match`, `Prefer: wait`, and the
//! headers about the body.

mod conditions;
mod content;
mod scan;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use orderlock_core::{IdempotencyKey, Problem};

use crate::answer::Rejection;
use crate::problems::{IDEMPOTENCY_KEY_INVALID, IDEMPOTENCY_KEY_MISSING};
use scan::Scan;

pub use conditions::{if_match, prefer_wait};
pub use content::{MediaType, check_content, is_json};

/// `Idempotency-Key`: the client's name for one intent.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// `Idempotent-Replayed`: `true` on an answer that was settled by an earlier request.
pub const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// `Idempotency-Expires`: until when a retry gets this answer, as RFC 3339 in UTC.
pub const IDEMPOTENCY_EXPIRES: HeaderName = HeaderName::from_static("idempotency-expires");
/// `Prefer` (RFC 7240): `wait=5` lets a request wait five seconds for a held order.
pub const PREFER: HeaderName = HeaderName::from_static("prefer");
/// `Preference-Applied` (RFC 7240): the wait that was in effect, such as `wait=5`.
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Reads `Idempotency-Key`: 1 to 255 visible ASCII characters, bare or as a quoted
/// structured-field string with its escapes.
///
/// # Errors
/// `idempotency-key-missing`, or `idempotency-key-invalid` if it is malformed or sent twice.
pub fn idempotency_key(headers: &HeaderMap) -> Result<IdempotencyKey, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let value = values
        .next()
        .ok_or_else(|| IDEMPOTENCY_KEY_MISSING.described())?;
    let invalid = |what: &str| {
        IDEMPOTENCY_KEY_INVALID
            .problem()
            .with_detail(format!("{what} {}", IDEMPOTENCY_KEY_INVALID.next))
    };
    if values.next().is_some() {
        return Err(invalid("The Idempotency-Key header was sent twice."));
    }
    let bytes = value.as_bytes().trim_ascii();
    let key = if bytes.starts_with(b"\"") {
        let key = structured(&mut Scan::new(bytes));
        key.ok_or_else(|| invalid("The key is not a whole quoted string."))?
    } else {
        let text = std::str::from_utf8(bytes).ok();
        text.ok_or_else(|| invalid("The key is not ASCII text."))?
            .to_owned()
    };
    IdempotencyKey::parse(&key).map_err(|error| invalid(&format!("The value is {error}.")))
}

/// The content of a structured-field string (RFC 9651, 3.3.3), whose parameters say nothing; none if
/// it is malformed.
fn structured(scan: &mut Scan<'_>) -> Option<String> {
    let text = scan.quoted(|escaped| matches!(escaped, b'"' | b'\\'))?;
    while scan.eat(b';') {
        scan.space();
        let starts = |byte: u8| byte.is_ascii_lowercase() || byte == b'*';
        let goes_on = |byte: u8| byte.is_ascii_digit() || b"_-.".contains(&byte);
        if scan.run(starts).is_empty() {
            return None;
        }
        scan.run(|byte| starts(byte) || goes_on(byte));
        // A text, or anything else that an item may be.
        if scan.eat(b'=')
            && scan
                .quoted(|escaped| matches!(escaped, b'"' | b'\\'))
                .is_none()
        {
            let bare = scan.run(|byte| byte.is_ascii_graphic() && !b"\",;".contains(&byte));
            if bare.is_empty() {
                return None;
            }
        }
    }
    scan.is_done().then_some(text)
}

/// An extractor for handlers that run without a lock and need the key: a creation, for example.
/// Under a lock the key is [`LockedOrder::key`](crate::LockedOrder::key).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey(pub IdempotencyKey);

impl<S: Send + Sync> FromRequestParts<S> for RequestKey {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        Ok(Self(idempotency_key(&parts.headers)?))
    }
}

/// A header value from text that this crate has made itself.
pub(crate) fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let pairs = values
            .iter()
            .map(|value| (name.clone(), HeaderValue::from_str(value).unwrap()));
        pairs.collect()
    }

    fn key(values: &[&str]) -> Result<String, String> {
        idempotency_key(&headers(&IDEMPOTENCY_KEY, values))
            .map(|key| key.as_str().to_owned())
            .map_err(|problem| problem.kind().to_owned())
    }

    #[test]
    fn a_key_is_bare_or_a_quoted_string() {
        assert_eq!(key(&["5f0c9b3e"]).unwrap(), "5f0c9b3e");
        assert_eq!(key(&[r#""5f0c9b3e""#]).unwrap(), "5f0c9b3e");
        assert_eq!(key(&[r#""a\"b\\c""#]).unwrap(), r#"a"b\c"#);
        assert_eq!(key(&[" k "]).unwrap(), "k");
        assert_eq!(key(&[&"k".repeat(255)]).unwrap().len(), 255);
        // The parameters of a structured field say nothing.
        for text in [
            r#""k";v=1"#,
            r#""k"; a;*b.c="x;\"y";d=?1"#,
            r#""k";e=:YQ==:"#,
        ] {
            assert_eq!(key(&[text]).unwrap(), "k", "{text}");
        }
        // Bare, they are part of the key.
        assert_eq!(key(&["k;v=1"]).unwrap(), "k;v=1");
    }

    #[test]
    fn a_key_that_is_malformed_or_sent_twice_is_refused() {
        assert_eq!(key(&[]).unwrap_err(), "idempotency-key-missing");
        let long = "k".repeat(256);
        let malformed: [&[&str]; 17] = [
            &[""],
            &["a b"],
            &[r#"""#],
            &[r#""""#],
            &[r#""a"#],
            &[r#""a"b"#],
            &[r#""a\b""#],
            &[r#""a b""#],
            &[r#""a", "b""#],
            &[r#""a";"#],
            &[r#""a";B=1"#],
            &[r#""a";b="#],
            &[r#""a" ;b"#],
            &[r#""a";b="c"#],
            &["\"a\tb\""],
            &["k", "k"],
            &[&long],
        ];
        for values in malformed {
            assert_eq!(
                key(values).unwrap_err(),
                "idempotency-key-invalid",
                "{values:?}"
            );
        }
        let mut headers = HeaderMap::new();
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_bytes(b"\xe9").unwrap());
        assert!(idempotency_key(&headers).is_err());
    }
}
