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

/// The request is meant for another machine.
pub(crate) const HOST_NOT_ALLOWED: Kind = Kind {
    kind: "host-not-allowed",
    status: 403,
    title: "The request names another host",
    happened: "The service has no sign-in yet, so it answers only requests whose Host is \
               `localhost` or a loopback address: any other name may be a web page that had it \
               resolve to this machine.",
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
    let own = [HOST_NOT_ALLOWED, INTERNAL_ERROR, NOT_READY];
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
