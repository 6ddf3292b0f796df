//! The OpenAPI document, made from the routes, the process table and the types of the answers.

use std::collections::BTreeMap;

use orderlock_orders::{
    BodyShape, FieldError, LinesBody, NewOrder, OperationRow, Order, OrderOperation, OrderPatch,
    PaymentBody, ReasonBody,
};
use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder, PathItem};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ArrayBuilder, Ref, Schema};
use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, OpenApi, OpenApiBuilder, Paths, RefOr, Required,
    Response, ResponseBuilder,
};
use utoipa::{PartialSchema, ToSchema};

use super::body::media_types;
use super::health::{Health, Readiness};
use super::routes::Route;
use orderlock::views::{HistoryItem, LockItem, OrderLockView, Unsettled};

mod parameters;
mod problems;
mod schemas;

const PROBLEM_JSON: &str = "application/problem+json";
const JSON: &str = "application/json";

/// The document.
pub(crate) fn document() -> OpenApi {
    let mut paths = Paths::new();
    for route in Route::all() {
        let (method, path) = route.address();
        let item = PathItem::new(http_method(method), describe(route));
        match paths.paths.get_mut(&path) {
            Some(known) => known.merge_operations(item),
            None => drop(paths.paths.insert(path, item)),
        }
    }
    let info = InfoBuilder::new()
        .title("Orderlock")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Changes one order at a time, exactly once, whatever breaks. Every request that \
             changes an order carries an `Idempotency-Key`; the same key gets the same answer.",
        ));
    let components = ComponentsBuilder::new().schemas_from_iter(components());
    OpenApiBuilder::new()
        .info(info.build())
        .paths(paths)
        .components(Some(components.build()))
        .build()
}

