//! Every kind of problem that Orderlock itself answers with, in one list. The server renders it as
//! pages, and a test compares the table in `docs/http-status-codes.md` with it.
//!
//! Answer with one of them from your own code, or serve a page for each:
//!
//! ```
//! use orderlock::{PROBLEMS, Problem, problems};
//!
//! // In an extractor or a caller source:
//! let problem: Problem = problems::FORBIDDEN.described();
//! assert_eq!((problem.status(), problem.kind()), (403, "forbidden"));
//!
//! // A page for `/problems/{kind}`:
//! let page = |kind: &str| {
//!     let problem = PROBLEMS.iter().find(|problem| problem.kind == kind)?;
//!     Some(format!("{}\n\n{}\n\n{}", problem.title, problem.what, problem.next))
//! };
//! assert!(page("order-locked").is_some_and(|text| text.contains("Prefer: wait")));
//! assert!(page("unheard-of").is_none());
//! ```

use orderlock_core::{AppliedPart, Problem};

/// What is kept of a request that is answered with a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Nothing: the same key runs again.
    No,
    /// The answer: a retry gets the same.
    Yes,
    /// What the key was first used for.
    First,
    /// The mark of an external operation that has begun.
    Mark,
    /// Perhaps the answer: the same key tells.
    Perhaps,
    /// That the key was used.
    Tombstone,
}

impl Stored {
    /// The words for it in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Yes => "yes",
            Self::First => "first stays",
            Self::Mark => "mark stays",
            Self::Perhaps => "perhaps",
            Self::Tombstone => "tombstone",
        }
    }
}

/// Whether the same request may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// No: the request has to be changed.
    No,
    /// Yes, under the same key.
    Yes,
    /// Yes, under the same key, best after so many seconds (`Retry-After`).
    After(u32),
}

/// A kind of problem: the last part of its `type`, and what is the same each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProblemKind {
    /// The last part of `type`: `order-locked`.
    pub kind: &'static str,
    /// The HTTP status. Where the handler chooses its own, the one that is used otherwise.
    pub status: u16,
    /// The title, the same each time.
    pub title: &'static str,
    /// What happened, in a sentence.
    pub what: &'static str,
    /// What the client does now, in a sentence.
    pub next: &'static str,
    /// What is stored under the key after this problem.
    pub stored: Stored,
    /// Whether the same request may succeed later.
    pub retry: Retry,
    /// Whether it always says for certain that nothing has changed under this key: only a problem
    /// from after the key was looked up can, since the request may be the retry of one that was
    /// applied.
    pub nothing_applied: bool,
}

impl ProblemKind {
    /// A problem of this kind, without a detail.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let problem =
            Problem::new(self.status, self.kind, self.title).retryable(self.retry != Retry::No);
        if self.nothing_applied {
            problem.applied(AppliedPart::None)
        } else {
            problem
        }
    }

    /// A problem of this kind whose detail is its general description.
    #[must_use]
    pub fn described(&self) -> Problem {
        self.problem()
            .with_detail(format!("{} {}", self.what, self.next))
    }

    /// The kind with this name, if it is one of [`PROBLEMS`].
    #[must_use]
    pub fn find(kind: &str) -> Option<&'static Self> {
        PROBLEMS.iter().find(|known| known.kind == kind)
    }
}

macro_rules! problem_kinds {
    ($($name:ident = $status:literal $kind:literal, $title:literal, $what:literal, $next:literal,
        $stored:ident, $retry:expr $(, $nothing_applied:ident)?;)*) => {
        $(
            #[doc = concat!("`", $kind, "`, ", stringify!($status), ": ", $title, ".")]
            pub const $name: ProblemKind = ProblemKind {
                kind: $kind,
                status: $status,
                title: $title,
                what: $what,
                next: $next,
                stored: Stored::$stored,
                retry: $retry,
                nothing_applied: problem_kinds!(@flag $($nothing_applied)?),
            };
        )*

        /// Every kind of problem that Orderlock itself answers with.
        pub const PROBLEMS: &[ProblemKind] = &[$($name),*];
    };
    (@flag) => { false };
    (@flag nothing_applied) => { true };
}

