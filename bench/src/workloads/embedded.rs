//! Orderlock on a file, and the handler that does nothing.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::loads::Sleeper;
use super::{Bench, SLEEP};
use crate::Workload;
use crate::figures::Row;
use crate::load::Until;
use crate::peer::Peer;
use crate::subject::{Subject, System};

/// Long enough that all operations of one look at the memory are in their handlers.
const LONG_SLEEP: Duration = Duration::from_secs(4);

impl Bench<'_> {
    pub(super) fn noop(&mut self) -> Result<()> {
        let server = Peer::own(&["serve-noop"], &self.place()?, None)?;
        let subject = Subject::alone(System::Noop, server);
        let paths = vec!["/v1/orders/ord_0123456789abcdefghijklmnop".to_owned()];
        for concurrency in [1, 64, 256] {
            self.edits("no-op", &subject, &paths, concurrency)?;
        }
        Ok(())
    }

    pub(super) fn order_manager(&mut self) -> Result<()> {
        let wanted = [Workload::Uniform, Workload::Hot, Workload::Replay];
        if !wanted.iter().any(|workload| self.plan.has(*workload)) {
            return Ok(());
        }
        let subject = self.embedded()?;
        let paths = self.create(&subject, self.plan.orders)?;
        if self.plan.has(Workload::Uniform) {
            for concurrency in [1, 64, 256] {
                self.edits("uniform", &subject, &paths, concurrency)?;
            }
        }
        if self.plan.has(Workload::Hot) {
            for concurrency in [64, 256] {
                self.edits("hot", &subject, &paths[..1], concurrency)?;
            }
        }
        if self.plan.has(Workload::Replay) {
            self.replay(&subject, &paths)?;
        }
        Ok(())
    }

    fn embedded(&mut self) -> Result<Subject> {
        let place = self.place()?;
        let server = Peer::orderlock(&self.program, &place, None)?;
        Ok(Subject::alone(System::Embedded, server))
    }

    /// Returns the memory for each operation in flight.
    pub(super) fn slow(&mut self) -> Result<u64> {
        let number = self.plan.in_flight;
        let sleepers = number.to_string();
        let arguments = ["serve-slow", "--sleepers", &sleepers];
        let server = Peer::own(&arguments, &self.place()?, None)?;
        let subject = Subject::alone(System::Embedded, server);
        let mut sleeper = Sleeper::new(self, &subject, number)?;
        let once = Until::Requests(number as u64);
        // Every connection and every order has been used once: what is left is for the operation.
        sleeper.sleep(Duration::ZERO, once, || {})?;
        let idle = subject.resident();
        let mut busy = None;
        sleeper.sleep(LONG_SLEEP, once, || {
            // When the first wakes up, the others sleep.
            busy.get_or_insert_with(|| subject.resident());
        })?;
        let until = Until::Time(self.plan.time);
        let row = Row::measure(self.plan, "slow", number, &subject, || {
            sleeper.sleep(SLEEP, until, || {})
        })?;
        self.rows.push(row);
        let busy = busy.context("nobody slept")?;
        Ok(busy.saturating_sub(idle) / number as u64)
    }

    pub(super) fn growth(&mut self) -> Result<()> {
        let subject = self.embedded()?;
        let paths = self.create(&subject, self.plan.growth)?;
        self.edits("growth", &subject, &paths, 256)
    }
}
