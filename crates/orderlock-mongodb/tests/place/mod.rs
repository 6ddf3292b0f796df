//! Where tests find their server, and a database on it for each.

mod strict;

use orderlock_mongodb::{MongodbOptions, MongodbStore};

/// The address of a throw-away server, without a database.
pub(crate) fn server() -> String {
    let address = std::env::var("ORDERLOCK_TEST_MONGODB_URI").expect(
        "these tests need a MongoDB of their own: `cargo xtask test tests` starts one, or set \
         ORDERLOCK_TEST_MONGODB_URI to a throw-away server",
    );
    address.trim_end_matches('/').to_owned()
}

/// A database of its own, empty.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) name: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let id = mongodb::bson::oid::ObjectId::new();
        Self {
            name: format!("place_{id}"),
        }
    }

    /// The address of this place.
    pub(crate) fn address(&self) -> String {
        self.address_on(&server())
    }

    /// The address of this place by another way to the server.
    pub(crate) fn address_on(&self, server: &str) -> String {
        format!("{server}/{}?collection=orders", self.name)
    }

    /// The store, held to the rules that MongoDB has for commands.
    pub(crate) async fn open(&self, options: MongodbOptions) -> MongodbStore {
        let options = options.with_command_events(strict::check);
        MongodbStore::connect(&self.address(), options)
            .await
            .unwrap()
    }
}
