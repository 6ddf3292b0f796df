//! What an address says: for the driver, and for this store.

use crate::document::order_id::IdShape;
use crate::open::error::OpenError;

/// An address as it was understood.
pub(crate) struct Address {
    /// What the driver gets: the address without this store's own parameters. It may hold a
    /// password, and so is never shown.
    pub(crate) driver: String,
    pub(crate) collection: String,
    pub(crate) ids: IdShape,
}

impl Address {
    /// Reads `mongodb://user:password@host:port/database?collection=orders&...`.
    pub(crate) fn parse(url: &str) -> Result<Self, OpenError> {
        let known = ["mongodb://", "mongodb+srv://"];
        if !known.iter().any(|scheme| url.starts_with(scheme)) {
            return Err(OpenError::address(
                "it does not begin with mongodb:// or mongodb+srv://",
            ));
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut rest = Vec::new();
        let (mut collection, mut ids) = ("orders".to_owned(), IdShape::default());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name.to_ascii_lowercase().as_str() {
                "collection" => collection = value.to_owned(),
                "id" => ids = shape(value)?,
                _ => {
                    weakens(name, value)?;
                    rest.push(pair);
                }
            }
        }
        if !is_name(&collection) {
            return Err(OpenError::address(
                "`collection` is 1 to 100 letters, digits, `_`, `-` and `.`",
            ));
        }
        let driver = if rest.is_empty() {
            base.to_owned()
        } else {
            format!("{base}?{}", rest.join("&"))
        };
        Ok(Self {
            driver,
            collection,
            ids,
        })
    }
}

fn shape(value: &str) -> Result<IdShape, OpenError> {
    match value {
        "auto" => Ok(IdShape::ByShape),
        "string" => Ok(IdShape::Text),
        "objectid" => Ok(IdShape::ObjectId),
        _ => Err(OpenError::address(
            "`id` is one of `auto`, `string` and `objectid`",
        )),
    }
}

/// Refuses what would make answers less than durable, or grants older than the orders.
fn weakens(name: &str, value: &str) -> Result<(), OpenError> {
    let value = value.to_ascii_lowercase();
    let why = match name.to_ascii_lowercase().as_str() {
        "readpreference" if value != "primary" => {
            "`readPreference` must be `primary`: a secondary may be behind"
        }
        "w" if value != "majority" => "`w` must be `majority`: less may be lost in a fail-over",
        "journal" if value != "true" => {
            "`journal` must be `true`: else a power loss undoes answers"
        }
        "readconcernlevel" if value != "majority" => {
            "`readConcernLevel` must be `majority`: less may be rolled back after it was told"
        }
        "retrywrites" if value != "true" => {
            "`retryWrites` must stay on: each write names what it rests on, and may be repeated"
        }
        _ => return Ok(()),
    };
    Err(OpenError::Weaker(why))
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let bounded = (1..=100).contains(&text.len());
    bounded && text.bytes().all(allowed) && !text.starts_with("system.") && !text.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_gets_its_own_parameters_and_no_others() {
        let address = Address::parse(
            "mongodb://u:p@h1,h2:27018/shop?collection=shopOrders&replicaSet=rs0&id=objectid&tls=true",
        );
        let address = address.unwrap();
        assert_eq!(
            address.driver,
            "mongodb://u:p@h1,h2:27018/shop?replicaSet=rs0&tls=true"
        );
        assert_eq!(address.collection, "shopOrders");
        assert_eq!(address.ids, IdShape::ObjectId);
        let plain = Address::parse("mongodb+srv://h/shop").unwrap();
        assert_eq!(plain.driver, "mongodb+srv://h/shop");
        assert_eq!(plain.collection, "orders");
    }

    #[test]
    fn what_is_less_than_durable_is_refused() {
        for weaker in [
            "readPreference=secondaryPreferred",
            "readpreference=nearest",
            "w=1",
            "w=0",
            "journal=false",
            "readConcernLevel=local",
            "retryWrites=false",
        ] {
            let refused = Address::parse(&format!("mongodb://h/shop?{weaker}"));
            assert!(matches!(refused, Err(OpenError::Weaker(_))), "{weaker}");
        }
        Address::parse("mongodb://h/shop?readPreference=primary&w=majority&journal=true").unwrap();
    }

    #[test]
    fn other_addresses_are_refused() {
        for wrong in [
            "",
            "http://h/shop",
            "mongodb://h/shop?id=number",
            "mongodb://h/shop?collection=",
            "mongodb://h/shop?collection=a$b",
            "mongodb://h/shop?collection=system.users",
        ] {
            let refused = Address::parse(wrong);
            assert!(matches!(refused, Err(OpenError::Address(_))), "{wrong}");
        }
    }
}
