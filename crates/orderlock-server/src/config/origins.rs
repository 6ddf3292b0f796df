//! Which web pages may change orders.

use std::fmt;
use std::str::FromStr;

/// Origins of web pages, as browsers send them in `Origin`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Vec<String>);

impl Origins {
    /// Whether pages of this origin may.
    #[must_use]
    pub fn allow(&self, origin: &str) -> bool {
        self.0
            .iter()
            .any(|known| known.eq_ignore_ascii_case(origin))
    }
}

impl FromStr for Origins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let origins = text.split(',').map(str::trim);
        let origins = origins.filter(|origin| !origin.is_empty());
        origins
            .map(|origin| {
                if is_origin(origin) {
                    Ok(origin.to_owned())
                } else {
                    Err(format!(
                        "`{origin}` is not the origin of a web page; write it like \
                         https://shop.example, without a path"
                    ))
                }
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// A scheme and a host, perhaps with a port, and nothing else.
fn is_origin(text: &str) -> bool {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    host.is_some_and(|host| !host.is_empty() && host.bytes().all(fits))
}

impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_scheme_host_and_port() {
        let origins: Origins = "https://shop.example, http://localhost:3000"
            .parse()
            .unwrap();
        assert!(origins.allow("https://Shop.example") && origins.allow("http://localhost:3000"));
        assert!(!origins.allow("http://shop.example") && !origins.allow("null"));
        let again: Origins = origins.to_string().parse().unwrap();
        assert_eq!(again, origins);
        assert_eq!("".parse(), Ok(Origins::default()));
        for text in [
            "*",
            "null",
            "shop.example",
            "https://shop.example/",
            "https://",
        ] {
            assert!(text.parse::<Origins>().is_err(), "{text}");
        }
    }
}
