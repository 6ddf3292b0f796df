//! The part of an entry that the lifecycle decides, as the parameters of the statements that write
//! entries and what is remembered of their keys.

use orderlock_core::store::{Claim, Create, NewEntry, Settle};
use orderlock_core::{Answer, OutcomeKind, Timestamp};

use crate::sql::clock::span_to_sql;
use crate::sql::columns::columns;
use crate::sql::rows::{key_hash, signed};

/// One new entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewEntryRow<'a> {
    claim: &'a Claim,
    entry: &'a NewEntry,
    outcome: OutcomeKind,
    answer: Option<&'a Answer>,
}

impl<'a> NewEntryRow<'a> {
    pub(crate) fn of_create(request: &'a Create) -> Self {
        Self {
            claim: &request.claim,
            entry: &request.entry,
            outcome: OutcomeKind::Created,
            answer: Some(&request.answer),
        }
    }

    pub(crate) fn of_settle(request: &'a Settle) -> Self {
        Self {
            claim: &request.claim,
            entry: &request.entry,
            outcome: request.outcome(),
            answer: request.answer(),
        }
    }
}

columns! {
    /// New entries, and what is remembered of their keys.
    pub(crate) struct EntryRows<'a> of it: NewEntryRow<'a> {
        2 actor: &'a str, TEXT_ARRAY = it.claim.caller.principal.as_str();
        3 operation: &'a str, TEXT_ARRAY = it.entry.operation.as_str();
        4 outcome: &'static str, TEXT_ARRAY = it.outcome.as_str();
        5 attempt: i64, INT8_ARRAY = it.entry.attempt.into();
        6 at: Timestamp, TIMESTAMPTZ_ARRAY = it.entry.at;
        7 key_hash: i64, INT8_ARRAY = key_hash(it.claim.key_id);
        8 key_id: &'a [u8], BYTEA_ARRAY = &it.claim.key_id.0[..];
        9 fingerprint: &'a [u8], BYTEA_ARRAY = &it.claim.fingerprint.0[..];
        10 answer_span: i64, INT8_ARRAY = span_to_sql(it.entry.retention.answer);
        11 tombstone_span: i64, INT8_ARRAY = span_to_sql(it.entry.retention.tombstone);
        12 answer_status: Option<i32>, INT4_ARRAY = Some(it.answer?.status.into());
        13 answer_type: Option<&'a str>, TEXT_ARRAY = Some(it.answer?.content_type.as_str());
        14 answer_location: Option<&'a str>, TEXT_ARRAY = it.answer?.location.as_deref();
        15 answer_version: Option<i64>, INT8_ARRAY = Some(signed(it.answer?.version?.0));
        16 answer_body: Option<&'a [u8]>, BYTEA_ARRAY = Some(&it.answer?.body[..]);
    }
}

/// Why PostgreSQL cannot keep these texts, if it cannot.
pub(crate) fn unwritable<'a>(
    texts: impl IntoIterator<Item = Option<&'a str>>,
    answer: Option<&'a Answer>,
) -> Option<&'static str> {
    let answer = [
        answer.map(|answer| answer.content_type.as_str()),
        answer.and_then(|answer| answer.location.as_deref()),
    ];
    let mut texts = texts.into_iter().chain(answer).flatten();
    texts
        .any(|text| text.contains('\0'))
        .then_some("a text holds the character NUL, which the store cannot keep")
}
