//! `If-Match` and `Prefer: wait`: at which version an operation may run, and how long the client
//! waits.

use std::time::Duration;

use http::{HeaderMap, header};
use orderlock_core::{Problem, Version};

use super::PREFER;
use super::scan::Scan;
use crate::problems::IF_MATCH_INVALID;

/// The most versions that one `If-Match` may name.
const VERSIONS_MAX: usize = 32;

/// A version that no order ever has, for tags that this service did not make.
const NEVER: Version = Version(0);

/// Reads `If-Match`: the versions of which the order must have one. None without the header, and
/// for `*`, which any version fits.
///
/// Versions are exact, so that a tag which a compressing proxy has made weak (`W/"2"`) still names
/// the version 2. A tag that names no version is well formed all the same, and no order fits it.
///
/// # Errors
/// `if-match-invalid` for anything but a list of tags, or `*`.
pub fn if_match(headers: &HeaderMap) -> Result<Option<Vec<Version>>, Problem> {
    let invalid = |what: &str| {
        IF_MATCH_INVALID
            .problem()
            .with_detail(format!("{what} {}", IF_MATCH_INVALID.next))
    };
    if !headers.contains_key(header::IF_MATCH) {
        return Ok(None);
    }
    let (mut any, mut versions) = (false, Vec::new());
    for value in headers.get_all(header::IF_MATCH) {
        let mut scan = Scan::new(value.as_bytes());
        while scan.element() {
            if scan.eat(b'*') && !any {
                any = true;
            } else {
                let version = tag(&mut scan).ok_or_else(|| invalid("If-Match is malformed."))?;
                versions.push(version);
            }
            if !scan.element_ends() {
                return Err(invalid("If-Match is malformed."));
            }
        }
    }
    if versions.len() > VERSIONS_MAX {
        let text = format!("If-Match names more than {VERSIONS_MAX} versions.");
        return Err(invalid(&text));
    }
    match (any, versions.is_empty()) {
        (true, true) => Ok(None),
        (true, false) => Err(invalid("If-Match names `*` beside versions.")),
        (false, true) => Err(invalid("If-Match is empty.")),
        (false, false) => Ok(Some(versions)),
    }
}

/// The version that an entity tag names (RFC 9110, 8.8.3); none if it is malformed.
fn tag(scan: &mut Scan<'_>) -> Option<Version> {
    if scan.eat(b'W') && !scan.eat(b'/') {
        return None;
    }
    if !scan.eat(b'"') {
        return None;
    }
    let opaque = scan.run(|byte| byte > b' ' && byte != b'"' && byte != 0x7f);
    if !scan.eat(b'"') {
        return None;
    }
    let written = std::str::from_utf8(opaque).ok();
    let version =
        written.and_then(|text| text.parse::<i64>().ok().filter(|it| it.to_string() == text));
    let version = version.and_then(|version| u64::try_from(version).ok());
    Some(version.map_or(NEVER, Version))
}

/// Reads `Prefer: wait=<seconds>` (RFC 7240): how long the client is ready to wait. The first one
/// counts; other preferences and what is malformed are ignored, as the RFC wants it.
#[must_use]
pub fn prefer_wait(headers: &HeaderMap) -> Option<Duration> {
    let mut values = headers.get_all(PREFER).iter();
    let wait = values.find_map(|value| wait(&mut Scan::new(value.as_bytes())))?;
    let only_digits = !wait.is_empty() && wait.bytes().all(|byte| byte.is_ascii_digit());
    // More seconds than a number can hold are clipped like any other wait that is too long.
    only_digits.then(|| Duration::from_secs(wait.parse().unwrap_or(u64::from(u32::MAX))))
}

