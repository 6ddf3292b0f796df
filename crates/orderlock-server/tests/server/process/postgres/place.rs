//! A schema of the throw-away server for each test, and nodes on it.

use std::path::Path;

use tokio_postgres::{Client, NoTls};

use super::super::server::Server;

pub(super) struct Place {
    schema: String,
    folder: tempfile::TempDir,
}

impl Place {
    pub(super) async fn new() -> Self {
        let client = connect().await;
        let name = "SELECT 'nodes_' || replace(gen_random_uuid()::text, '-', '')";
        let schema: String = client.query_one(name, &[]).await.unwrap().get(0);
        let make = format!("CREATE SCHEMA {schema}");
        client.batch_execute(&make).await.unwrap();
        Self {
            schema,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// The address of the store.
    fn store(&self) -> String {
        let server = server();
        let sign = if server.contains('?') { '&' } else { '?' };
        format!("{server}{sign}options=-csearch_path%3D{}", self.schema)
    }

    pub(super) async fn node(&self, name: &str, more: &[&str]) -> Server {
        let store = self.store();
        let mut arguments = vec!["--store", &store, "--node-name", name];
        if !more.contains(&"--log-level") {
            arguments.extend(["--log-level", "warn"]);
        }
        arguments.extend(more);
        Server::start(Path::new(self.folder.path()), &arguments).await
    }

    /// A connection of the test's own, to the same tables.
    pub(super) async fn connect(&self) -> Client {
        let client = connect().await;
        let path = format!("SET search_path = {}", self.schema);
        client.batch_execute(&path).await.unwrap();
        client
    }
}

fn server() -> String {
    std::env::var("ORDERLOCK_TEST_POSTGRES_URL").expect(
        "these tests need a PostgreSQL of their own: `cargo xtask test tests` starts one, or set \
         ORDERLOCK_TEST_POSTGRES_URL to a throw-away server",
    )
}

async fn connect() -> Client {
    let (client, connection) = tokio_postgres::connect(&server(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
