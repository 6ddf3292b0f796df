//! Clients that capture a cent at a time, and what they know afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::server::{Server, is_replayed, post};

/// What one client knows in the end.
pub(super) struct Told {
    /// For each acknowledged operation: its order, its key and its answer.
    pub(super) acknowledged: Vec<(usize, String, String)>,
    /// The operation whose answer never came, if the server died.
    pub(super) unanswered: Option<(usize, String)>,
}

/// Clients of one server.
pub(super) struct Clients(Vec<JoinHandle<Told>>);

impl Clients {
    /// Starts so many of them. Each acknowledged operation adds a permit to `done`; they end when
    /// they are stopped, or with their server.
    pub(super) fn start(
        server: &Server,
        names: impl Iterator<Item = String>,
        orders: &Arc<Vec<String>>,
        done: &Arc<Semaphore>,
        stop: &CancellationToken,
    ) -> Self {
        let clients = names.map(|name| {
            let client = Client {
                http: server.client.clone(),
                base: server.url("/v1/orders"),
                orders: Arc::clone(orders),
                name,
            };
            tokio::spawn(client.run(Arc::clone(done), stop.clone()))
        });
        Self(clients.collect())
    }

    pub(super) async fn ended(self) -> Vec<Told> {
        let mut told = Vec::new();
        for client in self.0 {
            told.push(client.await.unwrap());
        }
        told
    }
}

struct Client {
    http: reqwest::Client,
    base: String,
    orders: Arc<Vec<String>>,
    name: String,
}

impl Client {
    async fn run(self, done: Arc<Semaphore>, stop: CancellationToken) -> Told {
        let mut told = Told {
            acknowledged: Vec::new(),
            unanswered: None,
        };
        let last = usize::from(*self.name.as_bytes().last().unwrap());
        for number in 0_usize.. {
            if stop.is_cancelled() {
                break;
            }
            let at = (number * 7 + self.name.len() + last) % self.orders.len();
            let key = format!("{}-{number}", self.name);
            match self.capture(at, &key).await {
                Ok(text) => told.acknowledged.push((at, key, text)),
                Err(_) => {
                    told.unanswered = Some((at, key));
                    break;
                }
            }
            done.add_permits(1);
        }
        told
    }

    async fn capture(&self, at: usize, key: &str) -> Result<String, reqwest::Error> {
        let url = format!("{}/{}/capture-payment", self.base, self.orders[at]);
        let answer = post(&self.http, &url, key, &json!({"amount": 1})).await?;
        let status = answer.status();
        let text = answer.text().await?;
        assert_eq!(status, 200, "{text}");
        Ok(text)
    }
}

/// What is known of all orders: how many operations each has.
#[derive(Default)]
pub(super) struct Books {
    pub(super) applied: BTreeMap<usize, u64>,
}

impl Books {
    /// Counts what was acknowledged.
    pub(super) fn count(&mut self, told: &[Told]) {
        for (at, ..) in told.iter().flat_map(|told| &told.acknowledged) {
            *self.applied.entry(*at).or_default() += 1;
        }
    }

    /// Every order has what was acknowledged, and of the rest at most what is unanswered.
    pub(super) async fn check(&self, server: &Server, orders: &[String], told: &[Told]) {
        for (at, order) in orders.iter().enumerate() {
            let read = server.get(&format!("/v1/orders/{order}")).await["result"].clone();
            let captured = read["payment"]["captured"].as_u64().unwrap();
            let unanswered = told.iter().filter_map(|told| told.unanswered.as_ref());
            let unanswered = unanswered.filter(|(place, _)| *place == at).count() as u64;
            let least = self.applied.get(&at).copied().unwrap_or_default();
            assert!(
                (least..=least + unanswered).contains(&captured),
                "{captured}, not {least}"
            );
            assert_eq!(read["version"], captured + 1);
            assert_eq!(read["lock"], Value::Null, "{order} is locked");
        }
        let locks = server.get("/v1/locks").await;
        assert_eq!(locks["result"], json!([]));
    }

    /// The same keys again: the unanswered take effect once, the acknowledged get the same answer.
    /// Returns how many of the unanswered had settled.
    pub(super) async fn retry(
        &mut self,
        server: &Server,
        orders: &[String],
        told: &[Told],
    ) -> usize {
        let mut had_settled = 0;
        let send = async |at: usize, key: &str| {
            let url = server.url(&format!("/v1/orders/{}/capture-payment", orders[at]));
            let cent = json!({"amount": 1});
            let answer = post(&server.client, &url, key, &cent).await.unwrap();
            assert_eq!(answer.status(), 200);
            (is_replayed(&answer), answer.text().await.unwrap())
        };
        for told in told {
            if let Some((at, key)) = &told.unanswered {
                let (replayed, _) = send(*at, key).await;
                had_settled += usize::from(replayed);
                *self.applied.entry(*at).or_default() += 1;
            }
            if let Some((at, key, text)) = told.acknowledged.last() {
                assert_eq!(send(*at, key).await, (true, text.clone()));
            }
        }
        had_settled
    }
}

/// Orders with room for many captures.
pub(super) async fn orders(server: &Server, number: usize) -> Arc<Vec<String>> {
    let mut orders = Vec::new();
    for number in 0..number {
        orders.push(server.order(&format!("order-{number}"), 1_000_000).await);
    }
    Arc::new(orders)
}
