//! The bodies of the operations on an order.

use std::collections::BTreeSet;

use serde_json::Value;

use super::error::{BodyError, Errors, Path};
use super::field::{self, Object};
use super::json;
use crate::Amount;
use crate::bounds::{LINES_MAX, REASON_MAX, REFERENCE_MAX};

/// The body of `cancel` and `hold`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct ReasonBody {
    /// The reason, for people: at most 1000 characters.
    #[cfg_attr(
        feature = "openapi",
        schema(
            nullable = false,
            min_length = 1,
            max_length = 1000,
            pattern = r"^[^\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F][^\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F]*$"
        )
    )]
    pub reason: Option<String>,
}

/// The body of `authorize-payment`, `capture-payment` and `refund`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct PaymentBody {
    /// How much, in minor units; more than nothing.
    #[cfg_attr(feature = "openapi", schema(value_type = u64, minimum = 1, maximum = 9_007_199_254_740_991_u64))]
    pub amount: Amount,
    /// The payment provider's name for it.
    #[cfg_attr(
        feature = "openapi",
        schema(
            nullable = false,
            min_length = 1,
            max_length = 255,
            pattern = r"^[^\u0000-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F][^\u0000-\u001F\u007F-\u009F]*$"
        )
    )]
    pub reference: Option<String>,
}

/// The body of `fulfill` and `return`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct LinesBody {
    /// How many pieces of which lines; each line at most once.
    #[cfg_attr(feature = "openapi", schema(min_items = 1, max_items = 500))]
    pub lines: Vec<LineQuantity>,
}

/// Some pieces of one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct LineQuantity {
    /// The number of the line.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 4_294_967_295_u32))]
    pub line: u32,
    /// The number of pieces: 1 to 1,000,000.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 1_000_000))]
    pub quantity: u32,
}

/// The answer to a body that was sent to an order for `create`.
pub(crate) fn not_on_an_order() -> BodyError {
    let mut errors = Errors::default();
    errors.add(Path::Root, "`create` does not run on an existing order.");
    BodyError::Invalid(errors.into())
}

fn read<T>(
    body: &[u8],
    parse: impl FnOnce(&mut Object<'_>, &mut Errors) -> Option<T>,
) -> Result<T, BodyError> {
    let mut errors = Errors::default();
    let value = json::read(body, &mut errors)?;
    let parsed = Object::new(value, Path::Root, &mut errors).and_then(|mut object| {
        let parsed = parse(&mut object, &mut errors);
        object.finish(&[], &mut errors);
        parsed
    });
    errors.finish(parsed)
}

/// Reads the body of an operation that needs nothing: `{}` or none.
pub(crate) fn read_empty(body: &[u8]) -> Result<(), BodyError> {
    read(body, |_, _| Some(()))
}

pub(crate) fn read_reason(body: &[u8]) -> Result<ReasonBody, BodyError> {
    read(body, |object, errors| {
        let reason = optional_text(object, "reason", REASON_MAX, true, errors)?;
        Some(ReasonBody { reason })
    })
}

pub(crate) fn read_payment(body: &[u8]) -> Result<PaymentBody, BodyError> {
    read(body, |object, errors| {
        let amount = object
            .require("amount", errors)
            .and_then(|value| field::amount(&value, 1, object.at("amount"), errors));
        let reference = optional_text(object, "reference", REFERENCE_MAX, false, errors);
        Some(PaymentBody {
            amount: amount?,
            reference: reference?,
        })
    })
}

/// Reads a text that may be missing; `None` if it is there and wrong.
fn optional_text(
    object: &mut Object<'_>,
    name: &str,
    max: usize,
    breaks: bool,
    errors: &mut Errors,
) -> Option<Option<String>> {
    match object.take(name) {
        None => Some(None),
        Some(value) => field::text(&value, max, breaks, object.at(name), errors).map(Some),
    }
}

pub(crate) fn read_lines(body: &[u8]) -> Result<LinesBody, BodyError> {
    read(body, |object, errors| {
        let lines = object.require("lines", errors)?;
        let path = object.at("lines");
        let items = field::items(lines, 1, LINES_MAX, path, errors)?;
        let count = items.len();
        let mut seen = BTreeSet::new();
        let mut lines = Vec::with_capacity(count);
        for (at, item) in items.into_iter().enumerate() {
            let path = Path::Item(&path, at);
            let Some(line) = line_quantity(item, path, errors) else {
                continue;
            };
            if !seen.insert(line.line) {
                errors.add(
                    Path::Member(&path, "line"),
                    "An earlier item has the same line.",
                );
            }
            lines.push(line);
        }
        (lines.len() == count).then_some(LinesBody { lines })
    })
}

fn line_quantity(item: Value, path: Path<'_>, errors: &mut Errors) -> Option<LineQuantity> {
    let mut object = Object::new(item, path, errors)?;
    let line = object
        .require("line", errors)
        .and_then(|value| field::line_number(&value, object.at("line"), errors));
    let quantity = object
        .require("quantity", errors)
        .and_then(|value| field::quantity(&value, object.at("quantity"), errors));
    object.finish(&[], errors);
    Some(LineQuantity {
        line: line?,
        quantity: quantity?,
    })
}
