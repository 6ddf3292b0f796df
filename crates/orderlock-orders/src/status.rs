//! The states of an order, and those of its payment.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = OrderStatus))]
pub enum Status {
    /// A draft that can still be edited.
    Draft,
    /// Submitted; waits for confirmation.
    Pending,
    /// Confirmed, nothing delivered yet.
    Confirmed,
    /// Some of it is delivered.
    PartiallyFulfilled,
    /// All of it is delivered.
    Fulfilled,
    /// Delivered and paid; the order is finished.
    Completed,
    /// Set aside; `resume` returns to the state before.
    OnHold,
    /// Called off before anything was delivered.
    Cancelled,
    /// Ended by `expire` without confirmation and payment.
    Expired,
    /// Some of what was delivered came back.
    PartiallyReturned,
    /// All of what was delivered came back.
    Returned,
}

impl Status {
    /// Every state, in the order of the process.
    pub const ALL: [Self; 11] = [
        Self::Draft,
        Self::Pending,
        Self::Confirmed,
        Self::PartiallyFulfilled,
        Self::Fulfilled,
        Self::Completed,
        Self::OnHold,
        Self::Cancelled,
        Self::Expired,
        Self::PartiallyReturned,
        Self::Returned,
    ];

    /// The word for it in JSON and in lists.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
            Self::PartiallyFulfilled => "partiallyFulfilled",
            Self::Fulfilled => "fulfilled",
            Self::Completed => "completed",
            Self::OnHold => "onHold",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::PartiallyReturned => "partiallyReturned",
            Self::Returned => "returned",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far an order is paid: computed from its recorded payments, never set by hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PaymentStatus {
    /// No payment is recorded.
    #[default]
    None,
    /// Money is authorized, none captured.
    Authorized,
    /// Less than the total is captured.
    PartiallyPaid,
    /// The whole total is captured.
    Paid,
    /// Some of the captured money went back.
    PartiallyRefunded,
    /// All of the captured money went back.
    Refunded,
}

impl PaymentStatus {
    /// Every payment state, from `none` to `refunded`.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::Authorized,
        Self::PartiallyPaid,
        Self::Paid,
        Self::PartiallyRefunded,
        Self::Refunded,
    ];

    /// The word for it in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Authorized => "authorized",
            Self::PartiallyPaid => "partiallyPaid",
            Self::Paid => "paid",
            Self::PartiallyRefunded => "partiallyRefunded",
            Self::Refunded => "refunded",
        }
    }
}

impl fmt::Display for PaymentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_json() {
        for status in Status::ALL {
            let text = serde_json::to_string(&status).unwrap();
            assert_eq!(text, format!("\"{status}\""));
            assert_eq!(Status::parse(status.as_str()), Some(status));
        }
        for status in PaymentStatus::ALL {
            let text = serde_json::to_string(&status).unwrap();
            assert_eq!(text, format!("\"{status}\""));
        }
        assert_eq!(Status::parse("Draft"), None);
    }
}
