//! Where a page ended, as a text that only this store can read.

use std::fmt::Write as _;

use mongodb::bson::Bson;
use mongodb::bson::oid::ObjectId;
use orderlock_core::StoreError;
use orderlock_core::store::Cursor;

/// The longest text that is looked at.
const LENGTH_MAX: usize = 2_048;

/// A cursor of one kind, which its first letter tells, round a text of its own.
pub(crate) fn write(kind: char, place: &str) -> Cursor {
    Cursor(format!("{kind}{place}").into())
}

/// The text in a cursor of that kind.
pub(crate) fn read(kind: char, cursor: Option<&Cursor>) -> Result<Option<&str>, StoreError> {
    let Some(Cursor(text)) = cursor else {
        return Ok(None);
    };
    let place = text
        .strip_prefix(kind)
        .filter(|place| place.len() <= LENGTH_MAX);
    place.map(Some).ok_or(StoreError::InvalidCursor)
}

/// A number in a cursor: digits, and nothing else.
pub(crate) fn number(text: &str) -> Result<i64, StoreError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten();
    number.ok_or(StoreError::InvalidCursor)
}

/// An order's `_id` in a cursor.
pub(crate) fn id_to_text(id: &Bson) -> String {
    match id {
        Bson::ObjectId(id) => format!("x{}", id.to_hex()),
        other => {
            let mut text = String::from("s");
            for byte in other.as_str().unwrap_or_default().bytes() {
                // Writing to a string cannot fail.
                let _ = write!(text, "{byte:02x}");
            }
            text
        }
    }
}

pub(crate) fn id_from_text(text: &str) -> Result<Bson, StoreError> {
    let id = match text.split_at_checked(1) {
        Some(("x", hex)) => ObjectId::parse_str(hex).ok().map(Bson::ObjectId),
        Some(("s", hex)) => bytes(hex)
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .map(Bson::String),
        _ => None,
    };
    id.ok_or(StoreError::InvalidCursor)
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.len().is_multiple_of(2) && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let pairs = digits.then(|| hex.as_bytes().chunks(2))?;
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_and_nothing_else_is() {
        let object: Bson = ObjectId::parse_str("0123456789abcdef01234567")
            .unwrap()
            .into();
        for id in [object, "o1".into(), "t \u{e9}".into()] {
            assert_eq!(id_from_text(&id_to_text(&id)).unwrap(), id);
        }
        for odd in ["", "x", "x12", "s1", "szz", "q00", "\u{1f375}", "sff"] {
            assert!(id_from_text(odd).is_err(), "{odd}");
        }
        for odd in ["", "-1", "+1", "1.0", "99999999999999999999"] {
            assert!(number(odd).is_err(), "{odd}");
        }
    }
}
