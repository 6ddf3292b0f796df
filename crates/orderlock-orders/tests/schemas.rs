//! The schemas say what the readers take and what orders show.
#![cfg(feature = "openapi")]
#![allow(
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail loudly, and its helpers are parts of it"
)]

mod support;

use orderlock_orders::{
    Amount, BodyShape, Currency, Line, LinesBody, NewLine, NewOrder, Order, OrderPatch, PatchLine,
    PaymentBody, ReasonBody,
};
use serde_json::{Value, json};
use utoipa::PartialSchema;

fn schema<T: PartialSchema>() -> Value {
    let schema = serde_json::to_value(T::schema()).unwrap();
    println!("{schema:#}");
    schema
}

/// The members of a schema, with `?` behind those that may be left out, sorted.
fn members(schema: &Value) -> Vec<String> {
    let properties = schema["properties"].as_object();
    let none = Vec::new();
    let required = schema["required"].as_array().unwrap_or(&none);
    let names = properties
        .into_iter()
        .flat_map(|properties| properties.keys());
    let mut members: Vec<String> = names
        .map(|name| {
            let mark = if required.contains(&json!(name)) {
                ""
            } else {
                "?"
            };
            format!("{name}{mark}")
        })
        .collect();
    members.sort();
    members
}

#[test]
fn the_bodies_have_the_members_that_the_table_names() {
    let shapes = [
        (BodyShape::NewOrder, schema::<NewOrder>()),
        (BodyShape::Patch, schema::<OrderPatch>()),
        (BodyShape::Reason, schema::<ReasonBody>()),
        (BodyShape::Payment, schema::<PaymentBody>()),
        (BodyShape::Lines, schema::<LinesBody>()),
    ];
    for (shape, schema) in shapes {
        let mut named: Vec<&str> = shape.members().to_vec();
        named.sort_unstable();
        assert_eq!(members(&schema), named, "{shape:?}");
        assert_eq!(schema["additionalProperties"], false, "{shape:?}");
    }
    assert_eq!(
        members(&schema::<NewLine>()),
        ["name", "quantity", "sku", "unitPrice"]
    );
    assert_eq!(
        members(&schema::<PatchLine>()),
        ["line?", "name", "quantity", "sku", "unitPrice"]
    );
}

#[test]
fn the_order_shows_the_members_of_its_schema() {
    let required = |schema: Value| -> Vec<String> {
        let members = members(&schema).into_iter();
        members.filter(|member| !member.ends_with('?')).collect()
    };
    let bare = support::make(json!({"currency": "EUR", "lines": support::lines()}));
    let shown = serde_json::to_value(&bare).unwrap();
    let names =
        |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(required(schema::<Order>()), names(&shown));
    let open = serde_json::to_value(orderlock_orders::openapi::order_members()).unwrap();
    assert_eq!(required(open.clone()), names(&shown));
    assert_eq!(open.get("additionalProperties"), None);
    let mut line = names(&shown["lines"][0]);
    line.sort();
    assert_eq!(required(schema::<Line>()), line);
}

#[test]
fn amounts_and_currencies_carry_their_bounds() {
    let amount = schema::<Amount>();
    assert_eq!(amount["type"], "integer");
    assert_eq!(amount["maximum"], json!(9_007_199_254_740_991_u64));
    assert_eq!(schema::<Currency>()["type"], "string");
    assert_eq!(
        schema::<PaymentBody>()["properties"]["amount"]["minimum"],
        1
    );
}
