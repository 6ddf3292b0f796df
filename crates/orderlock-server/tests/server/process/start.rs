//! Starting: what is printed, what is refused, and where settings come from.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::tempdir;

use super::server::{Server, command, output};

/// One printed curl line as a request: its method, address, headers and body.
struct Curl {
    method: reqwest::Method,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        match at % 2 {
            1 => words.push(part.to_owned()),
            _ => words.extend(part.split_whitespace().map(ToOwned::to_owned)),
        }
    }
    words
}

fn curl(line: &str) -> Curl {
    let mut words = words(line).into_iter().skip(1);
    let mut curl = Curl {
        method: reqwest::Method::GET,
        url: String::new(),
        headers: Vec::new(),
        body: None,
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "-i" => {}
            "-w" => assert_eq!(words.next().as_deref(), Some(r"\n")),
            "-X" => curl.method = words.next().unwrap().parse().unwrap(),
            "-H" => {
                let header = words.next().unwrap();
                let (name, value) = header.split_once(": ").unwrap();
                curl.headers.push((name.to_owned(), value.to_owned()));
            }
            "-d" => {
                curl.body = words.next();
                curl.method = reqwest::Method::POST;
            }
            url => curl.url = url.to_owned(),
        }
    }
    curl
}

async fn paste(server: &Server) -> Vec<(u16, bool, Value)> {
    let mut answers = Vec::new();
    for line in server
        .printed
        .lines()
        .filter(|line| line.starts_with("curl "))
    {
        let Curl {
            method,
            url,
            headers,
            body,
        } = curl(line);
        let mut request = server.client.request(method, url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.unwrap();
        let replayed = super::server::is_replayed(&response);
        answers.push((
            response.status().as_u16(),
            replayed,
            response.json().await.unwrap(),
        ));
    }
    answers
}

#[tokio::test]
async fn the_printed_commands_work_as_printed_and_again_on_an_old_file() {
    let folder = tempdir().unwrap();
    for _ in 0..2 {
        let server = Server::start(folder.path(), &[]).await;
        println!("{}", server.printed);
        for word in [
            "0.1.0",
            "sqlite",
            "orderlock.db",
            "power loss",
            "none: loopback only",
        ] {
            assert!(server.printed.contains(word), "{word}");
        }
        let answers = paste(&server).await;
        let heads: Vec<_> = answers
            .iter()
            .map(|(status, replayed, _)| (*status, *replayed))
            .collect();
        assert_eq!(heads, [(201, false), (200, false), (200, true)]);
        assert_eq!(answers[1].2, answers[2].2);
        assert_eq!(answers[2].2["result"]["status"], "confirmed");
        server.signal("-TERM");
        let (status, log) = server.ended().await;
        assert_eq!(status.code(), Some(0), "{log}");
        for secret in ["try-", "cus_42", "TEA-250"] {
            assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
        }
    }
}

#[tokio::test]
async fn the_log_is_json_if_asked_for() {
    let folder = tempdir().unwrap();
    let arguments = ["--log-format", "json", "--log-level", "debug"];
    let server = Server::start(folder.path(), &arguments).await;
    server.order("k", 100).await;
    server.signal("-INT");
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let created = lines
        .iter()
        .find(|line| line["message"] == "operation ended")
        .unwrap();
    assert_eq!(created["outcome"], "created");
    assert!(created["order"].as_str().unwrap().starts_with("ord_"));
    assert_eq!(created["span"]["route"], "/v1/orders");
    let written = lines
        .iter()
        .find(|line| line["message"] == "what the store has written");
    assert!(written.unwrap()["commits"].as_u64().unwrap() > 0);
}

/// Runs the program to its end, which must be bad, and gives what it says.
async fn refused(folder: &Path, arguments: &[&str], code: i32) -> String {
    let ended = output(folder, arguments).await;
    let text = String::from_utf8(ended.stderr).unwrap();
    println!("{arguments:?}\n{text}");
    assert_eq!(ended.status.code(), Some(code), "{text}");
    assert!(ended.stdout.is_empty());
    text
}

#[tokio::test]
async fn what_cannot_work_is_refused_in_words() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    let server = Server::start(here, &[]).await;
    let pid = server.pid();
    let second = refused(here, &["--listen", "127.0.0.1:0"], 1).await;
    assert!(second.contains(&format!("process {pid}")), "{second}");
    let same_port = ["--listen", &server.address, "--store", "sqlite:other.db"];
    let busy = refused(here, &same_port, 1).await;
    assert!(
        busy.contains("in use by another program")
            && busy.contains("choose another with --listen 127.0.0.1:"),
        "{busy}"
    );
    assert!(
        !here.join("other.db").exists(),
        "a start that fails for its port leaves no file"
    );
    let nowhere = [
        "--listen",
        "127.0.0.1:0",
        "--store",
        "sqlite:none/such/orders.db",
    ];
    assert!(refused(here, &nowhere, 1).await.contains("none/such"));
    fs::write(
        here.join("notes.txt"),
        "not a database, and longer than its first page is ".repeat(9),
    )
    .unwrap();
    let text = ["--listen", "127.0.0.1:0", "--store", "sqlite:notes.txt"];
    assert!(
        refused(here, &text, 1)
            .await
            .contains("not an SQLite database")
    );
    let open = refused(here, &["--listen", "0.0.0.0:8080"], 2).await;
    assert!(
        open.contains("no authentication") && open.contains("127.0.0.1"),
        "{open}"
    );
    assert!(
        refused(here, &["--lisen", "127.0.0.1:0"], 2)
            .await
            .contains("--listen")
    );
    assert!(
        refused(here, &["--config", "none.toml"], 2)
            .await
            .contains("none.toml")
    );
    assert!(
        refused(here, &["--log-level", "loud"], 2)
            .await
            .contains("error, warn, info, debug or trace")
    );
    assert!(
        refused(here, &["--store", "sqlite:."], 2)
            .await
            .contains("is a folder; name a file in it, like sqlite:./orderlock.db")
    );
}

