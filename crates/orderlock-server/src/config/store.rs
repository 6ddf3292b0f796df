//! Where the orders are kept, as a setting.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::secrets::masked;

/// Where the orders are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// The file of the embedded store.
    Sqlite(PathBuf),
    /// A PostgreSQL database that any number of nodes share.
    Postgres(DatabaseAddress),
    /// A collection of MongoDB that any number of nodes share, with other services beside them.
    Mongodb(DatabaseAddress),
}

/// The address of a database, with what lets one in. Shown without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseAddress(String);

impl DatabaseAddress {
    /// The whole address, for the one who connects.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatabaseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&self.0))
    }
}

impl fmt::Debug for DatabaseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseAddress({self})")
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::Sqlite("orderlock.db".into())
    }
}

impl FromStr for Store {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(DatabaseAddress(text.to_owned())));
        }
        if text.starts_with("mongodb://") || text.starts_with("mongodb+srv://") {
            return Ok(Self::Mongodb(DatabaseAddress(text.to_owned())));
        }
        let Some(("sqlite", path)) = text.split_once(':') else {
            return Err(format!(
                "`{}` is not a store that this program knows; write it like sqlite:orderlock.db, \
                 postgres://user:password@host/database or \
                 mongodb://user:password@host/database?collection=orders",
                masked(text)
            ));
        };
        // SQLite keeps these in memory, where every order would end with the program.
        if path.is_empty() || path == ":memory:" || path.starts_with("file:") {
            return Err(format!(
                "`{text}` does not name a file; write it like sqlite:orderlock.db"
            ));
        }
        let file = PathBuf::from(path);
        if path.ends_with('/') || file.is_dir() {
            return Err(format!(
                "`{path}` is a folder; name a file in it, like sqlite:{}",
                file.join("orderlock.db").display()
            ));
        }
        Ok(Self::Sqlite(file))
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "sqlite:{}", file.display()),
            Self::Postgres(address) | Self::Mongodb(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_names_its_kind() {
        assert_eq!(
            "sqlite:a:b.db".parse(),
            Ok(Store::Sqlite(PathBuf::from("a:b.db")))
        );
        let shared: Store = "postgres://localhost/orders".parse().unwrap();
        assert_eq!(shared.to_string(), "postgres://localhost/orders");
        let beside: Store = "mongodb+srv://h/shop?collection=orders".parse().unwrap();
        assert!(matches!(beside, Store::Mongodb(_)), "{beside}");
        for text in ["orders.db", "mysql://localhost/orders", "postgres:orders"] {
            let error = text.parse::<Store>().unwrap_err();
            assert!(
                error.contains("write it like sqlite:orderlock.db, postgres://"),
                "{error}"
            );
        }
    }

    #[test]
    fn an_embedded_store_is_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let folder = format!("sqlite:{}", folder.path().display());
        for text in ["sqlite:", "sqlite::memory:", "sqlite:file:a?mode=memory"] {
            let error = text.parse::<Store>().unwrap_err();
            assert!(error.contains("does not name a file"), "{error}");
        }
        for text in [&folder, "sqlite:data/"] {
            let error = text.parse::<Store>().unwrap_err();
            assert!(error.contains("is a folder; name a file in it"), "{error}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for address in [
            "postgres://u:secret@h:1/d",
            "mongodb://u:secret@h/d?tls=true",
        ] {
            let store: Store = address.parse().unwrap();
            assert_eq!(store.to_string(), address.replace("secret", "***"));
            assert!(!format!("{store:?}").contains("secret"), "{store:?}");
        }
        let error = "postgre://u:secret@h/d".parse::<Store>().unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }
}
