//! Orderlock on a PostgreSQL, beside what one would write by hand, all on the same server.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;

use super::loads::Sleeper;
use super::{Bench, Left, SLEEP};
use crate::Workload;
use crate::database::{Database, Schema};
use crate::figures::Row;
use crate::load::Until;
use crate::peer::Peer;
use crate::subject::{Subject, System};

impl Bench<'_> {
    /// Returns what the server is, and what was left in its tables.
    pub(super) fn shared(&mut self, address: &str) -> Result<(String, Vec<Left>)> {
        let database = Rc::new(Database::connect(address)?);
        let mut left = Vec::new();
        let short = [
            Workload::PostgresUniform,
            Workload::PostgresHot,
            Workload::PostgresReplay,
        ];
        if short.iter().any(|workload| self.plan.has(*workload)) {
            for system in System::COMPARED {
                left.push(self.compared(&database, system)?);
            }
        }
        if self.plan.has(Workload::PostgresNodes) {
            self.two_nodes(&database)?;
        }
        if self.plan.has(Workload::PostgresSlow) {
            for system in System::COMPARED {
                self.shared_slow(&database, system)?;
            }
        }
        if self.plan.bloat > 0 {
            left.push(self.bloat(&database)?);
        }
        Ok((database.describe()?, left))
    }

    /// A system on a schema of its own. `sleepers` orders are made for handlers that sleep.
    fn on_postgres(
        &mut self,
        database: &Rc<Database>,
        system: System,
        sleepers: usize,
    ) -> Result<Subject> {
        let schema = Schema::new(database)?;
        let address = schema.address();
        let store = Some(address.as_str());
        let number = sleepers.to_string();
        let verb = match system {
            System::OneTransaction => "serve-one-transaction",
            System::TwoTransactions => "serve-two-transactions",
            _ => "serve-slow",
        };
        let rival = System::RIVALS.contains(&system);
        let nodes = if system == System::TwoNodes { 2 } else { 1 };
        let mut servers = Vec::new();
        for _ in 0..nodes {
            let place = self.place()?;
            servers.push(if rival || sleepers > 0 {
                Peer::own(&[verb, "--sleepers", &number], &place, store)?
            } else {
                Peer::orderlock(&self.program, &place, store)?
            });
        }
        Ok(Subject {
            system,
            servers,
            schema: Some(schema),
            own: None,
        })
    }

    fn compared(&mut self, database: &Rc<Database>, system: System) -> Result<Left> {
        let subject = self.on_postgres(database, system, 0)?;
        let paths = self.create(&subject, self.plan.orders)?;
        let (before, counted) = (subject.tables()?, self.operations);
        if self.plan.has(Workload::PostgresUniform) {
            for concurrency in [1, 64, 256] {
                self.edits("uniform", &subject, &paths, concurrency)?;
            }
        }
        if self.plan.has(Workload::PostgresHot) {
            for concurrency in [64, 256] {
                self.edits("hot", &subject, &paths[..1], concurrency)?;
            }
        }
        if self.plan.has(Workload::PostgresReplay) {
            self.replay(&subject, &paths)?;
        }
        Ok(Left {
            system,
            operations: self.operations - counted,
            before,
            after: subject.end()?,
        })
    }

    /// As many connections as one node had, half of them to each of two.
    fn two_nodes(&mut self, database: &Rc<Database>) -> Result<()> {
        let subject = self.on_postgres(database, System::TwoNodes, 0)?;
        let paths = self.create(&subject, self.plan.orders)?;
        self.edits("uniform", &subject, &paths, 256)
    }

    fn shared_slow(&mut self, database: &Rc<Database>, system: System) -> Result<()> {
        let number = self.plan.shared_in_flight;
        let subject = self.on_postgres(database, system, number)?;
        let mut sleeper = Sleeper::new(self, &subject, number)?;
        let once = Until::Requests(number as u64);
        sleeper.sleep(Duration::ZERO, once, || {})?;
        subject.settle_down()?;
        let until = Until::Time(self.plan.time);
        let row = Row::measure(self.plan, "slow", number, &subject, || {
            sleeper.sleep(SLEEP, until, || {})
        })?;
        self.rows.push(row);
        Ok(())
    }

    /// What millions of operations leave behind in Orderlock's tables.
    fn bloat(&mut self, database: &Rc<Database>) -> Result<Left> {
        let system = System::OneNode;
        let subject = self.on_postgres(database, system, 0)?;
        let paths = self.create(&subject, self.plan.orders)?;
        let (before, counted) = (subject.tables()?, self.operations);
        self.many_edits("bloat", &subject, &paths, self.plan.bloat)?;
        Ok(Left {
            system,
            operations: self.operations - counted,
            before,
            after: subject.end()?,
        })
    }
}
