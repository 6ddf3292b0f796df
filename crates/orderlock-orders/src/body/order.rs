//! The bodies of `create` and `edit`.

use serde_json::{Map, Value};

use super::error::{BodyError, Errors, Path};
use super::field::{self, Object};
use super::{json, metadata};
use crate::bounds::{AMOUNT_MAX, CUSTOMER_MAX, LINES_MAX, NAME_MAX, SKU_MAX};
use crate::check::total;
use crate::{Amount, Currency};

/// What a new order is made of: the body of `create`, read and found good.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct NewOrder {
    /// Whose order it is. Needed at the latest when the order is submitted.
    #[cfg_attr(
        feature = "openapi",
        schema(
            nullable = false,
            min_length = 1,
            max_length = 255,
            pattern = r"^[^\u0000-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F][^\u0000-\u001F\u007F-\u009F]*$"
        )
    )]
    pub customer: Option<String>,
    /// The currency of every amount in it.
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::openapi::circulating_currency))]
    pub currency: Currency,
    /// Whether the order starts as pending rather than as a draft.
    #[cfg_attr(feature = "openapi", schema(required = false, default = false))]
    pub submit: bool,
    /// The lines. Needed at the latest when the order is submitted.
    #[cfg_attr(feature = "openapi", schema(required = false, max_items = 500))]
    pub lines: Vec<NewLine>,
    /// Data of your own, such as `{"channel": "web"}`: at most 16 KiB as compact JSON.
    #[cfg_attr(feature = "openapi", schema(required = false, schema_with = crate::openapi::metadata))]
    pub metadata: Map<String, Value>,
}

/// One line of a new order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", serde(deny_unknown_fields))]
#[cfg_attr(feature = "openapi", schema(rename_all = "camelCase"))]
#[non_exhaustive]
pub struct NewLine {
    /// The article's number in your catalogue, such as `TEA-250`: at most 128 characters.
    #[cfg_attr(
        feature = "openapi",
        schema(
            min_length = 1,
            max_length = 128,
            pattern = r"^[^\u0000-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F][^\u0000-\u001F\u007F-\u009F]*$"
        )
    )]
    pub sku: String,
    /// The article's name for people, such as `Green tea`: at most 500 characters.
    #[cfg_attr(
        feature = "openapi",
        schema(
            min_length = 1,
            max_length = 500,
            pattern = r"^[^\u0000-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F][^\u0000-\u001F\u007F-\u009F]*$"
        )
    )]
    pub name: String,
    /// The number of pieces: 1 to 1,000,000.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 1_000_000))]
    pub quantity: u32,
    /// The price of one piece, in minor units.
    pub unit_price: Amount,
}

/// A JSON merge patch (RFC 7396) of the editable part of an order. What is not named stays.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct OrderPatch {
    /// The new customer; `null` takes the customer away.
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = Option<String>, required = false, min_length = 1, max_length = 255, pattern = r"^[^\u0000-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F][^\u0000-\u001F\u007F-\u009F]*$")
    )]
    pub customer: Option<Option<String>>,
    /// All lines that the order shall have: one that is missing is removed. `null` removes all.
    #[cfg_attr(feature = "openapi", schema(max_items = 500))]
    pub lines: Option<Vec<PatchLine>>,
    /// A merge patch of the metadata; `null` empties it.
    #[cfg_attr(feature = "openapi", schema(required = false, schema_with = crate::openapi::metadata_patch))]
    pub metadata: Option<Value>,
}

