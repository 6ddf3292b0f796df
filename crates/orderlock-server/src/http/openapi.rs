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
use super::history::HistoryItem;
use super::key::Unsettled;
use super::locks::LockItem;
use super::problems::kinds;
use super::read::OrderLockView;
use super::routes::Route;

mod parameters;
mod schemas;

const PROBLEM_JSON: &str = "application/problem+json";
const JSON: &str = "application/json";

/// Which statuses a problem may have on an operation under the lock.
const OPERATION_PROBLEMS: &[u16] = &[
    400, 403, 404, 408, 409, 410, 412, 413, 415, 422, 429, 500, 503, 504,
];
const CREATE_PROBLEMS: &[u16] = &[400, 403, 408, 409, 410, 413, 415, 422, 429, 500, 503];
const RESOLUTION_PROBLEMS: &[u16] = &[400, 403, 404, 408, 409, 412, 413, 415, 422, 429, 500, 503];
const READ_PROBLEMS: &[u16] = &[400, 403, 404, 500, 503];

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
        Route::Read => read("readOrder", "One order, and who holds it.", one("Order")),
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
            "Breaks one grant, with a reason that stands in the order's history.",
            one(&name::<LockItem>()),
        )
        .request_body(Some(request_body(BodyShape::Reason, true))),
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
    let parameters = parameters::of(route);
    described.parameters(Some(parameters)).build()
}

fn of_row(row: &OperationRow) -> OperationBuilder {
    let mut text = row.summary.to_owned();
    if !row.refused_when.is_empty() {
        text.push_str(&format!(" Refused when {}.", row.refused_when));
    }
    let create = row.operation == OrderOperation::Create;
    let (status, statuses) = if create {
        ("201", CREATE_PROBLEMS)
    } else {
        ("200", OPERATION_PROBLEMS)
    };
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
    problems(operation, statuses).request_body(Some(request_body(row.body, required)))
}

fn of_key() -> OperationBuilder {
    let unsettled = success(
        "It waits in line, or runs.",
        Ref::from_schema_name(name::<Unsettled>()).into(),
    );
    read(
        "readKey",
        "What became of a key: its stored answer.",
        one("Order"),
    )
    .response("202", unsettled)
    .response("409", problem(409))
    .response("410", problem(410))
}

fn of_resolution() -> OperationBuilder {
    let summary = "Ends the open mark of an operation whose outcome is unknown.";
    let operation = OperationBuilder::new()
        .operation_id(Some("resolveMark"))
        .summary(Some(summary))
        .response(
            "200",
            success("The order as the decision leaves it.", one("Order")),
        );
    let body = RequestBodyBuilder::new().required(Some(Required::True));
    let schema = Ref::from_schema_name("Resolution");
    let body = body.content(JSON, Content::new(Some(schema)));
    problems(operation, RESOLUTION_PROBLEMS).request_body(Some(body.build()))
}

fn read(id: &str, summary: &str, schema: RefOr<Schema>) -> OperationBuilder {
    let operation = OperationBuilder::new()
        .operation_id(Some(id))
        .summary(Some(summary))
        .response("200", success(summary, schema));
    problems(operation, READ_PROBLEMS)
}

fn problems(operation: OperationBuilder, statuses: &[u16]) -> OperationBuilder {
    statuses.iter().fold(operation, |operation, status| {
        operation.response(status.to_string(), problem(*status))
    })
}

/// The problems of one status, by name.
fn problem(status: u16) -> Response {
    let kinds = kinds().into_iter().filter(|kind| kind.status == status);
    let names: Vec<String> = kinds.map(|kind| format!("`{}`", kind.kind)).collect();
    let schema = Ref::from_schema_name("Problem");
    ResponseBuilder::new()
        .description(format!("One of {}.", names.join(", ")))
        .content(PROBLEM_JSON, Content::new(Some(schema)))
        .build()
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
    let required = if required {
        Required::True
    } else {
        Required::False
    };
    let body = RequestBodyBuilder::new().required(Some(required));
    let content = || Content::new(Some(Ref::from_schema_name(schema.clone())));
    let types = media_types(shape).iter();
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
    found.push(("Empty".to_owned(), schemas::empty()));
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
