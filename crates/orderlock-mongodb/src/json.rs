//! An order's fields as JSON and back. Types that JSON has not are written as MongoDB's extended
//! JSON (`{"$oid": ...}`, `{"$date": ...}`, `{"$numberDecimal": ...}`); numbers are plain.

use mongodb::bson::{Bson, Document as Fields};
use orderlock_core::{Body, Document, Fingerprint, OperationName};

use crate::error::Failure;

/// The members of a document that are the store's and not the order's.
pub(crate) const RESERVED: [&str; 3] = ["_id", "locked", "orderlock"];

/// The JSON text of an order's own fields.
pub(crate) fn to_document(fields: &Fields) -> Result<Document, Failure> {
    Document::encode(fields).map_err(|error| Failure::unreadable(error.to_string()))
}

/// The fields that a JSON text stands for.
///
/// Refused is what cannot be a document of the collection: anything but an object, a member of the
/// store's own, a name that an update cannot address, an integer of more than 64 bits.
pub(crate) fn to_fields(document: &Document) -> Result<Fields, Failure> {
    let value: Bson = document
        .decode()
        .map_err(|_| Failure::impossible("the order is no JSON that MongoDB can keep"))?;
    let Bson::Document(fields) = value else {
        return Err(Failure::impossible("an order in MongoDB is a JSON object"));
    };
    for name in fields.keys() {
        if RESERVED.contains(&name.as_str()) {
            let why = format!("the order's member `{name}` is the store's own");
            return Err(Failure::impossible(why));
        }
        if !is_addressable(name) {
            let why = format!("MongoDB cannot update a member of the name `{name}`");
            return Err(Failure::impossible(why));
        }
    }
    Ok(fields)
}

/// Whether an update can name a member by a path.
pub(crate) fn is_addressable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['.', '\0']) && !name.starts_with('$')
}

/// Whether two JSON texts say the same, with numbers as they are written; the order of members
/// and white space do not count.
pub(crate) fn says_the_same(one: &Document, other: &Document) -> bool {
    let Ok(name) = OperationName::parse("document") else {
        return false;
    };
    let hash = |text: &Document| Fingerprint::of(&name, None, Body::Json(text.as_bytes()));
    hash(one) == hash(other)
}

/// Whether two values are the same to a reader of JSON: the width of an integer does not count,
/// nor does the order of members.
pub(crate) fn same(one: &Bson, other: &Bson) -> bool {
    match (one, other) {
        (Bson::Document(one), Bson::Document(other)) => {
            let equal = |(name, value): (&String, &Bson)| {
                other.get(name).is_some_and(|other| same(value, other))
            };
            one.len() == other.len() && one.iter().all(equal)
        }
        (Bson::Array(one), Bson::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Bson::Double(one), Bson::Double(other)) => one.to_bits() == other.to_bits(),
        // JSON has no number for them.
        (Bson::Double(number), Bson::Null) | (Bson::Null, Bson::Double(number)) => {
            !number.is_finite()
        }
        _ => match (integer(one), integer(other)) {
            (Some(one), Some(other)) => one == other,
            _ => one == other,
        },
    }
}

fn integer(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        _ => None,
    }
}

/// A hash of an order's own fields, by which a change that somebody else made is found. Neither the
/// order of members nor the width of integers counts.
pub(crate) fn hash(fields: &Fields) -> String {
    let mut hasher = blake3::Hasher::new();
    hash_fields(&mut hasher, fields);
    hasher.finalize().to_hex()[..32].to_owned()
}

fn hash_fields(hasher: &mut blake3::Hasher, fields: &Fields) {
    let mut names: Vec<_> = fields.iter().collect();
    names.sort_by_key(|(name, _)| *name);
    part(hasher, b'{', &names.len().to_le_bytes());
    for (name, value) in names {
        part(hasher, b'n', name.as_bytes());
        hash_value(hasher, value);
    }
}