/// The value of the first `wait` among some preferences, as far as they are well formed.
fn wait(scan: &mut Scan<'_>) -> Option<String> {
    while scan.element() {
        let name = scan.token()?;
        scan.space();
        let mut value = String::new();
        if scan.eat(b'=') {
            scan.space();
            // `wait=` is the same as `wait`.
            value = scan.word().unwrap_or_default();
        }
        scan.parameters()?;
        if !scan.element_ends() {
            return None;
        }
        if name.eq_ignore_ascii_case("wait") {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(name: &HeaderName, values: &[&[u8]]) -> HeaderMap {
        let pairs = values
            .iter()
            .map(|value| (name.clone(), HeaderValue::from_bytes(value).unwrap()));
        pairs.collect()
    }

    fn expected(values: &[&[u8]]) -> Result<Option<Vec<u64>>, String> {
        let versions = if_match(&headers(&header::IF_MATCH, values));
        let numbers = |versions: Vec<Version>| versions.into_iter().map(|it| it.0).collect();
        let read = versions.map(|versions| versions.map(numbers));
        read.map_err(|problem| problem.kind().to_owned())
    }

    #[test]
    fn if_match_is_a_list_of_tags_or_any() {
        type Case<'a> = (&'a [&'a [u8]], Option<&'a [u64]>);
        let cases: [Case<'_>; 16] = [
            (&[], None),
            (&[b"*"], None),
            (&[b" * "], None),
            (&[b"\"7\""], Some(&[7])),
            (&[b"W/\"7\""], Some(&[7])),
            (&[b"\"7\", W/\"8\""], Some(&[7, 8])),
            (&[b"\"7\",\"8\""], Some(&[7, 8])),
            (&[b"\"7\"", b"\"8\""], Some(&[7, 8])),
            (&[b", ,\"7\" ,\t, "], Some(&[7])),
            // Well formed, and no version of ours.
            (&[b"\"\""], Some(&[0])),
            (&[b"\"abc,\\\""], Some(&[0])),
            (&[b"\"\xe9\""], Some(&[0])),
            (&[b"\"+7\""], Some(&[0])),
            (&[b"\"007\""], Some(&[0])),
            (&[b"\"99999999999999999999\""], Some(&[0])),
            (&[b"\"-7\", \"7-gzip\", \"7\""], Some(&[0, 0, 7])),
        ];
        for (values, versions) in cases {
            let versions = versions.map(<[u64]>::to_vec);
            assert_eq!(expected(values), Ok(versions), "{values:?}");
        }
    }

    #[test]
    fn an_if_match_that_is_no_list_of_tags_is_refused() {
        let many = "\"1\",".repeat(VERSIONS_MAX + 1);
        let cases: [&[&[u8]]; 16] = [
            &[b""],
            &[b" , "],
            &[b"7"],
            &[b"if"],
            &[b"W/7"],
            &[b"w/\"7\""],
            &[b"W\"7\""],
            &[b"W"],
            &[b"\"7"],
            &[b"7\""],
            &[b"\"7\" \"8\""],
            &[b"\"a b\""],
            &[b"\"7\";q=1"],
            &[b"*, *"],
            &[b"*", b"\"7\""],
            &[many.as_bytes()],
        ];
        for values in cases {
            assert_eq!(
                expected(values),
                Err("if-match-invalid".to_owned()),
                "{values:?}"
            );
        }
    }

    #[test]
    fn prefer_wait_is_found_among_other_preferences() {
        let of = |values: &[&[u8]]| prefer_wait(&headers(&PREFER, values)).map(|d| d.as_secs());
        let cases: [(&[&[u8]], u64); 9] = [
            (&[b"wait=10"], 10),
            (&[b"respond-async, Wait = \"5\"; strict, wait=9"], 5),
            (&[b"return=minimal", b"wait=3"], 3),
            (&[b"wait=99999999999999999999"], u64::from(u32::MAX)),
            (&[b"handling=\"a, wait=7; b\", wait=2"], 2),
            (&[b"foo; bar=\"; wait=7\" ; baz,wait=2;x"], 2),
            (&[b"foo=\"\\\", wait=7\", wait=2"], 2),
            (&[b",, wait=4,"], 4),
            (&[b"wait=6, wait=abc"], 6),
        ];
        for (values, seconds) in cases {
            assert_eq!(of(values), Some(seconds), "{values:?}");
        }
        let ignored: [&[u8]; 14] = [
            b"",
            b"wait",
            b"wait=",
            b"wait=-1",
            b"wait=1.5",
            b"wait=abc, wait=5",
            b"waiting=3",
            b"=3",
            b"\"wait=3\"",
            b"foo=\"wait=3",
            b"foo wait=3",
            b"foo=\xe9, wait=3",
            b"wait=\"3",
            b"wait:3",
        ];
        for value in ignored {
            assert_eq!(of(&[value]), None, "{value:?}");
        }
    }
}
