//! The order as it is stored and shown. The envelope (id, version, times) is not part of it: the
//! answer adds it.

use orderlock_core::{Index, OrderType};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::{Amount, Currency, Payment, Status};

/// An order. It can only be made and changed by the process, and read from a document that does
/// not contradict itself; so its sums, its payment and its lines always agree.
// `remote = "Self"` makes the derived code inherent functions, and leaves the traits to us: reading
// must check what it has read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = OrderDocument))]
pub struct Order {
    pub(crate) status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) customer: Option<String>,
    pub(crate) currency: Currency,
    pub(crate) lines: Vec<Line>,
    /// The sum of quantity times unit price, in minor units.
    pub(crate) total: Amount,
    pub(crate) payment: Payment,
    /// Data of your own, such as `{"channel": "web"}`: at most 16 KiB as compact JSON.
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::openapi::metadata))]
    pub(crate) metadata: Map<String, Value>,
    /// Set while the order is on hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hold: Option<Hold>,
    /// Why the order was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cancel_reason: Option<String>,
    /// The highest line number ever given, when the line that bore it has been removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_line: Option<u32>,
}

/// One line of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = OrderLine))]
#[non_exhaustive]
pub struct Line {
    /// The line's number in its order: given once, never given to another line.
    pub line: u32,
    /// The article's number in your catalogue, such as `TEA-250`.
    pub sku: String,
    /// The article's name for people, such as `Green tea`.
    pub name: String,
    /// How many pieces were ordered.
    pub quantity: u32,
    /// The price of one piece, in minor units.
    pub unit_price: Amount,
    /// How many pieces were delivered.
    pub fulfilled: u32,
    /// How many of the delivered pieces came back.
    pub returned: u32,
    /// How many pieces will never be delivered.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cancelled: u32,
}

/// Why and from where an order was set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Hold {
    /// The state that `resume` brings back.
    pub from: Status,
    /// The caller's reason, at most 1000 characters; none if the caller gave none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_zero(quantity: &u32) -> bool {
    *quantity == 0
}

impl Line {
    /// How many pieces can still be delivered.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.quantity
            .saturating_sub(self.fulfilled)
            .saturating_sub(self.cancelled)
    }

    /// How many pieces can still come back.
    #[must_use]
    pub fn returnable(&self) -> u32 {
        self.fulfilled.saturating_sub(self.returned)
    }
}

impl Order {
    /// The order's state, such as [`Status::Pending`].
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// The customer's id, such as `cus_42`; a draft may have none.
    #[must_use]
    pub fn customer(&self) -> Option<&str> {
        self.customer.as_deref()
    }

    /// The currency of every amount in it.
    #[must_use]
    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// The order's lines, at most 500, in the order in which they were added.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The sum of quantity times unit price.
    #[must_use]
    pub fn total(&self) -> Amount {
        self.total
    }

    /// The recorded payments with their sums, and the payment state that follows from them.
    #[must_use]
    pub fn payment(&self) -> &Payment {
        &self.payment
    }

    /// Data of your own, such as `{"channel": "web"}`: at most 16 KiB as compact JSON.
    #[must_use]
    pub fn metadata(&self) -> &Map<String, Value> {
        &self.metadata
    }

    /// Why and from where it was set aside, while it is.
    #[must_use]
    pub fn hold(&self) -> Option<&Hold> {
        self.hold.as_ref()
    }

    /// Why it was cancelled, if a reason was given.
    #[must_use]
    pub fn cancel_reason(&self) -> Option<&str> {
        self.cancel_reason.as_deref()
    }

    /// How much of the total was never captured, in minor units.
    #[must_use]
    pub fn balance(&self) -> Amount {
        self.payment.balance(self.total)
    }

    /// The highest line number ever given; 0 if there was never a line.
    pub(crate) fn highest_line(&self) -> u32 {
        let present = self.lines.iter().map(|line| line.line).max();
        present.max(self.last_line).unwrap_or(0)
    }

    /// Whether any piece was delivered.
    pub(crate) fn anything_fulfilled(&self) -> bool {
        self.lines.iter().any(|line| line.fulfilled > 0)
    }
}

impl OrderType for Order {
    fn index(&self) -> Index<'_> {
        Index {
            status: Some(self.status.as_str()),
            customer: self.customer(),
        }
    }
}

impl Serialize for Order {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Order {
    /// Reads a stored order. A document that contradicts itself is an error: to compute on it would
    /// make the damage worse.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let order = Self::deserialize(deserializer)?;
        crate::check::check(&order).map_err(serde::de::Error::custom)?;
        Ok(order)
    }
}
