//! Asking a running server whether it is ready: one request, without a client library, so that a
//! container needs no other program for its check.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use crate::ProgramError;
use crate::cli::Health;
use crate::config::{self, Given};
use crate::serve::print;

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// How much of an answer is read: its status line comes first.
const ANSWER_MAX: u64 = 4_096;

/// Asks `/readyz` of a server.
///
/// # Errors
/// [`ProgramError::Usage`] if the settings cannot be read, [`ProgramError::Running`] if it cannot be reached,
/// or is not ready.
pub fn run(arguments: Health) -> Result<(), ProgramError> {
    let server = match arguments.server {
        Some(server) => server,
        None => {
            let file = arguments.config.as_deref();
            let loaded = config::load(Given::default(), file, config::environment())?;
            format!("http://{}", loaded.settings.listen)
        }
    };
    ask(&server)?;
    print(&format!("the server at {server} is ready\n")).context("the answer cannot be printed")?;
    Ok(())
}

fn ask(server: &str) -> anyhow::Result<()> {
    let Some(host) = server.strip_prefix("http://") else {
        bail!("{server} is not an address of this service; write it like http://127.0.0.1:8080");
    };
    let host = host.trim_end_matches('/');
    let address = host
        .to_socket_addrs()
        .ok()
        .and_then(|mut found| found.next());
    let address = address.with_context(|| format!("{server} names no host and port"))?;
    let answer = exchange(address, host)
        .with_context(|| format!("the server at {server} does not answer"))?;
    let line = answer.lines().next().unwrap_or_default();
    ensure!(
        line.split(' ').nth(1) == Some("200"),
        "the server at {server} is not ready: {line}"
    );
    Ok(())
}

fn exchange(address: std::net::SocketAddr, host: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
