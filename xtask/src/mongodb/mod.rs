//! A server of the test command's own that speaks MongoDB's protocol, and the NestJS service that
//! runs beside Orderlock on it. MongoDB itself is in no archive of Debian's; the server is NX-27017,
//! which keeps its documents in SQLite. Who has another one names it in the environment.

mod guard;
mod nestjs;
mod programs;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::guard::Guard;
use crate::process::Lines;
use crate::server::{PORTS, free_port};

pub(crate) use programs::Programs;

/// The variable that names a server: to this program, and to the tests.
pub(crate) const URI: &str = "ORDERLOCK_TEST_MONGODB_URI";

/// The variable that names a second one to the suite of the store.
const SECOND_URI: &str = "ORDERLOCK_TEST_MONGODB_SECOND_URI";

/// How long the server may stay silent until it listens.
const START_MAX: Duration = Duration::from_secs(30);

/// A server that the tests may use, or two. Dropping it stops those that were started here.
#[derive(Debug)]
pub(crate) struct Server {
    variables: Vec<(&'static str, String)>,
    _own: Vec<Own>,
}

/// A server that was started here.
#[derive(Debug)]
struct Own {
    /// What it says is read to the end, so that it never waits for a reader.
    _lines: Lines,
    // The order of the fields is the order of their end: the server before its folder.
    _guard: Guard,
    _folder: TempDir,
}

impl Server {
    /// Takes the server that the environment names, or starts two on free ports of loopback, each in a
    /// folder of its own: this one answers one command after another, and a second one has the other
    /// processor work too.
    ///
    /// # Errors
    /// What the server says.
    pub(crate) fn start(programs: &Programs) -> Result<Self> {
        let service = programs.service.display().to_string();
        let mut variables = vec![("ORDERLOCK_TEST_NESTJS", service)];
        let mut started = Vec::new();
        match &programs.server {
            programs::Server::Named(uri) => {
                println!("    the MongoDB that {URI} names");
                variables.push((URI, uri.clone()));
            }
            programs::Server::Installed(program) => {
                for variable in [URI, SECOND_URI] {
                    let (port, own) = start(program)?;
                    println!("    NX-27017 in the place of a MongoDB, on port {port}");
                    variables.push((variable, format!("mongodb://127.0.0.1:{port}/")));
                    started.push(own);
                }
            }
        }
        Ok(Self {
            variables,
            _own: started,
        })
    }

    /// The tests' environment: where the servers are, each test taking a database of its own on one
    /// of them, and where the NestJS service lies.
    pub(crate) fn variables(&self) -> &[(&'static str, String)] {
        &self.variables
    }
}

fn start(program: &Path) -> Result<(u16, Own)> {
    let folder = tempfile::Builder::new()
        .prefix("orderlock-mongodb-")
        .tempdir()
        .context("there is no room for the files of a server")?;
    let mut said = String::new();
    for _ in 0..PORTS {
        let port = free_port()?;
        let mut server = Command::new(program);
        server
            .args(["--host", "127.0.0.1", "--port"])
            .arg(port.to_string())
            // Each database is a file of its own. The last two would be in the folder of all users.
            .args(["--data-dir", "data"])
            .args(["--log-file", "own.log", "--pid-file", "own.pid"]);
        let (guard, lines) = guard::start(&server, folder.path())?;
        said.clear();
        while let Some(line) = lines.next(START_MAX) {
            said.push('\n');
            said.push_str(&line);
            if line.contains("Listening on") {
                let own = Own {
                    _lines: lines,
                    _guard: guard,
                    _folder: folder,
                };
                return Ok((port, own));
            }
        }
        if !said.contains("address already in use") {
            break;
        }
        // Its end removes the folder, which the next one needs.
        drop(guard);
        fs::create_dir_all(folder.path())?;
    }
    bail!("NX-27017 does not start{said}")
}
