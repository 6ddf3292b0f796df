//! Rows and what they stand for: the one place that knows the types of columns.

use std::error::Error;

use bytes::BytesMut;
use orderlock_core::store::{Entry, Position};
use orderlock_core::{
    Answer, Caller, Document, Fence, Fingerprint, InvalidText, KeyId, Lease, LeaseState, Mark,
    OperationName, OrderId, OutcomeKind, OwnedIndex, Principal, Recovery, SessionId, Target,
    Tenant, Times, Timestamp, Version,
};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

use crate::sql::clock::span_from_sql;
use crate::sql::error::Failure;

/// 128 bits as a `uuid` column has them: sixteen bytes, compared for equality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id(pub(crate) u128);

impl From<Fence> for Id {
    fn from(fence: Fence) -> Self {
        Self(fence.0)
    }
}

impl From<SessionId> for Id {
    fn from(session: SessionId) -> Self {
        Self(session.0)
    }
}

impl ToSql for Id {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0.to_be_bytes());
        Ok(IsNull::No)
    }

    accepts!(UUID);
    to_sql_checked!();
}

impl FromSql<'_> for Id {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(u128::from_be_bytes(raw.try_into()?)))
    }

    accepts!(UUID);
}

/// An order's content.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) version: Version,
    pub(crate) index: OwnedIndex,
    pub(crate) times: Times,
    pub(crate) document: Document,
}

/// The columns of a row, read from the left to the right.
#[derive(Debug)]
pub(crate) struct Columns<'a> {
    row: &'a Row,
    at: usize,
}

impl<'a> Columns<'a> {
    pub(crate) fn of(row: &'a Row) -> Self {
        Self { row, at: 0 }
    }

