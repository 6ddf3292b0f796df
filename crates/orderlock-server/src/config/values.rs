//! The kinds of values that settings have. Each reads and shows itself as people write it.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::logging::{LogFormat, LogLevel};
use super::node::NodeName;
use super::origins::Origins;
use super::store::Store;

/// Reads a value from text, or from the number or flag that it looks like in a file.
macro_rules! as_text {
    ($($name:ident: $expected:literal;)*) => { $(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Reader;
                impl Visitor<'_> for Reader {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<$name, E> {
                        self.visit_str(&flag.to_string())
                    }
                    fn visit_i64<E: de::Error>(self, number: i64) -> Result<$name, E> {
                        self.visit_str(&number.to_string())
                    }
                    fn visit_u64<E: de::Error>(self, number: u64) -> Result<$name, E> {
                        self.visit_str(&number.to_string())
                    }
                    fn visit_f64<E: de::Error>(self, number: f64) -> Result<$name, E> {
                        self.visit_str(&number.to_string())
                    }
                }
                deserializer.deserialize_any(Reader)
            }
        }
    )* };
}

as_text! {
    Listen: "an address and a port, like 127.0.0.1:8080";
    Store: "`sqlite:` and the path of a file, or a `postgres://` or `mongodb://` address";
    Origins: "origins like https://shop.example, with commas between them";
    NodeName: "a name of letters, digits, `.`, `_`, `:` and `-`, or `auto`";
    LogFormat: "`text` or `json`";
    LogLevel: "error, warn, info, debug or trace";
    Count: "a whole number, like 1024";
    Bytes: "a number of bytes, like 1048576";
    Flag: "true or false";
    Span: "a time, like 500ms, 30s, 5m, 24h or 30d";
}

/// The address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

impl Default for Listen {
    fn default() -> Self {
        Self(SocketAddr::from(([127, 0, 0, 1], 8080)))
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numeric = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => text.to_owned(),
        };
        numeric.parse().map(Self).map_err(|_| {
            format!("`{text}` is not an address and a port; write it like 127.0.0.1:8080")
        })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number of digits and nothing else: the standard reader also takes a sign.
fn number(text: &str) -> Option<usize> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// A count, written as a whole number: `1024`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub usize);

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        number(text).map(Self).ok_or_else(|| {
            format!("`{text}` is not a number that fits; write a whole number, like 1024")
        })
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A size in bytes, written as a whole number: `1048576`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub usize);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        number(text).map(Self).ok_or_else(|| {
            format!("`{text}` is not a number that fits; write a number of bytes, like 1048576")
        })
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A switch: `true` or `false`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag(pub bool);

impl FromStr for Flag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let flag = text.parse().map(Self);
        flag.map_err(|_| format!("`{text}` is neither `true` nor `false`"))
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A length of time, such as `500ms`, `30s`, `5m`, `24h` or `30d`, at most a century.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// The units, the longest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("d", 24 * 3600 * 1000),
    ("h", 3600 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

impl Span {
    /// A length of this many seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a time; write it like 500ms, 30s, 5m, 24h or 30d");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let scale = UNITS.iter().find(|(name, _)| *name == unit.trim());
        let (_, scale) = scale.ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let milliseconds = number.checked_mul(*scale).ok_or_else(wrong)?;
        // A century is as good as for ever, and never overflows when it is added to a time.
        if milliseconds > 100 * 366 * 24 * 3600 * 1000 {
            return Err(format!("`{text}` is longer than a century"));
        }
        Ok(Self(Duration::from_millis(milliseconds)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        let fits =
            |scale: &u64| milliseconds > 0 && milliseconds.is_multiple_of(u128::from(*scale));
        match UNITS.iter().find(|(_, scale)| fits(scale)) {
            Some((unit, scale)) => write!(f, "{}{unit}", milliseconds / u128::from(*scale)),
            None => f.write_str("0s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_and_shows_as_people_write_it() {
        for text in ["500ms", "30s", "90s", "5m", "12h", "30d", "0s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("24h".parse::<Span>().unwrap().to_string(), "1d");
        assert_eq!("5 m".parse::<Span>().unwrap(), Span::seconds(300));
        for text in [
            "",
            "30",
            "s",
            "-1s",
            "1.5s",
            "1w",
            "99999999999999999999d",
            "200000d",
        ] {
            println!("{}", text.parse::<Span>().unwrap_err());
        }
    }

    #[test]
    fn an_address_may_be_called_localhost() {
        let listen: Listen = "localhost:0".parse().unwrap();
        assert_eq!(listen.to_string(), "127.0.0.1:0");
        assert!("8080".parse::<Listen>().is_err());
        assert!("[::1]:8080".parse::<Listen>().is_ok());
    }

    #[test]
    fn a_wrong_number_is_told_what_to_write() {
        for text in ["-1", "+1", "1.5", "12k", "", "99999999999999999999999"] {
            let error = text.parse::<Count>().unwrap_err();
            assert!(error.contains("write a whole number, like 1024"), "{error}");
            let error = text.parse::<Bytes>().unwrap_err();
            assert!(
                error.contains("write a number of bytes, like 1048576"),
                "{error}"
            );
        }
    }
}
