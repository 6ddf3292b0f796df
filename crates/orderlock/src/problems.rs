//! Every kind of problem that Orderlock itself answers with, in one list. The server renders it as
//! pages, and the table in the documentation is checked against it.

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
    /// Not as it stands.
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
    /// What is kept.
    pub stored: Stored,
    /// Whether the same request may succeed later.
    pub retry: Retry,
    /// Whether it always says for certain that nothing has changed under this key: only what is
    /// told after the key was looked up can, since the request may be the retry of one that has.
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
        "A request that changes an order must carry an Idempotency-Key header.",
        "Draw a new random key for each intent, and send the same key with each retry of it.",
        No, Retry::No;
    IDEMPOTENCY_KEY_INVALID = 400 "idempotency-key-invalid", "The idempotency key is not valid",
        "The Idempotency-Key header is malformed, or was sent more than once.",
        "Send it once, as 1 to 255 visible ASCII characters, bare or as a quoted string.",
        No, Retry::No;
    IF_MATCH_INVALID = 400 "if-match-invalid", "The If-Match header is not valid",
        "If-Match must be a list of versions, each as its ETag was sent, or `*`.",
        "Send `If-Match: \"<version>\"`, with the quotes.",
        No, Retry::No;
    QUERY_INVALID = 400 "query-invalid", "The query is not valid",
        "A parameter of the query is unknown or has a value that does not fit.",
        "Correct the parameter that the detail names.",
        No, Retry::No;
    CURSOR_INVALID = 400 "cursor-invalid", "The cursor is not valid",
        "The cursor was not made by this store for this list.",
        "Begin again without a cursor.",
        No, Retry::No;
    BODY_MALFORMED = 400 "body-malformed", "The body cannot be read",
        "The body is not what its media type says, or ended too early.",
        "Correct the body; the same key may be used again.",
        No, Retry::No;
    BODY_INVALID = 422 "body-invalid", "The body is not valid",
        "The body can be read, but parts of it do not fit; `errors` names them by JSON pointer.",
        "Correct the parts that are named; the same key may be used again.",
        No, Retry::No;
    BODY_TOO_LARGE = 413 "body-too-large", "The body is too large",
        "The body has more bytes than this service takes.",
        "Send a smaller body.",
        No, Retry::No;
    BODY_TOO_SLOW = 408 "body-too-slow", "The body did not arrive in time",
        "The body was not complete within the time that this service waits.",
        "Send it again with the same key.",
        No, Retry::Yes;
    MEDIA_TYPE_UNSUPPORTED = 415 "media-type-unsupported", "The media type is not supported",
        "The body has a media type, a charset or an encoding that is not taken here.",
        "Send the body as application/json, in UTF-8 and without a Content-Encoding.",
        No, Retry::No;
    UNAUTHENTICATED = 401 "unauthenticated", "You are not signed in",
        "The request carries no credential, or one that is not valid.",
        "Send a valid credential.",
        No, Retry::No;
    FORBIDDEN = 403 "forbidden", "You are not allowed to do that",
        "The caller is known, but has no right to do this.",
        "Ask somebody who has the right, or ask for it.",
        No, Retry::No;
    ORDER_NOT_FOUND = 404 "order-not-found", "There is no such order",
        "The caller has no order with this id.",
        "Check the id.",
        No, Retry::No, nothing_applied;
    ROUTE_NOT_FOUND = 404 "route-not-found", "There is nothing at this address",
        "No route of this service has this path.",
        "Check the path.",
        No, Retry::No;
    KEY_NOT_FOUND = 404 "key-not-found", "The key is not known",
        "The key was never used for this order by this caller, the operation under it failed and left nothing, or it was used longer ago than keys are remembered.",
        "Send the operation with this key: it will run.",
        No, Retry::No;
    LOCK_NOT_FOUND = 404 "lock-not-found", "There is no such lock",
        "The grant that the id names has ended, or never was.",
        "Nothing needs to be done about it.",
        No, Retry::No;
    METHOD_NOT_ALLOWED = 405 "method-not-allowed", "The method is not allowed here",
        "This address does not take requests of this method.",
        "Use one of the methods that the Allow header names.",
        No, Retry::No;
    IDEMPOTENCY_KEY_REUSED = 422 "idempotency-key-reused", "The key stands for another request",
        "The same key was used before, with another operation or another body.",
        "Send the first request unchanged to learn its answer, or draw a new key for a new intent.",
        First, Retry::No, nothing_applied;
    IDEMPOTENCY_KEY_IN_PROGRESS = 409 "idempotency-key-in-progress", "The request is still running",
        "The same request with the same key is running or waiting.",
        "Repeat it with the same key to get its answer; `Prefer: wait=<seconds>` waits for it.",
        No, Retry::After(1);
    IDEMPOTENCY_KEY_EXPIRED = 410 "idempotency-key-expired", "The answer to this key is gone",
        "The key was used, and its answer is past its retention.",
        "Read the order to see what became of it; draw a new key for a new intent.",
        Tombstone, Retry::No;
    ORDER_LOCKED = 409 "order-locked", "Another operation holds the order",
        "Another key's operation is at work on the order, and you waited as long as you asked for.",
        "Repeat the request with the same key; `Prefer: wait=<seconds>` waits in line.",
        No, Retry::After(1), nothing_applied;
    ORDER_QUEUE_FULL = 429 "order-queue-full", "Too many requests wait for the order",
        "The line for this order, or for this node, is as long as it may be.",
        "Repeat the request with the same key later.",
        No, Retry::After(1);
    ORDER_EXISTS = 409 "order-exists", "The order exists already",
        "An order with this id was created under another key.",
        "Read the order; a new order needs an id of its own.",
        No, Retry::No, nothing_applied;
    VERSION_MISMATCH = 412 "version-mismatch", "The order is at another version",
        "The order has changed since the version that If-Match names; `currentVersion` is where it is.",
        "Read the order again and decide anew.",
        No, Retry::No, nothing_applied;
    TRANSITION_NOT_ALLOWED = 409 "transition-not-allowed", "The order does not allow that now",
        "The operation is not allowed in the state that `from` names; `allowed` lists what is.",
        "Read the order, and choose one of the operations that are allowed.",
        Yes, Retry::No, nothing_applied;
    OUTCOME_UNKNOWN = 409 "outcome-unknown", "It is unknown how an operation ended outside",
        "An operation that calls an outside service has begun on this order, and nobody knows how it ended there.",
        "Have an operator look and resolve it; until then no other operation runs on the order.",
        Mark, Retry::No;
    MARK_NOT_OPEN = 409 "mark-not-open", "There is nothing to resolve",
        "The mark that the decision is about has ended, or is being attended to; the order may have another one.",
        "Read the order and its history to see where it stands.",
        No, Retry::No;
    HANDLER_FAILED = 500 "handler-failed", "The operation failed",
        "The operation failed before it was settled, and nothing is stored under its key.",
        "Repeat the request with the same key if `retryable` says so.",
        No, Retry::Yes, nothing_applied;
    HANDLER_TIMEOUT = 504 "handler-timeout", "The operation took too long",
        "The operation passed its time limit and was stopped; nothing is stored under its key.",
        "Repeat the request with the same key.",
        No, Retry::Yes, nothing_applied;
    LEASE_LOST = 503 "lease-lost", "The lock was lost before the change was applied",
        "The operation lost its lock while it ran, so what it did to the order was thrown away.",
        "Repeat the request with the same key.",
        No, Retry::After(1), nothing_applied;
    SETTLE_UNKNOWN = 503 "settle-unknown", "It is not known yet whether the change was applied",
        "The change was sent to the order store, whose answer was lost or has not come in time.",
        "Repeat the request with the same key to learn what happened: it is never applied twice.",
        Perhaps, Retry::After(1);
    STORE_UNAVAILABLE = 503 "store-unavailable", "The order store did not take the request",
        "The order store cannot be reached, does not answer in time, or takes no changes now.",
        "Repeat the request, with the same key if it carries one.",
        No, Retry::After(2);
    DATA_DAMAGED = 500 "data-damaged", "What is stored cannot be read",
        "The data of an order are damaged in the store: its file or its disk has a fault, or another program has written to it.",
        "An operator must look at the log and restore the data; repeating the request does not help.",
        No, Retry::No;
    SHUTTING_DOWN = 503 "shutting-down", "This node is shutting down",
        "The node takes no new operations and ends those that run.",
        "Repeat the request with the same key: another node, or this one after its restart, takes it.",
        No, Retry::After(2);
    OUTCOME_MISSING = 500 "outcome-missing", "The handler answered without an outcome",
        "A handler under the lock answered with success but did not return an outcome, so there was nothing to apply.",
        "This is a mistake in the service: return `Result<Outcome<T>, E>` from the handler, and let no middleware in between rebuild its response.",
        No, Retry::No, nothing_applied;
    ORDER_NOT_TAKEN = 500 "order-not-taken", "The handler never looked at the order",
        "A handler under the lock returned an outcome without taking the locked order, which would overwrite the order blindly.",
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
    ORDER_ID_MISSING = 500 "order-id-missing", "The route does not say which order",
        "The path parameter that names the order is not part of this route.",
        "This is a mistake in the service: name it in the route, or give the lock another source with `with_order_id(..)`.",
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
