//! Clients that behave badly on their sockets.

use serde_json::json;
use tempfile::tempdir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::server::{Server, is_replayed, post};

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &["--header-time-limit", "100ms"]).await;
    for said in ["", "GET /v1/orders HTTP/1.1\r\nHost:"] {
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        println!(
            "{said:?}: closed after {:?}",
            String::from_utf8_lossy(&answer)
        );
    }
}

#[tokio::test]
async fn one_connection_too_many_waits_for_room() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &["--connection-limit", "1"]).await;
    let ask = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut first = TcpStream::connect(&server.address).await.unwrap();
    let mut second = TcpStream::connect(&server.address).await.unwrap();
    second.write_all(ask).await.unwrap();
    first.write_all(ask).await.unwrap();
    for stream in [&mut first, &mut second] {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn too_many_headers_are_refused() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]).await;
    let many: String = (0..200).map(|number| format!("h{number}: x\r\n")).collect();
    let large = format!("h: {}\r\n", "x".repeat(1024 * 1024));
    for headers in [many, large] {
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        let request = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        // It may be refused before it has been sent.
        let _sent = stream.write_all(request.as_bytes()).await;
        let mut answer = [0; 12];
        match stream.read_exact(&mut answer).await {
            Ok(_) => assert_eq!(&answer, b"HTTP/1.1 431"),
            // What was not read before it was refused resets the connection.
            Err(error) => println!("refused: {error}"),
        }
    }
    assert_eq!(server.get("/healthz").await["status"], 200);
}

/// Descriptors bound connections, so that the store's files can be opened whatever clients do.
#[tokio::test]
async fn with_few_descriptors_there_are_fewer_connections() {
    let folder = tempdir().unwrap();
    let mut program = std::process::Command::new("sh");
    let limited = r#"ulimit -n 128 && exec "$0" "$@""#;
    program.args(["-c", limited, env!("CARGO_BIN_EXE_orderlock")]);
    let mut server = Server::start_by(folder.path(), &[], program).await;
    server
        .logged("the limit on open files allows fewer connections")
        .await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(TcpStream::connect(&server.address).await.unwrap());
    }
    server.order("order", 1_000).await;
    let page = server.get("/v1/orders").await;
    assert_eq!(page["result"].as_array().unwrap().len(), 1);
    server.signal("-TERM");
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("could not be accepted"), "{log}");
}

#[tokio::test]
async fn what_a_request_says_of_itself_is_logged_short() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]).await;
    let long = "A".repeat(60_000);
    let key = "very-secret-key";
    let paths = ["/v1/order/ord_1", &format!("/v1/order/a/operations/{key}")];
    for path in paths {
        let url = server.url(path);
        let method = reqwest::Method::from_bytes(long.as_bytes()).unwrap();
        for method in [reqwest::Method::GET, method] {
            let answer = server.client.request(method, &url).send().await.unwrap();
            assert_eq!(answer.status(), 404);
        }
    }
    server.signal("-TERM");
    let (_, log) = server.ended().await;
    assert!(log.contains("path=\"/v1/order/ord_1\""), "{log}");
    assert!(!log.contains(key) && !log.contains(&long[..30]), "{log}");
}

#[tokio::test]
async fn a_log_that_nobody_reads_stops_nothing() {
    let folder = tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]).await;
    server.close_log().await;
    let order = server.order("order", 1_000).await;
    let url = server.url(&format!("/v1/orders/{order}/capture-payment"));
    for replayed in [false, true] {
        let answer = post(&server.client, &url, "k", &json!({"amount": 1}))
            .await
            .unwrap();
        assert_eq!(
            (answer.status().as_u16(), is_replayed(&answer)),
            (200, replayed)
        );
    }
}

#[tokio::test]
async fn a_log_whose_reader_stands_still_stops_nothing() {
    let folder = tempdir().unwrap();
    // Held open, and never read: it takes some 64 KiB and no more.
    let (_unread, pipe) = std::io::pipe().unwrap();
    let server = Server::start_unread(folder.path(), pipe.into()).await;
    for _ in 0..1_000 {
        assert_eq!(server.get("/healthz").await["status"], 200);
    }
    let order = server.order("order", 1_000).await;
    assert_eq!(server.run(&order, "confirm", "k", &json!({})).await, 200);
    server.signal("-TERM");
    let (status, _) = server.ended().await;
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn clients_that_hang_up_cause_one_effect_each_at_most() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]).await;
    let order = server.order("order", 1_000_000).await;
    let path = format!("/v1/orders/{order}/capture-payment");
    let (mut settled, mut anew) = (0, 0);
    for number in 0..40 {
        let key = format!("k{number}");
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: {key}\r\n\
             Content-Type: application/json\r\nContent-Length: 12\r\n\r\n{{\"amount\":1}}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        if number % 2 == 0 {
            // The answer is on its way, and the client does not read it to its end.
            stream.read_u8().await.unwrap();
        }
        drop(stream);
        let known = server
            .client
            .get(server.url(&format!("/v1/orders/{order}/operations/{key}")));
        let known = known.send().await.unwrap().status().as_u16();
        let (url, body) = (server.url(&path), json!({"amount": 1}));
        let answer = post(&server.client, &url, &key, &body).await.unwrap();
        assert_eq!(answer.status(), 200);
        if known == 200 {
            assert!(is_replayed(&answer), "it was settled, and ran again");
        }
        assert!(
            number % 2 == 1 || known == 200,
            "an answered key is known: {known}"
        );
        if is_replayed(&answer) {
            settled += 1
        } else {
            anew += 1
        }
    }
    println!("{settled} had settled, {anew} had left the line and ran anew");
    let read = server.get(&format!("/v1/orders/{order}")).await;
    assert_eq!(read["result"]["payment"]["captured"], 40);
    assert_eq!(read["result"]["version"], 41);
}
