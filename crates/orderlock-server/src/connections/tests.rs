use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use orderlock_testkit::TestRuntime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::config::Origins;
use crate::http::{Edge, Memory, around};

const LARGE: usize = 8 * 1024 * 1024;

/// An open door, whose clock stands still.
struct Open {
    clock: TestRuntime,
    address: SocketAddr,
    listening: Listening,
    _aside: Aside,
}

fn open(connections: usize) -> Open {
    let (clock, aside) = (TestRuntime::new(), Aside::start().unwrap());
    let listener = listen(&aside, SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let timeouts = Timeouts {
        head: Duration::from_secs(5),
        idle: Duration::from_secs(30),
        answer: Duration::from_secs(10),
    };
    let door = Door {
        router: router(),
        bounds: Bounds {
            connections,
            timeouts,
        },
        runtime: Arc::new(clock.clone()),
        workers: Handle::current(),
    };
    let listening = door.open(&aside, listener);
    Open {
        clock,
        address,
        listening,
        _aside: aside,
    }
}

fn router() -> Router {
    let router = Router::new()
        .route("/healthz", any(async || "alive"))
        .route("/large", any(async || vec![b'x'; LARGE]))
        .route("/refuses", any(async || http::StatusCode::IM_A_TEAPOT))
        .route("/read", any(async |body: String| body))
        .route("/waits", any(std::future::pending::<()>));
    let edge = Edge {
        requests: TaskTracker::new(),
        ending: CancellationToken::new(),
        memory: Memory::new(10 * LARGE),
        body_max: 10 * LARGE,
        origins: Origins::default(),
    };
    around(router, edge)
}

impl Open {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Moves the clock on once the connections are waited for, so that they are looked at.
    async fn pass(&self, seconds: u64) {
        self.clock.sleeping(1).await;
        self.clock.advance(Duration::from_secs(seconds));
    }
}

fn get(path: &str, more: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n").into_bytes()
}

/// Sends a request, and reads as much of its answer as its head takes.
async fn ask(stream: &mut TcpStream, request: &[u8]) -> String {
    stream.write_all(request).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Reads until the connection has ended, however it did.
async fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _reset = stream.read_to_end(&mut rest).await;
    rest
}

/// A client that asks for more than the sockets between take, and reads none of it.
async fn unread(open: &Open) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(open.address).await.unwrap();
    stream.write_all(&get("/large", "")).await.unwrap();
    while !open.listening.admitted.has_stalled() {
        tokio::task::yield_now().await;
    }
    stream
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_given_up() {
    let open = open(10);
    let stream = unread(&open).await;
    open.pass(10).await;
    open.listening.admitted.emptied().await;
    let read = rest(stream).await;
    assert!(read.len() < LARGE, "{} bytes", read.len());
}

#[tokio::test]
async fn an_answer_that_nobody_reads_makes_room_for_others() {
    let open = open(1);
    let first = unread(&open).await;
    // The clock stands still: no limit has passed.
    let mut second = open.connect().await;
    let answer = ask(&mut second, &get("/read", "")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let read = rest(first).await;
    assert!(read.len() < LARGE, "{} bytes", read.len());
}

#[tokio::test]
async fn a_head_has_less_time_than_a_pause() {
    let open = open(10);
    let mut silent = open.connect().await;
    silent.write_all(b"GET /he").await.unwrap();
    let mut polite = open.connect().await;
    let first = ask(&mut polite, &get("/read", "")).await;
    assert!(first.starts_with("HTTP/1.1 200"), "{first}");
    while open.listening.admitted.count() < 2 {
        tokio::task::yield_now().await;
    }
    open.pass(5).await;
    assert_eq!(rest(silent).await, b"");
    let second = ask(&mut polite, &get("/read", "")).await;
    assert!(second.starts_with("HTTP/1.1 200"), "{second}");
    open.pass(30).await;
    assert_eq!(rest(polite).await, b"");
}

#[tokio::test]
async fn at_the_limit_a_connection_that_rests_makes_room() {
    let open = open(1);
    let mut first = open.connect().await;
    ask(&mut first, &get("/read", "")).await;
    let mut second = open.connect().await;
    let answer = ask(&mut second, &get("/read", "")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(rest(first).await, b"");
}

/// An open door whose only place is taken by a request that is at work.
async fn crowded() -> (Open, TcpStream) {
    let open = open(1);
    let mut at_work = open.connect().await;
    at_work.write_all(&get("/waits", "")).await.unwrap();
    while open.listening.admitted.count() == 0 {
        tokio::task::yield_now().await;
    }
    (open, at_work)
}

#[tokio::test]
async fn whoever_waits_for_a_place_keeps_nobody_out() {
    let (open, _at_work) = crowded().await;
    let mut waiting = Vec::new();
    for _ in 0..GREETING_LEAST {
        let mut stream = open.connect().await;
        stream.write_all(&get("/read", "")).await.unwrap();
        waiting.push(stream);
    }
    // Each with its limit, beside the task that looks at all of them.
    open.clock.sleeping(1 + GREETING_LEAST).await;
    let mut probe = open.connect().await;
    let answer = ask(&mut probe, &get("/healthz", "")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn whoever_gets_no_place_in_time_is_told() {
    let (open, _at_work) = crowded().await;
    let mut stream = open.connect().await;
    stream.write_all(&get("/read", "")).await.unwrap();
    open.clock.sleeping(2).await;
    open.clock.advance(Duration::from_secs(5));
    let answer = rest(stream).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("/problems/server-busy"), "{answer}");
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_process_says_that_it_lives_while_its_workers_stand_still() {
    let open = open(10);
    let (blocked, reached) = mpsc::channel();
    let (go_on, waits) = mpsc::channel::<()>();
    let standing = tokio::spawn(async move {
        blocked.send(()).unwrap();
        let _gone = waits.recv();
    });
    reached.recv().unwrap();
    let address = open.address;
    // Asked without a runtime: there is none that is free.
    let asked = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(&get("/healthz", "")).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        answer
    });
    assert_eq!(&asked.join().unwrap(), b"HTTP/1.1 200");
    drop(go_on);
    standing.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_asked_for_health_may_ask_for_anything() {
    let open = open(10);
    let mut stream = open.connect().await;
    for path in ["/healthz", "/read", "/healthz"] {
        let answer = ask(&mut stream, &get(path, "")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        let length = if path == "/read" { 0 } else { 5 };
        stream.read_exact(&mut vec![0; length]).await.unwrap();
    }
}

#[tokio::test]
async fn whoever_closes_one_side_is_answered_on_the_other() {
    let open = open(10);
    for request in [
        get("/read", ""),
        // There is nothing to wait for.
        b"POST /read HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=30\r\nContent-Length: 2\r\n\r\nab"
            .to_vec(),
        b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nab".to_vec(),
    ] {
        let mut stream = open.connect().await;
        stream.write_all(&request).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = rest(stream).await;
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    }
    // One that would wait in line leaves it: most that close one side have gone.
    let mut stream = open.connect().await;
    let waits = get("/waits", "Prefer: wait=30\r\n");
    stream.write_all(&waits).await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = tokio::spawn(rest(stream));
    while !answer.is_finished() {
        // The check for the client may have run before the client had closed.
        if open.clock.sleepers() > 1 {
            open.clock.advance(Duration::from_millis(250));
        }
        tokio::task::yield_now().await;
    }
    let answer = answer.await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 409"), "{answer:?}");
}

#[tokio::test]
async fn a_refusal_is_read_by_a_client_that_still_sends() {
    let open = open(10);
    let (mut reads, mut writes) = open.connect().await.into_split();
    let head =
        format!("POST /refuses HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LARGE}\r\n\r\n");
    let sent = tokio::spawn(async move {
        writes.write_all(head.as_bytes()).await?;
        writes.write_all(&vec![b'x'; LARGE]).await
    });
    sent.await.unwrap().unwrap();
    let mut answer = String::new();
    reads.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 418"), "{answer}");
}

#[tokio::test]
async fn at_the_end_only_requests_that_have_come_are_waited_for() {
    let open = open(10);
    let silent = open.connect().await;
    let mut half = open.connect().await;
    half.write_all(b"GET /re").await.unwrap();
    let mut idle = open.connect().await;
    ask(&mut idle, &get("/read", "")).await;
    let mut healthy = open.connect().await;
    ask(&mut healthy, &get("/healthz", "")).await;
    open.listening.close();
    // The clock stands still: none of them ends by a limit.
    open.listening.emptied().await;
    for stream in [silent, half, idle] {
        assert_eq!(rest(stream).await, b"");
    }
}
