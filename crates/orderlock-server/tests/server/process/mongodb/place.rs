//! A database of the throw-away server for each test, and who works on it.

use super::service::Service;

pub(super) struct Place {
    /// Its name is that of the database, too.
    pub(super) folder: tempfile::TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        let mut folder = tempfile::Builder::new();
        folder.prefix("orders-").rand_bytes(16);
        Self {
            folder: folder.tempdir().unwrap(),
        }
    }

    /// The address of the database.
    pub(super) fn uri(&self) -> String {
        let name = self.folder.path().file_name().unwrap().to_str().unwrap();
        // Names that differ only in case are one name to MongoDB, and are none that it takes.
        in_database(&server(), &name.to_lowercase())
    }

    /// The NestJS service on the collection, for which every payment goes through.
    pub(super) async fn service(&self) -> Service {
        Service::start(&self.uri(), "").await
    }

    /// The same with a payment provider.
    pub(super) async fn service_that_asks(&self, provider: &str) -> Service {
        Service::start(&self.uri(), provider).await
    }
}

/// The address of a database of a server.
fn in_database(server: &str, name: &str) -> String {
    let (server, options) = server.split_once('?').unwrap_or((server, ""));
    let server = server.trim_end_matches('/');
    let sign = if options.is_empty() { "" } else { "?" };
    format!("{server}/{name}{sign}{options}")
}

fn server() -> String {
    std::env::var("ORDERLOCK_TEST_MONGODB_URI").expect(
        "these tests need a server that speaks MongoDB's protocol: `cargo xtask with mongodb -- \
         cargo test` starts one, or set ORDERLOCK_TEST_MONGODB_URI to a throw-away server",
    )
}

#[test]
fn a_database_stands_before_the_options() {
    assert_eq!(in_database("mongodb://h:1/", "d"), "mongodb://h:1/d");
    assert_eq!(in_database("mongodb://h:1", "d"), "mongodb://h:1/d");
    assert_eq!(in_database("mongodb://h/?a=b", "d"), "mongodb://h/d?a=b");
}
