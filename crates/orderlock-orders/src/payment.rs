//! What is recorded of an order's payments, and everything that follows from it.
//!
//! The records are the truth. Sums and status are computed from them and from the total each time
//! one of both changes, so they are never stale.

use serde::{Deserialize, Serialize};

use crate::{Amount, PaymentStatus};

/// What a recorded payment was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PaymentKind {
    /// The provider keeps the money ready.
    Authorization,
    /// The provider took the money.
    Capture,
    /// The provider returned captured money.
    Refund,
}

/// One recorded payment. Records are only ever added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct PaymentRecord {
    /// The kind of payment.
    pub kind: PaymentKind,
    /// How much, in minor units.
    pub amount: Amount,
    /// The payment provider's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// How an order is paid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Payment {
    /// Computed from the sums and the order's total.
    pub status: PaymentStatus,
    /// The sum of all authorizations, in minor units.
    pub authorized: Amount,
    /// The sum of all captures, in minor units. Refunds do not lower it.
    pub captured: Amount,
    /// The sum of all refunds, in minor units.
    pub refunded: Amount,
    /// Every recorded payment, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<PaymentRecord>,
}

/// What bounds the next capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CaptureBound {
    Total,
    Authorization,
}

impl Payment {
    /// The sums of the records, for an order of this total; `None` if the records contradict each
    /// other: a sum beyond the largest amount, or more money back than was taken.
    pub(crate) fn of(total: Amount, records: Vec<PaymentRecord>) -> Option<Self> {
        let (status, [authorized, captured, refunded]) = compute(total, &records)?;
        Some(Self {
            status,
            authorized,
            captured,
            refunded,
            records,
        })
    }

    /// Whether status and sums agree with the records.
    pub(crate) fn agrees(&self, total: Amount) -> bool {
        let sums = [self.authorized, self.captured, self.refunded];
        compute(total, &self.records) == Some((self.status, sums))
    }

    /// What was captured before anything was authorized: direct payments, which no authorization
    /// covers and which use none up.
    fn direct(&self) -> Amount {
        let before = self
            .records
            .iter()
            .take_while(|record| record.kind != PaymentKind::Authorization);
        let captures = before.filter(|record| record.kind == PaymentKind::Capture);
        // The sum of all captures fits, so the sum of some of them does.
        Amount::sum(captures.map(|record| record.amount)).unwrap_or(Amount::MAX)
    }

    /// What the shop holds of the customer's money.
    #[must_use]
    pub fn paid(&self) -> Amount {
        self.captured.less(self.refunded)
    }

    /// How much more of the total may be authorized: what neither a direct payment nor an earlier
    /// authorization covers.
    #[must_use]
    pub fn authorizable(&self, total: Amount) -> Amount {
        total.less(self.direct()).less(self.authorized)
    }

    /// How much more may be captured, and why no more. Without any authorization a capture is a
    /// direct payment, up to the total; with one it may not exceed it.
    pub(crate) fn capturable(&self, total: Amount) -> (Amount, CaptureBound) {
        let to_total = total.less(self.captured);
        if self.authorized.is_zero() {
            return (to_total, CaptureBound::Total);
        }
        let used = self.captured.less(self.direct());
        let to_authorization = self.authorized.less(used);
        if to_authorization < to_total {
            (to_authorization, CaptureBound::Authorization)
        } else {
            (to_total, CaptureBound::Total)
        }
    }

    /// How much of the total is neither authorized nor paid. Money that went back counts as unpaid
    /// again.
    #[must_use]
    pub fn unsecured(&self, total: Amount) -> Amount {
        let secured = self.direct().plus(self.authorized).unwrap_or(Amount::MAX);
        total.less(secured.less(self.refunded))
    }

    /// How much of the total was never captured. A refund does not bring it back: the customer
    /// does not owe again what the shop gave up.
    #[must_use]
    pub fn balance(&self, total: Amount) -> Amount {
        total.less(self.captured)
    }
}

