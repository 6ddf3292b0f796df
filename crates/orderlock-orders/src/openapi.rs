//! The schemas that no derive can give.

use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{KnownFormat, RefOr, Schema, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

use crate::bounds::AMOUNT_MAX;
use crate::{Amount, Currency, Order};

/// The schema of an order's members, open for those of an envelope round it: the schema of
/// [`Order`] itself bars every further member, and no envelope could satisfy it.
#[must_use]
pub fn order_members() -> Object {
    match Order::schema() {
        RefOr::T(Schema::Object(mut object)) => {
            object.additional_properties = None;
            object
        }
        // A derived schema of a struct is an object; a test holds it.
        _ => Object::default(),
    }
}

impl PartialSchema for Amount {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Integer))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .description(Some("An amount in minor units of the order's currency."))
            .minimum(Some(0_u64))
            .maximum(Some(AMOUNT_MAX))
            .into()
    }
}

impl ToSchema for Amount {}

impl PartialSchema for Currency {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .description(Some("The ISO 4217 code of a currency in circulation."))
            .pattern(Some("^[A-Z]{3}$"))
            .examples(["EUR"])
            .into()
    }
}

impl ToSchema for Currency {}
