//! The headers about the body. Only an unencoded body is accepted.

use http::{HeaderMap, HeaderValue, header};
use orderlock_core::Problem;

use super::scan::Scan;
use crate::problems::{BODY_MALFORMED, MEDIA_TYPE_UNSUPPORTED};

/// Refuses a body that does not mean what its bytes say: one that is compressed, JSON in another
/// charset than UTF-8, one of two media types, a part of a whole. It is refused by what the head
/// says of it, whether it can be read or not: the same request would be another one each time it is
/// compressed anew.
///
/// # Errors
/// `media-type-unsupported` or `body-malformed`.
pub fn check_content(headers: &HeaderMap) -> Result<(), Problem> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    if !encodings.all(is_identity) {
        let detail = "The body has a Content-Encoding. Send it without one.";
        return Err(MEDIA_TYPE_UNSUPPORTED.problem().with_detail(detail));
    }
    if headers.contains_key(header::CONTENT_RANGE) {
        let detail = "The request sends a part of a body (Content-Range). Send the whole.";
        return Err(BODY_MALFORMED.problem().with_detail(detail));
    }
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(first) = types.next() else {
        return Ok(());
    };
    if types.next().is_some() {
        let detail = "The body has two media types. Send one Content-Type.";
        return Err(MEDIA_TYPE_UNSUPPORTED.problem().with_detail(detail));
    }
    let media = MediaType::parse(first);
    let charset = media
        .filter(MediaType::is_json)
        .and_then(|media| media.charset);
    match charset {
        // ASCII is a part of UTF-8.
        Some(name) if !["utf-8", "utf8", "us-ascii"].contains(&&*name) => {
            let detail = "JSON must be in UTF-8, but the Content-Type names another charset.";
            Err(MEDIA_TYPE_UNSUPPORTED.problem().with_detail(detail))
        }
        _ => Ok(()),
    }
}

fn is_identity(value: &HeaderValue) -> bool {
    let mut scan = Scan::new(value.as_bytes());
    while scan.element() {
        let identity = scan
            .token()
            .is_some_and(|it| it.eq_ignore_ascii_case("identity"));
        if !identity || !scan.element_ends() {
            return false;
        }
    }
    true
}

/// Whether a body counts as JSON: by its media type, and without one.
#[must_use]
pub fn is_json(headers: &HeaderMap) -> bool {
    match headers.get(header::CONTENT_TYPE) {
        None => true,
        Some(value) => MediaType::parse(value).is_some_and(|media| media.is_json()),
    }
}

/// A media type, in lower case (RFC 9110, 8.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaType {
    /// Type and subtype in lower case, such as `application/json`.
    pub essence: String,
    /// The parameter `charset` in lower case, such as `utf-8`.
    pub charset: Option<String>,
}

impl MediaType {
    /// Reads a `Content-Type`; none if it is malformed.
    #[must_use]
    pub fn parse(value: &HeaderValue) -> Option<Self> {
        let mut scan = Scan::new(value.as_bytes());
        scan.space();
        let kind = scan.token()?;
        let subtype = scan.eat(b'/').then(|| scan.token())??;
        let parameters = scan.parameters()?;
        if !scan.is_done() {
            return None;
        }
        let mut charsets = parameters
            .into_iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("charset"));
        Some(Self {
            essence: format!("{kind}/{subtype}").to_ascii_lowercase(),
            charset: charsets.next().map(|(_, name)| name.to_ascii_lowercase()),
        })
    }

    fn is_json(&self) -> bool {
        let subtype = self.essence.strip_prefix("application/");
        subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn json_is_known_by_its_media_type_or_by_none() {
        let of = |text| is_json(&headers(&[(header::CONTENT_TYPE, text)]));
        assert!(is_json(&HeaderMap::new()));
        for json in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/merge-patch+json",
            "application/json ;; charset=\"utf-8\" ; a=b",
        ] {
            assert!(of(json), "{json}");
        }
        for other in [
            "text/plain",
            "application/jsonp",
            "text/json",
            "json",
            "",
            "application/json, text/plain",
            "application/json charset=utf-8",
        ] {
            assert!(!of(other), "{other}");
        }
    }

    #[test]
    fn only_what_can_be_read_as_it_stands_is_taken() {
        let encoding = |text| (header::CONTENT_ENCODING, text);
        let media = |text| (header::CONTENT_TYPE, text);
        let taken: [&[(HeaderName, &str)]; 8] = [
            &[],
            &[encoding("identity")],
            &[encoding("Identity, identity")],
            &[encoding("")],
            &[media("application/json; charset=UTF-8")],
            &[media("application/json; charset=\"utf-8\"")],
            &[media("application/json; charset=us-ascii")],
            // What is no JSON is the handler's to read.
            &[media("text/plain; charset=utf-16")],
        ];
        for pairs in taken {
            assert_eq!(check_content(&headers(pairs)), Ok(()), "{pairs:?}");
        }
        let refused: [(&[(HeaderName, &str)], &str); 10] = [
            (&[encoding("gzip")], "media-type-unsupported"),
            (&[encoding("identity, gzip")], "media-type-unsupported"),
            (
                &[encoding("identity"), encoding("br")],
                "media-type-unsupported",
            ),
            (&[encoding("\"identity\"")], "media-type-unsupported"),
            (&[encoding("identity gzip")], "media-type-unsupported"),
            (&[(header::CONTENT_RANGE, "bytes 0-1/2")], "body-malformed"),
            (
                &[media("application/json; charset=utf-16")],
                "media-type-unsupported",
            ),
            (
                &[media("application/json;charset=\"latin1\"")],
                "media-type-unsupported",
            ),
            (
                &[media("application/merge-patch+json; charset=cp1252")],
                "media-type-unsupported",
            ),
            (
                &[media("application/json"), media("application/json")],
                "media-type-unsupported",
            ),
        ];
        for (pairs, kind) in refused {
            let problem = check_content(&headers(pairs)).unwrap_err();
            assert_eq!(problem.kind(), kind, "{pairs:?}");
        }
    }
}
