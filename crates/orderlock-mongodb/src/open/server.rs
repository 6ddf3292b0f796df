//! What the server says of itself: looked at when the store is opened, and again while it serves.

use mongodb::bson::{Bson, doc};

use crate::database::calls::Calls;
use crate::document::fields::FieldReader;
use crate::error::Failure;

/// The oldest server: MongoDB 4.4, as servers count their protocol.
const WIRE_VERSION_MIN: i64 = 9;

/// A server, as it was last seen.
#[derive(Clone, Debug)]
pub(crate) struct ServerInfo {
    wire_version: i64,
    set: Option<String>,
    pub(crate) sharded: bool,
    /// Its time, in milliseconds.
    pub(crate) time: Option<i64>,
    /// Whether it is MongoDB's own, and not one that speaks its protocol.
    pub(crate) is_mongod: bool,
    /// Whether reads may show what a power loss or a fail-over undoes.
    pub(crate) rolls_back: bool,
}

impl ServerInfo {
    pub(crate) async fn ask(calls: &Calls) -> Result<Self, Failure> {
        let database = calls.meta.client().database(&calls.meta.namespace().db);
        let hello = calls.bounded(database.run_command(doc! {"hello": 1}));
        let hello = hello.await?;
        let reader = FieldReader::new("the server's greeting", &hello);
        let time = match hello.get("localTime") {
            Some(Bson::DateTime(time)) => Some(time.timestamp_millis()),
            _ => None,
        };
        Ok(Self {
            wire_version: reader.number("maxWireVersion")?,
            set: reader.optional_text("setName")?.map(Into::into),
            sharded: reader.optional_text("msg")? == Some("isdbgrid"),
            time,
            is_mongod: reader.has("topologyVersion") || reader.has("msg"),
            rolls_back: false,
        })
    }

    pub(crate) fn is_too_old(&self) -> bool {
        self.wire_version < WIRE_VERSION_MIN
    }

    /// What an answered settle survives, in words.
    pub(crate) fn durability(&self) -> String {
        let mut words = self.writes();
        if self.rolls_back {
            words.push_str("; it cannot keep reads to what survives");
        }
        words
    }

    fn writes(&self) -> String {
        if self.sharded {
            "in the journals of a majority of the shard's members: survives the loss of a minority"
                .into()
        } else if let Some(set) = &self.set {
            format!(
                "in the journals of a majority of the replica set {set}: survives the loss of a \
                 minority of its members"
            )
        } else {
            "in the journal of one server: survives its restart, and not the loss of its disk"
                .into()
        }
    }
}