    /// The next column.
    pub(crate) fn next<T: FromSql<'a>>(&mut self) -> Result<T, Failure> {
        let at = self.at;
        self.at += 1;
        self.row
            .try_get(at)
            .map_err(|error| Failure::unreadable(error.to_string()))
    }

    /// The next column, which stays the next one.
    pub(crate) fn peek<T: FromSql<'a>>(&mut self) -> Result<T, Failure> {
        let next = self.next();
        self.at -= 1;
        next
    }

    /// Passes by columns that are not wanted.
    pub(crate) fn skip(&mut self, columns: usize) {
        self.at += columns;
    }

    /// A count: rows hold them from 0 up, below 63 bits.
    pub(crate) fn count(&mut self) -> Result<u64, Failure> {
        Ok(unsigned(self.next()?))
    }

    /// A small count: an attempt or a step.
    pub(crate) fn small(&mut self) -> Result<u32, Failure> {
        Ok(small(self.next()?))
    }

    /// A name that is never null.
    pub(crate) fn name<T>(
        &mut self,
        parse: fn(&str) -> Result<T, InvalidText>,
    ) -> Result<T, Failure> {
        name(self.next()?, parse)
    }

    /// `target_columns!`.
    pub(crate) fn target(&mut self) -> Result<Target, Failure> {
        Ok(Target {
            tenant: self.name(Tenant::parse)?,
            order: self.name(OrderId::parse)?,
        })
    }

    /// `lock_columns!`: the order's lock. The lease in the row counts only if its session is alive.
    pub(crate) fn lock(&mut self, tenant: &Tenant, alive: bool) -> Result<LeaseState, Failure> {
        let lease = self.lease(tenant)?.filter(|_| alive);
        let mark = self.mark(tenant)?;
        Ok(match (lease, mark) {
            (None, None) => LeaseState::Free,
            (None, Some(mark)) => LeaseState::Unattended(mark),
            (Some(lease), None) => LeaseState::Held(lease),
            (Some(lease), Some(mark)) => LeaseState::Begun(lease, mark),
        })
    }

    fn lease(&mut self, tenant: &Tenant) -> Result<Option<Lease>, Failure> {
        let Some(Id(fence)) = self.next()? else {
            self.skip(8);
            return Ok(None);
        };
        let Id(session) = self.next()?;
        let since = self.next()?;
        let (attempt, steps) = (self.small()?, self.small()?);
        Ok(Some(Lease {
            fence: Fence(fence),
            session: SessionId(session),
            caller: Caller {
                tenant: tenant.clone(),
                principal: self.name(Principal::parse)?,
            },
            operation: self.name(OperationName::parse)?,
            key_id: KeyId(hash(self.next()?)?),
            fingerprint: Fingerprint(hash(self.next()?)?),
            attempt,
            since,
            steps,
            resumed: None,
        }))
    }

    fn mark(&mut self, tenant: &Tenant) -> Result<Option<Mark>, Failure> {
        let Some(attempt) = self.next::<Option<i64>>()? else {
            self.skip(7);
            return Ok(None);
        };
        let since = self.next()?;
        let (times, within) = (self.next::<Option<i64>>()?, self.next::<Option<i64>>()?);
        let recovery = match times {
            None => Recovery::Reconcile,
            Some(times) => Recovery::Resume {
                times: small(times),
                within: span_from_sql(within.unwrap_or(0)),
            },
        };
        Ok(Some(Mark {
            caller: Caller {
                tenant: tenant.clone(),
                principal: self.name(Principal::parse)?,
            },
            operation: self.name(OperationName::parse)?,
            key_id: KeyId(hash(self.next()?)?),
            fingerprint: Fingerprint(hash(self.next()?)?),
            attempt: small(attempt),
            recovery,
            since,
        }))
    }

    /// `content_columns!`.
    pub(crate) fn content(&mut self) -> Result<Content, Failure> {
        Ok(Content {
            version: Version(self.count()?),
            index: OwnedIndex {
                status: self.next()?,
                customer: self.next()?,
            },
            times: Times {
                created: self.next()?,
                updated: self.next()?,
            },
            document: Document::trusted(self.next::<Vec<u8>>()?),
        })
    }

    /// `entry_columns!`: an entry as it is read at this time. An answer past its retention is not
    /// shown, whether or not it has been removed yet.
    pub(crate) fn entry(&mut self, target: Target, now: Timestamp) -> Result<Entry, Failure> {
        let (number, position) = (self.count()?, Position(self.count()?));
        let version = Version(self.count()?);
        let operation = self.name(OperationName::parse)?;
        let outcome = outcome(self.next()?)?;
        let actor = self.name(Principal::parse)?;
        let (reason, at, attempt) = (self.next()?, self.next()?, self.small()?);
        let key_id = KeyId(hash(self.next()?)?);
        let fingerprint = Fingerprint(hash(self.next()?)?);
        let fence = self.next::<Option<Id>>()?.map(|Id(fence)| Fence(fence));
        let step = self.small()?;
        let change = self.next::<Option<Vec<u8>>>()?.map(Document::trusted);
        let expires = self.next::<Option<Timestamp>>()?;
        let answer = self.answer()?;
        let retained = expires.is_some_and(|expires| expires > now);
        Ok(Entry {
            target,
            number,
            position,
            version,
            operation,
            outcome,
            actor,
            reason,
            at,
            attempt,
            key_id,
            fingerprint,
            fence,
            step,
            change,
            answer: answer.filter(|_| retained),
            expires: expires.filter(|_| outcome.is_final()),
        })
    }

    fn answer(&mut self) -> Result<Option<Answer>, Failure> {
        let Some(status) = self.next::<Option<i32>>()? else {
            self.skip(4);
            return Ok(None);
        };
        let status = u16::try_from(status)
            .map_err(|_| Failure::unreadable("an answer's status is out of range"))?;
        Ok(Some(Answer {
            status,
            content_type: self.next()?,
            location: self.next()?,
            version: self.next::<Option<i64>>()?.map(|it| Version(unsigned(it))),
            body: self.next::<Vec<u8>>()?.into(),
        }))
    }
}

/// The kind of outcome that a word stands for.
pub(crate) fn outcome(word: &str) -> Result<OutcomeKind, Failure> {
    OutcomeKind::parse(word).ok_or_else(|| Failure::unreadable("an entry has an unknown outcome"))
}

pub(crate) fn name<T>(text: &str, parse: fn(&str) -> Result<T, InvalidText>) -> Result<T, Failure> {
    parse(text).map_err(|error| Failure::unreadable(error.to_string()))
}

/// The 32 bytes of a key's id or of a fingerprint.
pub(crate) fn hash(bytes: &[u8]) -> Result<[u8; 32], Failure> {
    bytes
        .try_into()
        .map_err(|_| Failure::unreadable("a hash has not 32 bytes"))
}

/// Where a key is looked up: the first 64 bits of its id.
pub(crate) fn key_hash(key_id: KeyId) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&key_id.0[..8]);
    i64::from_be_bytes(first)
}

/// Versions, numbers and positions stay far below 63 bits.
pub(crate) fn unsigned(number: i64) -> u64 {
    number.unsigned_abs()
}

pub(crate) fn version(number: i64) -> Version {
    Version(unsigned(number))
}

pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// What a row is about: the place of its request in the batch, from 1.
pub(crate) fn place<T>(requests: &mut [T], number: i64) -> Result<&mut T, Failure> {
    let place = usize::try_from(number)
        .ok()
        .and_then(|it| it.checked_sub(1));
    let request = place.and_then(|place| requests.get_mut(place));
    request.ok_or_else(|| Failure::unreadable("a row is about no request"))
}
