//! One process owns a file, and says so by a lock of the operating system on a file beside it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

use crate::open::OpenError;
use crate::open::files::beside;

/// The lock, for as long as it is kept. The operating system drops it when the process dies,
/// however it dies; that the file exists means nothing.
#[derive(Debug)]
pub(crate) struct OwnerLock {
    _file: File,
}

impl OwnerLock {
    pub(crate) fn take(database: &Path) -> Result<Self, OpenError> {
        let path = beside(database, "-lock");
        let failed = |error| OpenError::Io {
            path: path.clone(),
            error,
        };
        let mut file = own_file(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Owned {
                    path: database.to_owned(),
                    pid: owner(&mut file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        sign(&mut file).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Opens a file of ours that nobody else needs to read, or makes it.
///
/// # Errors
/// Also if there is a link by that name: what it leads to is not ours to write.
pub(crate) fn own_file(path: &Path) -> io::Result<File> {
    // To make one follows no link.
    match options().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    let file = options().open(path)?;
    if is_a_link(&file, path)? {
        let why = "it is a link to another file; remove it";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(file)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Whether the file that was opened goes by another name too. Asked of the open file, so that
/// nobody can put another one into its place in between.
#[cfg(unix)]
fn is_a_link(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let (opened, named) = (file.metadata()?, path.symlink_metadata()?);
    let same = (opened.dev(), opened.ino()) == (named.dev(), named.ino());
    Ok(!same || !opened.is_file() || opened.nlink() > 1)
}

#[cfg(not(unix))]
fn is_a_link(_: &File, path: &Path) -> io::Result<bool> {
    Ok(path.symlink_metadata()?.is_symlink())
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// Who holds the lock, if it has signed already. Only for the message, so that an unreadable
/// signature is as good as none.
fn owner(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
