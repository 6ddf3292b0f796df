//! A small HTTP client: one request on one connection, as bytes, so that tests can send what a
//! well-behaved client would not, and leave when they like.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Ask {
    pub(crate) fn new(method: &'static str, path: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// An operation on the order `o-1`; the request says what it does.
    pub(crate) fn act(operation: &str, key: &str, act: &str) -> Self {
        Self::new("POST", &format!("/orders/o-1/{operation}"))
            .header("idempotency-key", key)
            .body(&format!(r#"{{"act":"{act}"}}"#))
            .header("content-type", "application/json")
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: &str) -> Self {
        self.body = body.as_bytes().to_vec();
        self
    }

    pub(crate) fn wait(self, seconds: u64) -> Self {
        self.header("prefer", &format!("wait={seconds}"))
    }

    fn head(&self) -> String {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n",
            self.method, self.path
        );
        let declared =
            |(name, _): &(String, String)| name == "content-length" || name == "transfer-encoding";
        if !self.headers.iter().any(declared) {
            head += &format!("content-length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head + "\r\n"
    }

    /// Sends the request and gives the connection; dropping it is leaving.
    pub(crate) async fn begin(&self, address: SocketAddr) -> TcpStream {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let head = self.head();
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(&self.body).await.unwrap();
        connection
    }

    pub(crate) async fn send(&self, address: SocketAddr) -> Told {
        Told::read(self.begin(address).await).await
    }
}

impl Told {
    pub(crate) async fn read(mut connection: TcpStream) -> Self {
        let mut bytes = Vec::new();
        let reading = connection.read_to_end(&mut bytes);
        // A guard against a test that waits for ever, not a measure of anything.
        let read = tokio::time::timeout(Duration::from_secs(60), reading).await;
        read.expect("an answer").unwrap();
        let end = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap_or_else(|| panic!("no answer, but {:?}", String::from_utf8_lossy(&bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        Self {
            status: status.parse().unwrap(),
            headers: headers.collect(),
            body: bytes[end + 4..].to_vec(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(each, _)| each == name);
        let (_, value) = found.next()?;
        assert!(found.next().is_none(), "{name} was answered twice");
        Some(value)
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&self.body)))
    }

    /// The last part of a problem's type.
    pub(crate) fn kind(&self) -> Option<String> {
        if self.header("content-type") != Some("application/problem+json") {
            return None;
        }
        let kind = self.json()["type"].as_str()?.to_owned();
        Some(kind.trim_start_matches("/problems/").to_owned())
    }

    pub(crate) fn replayed(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16, kind: &str) -> Self {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(
            (self.status, self.kind().as_deref()),
            (status, Some(kind)),
            "{text}"
        );
        self
    }

    #[track_caller]
    pub(crate) fn success(self) -> Self {
        let text = String::from_utf8_lossy(&self.body);
        assert!((200..300).contains(&self.status), "{} {text}", self.status);
        self
    }
}
