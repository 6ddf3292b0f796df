//! Which problems each route can answer with: those that it really gives, by name.

use std::collections::BTreeMap;

use orderlock_orders::{OperationRow, OrderOperation};
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Ref, Type};
use utoipa::openapi::{Content, Response, ResponseBuilder};

use super::PROBLEM_JSON;
use crate::http::problems::kinds;
use crate::http::routes::Route;

/// Problems that any request may get.
const ALWAYS: &[&str] = &["request-invalid", "host-not-allowed", "internal-error"];

/// Problems of a query.
const QUERY: &[&str] = &["query-invalid"];

/// Problems of a list.
const PAGE: &[&str] = &["cursor-invalid", "server-busy"];

/// Problems of requests that need the store.
const STORE: &[&str] = &["store-unavailable", "data-damaged"];

/// What is no plain reading of one thing.
const CHANGE: &[&str] = &[
    "origin-not-allowed",
    "precondition-unsupported",
    "server-busy",
];

/// Problems of requests with a body.
const BODY: &[&str] = &[
    "body-malformed",
    "body-too-slow",
    "body-too-large",
    "media-type-unsupported",
    "body-invalid",
];

/// What goes by a key through the lifecycle.
const KEYED: &[&str] = &[
    "idempotency-key-missing",
    "idempotency-key-invalid",
    "order-queue-full",
    "settle-unknown",
    "shutting-down",
];

/// Problems of a request with a key.
const SETTLED: &[&str] = &[
    "idempotency-key-expired",
    "idempotency-key-reused",
    "handler-failed",
];

/// What is for one order at a time.
const LOCKED: &[&str] = &["if-match-invalid", "order-not-found", "version-mismatch"];

/// Problems of a request that waits in line.
const LINE: &[&str] = &[
    "idempotency-key-in-progress",
    "order-locked",
    "outcome-unknown",
    "lease-lost",
    "handler-timeout",
];

/// The problems that a route can answer with, by status.
pub(super) fn of(route: Route) -> BTreeMap<u16, Vec<&'static str>> {
    let mut names: Vec<&str> = groups(route).concat();
    if let Route::Operation(row) = route {
        names.extend(row.problems().map(|kind| kind.kind));
    }
    let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for kind in kinds() {
        if names.contains(&kind.kind) {
            by_status.entry(kind.status).or_default().push(kind.kind);
        }
    }
    by_status
}

fn groups(route: Route) -> Vec<&'static [&'static str]> {
    match route {
        Route::Operation(OperationRow {
            operation: OrderOperation::Create,
            ..
        }) => vec![ALWAYS, QUERY, STORE, CHANGE, BODY, KEYED, SETTLED],
        Route::Operation(_) => vec![
            ALWAYS, QUERY, STORE, CHANGE, BODY, KEYED, SETTLED, LOCKED, LINE,
        ],
        Route::Resolve => vec![
            ALWAYS,
            QUERY,
            STORE,
            CHANGE,
            BODY,
            KEYED,
            LOCKED,
            &["mark-not-open"],
        ],
        Route::Read => vec![ALWAYS, QUERY, STORE, &["order-not-found", "server-busy"]],
        Route::List | Route::Locks => vec![ALWAYS, QUERY, STORE, PAGE],
        Route::History => vec![ALWAYS, QUERY, STORE, PAGE, &["order-not-found"]],
        Route::Key => vec![
            ALWAYS,
            QUERY,
            STORE,
            &[
                "idempotency-key-invalid",
                "order-not-found",
                "key-not-found",
                "outcome-unknown",
                "idempotency-key-expired",
                "shutting-down",
                "server-busy",
            ],
        ],
        Route::BreakLock => vec![ALWAYS, QUERY, STORE, CHANGE, BODY, &["lock-not-found"]],
        Route::Health => vec![ALWAYS],
        Route::Ready => vec![ALWAYS, &["not-ready"]],
    }
}

/// The answer that tells one of these problems.
pub(super) fn response(names: &[&'static str]) -> Response {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let description = match &*quoted {
        [one] => format!("{one}."),
        many => format!("One of {}.", many.join(", ")),
    };
    ResponseBuilder::new()
        .description(description)
        .content(PROBLEM_JSON, Content::new(Some(schema(names))))
        .build()
}

/// A problem document of one of these types.
fn schema(names: &[&'static str]) -> AllOfBuilder {
    let types = names.iter().map(|name| format!("/problems/{name}"));
    let kind = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(types));
    AllOfBuilder::new()
        .item(Ref::from_schema_name("Problem"))
        .item(ObjectBuilder::new().property("type", kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_that_of_a_kind() {
        let kinds = kinds();
        for route in Route::all() {
            for name in groups(route).concat() {
                assert!(kinds.iter().any(|kind| kind.kind == name), "{name}");
            }
        }
    }
}
