//! Whom a request takes this service for.
//!
//! A page from anywhere can have its own name resolve to 127.0.0.1, and a browser then lets its
//! script talk to this service as if it were the page's own. The name gives it away: without
//! sign-in, only names of this machine are answered.

use std::net::IpAddr;

use axum::extract::Request;
use http::header::HOST;
use http::uri::Authority;
use orderlock::AppliedPart;

use super::problems::HOST_NOT_ALLOWED;
use super::reply::Refused;

/// Refuses requests that are not to this machine. One that names no host does not come from a
/// browser.
pub(crate) fn only_this_machine(request: &Request) -> Result<(), Refused> {
    if is_allowed(request) {
        return Ok(());
    }
    Err(Refused(
        HOST_NOT_ALLOWED.problem().applied(AppliedPart::None),
    ))
}

fn is_allowed(request: &Request) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let authority = request.uri().authority();
    hosts.all(|host| {
        let parsed = Authority::try_from(host.as_bytes());
        parsed.is_ok_and(|authority| is_this_machine(&authority))
    }) && authority.is_none_or(is_this_machine)
}

/// The service listens on loopback addresses only, so that its own address is always among these.
fn is_this_machine(authority: &Authority) -> bool {
    let host = authority.host();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(uri: &str, hosts: &[&str]) -> bool {
        let mut request = Request::builder().uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        is_allowed(&request.body(axum::body::Body::empty()).unwrap())
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
            assert!(allowed("/", &[host]), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "192.0.2.1",
            "0.0.0.0:8080",
            "[::]:8080",
            "a b",
        ] {
            assert!(!allowed("/", &[host]), "{host}");
        }
    }

    #[test]
    fn every_name_that_a_request_gives_counts() {
        assert!(allowed("/", &[]));
        assert!(!allowed("/", &["localhost", "evil.example"]));
        assert!(!allowed("http://evil.example/", &["localhost"]));
        assert!(allowed("http://localhost:8080/", &["localhost:8080"]));
    }
}
