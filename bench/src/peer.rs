//! A server that is measured: a process of its own, ended with the value.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

/// The variable with the address of a server's orders: an address is in no list of processes, and
/// in no message of ours.
pub(crate) const STORE: &str = "ORDERLOCK_STORE";

#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    pub(crate) address: String,
    pub(crate) folder: PathBuf,
}

impl Peer {
    /// The order manager, over a file in this folder or the PostgreSQL at an address.
    pub(crate) fn orderlock(program: &Path, folder: &Path, store: Option<&str>) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-level", "error"]);
        Self::start(command, folder, store)
    }

    /// This program, as one of its own servers.
    pub(crate) fn own(arguments: &[&str], folder: &Path, store: Option<&str>) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        Self::start(command, folder, store)
    }

    /// Starts a server and reads where it listens from what it prints.
    fn start(mut command: Command, folder: &Path, store: Option<&str>) -> Result<Self> {
        let shown = format!("{command:?}");
        // What this shell has set for another server is none of its settings.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ORDERLOCK_") {
                command.env_remove(name);
            }
        }
        command
            .envs(store.map(|store| (STORE, store)))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().context(shown.clone())?;
        let output = child.stdout.take().context("its output is piped")?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        let address = loop {
            line.clear();
            if output.read_line(&mut line)? == 0 {
                let _ended = child.wait();
                bail!("{shown} ended before it listened");
            }
            let found = line.split("http://").nth(1);
            if let Some(address) = found.and_then(|it| it.split(['/', ' ', '\n']).next()) {
                break address.to_owned();
            }
        };
        // What it prints later fills no pipe.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        ensure!(address.contains(':'), "{address:?} is no address");
        Ok(Self {
            child,
            address,
            folder: folder.to_owned(),
        })
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself; the file goes with its folder.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The order manager of this workspace, built as this program was.
pub(crate) fn build(profile: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let program = own.with_file_name("orderlock");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    if profile == "release" {
        let mut build = Command::new(cargo);
        build.args(["build", "--release", "--package", "orderlock-server"]);
        // Cargo tells a program that it runs which package that is. Build scripts that look at this
        // would take it for a change, and half of the dependencies would be built anew each time.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                build.env_remove(&*name);
            }
        }
        let built = build.status().context("cargo")?;
        ensure!(built.success(), "the server does not compile");
    }
    ensure!(program.exists(), "{} is not built", program.display());
    Ok(program)
}
