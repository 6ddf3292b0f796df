//! The programs that are needed: the server and what it runs on, and the NestJS service.

use std::env;
use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::{URI, nestjs};
use crate::cargo::Workspace;
use crate::python::Packages;

/// The server, and all that it is made of, in versions that are known to do.
const REQUIREMENTS: &str = include_str!("requirements.txt");

const PACKAGES: Packages = Packages {
    what: "NX-27017",
    requirements: REQUIREMENTS,
    module: "nx_27017",
    advice: "install Python 3.10 or later with venv (on Debian, as root: apt-get install \
             python3-venv), name a MongoDB in ORDERLOCK_TEST_MONGODB_URI, or leave its tests out: \
             cargo xtask test --without mongodb",
};

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
    /// The server's program, or the address of the server that the environment names.
    pub(crate) fn variable(&self) -> (&'static str, String) {
        match &self.server {
            Server::Named(uri) => (URI, uri.clone()),
            Server::Installed(program) => (PROGRAM, program.display().to_string()),
        }
    }

    /// Finds the programs, or installs them if that needs no password: Debian's packages as root,
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
            Err(_) => {
                let python = PACKAGES.need(&folder.join("server"))?;
                Server::Installed(python.with_file_name("nx-27017"))
            }
        };
        let source = workspace.root.join("examples/nestjs");
        let service = nestjs::build(&source, &folder.join("nestjs"))?;
        Ok(Self { server, service })
    }
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
