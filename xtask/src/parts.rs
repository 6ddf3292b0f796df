//! The parts of what is checked that need a server, and the servers.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::cargo::{CARGO_MAX, Workspace};
use crate::process::Process;
use crate::{mongodb, postgres};

/// A part that may be left unchecked where it cannot be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The tests of orderlock-postgres and the benchmarks beside it, which need a PostgreSQL.
    Postgres,
    /// The tests of orderlock-mongodb and of the NestJS example, which need a server that speaks
    /// MongoDB's protocol, and Node.js.
    Mongodb,
}

impl Part {
    /// What is said of it, before everything and after everything.
    pub(crate) fn unchecked(self) -> &'static str {
        match self {
            Self::Postgres => {
                "NOT CHECKED, because of `--without postgres`: every test of orderlock-postgres, and \
                 of several nodes on one database, and every benchmark on one"
            }
            Self::Mongodb => {
                "NOT CHECKED, because of `--without mongodb`: every test of orderlock-mongodb, of the \
                 NestJS example, and of both on one collection"
            }
        }
    }

    /// The crate whose tests need it.
    pub(crate) fn package(self) -> &'static str {
        match self {
            Self::Postgres => "orderlock-postgres",
            Self::Mongodb => "orderlock-mongodb",
        }
    }

    /// The module with the tests of the server that need it.
    pub(crate) fn module(self) -> &'static str {
        match self {
            Self::Postgres => "process::postgres::",
            Self::Mongodb => "process::mongodb::",
        }
    }

    /// The variable that says where its server is.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Self::Postgres => "ORDERLOCK_TEST_POSTGRES_URL",
            Self::Mongodb => mongodb::URI,
        }
    }
}

/// What the parts that are checked need, found or installed.
#[derive(Debug)]
pub(crate) struct Provided {
    postgres: Option<postgres::Programs>,
    mongodb: Option<mongodb::Programs>,
    /// What is left unchecked.
    pub(crate) left_out: Vec<Part>,
}

impl Provided {
    /// Finds or installs what the parts that are asked for need.
    ///
    /// # Errors
    /// What is missing, and what to do.
    pub(crate) fn need(
        asked: impl Fn(Part) -> bool,
        without: &[Part],
        workspace: &Workspace,
    ) -> Result<Self> {
        let wanted = |part| (asked(part) && !without.contains(&part)).then_some(());
        let folder = workspace.programs();
        let postgres = wanted(Part::Postgres).map(|()| postgres::Programs::need(&folder));
        let mongodb = wanted(Part::Mongodb).map(|()| mongodb::Programs::need(workspace));
        Ok(Self {
            postgres: postgres.transpose()?,
            mongodb: mongodb.transpose()?,
            left_out: without.to_vec(),
        })
    }

    /// What a program is told that starts servers of its own: where those of the servers are.
    pub(crate) fn programs(&self) -> Vec<(&'static str, String)> {
        let postgres = self.postgres.as_ref().map(postgres::Programs::variable);
        let mongodb = self.mongodb.as_ref().map(mongodb::Programs::variable);
        postgres.into_iter().chain(mongodb).collect()
    }

    /// Starts the servers of the parts that one step asks for.
    ///
    /// # Errors
    /// What the server says that does not start.
    pub(crate) fn start(&self, asked: impl Fn(Part) -> bool) -> Result<Servers> {
        let mut servers = Servers::default();
        if let Some(programs) = self.postgres.as_ref().filter(|_| asked(Part::Postgres)) {
            let server = postgres::Server::start(programs)?;
            servers.variables.extend(server.variables());
            servers.postgres = Some(server);
        }
        if let Some(programs) = self.mongodb.as_ref().filter(|_| asked(Part::Mongodb)) {
            let server = mongodb::Server::start(programs)?;
            servers.variables.extend(server.variables());
            servers.mongodb = Some(server);
        }
        Ok(servers)
    }
}

/// The servers that run. They end with this value.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    variables: Vec<(&'static str, String)>,
    postgres: Option<postgres::Server>,
    mongodb: Option<mongodb::Server>,
}

impl Servers {
    /// What tests are told of them.
    pub(crate) fn variables(&self) -> &[(&'static str, String)] {
        &self.variables
    }
}

/// Runs one command beside the servers of some parts. Returns the closing line.
///
/// # Errors
/// What is missing, or how the command ended.
pub(crate) fn run_with(
    parts: &[Part],
    command: &[OsString],
    workspace: &Workspace,
) -> Result<String> {
    let provided = Provided::need(|part| parts.contains(&part), &[], workspace)?;
    let servers = provided.start(|_| true)?;
    let (program, arguments) = command.split_first().context("no command is named")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(servers.variables().iter().cloned());
    Process::start(&mut command)?.succeed(CARGO_MAX)?;
    Ok("PASSED".into())
}
