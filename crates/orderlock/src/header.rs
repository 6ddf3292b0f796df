//! The request headers of the contract: `Idempotency-Key`, `If-Match` and `Prefer: wait`.

use std::time::Duration;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use orderlock_core::{IdempotencyKey, Problem, Version};

use crate::answer::Rejection;
use crate::problems::{IDEMPOTENCY_KEY_INVALID, IDEMPOTENCY_KEY_MISSING, IF_MATCH_INVALID};

/// `Idempotency-Key`: the client's name for one intent.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// `Idempotent-Replayed`: `true` on an answer that was settled by an earlier request.
pub const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// `Idempotency-Expires`: until when a retry gets this answer, as RFC 3339 in UTC.
pub const IDEMPOTENCY_EXPIRES: HeaderName = HeaderName::from_static("idempotency-expires");
/// `Prefer` (RFC 7240).
pub const PREFER: HeaderName = HeaderName::from_static("prefer");
/// `Preference-Applied` (RFC 7240).
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
    let text = value
        .to_str()
        .map_err(|_| invalid("The key is not ASCII text."))?
        .trim_matches([' ', '\t']);
    let key = if text.starts_with('"') {
        unquote(text).ok_or_else(|| invalid("The key is not a whole quoted string."))?
    } else {
        text.to_owned()
    };
    IdempotencyKey::parse(&key).map_err(|error| invalid(&format!("The value is {error}.")))
}

/// The content of a structured-field string (RFC 8941, 3.3.3), or none if it is malformed.
fn unquote(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?;
    let mut content = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    loop {
        match characters.next()? {
            '"' => return characters.next().is_none().then_some(content),
            '\\' => content.push(characters.next().filter(|c| matches!(c, '"' | '\\'))?),
            other => content.push(other),
        }
    }
}

/// Reads `If-Match`: the version that the client expects. None without the header, and for `*`,
/// which any version fits.
///
/// # Errors
/// `if-match-invalid` for anything but one strong tag that is a version, or `*`.
pub fn if_match(headers: &HeaderMap) -> Result<Option<Version>, Problem> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let invalid = |what: &str| {
        IF_MATCH_INVALID
            .problem()
            .with_detail(format!("{what} {}", IF_MATCH_INVALID.next))
    };
    let text = value.to_str().map_or("", str::trim);
    if values.next().is_some() || text.contains(',') {
        return Err(invalid("If-Match names more than one version."));
    }
    if text == "*" {
        return Ok(None);
    }
    if text.starts_with("W/") {
        return Err(invalid("If-Match has a weak tag."));
    }
    let digits = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .filter(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    let version = digits.and_then(|digits| digits.parse().ok());
    match version {
        Some(version) => Ok(Some(Version(version))),
        None => Err(invalid("If-Match does not name a version.")),
    }
}

/// Reads `Prefer: wait=<seconds>` (RFC 7240): how long the client is ready to wait. The first one
/// counts; unknown and malformed preferences are ignored, as the RFC wants it.
#[must_use]
pub fn prefer_wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(PREFER).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    let preferences = texts.flat_map(|text| text.split(','));
    preferences.into_iter().find_map(|preference| {
        let named = preference.split(';').next()?;
        let (name, value) = named.split_once('=')?;
        if !name.trim().eq_ignore_ascii_case("wait") {
            return None;
        }
        let digits = value.trim().trim_matches('"');
        let only_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        // More seconds than a number can hold are clipped like any other wait that is too long.
        only_digits.then(|| Duration::from_secs(digits.parse().unwrap_or(u64::from(u32::MAX))))
    })
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
    }

    #[test]
    fn a_key_that_is_malformed_or_sent_twice_is_refused() {
        assert_eq!(key(&[]).unwrap_err(), "idempotency-key-missing");
        let long = "k".repeat(256);
        let malformed: [&[&str]; 10] = [
            &[""],
            &["a b"],
            &[r#"""#],
            &[r#""""#],
            &[r#""a"#],
            &[r#""a"b"#],
            &[r#""a\b""#],
            &[r#""a b""#],
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

    #[test]
    fn if_match_is_one_strong_version_or_any() {
        let of = |values: &[&str]| if_match(&headers(&header::IF_MATCH, values));
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["*"]), Ok(None));
        assert_eq!(of(&["\"7\""]), Ok(Some(Version(7))));
        let malformed: [&[&str]; 9] = [
            &[""],
            &["7"],
            &["\"\""],
            &["\"+7\""],
            &["W/\"7\""],
            &["\"7\", \"8\""],
            &["\"7\"", "\"8\""],
            &["\"abc\""],
            &["\"99999999999999999999\""],
        ];
        for values in malformed {
            assert_eq!(
                of(values).unwrap_err().kind(),
                "if-match-invalid",
                "{values:?}"
            );
        }
    }

    #[test]
    fn prefer_wait_is_found_among_other_preferences() {
        let of = |values: &[&str]| prefer_wait(&headers(&PREFER, values)).map(|d| d.as_secs());
        assert_eq!(of(&["wait=10"]), Some(10));
        assert_eq!(
            of(&["respond-async, Wait = \"5\"; strict, wait=9"]),
            Some(5)
        );
        assert_eq!(of(&["return=minimal", "wait=3"]), Some(3));
        assert_eq!(
            of(&["wait=99999999999999999999"]),
            Some(u64::from(u32::MAX))
        );
        for ignored in [
            "",
            "wait",
            "wait=",
            "wait=-1",
            "wait=1.5",
            "waiting=3",
            "=3",
        ] {
            assert_eq!(of(&[ignored]), None, "{ignored:?}");
        }
    }
}
