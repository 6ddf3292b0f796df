//! Values to fields: one small reader for each kind. Each notes what is wrong and gives `None`.

use serde_json::{Map, Value};

use super::error::{Errors, Path};
use crate::bounds::{AMOUNT_MAX, QUANTITY_MAX};
use crate::{Amount, Currency};

/// An object whose members are taken one by one. What is left at the end is unknown.
pub(super) struct Object<'a> {
    members: Map<String, Value>,
    path: Path<'a>,
}

impl<'a> Object<'a> {
    pub(super) fn new(value: Value, path: Path<'a>, errors: &mut Errors) -> Option<Self> {
        match value {
            Value::Object(members) => Some(Self { members, path }),
            _ => {
                errors.add(path, "It must be an object.");
                None
            }
        }
    }

    /// Where a member is or would be.
    pub(super) fn at<'b>(&'b self, name: &'b str) -> Path<'b> {
        Path::Member(&self.path, name)
    }

    /// A member that may be missing.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name)
    }

    /// A member that must be there.
    pub(super) fn require(&mut self, name: &str, errors: &mut Errors) -> Option<Value> {
        let value = self.take(name);
        if value.is_none() {
            errors.add(self.at(name), "It is missing.");
        }
        value
    }

    /// Notes every member that was not taken. `computed` names those that clients see in orders
    /// and cannot set.
    pub(super) fn finish(self, computed: &[&str], errors: &mut Errors) {
        for name in self.members.keys() {
            let detail = if computed.contains(&name.as_str()) {
                "This member is computed and cannot be set. Remove it."
            } else {
                "This member is unknown. Remove it."
            };
            errors.add(Path::Member(&self.path, name), detail);
        }
    }
}

/// A text that is not blank, has at most `max` characters, and no control characters but line
/// breaks where they are allowed.
pub(super) fn text(
    value: &Value,
    max: usize,
    breaks: bool,
    path: Path<'_>,
    errors: &mut Errors,
) -> Option<String> {
    let detail = match value {
        Value::String(text) if text.trim().is_empty() => "It must not be empty.".to_owned(),
        Value::String(text) if text.chars().count() > max => {
            format!("It must have at most {max} characters.")
        }
        Value::String(text)
            if text
                .chars()
                .any(|c| c.is_control() && !(breaks && matches!(c, '\n' | '\r' | '\t'))) =>
        {
            "It must not hold control characters.".to_owned()
        }
        Value::String(text) => return Some(text.clone()),
        _ => "It must be a text.".to_owned(),
    };
    errors.add(path, detail);
    None
}

/// A whole number between two bounds, written without fraction and exponent.
fn whole(value: &Value, least: u64, most: u64, path: Path<'_>, errors: &mut Errors) -> Option<u64> {
    let number = value.as_u64().filter(|n| (least..=most).contains(n));
    if number.is_none() {
        let detail = format!(
            "It must be a whole number from {least} to {most}, written without quotes, fraction \
             and exponent."
        );
        errors.add(path, detail);
    }
    number
}

/// An amount of at least `least` minor units.
pub(super) fn amount(
    value: &Value,
    least: u64,
    path: Path<'_>,
    errors: &mut Errors,
) -> Option<Amount> {
    whole(value, least, AMOUNT_MAX, path, errors).and_then(Amount::new)
}

/// A number of pieces, at least one.
pub(super) fn quantity(value: &Value, path: Path<'_>, errors: &mut Errors) -> Option<u32> {
    let number = whole(value, 1, u64::from(QUANTITY_MAX), path, errors)?;
    u32::try_from(number).ok()
}

/// The number of a line.
pub(super) fn line_number(value: &Value, path: Path<'_>, errors: &mut Errors) -> Option<u32> {
    let number = whole(value, 1, u64::from(u32::MAX), path, errors)?;
    u32::try_from(number).ok()
}

pub(super) fn flag(value: &Value, path: Path<'_>, errors: &mut Errors) -> Option<bool> {
    if value.as_bool().is_none() {
        errors.add(path, "It must be true or false.");
    }
    value.as_bool()
}

pub(super) fn currency(value: &Value, path: Path<'_>, errors: &mut Errors) -> Option<Currency> {
    match value.as_str().unwrap_or_default().parse() {
        Ok(currency) => Some(currency),
        Err(error) => {
            errors.add(path, error.to_string());
            None
        }
    }
}

/// An array of `least` to `most` items. Items beyond are not looked at.
pub(super) fn items(
    value: Value,
    least: usize,
    most: usize,
    path: Path<'_>,
    errors: &mut Errors,
) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) if (least..=most).contains(&items.len()) => Some(items),
        _ => {
            errors.add(
                path,
                format!("It must be an array of {least} to {most} items."),
            );
            None
        }
    }
}
