//! A payment provider that answers when the test says so, so that a handler stands where the test
//! wants it.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub(super) struct Provider {
    listener: TcpListener,
    pub(super) url: String,
}

/// A client that waits for an answer.
pub(super) struct Asked(TcpStream);

impl Provider {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self { listener, url }
    }

    /// Waits until a payment is requested.
    pub(super) async fn asked(&self) -> Asked {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !is_whole(&request) {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "cut off");
        }
        Asked(stream)
    }
}

impl Asked {
    /// The payment went through.
    pub(super) async fn pay(mut self, reference: &str) {
        let body = json!({"reference": reference}).to_string();
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n{body}"
        );
        self.0.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// Whether a request has come with its body.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let lengths = head
        .lines()
        .filter_map(|line| line.strip_prefix("content-length: "));
    let length: usize = lengths.map(|length| length.parse::<usize>().unwrap()).sum();
    body.len() >= length
}
