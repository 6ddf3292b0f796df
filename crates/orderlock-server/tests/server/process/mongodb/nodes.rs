//! Nodes of Orderlock on the collection, and what an operator does there.

use reqwest::Method;
use serde_json::{Value, json};

use super::super::server::Server;
use super::place::Place;

impl Place {
    /// A node of Orderlock on the collection.
    pub(super) async fn node(&self, name: &str, more: &[&str]) -> Server {
        let uri = self.uri();
        let sign = if uri.contains('?') { '&' } else { '?' };
        let store = format!("{uri}{sign}collection=orders");
        let mut arguments = vec!["--store", &store, "--node-name", name];
        if !more.contains(&"--log-level") {
            arguments.extend(["--log-level", "warn"]);
        }
        arguments.extend(more);
        Server::start(self.folder.path(), &arguments).await
    }
}

/// One operation that does not wait.
pub(super) async fn capture(node: &Server, order: &str, key: &str) -> (u16, Value) {
    let url = node.url(&format!("/v1/orders/{order}/capture-payment"));
    let request = node.client.request(Method::POST, url);
    let request = request.header("idempotency-key", key);
    let answer = request.json(&json!({"amount": 1})).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// The one lock that is held, as an operator sees it.
pub(super) async fn only_lock(node: &Server) -> Value {
    let locks = node.get("/v1/locks").await["result"].clone();
    assert_eq!(locks.as_array().unwrap().len(), 1, "{locks}");
    locks[0].clone()
}

pub(super) async fn break_it(node: &Server, lock: &Value, reason: &str) -> u16 {
    let url = node.url(&format!("/v1/locks/{}", lock["id"].as_str().unwrap()));
    let request = node.client.request(Method::DELETE, url);
    let request = request.json(&json!({"reason": reason}));
    request.send().await.unwrap().status().as_u16()
}
