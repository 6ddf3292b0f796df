//! The parameters of the routes: path, query and headers.

use orderlock_orders::bounds::CUSTOMER_MAX;
use orderlock_orders::openapi::LINE_PATTERN;
use orderlock_orders::{OrderOperation, Status};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Required, Schema};

use crate::http::routes::Route;
use orderlock::views::{CURSOR_MAX, PAGE_DEFAULT, PAGE_MAX};

pub(super) fn of(route: Route) -> Vec<Parameter> {
    let order = || path("id", "The order's id.", string().max_length(Some(128)));
    match route {
        Route::Operation(row) if row.operation == OrderOperation::Create => vec![key()],
        Route::Operation(_) => vec![order(), key(), if_match(), prefer()],
        Route::Read => vec![order()],
        Route::List => [filters(), paging()].concat(),
        Route::History => [vec![order()], paging()].concat(),
        Route::Key => vec![
            order(),
            path(
                "key",
                "The idempotency key.",
                string().max_length(Some(255)),
            ),
        ],
        Route::Resolve => vec![order(), key(), if_match()],
        Route::Locks => paging(),
        Route::BreakLock => vec![path(
            "id",
            "The lock's id: it names the grant, not the order.",
            string(),
        )],
        Route::Health | Route::Ready => Vec::new(),
    }
}

fn parameter(
    name: &str,
    place: ParameterIn,
    required: bool,
    text: &str,
    schema: impl Into<Schema>,
) -> Parameter {
    let required = if required {
        Required::True
    } else {
        Required::False
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(text))
        .schema(Some(schema.into()))
        .build()
}

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A part of the path: visible ASCII characters.
fn path(name: &str, text: &str, schema: ObjectBuilder) -> Parameter {
    let schema = schema.min_length(Some(1)).pattern(Some(VISIBLE));
    parameter(name, ParameterIn::Path, true, text, schema)
}

/// Visible ASCII characters.
const VISIBLE: &str = "^[!-~]+$";

/// A key as it is sent: bare, or as a quoted string with its escapes.
const KEY: &str = r#"^([!#-~][!-~]{0,254}|"([!#-\[\]-~]|\\["\\]){1,255}")$"#;

/// A list of entity tags, or `*`.
const TAGS: &str = r#"^(\*|(W/)?"[!#-~]*"([ \t]*,[ \t]*(W/)?"[!#-~]*")*)$"#;

fn key() -> Parameter {
    let text = "The client's name for one intent: draw a new one for each, and send the same one \
                with each retry.";
    let schema = string()
        .min_length(Some(1))
        .max_length(Some(512))
        .pattern(Some(KEY));
    parameter("Idempotency-Key", ParameterIn::Header, true, text, schema)
}

fn if_match() -> Parameter {
    let text = "The versions of which the order must have one, each as its `ETag` was sent.";
    parameter(
        "If-Match",
        ParameterIn::Header,
        false,
        text,
        string().pattern(Some(TAGS)).examples(["\"3\""]),
    )
}

fn prefer() -> Parameter {
    let text = "`wait=<seconds>`: how long to wait in line if the order is held.";
    parameter(
        "Prefer",
        ParameterIn::Header,
        false,
        text,
        string().examples(["wait=10"]),
    )
}

fn paging() -> Vec<Parameter> {
    let limit = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(PAGE_MAX))
        .default(Some(PAGE_DEFAULT.into()));
    vec![
        parameter(
            "limit",
            ParameterIn::Query,
            false,
            "The most items on the page.",
            limit,
        ),
        parameter(
            "cursor",
            ParameterIn::Query,
            false,
            "The `next` of an earlier page.",
            string()
                .min_length(Some(1))
                .max_length(Some(CURSOR_MAX))
                .pattern(Some(VISIBLE)),
        ),
    ]
}

fn filters() -> Vec<Parameter> {
    let status = string().enum_values(Some(Status::ALL.map(Status::as_str)));
    let locked = ObjectBuilder::new().schema_type(Type::Boolean);
    vec![
        parameter(
            "status",
            ParameterIn::Query,
            false,
            "Only orders in this state.",
            status,
        ),
        parameter(
            "customer",
            ParameterIn::Query,
            false,
            "Only orders of this customer.",
            string()
                .min_length(Some(1))
                .max_length(Some(CUSTOMER_MAX))
                .pattern(Some(LINE_PATTERN)),
        ),
        parameter(
            "locked",
            ParameterIn::Query,
            false,
            "Only orders that are held, or not.",
            locked,
        ),
    ]
}
