//! Clients of the NestJS service that refund a cent at a time, and the answers that they got.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::service::{Service, send};

/// What one client did: the order and the key of each refund.
pub(super) struct Told {
    pub(super) refunded: Vec<(usize, String)>,
    /// How often the order was locked by another client.
    pub(super) refused: usize,
}

pub(super) struct Refunds(Vec<JoinHandle<Told>>);

impl Refunds {
    /// Starts so many clients. Each refund adds a permit to `done`; they end when they are stopped.
    /// Each sends a key until it has taken effect, and never again: the service keeps no answers.
    pub(super) fn start(
        service: &Service,
        clients: usize,
        orders: &Arc<Vec<String>>,
        done: &Arc<Semaphore>,
        stop: &CancellationToken,
    ) -> Self {
        let clients = (0..clients).map(|client| {
            let (http, address) = (service.client.clone(), service.address.clone());
            let (orders, done, stop) = (Arc::clone(orders), Arc::clone(done), stop.clone());
            tokio::spawn(async move {
                let (cent, mut refunded, mut refused) = (json!({"amount": 1}), Vec::new(), 0);
                for number in 0_usize.. {
                    if stop.is_cancelled() {
                        break;
                    }
                    let at = (number * 5 + client) % orders.len();
                    let key = format!("refund-{client}-{number}");
                    loop {
                        let sent = send(&http, &address, &orders[at], "refund", &key, &cent);
                        let (status, answer) = sent.await.unwrap();
                        if status == 200 {
                            assert!(answer["result"].is_object(), "nothing was applied");
                            break;
                        }
                        let locked = answer["message"].as_str().unwrap_or_default();
                        assert!(status == 409 && locked.ends_with("is locked"), "{answer}");
                        refused += 1;
                    }
                    refunded.push((at, key));
                    done.add_permits(1);
                }
                Told { refunded, refused }
            })
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
