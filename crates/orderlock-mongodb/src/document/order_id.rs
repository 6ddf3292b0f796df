//! How an order is addressed in the collection: `_id`.

use mongodb::bson::Bson;
use mongodb::bson::oid::ObjectId;
use orderlock_core::{OrderId, Target, Tenant};

/// Which types the `_id`s of a collection have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum IdShape {
    /// An order id of 24 lower-case hexadecimal digits is an `ObjectId`, any other a string.
    #[default]
    ByShape,
    /// Every id is a string.
    Text,
    /// Every id is an `ObjectId`: there is no other order.
    ObjectId,
}

impl IdShape {
    /// The `_id` of an order; none if there can be no such order in the collection.
    ///
    /// Ids of the single tenant are as they are. Others begin with the tenant and a space, which
    /// neither may hold.
    pub(crate) fn id(self, target: &Target) -> Option<Bson> {
        let order = target.order.as_str();
        let single = target.tenant == Tenant::single();
        match (self, object_id(order)) {
            (Self::ByShape | Self::ObjectId, Some(id)) if single => Some(id.into()),
            (Self::ObjectId, _) => None,
            _ if single => Some(order.into()),
            _ => Some(format!("{} {order}", target.tenant).into()),
        }
    }
}

/// The order that an `_id` names; none if no id of Orderlock's can name it.
pub(crate) fn target(id: &Bson) -> Option<Target> {
    let (tenant, order) = match id {
        Bson::ObjectId(id) => (Tenant::single(), OrderId::parse(&id.to_hex()).ok()?),
        Bson::String(text) => match text.split_once(' ') {
            Some((tenant, order)) => (Tenant::parse(tenant).ok()?, OrderId::parse(order).ok()?),
            None => (Tenant::single(), OrderId::parse(text).ok()?),
        },
        _ => return None,
    };
    Some(Target { tenant, order })
}

fn object_id(text: &str) -> Option<ObjectId> {
    let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    ObjectId::parse_str(text).ok().filter(|_| lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(tenant: &str, order: &str) -> Target {
        Target {
            tenant: Tenant::parse(tenant).unwrap(),
            order: OrderId::parse(order).unwrap(),
        }
    }

    #[test]
    fn an_id_is_read_back_as_the_order_that_it_was_made_of() {
        let hex = "0123456789abcdef01234567";
        for (tenant, order) in [
            ("-", "o1"),
            ("-", hex),
            ("t", "o1"),
            ("t", hex),
            ("-", "a:b"),
        ] {
            let whole = address(tenant, order);
            for shape in [IdShape::ByShape, IdShape::Text] {
                let id = shape.id(&whole).unwrap();
                assert_eq!(target(&id), Some(whole.clone()), "{id}");
            }
        }
        let id = IdShape::ByShape.id(&address("-", hex)).unwrap();
        assert!(matches!(id, Bson::ObjectId(_)));
        let id = IdShape::Text.id(&address("-", hex)).unwrap();
        assert!(matches!(id, Bson::String(_)));
        assert_eq!(IdShape::ObjectId.id(&address("-", "o1")), None);
    }

    #[test]
    fn upper_case_digits_are_a_text() {
        let id = IdShape::ByShape.id(&address("-", "0123456789ABCDEF01234567"));
        assert!(matches!(id, Some(Bson::String(_))));
    }

    #[test]
    fn other_ids_name_no_order() {
        for id in [
            Bson::Int32(1),
            Bson::Null,
            "".into(),
            "a b c".into(),
            "\u{e9}".into(),
        ] {
            assert_eq!(target(&id), None, "{id}");
        }
    }
}