/// The status, and what was authorized, captured and refunded.
fn compute(total: Amount, records: &[PaymentRecord]) -> Option<(PaymentStatus, [Amount; 3])> {
    let sum = |kind| {
        let of_kind = records.iter().filter(|record| record.kind == kind);
        Amount::sum(of_kind.map(|record| record.amount))
    };
    let authorized = sum(PaymentKind::Authorization)?;
    let captured = sum(PaymentKind::Capture)?;
    let refunded = sum(PaymentKind::Refund)?;
    let status = if refunded > captured {
        return None;
    } else if !refunded.is_zero() && refunded == captured {
        PaymentStatus::Refunded
    } else if !refunded.is_zero() {
        PaymentStatus::PartiallyRefunded
    } else if !captured.is_zero() && captured >= total {
        PaymentStatus::Paid
    } else if !captured.is_zero() {
        PaymentStatus::PartiallyPaid
    } else if !authorized.is_zero() {
        PaymentStatus::Authorized
    } else {
        PaymentStatus::None
    };
    Some((status, [authorized, captured, refunded]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use PaymentKind::{Authorization, Capture, Refund};

    fn amount(units: u64) -> Amount {
        Amount::new(units).unwrap()
    }

    fn payment(records: &[(PaymentKind, u64)]) -> Payment {
        let record = |&(kind, units): &(PaymentKind, u64)| PaymentRecord {
            kind,
            amount: amount(units),
            reference: None,
        };
        Payment::of(amount(100), records.iter().map(record).collect()).unwrap()
    }

    #[test]
    fn the_status_follows_from_the_records() {
        let cases: &[(&[(PaymentKind, u64)], PaymentStatus)] = &[
            (&[], PaymentStatus::None),
            (&[(Authorization, 40)], PaymentStatus::Authorized),
            (&[(Capture, 99)], PaymentStatus::PartiallyPaid),
            (&[(Capture, 60), (Capture, 40)], PaymentStatus::Paid),
            (
                &[(Capture, 100), (Refund, 1)],
                PaymentStatus::PartiallyRefunded,
            ),
            (
                &[(Capture, 10), (Refund, 4), (Refund, 6)],
                PaymentStatus::Refunded,
            ),
        ];
        for (records, status) in cases {
            assert_eq!(payment(records).status, *status, "{records:?}");
        }
    }

    #[test]
    fn a_direct_payment_uses_no_authorization_up() {
        let paid = payment(&[(Capture, 30)]);
        assert_eq!(
            paid.capturable(amount(100)),
            (amount(70), CaptureBound::Total)
        );
        assert_eq!(paid.authorizable(amount(100)), amount(70));
        let mixed = payment(&[(Capture, 30), (Authorization, 50)]);
        assert_eq!(
            mixed.capturable(amount(100)),
            (amount(50), CaptureBound::Authorization)
        );
        let after = payment(&[(Capture, 30), (Authorization, 50), (Capture, 50)]);
        assert_eq!(
            after.capturable(amount(100)),
            (amount(0), CaptureBound::Authorization)
        );
        assert_eq!(after.authorizable(amount(100)), amount(20));
    }

    #[test]
    fn a_lower_total_bounds_a_capture_before_its_authorization_does() {
        let payment = payment(&[(Authorization, 100)]);
        assert_eq!(
            payment.capturable(amount(60)),
            (amount(60), CaptureBound::Total)
        );
        assert_eq!(payment.authorizable(amount(60)), Amount::ZERO);
    }

    #[test]
    fn a_refund_leaves_no_balance_but_no_security_either() {
        let payment = payment(&[(Capture, 100), (Refund, 30)]);
        assert_eq!(payment.paid(), amount(70));
        assert_eq!(payment.balance(amount(100)), Amount::ZERO);
        assert_eq!(payment.unsecured(amount(100)), amount(30));
    }

    #[test]
    fn records_that_contradict_themselves_come_to_nothing() {
        let record = |kind, amount| PaymentRecord {
            kind,
            amount,
            reference: None,
        };
        let more_back = vec![record(Capture, amount(1)), record(Refund, amount(2))];
        assert_eq!(Payment::of(amount(100), more_back), None);
        let too_much = vec![record(Capture, Amount::MAX), record(Capture, Amount::MAX)];
        assert_eq!(Payment::of(amount(100), too_much), None);
    }
}
