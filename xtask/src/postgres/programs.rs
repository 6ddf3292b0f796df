//! The programs of PostgreSQL and of the pooler: where they are, and how old.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use super::{install, newer};

/// The oldest PostgreSQL that the store is made for.
const VERSION_MIN: u32 = 15;

/// What the server and the tests need of PostgreSQL.
const NEEDED: [&str; 6] = [
    "initdb",
    "pg_basebackup",
    "pg_ctl",
    "pg_dump",
    "postgres",
    "psql",
];

/// Where Debian keeps each version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The pooler's name.
const POOLER: &str = "pgbouncer";

/// Where Debian puts the pooler, which is not in every user's PATH.
const POOLER_FOLDER: &str = "usr/sbin";

/// Which PostgreSQL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Edition {
    /// The machine's own, or else Debian's.
    #[default]
    Machine,
    /// A newer one than Debian's, from a package of PyPI.
    Newer,
}

impl Edition {
    /// Each of them, in the order in which they are tested.
    pub(crate) const ALL: [Self; 2] = [Self::Machine, Self::Newer];
}

/// What the store is tested with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Programs {
    /// The folder of PostgreSQL's programs.
    pub(super) folder: PathBuf,
    /// Its major version.
    pub(super) version: u32,
    /// The program of the pooler.
    pub(super) pooler: PathBuf,
}

/// The variable that says where the folder is.
const FOLDER: &str = "ORDERLOCK_TEST_POSTGRES_BIN";

impl Programs {
    /// Where they are, for who starts clusters of its own.
    pub(crate) fn variable(&self) -> (&'static str, String) {
        (FOLDER, self.folder.display().to_string())
    }

    /// Finds the programs, or installs them if that needs no password. What is only unpacked goes
    /// into this folder.
    ///
    /// # Errors
    /// What to do.
    pub(crate) fn need(edition: Edition, unpacked: &Path) -> Result<Self> {
        let (folder, version) = match edition {
            Edition::Machine => server()?,
            Edition::Newer => {
                let folder = newer::need(unpacked)?;
                let version = complete(&folder, ask);
                let version = version.context("a program of the newer PostgreSQL is missing")?;
                (folder, version)
            }
        };
        let pooler = pooler(&unpacked.join(POOLER))?;
        Ok(Self {
            folder,
            version,
            pooler,
        })
    }
}

/// The folder of the server's programs, and its version.
fn server() -> Result<(PathBuf, u32)> {
    if let Ok(found) = find() {
        return Ok(found);
    }
    install::postgresql()?;
    match find() {
        Ok(found) => Ok(found),
        Err(Missing::Old(version)) => bail!(
            "PostgreSQL {version} is too old: version {VERSION_MIN} or later is needed. \
             Install one from https://www.postgresql.org/download/, or leave its tests out: \
             cargo xtask test --without postgres"
        ),
        Err(Missing::All) => bail!("PostgreSQL was installed and is not found: {ADVICE}"),
    }
}

fn find() -> Result<(PathBuf, u32), Missing> {
    let mut newest = None;
    for folder in candidates() {
        let Some(version) = complete(&folder, ask) else {
            continue;
        };
        if version >= VERSION_MIN {
            return Ok((folder, version));
        }
        newest = newest.max(Some(version));
    }
    Err(newest.map_or(Missing::All, Missing::Old))
}

fn pooler(unpacked: &Path) -> Result<PathBuf> {
    let root = Path::new("/");
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    folders.extend([root, unpacked].map(|root| root.join(POOLER_FOLDER)));
    let find = || {
        let mut programs = folders.iter().map(|folder| folder.join(POOLER));
        programs.find(|program| ask(program, "--version").is_some_and(|said| !said.is_empty()))
    };
    if let Some(found) = find() {
        return Ok(found);
    }
    install::pgbouncer(unpacked)?;
    find().with_context(|| format!("PgBouncer was unpacked and does not run: {ADVICE}"))
}

/// What to do about what is missing.
pub(super) const ADVICE: &str = "install PostgreSQL 15 or later (on Debian, as root: apt-get install postgresql), put the \
     folder of `initdb` into PATH, or leave its tests out: cargo xtask test --without postgres";

/// Why nothing was found.
#[derive(Debug, PartialEq, Eq)]
enum Missing {
    All,
    /// The newest that is there.
    Old(u32),
}

/// The folders in which PostgreSQL may be, the likeliest first.
fn candidates() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = configured().into_iter().collect();
    folders.extend(versions(Path::new(DEBIAN)));
    let path = env::var_os("PATH").unwrap_or_default();
    folders.extend(env::split_paths(&path));
    folders
}

/// What `pg_config` says. On Debian it comes with the library, and the server may not be there.
fn configured() -> Option<PathBuf> {
    let line = ask(Path::new("pg_config"), "--bindir")?;
    Some(line.trim().into())
}

/// Debian's folders, the newest version first.
fn versions(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    found.sort_unstable_by(|one, other| other.cmp(one));
    found.into_iter().map(|(_, folder)| folder).collect()
}

/// The version of a folder that has every program.
fn complete(folder: &Path, ask: fn(&Path, &str) -> Option<String>) -> Option<u32> {
    let all = NEEDED.iter().all(|name| folder.join(name).exists());
    let said = all.then(|| ask(&folder.join("postgres"), "--version"))??;
    major(&said)
}

/// The major version in `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn major(said: &str) -> Option<u32> {
    let (_, version) = said.split_once("(PostgreSQL) ")?;
    let digits = version.chars().take_while(char::is_ascii_digit);
    digits.collect::<String>().parse().ok()
}

fn ask(program: &Path, question: &str) -> Option<String> {
    let output = Command::new(program)
        .arg(question)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_what_the_server_says() {
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(major(debian), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18devel"), Some(18));
        assert_eq!(major("postgres (EnterpriseDB) 15.1"), None);
    }

    #[test]
    fn the_newest_version_comes_first() {
        let root = tempfile::tempdir().unwrap();
        for name in ["9", "15", "17", "common"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let expected: Vec<_> = ["17", "15", "9"]
            .map(|version| root.path().join(version).join("bin"))
            .into();
        assert_eq!(versions(root.path()), expected);
        assert!(versions(&root.path().join("none")).is_empty());
    }

    #[test]
    fn a_folder_without_one_of_the_programs_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let said = |_: &Path, _: &str| Some("postgres (PostgreSQL) 16.1".into());
        for name in NEEDED {
            assert_eq!(complete(folder.path(), said), None, "without {name}");
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(complete(folder.path(), said), Some(16));
    }
}
