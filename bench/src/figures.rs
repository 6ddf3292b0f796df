//! The figures of a row: the median of its runs, with the smallest and the largest throughput.

use anyhow::Result;

use crate::Plan;
use crate::database::Schema;
use crate::load::Loaded;
use crate::subject::{Base, Subject, System};

/// More of a processor than this in other hands spoils a run.
const FOREIGN_MAX: f64 = 0.15;

/// How often a spoilt run is made again.
const REPEATS: usize = 2;

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Requests for each second.
    pub(crate) rate: f64,
    /// Microseconds.
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
    /// Microseconds of the servers' processor time for each request.
    pub(crate) processor: f64,
    /// The same of the load's own.
    pub(crate) load: f64,
    pub(crate) flushes: Option<f64>,
    pub(crate) written: f64,
    pub(crate) resident: u64,
    pub(crate) foreign: f64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    /// What it cost the PostgreSQL.
    pub(crate) shared: Option<Shared>,
}

/// What a run cost the PostgreSQL.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shared {
    /// Microseconds of processor time for each request, if it is on this machine.
    pub(crate) processor: Option<f64>,
    /// Bytes of the log and its flushes, for each request.
    pub(crate) log_bytes: f64,
    pub(crate) flushes: f64,
    pub(crate) connections: i64,
}

impl Run {
    /// Microseconds of processor time for each request, of servers and database together.
    pub(crate) fn whole_processor(&self) -> Option<f64> {
        Some(self.processor + self.shared?.processor?)
    }
}

/// A row of a table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) system: System,
    pub(crate) name: &'static str,
    pub(crate) concurrency: usize,
    pub(crate) runs: Vec<Run>,
}

impl Row {
    /// Measures a row: `load` loads the system once.
    pub(crate) fn measure(
        plan: &Plan,
        name: &'static str,
        concurrency: usize,
        subject: &Subject,
        mut load: impl FnMut() -> Result<Loaded>,
    ) -> Result<Self> {
        let mut runs = Vec::new();
        for _ in 0..plan.runs {
            let mut run = one(subject, &mut load)?;
            for _ in 0..REPEATS {
                if run.foreign <= FOREIGN_MAX || plan.runs == 1 || counts_as_others(subject.system)
                {
                    break;
                }
                run = one(subject, &mut load)?;
            }
            println!(
                "{name} at {concurrency}, {}: {:.0}/s, p50 {} us, p99 {} us, {:.0} us of the server's",
                subject.system.name(),
                run.rate,
                run.p50,
                run.p99,
                run.processor
            );
            runs.push(run);
        }
        runs.sort_by(|one, other| one.rate.total_cmp(&other.rate));
        Ok(Self {
            system: subject.system,
            name,
            concurrency,
            runs,
        })
    }

    /// The run in the middle.
    pub(crate) fn median(&self) -> &Run {
        &self.runs[self.runs.len() / 2]
    }

    pub(crate) fn spoilt(&self) -> bool {
        !counts_as_others(self.system) && self.runs.iter().any(|run| run.foreign > FOREIGN_MAX)
    }
}

/// Whether the database's own processor time counts as that of others: a MongoDB's does.
fn counts_as_others(system: System) -> bool {
    system.base() == Base::Mongodb
}

fn one(subject: &Subject, load: &mut impl FnMut() -> Result<Loaded>) -> Result<Run> {
    let watch = subject.schema.as_ref().map(Schema::watch).transpose()?;
    let before = subject.used();
    let loaded = load()?;
    let spent = subject.used().since(before);
    let counted = watch.map(|watch| watch.end()).transpose()?;
    let requests = loaded.requests.max(1) as f64;
    Ok(Run {
        rate: loaded.requests as f64 / loaded.elapsed.as_secs_f64(),
        p50: loaded.latency.value_at_quantile(0.5),
        p99: loaded.latency.value_at_quantile(0.99),
        max: loaded.latency.max(),
        processor: spent.server * 1e6 / requests,
        load: spent.own * 1e6 / requests,
        flushes: spent.flushes.map(|flushes| flushes as f64 / requests),
        written: spent.written as f64 / requests,
        resident: subject.resident(),
        foreign: spent.foreign,
        errors: loaded.errors,
        first_error: loaded.first_error,
        shared: counted.map(|counted| Shared {
            processor: spent.database.map(|seconds| seconds * 1e6 / requests),
            log_bytes: counted.log_bytes as f64 / requests,
            flushes: counted.flushes as f64 / requests,
            connections: counted.connections,
        }),
    })
}
