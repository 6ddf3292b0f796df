//! Killed under load, again and again: what was acknowledged is there, what was not is there once
//! or not at all, and nothing stays locked.

use std::sync::Arc;

use tempfile::tempdir;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::load::{Books, Clients, Told, orders};
use super::server::Server;

const ROUNDS: usize = 5;
const CLIENTS: usize = 16;
const ORDERS: usize = 20;
/// How many acknowledged operations a round lasts.
const ROUND: u32 = 300;

async fn round(server: Server, orders: &Arc<Vec<String>>, round: usize) -> Vec<Told> {
    let done = Arc::new(Semaphore::new(0));
    let names = (0..CLIENTS).map(|number| format!("r{round}-c{number}"));
    let never = CancellationToken::new();
    let clients = Clients::start(&server, names, orders, &done, &never);
    done.acquire_many(ROUND).await.unwrap().forget();
    server.signal("-KILL");
    let (status, _) = server.ended().await;
    assert!(!status.success());
    clients.ended().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_has_lost_nothing_and_doubled_nothing() {
    let folder = tempdir().unwrap();
    let arguments = ["--log-level", "warn"];
    let mut server = Server::start(folder.path(), &arguments).await;
    let orders = orders(&server, ORDERS).await;
    let mut books = Books::default();
    for number in 0..ROUNDS {
        let told = round(server, &orders, number).await;
        books.count(&told);
        server = Server::start(folder.path(), &arguments).await;
        books.check(&server, &orders, &told).await;
        let had_settled = books.retry(&server, &orders, &told).await;
        books.check(&server, &orders, &[]).await;
        let sum: u64 = books.applied.values().sum();
        println!(
            "round {number}: {sum} applied in all; of {CLIENTS} unanswered {had_settled} had settled"
        );
    }
}
