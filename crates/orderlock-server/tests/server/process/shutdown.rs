//! Ending on a signal.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::tempdir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::process::Child;
use tokio::sync::Semaphore;

use super::server::{Server, command, lines, post};

/// A request whose body never comes, known to be under way: the server has asked for the body.
async fn half_a_request(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    let head = "POST /v1/orders HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: half\r\n\
                Content-Length: 10\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100");
    stream
}

#[tokio::test]
async fn after_a_clean_stop_the_file_needs_nothing_beside_it() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]).await;
    let order = server.order("order", 1_000).await;
    server.signal("-TERM");
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!folder.path().join("orderlock.db-wal").exists(), "{log}");

    let copy = tempdir().unwrap();
    let file = |folder: &Path| folder.join("orderlock.db");
    std::fs::copy(file(folder.path()), file(copy.path())).unwrap();
    let server = Server::start(copy.path(), &[]).await;
    let read = server.get(&format!("/v1/orders/{order}")).await;
    assert_eq!(read["result"]["id"], order.as_str(), "{read}");
}

#[tokio::test]
async fn a_signal_lets_what_runs_end_and_exits_with_success() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]).await;
    let order = server.order("order", 1_000_000).await;
    let url = server.url(&format!("/v1/orders/{order}/capture-payment"));
    let done = Arc::new(Semaphore::new(0));
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (http, url, done) = (server.client.clone(), url.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let (mut applied, mut open) = (0_u64, None);
                for number in 0.. {
                    let key = format!("c{client}-{number}");
                    let Ok(answer) = post(&http, &url, &key, &json!({"amount": 1})).await else {
                        open = Some(key);
                        break;
                    };
                    match answer.status().as_u16() {
                        200 => applied += 1,
                        503 => break,
                        other => panic!("{other}: {}", answer.text().await.unwrap()),
                    }
                    done.add_permits(1);
                }
                (applied, open)
            })
        })
        .collect();
    // In the middle of the work.
    done.acquire_many(50).await.unwrap().forget();
    server.signal("-TERM");
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    let (mut applied, mut open) = (0, Vec::new());
    for client in clients {
        let (some, key) = client.await.unwrap();
        applied += some;
        open.extend(key);
    }
    println!(
        "{applied} applied before the end, {} unanswered",
        open.len()
    );

    let server = Server::start(folder.path(), &[]).await;
    let url = server.url(&format!("/v1/orders/{order}/capture-payment"));
    for key in &open {
        let answer = post(&server.client, &url, key, &json!({"amount": 1}))
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
    }
    let read = server.get(&format!("/v1/orders/{order}")).await;
    assert_eq!(
        read["result"]["payment"]["captured"],
        applied + open.len() as u64
    );
    assert_eq!(read["result"]["lock"], Value::Null);
}

/// Clients that have sent only a part of a request, or do not read their answers, do not delay the
/// end.
#[tokio::test]
async fn a_shutdown_does_not_wait_for_clients() {
    let folder = tempdir().unwrap();
    let limits = [
        "--shutdown-limit",
        "--header-time-limit",
        "--idle-time-limit",
        "--body-time-limit",
        "--answer-time-limit",
    ];
    let arguments: Vec<_> = limits.into_iter().flat_map(|limit| [limit, "1h"]).collect();
    let server = Server::start(folder.path(), &arguments).await;
    let _silent = TcpStream::connect(&server.address).await.unwrap();
    let mut half_a_head = TcpStream::connect(&server.address).await.unwrap();
    half_a_head.write_all(b"GET /hea").await.unwrap();
    let mut half_a_body = half_a_request(&server).await;
    let _unread = unread_answers(&server).await;
    server.signal("-TERM");
    // Its answer says what to do instead.
    let mut answer = String::new();
    half_a_body.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("/problems/shutting-down"), "{answer}");
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
}

