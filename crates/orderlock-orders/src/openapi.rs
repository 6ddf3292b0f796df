//! The schemas that no derive can give.

use utoipa::openapi::schema::{AdditionalProperties, Object, ObjectBuilder, SchemaType, Type};
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

/// The pattern of a text that is not blank, without control characters. Attributes take it as a
/// literal only; a test compares.
pub const LINE_PATTERN: &str = r"^[^\u0000-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F][^\u0000-\u001F\u007F-\u009F]*$";

/// The same, with line breaks and tabs.
pub const BREAKS_PATTERN: &str = r"^[^\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F][^\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F]*$";

/// What the user's own data may be: any members at all.
#[must_use]
pub fn metadata() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Object))
        .description(Some("The user's own data."))
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
        .build()
}

/// A merge patch of the user's own data.
#[must_use]
pub fn metadata_patch() -> Object {
    ObjectBuilder::from(metadata())
        .schema_type(SchemaType::from_iter([Type::Object, Type::Null]))
        .description(Some("A merge patch of the metadata; `null` empties it."))
        .build()
}

/// The currencies that new orders can be made in. An order stays readable when its currency has gone
/// out of circulation, so that orders have the wider schema of [`Currency`].
#[must_use]
pub fn circulating_currency() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .description(Some("The ISO 4217 code of a currency in circulation."))
        .enum_values(Some(Currency::in_circulation()))
        .examples(["EUR"])
        .build()
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
            .description(Some("An ISO 4217 code."))
            .pattern(Some("^[A-Z]{3}$"))
            .examples(["EUR"])
            .into()
    }
}

impl ToSchema for Currency {}
