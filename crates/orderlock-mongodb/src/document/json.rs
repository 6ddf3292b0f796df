//! An order's fields as JSON and back. Types that JSON has not are written as MongoDB's extended
//! JSON (`{"$oid": ...}`, `{"$date": ...}`, `{"$numberDecimal": ...}`); numbers are plain.
//!
//! A client's own data may look like extended JSON. An object is taken for a value of such a type
//! only if it is exactly what that value is shown as; all else is kept as the object that it is. So
//! what was sent is what is shown.

use std::fmt;

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Bson, Document as Fields};
use orderlock_core::{Body, Document, Fingerprint, OperationName};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::error::Failure;

/// The members of a document that are the store's and not the order's.
pub(crate) const RESERVED: [&str; 3] = ["_id", "locked", "orderlock"];

/// How deep MongoDB lets documents be nested.
const DEPTH_MAX: usize = 100;

/// Below this, every whole number has a double of its own.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// How doubles without a fraction are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubles {
    /// With one, as they are: Orderlock alone has written them, so that they were written so.
    AsTheyAre,
    /// As integers: others have written them, and many drivers know only doubles.
    WholeAsIntegers,
}

/// The JSON text of an order's own fields.
pub(crate) fn to_document(fields: &Fields, doubles: Doubles) -> Result<Document, Failure> {
    let encode = |fields: &Fields| {
        Document::encode(fields).map_err(|error| Failure::unreadable(error.to_string()))
    };
    if doubles == Doubles::AsTheyAre || !fields.values().any(has_whole_doubles) {
        return encode(fields);
    }
    encode(&fields.iter().map(with_integers).collect())
}

fn has_whole_doubles(value: &Bson) -> bool {
    match value {
        Bson::Document(fields) => fields.values().any(has_whole_doubles),
        Bson::Array(values) => values.iter().any(has_whole_doubles),
        Bson::Double(_) => integer(value).is_some(),
        _ => false,
    }
}

fn with_integers((name, value): (&String, &Bson)) -> (String, Bson) {
    fn value_with_integers(value: &Bson) -> Bson {
        match value {
            Bson::Document(fields) => Bson::Document(fields.iter().map(with_integers).collect()),
            Bson::Array(values) => values.iter().map(value_with_integers).collect(),
            Bson::Double(_) => integer(value).map_or_else(|| value.clone(), Bson::Int64),
            other => other.clone(),
        }
    }
    (name.clone(), value_with_integers(value))
}

