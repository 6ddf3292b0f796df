//! A disk that is full, for this process: no file takes anything behind its first bytes. That goes for
//! its output too where it is a file, so it has to be over before anything is told.

use std::io;
use std::sync::Mutex;

use rlimit::Resource;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::ledger::lock;

/// What a process is sent that writes past its limit on the size of files. The number is the same
/// on every Unix that this runs on.
const TOO_LARGE: i32 = 25;

/// The limit that stood before, while the disk counts as full.
static BEFORE: Mutex<Option<u64>> = Mutex::new(None);

/// The disk counts as full until this is dropped.
#[derive(Debug)]
pub(crate) struct Full(());

impl Full {
    /// From the first call on, a file that may not grow is an error and not this program's end.
    pub(crate) fn heard() -> io::Result<Signal> {
        signal(SignalKind::from_raw(TOO_LARGE))
    }

    /// From now on files take so many bytes.
    pub(crate) fn begin(bytes: u64) -> io::Result<Self> {
        let mut before = lock(&BEFORE);
        let (soft, hard) = Resource::FSIZE.get()?;
        Resource::FSIZE.set(bytes.min(soft), hard)?;
        before.get_or_insert(soft);
        Ok(Self(()))
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        lift();
    }
}

/// Files take what they took before, if the disk counts as full.
pub(crate) fn lift() {
    let mut before = lock(&BEFORE);
    if let (Some(soft), Ok((_, hard))) = (*before, Resource::FSIZE.get()) {
        // Up to its hard limit every process may set it.
        if Resource::FSIZE.set(soft, hard).is_ok() {
            *before = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::process::Command;

    use super::*;

    /// Set in the process whose disk is full.
    const HERE: &str = "ORDERLOCK_TORTURE_FULL_HERE";
    const NAME: &str = "full::tests::what_was_found_while_the_disk_was_full_is_told";

    #[test]
    fn what_was_found_while_the_disk_was_full_is_told() {
        if std::env::var_os(HERE).is_some() {
            return tell();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, vec![b'.'; 1024 * 1024]).unwrap();
        let log = OpenOptions::new().append(true).open(&path).unwrap();
        let mut told = Command::new(std::env::current_exe().unwrap());
        told.args(["--exact", NAME, "--nocapture"]).env(HERE, "1");
        let status = told.stdout(log).status().unwrap();
        let log = fs::read_to_string(&path).unwrap();
        let log = log.trim_start_matches('.');
        assert!(status.success(), "{log}");
        assert!(log.contains("\na promise broke\n"), "{log}");
    }

    /// The limit stands still when somebody has something to tell, and nobody is left to lift it.
    fn tell() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        let _heard = runtime.block_on(async { Full::heard().unwrap() });
        std::mem::forget(Full::begin(32 * 1024).unwrap());
        let folder = tempfile::tempdir().unwrap();
        assert!(fs::write(folder.path().join("more"), vec![0; 64 * 1024]).is_err());
        crate::say("\na promise broke").unwrap();
    }
}