/// One line of an edited order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", serde(deny_unknown_fields))]
#[cfg_attr(feature = "openapi", schema(rename_all = "camelCase"))]
#[non_exhaustive]
pub struct PatchLine {
    /// The number of the line that this is; a line without a number is a new one and gets the next.
    #[cfg_attr(
        feature = "openapi",
        schema(nullable = false, minimum = 1, maximum = 4_294_967_295_u32)
    )]
    pub line: Option<u32>,
    /// The article's number in your catalogue, such as `TEA-250`: at most 128 characters.
    #[cfg_attr(
        feature = "openapi",
        schema(
            min_length = 1,
            max_length = 128,
            pattern = r"^[^\u0000-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F][^\u0000-\u001F\u007F-\u009F]*$"
        )
    )]
    pub sku: String,
    /// The article's name for people, such as `Green tea`: at most 500 characters.
    #[cfg_attr(
        feature = "openapi",
        schema(
            min_length = 1,
            max_length = 500,
            pattern = r"^[^\u0000-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F][^\u0000-\u001F\u007F-\u009F]*$"
        )
    )]
    pub name: String,
    /// The number of pieces: 1 to 1,000,000.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 1_000_000))]
    pub quantity: u32,
    /// The price of one piece, in minor units.
    pub unit_price: Amount,
}

/// Members of an order that are computed: a body that sets one is refused.
const COMPUTED: &[&str] = &[
    "id",
    "version",
    "status",
    "total",
    "payment",
    "hold",
    "cancelReason",
    "lastLine",
    "lock",
    "createdAt",
    "updatedAt",
];

/// Members of a line that are computed: a body that sets one is refused.
const COMPUTED_LINE: &[&str] = &["fulfilled", "returned", "cancelled"];

impl NewOrder {
    /// Reads the body of `create`.
    ///
    /// # Errors
    /// [`BodyError`] with everything that is wrong with it.
    pub fn read(body: &[u8]) -> Result<Self, BodyError> {
        let mut errors = Errors::default();
        let value = json::read(body, &mut errors)?;
        let new = Self::from_value(value, &mut errors);
        errors.finish(new)
    }

    fn from_value(value: Value, errors: &mut Errors) -> Option<Self> {
        let mut object = Object::new(value, Path::Root, errors)?;
        let customer = object
            .take("customer")
            .map(|value| customer(&value, object.at("customer"), errors));
        let currency = object
            .require("currency", errors)
            .and_then(|value| field::currency(&value, object.at("currency"), errors));
        let submit = object.take("submit").map_or(Some(false), |value| {
            field::flag(&value, object.at("submit"), errors)
        });
        let lines = object.take("lines").map_or(Some(Vec::new()), |value| {
            lines(value, object.at("lines"), errors, new_line)
        });
        let metadata = object.take("metadata").map_or(Some(Map::new()), |value| {
            own_data(value, object.at("metadata"), errors)
        });
        if submit == Some(true) {
            if customer.is_none() {
                errors.add(
                    object.at("customer"),
                    "An order needs a customer to be submitted.",
                );
            }
            if lines.as_ref().is_some_and(Vec::is_empty) {
                errors.add(object.at("lines"), "An order needs a line to be submitted.");
            }
        }
        if let Some(lines) = &lines {
            let prices = lines.iter().map(|line| (line.quantity, line.unit_price));
            check_total(prices, object.at("lines"), errors);
        }
        object.finish(COMPUTED, errors);
        Some(Self {
            customer: customer.flatten(),
            currency: currency?,
            submit: submit?,
            lines: lines?,
            metadata: metadata?,
        })
    }
}

/// Reads the body of `edit`.
pub(crate) fn read_patch(body: &[u8]) -> Result<OrderPatch, BodyError> {
    let mut errors = Errors::default();
    let value = json::read(body, &mut errors)?;
    let patch = patch(value, &mut errors);
    errors.finish(patch)
}

