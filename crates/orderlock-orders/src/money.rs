//! Amounts of money: whole minor units of an ISO 4217 currency, in checked arithmetic.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bounds::AMOUNT_MAX;

/// An amount in minor units, for example cents: 0 to [`AMOUNT_MAX`]. In JSON it is a whole number,
/// written without fraction and exponent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u64);

impl Amount {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// The largest amount: 2^53 - 1 minor units.
    pub const MAX: Self = Self(AMOUNT_MAX);

    /// Takes minor units, unless they are beyond [`AMOUNT_MAX`].
    #[must_use]
    pub fn new(minor_units: u64) -> Option<Self> {
        (minor_units <= AMOUNT_MAX).then_some(Self(minor_units))
    }

    /// The amount in minor units: 1299 for 12.99 EUR.
    #[must_use]
    pub fn minor_units(self) -> u64 {
        self.0
    }

    /// Whether the amount is zero.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, unless it is beyond [`AMOUNT_MAX`].
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).and_then(Self::new)
    }

    /// The product, unless it is beyond [`AMOUNT_MAX`].
    #[must_use]
    pub fn times(self, quantity: u32) -> Option<Self> {
        self.0.checked_mul(u64::from(quantity)).and_then(Self::new)
    }

    /// What is left of it when the other is taken away: nothing if the other is larger.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The sum of amounts, unless it is beyond [`AMOUNT_MAX`].
    #[must_use]
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::plus)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let minor_units = u64::deserialize(deserializer)?;
        Self::new(minor_units).ok_or_else(|| D::Error::custom("an amount beyond 2^53 - 1"))
    }
}

/// A currency by its ISO 4217 code.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency(iso_currency::Currency);

/// A text that is not the code of a currency that orders can be made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "It must be the ISO 4217 code of a currency in circulation, in capital letters, like \"EUR\"."
)]
pub struct InvalidCurrency;

impl Currency {
    /// The code's three letters, such as `EUR`.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// The codes of all currencies that new orders can be made in.
    #[must_use]
    pub fn in_circulation() -> Vec<&'static str> {
        let letters = || 'A'..='Z';
        let codes = letters()
            .flat_map(|one| letters().map(move |two| (one, two)))
            .flat_map(|(one, two)| {
                letters().map(move |three| String::from_iter([one, two, three]))
            });
        let known = codes.filter_map(|code| code.parse::<Self>().ok());
        known.map(Self::code).collect()
    }

    /// How many digits the minor unit takes: 2 for EUR, 0 for JPY, 3 for KWD.
    #[must_use]
    pub fn digits(self) -> u16 {
        self.0.exponent().unwrap_or(0)
    }

    /// An amount of this currency as people read it: `25.98 EUR`.
    #[must_use]
    pub fn show(self, amount: Amount) -> String {
        let units = amount.minor_units();
        let digits = usize::from(self.digits());
        match 10_u64.checked_pow(u32::from(self.digits())) {
            Some(whole) if digits > 0 => {
                let (before, after) = (units / whole, units % whole);
                format!("{before}.{after:0digits$} {}", self.code())
            }
            _ => format!("{units} {}", self.code()),
        }
    }

    /// Whether people pay with it: no fund, no metal, no test code, not replaced by another.
    fn circulates(currency: iso_currency::Currency) -> bool {
        // ISO 4217 lists the bolívar under both codes since 2021, and VES is the one in use.
        currency.flags().is_empty() || currency == iso_currency::Currency::VES
    }
}

impl FromStr for Currency {
    type Err = InvalidCurrency;

    /// Takes the code of a currency in circulation.
    fn from_str(code: &str) -> Result<Self, Self::Err> {
        iso_currency::Currency::from_code(code)
            .filter(|currency| Self::circulates(*currency))
            .map(Self)
            .ok_or(InvalidCurrency)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Currency({})", self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    /// Reads a stored order's currency: any known code, because an order stays readable when its
    /// currency has gone out of circulation.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        iso_currency::Currency::from_code(&code)
            .map(Self)
            .ok_or_else(|| D::Error::custom("not an ISO 4217 code"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_stops_at_the_bound() {
        let one = Amount::new(1).unwrap();
        assert_eq!(Amount::MAX.plus(one), None);
        assert_eq!(Amount::MAX.times(2), None);
        assert_eq!(Amount::MAX.times(u32::MAX), None);
        assert_eq!(Amount::new(AMOUNT_MAX + 1), None);
        assert_eq!(Amount::MAX.plus(Amount::ZERO), Some(Amount::MAX));
        assert_eq!(one.less(Amount::MAX), Amount::ZERO);
        assert_eq!(Amount::sum([Amount::MAX, one]), None);
    }

    #[test]
    fn an_amount_is_a_whole_number_in_json() {
        for text in [
            "12.0",
            "1e3",
            "\"12\"",
            "-1",
            "9007199254740992",
            "null",
            "true",
        ] {
            assert!(serde_json::from_str::<Amount>(text).is_err(), "{text}");
        }
        assert_eq!(
            serde_json::from_str::<Amount>("9007199254740991").unwrap(),
            Amount::MAX
        );
    }

    #[test]
    fn only_currencies_in_circulation_are_taken() {
        for code in ["EUR", "USD", "JPY", "KWD", "XOF", "XCD", "VES"] {
            assert_eq!(code.parse::<Currency>().unwrap().code(), code);
        }
        for code in [
            "eur", "EU", "", "XXX", "XTS", "XAU", "HRK", "CLF", "ABC", "EURO",
        ] {
            assert_eq!(code.parse::<Currency>(), Err(InvalidCurrency), "{code}");
        }
    }

    #[test]
    fn a_stored_currency_stays_readable_when_it_is_replaced() {
        let kuna: Currency = serde_json::from_str("\"HRK\"").unwrap();
        assert_eq!(kuna.code(), "HRK");
        assert!(serde_json::from_str::<Currency>("\"ABC\"").is_err());
    }

    #[test]
    fn amounts_are_shown_with_the_digits_of_their_currency() {
        let show = |code: &str, units| {
            let currency: Currency = code.parse().unwrap();
            currency.show(Amount::new(units).unwrap())
        };
        assert_eq!(show("EUR", 2598), "25.98 EUR");
        assert_eq!(show("EUR", 5), "0.05 EUR");
        assert_eq!(show("JPY", 2598), "2598 JPY");
        assert_eq!(show("KWD", 2598), "2.598 KWD");
    }
}
