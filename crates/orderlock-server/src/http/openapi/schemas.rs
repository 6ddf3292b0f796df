//! The schemas that no derive gives: answers, the order in its envelope, problems.

use orderlock_orders::{FieldError, Order};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, KnownFormat, Object, ObjectBuilder, Ref, Schema,
    SchemaFormat, Type,
};
use utoipa::{PartialSchema, ToSchema};

use crate::http::problems::kinds;
use crate::http::read::OrderLockView;

/// `{"status": .., "result": ..}`; a page also has `next`, an operation may say `noop`.
pub(super) fn answer(result: RefOr<Schema>, paged: bool) -> RefOr<Schema> {
    let answer = ObjectBuilder::new()
        .property("status", integer("The status, as in the status line."))
        .required("status")
        .property("result", result)
        .required("result");
    let answer = if paged {
        answer.property(
            "next",
            string("Where the next page begins; missing on the last one."),
        )
    } else {
        let noop = ObjectBuilder::new()
            .schema_type(Type::Boolean)
            .description(Some("Only `true`: the order already was as asked."));
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
        .property("updatedAt", time("When its version last moved."));
    for name in ["id", "version", "createdAt", "updatedAt"] {
        order = order.required(name);
    }
    order
        .property("lock", Ref::from_schema_name(OrderLockView::name()))
        .into()
}

/// A problem document with the members that any kind may have.
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
    let errors = ArrayBuilder::new().items(Ref::from_schema_name(FieldError::name()));
    let applied = string("What of the order has changed.").enum_values(Some(["none", "partial"]));
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

/// A decision about an open mark.
pub(super) fn resolution() -> RefOr<Schema> {
    let decision = string("Whether the operation may run again, or is settled in its key's name.")
        .enum_values(Some(["runAgain", "settle"]));
    let mark = string("The mark's id, as the order's `lock` shows it.");
    let reason = string("Why: it stands in the order's history.")
        .min_length(Some(1))
        .max_length(Some(1_000));
    let outcome = string("How it is settled; only with `settle`.").enum_values(Some([
        "applied",
        "refused",
        "unchanged",
    ]));
    ObjectBuilder::new()
        .property("decision", decision)
        .required("decision")
        .property("mark", mark)
        .required("mark")
        .property("reason", reason)
        .required("reason")
        .property("outcome", outcome)
        // The order without its envelope: what the operation would have made of it.
        .property("order", Order::schema())
        .property("problem", refusal())
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        .into()
}

/// The problem that a key gets whose operation is settled as refused.
fn refusal() -> ObjectBuilder {
    ObjectBuilder::new()
        .description(Some("What the key gets; only with the outcome `refused`."))
        .property("status", integer("From 400 to 599."))
        .required("status")
        .property("type", string("Which kind of problem."))
        .required("type")
        .property("title", string("The same each time."))
        .required("title")
        .property("detail", string("What happened this time."))
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
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
