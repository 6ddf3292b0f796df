//! The programs that are needed: the server and what it runs on, and the NestJS service.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{URI, nestjs};
use crate::cargo::Workspace;
use crate::debian::{Missing, succeeds};
use crate::server::run_quietly;

/// The server, and all that it is made of, in versions that are known to do.
const REQUIREMENTS: &str = include_str!("requirements.txt");

/// How long making the server's folder, and filling it, may take.
const INSTALL_MAX: Duration = Duration::from_mins(5);

/// Which Python does. Debian keeps the parts with which it makes folders for packages in a package
/// of their own, without which it starts but has no `ensurepip`.
const PYTHON_PROBE: &str =
    "import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info < (3, 15))";

/// Where Python is looked for. The second is the one that Debian's package puts there, for a machine
/// on which another one comes first.
const PYTHONS: [&str; 2] = ["python3", "/usr/bin/python3"];

const PYTHON: Missing = Missing {
    what: "Python with venv",
    advice: "install Python 3.10 or later with venv (on Debian, as root: apt-get install \
             python3-venv), name a MongoDB in ORDERLOCK_TEST_MONGODB_URI, or leave its tests out: \
             cargo xtask test --without mongodb",
};

const PYTHON_PACKAGE: &str = r"
    set -e
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    apt-get install --yes --no-install-recommends python3-venv
";

/// What the tests on MongoDB need.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(super) server: Server,
    /// The folder of the built NestJS service.
    pub(super) service: PathBuf,
}

/// Where the server comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Server {
    /// It runs already; this is its address.
    Named(String),
    /// The program that starts it.
    Installed(PathBuf),
}

/// The variable that says where the server's program is, for who starts servers of its own.
const PROGRAM: &str = "ORDERLOCK_TEST_MONGODB_PROGRAM";

impl Programs {
    /// The server's program, or where the server is that somebody has named.
    pub(crate) fn variable(&self) -> (&'static str, String) {
        match &self.server {
            Server::Named(uri) => (URI, uri.clone()),
            Server::Installed(program) => (PROGRAM, program.display().to_string()),
        }
    }

    /// Finds them, or installs them where that needs nobody's consent: Debian's packages as root,
    /// and all else into folders beside what cargo builds.
    ///
    /// # Errors
    /// What to do.
    pub(crate) fn need(workspace: &Workspace) -> Result<Self> {
        let folder = workspace.programs().join("mongodb");
        fs::create_dir_all(&folder)?;
        // Two that run at once would fill the same folders.
        let lock = File::create(folder.join("lock"))?;
        lock.lock().context("a folder below target")?;
        let server = match env::var(URI) {
            Ok(uri) => Server::Named(uri),
            Err(_) => Server::Installed(server(&folder.join("server"))?),
        };
        let source = workspace.root.join("examples/nestjs");
        let service = nestjs::build(&source, &folder.join("nestjs"))?;
        Ok(Self { server, service })
    }
}

/// The program of the server, from a folder that is made anew if it is not whole.
fn server(folder: &Path) -> Result<PathBuf> {
    let (python, program) = (folder.join("bin/python"), folder.join("bin/nx-27017"));
    let whole = folder.join("whole");
    let is_whole = fs::read_to_string(&whole).is_ok_and(|text| text == REQUIREMENTS);
    // A folder outlives the Python that it was made with.
    if is_whole && succeeds(Command::new(&python).args(["-c", "import nx_27017"])) {
        return Ok(program);
    }
    let made_with = python3()?;
    println!("    installing NX-27017 into {}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    let log = folder.with_extension("log");
    let mut make = Command::new(made_with);
    make.args(["-m", "venv"]).arg(folder);
    run_quietly(make, &log, INSTALL_MAX).with_context(|| PYTHON.advice)?;
    let list = folder.join("requirements.txt");
    fs::write(&list, REQUIREMENTS)?;
    let mut fill = Command::new(&python);
    fill.args(["-m", "pip", "install", "--no-input", "--no-deps"])
        .args(["--disable-pip-version-check", "--requirement"])
        .arg(&list);
    run_quietly(fill, &log, INSTALL_MAX).with_context(|| {
        format!(
            "NX-27017 cannot be installed: look at the network, or {}",
            PYTHON.advice
        )
    })?;
    // Written last: what was interrupted is begun again.
    fs::write(whole, REQUIREMENTS)?;
    Ok(program)
}

fn python3() -> Result<&'static str> {
    let find = || {
        let mut names = PYTHONS.into_iter();
        names.find(|name| succeeds(Command::new(name).args(["-c", PYTHON_PROBE])))
    };
    if let Some(found) = find() {
        return Ok(found);
    }
    PYTHON.install(PYTHON_PACKAGE)?;
    find().with_context(|| format!("Python was installed and does not do: {}", PYTHON.advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_has_one_version() {
        let lines = REQUIREMENTS.lines().filter(|line| !line.starts_with('#'));
        let names: Vec<_> = lines
            .map(|line| line.split_once("==").expect("an exact version"))
            .collect();
        assert_eq!(names[0].0, "nx-27017");
        assert!(names.iter().all(|(_, version)| !version.is_empty()));
    }
}
