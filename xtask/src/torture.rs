//! The torture: real stores with everything going wrong that can, for a while each, and one planted
//! fault each that must be found.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use crate::cargo::Workspace;
use crate::parts::{Part, Provided};
use crate::postgres::Edition;
use crate::process::Process;

/// The program.
const PROGRAM: &str = "orderlock-torture";

/// How long each store is tortured in the test command.
const SECONDS: u64 = 90;
/// How long finding a planted fault may take there. It ends as soon as it is found.
const PLANTED_SECONDS: u64 = 600;
/// What a run may take beside its length: servers start, faults are dealt until each has struck,
/// and everything must end.
const BESIDE: Duration = Duration::from_mins(20);

/// A store that is tortured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Store {
    /// The embedded store.
    Sqlite,
    /// A PostgreSQL and its standby.
    Postgres,
    /// A server that speaks MongoDB's protocol.
    Mongodb,
}

impl Store {
    const ALL: [Self; 3] = [Self::Sqlite, Self::Postgres, Self::Mongodb];

    fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Mongodb => "mongodb",
        }
    }

    /// The part whose programs it needs.
    fn part(self) -> Option<Part> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some(Part::Postgres),
            Self::Mongodb => Some(Part::Mongodb),
        }
    }

    /// What clients and faults are drawn from in the test command: alike each time, so that a run which
    /// fails there tells of a change, or of a race that is rare. By hand each run draws anew.
    fn seed(self) -> &'static str {
        match self {
            Self::Sqlite => "131",
            Self::Postgres => "305",
            Self::Mongodb => "222",
        }
    }

    /// The planted fault that the test command has it find.
    fn planted(self) -> &'static str {
        match self {
            Self::Sqlite => "any-clock",
            Self::Postgres => "early-horizon",
            Self::Mongodb => "replaced",
        }
    }
}

/// What is tortured by hand, and for how long.
#[derive(Clone, Debug, Args)]
pub(crate) struct Wish {
    /// Only this store; all of them if none is named.
    #[arg(long, value_enum)]
    store: Option<Store>,
    /// How long each store is tortured. The first round of faults is played to its end.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// What clients and faults are drawn from; another one each time if none is named.
    #[arg(long)]
    seed: Option<u64>,
    /// Which PostgreSQL is tortured.
    #[arg(long, value_enum, default_value_t)]
    postgres: Edition,
    /// Takes one cure out of its store, which must then be found; an unknown name lists them.
    #[arg(long)]
    plant: Option<String>,
}

/// Runs the torture with the given options. Returns the closing line.
///
/// # Errors
/// A promise broke, or a kind of fault never struck.
pub(crate) fn by_hand(wish: &Wish, workspace: &Workspace) -> Result<String> {
    let stores = wish
        .store
        .map_or_else(|| Store::ALL.to_vec(), |one| vec![one]);
    let asked = |part| wish.plant.is_some() || stores.iter().any(|it| it.part() == Some(part));
    let provided = Provided::need(asked, &[], &[wish.postgres], workspace)?;
    workspace.build()?;
    let length = Duration::from_secs(wish.minutes * 60);
    let mut call = vec!["--seconds".to_owned(), length.as_secs().to_string()];
    if let Some(seed) = wish.seed {
        call.extend(["--seed".to_owned(), seed.to_string()]);
    }
    if let Some(planted) = &wish.plant {
        call.extend(["--plant".to_owned(), planted.clone()]);
        torture(&call, length, &provided, workspace)?;
        return Ok("PASSED: the planted fault was found".into());
    }
    for store in stores {
        let mut call = call.clone();
        call.extend(["--store".to_owned(), store.name().to_owned()]);
        torture(&call, length, &provided, workspace)?;
    }
    Ok("PASSED: every promise held".into())
}

/// The step of the test command.
///
/// # Errors
/// A promise broke, a kind of fault never struck, or a planted fault was not found.
pub(crate) fn step(workspace: &Workspace, provided: &Provided) -> Result<()> {
    workspace.build()?;
    let left_out = |store: &Store| {
        let part = store.part();
        part.is_some_and(|part| provided.left_out.contains(&part))
    };
    let stores: Vec<_> = Store::ALL.into_iter().filter(|it| !left_out(it)).collect();
    ensure!(!stores.is_empty(), "there is no store to torture");
    for store in stores {
        for (length, what) in [
            (
                SECONDS,
                ["--store", store.name(), "--seed", store.seed()].as_slice(),
            ),
            (PLANTED_SECONDS, &["--plant", store.planted()]),
        ] {
            let mut call: Vec<_> = what.iter().map(|it| (*it).to_owned()).collect();
            call.extend(["--seconds".to_owned(), length.to_string()]);
            torture(&call, Duration::from_secs(length), provided, workspace)?;
        }
    }
    Ok(())
}

fn torture(
    call: &[String],
    length: Duration,
    provided: &Provided,
    workspace: &Workspace,
) -> Result<()> {
    println!("    {PROGRAM} {}", call.join(" "));
    let mut command = Command::new(workspace.program(PROGRAM));
    command
        .args(call)
        .envs(provided.programs())
        .current_dir(&workspace.root);
    Process::start(&mut command)?.succeed(length + BESIDE)
}
