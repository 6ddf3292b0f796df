//! The figures of a row: the median of its runs, with the smallest and the largest throughput.

use std::path::Path;

use anyhow::Result;

use crate::Plan;
use crate::load::Loaded;
use crate::machine::{Used, resident};
use crate::peer::Peer;

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
    /// Microseconds of the server's processor time for each request.
    pub(crate) processor: f64,
    /// The same of the load's own.
    pub(crate) load: f64,
    pub(crate) flushes: Option<f64>,
    pub(crate) written: f64,
    pub(crate) resident: u64,
    pub(crate) foreign: f64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
}

/// A row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) concurrency: usize,
    pub(crate) runs: Vec<Run>,
}

impl Row {
    /// Measures a row: `load` loads the server once.
    pub(crate) fn measure(
        plan: &Plan,
        name: &str,
        concurrency: usize,
        server: &Peer,
        mut load: impl FnMut() -> Result<Loaded>,
    ) -> Result<Self> {
        let mut runs = Vec::new();
        for _ in 0..plan.runs {
            let mut run = one(server, &server.folder, &mut load)?;
            for _ in 0..REPEATS {
                if run.foreign <= FOREIGN_MAX || plan.runs == 1 {
                    break;
                }
                run = one(server, &server.folder, &mut load)?;
            }
            println!(
                "{name} at {concurrency}: {:.0}/s, p50 {} us, p99 {} us, {:.0} us of the server's",
                run.rate, run.p50, run.p99, run.processor
            );
            runs.push(run);
        }
        runs.sort_by(|one, other| one.rate.total_cmp(&other.rate));
        let name = name.to_owned();
        Ok(Self {
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
        self.runs.iter().any(|run| run.foreign > FOREIGN_MAX)
    }
}

fn one(server: &Peer, folder: &Path, load: &mut impl FnMut() -> Result<Loaded>) -> Result<Run> {
    let before = Used::now(server.process(), folder);
    let loaded = load()?;
    let spent = Used::now(server.process(), folder).since(before);
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
        resident: resident(server.process()),
        foreign: spent.foreign,
        errors: loaded.errors,
        first_error: loaded.first_error,
    })
}