#[tokio::test]
async fn a_container_asks_where_its_server_listens() {
    let folder = tempdir().unwrap();
    let here = folder.path();
    let server = Server::start(here, &[]).await;
    let health = refused(here, &["health", "--server", "http://127.0.0.1:1"], 1).await;
    assert!(health.contains("does not answer"), "{health}");
    let healthy = output(here, &["health", "--server", &server.url("")]).await;
    assert!(healthy.status.success());
    let said = String::from_utf8(healthy.stdout).unwrap();
    assert_eq!(said, format!("the server at {} is ready\n", server.url("")));
    // A container says once where its server listens.
    let mut health = command(here, &["health"]);
    let found = health.env("ORDERLOCK_LISTEN", &server.address).output();
    let found = String::from_utf8(found.await.unwrap().stdout).unwrap();
    assert_eq!(found, said);
}

#[tokio::test]
async fn settings_come_from_flags_before_variables_before_the_file() {
    let folder = tempdir().unwrap();
    let text = "line_limit = 1\nbody_limit = 2\nwait_limit = \"3s\"\n";
    fs::write(folder.path().join("orderlock.toml"), text).unwrap();
    let mut command = command(
        folder.path(),
        &["serve", "--print-config", "--line-limit", "9"],
    );
    command
        .env("ORDERLOCK_CONFIG", "orderlock.toml")
        .env("ORDERLOCK_BODY_LIMIT", "8");
    command.env("ORDERLOCK_LINE_LIMIT", "7");
    let ended = command.output().await.unwrap();
    let printed = String::from_utf8(ended.stdout).unwrap();
    println!("{printed}");
    assert!(ended.status.success());
    let line = |start: &str| {
        let found = printed
            .lines()
            .find(|line| line.starts_with(start))
            .unwrap();
        found.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("line_limit"), "line_limit = 9 # --line-limit");
    assert_eq!(line("body_limit"), "body_limit = 8 # ORDERLOCK_BODY_LIMIT");
    assert_eq!(line("wait_limit"), "wait_limit = \"3s\" # orderlock.toml");
    assert_eq!(line("listen"), "listen = \"127.0.0.1:8080\" # default");
    assert!(
        !folder.path().join("orderlock.db").exists(),
        "asking makes no file"
    );
}

#[tokio::test]
async fn the_document_is_printed() {
    let folder = tempdir().unwrap();
    let printed = output(folder.path(), &["openapi"]).await;
    let document: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/v1/orders/{id}/confirm"]["post"].is_object());
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    let folder = tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = command(folder.path(), &["openapi"]);
    let ended = command.stdout(writer).output().await.unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success() && said.is_empty(), "{said}");
}
