//! The schemas that no derive gives: answers, the order in its envelope, problems.

use orderlock_orders::bounds::REASON_MAX;
use orderlock_orders::openapi::BREAKS_PATTERN;
use orderlock_orders::{FieldError, Order};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, KnownFormat, Object, ObjectBuilder, OneOfBuilder, Ref,
    Schema, SchemaFormat, Type,
};
use utoipa::{PartialSchema, ToSchema};

use crate::http::problems::kinds;
use orderlock::views::OrderLockView;

/// `{"status": .., "result": ..}`; a page also has `next`, an operation may say `noop`.
pub(super) fn answer(result: RefOr<Schema>, paged: bool) -> RefOr<Schema> {
    let answer = ObjectBuilder::new()
        .property("status", integer("The status, as in the status line."))
        .required("status")
        .property("result", result)
        .required("result");
    let answer = if paged {
        let unreadable = ArrayBuilder::new()
            .items(string("An order's id."))
            .description(Some(
                "Orders of this page whose stored data is damaged; left out if there are none.",
            ));
        let next = string("The cursor of the next page; left out on the last page.");
        answer
            .property("next", next)
            .property("unreadable", unreadable)
    } else {
        let noop = ObjectBuilder::new()
            .schema_type(Type::Boolean)
            .description(Some(
                "Always `true`: the order was already in the requested state.",
            ));
        answer.property("noop", noop)
    };
    answer.into()
}

/// The order in its envelope.
pub(super) fn order() -> RefOr<Schema> {
    let document = match Order::schema() {
        RefOr::T(Schema::Object(document)) => document,
        _ => Object::new(),
    };
    let mut order = ObjectBuilder::from(document)
        // Later versions may show more.
        .additional_properties(None::<AdditionalProperties<Schema>>)
        .property("id", string("The order's id."))
        .property(
            "version",
            integer("How often the order has changed, from 1."),
        )
        .property("createdAt", time("When the order was created."))
        .property("updatedAt", time("When the order last changed."));
    for name in ["id", "version", "createdAt", "updatedAt"] {
        order = order.required(name);
    }
    order
        .property("lock", Ref::from_schema_name(OrderLockView::name()))
        .into()
}

/// A problem document of one of the known kinds.
pub(super) fn problem() -> RefOr<Schema> {
    let types = kinds()
        .into_iter()
        .map(|kind| format!("/problems/{}", kind.kind));
    let kind = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(
            "Which kind of problem; the path is a page that explains it.",
        ))
        .enum_values(Some(types));
    problem_of(kind)
}

/// A problem document of any kind: operators decide on problems of their own.
pub(super) fn any_problem() -> RefOr<Schema> {
    problem_of(string("Which kind of problem."))
}

/// A problem document with the members that any kind may have.
fn problem_of(kind: ObjectBuilder) -> RefOr<Schema> {
    let errors = ArrayBuilder::new().items(Ref::from_schema_name(FieldError::name()));
    let applied =
        string("Whether this request changed the order.").enum_values(Some(["none", "partial"]));
    let retryable = ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .description(Some(
            "Whether the same request, with the same key, may succeed later.",
        ));
    ObjectBuilder::new()
        .description(Some(
            "A problem document (RFC 9457). A kind may have members of its own.",
        ))
        .property("type", kind)
        .required("type")
        .property("title", string("The same each time."))
        .required("title")
        .property("status", integer("The status, as in the status line."))
        .required("status")
        .property(
            "detail",
            string("What happened this time, and what to do now."),
        )
        .property("retryable", retryable)
        .required("retryable")
        .property("applied", applied)
        .property("errors", errors)
        .property("result", Ref::from_schema_name("Order"))
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
        .into()
}

/// `{}`, for operations that need nothing.
pub(super) fn empty() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        .into()
}

/// Why a lock is broken.
pub(super) fn break_reason() -> RefOr<Schema> {
    ObjectBuilder::new()
        .property("reason", reason())
        .required("reason")
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        .into()
}

fn reason() -> ObjectBuilder {
    said("The reason, for the order's history.", REASON_MAX)
}

/// A decision about an open mark: to let it run again, or one of three ways to settle it.
pub(super) fn resolution() -> RefOr<Schema> {
    // The order without its envelope: what the operation would have made of it.
    let applied = decision("settle", Some("applied"))
        .property("order", Order::schema())
        .required("order");
    let refused = decision("settle", Some("refused"))
        .property("problem", refusal())
        .required("problem");
    OneOfBuilder::new()
        .description(Some("A decision about an open mark."))
        .item(decision("runAgain", None))
        .item(applied)
        .item(refused)
        .item(decision("settle", Some("unchanged")))
        .into()
}

fn decision(word: &str, outcome: Option<&str>) -> ObjectBuilder {
    let decided = string("Whether the operation may run again, or is settled in its key's name.");
    let decision = ObjectBuilder::new()
        .property("decision", decided.enum_values(Some([word])))
        .required("decision")
        .property(
            "mark",
            said("The mark's id, as the order's `lock` shows it.", TEXT_MAX),
        )
        .required("mark")
        .property("reason", reason())
        .required("reason")
        .additional_properties(Some(AdditionalProperties::FreeForm(false)));
    match outcome {
        None => decision,
        Some(outcome) => decision
            .property(
                "outcome",
                string("How it is settled.").enum_values(Some([outcome])),
            )
            .required("outcome"),
    }
}

/// The problem that a key gets whose operation is settled as refused.
fn refusal() -> ObjectBuilder {
    let status = integer("The status that the key gets.")
        .minimum(Some(400))
        .maximum(Some(599));
    ObjectBuilder::new()
        .description(Some("The problem that the key gets."))
        .property("status", status)
        .required("status")
        .property("type", said("Which kind of problem.", TEXT_MAX))
        .required("type")
        .property("title", said("The same each time.", TEXT_MAX))
        .required("title")
        .property("detail", said("What happened this time.", TEXT_MAX))
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

/// The most characters of a mark's id, and of a problem's type, title and detail.
const TEXT_MAX: usize = 1_000;

/// A text that says something, line breaks included.
fn said(text: &str, most: usize) -> ObjectBuilder {
    string(text)
        .min_length(Some(1))
        .max_length(Some(most))
        .pattern(Some(BREAKS_PATTERN))
}

fn string(text: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(text))
}

fn integer(text: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .description(Some(text))
}

fn time(text: &str) -> ObjectBuilder {
    string(text).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
}
