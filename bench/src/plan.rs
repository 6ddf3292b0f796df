//! What is measured, and how much of it.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::Cli;

/// What a server is loaded with. Those of a PostgreSQL are made on every system that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    Uniform,
    Hot,
    Replay,
    Slow,
    Growth,
    PostgresUniform,
    PostgresHot,
    PostgresReplay,
    PostgresSlow,
    PostgresNodes,
}

impl Workload {
    /// Those that ask a PostgreSQL.
    pub(crate) const SHARED: [Self; 5] = [
        Self::PostgresUniform,
        Self::PostgresHot,
        Self::PostgresReplay,
        Self::PostgresSlow,
        Self::PostgresNodes,
    ];
}

/// What is said where there is no PostgreSQL to measure.
pub(crate) const WITHOUT_POSTGRES: &str = "NOT MEASURED, because no address was given \
     (`--postgres` or ORDERLOCK_TEST_POSTGRES_URL): every workload on a PostgreSQL, and the rivals";

/// How much is measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) time: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) runs: usize,
    only: Vec<Workload>,
    pub(crate) orders: usize,
    pub(crate) growth: usize,
    /// How many handlers sleep at once on a file, and on a PostgreSQL.
    pub(crate) in_flight: usize,
    pub(crate) shared_in_flight: usize,
    /// The address of a PostgreSQL.
    pub(crate) postgres: Option<String>,
    /// How many operations its tables are looked at after; none if 0.
    pub(crate) bloat: u64,
    pub(crate) profile: &'static str,
}

impl Plan {
    /// # Errors
    /// If something is asked for that needs a PostgreSQL, and there is none.
    pub(crate) fn of(cli: &Cli) -> Result<Self> {
        let mut plan = Self {
            time: Duration::from_secs(cli.seconds),
            warm_up: Duration::from_secs(1),
            runs: cli.runs.max(1),
            only: cli.only.clone(),
            orders: 10_000,
            growth: cli.growth,
            in_flight: 10_000,
            shared_in_flight: 1_000,
            postgres: cli.postgres.clone(),
            bloat: cli.bloat,
            profile: "release",
        };
        if cli.smoke {
            plan.time = Duration::from_secs(1);
            plan.warm_up = Duration::from_millis(100);
            plan.runs = 1;
            plan.orders = 200;
            plan.growth = 2_000;
            plan.in_flight = 200;
            plan.shared_in_flight = 200;
            plan.profile = "ci";
        }
        let shared = Workload::SHARED.iter().any(|it| plan.only.contains(it));
        let asked = shared || plan.bloat > 0;
        ensure!(
            plan.postgres.is_some() || !asked,
            "a workload on a PostgreSQL needs one: give its address with `--postgres` or \
             ORDERLOCK_TEST_POSTGRES_URL"
        );
        Ok(plan)
    }

    /// Whether everything is measured, so that the document is whole.
    pub(crate) fn is_full(&self) -> bool {
        self.only.is_empty()
    }

    pub(crate) fn has(&self, workload: Workload) -> bool {
        let possible = self.postgres.is_some() || !Workload::SHARED.contains(&workload);
        possible && (self.is_full() || self.only.contains(&workload))
    }

    /// The same with one run of each row, however much others disturb it.
    pub(crate) fn once(&self) -> Self {
        Self {
            runs: 1,
            ..self.clone()
        }
    }
}
