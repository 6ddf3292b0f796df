//! `create`: the order and its first entry in one write.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use orderlock_core::store::{Claim, Create, Created, Receipt};
use orderlock_core::{StoreError, Target, Timestamp};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::batch::{Reply, Work};
use crate::pool::connection::Connection;
use crate::pool::settings::LockWait;
use crate::pool::{Pool, Purpose};
use crate::sql::clock::ObservedClock;
use crate::sql::error::{Failure, TransactionError};
use crate::sql::fragments::{here, requests};
use crate::sql::rows::{Columns, place};
use crate::sql::statement::{Commit, Sql};
use crate::sql::text::text;
use crate::verbs::create_rows::CreateRows;
use crate::verbs::new_entries::{EntryRows, NewEntryRow, unwritable};
use crate::verbs::views::read::{KeyRecord, LOOKUP, LookedUp, LookupRows};

/// Inserts every order whose id is free and whose key has made no other, with its first entry and what
/// is remembered of its key: the order itself is the tombstone. Which order a key has made is told by
/// an index that all orders are in, by the id that is derived from the key. Tells the end of the retention of those that were inserted.
pub(crate) static CREATE: Sql = Sql {
    text: text!(
        "WITH ",
        here!(),
        ", asked AS (
            SELECT * FROM ",
        requests!(many: EntryRows, CreateRows),
        "
        ), made AS (
            INSERT INTO orders (writes, version, entries, position, created, updated, tenant, id,
                derived, status, customer, document)
            SELECT 0, 1, 1, here.position + ((place - 1) << 14), created, updated, tenant, id,
                nullif(derived, id), order_status, order_customer, document
            FROM asked, here
            ON CONFLICT DO NOTHING
            RETURNING row, position, tenant, id
        ), settled AS (
            SELECT made.row, made.position, asked.*
            FROM made JOIN asked ON asked.tenant = made.tenant AND asked.id = made.id
        ), written AS (
            INSERT INTO entries (order_row, number, position, version, at, attempt, step,
                key_hash, key_id, fingerprint, tenant, operation, outcome, actor, change)
            SELECT row, 1, position, 1, at, attempt, 0,
                key_hash, key_id, fingerprint, tenant, operation, outcome, actor, document
            FROM settled
        ), kept AS (
            INSERT INTO keys (key_hash, order_row, number, expires,
                version, answer_status, content_type, location, body)
            SELECT key_hash, row, 1, greatest(here.now, $25) + answer_span * interval '1 microsecond',
                answer_version, answer_status, answer_type, answer_location, answer_body
            FROM settled, here
        )
        SELECT place, greatest(here.now, $25) + answer_span * interval '1 microsecond'
        FROM settled, here"
    ),
    types: &[
        &[Type::TIMESTAMPTZ],
        EntryRows::TYPES,
        CreateRows::TYPES,
        &[Type::TIMESTAMPTZ],
    ],
};

/// Creates orders.
#[derive(Clone, Debug)]
pub(crate) struct CreateBatch {
    pub(crate) pool: Pool,
    pub(crate) clock: Arc<ObservedClock>,
}

/// Why the store does not take an order, if it does not.
pub(crate) fn refusal(request: &Create, document_bytes_max: usize) -> Option<Failure> {
    let size = request.document.size();
    if size > document_bytes_max {
        return Some(Failure::impossible(format!(
            "the order has {size} bytes, and the store takes {document_bytes_max}"
        )));
    }
    let index = [
        request.index.status.as_deref(),
        request.index.customer.as_deref(),
    ];
    unwritable(index, Some(&request.answer)).map(Failure::impossible)
}

impl Work for CreateBatch {
    type Request = Create;
    type Answer = Created;

    /// A repeat gets the stored answer, which is what the first would have got.
    const REPEATS: bool = true;

    fn target(request: &Create) -> Target {
        request.claim.target()
    }

    fn bytes(request: &Create) -> usize {
        1_024 + request.document.size() * 2 + request.answer.body.len()
    }

    fn ask<'a>(
        &'a self,
        requests: &'a [Create],
        waits: LockWait,
    ) -> BoxFuture<'a, Result<Vec<Reply<Created>>, TransactionError>> {
        self.create(requests, waits).boxed()
    }

    fn refused<'a>(
        &'a self,
        _: &'a Create,
        failure: Failure,
    ) -> BoxFuture<'a, Result<Created, StoreError>> {
        async move { Err(failure.refused()) }.boxed()
    }
}

impl CreateBatch {
    async fn create(
        &self,
        requests: &[Create],
        waits: LockWait,
    ) -> Result<Vec<Reply<Created>>, TransactionError> {
        let connection = self.pool.connection(Purpose::Commit(waits)).await;
        let connection = connection.map_err(TransactionError::NotApplied)?;
        let (now, believed) = (self.clock.parameter(), self.clock.believed());
        let entries = EntryRows::of(requests.iter().map(NewEntryRow::of_create));
        let orders = CreateRows::of(requests.iter());
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&now];
        parameters.extend(entries.parameters());
        parameters.extend(orders.parameters());
        parameters.push(&believed);
        let statements = [(&CREATE, &parameters[..])];
        let [inserted] = connection.transaction(Commit::Flushed, statements).await?;
        let mut answers: Vec<Reply<Created>> = requests.iter().map(|_| None).collect();
        for row in &inserted {
            receive(&mut answers, row).map_err(TransactionError::Unknown)?;
        }
        if answers.iter().any(Option::is_none) {
            self.tell(&connection, requests, &mut answers)
                .await
                .map_err(TransactionError::Unknown)?;
        }
        Ok(answers)
    }

    /// Tells those whose order was not inserted what stands there. One that is left without an
    /// answer has been overtaken by something that is not there any more.
    async fn tell(
        &self,
        connection: &Connection,
        requests: &[Create],
        answers: &mut [Reply<Created>],
    ) -> Result<(), Failure> {
        let left = requests.iter().zip(answers.iter());
        let left = left.filter(|(_, answer)| answer.is_none());
        let (now, believed) = (self.clock.parameter(), self.clock.believed());
        let keys = LookupRows::of(left.map(|(it, _)| LookedUp::from(&it.claim)));
        let mut parameters = keys.parameters();
        parameters.insert(0, &now);
        let told = connection.query(&LOOKUP, &parameters).await?;
        let mut told = told.iter();
        for (request, answer) in requests.iter().zip(answers) {
            if answer.is_none()
                && let Some(row) = told.next()
            {
                *answer = created(&request.claim, row, believed).transpose();
            }
        }
        Ok(())
    }
}

/// What is answered to one whose order was not inserted; none if it is to be asked again, because
/// nothing stands in its way any more.
fn created(
    claim: &Claim,
    row: &Row,
    believed: Option<Timestamp>,
) -> Result<Option<Created>, Failure> {
    let found = KeyRecord::of(&claim.target(), &mut Columns::of(row), believed)?;
    Ok(match found.entry {
        Some(entry) if entry.fingerprint != claim.fingerprint => Some(Created::Reused),
        Some(entry) if entry.outcome.is_final() => {
            let retained = entry.expires.is_some_and(|expires| expires > found.now);
            Some(if retained {
                Created::Settled(entry)
            } else {
                Created::Expired
            })
        }
        _ => found.there.then_some(Created::Exists),
    })
}

fn receive(answers: &mut [Reply<Created>], row: &Row) -> Result<(), Failure> {
    let mut columns = Columns::of(row);
    let answer = place(answers, columns.next()?)?;
    *answer = Some(Ok(Created::Inserted(Receipt {
        number: 1,
        expires: columns.next()?,
    })));
    Ok(())
}
