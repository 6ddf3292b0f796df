//! The index of an order's entries by key: its own row lists the newest ones, two tables list the
//! older ones, in which the entries of one order lie together.
//!
//! An entry leaves the row in the same transaction in which it arrives there, and all that the row
//! has leave it at once, so that a settle seldom touches more of its order than the one page.

use orderlock_core::{KeyId, Target};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::file::rows::{signed, unsigned};

/// How many entries an order's row tells.
pub(crate) const NEWEST_MAX: usize = 16;
/// A key's hash and a position.
const ENTRY: usize = 12;
const BYTES: usize = NEWEST_MAX * ENTRY;

pub(crate) const OLDER_OF_KEY: &str =
    "SELECT position FROM older_keys WHERE order_row = ?1 AND key_hash = ?2 ORDER BY position DESC";
pub(crate) const NEXT_LIST: &str =
    "SELECT last, list FROM older_entries WHERE order_row = ?1 AND last > ?2 ORDER BY last";

/// Where a key is looked up: the first 32 bits of its id. They are enough among the keys of one
/// order; the whole id stands in the entry and decides.
pub(crate) type KeyHash = i32;

pub(crate) fn key_hash(key_id: KeyId) -> KeyHash {
    let [one, two, three, four, ..] = key_id.0;
    KeyHash::from_be_bytes([one, two, three, four])
}

/// The entries that an order's row tells, the oldest first: the hash of each one's key, and its
/// position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Newest {
    bytes: [u8; BYTES],
    len: usize,
}

impl Newest {
    pub(crate) const NONE: Self = Self {
        bytes: [0; BYTES],
        len: 0,
    };

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn list(&self) -> &[u8] {
        &self.bytes[..self.len * ENTRY]
    }

    fn entries(&self) -> impl DoubleEndedIterator<Item = (KeyHash, i64)> {
        entries(self.list())
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = KeyHash> {
        self.entries().map(|(key, _)| key)
    }

    /// Adds an entry. There must be room for it.
    fn push(&mut self, key: KeyHash, position: i64) {
        let at = self.len * ENTRY;
        self.bytes[at..at + 4].copy_from_slice(&key.to_be_bytes());
        self.bytes[at + 4..at + ENTRY].copy_from_slice(&position.to_be_bytes());
        self.len += 1;
    }
}

/// The entries of a list as the file has it.
fn entries(list: &[u8]) -> impl DoubleEndedIterator<Item = (KeyHash, i64)> {
    let (entries, _) = list.as_chunks::<ENTRY>();
    entries.iter().map(|entry| {
        let [a, b, c, d, position @ ..] = *entry;
        (
            KeyHash::from_be_bytes([a, b, c, d]),
            i64::from_be_bytes(position),
        )
    })
}

impl FromSql for Newest {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let blob = value.as_blob()?;
        let bytes = blob.try_into().map_err(|_| FromSqlError::InvalidBlobSize {
            expected_size: BYTES,
            blob_size: blob.len(),
        })?;
        // Positions count from 1: what is zero is not used yet.
        let used = |(_, position): &(KeyHash, i64)| *position != 0;
        let len = entries(blob).take_while(used).count();
        Ok(Self { bytes, len })
    }
}

impl ToSql for Newest {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(&self.bytes)))
    }
}

/// Where an order's journal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Journal {
    /// The number of its last entry.
    pub(crate) number: u64,
    pub(crate) newest: Newest,
}

impl Journal {
    pub(crate) const EMPTY: Self = Self {
        number: 0,
        newest: Newest::NONE,
    };

    /// How many entries the row does not tell.
    pub(crate) fn older(&self) -> u64 {
        self.number.saturating_sub(self.newest.len() as u64)
    }

    /// Adds the order's next entry. If the row has no room for it, what it tells moves out.
    pub(crate) fn push(
        &mut self,
        connection: &Connection,
        order: i64,
        (key, position): (KeyHash, i64),
    ) -> rusqlite::Result<()> {
        if self.newest.len() == NEWEST_MAX {
            self.move_out(connection, order)?;
        }
        self.add(key, position);
        Ok(())
    }

    /// Adds the order's next entry where the row has room for it.
    pub(crate) fn add(&mut self, key: KeyHash, position: i64) {
        self.newest.push(key, position);
        self.number = self.number.saturating_add(1);
    }

