//! A running NestJS service, and what it answers.

use std::path::Path;
use std::process::Stdio;

use reqwest::Client;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::super::server::{lines, post};

pub(super) struct Service {
    child: Child,
    pub(super) address: String,
    pub(super) client: Client,
}

impl Service {
    /// Starts it and waits until it says that it listens. No provider: every payment goes through.
    pub(super) async fn start(uri: &str, provider: &str) -> Self {
        let folder = std::env::var("ORDERLOCK_TEST_NESTJS")
            .expect("`cargo xtask with mongodb -- cargo test` builds the service and names it");
        let mut command = Command::new("node");
        command
            .arg(Path::new(&folder).join("dist/main.js"))
            .env("MONGODB_URI", uri)
            .env("PAYMENTS_URL", provider)
            .env("PORT", "0")
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let (mut output, _) = lines(child.stdout.take().unwrap());
        // Nest may warn of something first, of its own slowness for example.
        let mut said = String::new();
        let address = loop {
            let line = output.recv().await;
            let line = line.unwrap_or_else(|| panic!("it did not start: {said}"));
            if let Some(address) = line.strip_prefix("listening on ") {
                break address.to_owned();
            }
            said.push_str(&line);
        };
        Self {
            child,
            address,
            client: Client::builder().no_proxy().build().unwrap(),
        }
    }

    /// An order whose total is so many cents.
    pub(super) async fn order(&self, total: u64) -> String {
        let body = json!({
            "customer": "cus_42", "currency": "EUR",
            "lines": [{"sku": "TEA-250", "name": "Green tea", "quantity": 1, "unitPrice": total}],
        });
        let url = format!("{}/orders", self.address);
        let created = post(&self.client, &url, "", &body).await.unwrap();
        assert_eq!(created.status(), 201);
        let created: Value = created.json().await.unwrap();
        created["result"]["_id"].as_str().unwrap().to_owned()
    }

    /// The order as it lies in the collection.
    pub(super) async fn read(&self, order: &str) -> Value {
        let url = format!("{}/orders/{order}", self.address);
        let answer = self.client.get(url).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        answer["result"].clone()
    }

    /// One operation: its status and its answer.
    pub(super) async fn run(
        &self,
        order: &str,
        operation: &str,
        key: &str,
        body: &Value,
    ) -> (u16, Value) {
        let sent = send(&self.client, &self.address, order, operation, key, body);
        sent.await.unwrap()
    }

    /// Kills it, as nothing in it could notice.
    pub(super) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// One operation of a service that may die of it.
pub(super) async fn send(
    client: &Client,
    address: &str,
    order: &str,
    operation: &str,
    key: &str,
    body: &Value,
) -> Result<(u16, Value), reqwest::Error> {
    let url = format!("{address}/orders/{order}/{operation}");
    let answer = post(client, &url, key, body).await?;
    let status = answer.status().as_u16();
    Ok((status, answer.json().await?))
}
