//! The part of an entry that the lifecycle decides, as the parameters of the statements that write
//! entries and what is remembered of their keys.

use orderlock_core::store::{Claim, Create, NewEntry, Settle};
use orderlock_core::{Answer, OutcomeKind, Timestamp};
use tokio_postgres::types::ToSql;

use crate::sql::clock::span_to_sql;
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

/// New entries, a column for each of their parts.
#[derive(Debug)]
pub(crate) struct NewEntries<'a> {
    actors: Vec<&'a str>,
    operations: Vec<&'a str>,
    outcomes: Vec<&'static str>,
    attempts: Vec<i64>,
    times: Vec<Timestamp>,
    key_hashes: Vec<i64>,
    key_ids: Vec<&'a [u8]>,
    fingerprints: Vec<&'a [u8]>,
    answer_spans: Vec<i64>,
    tombstone_spans: Vec<i64>,
    statuses: Vec<Option<i32>>,
    types: Vec<Option<&'a str>>,
    locations: Vec<Option<&'a str>>,
    versions: Vec<Option<i64>>,
    bodies: Vec<Option<&'a [u8]>>,
}

impl<'a> NewEntries<'a> {
    pub(crate) fn of(new: impl Iterator<Item = NewEntryRow<'a>>) -> Self {
        let new: Vec<_> = new.collect();
        let claims = || new.iter().map(|row| row.claim);
        let entries = || new.iter().map(|row| row.entry);
        let answers = || new.iter().map(|row| row.answer);
        Self {
            actors: claims().map(|it| it.caller.principal.as_str()).collect(),
            operations: entries().map(|it| it.operation.as_str()).collect(),
            outcomes: new.iter().map(|it| it.outcome.as_str()).collect(),
            attempts: entries().map(|it| it.attempt.into()).collect(),
            times: entries().map(|it| it.at).collect(),
            key_hashes: claims().map(|it| key_hash(it.key_id)).collect(),
            key_ids: claims().map(|it| &it.key_id.0[..]).collect(),
            fingerprints: claims().map(|it| &it.fingerprint.0[..]).collect(),
            answer_spans: entries()
                .map(|it| span_to_sql(it.retention.answer))
                .collect(),
            tombstone_spans: entries()
                .map(|it| span_to_sql(it.retention.tombstone))
                .collect(),
            statuses: answers().map(|it| it.map(|it| it.status.into())).collect(),
            types: answers()
                .map(|it| it.map(|it| it.content_type.as_str()))
                .collect(),
            locations: answers().map(|it| it?.location.as_deref()).collect(),
            versions: answers()
                .map(|it| it?.version.map(|it| signed(it.0)))
                .collect(),
            bodies: answers().map(|it| it.map(|it| &it.body[..])).collect(),
        }
    }

    /// In the order in which the statements name them.
    pub(crate) fn parameters(&self) -> [&(dyn ToSql + Sync); 15] {
        [
            &self.actors,
            &self.operations,
            &self.outcomes,
            &self.attempts,
            &self.times,
            &self.key_hashes,
            &self.key_ids,
            &self.fingerprints,
            &self.answer_spans,
            &self.tombstone_spans,
            &self.statuses,
            &self.types,
            &self.locations,
            &self.versions,
            &self.bodies,
        ]
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
