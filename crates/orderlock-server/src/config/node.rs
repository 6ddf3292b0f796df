//! A node's name.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use super::store::Store;

/// The word for a name that follows from where the node runs.
const AUTO: &str = "auto";

/// The longest name of a node, in bytes.
const BYTES_MAX: usize = 128;

/// A node's unique name, which survives restarts. A node that starts ends the leases that the last
/// run under its name left, so that two nodes that share a store must not share a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeName(Option<String>);

impl NodeName {
    /// The name of a node that listens there, over this store.
    ///
    /// A file has one owner, and so its node always the same name. Nodes that share a store are
    /// distinguished by their machine and port, which stay the same after a restart.
    #[must_use]
    pub fn resolve(&self, store: &Store, address: SocketAddr) -> String {
        match (&self.0, store) {
            (Some(name), _) => name.clone(),
            (None, Store::Sqlite(_)) => "orderlock".to_owned(),
            (None, Store::Postgres(_) | Store::Mongodb(_)) => {
                let host = gethostname::gethostname();
                format!("{}:{}", host.to_string_lossy(), address.port())
            }
        }
    }
}

impl FromStr for NodeName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == AUTO {
            return Ok(Self(None));
        }
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        if text.is_empty() || text.len() > BYTES_MAX || !text.bytes().all(fits) {
            return Err(format!(
                "`{text}` is not a valid node name; use 1 to {BYTES_MAX} letters, digits, `.`, `_`, \
                 `:` and `-`, or `{AUTO}`"
            ));
        }
        Ok(Self(Some(text.to_owned())))
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or(AUTO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_share_a_store_are_told_apart() {
        let (auto, shared) = (NodeName::default(), "postgres://h/d".parse().unwrap());
        let name = |port| auto.resolve(&shared, SocketAddr::from(([127, 0, 0, 1], port)));
        assert_eq!(name(8080), name(8080));
        assert_ne!(name(8080), name(8081));
        let alone =
            |port| auto.resolve(&Store::default(), SocketAddr::from(([127, 0, 0, 1], port)));
        assert_eq!(alone(8080), alone(8081));
        let given: NodeName = "blue-1".parse().unwrap();
        assert_eq!(
            given.resolve(&shared, SocketAddr::from(([127, 0, 0, 1], 1))),
            "blue-1"
        );
    }

    #[test]
    fn a_name_is_short_and_plain() {
        for text in ["auto", "a", "pod-7.orders:8080"] {
            assert_eq!(text.parse::<NodeName>().unwrap().to_string(), text);
        }
        for text in ["", "two words", "ü", &"a".repeat(BYTES_MAX + 1)] {
            assert!(text.parse::<NodeName>().is_err(), "{text}");
        }
    }
}
