//! A running program, on a port and a file of its own.

use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};

use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;

/// The last line of what is printed at the start.
const READY: &str = "Stop with Ctrl-C.";

pub(super) struct Server {
    child: Child,
    /// The lines of its log. They are always read, so that it never stands still for them.
    log: UnboundedReceiver<String>,
    log_reader: JoinHandle<()>,
    pub(super) address: String,
    pub(super) printed: String,
    pub(super) client: Client,
}

/// The program without a server's life, and without settings that stand in the environment.
pub(super) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let program = std::process::Command::new(env!("CARGO_BIN_EXE_orderlock"));
    prepared(program, folder, arguments)
}

fn prepared(program: std::process::Command, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::from(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ORDERLOCK_") {
            command.env_remove(name);
        }
    }
    command
        .current_dir(folder)
        .args(arguments)
        .kill_on_drop(true);
    command
}

/// Runs the program to its end.
pub(super) async fn output(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().await.unwrap()
}

impl Server {
    /// Starts it in a folder and waits until it says that it listens.
    pub(super) async fn start(folder: &Path, arguments: &[&str]) -> Self {
        let program = std::process::Command::new(env!("CARGO_BIN_EXE_orderlock"));
        Self::start_by(folder, arguments, program).await
    }

    /// Starts it with a log that this process does not read.
    pub(super) async fn start_unread(folder: &Path, log: Stdio) -> Self {
        let program = std::process::Command::new(env!("CARGO_BIN_EXE_orderlock"));
        Self::begin(folder, &[], program, log).await
    }

    /// Starts it by a program that runs it.
    pub(super) async fn start_by(
        folder: &Path,
        arguments: &[&str],
        program: std::process::Command,
    ) -> Self {
        Self::begin(folder, arguments, program, Stdio::piped()).await
    }

    async fn begin(
        folder: &Path,
        arguments: &[&str],
        program: std::process::Command,
        log: Stdio,
    ) -> Self {
        let mut command = prepared(program, folder, &["serve", "--listen", "127.0.0.1:0"]);
        command.args(arguments).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        // What this process keeps of the command would keep a pipe open.
        drop(command);
        let (mut log, log_reader) = match child.stderr.take() {
            Some(stderr) => lines(stderr),
            None => lines(tokio::io::empty()),
        };
        let (mut output, _) = lines(child.stdout.take().unwrap());
        let mut printed = String::new();
        loop {
            let Some(line) = output.recv().await else {
                let mut said = String::new();
                while let Some(line) = log.recv().await {
                    said.push_str(&line);
                }
                panic!("it did not start: {said}");
            };
            printed.push_str(&line);
            printed.push('\n');
            if line == READY {
                break;
            }
        }
        let (_, after) = printed.split_once("http://").unwrap();
        let address = after.split_whitespace().next().unwrap().to_owned();
        Self {
            child,
            log,
            log_reader,
            address,
            printed,
            client: Client::builder().no_proxy().build().unwrap(),
        }
    }

    /// The number of the process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        self.client
            .get(self.url(path))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    /// A pending order whose total is so many cents.
    pub(super) async fn order(&self, key: &str, total: u64) -> String {
        let body = json!({
            "customer": "cus_42", "currency": "EUR", "submit": true,
            "lines": [{"sku": "TEA-250", "name": "Green tea", "quantity": 1, "unitPrice": total}],
        });
        let created = post(&self.client, &self.url("/v1/orders"), key, &body)
            .await
            .unwrap();
        assert_eq!(created.status(), 201);
        let created: Value = created.json().await.unwrap();
        created["result"]["id"].as_str().unwrap().to_owned()
    }

    /// One operation that waits in line if it must: its status.
    pub(super) async fn run(&self, order: &str, operation: &str, key: &str, body: &Value) -> u16 {
        let url = self.url(&format!("/v1/orders/{order}/{operation}"));
        let answer = post(&self.client, &url, key, body).await.unwrap();
        answer.status().as_u16()
    }

    pub(super) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = std::process::Command::new("kill")
            .args([name, &pid])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Closes the pipe that it logs to.
    pub(super) async fn close_log(&mut self) {
        self.log_reader.abort();
        // It is closed when the reader is gone.
        let _aborted = (&mut self.log_reader).await;
    }

    /// Waits until the log has a line with this text.
    pub(super) async fn logged(&mut self, text: &str) {
        while let Some(line) = self.log.recv().await {
            if line.contains(text) {
                return;
            }
        }
        panic!("it ended without saying {text:?}");
    }

    /// Waits for its end, and gives the rest of its log.
    pub(super) async fn ended(mut self) -> (ExitStatus, String) {
        let mut text = String::new();
        while let Some(line) = self.log.recv().await {
            text.push_str(&line);
            text.push('\n');
        }
        (self.child.wait().await.unwrap(), text)
    }
}

/// The lines of a pipe, and the task that reads them.
pub(super) fn lines(
    from: impl AsyncRead + Send + Unpin + 'static,
) -> (UnboundedReceiver<String>, JoinHandle<()>) {
    let (send, receive) = unbounded_channel();
    let mut lines = BufReader::new(from).lines();
    let reader = tokio::spawn(async move {
        // Read to the end, with or without a listener.
        while let Ok(Some(line)) = lines.next_line().await {
            let _unheard = send.send(line);
        }
    });
    (receive, reader)
}

/// One request that waits in line if it must.
pub(super) async fn post(
    client: &Client,
    url: &str,
    key: &str,
    body: &Value,
) -> Result<Response, reqwest::Error> {
    client
        .request(Method::POST, url)
        .header("idempotency-key", key)
        .header("prefer", "wait=30")
        .json(body)
        .send()
        .await
}

pub(super) fn is_replayed(response: &Response) -> bool {
    response
        .headers()
        .get("idempotent-replayed")
        .is_some_and(|value| value == "true")
}
