//! Every kind of problem that this service answers with: the lock's, the order model's and its own.

use orderlock::Problem;
use orderlock::problems::{PROBLEMS, Retry, Stored};

/// A kind of problem, as its page and the tables show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The last part of `type`.
    pub kind: &'static str,
    /// The HTTP status, from 400 to 599.
    pub status: u16,
    /// The title, the same each time.
    pub title: &'static str,
    /// The cause, in one or two sentences.
    pub happened: &'static str,
    /// What the client or the operator can do, in one or two sentences.
    pub advice: &'static str,
    /// Whether an answer is stored under the key, in the words of [`Stored`].
    pub stored: &'static str,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

/// The service itself failed.
pub(crate) const INTERNAL_ERROR: Kind = Kind {
    kind: "internal-error",
    status: 500,
    title: "The service failed",
    happened: "The service failed outside of an operation. An operation that was running \
               continues to its end.",
    advice: "Repeat the request with the same key, and give the operator the request id.",
    stored: "perhaps",
    retryable: true,
};

/// The request is not valid HTTP.
pub(crate) const REQUEST_INVALID: Kind = Kind {
    kind: "request-invalid",
    status: 400,
    title: "The request is not valid HTTP",
    happened: "The request's headers break the rule of HTTP that `detail` names. Two programs \
               could then read the request differently (request smuggling).",
    advice: "Use a client or a proxy that follows RFC 9112.",
    stored: "no",
    retryable: false,
};

/// The request comes from a foreign page.
pub(crate) const ORIGIN_NOT_ALLOWED: Kind = Kind {
    kind: "origin-not-allowed",
    status: 403,
    title: "The request comes from a page of another origin",
    happened: "According to `Origin` or `Sec-Fetch-Site`, a web page of another origin sent the \
               request. Such pages may not change orders.",
    advice: "If the page is yours, add its origin to the setting `allowed_origins`.",
    stored: "no",
    retryable: false,
};

/// The request is bound to a condition.
pub(crate) const PRECONDITION_UNSUPPORTED: Kind = Kind {
    kind: "precondition-unsupported",
    status: 400,
    title: "The request has a condition that is not supported",
    happened: "This operation does not support the conditional header that `detail` names, so the \
               request was not run.",
    advice: "Leave the header out. Operations on an existing order support `If-Match: \
             \"<version>\"`.",
    stored: "no",
    retryable: false,
};

/// Memory or connections are used up.
pub(crate) const SERVER_BUSY: Kind = Kind {
    kind: "server-busy",
    status: 503,
    title: "The node is busy",
    happened: "The node's memory for large bodies and answers is in use, or all of its \
               connections are. The operation may have run; then its answer is stored.",
    advice: "Repeat the request with the same key, or ask for smaller pages.",
    stored: "perhaps",
    retryable: true,
};

/// The request is meant for another machine.
pub(crate) const HOST_NOT_ALLOWED: Kind = Kind {
    kind: "host-not-allowed",
    status: 403,
    title: "The request names another host",
    happened: "The service has no sign-in yet, so it accepts only requests whose Host is \
               `localhost` or a loopback address. Any other Host could be a DNS-rebinding attack \
               by a web page.",
    advice: "Use `127.0.0.1` or `localhost`. A proxy in front must set `Host: localhost`.",
    stored: "no",
    retryable: false,
};

/// The node is not ready.
pub(crate) const NOT_READY: Kind = Kind {
    kind: "not-ready",
    status: 503,
    title: "The node is not ready",
    happened: "The node accepts no operations now; `reasons` says why.",
    advice: "Send the request to another node, or repeat it later.",
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

/// Every kind of problem, by status and name. The order model's text for a kind replaces the
/// general one.
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