fn http_method(method: &str) -> HttpMethod {
    match method {
        "POST" => HttpMethod::Post,
        "PATCH" => HttpMethod::Patch,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

fn describe(route: Route) -> Operation {
    let described = match route {
        Route::Operation(row) => of_row(row),
        Route::Read => read(
            "readOrder",
            "One order, with its lock if it is held.",
            one("Order"),
        ),
        Route::List => read(
            "listOrders",
            "A page of orders, newest first.",
            page("Order"),
        ),
        Route::History => read(
            "readHistory",
            "A page of an order's history, oldest first.",
            page(&name::<HistoryItem>()),
        ),
        Route::Key => of_key(),
        Route::Resolve => of_resolution(),
        Route::Locks => read(
            "listLocks",
            "A page of held locks.",
            page(&name::<LockItem>()),
        ),
        Route::BreakLock => read(
            "breakLock",
            "Breaks a lock, with a reason for the order's history.",
            one(&name::<LockItem>()),
        )
        .request_body(Some(body_of("BreakReason", &[JSON], true))),
        Route::Health => read(
            "health",
            "Whether the process answers.",
            one(&name::<Health>()),
        ),
        Route::Ready => read(
            "ready",
            "Whether the node takes work.",
            one(&name::<Readiness>()),
        ),
    };
    let answers = problems::of(route).into_iter();
    let described = answers.fold(described, |described, (status, names)| {
        described.response(status.to_string(), problems::response(&names))
    });
    let parameters = parameters::of(route);
    described
        .tag(tag(route))
        .parameters(Some(parameters))
        .build()
}

/// Under what a route is listed.
fn tag(route: Route) -> &'static str {
    match route {
        Route::Operation(_) => "operations",
        Route::Read | Route::List | Route::History | Route::Key => "orders",
        Route::Resolve | Route::Locks | Route::BreakLock => "operators",
        Route::Health | Route::Ready => "health",
    }
}

fn of_row(row: &OperationRow) -> OperationBuilder {
    let mut text = row.summary.to_owned();
    if !row.refused_when.is_empty() {
        text.push_str(&format!(" Refused when {}.", row.refused_when));
    }
    let create = row.operation == OrderOperation::Create;
    let status = if create { "201" } else { "200" };
    let operation = OperationBuilder::new()
        .operation_id(Some(camel_case(row.operation.as_str())))
        .summary(Some(row.label))
        .description(Some(text))
        .response(
            status,
            success("The order after the operation.", one("Order")),
        );
    let required = matches!(
        row.body,
        BodyShape::NewOrder | BodyShape::Payment | BodyShape::Lines
    );
    // A refusal that an operator has decided on in the name of its key.
    let decided = ResponseBuilder::new()
        .description(
            "The problem that an operator has settled the operation with, because its outcome was \
             unknown: see `resolveMark`. It may have any status from 400 on and any type.",
        )
        .content(
            PROBLEM_JSON,
            Content::new(Some(Ref::from_schema_name("AnyProblem"))),
        );
    let operation = if create {
        operation
    } else {
        operation.response("default", decided)
    };
    operation.request_body(Some(request_body(row.body, required)))
}

fn of_key() -> OperationBuilder {
    let unsettled = success(
        "The operation waits in line, or runs.",
        Ref::from_schema_name(name::<Unsettled>()).into(),
    );
    let text = "The result of a key: its stored answer, with that answer's own status in the body.";
    // A refusal is stored and replayed like any other answer.
    let refusal = Content::new(Some(Ref::from_schema_name("AnyProblem")));
    let mut stored = success(text, one("Order"));
    stored
        .content
        .insert(PROBLEM_JSON.to_owned(), refusal.into());
    read("readKey", text, one("Order"))
        .response("200", stored)
        .response("202", unsettled)
}

fn of_resolution() -> OperationBuilder {
    let summary = "Ends the open mark of an operation whose outcome is unknown.";
    let operation = OperationBuilder::new()
        .operation_id(Some("resolveMark"))
        .summary(Some(summary))
        .response(
            "200",
            success("The order after the decision.", one("Order")),
        );
    operation.request_body(Some(body_of("Resolution", &[JSON], true)))
}

fn read(id: &str, summary: &str, schema: RefOr<Schema>) -> OperationBuilder {
    OperationBuilder::new()
        .operation_id(Some(id))
        .summary(Some(summary))
        .response("200", success(summary, schema))
}

fn success(description: &str, schema: RefOr<Schema>) -> Response {
    ResponseBuilder::new()
        .description(description)
        .content(JSON, Content::new(Some(schema)))
        .build()
}

/// The shape of an answer with one result.
fn one(name: &str) -> RefOr<Schema> {
    schemas::answer(Ref::from_schema_name(name).into(), false)
}

/// The shape of an answer with a page of results.
fn page(name: &str) -> RefOr<Schema> {
    let items = ArrayBuilder::new().items(Ref::from_schema_name(name));
    schemas::answer(items.into(), true)
}

fn request_body(shape: BodyShape, required: bool) -> RequestBody {
    let schema = match shape {
        BodyShape::NewOrder => name::<NewOrder>(),
        BodyShape::Patch => name::<OrderPatch>(),
        BodyShape::Empty => "Empty".to_owned(),
        BodyShape::Reason => name::<ReasonBody>(),
        BodyShape::Payment => name::<PaymentBody>(),
        BodyShape::Lines => name::<LinesBody>(),
    };
    body_of(&schema, media_types(shape), required)
}

/// A body of this schema.
fn body_of(schema: &str, media_types: &[&str], required: bool) -> RequestBody {
    let required = if required {
        Required::True
    } else {
        Required::False
    };
    let body = RequestBodyBuilder::new().required(Some(required));
    let content = || Content::new(Some(Ref::from_schema_name(schema)));
    let types = media_types.iter();
    types
        .fold(body, |body, media_type| {
            body.content(*media_type, content())
        })
        .build()
}

fn components() -> BTreeMap<String, RefOr<Schema>> {
    let mut found = Vec::new();
    collect::<NewOrder>(&mut found);
    collect::<OrderPatch>(&mut found);
    collect::<ReasonBody>(&mut found);
    collect::<PaymentBody>(&mut found);
    collect::<LinesBody>(&mut found);
    collect::<FieldError>(&mut found);
    collect::<OrderLockView>(&mut found);
    collect::<HistoryItem>(&mut found);
    collect::<Unsettled>(&mut found);
    collect::<LockItem>(&mut found);
    collect::<Health>(&mut found);
    collect::<Readiness>(&mut found);
    <Order as ToSchema>::schemas(&mut found);
    found.push(("Order".to_owned(), schemas::order()));
    found.push(("Problem".to_owned(), schemas::problem()));
    found.push(("AnyProblem".to_owned(), schemas::any_problem()));
    found.push(("Empty".to_owned(), schemas::empty()));
    found.push(("BreakReason".to_owned(), schemas::break_reason()));
    found.push(("Resolution".to_owned(), schemas::resolution()));
    found.into_iter().collect()
}

fn collect<T: ToSchema + PartialSchema>(found: &mut Vec<(String, RefOr<Schema>)>) {
    T::schemas(found);
    found.push((name::<T>(), T::schema()));
}

fn name<T: ToSchema>() -> String {
    T::name().into_owned()
}

/// `confirm` as `confirmOrder`, and `capture-payment`, which says already what of, as
/// `capturePayment`.
fn camel_case(words: &str) -> String {
    let Some((verb, object)) = words.split_once('-') else {
        return format!("{words}Order");
    };
    let (first, rest) = object.split_at(1);
    format!("{verb}{}{rest}", first.to_uppercase())
}
