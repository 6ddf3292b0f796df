//! The parts of what is checked that need a server, and the servers.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::cargo::{CARGO_MAX, Workspace};
use crate::postgres::Edition;
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
    /// One for each requested edition.
    postgres: Vec<postgres::Programs>,
    mongodb: Option<mongodb::Programs>,
    /// What is left unchecked.
    pub(crate) left_out: Vec<Part>,
}

impl Provided {
    /// Finds or installs the programs that the requested parts need.
    ///
    /// # Errors
    /// What is missing, and what to do.
    pub(crate) fn need(
        asked: impl Fn(Part) -> bool,
        without: &[Part],
        editions: &[Edition],
        workspace: &Workspace,
    ) -> Result<Self> {
        let wanted = |part| asked(part) && !without.contains(&part);
        let mut postgres = Vec::new();
        if wanted(Part::Postgres) {
            for edition in editions {
                postgres.push(postgres::Programs::need(*edition, &workspace.programs())?);
            }
        }
        let mongodb = wanted(Part::Mongodb).then(|| mongodb::Programs::need(workspace));
        Ok(Self {
            postgres,
            mongodb: mongodb.transpose()?,
            left_out: without.to_vec(),
        })
    }

    /// The environment of a program that starts its own servers: where the servers' programs are.
    pub(crate) fn programs(&self) -> Vec<(&'static str, String)> {
        let postgres = self.postgres.first().map(postgres::Programs::variable);
        let mongodb = self.mongodb.as_ref().map(mongodb::Programs::variable);
        postgres.into_iter().chain(mongodb).collect()
    }

    /// Starts the servers of the parts that one step asks for; of PostgreSQL, the first edition.
    ///
    /// # Errors
    /// What the server says that does not start.
    pub(crate) fn start(&self, asked: impl Fn(Part) -> bool) -> Result<Servers> {
        let mut servers = Servers::default();
        if let Some(programs) = self.postgres.first().filter(|_| asked(Part::Postgres)) {
            servers.take_postgres(programs)?;
        }
        if let Some(programs) = self.mongodb.as_ref().filter(|_| asked(Part::Mongodb)) {
            let server = mongodb::Server::start(programs)?;
            servers.variables.extend_from_slice(server.variables());
            servers.mongodb = Some(server);
        }
        Ok(servers)
    }

    /// Starts the further editions of PostgreSQL, each beside nothing else, and has each of them tested
    /// before the next one.
    ///
    /// # Errors
    /// What the server says that does not start, or what its test says.
    pub(crate) fn start_further(&self, test: impl Fn(&Servers) -> Result<()>) -> Result<()> {
        for programs in self.postgres.iter().skip(1) {
            let mut servers = Servers::default();
            servers.take_postgres(programs)?;
            test(&servers)?;
        }
        Ok(())
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
    fn take_postgres(&mut self, programs: &postgres::Programs) -> Result<()> {
        let server = postgres::Server::start(programs)?;
        self.variables.extend(server.variables());
        self.postgres = Some(server);
        Ok(())
    }

    /// The tests' environment: where the servers are.
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
    edition: Edition,
    command: &[OsString],
    workspace: &Workspace,
) -> Result<String> {
    let provided = Provided::need(|part| parts.contains(&part), &[], &[edition], workspace)?;
    let servers = provided.start(|_| true)?;
    let (program, arguments) = command.split_first().context("no command is named")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(servers.variables().iter().cloned());
    Process::start(&mut command)?.succeed(CARGO_MAX)?;
    Ok("PASSED".into())
}