fn patch(value: Value, errors: &mut Errors) -> Option<OrderPatch> {
    let mut object = Object::new(value, Path::Root, errors)?;
    let customer = object.take("customer").map(|value| match value {
        Value::Null => None,
        value => customer(&value, object.at("customer"), errors),
    });
    let lines = object.take("lines").map(|value| match value {
        Value::Null => Some(Vec::new()),
        value => lines(value, object.at("lines"), errors, patch_line),
    });
    let metadata = object.take("metadata").map(|value| match value {
        Value::Null => Some(Value::Null),
        value => own_data(value, object.at("metadata"), errors).map(Value::Object),
    });
    if let Some(Some(lines)) = &lines {
        check_numbers(lines, object.at("lines"), errors);
        let prices = lines.iter().map(|line| (line.quantity, line.unit_price));
        check_total(prices, object.at("lines"), errors);
    }
    if object.take("currency").is_some() {
        errors.add(
            object.at("currency"),
            "The currency of an order cannot be edited.",
        );
    }
    object.finish(COMPUTED, errors);
    Some(OrderPatch {
        customer,
        lines: lines.map_or(Some(None), |lines| lines.map(Some))?,
        metadata: metadata.map_or(Some(None), |metadata| metadata.map(Some))?,
    })
}

fn customer(value: &Value, path: Path<'_>, errors: &mut Errors) -> Option<String> {
    field::text(value, CUSTOMER_MAX, false, path, errors)
}

/// Reads lines; `None` if one of them is wrong, so that nothing is concluded from the others.
fn lines<T>(
    value: Value,
    path: Path<'_>,
    errors: &mut Errors,
    line: fn(&mut Object<'_>, &mut Errors) -> Option<T>,
) -> Option<Vec<T>> {
    let items = field::items(value, 0, LINES_MAX, path, errors)?;
    let mut lines = Vec::with_capacity(items.len());
    let count = items.len();
    for (at, item) in items.into_iter().enumerate() {
        if let Some(mut object) = Object::new(item, Path::Item(&path, at), errors) {
            lines.extend(line(&mut object, errors));
            object.finish(COMPUTED_LINE, errors);
        }
    }
    (lines.len() == count).then_some(lines)
}

fn new_line(object: &mut Object<'_>, errors: &mut Errors) -> Option<NewLine> {
    let sku = object
        .require("sku", errors)
        .and_then(|value| field::text(&value, SKU_MAX, false, object.at("sku"), errors));
    let name = object
        .require("name", errors)
        .and_then(|value| field::text(&value, NAME_MAX, false, object.at("name"), errors));
    let quantity = object
        .require("quantity", errors)
        .and_then(|value| field::quantity(&value, object.at("quantity"), errors));
    let unit_price = object
        .require("unitPrice", errors)
        .and_then(|value| field::amount(&value, 0, object.at("unitPrice"), errors));
    Some(NewLine {
        sku: sku?,
        name: name?,
        quantity: quantity?,
        unit_price: unit_price?,
    })
}

fn patch_line(object: &mut Object<'_>, errors: &mut Errors) -> Option<PatchLine> {
    let line = object
        .take("line")
        .map(|value| field::line_number(&value, object.at("line"), errors));
    let content = new_line(object, errors);
    let NewLine {
        sku,
        name,
        quantity,
        unit_price,
    } = content?;
    Some(PatchLine {
        line: line.map_or(Some(None), |line| line.map(Some))?,
        sku,
        name,
        quantity,
        unit_price,
    })
}

fn check_numbers(lines: &[PatchLine], path: Path<'_>, errors: &mut Errors) {
    let mut seen = std::collections::BTreeSet::new();
    for (at, line) in lines.iter().enumerate() {
        if line.line.is_some_and(|number| !seen.insert(number)) {
            let item = Path::Item(&path, at);
            errors.add(
                Path::Member(&item, "line"),
                "An earlier line has this number.",
            );
        }
    }
}

fn check_total(prices: impl Iterator<Item = (u32, Amount)>, path: Path<'_>, errors: &mut Errors) {
    if total(prices).is_none() {
        errors.add(
            path,
            format!("The total must not exceed {AMOUNT_MAX} minor units."),
        );
    }
}

fn own_data(value: Value, path: Path<'_>, errors: &mut Errors) -> Option<Map<String, Value>> {
    let Value::Object(data) = value else {
        errors.add(path, "It must be an object.");
        return None;
    };
    if let Some(bound) = metadata::excess(&data) {
        errors.add(path, format!("It must {bound}."));
        return None;
    }
    Some(data)
}
