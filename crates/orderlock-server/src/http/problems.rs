//! Every kind of problem that this service answers with, whoever's it is.

use orderlock::Problem;
use orderlock::problems::{PROBLEMS, Retry, Stored};

/// A kind of problem, as its page and the tables show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The last part of `type`.
    pub kind: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The title.
    pub title: &'static str,
    /// What happened.
    pub happened: &'static str,
    /// What to do now.
    pub advice: &'static str,
    /// What is kept of the request.
    pub stored: &'static str,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

/// The service itself has a fault.
pub(crate) const INTERNAL_ERROR: Kind = Kind {
    kind: "internal-error",
    status: 500,
    title: "The service has a fault",
    happened: "The service failed outside of any operation. An operation that was running goes on \
               to its end.",
    advice: "Repeat the request with the same key; tell the operator the request id.",
    stored: "perhaps",
    retryable: true,
};

/// The request is none.
pub(crate) const REQUEST_INVALID: Kind = Kind {
    kind: "request-invalid",
    status: 400,
    title: "The request is not valid HTTP",
    happened: "The head of the request breaks a rule of HTTP, which the detail names. Where two \
               programs on its way read it differently, they could take a part of it for another \
               request.",
    advice: "Send it with a client or a proxy that keeps to RFC 9112.",
    stored: "no",
    retryable: false,
};

/// The request comes from a foreign page.
pub(crate) const ORIGIN_NOT_ALLOWED: Kind = Kind {
    kind: "origin-not-allowed",
    status: 403,
    title: "The request comes from a page of another origin",
    happened: "A browser says, in `Origin` or `Sec-Fetch-Site`, that a page of another origin sent \
               the request. Such pages may not change orders unless the service is told so.",
    advice: "Name the page's origin in the setting `allowed_origins`, if it is yours.",
    stored: "no",
    retryable: false,
};

/// The request is bound to a condition.
pub(crate) const PRECONDITION_UNSUPPORTED: Kind = Kind {
    kind: "precondition-unsupported",
    status: 400,
    title: "The request has a condition that is not compared",
    happened: "The head of the request has a condition, which the detail names, that this \
               operation does not compare. Done all the same, it could do what the client wanted \
               to rule out.",
    advice: "Leave it out. What changes an order that is there compares \
             `If-Match: \"<version>\"`.",
    stored: "no",
    retryable: false,
};

/// There is no room left.
pub(crate) const SERVER_BUSY: Kind = Kind {
    kind: "server-busy",
    status: 503,
    title: "The node has no room left for this request",
    happened: "Large bodies and answers take as much memory as the node gives them: other clients \
               send many at once, or do not read theirs. Or all of its connections are at work. \
               The operation may have run: then its answer is stored.",
    advice: "Repeat the request with the same key; ask for smaller pages.",
    stored: "perhaps",
    retryable: true,
};

/// The request is meant for another machine.
pub(crate) const HOST_NOT_ALLOWED: Kind = Kind {
    kind: "host-not-allowed",
    status: 403,
    title: "The request names another host",
    happened: "The service has no sign-in yet, so it answers only requests whose Host is \
               `localhost` or a loopback address: any other Host may be \
               that of a web page that attacks it by DNS rebinding.",
    advice: "Ask for `127.0.0.1` or `localhost`; let a proxy in between set the Host header so.",
    stored: "no",
    retryable: false,
};

/// The node takes no work.
pub(crate) const NOT_READY: Kind = Kind {
    kind: "not-ready",
    status: 503,
    title: "The node is not ready",
    happened: "The node takes no operations now; `reasons` says why.",
    advice: "Send requests to another node, or ask again.",
    stored: "no",
    retryable: true,
};

impl Kind {
    /// A problem of this kind.
    pub(crate) fn problem(&self) -> Problem {
        Problem::new(self.status, self.kind, self.title)
            .retryable(self.retryable)
            .with_detail(format!("{} {}", self.happened, self.advice))
    }
}

/// Every kind of problem, by status and name. What the order process says of a kind in its own
/// words stands before what Orderlock says of it in general.
#[must_use]
pub fn kinds() -> Vec<Kind> {
    let of_process = orderlock_orders::PROBLEMS.iter().map(|problem| Kind {
        kind: problem.kind,
        status: problem.status,
        title: problem.title,
        happened: problem.happened,
        advice: problem.advice,
        stored: if problem.kind.starts_with("body-") {
            "no"
        } else {
            Stored::Yes.as_str()
        },
        retryable: false,
    });
    let of_lock = PROBLEMS.iter().map(|problem| Kind {
        kind: problem.kind,
        status: problem.status,
        title: problem.title,
        happened: problem.what,
        advice: problem.next,
        stored: problem.stored.as_str(),
        retryable: problem.retry != Retry::No,
    });
    let own = [
        REQUEST_INVALID,
        HOST_NOT_ALLOWED,
        ORIGIN_NOT_ALLOWED,
        PRECONDITION_UNSUPPORTED,
        INTERNAL_ERROR,
        NOT_READY,
        SERVER_BUSY,
    ];
    let mut kinds: Vec<Kind> = of_process.chain(of_lock).chain(own).collect();
    // Stable: of two that are equal, the first stays.
    kinds.sort_by_key(|kind| (kind.status, kind.kind));
    kinds.dedup_by_key(|kind| kind.kind);
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_stands_once_with_one_status() {
        let kinds = kinds();
        let mut names: Vec<_> = kinds.iter().map(|kind| kind.kind).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "a kind has two statuses");
        for kind in kinds {
            assert!(
                !kind.happened.is_empty() && !kind.advice.is_empty(),
                "{kind:?}"
            );
        }
    }
}
