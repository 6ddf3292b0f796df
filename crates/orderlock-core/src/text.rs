//! The names that clients and operators give, each a type of its own with its own bounds.

/// A text that is not a name of the wanted kind: what it should have been and why it is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not {what}: {reason}")]
pub struct InvalidText {
    /// What was expected, with its article: "an order id".
    pub what: &'static str,
    /// What is wrong with the text, without repeating it.
    pub reason: &'static str,
}

pub(crate) fn check(
    what: &'static str,
    text: &str,
    length_max: usize,
    allowed: fn(char) -> bool,
) -> Result<(), InvalidText> {
    let reason = if text.is_empty() {
        "it is empty"
    } else if text.len() > length_max {
        "it is too long"
    } else if !text.chars().all(allowed) {
        "it holds a character that is not allowed"
    } else {
        return Ok(());
    };
    Err(InvalidText { what, reason })
}

/// Declares a name: a cheaply cloned, validated text.
macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, max $max:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The most bytes that such a text may have.
            pub const LENGTH_MAX: usize = $max;

            /// Takes the text if it fits.
            ///
            /// # Errors
            /// [`InvalidText`](crate::InvalidText) if it is empty, too long, or holds a character
            /// that is not allowed.
            pub fn parse(text: &str) -> Result<Self, $crate::text::InvalidText> {
                $crate::text::check($what, text, $max, $allowed)?;
                Ok(Self(text.into()))
            }

            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::text::InvalidText;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// A name that may be shown: in logs, and as text in JSON, where one that does not fit is refused.
macro_rules! shown {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({:?})", stringify!($name), &*self.0)
            }
        }
    };
}

pub(crate) use {shown, text_type};

#[cfg(test)]
mod tests {
    use crate::{OrderId, Version};

    #[test]
    fn a_name_is_text_in_json_and_is_checked_when_it_is_read() {
        let written = serde_json::to_string(&(OrderId::parse("o-\"1").unwrap(), Version(3)));
        assert_eq!(written.as_deref().unwrap(), r#"["o-\"1",3]"#);
        let (id, version): (OrderId, Version) = serde_json::from_str(&written.unwrap()).unwrap();
        assert_eq!((id.as_str(), version), ("o-\"1", Version(3)));
        for text in [r#""""#, r#""a b""#, "1"] {
            assert!(serde_json::from_str::<OrderId>(text).is_err(), "{text}");
        }
    }
}
