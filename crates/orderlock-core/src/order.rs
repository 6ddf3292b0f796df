//! The locked thing: an envelope round a JSON document that the user's type gives and takes.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::Timestamp;
use crate::text::{shown, text_type};

text_type! {
    /// Names an order within its tenant: 1 to 128 visible ASCII characters.
    OrderId, "an order id", max 128, |c| c.is_ascii_graphic()
}
shown!(OrderId);

text_type! {
    /// Whose orders: the outermost part of every scope, 1 to 128 visible ASCII characters.
    Tenant, "a tenant", max 128, |c| c.is_ascii_graphic()
}
shown!(Tenant);

impl Tenant {
    /// The tenant of an installation that has only one.
    #[must_use]
    pub fn single() -> Self {
        Self("-".into())
    }
}

/// An order's full address: ids are unique within a tenant only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Whose order.
    pub tenant: Tenant,
    /// Which order.
    pub order: OrderId,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.order)
    }
}

/// How often an order has changed. It moves by one with each change (applied, applied with error,
/// checkpoint) and with nothing else.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Version(pub u64);

impl Version {
    /// The version of an order that has just been created.
    pub const FIRST: Self = Self(1);

    /// The version after one more change.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An order's content as JSON text. Cloning it copies nothing.
///
/// The text is kept as it was written, numbers included; nothing in the core reads it.
#[derive(Clone)]
pub struct Document {
    text: Bytes,
    /// What the document was encoded from says of itself; none for text from elsewhere.
    index: OwnedIndex,
}

impl Document {
    /// Encodes a value.
    ///
    /// # Errors
    /// What serde says when the value cannot be written as JSON.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_vec(value).map(Self::trusted)
    }

    /// Encodes an order, with what lists can filter it by.
    ///
    /// # Errors
    /// What serde says when the order cannot be written as JSON.
    pub fn encode_indexed<T: OrderType>(order: &T) -> Result<Self, serde_json::Error> {
        Ok(Self {
            index: order.index().to_owned(),
            ..Self::encode(order)?
        })
    }

    /// Takes JSON text, for example from a store.
    ///
    /// # Errors
    /// What serde says when the text is not one JSON value.
    pub fn parse(text: impl Into<Bytes>) -> Result<Self, serde_json::Error> {
        let text = text.into();
        serde_json::from_slice::<&RawValue>(&text)?;
        Ok(Self::trusted(text))
    }

    /// Takes text that was a document when it was written, without looking at it again. A store
    /// uses this on its own rows; a text that is not JSON is found when a handler decodes it.
    #[must_use]
    pub fn trusted(text: impl Into<Bytes>) -> Self {
        Self {
            text: text.into(),
            index: OwnedIndex::default(),
        }
    }

    /// Decodes the text.
    ///
    /// # Errors
    /// What serde says when the text does not fit the type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        // One look at the whole text costs less than one at each string in it.
        match std::str::from_utf8(&self.text) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(&self.text),
        }
    }

    /// The JSON text.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.text
    }

    /// How many bytes the text has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.text.len()
    }
}

impl PartialEq for Document {
    /// Equal text is an equal document; the index is derived from it.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Document {}

impl fmt::Debug for Document {
    /// Shows the size only: a document is the user's data and stays out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} bytes)", self.text.len())
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue =
            serde_json::from_slice(&self.text).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self::trusted(raw.get().as_bytes().to_vec()))
    }
}

/// An order of unknown type: what the tower layer works on.
impl OrderType for Document {
    fn index(&self) -> Index<'_> {
        Index {
            status: self.index.status.as_deref(),
            customer: self.index.customer.as_deref(),
        }
    }
}

/// A type that can be kept as an order. One line for the user: `impl OrderType for Order {}`.
///
/// ```
/// use orderlock_core::{Index, OrderType};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Order {
///     status: String,
///     total: u64,
/// }
///
/// impl OrderType for Order {
///     fn index(&self) -> Index<'_> {
///         Index { status: Some(&self.status), customer: None }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept as an order",
    note = "derive Serialize and Deserialize, then `impl OrderType for {Self} {{}}`"
)]
pub trait OrderType: Serialize + DeserializeOwned + Send + 'static {
    /// What lists of orders can filter by.
    fn index(&self) -> Index<'_> {
        Index::default()
    }
}

/// The parts of an order that lists can filter by, and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Index<'a> {
    /// The order's status, in the user's words.
    pub status: Option<&'a str>,
    /// Whose order it is.
    pub customer: Option<&'a str>,
}

impl Index<'_> {
    /// The same, owned.
    #[must_use]
    pub fn to_owned(self) -> OwnedIndex {
        OwnedIndex {
            status: self.status.map(Into::into),
            customer: self.customer.map(Into::into),
        }
    }
}

/// An [`Index`] on its way to the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnedIndex {
    /// The order's status.
    pub status: Option<String>,
    /// Whose order it is.
    pub customer: Option<String>,
}

/// A time as every store keeps it, in whole microseconds: an answer shows what is read later.
pub(crate) fn whole_microseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

/// When an order was made and last changed, by the store's clock, in whole microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// When the order was created.
    pub created: Timestamp,
    /// When its version last moved.
    pub updated: Timestamp,
}