/// Asks for more than the sockets between take, and reads none of it.
async fn unread_answers(server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let address = server.address.parse().unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let ask = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(20);
    stream.write_all(ask.as_bytes()).await.unwrap();
    // The first bytes are here, so the server is at it.
    stream.readable().await.unwrap();
    stream
}

/// An operation whose write waits for another program, which the test ends by its connection.
async fn held_up(server: &Server, folder: &Path) -> rusqlite::Connection {
    let order = server.order("order", 1_000).await;
    let other = rusqlite::Connection::open(folder.join("orderlock.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (http, url) = (
        server.client.clone(),
        server.url(&format!("/v1/orders/{order}/confirm")),
    );
    tokio::spawn(async move { post(&http, &url, "confirm", &json!({})).await });
    while server.get("/readyz").await["result"]["inFlight"] == 0 {
        tokio::task::yield_now().await;
    }
    other
}

#[tokio::test]
async fn a_shutdown_waits_no_longer_than_its_limit() {
    let folder = tempdir().unwrap();
    let limits = ["--shutdown-limit", "200ms", "--store-limit", "1s"];
    let server = Server::start(folder.path(), &limits).await;
    let _other = held_up(&server, folder.path()).await;
    server.signal("-TERM");
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
}

/// A load balancer needs a while to see that a node goes.
#[tokio::test]
async fn a_node_serves_on_for_as_long_as_it_is_told_to() {
    let folder = tempdir().unwrap();
    let mut server = Server::start(folder.path(), &["--shutdown-delay", "1h"]).await;
    server.signal("-TERM");
    server.logged("shutting down").await;
    let ready = server.client.get(server.url("/readyz")).send().await;
    assert_eq!(ready.unwrap().status(), 503);
    let order = server.order("order", 1_000).await;
    assert_eq!(server.run(&order, "confirm", "k", &json!({})).await, 200);
    server.signal("-TERM");
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(1), "{log}");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let folder = tempdir().unwrap();
    let limits = ["--store-limit", "5m", "--shutdown-limit", "1h"];
    let mut server = Server::start(folder.path(), &limits).await;
    let _other = held_up(&server, folder.path()).await;
    server.signal("-TERM");
    server.logged("shutting down").await;
    server
        .logged("a second signal ends the program at once")
        .await;
    server.signal("-TERM");
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("second signal"), "{log}");
}

/// A program that is started by hand: it has not said that it listens.
fn started(folder: &Path, arguments: &[&str], output: Stdio) -> Child {
    let mut command = command(folder, &["serve", "--listen", "127.0.0.1:0"]);
    command
        .args(arguments)
        .stdout(output)
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn terminate(child: &Child) {
    let pid = child.id().unwrap().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status();
    assert!(sent.unwrap().success());
}

#[tokio::test]
async fn a_signal_is_heard_while_the_store_says_nothing() {
    let folder = tempdir().unwrap();
    for scheme in ["postgres", "mongodb"] {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        let store = format!(
            "{scheme}://{address}/orders?{}",
            match scheme {
                "postgres" => "user=somebody",
                _ => "collection=orders",
            }
        );
        let arguments = ["--store", &store, "--store-limit", "10m"];
        let child = started(folder.path(), &arguments, Stdio::null());
        // It waits for the first words of its store.
        let _connection = silent.accept().await.unwrap();
        terminate(&child);
        let ended = child.wait_with_output().await.unwrap();
        let log = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(0), "{scheme}: {log}");
        assert!(log.contains("before it served"), "{scheme}: {log}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_is_heard_though_nobody_reads_what_is_printed() {
    let folder = tempdir().unwrap();
    let (full, _unread) = tokio::net::unix::pipe::pipe().unwrap();
    while full.try_write(&[b'x'; 4_096]).is_ok() {}
    let full = full.into_blocking_fd().unwrap();
    let mut child = started(folder.path(), &[], full.into());
    let (mut log, _) = lines(child.stderr.take().unwrap());
    let mut said = log.recv().await;
    while !said.expect("it serves").contains("listening") {
        said = log.recv().await;
    }
    terminate(&child);
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}
