//! JSON text to values, without losing anything on the way.
//!
//! What serde would repair in silence is an error here: a member named twice, a number that a
//! double does not keep, a character that stores cannot hold.

use orderlock_core::json::{Begun, Reader, unquoted};
use serde_json::{Map, Number, Value};

use super::error::{BodyError, Errors, Path};
use crate::bounds::{AMOUNT_MAX, BODY_DEPTH_MAX, BODY_VALUES_MAX};

/// Reads a body, in one pass over it; an empty one counts as `{}`. What is nested too deep or has
/// too many parts is not read to its end.
pub(super) fn read(body: &[u8], errors: &mut Errors) -> Result<Value, BodyError> {
    if body.trim_ascii().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    let reader = Reader::new(body).map_err(|error| BodyError::Malformed(error.to_string()))?;
    let mut reading = Reading {
        reader,
        errors,
        left: BODY_VALUES_MAX,
    };
    let read = reading.value(Path::Root, BODY_DEPTH_MAX);
    Ok(read.ok().flatten().unwrap_or_default())
}

/// It is noted why, and nothing more is read.
struct Stopped;

struct Reading<'a, 'e> {
    reader: Reader<'a>,
    errors: &'e mut Errors,
    /// How many values may still follow.
    left: usize,
}

impl Reading<'_, '_> {
    /// Reads one value; `None` if an error was noted for it.
    fn value(&mut self, path: Path<'_>, depth: usize) -> Result<Option<Value>, Stopped> {
        let Some(left) = self.left.checked_sub(1) else {
            let detail = format!("The body has more than {BODY_VALUES_MAX} values.");
            return self.stop(path, detail);
        };
        self.left = left;
        let begun = self.reader.value();
        let read = match begun {
            Begun::Object | Begun::Array if depth == 0 => {
                return self.stop(path, "It is nested too deep.");
            }
            Begun::Object => return self.object(path, depth).map(Some),
            Begun::Array => return self.array(path, depth).map(Some),
            Begun::Scalar(text) => scalar(text, path),
        };
        Ok(read.map_err(|detail| self.errors.add(path, detail)).ok())
    }

    fn stop<T>(&mut self, path: Path<'_>, detail: impl Into<String>) -> Result<T, Stopped> {
        self.errors.add(path, detail);
        Err(Stopped)
    }

    fn object(&mut self, path: Path<'_>, depth: usize) -> Result<Value, Stopped> {
        let mut object = Map::new();
        while let Some(name) = self.reader.member() {
            let Ok(name) = unquoted(name) else {
                self.errors
                    .add(path, "A member's name is not valid Unicode.");
                self.reader.skip();
                continue;
            };
            let path = Path::Member(&path, &name);
            let fault = if name.contains('\0') {
                Some("A name must not hold the character U+0000.")
            } else if object.contains_key(&*name) {
                Some("It appears more than once.")
            } else {
                None
            };
            if let Some(fault) = fault {
                self.errors.add(path, fault);
                self.reader.skip();
                continue;
            }
            // A member that cannot be read still counts as given.
            let value = self.value(path, depth - 1)?.unwrap_or_default();
            object.insert(name.into_owned(), value);
        }
        Ok(Value::Object(object))
    }

    fn array(&mut self, path: Path<'_>, depth: usize) -> Result<Value, Stopped> {
        let mut array = Vec::new();
        while self.reader.item() {
            let path = Path::Item(&path, array.len());
            array.push(self.value(path, depth - 1)?.unwrap_or_default());
        }
        Ok(Value::Array(array))
    }
}

fn scalar(text: &str, path: Path<'_>) -> Result<Value, String> {
    match text.as_bytes().first() {
        Some(b'"') => string(text).map(Value::String),
        Some(b'-' | b'0'..=b'9') => number(text)
            .map(Value::Number)
            .map_err(|lost| lost.detail(path)),
        _ => serde_json::from_str(text).map_err(|error| error.to_string()),
    }
}

fn string(text: &str) -> Result<String, String> {
    let string = unquoted(text).map_err(|_| "It is not Unicode text.".to_owned())?;
    if string.contains('\0') {
        return Err("It must not hold the character U+0000.".to_owned());
    }
    Ok(string.into_owned())
}

/// The most significant digits of a decimal that a double always keeps.
const DIGITS_MAX: usize = 15;

/// A number that a double does not keep.
enum Lost {
    Whole,
    Decimal,
}