fn hash_value(hasher: &mut blake3::Hasher, value: &Bson) {
    match value {
        Bson::Document(fields) => hash_fields(hasher, fields),
        Bson::Array(values) => {
            part(hasher, b'[', &values.len().to_le_bytes());
            for value in values {
                hash_value(hasher, value);
            }
        }
        Bson::String(text) => part(hasher, b's', text.as_bytes()),
        // Fifteen digits: what every server that speaks the protocol gives back as it got it.
        Bson::Double(number) => part(hasher, b'd', format!("{number:.14e}").as_bytes()),
        other => match integer(other) {
            Some(number) => part(hasher, b'i', &number.to_le_bytes()),
            None => part(hasher, b'o', format!("{other:?}").as_bytes()),
        },
    }
}

fn part(hasher: &mut blake3::Hasher, kind: u8, bytes: &[u8]) {
    hasher.update(&[kind]);
    hasher.update(&bytes.len().to_le_bytes());
    hasher.update(bytes);
}

#[cfg(test)]
mod tests {
    use mongodb::bson::oid::ObjectId;
    use mongodb::bson::{DateTime, Decimal128, doc};

    use super::*;

    #[test]
    fn types_that_json_has_not_come_back_as_they_were() {
        let fields = doc! {
            "customer": ObjectId::parse_str("0123456789abcdef01234567").unwrap(),
            "at": DateTime::from_millis(1_790_000_000_123),
            "price": "12.50".parse::<Decimal128>().unwrap(),
            "flag": true,
            "lines": [{"sku": "A", "quantity": 2, "big": 1_i64 << 40, "part": 0.5}],
            "nothing": null,
        };
        let text = to_document(&fields).unwrap();
        assert_eq!(to_fields(&text).unwrap(), fields);
    }

    #[test]
    fn what_no_document_can_hold_is_refused_with_a_word() {
        for text in [
            "[]",
            "1",
            r#"{"_id": 1}"#,
            r#"{"locked": null}"#,
            r#"{"orderlock": {}}"#,
            r#"{"a.b": 1}"#,
            r#"{"$set": 1}"#,
            r#"{"": 1}"#,
            r#"{"a": 18446744073709551615}"#,
            r#"{"a": {"$oid": "no"}}"#,
        ] {
            let document = Document::parse(text).unwrap();
            let refused = to_fields(&document);
            assert!(
                matches!(refused, Err(Failure::Impossible(_))),
                "{text}: {refused:?}"
            );
        }
    }

    #[test]
    fn a_hash_tells_values_and_types_and_nothing_else() {
        let fields = doc! {"a": 1, "b": {"c": [1, 2], "d": "x"}};
        let equal = doc! {"b": {"d": "x", "c": [1_i64, 2]}, "a": 1_i64};
        assert_eq!(hash(&fields), hash(&equal));
        assert!(same(&fields.clone().into(), &equal.into()));
        for other in [
            doc! {"a": 1, "b": {"c": [2, 1], "d": "x"}},
            doc! {"a": 1, "b": {"c": [1, 2], "d": "y"}},
            doc! {"a": 1.0, "b": {"c": [1, 2], "d": "x"}},
            doc! {"a": 1, "b": {"c": [1, 2], "d": "x"}, "e": null},
            doc! {"a": 1},
        ] {
            assert_ne!(hash(&fields), hash(&other), "{other}");
            assert!(!same(&fields.clone().into(), &other.into()));
        }
    }

    #[test]
    fn numbers_are_compared_as_they_are_written() {
        let parse = |text: &'static str| Document::parse(text).unwrap();
        assert!(says_the_same(
            &parse(r#"{"a":1,"b":2}"#),
            &parse(r#"{ "b":2, "a":1 }"#)
        ));
        assert!(!says_the_same(
            &parse(r#"{"a":1.10}"#),
            &parse(r#"{"a":1.1}"#)
        ));
    }
}
