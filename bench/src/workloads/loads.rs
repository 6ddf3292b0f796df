//! How a system is loaded, over any store.

use std::time::Duration;

use anyhow::{Result, bail};

use super::Bench;
use crate::connection::Answer;
use crate::figures::Row;
use crate::load::{Connections, Loaded, Until};
use crate::requests::{Creations, Edits, Replays, Sleeps};
use crate::subject::Subject;

/// How many connections make the orders.
const MAKERS: usize = 256;

/// An answer to an edit that changed something, or to nothing.
fn is_good(answer: &Answer<'_>) -> bool {
    answer.status == 200 && answer.body.starts_with(br#"{"status":200,"result":"#)
}

impl Bench<'_> {
    /// Makes orders, and returns where they are.
    pub(super) fn create(&mut self, subject: &Subject, orders: usize) -> Result<Vec<String>> {
        let mut paths = Vec::with_capacity(orders);
        let mut connections = Connections::open(&subject.addresses(), MAKERS)?;
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

    /// Edits orders for a while, after a warm-up.
    pub(super) fn edits(
        &mut self,
        name: &'static str,
        subject: &Subject,
        paths: &[String],
        concurrency: usize,
    ) -> Result<()> {
        subject.settle_down()?;
        let plan = self.plan;
        let mut editor = Editor::new(self, subject, paths, concurrency)?;
        editor.edit(Until::Time(plan.warm_up))?;
        let row = Row::measure(plan, name, concurrency, subject, || {
            editor.edit(Until::Time(plan.time))
        })?;
        self.take(&editor, row);
        Ok(())
    }

    /// Edits orders so many times, once.
    pub(super) fn many_edits(
        &mut self,
        name: &'static str,
        subject: &Subject,
        paths: &[String],
        number: u64,
    ) -> Result<()> {
        let (plan, concurrency) = (self.plan.once(), 256);
        let mut editor = Editor::new(self, subject, paths, concurrency)?;
        let row = Row::measure(&plan, name, concurrency, subject, || {
            editor.edit(Until::Requests(number))
        })?;
        self.take(&editor, row);
        Ok(())
    }

    fn take(&mut self, editor: &Editor<'_>, row: Row) {
        self.run = editor.run;
        self.operations += editor.operations;
        self.rows.push(row);
    }

    /// Sends edits again that were settled.
    pub(super) fn replay(&mut self, subject: &Subject, paths: &[String]) -> Result<()> {
        subject.settle_down()?;
        let (plan, concurrency) = (self.plan, 256);
        let mut editor = Editor::new(self, subject, paths, concurrency)?;
        let settled = editor.edit(Until::Time(plan.warm_up))?.requests;
        let row = Row::measure(plan, "replay", concurrency, subject, || {
            editor.replay(settled, plan.time)
        })?;
        self.take(&editor, row);
        Ok(())
    }
}

/// Edits under fresh keys, over connections that stay open.
struct Editor<'a> {
    connections: Connections,
    paths: &'a [String],
    /// Each load is a run of its own, so that no two have a key in common.
    run: u64,
    operations: u64,
}

impl<'a> Editor<'a> {
    fn new(
        bench: &Bench<'_>,
        subject: &Subject,
        paths: &'a [String],
        concurrency: usize,
    ) -> Result<Self> {
        Ok(Self {
            connections: Connections::open(&subject.addresses(), concurrency)?,
            paths,
            run: bench.run,
            operations: 0,
        })
    }

    fn edit(&mut self, until: Until) -> Result<Loaded> {
        self.run += 1;
        let (paths, run, next) = (self.paths, self.run, 0);
        let edits = Edits { paths, run, next };
        let loaded = self
            .connections
            .load(edits, until, |answer| is_good(&answer))?;
        self.operations += loaded.requests;
        Ok(loaded)
    }

    /// Sends again what the last load has settled.
    fn replay(&mut self, settled: u64, time: Duration) -> Result<Loaded> {
        let replays = Replays {
            paths: self.paths,
            run: self.run,
            settled,
            next: 0,
        };
        let until = Until::Time(time);
        let connections = &mut self.connections;
        connections.load(replays, until, |answer| answer.replayed && is_good(&answer))
    }
}

/// Handlers that sleep, over connections that stay open.
pub(super) struct Sleeper {
    connections: Connections,
    run: u64,
}

impl Sleeper {
    pub(super) fn new(bench: &mut Bench<'_>, subject: &Subject, number: usize) -> Result<Self> {
        Ok(Self {
            connections: Connections::open(&subject.addresses(), number)?,
            // Its server has no other runs, so that each load can count on from here.
            run: bench.next_run(),
        })
    }

    /// Lets handlers sleep. `look` is called with each answer.
    pub(super) fn sleep(
        &mut self,
        time: Duration,
        until: Until,
        mut look: impl FnMut(),
    ) -> Result<Loaded> {
        self.run += 1;
        let sleeps = Sleeps {
            run: self.run,
            next: 0,
            milliseconds: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
        };
        self.connections.load(sleeps, until, |answer| {
            look();
            answer.status == 200
        })
    }
}
