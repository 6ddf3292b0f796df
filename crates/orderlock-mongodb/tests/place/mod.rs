//! Where tests find their server, and a database on it for each.

mod strict;

use std::sync::atomic::{AtomicUsize, Ordering};

use orderlock_mongodb::{MongodbOptions, MongodbStore};

/// The address of a throw-away server, without a database.
pub(crate) fn server() -> String {
    let address = std::env::var("ORDERLOCK_TEST_MONGODB_URI").expect(
        "these tests need a MongoDB of their own: `cargo xtask test tests` starts one, or set \
         ORDERLOCK_TEST_MONGODB_URI to a throw-away server",
    );
    address.trim_end_matches('/').to_owned()
}

/// The address of a second throw-away server, if there is one.
fn second_server() -> Option<String> {
    let address = std::env::var("ORDERLOCK_TEST_MONGODB_SECOND_URI").ok()?;
    Some(address.trim_end_matches('/').to_owned())
}

/// A database of its own, empty.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) name: String,
    server: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let id = mongodb::bson::oid::ObjectId::new();
        Self {
            name: format!("place_{id}"),
            server: server(),
        }
    }

    /// A place on each of the servers in turn. One that stands for MongoDB may answer one command
    /// after another, so that two of them are done in half of the time.
    #[allow(dead_code, reason = "only the suite has enough checks for it")]
    pub(crate) fn on_either_server() -> Self {
        static TURN: AtomicUsize = AtomicUsize::new(0);
        let first = TURN.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        let second = second_server().filter(|_| !first);
        Self {
            server: second.unwrap_or_else(server),
            ..Self::new()
        }
    }

    /// The address of this place.
    pub(crate) fn address(&self) -> String {
        self.address_on(&self.server)
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
