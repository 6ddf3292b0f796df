//! What a request's head must be, before anything is done for it.
//!
//! A page from anywhere can have its own name resolve to 127.0.0.1, and a browser then lets its
//! script talk to this service as if it were the page's own. The name gives it away: without
//! sign-in, only names of this machine are answered. A page under another name can send requests
//! all the same, though it reads no answer: the origin gives those away.

use std::net::IpAddr;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{HOST, HeaderName, ORIGIN, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, Uri, Version};
use orderlock::header::prefer_wait;

use super::last;
use crate::config::Origins;
use crate::http::problems::{HOST_NOT_ALLOWED, ORIGIN_NOT_ALLOWED, REQUEST_INVALID};
use crate::http::reply::Refused;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why a request is not looked at any further.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It breaks a rule of HTTP.
    Http(&'static str),
    /// It is meant for another machine.
    Host,
    /// It comes from a page of another origin.
    Origin,
}

/// Refuses requests that are no requests, not to this machine, or not from where they may come.
pub(super) fn check(request: &Request, origins: &Origins) -> Result<(), Wrong> {
    let headers = request.headers();
    check_transfer(headers)?;
    check_target(request.uri())?;
    let host = host(headers, request.version())?;
    let named = host.iter().chain(request.uri().authority());
    if !named.into_iter().all(is_this_machine) {
        return Err(Wrong::Host);
    }
    if !request.method().is_safe() && !comes_from_here(headers, host.as_ref(), origins) {
        return Err(Wrong::Origin);
    }
    Ok(())
}

/// Whether a request may wait in line for longer than its client stays.
pub(super) fn may_wait(headers: &HeaderMap) -> bool {
    prefer_wait(headers).is_some()
}

impl IntoResponse for Wrong {
    fn into_response(self) -> Response {
        match self {
            Self::Http(rule) => {
                let detail = format!("{rule} {}", REQUEST_INVALID.advice);
                let problem = REQUEST_INVALID.problem().with_detail(detail);
                // Where one request ends and the next begins may be read in two ways.
                last(Refused(problem).into_response())
            }
            Self::Host => Refused(HOST_NOT_ALLOWED.problem()).into_response(),
            Self::Origin => Refused(ORIGIN_NOT_ALLOWED.problem()).into_response(),
        }
    }
}

/// `chunked` is the only transfer coding that is supported, so no other may precede it.
fn check_transfer(headers: &HeaderMap) -> Result<(), Wrong> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Wrong::Http(
            "It has a Transfer-Encoding other than `chunked` alone.",
        )),
    }
}

fn check_target(uri: &Uri) -> Result<(), Wrong> {
    if uri.scheme_str().is_some_and(|scheme| scheme != "http") {
        return Err(Wrong::Http("Its target is not an address of this service."));
    }
    Ok(())
}

/// The host that the request names: exactly one, but for HTTP/1.0.
fn host(headers: &HeaderMap, version: Version) -> Result<Option<Authority>, Wrong> {
    let mut hosts = headers.get_all(HOST).iter();
    let wrong = Err(Wrong::Http("It must have exactly one `Host` header."));
    match (hosts.next(), hosts.next()) {
        (None, _) if version < Version::HTTP_11 => Ok(None),
        (Some(host), None) => match Authority::try_from(host.as_bytes()) {
            Ok(authority) if is_host(&authority) => Ok(Some(authority)),
            _ => wrong,
        },
        _ => wrong,
    }
}

/// A host, perhaps with a port, and nothing else.
fn is_host(authority: &Authority) -> bool {
    let rest = authority.as_str().strip_prefix(authority.host());
    rest.is_some_and(|rest| rest.is_empty() || authority.port_u16().is_some())
}

/// The service listens on loopback addresses only, so that its own address is always among these.
fn is_this_machine(authority: &Authority) -> bool {
    let host = authority.host();
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    is_host(authority)
        && (host.eq_ignore_ascii_case("localhost")
            || bare
                .unwrap_or(host)
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback()))
}

/// Whether no browser says that a page of another origin sends the request.
fn comes_from_here(headers: &HeaderMap, host: Option<&Authority>, origins: &Origins) -> bool {
    let mut given = headers.get_all(ORIGIN).iter();
    match (given.next(), given.next()) {
        (Some(origin), None) => origin
            .to_str()
            .is_ok_and(|origin| is_own(origin, host) || origins.allow(origin)),
        (None, _) => match headers.get(SEC_FETCH_SITE) {
            None => true,
            Some(site) => site == "same-origin" || site == "none",
        },
        _ => false,
    }
}

