//! A session as it stands in the database: a document, which ends by its removal.

use std::time::Duration;

use mongodb::bson::{Bson, Document as Fields};
use orderlock_core::{Fence, SessionId};

use crate::document::fields::{FieldReader, hex, parse_u128};
use crate::error::Failure;

/// A session's document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionRow {
    pub(crate) session: SessionId,
    pub(crate) renewals: i64,
    pub(crate) length: Duration,
}

impl SessionRow {
    pub(crate) fn read(fields: &Fields) -> Result<Self, Failure> {
        let reader = FieldReader::new("a session", fields);
        Ok(Self {
            session: reader.session("_id")?,
            renewals: reader.number("renewals")?,
            length: Duration::from_micros(reader.count("length")?),
        })
    }
}

/// The grants of a session that were broken, as its document says.
pub(crate) fn broken(fields: &Fields) -> Vec<Fence> {
    let broken = fields.get("broken").and_then(Bson::as_document);
    let names = broken.into_iter().flat_map(Fields::keys);
    names
        .filter_map(|name| parse_u128(name).map(Fence))
        .collect()
}

/// Where a session's document says that a grant was broken.
pub(crate) fn path_of_broken(fence: Fence) -> String {
    format!("broken.{}", hex(fence.0))
}