/// The fields that a JSON text stands for.
///
/// Refused is what cannot be a document of the collection: anything but an object, a member of the
/// store's own, a name that an update cannot address or no document can hold, too deep a nesting.
pub(crate) fn to_fields(document: &Document) -> Result<Fields, Failure> {
    let value: Plain = document
        .decode()
        .map_err(|_| Failure::impossible("the order is no JSON that MongoDB can keep"))?;
    let Bson::Document(fields) = value.0 else {
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
    fits(&fields, 1)?;
    Ok(fields)
}

/// Whether a document can hold such fields at all.
fn fits(fields: &Fields, depth: usize) -> Result<(), Failure> {
    fn value_fits(value: &Bson, depth: usize) -> Result<(), Failure> {
        match value {
            Bson::Document(fields) => fits(fields, depth),
            Bson::Array(_) if depth > DEPTH_MAX => Err(too_deep()),
            Bson::Array(values) => values
                .iter()
                .try_for_each(|value| value_fits(value, depth + 1)),
            _ => Ok(()),
        }
    }
    if depth > DEPTH_MAX {
        return Err(too_deep());
    }
    fields.iter().try_for_each(|(name, value)| {
        if name.contains('\0') {
            return Err(Failure::impossible(
                "a member's name has the character 0, which MongoDB cannot keep",
            ));
        }
        value_fits(value, depth + 1)
    })
}

fn too_deep() -> Failure {
    Failure::impossible("the order is nested more than 100 deep, which MongoDB does not take")
}

/// A value as JSON says it, with the members of objects in their order and the smallest type for
/// each integer. An integer of more than 64 bits becomes a double, as other long numbers do.
struct Plain(Bson);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor).map(Self)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Bson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Bson, E> {
        Ok(Bson::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Bson, E> {
        Ok(Bson::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Bson, E> {
        Ok(smallest(value))
    }

    #[allow(clippy::cast_precision_loss, reason = "no type of MongoDB's holds it")]
    fn visit_u64<E>(self, value: u64) -> Result<Bson, E> {
        match i64::try_from(value) {
            Ok(value) => Ok(smallest(value)),
            Err(_) => Ok(Bson::Double(value as f64)),
        }
    }

    fn visit_f64<E>(self, value: f64) -> Result<Bson, E> {
        Ok(Bson::Double(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Bson, E> {
        Ok(Bson::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Bson, A::Error> {
        let mut values = Vec::new();
        while let Some(Plain(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(Bson::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Bson, A::Error> {
        let mut fields = Fields::new();
        while let Some((name, Plain(value))) = members.next_entry::<String, Plain>()? {
            fields.insert(name, value);
        }
        Ok(typed(&fields).unwrap_or(Bson::Document(fields)))
    }
}

fn smallest(value: i64) -> Bson {
    i32::try_from(value).map_or(Bson::Int64(value), Bson::Int32)
}

/// The value of a type that JSON has not, if the fields are exactly what it is shown as. Only of the
/// types that orders have: nobody else's data are taken for a program or an end of all keys.
fn typed(fields: &Fields) -> Option<Bson> {
    let name = fields.keys().next()?;
    if fields.len() > 1 || !["$oid", "$date", "$numberDecimal", "$binary"].contains(&&**name) {
        return None;
    }
    let shown = serde_json::to_string(fields).ok()?;
    let value: Bson = serde_json::from_str(&shown).ok()?;
    (serde_json::to_string(&value).ok()? == shown).then_some(value)
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

/// Whether two values are the same to a reader of JSON: neither the type of a whole number counts,
/// nor the order of members, nor whether a value of another type is written as extended JSON.
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
        // Bytes of no special kind are shown as numbers.
        (Bson::Binary(binary), Bson::Array(numbers))
        | (Bson::Array(numbers), Bson::Binary(binary)) => {
            let bytes = binary.bytes.iter().map(|byte| Some(i64::from(*byte)));
            binary.subtype == BinarySubtype::Generic && bytes.eq(numbers.iter().map(integer))
        }
        // JSON has no number for them.
        (Bson::Double(number), Bson::Null) | (Bson::Null, Bson::Double(number)) => {
            !number.is_finite()
        }
        (typed, Bson::Document(shown)) | (Bson::Document(shown), typed) => {
            is_shown_as(typed, shown)
        }
        _ => match (integer(one), integer(other)) {
            (Some(one), Some(other)) => one == other,
            _ => match (one, other) {
                (Bson::Double(one), Bson::Double(other)) => one.to_bits() == other.to_bits(),
                _ => one == other,
            },
        },
    }
}

/// Whether a handler that was shown this value, and has not touched it, returns these fields.
fn is_shown_as(value: &Bson, fields: &Fields) -> bool {
    let begins = fields
        .keys()
        .next()
        .is_some_and(|name| name.starts_with('$'));
    let text = |value: serde_json::Result<String>| value.ok();
    begins && text(serde_json::to_string(value)) == text(serde_json::to_string(fields))
}

/// A whole number, of whatever type.
fn integer(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        #[allow(
            clippy::cast_possible_truncation,
            reason = "it is whole, and small enough"
        )]
        Bson::Double(number) if number.fract() == 0.0 && number.abs() < WHOLE_MAX => {
            Some(*number as i64)
        }
        _ => None,
    }
}

/// Whether this is the hash of these fields: as it is made now, or as earlier builds made it.
pub(crate) fn is_hash_of(hash: &str, fields: &Fields) -> bool {
    hash == self::hash(fields)
        || (fields.values().any(has_whole_doubles) && hash == hash_with(fields, plain_integer))
}

/// A hash of an order's own fields, by which a change that somebody else made is found. Neither the
/// order of members nor the type of whole numbers counts.
pub(crate) fn hash(fields: &Fields) -> String {
    hash_with(fields, integer)
}

/// What earlier builds took for a whole number.
fn plain_integer(value: &Bson) -> Option<i64> {
    match value {
        Bson::Double(_) => None,
        other => integer(other),
    }
}

type Integer = fn(&Bson) -> Option<i64>;

fn hash_with(fields: &Fields, integer: Integer) -> String {
    let mut hasher = blake3::Hasher::new();
    hash_fields(&mut hasher, fields, integer);
    hasher.finalize().to_hex()[..32].to_owned()
}

fn hash_fields(hasher: &mut blake3::Hasher, fields: &Fields, integer: Integer) {
    let mut names: Vec<_> = fields.iter().collect();
    names.sort_by_key(|(name, _)| *name);
    part(hasher, b'{', &names.len().to_le_bytes());
    for (name, value) in names {
        part(hasher, b'n', name.as_bytes());
        hash_value(hasher, value, integer);
    }
}

fn hash_value(hasher: &mut blake3::Hasher, value: &Bson, integer: Integer) {
    if let Some(number) = integer(value) {
        return part(hasher, b'i', &number.to_le_bytes());
    }
    match value {
        Bson::Document(fields) => hash_fields(hasher, fields, integer),
        Bson::Array(values) => {
            part(hasher, b'[', &values.len().to_le_bytes());
            for value in values {
                hash_value(hasher, value, integer);
            }
        }
        Bson::String(text) => part(hasher, b's', text.as_bytes()),
        // Fifteen digits: what every server that speaks the protocol gives back as it got it.
        Bson::Double(number) => part(hasher, b'd', format!("{number:.14e}").as_bytes()),
        other => part(hasher, b'o', format!("{other:?}").as_bytes()),
    }
}

fn part(hasher: &mut blake3::Hasher, kind: u8, bytes: &[u8]) {
    hasher.update(&[kind]);
    hasher.update(&bytes.len().to_le_bytes());
    hasher.update(bytes);
}

#[cfg(test)]
mod tests;
