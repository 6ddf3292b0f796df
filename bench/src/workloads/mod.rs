//! What is measured, one after the other, each on a server and a file or schema of its own.

mod embedded;
mod loads;
mod old_pattern;
mod shared;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use orderlock::{Runtime as _, TokioRuntime};

use crate::database::Tables;
use crate::disk::{self, Flushes};
use crate::figures::{Row, Run};
use crate::subject::System;
use crate::{Plan, Workload, peer};

/// How long the handler of a slow operation sleeps.
pub(crate) const SLEEP: Duration = Duration::from_millis(100);

/// All that was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) flushes: Flushes,
    pub(crate) rows: Vec<Row>,
    /// Bytes of memory for each operation in flight.
    pub(crate) in_flight: Option<u64>,
    pub(crate) machine: Vec<(String, String)>,
    /// What the PostgreSQL is, if there is one.
    pub(crate) database: Option<String>,
    pub(crate) left: Vec<Left>,
    /// What the MongoDB is, if there is one.
    pub(crate) documents: Option<String>,
}

/// What operations have left behind in the tables of a PostgreSQL.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    pub(crate) system: System,
    pub(crate) operations: u64,
    pub(crate) before: Tables,
    pub(crate) after: Tables,
}

impl Measured {
    pub(crate) fn run(&self, system: System, name: &str, concurrency: usize) -> Option<&Run> {
        let fits =
            |row: &&Row| row.system == system && row.name == name && row.concurrency == concurrency;
        self.rows.iter().find(fits).map(Row::median)
    }

    /// # Errors
    /// If an answer was wrong: then the figures mean nothing.
    pub(crate) fn fail_on_errors(&self) -> Result<()> {
        for row in &self.rows {
            for run in &row.runs {
                if let Some(error) = &run.first_error {
                    bail!(
                        "{}, {}: {} wrong answers, the first {error}",
                        row.name,
                        row.system.name(),
                        run.errors
                    );
                }
            }
        }
        Ok(())
    }
}

struct Bench<'a> {
    plan: &'a Plan,
    program: PathBuf,
    folder: tempfile::TempDir,
    rows: Vec<Row>,
    /// Part of the keys, so that each run has its own.
    run: u64,
    /// How many folders were made.
    places: u64,
    /// How many operations there were.
    operations: u64,
}

pub(crate) fn run(plan: &Plan) -> Result<Measured> {
    let program = peer::build(plan.profile)?;
    // Beside the program and not in a folder for temporary files, which may lie in memory.
    let parent = program.parent().context("a program lies in a folder")?;
    let folder = tempfile::tempdir_in(parent)?;
    let mut measured = Measured {
        flushes: disk::measure(folder.path())?,
        rows: Vec::new(),
        in_flight: None,
        machine: crate::machine::describe(folder.path()),
        database: None,
        left: Vec::new(),
        documents: None,
    };
    let mut bench = Bench {
        plan,
        program,
        folder,
        rows: Vec::new(),
        run: u64::try_from(TokioRuntime.wall().as_second())?,
        places: 0,
        operations: 0,
    };
    bench.noop()?;
    bench.order_manager()?;
    if plan.has(Workload::Slow) {
        measured.in_flight = Some(bench.slow()?);
    }
    if plan.has(Workload::Growth) {
        bench.growth()?;
    }
    if let Some(address) = &plan.postgres
        && (plan.bloat > 0 || Workload::SHARED.iter().any(|it| plan.has(*it)))
    {
        let (database, left) = bench.shared(address)?;
        measured.database = Some(database);
        measured.left = left;
    }
    if let Some(address) = &plan.mongodb
        && plan.has(Workload::MongodbUniform)
    {
        measured.documents = Some(bench.old_pattern(address)?);
    }
    measured.rows = bench.rows;
    Ok(measured)
}

impl Bench<'_> {
    /// A folder of its own for a server.
    fn place(&mut self) -> Result<PathBuf> {
        self.places += 1;
        let place = self.folder.path().join(self.places.to_string());
        std::fs::create_dir(&place)?;
        Ok(place)
    }

    fn next_run(&mut self) -> u64 {
        self.run += 1;
        self.run
    }
}
