//! Flushing the log at the opening, even while other programs read it.
//!
//! What a process that died, or a flush that failed, has left in the log is shown by it and may not
//! be on the disk. To copy the log into the file would bring it there, but has to wait for everybody
//! who reads. To flush once more is not enough: after a flush that failed, systems take what they
//! could not write for written. So the log is read, found to be what SQLite has written, and written
//! over with itself: that is flushed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use rusqlite::Connection;

/// The log's own layout: a header, then frames of a header and a page each.
const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The first bytes of a log: the last bit says whether its sums are of big-endian words.
const MAGIC: u32 = 0x377f_0682;

/// Returns when all that the log shows survives power loss.
///
/// # Errors
/// Also when the log does not hold what SQLite has taken it to hold.
pub(crate) fn secure(connection: &Connection, log: &Path) -> Result<(), Unsecured> {
    let (frames, copied): (i64, i64) =
        connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| {
            Ok((row.get(1)?, row.get(2)?))
        })?;
    if frames <= copied {
        // What is copied was flushed with the file.
        return Ok(());
    }
    // Whoever reads keeps the log from beginning anew under our hands.
    connection.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema")?;
    let written = write_over(log, frames.unsigned_abs());
    connection.execute_batch("COMMIT")?;
    written.map_err(|error| {
        let what = format!("the log could not be brought to the disk: {error}");
        Unsecured::Io(io::Error::new(error.kind(), what))
    })
}

/// What the log shows could not be brought to the disk.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsecured {
    #[error("{0}")]
    Sql(#[from] rusqlite::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Writes so many frames of the log over with themselves, and flushes them.
fn write_over(log: &Path, frames: u64) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(log)?;
    let mut header = [0; HEADER];
    file.read_exact(&mut header)?;
    let mut sums = Sums::of_log(&header).ok_or_else(damaged)?;
    write_back(&mut file, &header)?;
    let page = match be(&header, 8) {
        1 => 65_536,
        page => page as usize,
    };
    let mut frame = vec![0; FRAME_HEADER + page];
    for _ in 0..frames {
        file.read_exact(&mut frame)?;
        sums.add(&frame[..8]);
        sums.add(&frame[FRAME_HEADER..]);
        if frame[8..16] != header[16..24] || !sums.are(&frame[16..]) {
            return Err(damaged());
        }
        write_back(&mut file, &frame)?;
    }
    file.sync_data()
}

/// Writes what was just read where it was read.
fn write_back(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let length = i64::try_from(bytes.len()).map_err(io::Error::other)?;
    file.seek(SeekFrom::Current(-length))?;
    file.write_all(bytes)
}

fn damaged() -> io::Error {
    let why = "it does not hold what was written to it";
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn be(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4]
        .iter()
        .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

/// The running sums that SQLite keeps in each frame over all that goes before.
struct Sums {
    big_endian: bool,
    sums: [u32; 2],
}

impl Sums {
    /// None if that is no log's header.
    fn of_log(header: &[u8; HEADER]) -> Option<Self> {
        let magic = be(header, 0);
        let mut sums = Self {
            big_endian: magic & 1 == 1,
            sums: [0; 2],
        };
        sums.add(&header[..24]);
        (magic & !1 == MAGIC && sums.are(&header[24..])).then_some(sums)
    }

    fn add(&mut self, bytes: &[u8]) {
        let [mut one, mut two] = self.sums;
        let (words, _) = bytes.as_chunks::<8>();
        for [a, b, c, d, e, f, g, h] in words {
            let word = |bytes: [u8; 4]| match self.big_endian {
                true => u32::from_be_bytes(bytes),
                false => u32::from_le_bytes(bytes),
            };
            one = one.wrapping_add(word([*a, *b, *c, *d])).wrapping_add(two);
            two = two.wrapping_add(word([*e, *f, *g, *h])).wrapping_add(one);
        }
        self.sums = [one, two];
    }

    /// Whether the next eight bytes say the same.
    fn are(&self, bytes: &[u8]) -> bool {
        self.sums == [be(bytes, 0), be(bytes, 4)]
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Logged {
        folder: tempfile::TempDir,
        connection: Connection,
    }

    impl Logged {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let connection = Connection::open(folder.path().join("some.db")).unwrap();
            let set = "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
                CREATE TABLE t (c); INSERT INTO t VALUES (zeroblob(50000));";
            connection.execute_batch(set).unwrap();
            Self { folder, connection }
        }

        fn log(&self) -> std::path::PathBuf {
            self.folder.path().join("some.db-wal")
        }

        fn secure(&self) -> Result<(), Unsecured> {
            secure(&self.connection, &self.log())
        }
    }

    #[test]
    fn a_log_is_written_over_with_itself() {
        let logged = Logged::new();
        let before = fs::read(logged.log()).unwrap();
        logged.secure().unwrap();
        assert_eq!(fs::read(logged.log()).unwrap(), before);
        // Also one that has begun anew, with what is left of the old one behind it.
        let checkpoint = "PRAGMA wal_checkpoint(RESTART)";
        logged
            .connection
            .query_row(checkpoint, [], |_| Ok(()))
            .unwrap();
        let more = "INSERT INTO t VALUES (1)";
        logged.connection.execute(more, []).unwrap();
        let before = fs::read(logged.log()).unwrap();
        logged.secure().unwrap();
        assert_eq!(fs::read(logged.log()).unwrap(), before);
        let rows = "SELECT count(*) FROM t";
        let rows: i64 = logged
            .connection
            .query_row(rows, [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, 2);
    }

    #[test]
    fn a_log_that_is_copied_needs_nothing() {
        let logged = Logged::new();
        let checkpoint = "PRAGMA wal_checkpoint(PASSIVE)";
        logged
            .connection
            .query_row(checkpoint, [], |_| Ok(()))
            .unwrap();
        fs::write(logged.log(), "nobody looks at it").unwrap();
        logged.secure().unwrap();
    }

    #[test]
    fn a_log_that_has_lost_something_is_found_out() {
        let logged = Logged::new();
        let whole = fs::read(logged.log()).unwrap();
        // A byte anywhere, a frame that is from before, an end that is missing.
        for at in [
            3,
            17,
            25,
            HEADER + 2,
            HEADER + 9,
            HEADER + 20,
            HEADER + FRAME_HEADER + 7,
        ] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(logged.log(), bytes).unwrap();
            let told = logged.secure();
            assert!(matches!(told, Err(Unsecured::Io(_))), "byte {at}: {told:?}");
        }
        fs::write(logged.log(), &whole[..whole.len() - 4096]).unwrap();
        assert!(matches!(logged.secure(), Err(Unsecured::Io(_))));
        fs::write(logged.log(), whole).unwrap();
        logged.secure().unwrap();
    }
}
