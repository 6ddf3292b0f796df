//! Kinds of problems that no request to this service provokes.

/// Kinds that no request to this service provokes, and why.
pub(crate) const ELSEWHERE: &[(&str, &str)] = &[
    ("unauthenticated", "there is no sign-in yet"),
    ("forbidden", "there is no sign-in yet"),
    (
        "order-exists",
        "ids are derived from keys, so two keys never meet",
    ),
    (
        "handler-timeout",
        "operations compute and never wait; the library's tests have it",
    ),
    (
        "outcome-missing",
        "a mistake in a handler; the library's tests have it",
    ),
    (
        "order-not-taken",
        "a mistake in a handler; the library's tests have it",
    ),
    (
        "lock-missing",
        "a mistake in a route; the library's tests have it",
    ),
    (
        "locked-twice",
        "a mistake in a route; the library's tests have it",
    ),
    (
        "order-id-missing",
        "a mistake in a route; the library's tests have it",
    ),
    ("internal-error", "a panic; the edge's unit test has it"),
    (
        "data-damaged",
        "a damaged file; the unit test of reading has it",
    ),
    (
        "server-busy",
        "the memory of many connections; the edge's unit test has it",
    ),
];