impl Lost {
    fn detail(self, path: Path<'_>) -> String {
        let detail = match self {
            Self::Whole => {
                "A whole number must be within 9007199254740991 (2^53 - 1) of zero: many JSON \
                 clients cannot represent others exactly."
            }
            Self::Decimal if path.is_in_metadata() => {
                "A decimal must have at most 15 significant digits, within the range of a double: \
                 many JSON clients cannot represent others exactly."
            }
            Self::Decimal => "A number must have no fraction and no exponent here.",
        };
        detail.to_owned()
    }
}

fn number(text: &str) -> Result<Number, Lost> {
    if !text.contains(['.', 'e', 'E']) {
        return match text.parse::<i64>() {
            Ok(number) if number.unsigned_abs() <= AMOUNT_MAX => Ok(Number::from(number)),
            _ => Err(Lost::Whole),
        };
    }
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits = mantissa.trim_start_matches(['-', '0', '.']);
    let count = digits.bytes().filter(u8::is_ascii_digit).count();
    let number = text.parse::<f64>().unwrap_or(f64::INFINITY);
    // Below the normal doubles digits are lost; zero itself has none that count.
    let kept = number.is_normal() || (number == 0.0 && count == 0);
    match Number::from_f64(number) {
        Some(number) if kept && count <= DIGITS_MAX => Ok(number),
        _ => Err(Lost::Decimal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(body: &str) -> Vec<String> {
        let mut errors = Errors::default();
        let value = read(body.as_bytes(), &mut errors).unwrap();
        match errors.finish(Some(value)) {
            Ok(_) => Vec::new(),
            Err(BodyError::Invalid(invalid)) => {
                println!("{body:.80}: {:?}", invalid.errors);
                invalid.errors.into_iter().map(|e| e.pointer).collect()
            }
            Err(malformed) => panic!("{malformed}"),
        }
    }

    #[test]
    fn numbers_that_a_double_keeps_are_taken() {
        let body = "[0, -1, 9007199254740991, 0.1, -2.50, 1e3, 1.5E-7, 0.0, 123456789012.345, -0]";
        assert!(pointers(body).is_empty());
    }

    #[test]
    fn numbers_that_change_on_the_way_are_not() {
        let body = "[9007199254740993, 1e400, 1e-400, 0.1234567890123456, 1.5e-310, \
                    12345678901234567890123]";
        assert_eq!(pointers(body), ["/0", "/1", "/2", "/3", "/4", "/5"]);
    }

    #[test]
    fn a_number_is_told_only_what_its_place_takes() {
        let body =
            br#"{"metadata": {"a": [1e999]}, "amount": 1e999, "quantity": 9007199254740993}"#;
        let mut errors = Errors::default();
        let value = read(body, &mut errors).unwrap();
        let Err(BodyError::Invalid(invalid)) = errors.finish(Some(value)) else {
            panic!("it is taken");
        };
        let details: Vec<_> = invalid.errors.iter().map(|e| e.detail.as_str()).collect();
        println!("{details:#?}");
        assert!(details[0].contains("at most 15 significant digits"));
        assert!(details[1].contains("no fraction and no exponent"));
        assert!(details[2].contains("9007199254740991") && !details[2].contains("decimal"));
    }

    #[test]
    fn every_fault_is_found_with_its_place() {
        let body = r#"{"a": 1, "a": 2, "b/c~": ["x\u0000"], "d\u0000": 1, "e": "\ud800"}"#;
        assert_eq!(pointers(body), ["/a", "/b~1c~0/0", "/d\0", "/e"]);
    }

    #[test]
    fn depth_is_bounded_however_deep_the_text_is() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let pointer = pointers(&deep);
        assert_eq!(pointer, ["/0".repeat(BODY_DEPTH_MAX)]);
    }

    #[test]
    fn the_number_of_values_is_bounded_however_many_there_are() {
        let fits = format!("[{}0]", "0,".repeat(BODY_VALUES_MAX - 2));
        assert!(pointers(&fits).is_empty());
        let many = format!("[{}0]", "{},".repeat(300_000));
        assert_eq!(pointers(&many), [format!("/{}", BODY_VALUES_MAX - 1)]);
    }

    #[test]
    fn a_name_that_is_no_text_is_found_and_its_value_passed_over() {
        let body = r#"{"a": {"\ud800": {"b": [1]}, "c": 1e999}, "d": [1e999]}"#;
        assert_eq!(pointers(body), ["/a", "/a/c", "/d/0"]);
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        for body in [&b"{"[..], b"{} {}", b"nul", b"\xff", b"'a'", b"[1,]", b"01"] {
            let read = read(body, &mut Errors::default());
            assert!(matches!(read, Err(BodyError::Malformed(_))), "{body:?}");
        }
    }
}
