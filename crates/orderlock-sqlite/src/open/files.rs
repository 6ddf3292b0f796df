//! Whether the files that are open are still the ones that a restart would find.
//!
//! A file that was removed or replaced can be written and flushed as before, and everything goes
//! with the last handle. So what lies under the names is looked at with each flush.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

/// What tells one file from another of the same name.
type FileId = (u64, u64);

/// The files of one database, as they were when it was opened.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    files: Vec<(PathBuf, Option<FileId>)>,
}

/// A file beside the database.
pub(crate) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

impl Files {
    /// Takes note of the database, its log and its owner's lock. They are there.
    pub(crate) fn of(database: &Path) -> io::Result<Self> {
        let names = [
            database.to_owned(),
            beside(database, "-wal"),
            beside(database, "-lock"),
        ];
        let files = names.into_iter().map(|name| {
            let id = id(&name.symlink_metadata()?);
            Ok((name, id))
        });
        Ok(Self {
            files: files.collect::<io::Result<_>>()?,
        })
    }

    /// Whether the same files lie there.
    ///
    /// # Errors
    /// Which of them does not, in words for an operator.
    pub(crate) fn check(&self) -> io::Result<()> {
        for (name, was) in &self.files {
            let what = match name.symlink_metadata() {
                Ok(found) if id(&found) == *was => continue,
                Ok(_) => "replaced",
                Err(error) if error.kind() == io::ErrorKind::NotFound => "removed",
                // Whatever it is, it is not known to be another file.
                Err(_) => continue,
            };
            return Err(io::Error::other(format!(
                "{} was {what} while it was in use: what is written now would be lost; put the \
                 file back, or stop the process and restore a backup",
                name.display()
            )));
        }
        Ok(())
    }

    /// How many bytes may still be written where the database lies; none if the system does not say.
    #[cfg(unix)]
    pub(crate) fn room(&self) -> Option<u64> {
        let (database, _) = self.files.first()?;
        let disk = rustix::fs::statvfs(database).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    #[cfg(not(unix))]
    pub(crate) fn room(&self) -> Option<u64> {
        None
    }
}

#[cfg(unix)]
fn id(file: &Metadata) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt as _;
    Some((file.dev(), file.ino()))
}

/// Elsewhere a file that is open can be neither removed nor replaced.
#[cfg(not(unix))]
fn id(_: &Metadata) -> Option<FileId> {
    None
}
