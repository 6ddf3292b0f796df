//! Where tests find their server, and a place in it for each.

use orderlock_postgres::{PostgresOptions, PostgresStore};
use tokio_postgres::{Client, NoTls};

/// The address of a throw-away cluster, as a user who may do everything there.
pub(crate) fn server() -> String {
    std::env::var("ORDERLOCK_TEST_POSTGRES_URL").expect(
        "these tests need a PostgreSQL of their own: `cargo xtask test tests` starts one, or set \
         ORDERLOCK_TEST_POSTGRES_URL to a throw-away server",
    )
}

/// A schema of its own, empty.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    schema: String,
}

impl Place {
    pub(crate) async fn new() -> Self {
        let client = connect(&server()).await;
        let row = client
            .query_one(
                "SELECT 'place_' || replace(gen_random_uuid()::text, '-', '')",
                &[],
            )
            .await
            .unwrap();
        let schema: String = row.get(0);
        client
            .batch_execute(&format!("CREATE SCHEMA {schema}"))
            .await
            .unwrap();
        Self { schema }
    }

    /// Its name in the database.
    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    /// The address of this place.
    pub(crate) fn address(&self) -> String {
        let server = server();
        let sign = if server.contains('?') { '&' } else { '?' };
        format!("{server}{sign}options=-csearch_path%3D{}", self.schema())
    }

    pub(crate) async fn open(&self, options: PostgresOptions) -> PostgresStore {
        PostgresStore::open(&self.address(), options).await.unwrap()
    }
}

/// A connection of the test's own.
pub(crate) async fn connect(address: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(address, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
