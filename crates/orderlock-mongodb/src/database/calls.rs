//! The commands that the store sends. Each is bounded in time, and each write is confirmed by a
//! majority and its journal.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use mongodb::action::{Find, FindOne};
use mongodb::bson::{Document as Fields, RawDocumentBuf};
use mongodb::{Collection, Cursor};
use orderlock_core::{Runtime, StoreError};

use crate::document::fields::size;
use crate::error::Failure;

/// How many bytes of documents one answer of the store may hold, about: then a page ends, however many
/// more were asked for.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How many documents a server sends at once.
const BATCH: u32 = 100;

/// A collection whose documents are read as they are: the driver's own reading takes a client's data
/// for values of other types, and fails at what only looks like one.
pub(crate) type RawCollection = Collection<RawDocumentBuf>;

/// The fields of a document as it was read.
pub(crate) fn fields_of(document: &RawDocumentBuf) -> Result<Fields, Failure> {
    Fields::try_from(&**document).map_err(|error| Failure::unreadable(error.to_string()))
}

/// A document as it is sent.
pub(crate) fn document_of(fields: &Fields) -> Result<RawDocumentBuf, Failure> {
    RawDocumentBuf::try_from(fields)
        .map_err(|_| Failure::impossible("no document of MongoDB's can hold it"))
}

/// The store's collections, and what its commands need beside them.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) orders: RawCollection,
    pub(crate) journal: RawCollection,
    /// By connections of their own.
    pub(crate) sessions: RawCollection,
    /// Where nodes of 0.1 had them.
    pub(crate) old_sessions: RawCollection,
    pub(crate) reservations: RawCollection,
    pub(crate) marks: RawCollection,
    pub(crate) meta: RawCollection,
    pub(crate) patience: Duration,
    pub(crate) runtime: Arc<dyn Runtime>,
}

/// What a query finds, one document after the other.
pub(crate) struct RowCursor<'a> {
    calls: &'a Calls,
    cursor: Cursor<RawDocumentBuf>,
}

impl RowCursor<'_> {
    pub(crate) async fn next(&mut self) -> Result<Option<Fields>, Failure> {
        let found = self.calls.bounded(self.cursor.try_next()).await?;
        found.as_ref().map(fields_of).transpose()
    }

    /// The next documents: at most so many, and about as many bytes as one answer may hold, but for the
    /// least that are wanted. None means that there are no more.
    pub(crate) async fn some(&mut self, least: usize, most: usize) -> Result<Vec<Fields>, Failure> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        while found.len() < most && (bytes < PAGE_BYTES_MAX || found.len() < least) {
            let Some(fields) = self.next().await? else {
                break;
            };
            bytes += size(&fields);
            found.push(fields);
        }
        Ok(found)
    }
}

impl Calls {
    /// Waits for a command no longer than the store's patience.
    pub(crate) async fn bounded<T>(
        &self,
        command: impl IntoFuture<Output = mongodb::error::Result<T>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.patience, command.into_future()).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(Failure::TimedOut(self.patience)),
        }
    }

    /// What a query finds, as it is read: however much that is, little of it is in memory.
    pub(crate) async fn rows(
        &self,
        query: Find<'_, RawDocumentBuf>,
    ) -> Result<RowCursor<'_>, Failure> {
        let query = query.batch_size(BATCH).max_time(self.patience);
        let cursor = self.bounded(query).await?;
        Ok(RowCursor {
            calls: self,
            cursor,
        })
    }

    /// All that a query finds; the query bounds how much.
    pub(crate) async fn all(
        &self,
        query: Find<'_, RawDocumentBuf>,
    ) -> Result<Vec<Fields>, Failure> {
        let query = query.max_time(self.patience);
        let found = self.bounded(async { query.await?.try_collect::<Vec<_>>().await });
        found.await?.iter().map(fields_of).collect()
    }

    /// The one document that a query finds. A server that is slow gives up when nobody waits any more.
    pub(crate) async fn one(
        &self,
        query: FindOne<'_, RawDocumentBuf>,
    ) -> Result<Option<Fields>, Failure> {
        let found = self.bounded(query.max_time(self.patience)).await?;
        found.as_ref().map(fields_of).transpose()
    }

    /// Inserts a document, unless one of its id is there. Says whether it did.
    pub(crate) async fn insert_once(
        &self,
        collection: &RawCollection,
        document: &Fields,
    ) -> Result<bool, StoreError> {
        let document = document_of(document).map_err(Failure::not_applied)?;
        match self.bounded(collection.insert_one(document)).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.is_duplicate() => Ok(false),
            Err(failure) => Err(failure.of_a_write()),
        }
    }
}
