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
    MongodbUniform,
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

/// What is said where there is no MongoDB to measure.
pub(crate) const WITHOUT_MONGODB: &str = "NOT MEASURED, because no address was given \
     (`--mongodb` or ORDERLOCK_TEST_MONGODB_URI): Orderlock on a MongoDB, and the old pattern";

/// How much is measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) time: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) runs: usize,
    only: Vec<Workload>,
    pub(crate) orders: usize,
    /// The same on a MongoDB.
    pub(crate) documents: usize,
    pub(crate) growth: usize,
    /// How many handlers sleep at once on a file, and on a PostgreSQL.
    pub(crate) in_flight: usize,
    pub(crate) shared_in_flight: usize,
    /// The address of a PostgreSQL.
    pub(crate) postgres: Option<String>,
    /// The address of a MongoDB.
    pub(crate) mongodb: Option<String>,
    /// How many operations the PostgreSQL's tables are looked at after; none if 0.
    pub(crate) bloat: u64,
    pub(crate) profile: &'static str,
}

impl Plan {
    /// # Errors
    /// If a workload needs a database, and none is given.
    pub(crate) fn of(cli: &Cli) -> Result<Self> {
        let mut plan = Self {
            time: Duration::from_secs(cli.seconds),
            warm_up: Duration::from_secs(1),
            runs: cli.runs.max(1),
            only: cli.only.clone(),
            orders: 10_000,
            documents: 1_000,
            growth: cli.growth,
            in_flight: 10_000,
            shared_in_flight: 1_000,
            postgres: cli.postgres.clone(),
            mongodb: cli.mongodb.clone(),
            bloat: cli.bloat,
            profile: "release",
        };
        if cli.smoke {
            plan.time = Duration::from_secs(1);
            plan.warm_up = Duration::from_millis(100);
            plan.runs = 1;
            plan.orders = 200;
            plan.documents = 200;
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
        ensure!(
            plan.mongodb.is_some() || !plan.only.contains(&Workload::MongodbUniform),
            "a workload on a MongoDB needs one: give its address with `--mongodb` or \
             ORDERLOCK_TEST_MONGODB_URI"
        );
        Ok(plan)
    }

    /// What is said of what a full run leaves out.
    pub(crate) fn left_out(&self) -> Vec<&'static str> {
        if !self.is_full() {
            return Vec::new();
        }
        let postgres = self.postgres.is_none().then_some(WITHOUT_POSTGRES);
        let mongodb = self.mongodb.is_none().then_some(WITHOUT_MONGODB);
        postgres.into_iter().chain(mongodb).collect()
    }

    /// Whether everything is measured, so that the document is whole.
    pub(crate) fn is_full(&self) -> bool {
        self.only.is_empty()
    }

    pub(crate) fn has(&self, workload: Workload) -> bool {
        let possible = match workload {
            Workload::MongodbUniform => self.mongodb.is_some(),
            shared if Workload::SHARED.contains(&shared) => self.postgres.is_some(),
            _ => true,
        };
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