/// Whether the origin is the one that the request itself is for.
fn is_own(origin: &str, host: Option<&Authority>) -> bool {
    let Some(named) = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"))
    else {
        return false;
    };
    host.is_some_and(|host| host.as_str().eq_ignore_ascii_case(named))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn checked(
        method: &str,
        uri: &str,
        version: Version,
        headers: &[(&str, &str)],
    ) -> Result<(), Wrong> {
        let mut request = Request::builder().method(method).uri(uri).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let origins = "https://shop.example".parse().unwrap();
        check(&request.body(Body::from("body")).unwrap(), &origins)
    }

    fn of_host(uri: &str, hosts: &[&str]) -> Result<(), Wrong> {
        let hosts: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        checked("GET", uri, Version::HTTP_11, &hosts)
    }

    #[test]
    fn only_names_of_this_machine_are_allowed() {
        for host in [
            "localhost",
            "LocalHost:8080",
            "127.0.0.1",
            "127.0.0.1:8080",
            "127.9.8.7:1",
            "[::1]",
            "[::1]:8080",
        ] {
            assert_eq!(of_host("/", &[host]), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.0.2.1",
            "0.0.0.0:8080",
            "[::]:8080",
        ] {
            assert_eq!(of_host("/", &[host]), Err(Wrong::Host), "{host}");
        }
        let foreign = of_host("http://evil.example/", &["localhost"]);
        assert_eq!(foreign, Err(Wrong::Host));
        let own = of_host("http://localhost:8080/", &["localhost:8080"]);
        assert_eq!(own, Ok(()));
    }

    #[test]
    fn a_request_names_its_host_once() {
        for hosts in [
            &[][..],
            &[""],
            &["a b"],
            &["localhost", "localhost"],
            &["localhost", "evil.example"],
            &["evil@127.0.0.1"],
            &["127.0.0.1@evil.example"],
            &["127.0.0.1:abc"],
            &["127.0.0.1:"],
            &["127.0.0.1:99999"],
        ] {
            let wrong = of_host("/", hosts);
            assert!(matches!(wrong, Err(Wrong::Http(_))), "{hosts:?}: {wrong:?}");
        }
        let old = checked("GET", "/", Version::HTTP_10, &[]);
        assert_eq!(old, Ok(()));
        let of_user = of_host("http://evil.example@127.0.0.1/", &["127.0.0.1"]);
        assert_eq!(of_user, Err(Wrong::Host));
    }

    #[test]
    fn what_the_head_says_must_be_what_is_read() {
        let of = |uri: &str, header: (&str, &str)| {
            let headers = [("host", "localhost"), header];
            checked("POST", uri, Version::HTTP_11, &headers)
        };
        let plain = ("accept", "*/*");
        assert_eq!(of("/", plain), Ok(()));
        assert_eq!(of("/", ("transfer-encoding", "Chunked")), Ok(()));
        for coding in ["gzip, chunked", "chunked, chunked", "gzip", ""] {
            let wrong = of("/", ("transfer-encoding", coding));
            assert!(matches!(wrong, Err(Wrong::Http(_))), "{coding}");
        }
        for scheme in ["ftp", "https"] {
            let target = format!("{scheme}://localhost/");
            let wrong = of(&target, plain);
            assert!(matches!(wrong, Err(Wrong::Http(_))), "{scheme}");
        }
    }

    #[test]
    fn pages_of_other_origins_change_nothing() {
        let of = |method, headers: &[(&str, &str)]| {
            let headers = [&[("host", "127.0.0.1:8080")], headers].concat();
            checked(method, "/v1/orders", Version::HTTP_11, &headers)
        };
        for headers in [
            &[][..],
            &[("origin", "http://127.0.0.1:8080")],
            &[("origin", "https://shop.example")],
            &[
                ("origin", "https://shop.example"),
                ("sec-fetch-site", "cross-site"),
            ],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
        ] {
            assert_eq!(of("POST", headers), Ok(()), "{headers:?}");
        }
        for headers in [
            &[("origin", "https://evil.example")][..],
            &[("origin", "null")],
            &[("origin", "http://127.0.0.1:3000")],
            &[("origin", "http://127.0.0.1:8080.evil.example")],
            &[
                ("origin", "http://127.0.0.1:8080"),
                ("origin", "https://evil.example"),
            ],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
        ] {
            for method in ["POST", "PATCH", "DELETE"] {
                assert_eq!(of(method, headers), Err(Wrong::Origin), "{headers:?}");
            }
            // What only reads tells a foreign page nothing: no answer allows it to look.
            assert_eq!(of("GET", headers), Ok(()), "{headers:?}");
        }
    }
}
