//! Reading members of the store's own sub-documents: each is there, of its type, or the document is
//! damaged.

use std::time::Duration;

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document as Fields};
use orderlock_core::{Fence, Fingerprint, KeyId, SessionId, Timestamp};

use crate::error::Failure;

/// A sub-document, and how it is called in an error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldReader<'a> {
    pub(crate) fields: &'a Fields,
    pub(crate) what: &'static str,
}

impl<'a> FieldReader<'a> {
    pub(crate) fn new(what: &'static str, fields: &'a Fields) -> Self {
        Self { fields, what }
    }

    fn damaged(self, name: &str) -> Failure {
        Failure::unreadable(format!("`{name}` of {}", self.what))
    }

    /// A member that may be missing or null.
    pub(crate) fn get(self, name: &str) -> Option<&'a Bson> {
        self.fields.get(name).filter(|value| **value != Bson::Null)
    }

    pub(crate) fn has(self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(crate) fn document(self, name: &str) -> Result<Option<&'a Fields>, Failure> {
        self.get(name)
            .map(|value| value.as_document().ok_or_else(|| self.damaged(name)))
            .transpose()
    }

    pub(crate) fn optional_text(self, name: &str) -> Result<Option<&'a str>, Failure> {
        self.get(name)
            .map(|value| value.as_str().ok_or_else(|| self.damaged(name)))
            .transpose()
    }

    pub(crate) fn text(self, name: &str) -> Result<&'a str, Failure> {
        self.optional_text(name)?.ok_or_else(|| self.damaged(name))
    }

    /// A text that is a name of some kind.
    pub(crate) fn parsed<T: std::str::FromStr>(self, name: &str) -> Result<T, Failure> {
        self.text(name)?.parse().map_err(|_| self.damaged(name))
    }

    pub(crate) fn optional_number(self, name: &str) -> Result<Option<i64>, Failure> {
        self.get(name)
            .map(|value| integer(value).ok_or_else(|| self.damaged(name)))
            .transpose()
    }

    pub(crate) fn number(self, name: &str) -> Result<i64, Failure> {
        self.optional_number(name)?
            .ok_or_else(|| self.damaged(name))
    }

    /// A number that counts something.
    pub(crate) fn count<T: TryFrom<i64>>(self, name: &str) -> Result<T, Failure> {
        T::try_from(self.number(name)?).map_err(|_| self.damaged(name))
    }

    pub(crate) fn time(self, name: &str) -> Result<Timestamp, Failure> {
        self.number(name).map(from_micros)
    }

    pub(crate) fn optional_time(self, name: &str) -> Result<Option<Timestamp>, Failure> {
        Ok(self.optional_number(name)?.map(from_micros))
    }

    pub(crate) fn key_id(self, name: &str) -> Result<KeyId, Failure> {
        self.hash(name).map(KeyId)
    }

    pub(crate) fn fingerprint(self, name: &str) -> Result<Fingerprint, Failure> {
        self.hash(name).map(Fingerprint)
    }

    pub(crate) fn fence(self, name: &str) -> Result<Fence, Failure> {
        parse_u128(self.text(name)?)
            .map(Fence)
            .ok_or_else(|| self.damaged(name))
    }

    pub(crate) fn session(self, name: &str) -> Result<SessionId, Failure> {
        parse_u128(self.text(name)?)
            .map(SessionId)
            .ok_or_else(|| self.damaged(name))
    }

    pub(crate) fn bytes(self, name: &str) -> Result<&'a [u8], Failure> {
        match self.get(name) {
            Some(Bson::Binary(binary)) => Ok(&binary.bytes),
            _ => Err(self.damaged(name)),
        }
    }

    fn hash(self, name: &str) -> Result<[u8; 32], Failure> {
        blake3::Hash::from_hex(self.text(name)?)
            .map(Into::into)
            .map_err(|_| self.damaged(name))
    }
}

/// An integer of either width; some servers give whole numbers back as doubles.
pub(crate) fn integer(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        #[allow(
            clippy::cast_possible_truncation,
            reason = "it is whole, and small enough"
        )]
        Bson::Double(number) if number.fract() == 0.0 && number.abs() < 9.0e15 => {
            Some(*number as i64)
        }
        _ => None,
    }
}

/// The fields that a server gave back for some paths. Not every server nests them as they were: one
/// names each by its whole path.
pub(crate) fn nested(fields: Fields) -> Fields {
    const PREFIX: &str = "orderlock.";
    if !fields.keys().any(|name| name.starts_with(PREFIX)) {
        return fields;
    }
    let (mut nested, mut kept) = (Fields::new(), Fields::new());
    for (name, value) in fields {
        match name.strip_prefix(PREFIX) {
            Some(path) => insert_at(&mut kept, path, value),
            None => drop(nested.insert(name, value)),
        }
    }
    nested.insert("orderlock", kept);
    nested
}

fn insert_at(fields: &mut Fields, path: &str, value: Bson) {
    let Some((name, rest)) = path.split_once('.') else {
        fields.insert(path, value);
        return;
    };
    let below = fields
        .entry(name.to_owned())
        .or_insert_with(|| Fields::new().into());
    if let Bson::Document(below) = below {
        insert_at(below, rest, value);
    }
}

/// A fence or a session as it is kept: 32 hexadecimal digits.
pub(crate) fn hex(number: u128) -> String {
    format!("{number:032x}")
}

pub(crate) fn parse_u128(text: &str) -> Option<u128> {
    let fits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// A key's hash or a fingerprint as it is kept: 64 hexadecimal digits.
pub(crate) fn hash_hex(hash: [u8; 32]) -> String {
    blake3::Hash::from(hash).to_hex().to_string()
}

/// A number as it is kept. What is counted here never comes near the bound.
pub(crate) fn long(number: u64) -> Bson {
    Bson::Int64(i64::try_from(number).unwrap_or(i64::MAX))
}

pub(crate) fn micros(time: Timestamp) -> Bson {
    Bson::Int64(time.as_microsecond())
}

/// A time that was kept as microseconds.
pub(crate) fn from_micros(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// The end of a span; the last time that there is, if it ends later than that.
pub(crate) fn after(start: Timestamp, span: Duration) -> Timestamp {
    let span = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    from_micros(start.as_microsecond().saturating_add(span))
}

/// A span as it is kept: in microseconds.
pub(crate) fn span_to_micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// How many bytes fields take. What cannot be written is too large for everything.
pub(crate) fn size(fields: &Fields) -> usize {
    fields
        .to_vec()
        .map_or(u32::MAX as usize, |bytes| bytes.len())
}

pub(crate) fn binary(bytes: &[u8]) -> Bson {
    Bson::Binary(Binary {
        subtype: BinarySubtype::Generic,
        bytes: bytes.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    #[test]
    fn what_is_named_by_its_path_is_put_where_it_stands() {
        let flat = doc! {"_id": 1, "orderlock.lease.fence": "f", "orderlock.lease.session": "s", "orderlock.number": 3};
        let whole =
            doc! {"_id": 1, "orderlock": {"lease": {"fence": "f", "session": "s"}, "number": 3}};
        assert_eq!(nested(flat), whole);
        assert_eq!(nested(whole.clone()), whole);
    }
}