problem_kinds! {
    IDEMPOTENCY_KEY_MISSING = 400 "idempotency-key-missing", "The request has no idempotency key",
        "A request that changes an order needs an Idempotency-Key header.",
        "Make a new random key for each thing that you want done, and send the same key with each retry.",
        No, Retry::No;
    IDEMPOTENCY_KEY_INVALID = 400 "idempotency-key-invalid", "The idempotency key is not valid",
        "The Idempotency-Key header is malformed or appears more than once.",
        "Send it once, as 1 to 255 visible ASCII characters, bare or as a quoted string.",
        No, Retry::No;
    IF_MATCH_INVALID = 400 "if-match-invalid", "The If-Match header is not valid",
        "If-Match must be `*` or a list of versions, each quoted as in the ETag header.",
        "Send `If-Match: \"<version>\"`, with the quotes.",
        No, Retry::No;
    QUERY_INVALID = 400 "query-invalid", "The query is not valid",
        "A query parameter is unknown or has an invalid value.",
        "Correct the parameter that `detail` names.",
        No, Retry::No;
    CURSOR_INVALID = 400 "cursor-invalid", "The cursor is not valid",
        "The cursor does not come from this list of this store.",
        "Start again without a cursor.",
        No, Retry::No;
    BODY_MALFORMED = 400 "body-malformed", "The body cannot be read",
        "The body does not match its media type, or ended too early.",
        "Correct the body. You may use the same key again.",
        No, Retry::No;
    BODY_INVALID = 422 "body-invalid", "The body is not valid",
        "The body can be read, but parts of it are not valid. `errors` lists them with JSON pointers.",
        "Correct these parts. You may use the same key again.",
        No, Retry::No;
    BODY_TOO_LARGE = 413 "body-too-large", "The body is too large",
        "The body is larger than this service accepts.",
        "Send a smaller body.",
        No, Retry::No;
    BODY_TOO_SLOW = 408 "body-too-slow", "The body did not arrive in time",
        "The body did not arrive completely within the time limit.",
        "Send the request again with the same key.",
        No, Retry::Yes;
    MEDIA_TYPE_UNSUPPORTED = 415 "media-type-unsupported", "The media type is not supported",
        "This route does not accept the body's media type, charset or content encoding.",
        "Send application/json in UTF-8, without a Content-Encoding.",
        No, Retry::No;
    UNAUTHENTICATED = 401 "unauthenticated", "You are not signed in",
        "The request has no valid credential.",
        "Send a valid credential.",
        No, Retry::No;
    FORBIDDEN = 403 "forbidden", "You are not allowed to do that",
        "The caller is signed in, but does not have the right to do this.",
        "Ask an administrator for the right.",
        No, Retry::No;
    ORDER_NOT_FOUND = 404 "order-not-found", "There is no such order",
        "There is no order with this id that belongs to the caller.",
        "Check the id.",
        No, Retry::No, nothing_applied;
    ROUTE_NOT_FOUND = 404 "route-not-found", "There is nothing at this address",
        "No route of this service has this path.",
        "Check the path.",
        No, Retry::No;
    KEY_NOT_FOUND = 404 "key-not-found", "The key is not known",
        "This caller has not used the key for this order, or the operation failed and stored nothing, or the key has been forgotten after its retention.",
        "Send the operation with this key, and it will run.",
        No, Retry::No;
    LOCK_NOT_FOUND = 404 "lock-not-found", "There is no such lock",
        "The lock with this id has ended or never existed.",
        "There is nothing to do.",
        No, Retry::No;
    METHOD_NOT_ALLOWED = 405 "method-not-allowed", "The method is not allowed here",
        "This address does not accept the request's method.",
        "Use a method listed in the Allow header.",
        No, Retry::No;
    IDEMPOTENCY_KEY_REUSED = 422 "idempotency-key-reused", "The key was used for another request",
        "The same key was used before, with another operation or another body. This request changed nothing.",
        "To get the first request's answer, send it unchanged. For anything else, use a new key.",
        First, Retry::No, nothing_applied;
    IDEMPOTENCY_KEY_IN_PROGRESS = 409 "idempotency-key-in-progress", "The request is still running",
        "The same request with the same key is still waiting or running.",
        "Repeat the request with the same key to get its answer. With `Prefer: wait=<seconds>` the server waits for the answer.",
        No, Retry::After(1);
    IDEMPOTENCY_KEY_EXPIRED = 410 "idempotency-key-expired", "The answer to this key has expired",
        "The key was used, but its stored answer has been removed after its retention.",
        "Read the order to see its state. For a new operation, use a new key.",
        Tombstone, Retry::No;
    ORDER_LOCKED = 409 "order-locked", "Another operation holds the order",
        "An operation under another key is running on the order, and the time that you asked to wait is over. Nothing was changed.",
        "Repeat the request with the same key. With `Prefer: wait=<seconds>` it waits in line.",
        No, Retry::After(1), nothing_applied;
    ORDER_QUEUE_FULL = 429 "order-queue-full", "Too many requests wait for the order",
        "The line for this order or for this node is full.",
        "Repeat the request with the same key later.",
        No, Retry::After(1);
    ORDER_EXISTS = 409 "order-exists", "The order exists already",
        "An order with this id was already created under another key.",
        "Read the order, or create a new one with another id.",
        No, Retry::No, nothing_applied;
    VERSION_MISMATCH = 412 "version-mismatch", "The order is at another version",
        "The order is not at the version in If-Match; `currentVersion` is its version. Nothing was changed.",
        "Read the order again, and send the request with its current version if you still want it.",
        No, Retry::No, nothing_applied;
    TRANSITION_NOT_ALLOWED = 409 "transition-not-allowed", "The order's state does not allow this",
        "The operation is not allowed in the state `from`. `allowed` lists the operations that are.",
        "Read the order, and choose an operation from `allowed`.",
        Yes, Retry::No, nothing_applied;
    OUTCOME_UNKNOWN = 409 "outcome-unknown", "The outcome of an external operation is unknown",
        "An operation on this order called an external service (a payment, for example), and its result there is unknown.",
        "An operator must check the external service and resolve the mark. Until then no other operation runs on the order.",
        Mark, Retry::No;
    MARK_NOT_OPEN = 409 "mark-not-open", "There is nothing to resolve",
        "The mark has already ended, or its operation is running again. The order may have another mark.",
        "Read the order and its history to see its state.",
        No, Retry::No;
    HANDLER_FAILED = 500 "handler-failed", "The operation failed",
        "The operation failed, and nothing is stored under its key.",
        "If `retryable` is true, repeat the request with the same key.",
        No, Retry::Yes, nothing_applied;
    HANDLER_TIMEOUT = 504 "handler-timeout", "The operation took too long",
        "The operation reached its time limit and was stopped. Nothing is stored under the key.",
        "Repeat the request with the same key.",
        No, Retry::Yes, nothing_applied;
    LEASE_LOST = 503 "lease-lost", "The lock was lost before the change was applied",
        "The operation lost its lock while it ran, so its result was discarded.",
        "Repeat the request with the same key.",
        No, Retry::After(1), nothing_applied;
    SETTLE_UNKNOWN = 503 "settle-unknown", "It is not known yet whether the change was applied",
        "The change was sent to the order store, but the store's answer was lost or late.",
        "Repeat the request with the same key to get its result. It is never applied twice.",
        Perhaps, Retry::After(1);
    STORE_UNAVAILABLE = 503 "store-unavailable", "The order store did not take the request",
        "The order store cannot be reached, is too slow, or does not accept changes now.",
        "Repeat the request, with the same key if it carries one.",
        No, Retry::After(2);
    DATA_DAMAGED = 500 "data-damaged", "The stored data cannot be read",
        "An order's stored data is damaged: by a fault of the file or the disk, or by another program.",
        "An operator must read the log and restore the data. Repeating the request does not help.",
        No, Retry::No;
    SHUTTING_DOWN = 503 "shutting-down", "This node is shutting down",
        "The node accepts no new operations and lets the running ones end.",
        "Repeat the request with the same key, at another node or after the restart.",
        No, Retry::After(2);
    OUTCOME_MISSING = 500 "outcome-missing", "The handler answered without an outcome",
        "A handler under the lock answered with success but returned no outcome, so there was nothing to apply.",
        "This is a mistake in the service: return `Result<Outcome<T>, E>` from the handler, and do not let a middleware in between replace its response.",
        No, Retry::No, nothing_applied;
    ORDER_NOT_TAKEN = 500 "order-not-taken", "The handler never looked at the order",
        "A handler under the lock returned an outcome without taking the locked order, so it would have overwritten the order unseen.",
        "This is a mistake in the service: take `LockedOrder<T>` as the handler's first argument.",
        No, Retry::No, nothing_applied;
    LOCK_MISSING = 500 "lock-missing", "This handler needs a lock and was given none",
        "The handler needs an order's lock, but its route has none, or the lock was taken before.",
        "This is a mistake in the service: mount the handler with `orders.post(..)`, or add `orders.layer(..)` to the route.",
        No, Retry::No;
    LOCKED_TWICE = 500 "locked-twice", "The route has two locks",
        "The request already holds the order's lock, and its route asks for it again.",
        "This is a mistake in the service: keep one of `orders.layer(..)` and `orders.post(..)` on the route.",
        No, Retry::No;
    ORDER_ID_MISSING = 500 "order-id-missing", "The route does not name an order",
        "The route has no path parameter with the order's id.",
        "This is a mistake in the service: add the parameter to the route, or choose another source with `with_order_id(..)`.",
        No, Retry::No;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_distinct_words_with_an_error_status() {
        for (at, kind) in PROBLEMS.iter().enumerate() {
            assert!((400..600).contains(&kind.status), "{kind:?}");
            let is_word = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(kind.kind.chars().all(is_word), "{kind:?}");
            assert!(
                PROBLEMS[..at].iter().all(|other| other.kind != kind.kind),
                "{} stands twice",
                kind.kind
            );
        }
    }

    #[test]
    fn only_what_may_pass_by_itself_says_when_to_come_back() {
        for kind in PROBLEMS {
            if matches!(kind.retry, Retry::After(_)) {
                assert!([409, 429, 503].contains(&kind.status), "{kind:?}");
            }
        }
    }
}
