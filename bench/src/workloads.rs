//! What is measured, one after the other, each on a server and a file of its own.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use orderlock::{Runtime as _, TokioRuntime};

use crate::connection::Answer;
use crate::disk::{self, Flushes};
use crate::figures::Row;
use crate::load::{Connections, Until};
use crate::machine::resident;
use crate::peer::{self, Peer};
use crate::requests::{Creations, Edits, Replays, Sleeps};
use crate::{Plan, Workload};

/// How many connections make the orders.
const MAKERS: usize = 256;

/// How long the handler of a slow operation sleeps.
pub(crate) const SLEEP: Duration = Duration::from_millis(100);

/// Long enough that all operations of one look at the memory are in their handlers.
const LONG_SLEEP: Duration = Duration::from_secs(4);

/// All that was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) flushes: Flushes,
    pub(crate) rows: Vec<Row>,
    /// Bytes of memory for each operation in flight.
    pub(crate) in_flight: Option<u64>,
    pub(crate) machine: Vec<(String, String)>,
}

impl Measured {
    pub(crate) fn row(&self, name: &str, concurrency: usize) -> Option<&Row> {
        let fits = |row: &&Row| row.name == name && row.concurrency == concurrency;
        self.rows.iter().find(fits)
    }

    /// # Errors
    /// If an answer was wrong: then the figures mean nothing.
    pub(crate) fn fail_on_errors(&self) -> Result<()> {
        for row in &self.rows {
            for run in &row.runs {
                if let Some(error) = &run.first_error {
                    bail!(
                        "{}: {} wrong answers, the first {error}",
                        row.name,
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
    /// Told apart in keys: each run uses its own.
    run: u64,
}

pub(crate) fn run(plan: &Plan) -> Result<Measured> {
    let program = peer::build(plan.profile)?;
    // Beside the program and not in a folder for temporary files, which may lie in memory.
    let parent = program.parent().context("a program lies in a folder")?;
    let folder = tempfile::tempdir_in(parent)?;
    let flushes = disk::measure(folder.path())?;
    let machine = crate::machine::describe(folder.path());
    let run = u64::try_from(TokioRuntime.wall().as_second())?;
    let mut bench = Bench {
        plan,
        program,
        folder,
        rows: Vec::new(),
        run,
    };
    bench.noop()?;
    bench.order_manager()?;
    let in_flight = match plan.has(Workload::Slow) {
        true => Some(bench.slow()?),
        false => None,
    };
    if plan.has(Workload::Growth) {
        bench.growth()?;
    }
    Ok(Measured {
        flushes,
        rows: bench.rows,
        in_flight,
        machine,
    })
}

/// An answer to an edit or to nothing.
fn is_good(answer: &Answer<'_>) -> bool {
    answer.status == 200 && answer.body.starts_with(br#"{"status":200"#)
}

impl Bench<'_> {
    fn place(&self, name: &str) -> Result<PathBuf> {
        let place = self.folder.path().join(name);
        std::fs::create_dir(&place)?;
        Ok(place)
    }

    fn next_run(&mut self) -> u64 {
        self.run += 1;
        self.run
    }

    fn noop(&mut self) -> Result<()> {
        let server = Peer::own("serve-noop", &self.place("noop")?)?;
        let paths = vec!["/v1/orders/ord_0123456789abcdefghijklmnop".to_owned()];
        for concurrency in [1, 64, 256] {
            self.edits("no-op", &server, &paths, concurrency)?;
        }
        Ok(())
    }

    fn order_manager(&mut self) -> Result<()> {
        let wanted = [Workload::Uniform, Workload::Hot, Workload::Replay];
        if !wanted.iter().any(|workload| self.plan.has(*workload)) {
            return Ok(());
        }
        let server = Peer::orderlock(&self.program, &self.place("orders")?)?;
        let paths = self.create(&server, self.plan.orders)?;
        if self.plan.has(Workload::Uniform) {
            for concurrency in [1, 64, 256] {
                self.edits("uniform", &server, &paths, concurrency)?;
            }
        }
        if self.plan.has(Workload::Hot) {
            for concurrency in [64, 256] {
                self.edits("hot", &server, &paths[..1], concurrency)?;
            }
        }
        if self.plan.has(Workload::Replay) {
            self.replay(&server, &paths)?;
        }
        Ok(())
    }

    /// Makes orders, and returns where they are.
    fn create(&mut self, server: &Peer, orders: usize) -> Result<Vec<String>> {
        let mut paths = Vec::with_capacity(orders);
        let mut connections = Connections::open(&server.address, MAKERS)?;
        let requests = Creations {
            run: self.next_run(),
            next: 0,
        };
        let made = connections.load(requests, Until::Requests(orders as u64), |answer| {
            if let Some(path) = answer.location {
                paths.push(path.to_owned());
                if paths.len() % 100_000 == 0 {
                    println!("{} orders", paths.len());
                }
            }
            answer.status == 201
        })?;
        match made.first_error {
            None => Ok(paths),
            Some(error) => bail!("orders could not be made: {error}"),
        }
    }

    fn edits(
        &mut self,
        name: &str,
        server: &Peer,
        paths: &[String],
        concurrency: usize,
    ) -> Result<()> {
        let mut connections = Connections::open(&server.address, concurrency)?;
        let (plan, mut run) = (self.plan, self.run);
        let mut load = |time| {
            run += 1;
            let next = 0;
            let edits = Edits { paths, run, next };
            connections.load(edits, Until::Time(time), |answer| is_good(&answer))
        };
        load(plan.warm_up)?;
        let row = Row::measure(plan, name, concurrency, server, || load(plan.time))?;
        self.run = run;
        self.rows.push(row);
        Ok(())
    }

    fn replay(&mut self, server: &Peer, paths: &[String]) -> Result<()> {
        let run = self.next_run();
        let mut connections = Connections::open(&server.address, 256)?;
        let edits = Edits {
            paths,
            run,
            next: 0,
        };
        let settled = connections.load(edits, Until::Time(self.plan.warm_up), |answer| {
            is_good(&answer)
        })?;
        let mut load = || {
            let replays = Replays {
                paths,
                run,
                settled: settled.requests,
                next: 0,
            };
            connections.load(replays, Until::Time(self.plan.time), |answer| {
                answer.replayed && is_good(&answer)
            })
        };
        let row = Row::measure(self.plan, "replay", 256, server, &mut load)?;
        self.rows.push(row);
        Ok(())
    }

    /// Returns the memory for each operation in flight.
    fn slow(&mut self) -> Result<u64> {
        let server = Peer::own("serve-slow", &self.place("slow")?)?;
        let number = self.plan.in_flight;
        let mut connections = Connections::open(&server.address, number)?;
        let mut run = self.next_run();
        let process = server.process();
        let mut busy = None;
        let mut load = |sleep: Duration, until| {
            run += 1;
            let milliseconds = u64::try_from(sleep.as_millis()).unwrap_or(u64::MAX);
            let sleeps = Sleeps {
                run,
                next: 0,
                milliseconds,
            };
            connections.load(sleeps, until, |answer| {
                if sleep == LONG_SLEEP {
                    // When the first wakes up, the others sleep.
                    busy.get_or_insert_with(|| resident(process));
                }
                answer.status == 200
            })
        };
        // Every connection and every order has been used once: what is left is for the operation.
        load(Duration::ZERO, Until::Requests(number as u64))?;
        let idle = resident(process);
        load(LONG_SLEEP, Until::Requests(number as u64))?;
        let (plan, sleep) = (self.plan, SLEEP);
        let mut timed = || load(sleep, Until::Time(plan.time));
        let row = Row::measure(plan, "slow", number, &server, &mut timed)?;
        self.run = run;
        self.rows.push(row);
        let busy = busy.context("nobody slept")?;
        Ok(busy.saturating_sub(idle) / number as u64)
    }

    fn growth(&mut self) -> Result<()> {
        let server = Peer::orderlock(&self.program, &self.place("growth")?)?;
        let paths = self.create(&server, self.plan.growth)?;
        self.edits("growth", &server, &paths, 256)
    }
}