    fn move_out(&mut self, connection: &Connection, order: i64) -> rusqlite::Result<()> {
        connection
            .prepare_cached(
                "INSERT INTO older_entries (order_row, last, list) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![order, signed(self.number), self.newest.list()])?;
        let mut insert = connection.prepare_cached(
            "INSERT INTO older_keys (order_row, key_hash, position) VALUES (?1, ?2, ?3)",
        )?;
        for (key, position) in self.newest.entries() {
            insert.execute(params![order, key, position])?;
        }
        self.newest = Newest::NONE;
        Ok(())
    }
}

/// An order whose entries are looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Indexed<'a> {
    pub(crate) target: &'a Target,
    pub(crate) row: i64,
    pub(crate) journal: &'a Journal,
}

impl<'a> Indexed<'a> {
    pub(crate) fn journal(self) -> (i64, &'a Journal) {
        (self.row, self.journal)
    }
}

/// From two columns, the number and the list.
pub(crate) fn journal(row: &Row<'_>, column: usize) -> rusqlite::Result<Journal> {
    Ok(Journal {
        number: unsigned(row.get(column)?),
        newest: row.get(column + 1)?,
    })
}

/// The journal of an order that is known to be there.
#[cfg(test)]
pub(crate) fn journal_at(connection: &Connection, order: i64) -> rusqlite::Result<Journal> {
    connection
        .prepare_cached("SELECT number, newest FROM orders WHERE row = ?1")?
        .query_row([order], |row| journal(row, 0))
}

/// Looks at an order's entries whose key may be this one, the newest first, until one is what is
/// looked for.
pub(crate) fn find_by_key<T>(
    connection: &Connection,
    (order, journal): (i64, &Journal),
    key_id: KeyId,
    mut look: impl FnMut(i64) -> rusqlite::Result<Option<T>>,
) -> rusqlite::Result<Option<T>> {
    let hash = key_hash(key_id);
    for (key, position) in journal.newest.entries().rev() {
        if key == hash
            && let Some(found) = look(position)?
        {
            return Ok(Some(found));
        }
    }
    if journal.older() == 0 {
        return Ok(None);
    }
    let mut statement = connection.prepare_cached(OLDER_OF_KEY)?;
    let mut rows = statement.query(params![order, hash])?;
    while let Some(row) = rows.next()? {
        if let Some(found) = look(row.get(0)?)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Where the keys of an order's older entries are looked up, at most so many, a key with
/// checkpoints more than once.
pub(crate) fn older_keys(
    connection: &Connection,
    order: i64,
    limit: usize,
) -> rusqlite::Result<Vec<KeyHash>> {
    connection
        .prepare_cached("SELECT key_hash FROM older_keys WHERE order_row = ?1 LIMIT ?2")?
        .query_map(params![order, signed(limit as u64)], |row| row.get(0))?
        .collect()
}

/// The positions of an order's entries after this number, in their order, at most so many.
pub(crate) fn positions_after(
    connection: &Connection,
    (order, journal): (i64, &Journal),
    after: u64,
    limit: usize,
) -> rusqlite::Result<Vec<i64>> {
    let mut positions = Vec::new();
    let mut take = |last: u64, list: &[u8]| {
        let entries = entries(list);
        let first = last.saturating_sub((list.len() / ENTRY) as u64);
        let passed = usize::try_from(after.saturating_sub(first)).unwrap_or(usize::MAX);
        let room = limit.saturating_sub(positions.len());
        positions.extend(
            entries
                .skip(passed)
                .take(room)
                .map(|(_, position)| position),
        );
        positions.len() < limit
    };
    if after < journal.older() {
        let mut statement = connection.prepare_cached(NEXT_LIST)?;
        let mut rows = statement.query(params![order, signed(after)])?;
        while let Some(row) = rows.next()? {
            if !take(unsigned(row.get(0)?), row.get_ref(1)?.as_blob()?) {
                return Ok(positions);
            }
        }
    }
    take(journal.number, journal.newest.list());
    Ok(positions)
}

/// The journal of an order by its address, and its row.
pub(crate) fn find_journal(
    connection: &Connection,
    target: &Target,
) -> rusqlite::Result<Option<(i64, Journal)>> {
    connection
        .prepare_cached("SELECT row, number, newest FROM orders WHERE tenant = ?1 AND id = ?2")?
        .query_row([target.tenant.as_str(), target.order.as_str()], |row| {
            Ok((row.get(0)?, journal(row, 1)?))
        })
        .optional()
}
