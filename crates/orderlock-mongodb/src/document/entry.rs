//! Journal entries as they are kept: first in the order's own document, then in the journal.

use bytes::Bytes;
use mongodb::bson::{Bson, Document as Fields, doc};
use orderlock_core::store::{About, Entry, Position, Receipt, Retention};
use orderlock_core::{Answer, Document, Fence, OutcomeKind, Principal, Target, Timestamp, Version};

use crate::document::fields::{FieldReader, after, binary, hash_hex, hex, long, micros};
use crate::error::Failure;

/// An entry, and what only the store knows of it.
#[derive(Clone, Debug)]
pub(crate) struct StoredEntry {
    pub(crate) entry: Entry,
    /// When its answer is no longer given.
    pub(crate) expires: Timestamp,
    /// When its key is no longer known.
    pub(crate) forgotten: Timestamp,
}

impl StoredEntry {
    /// The record of an entry that is about to be written, whose retention begins now.
    pub(crate) fn new(mut entry: Entry, retention: Retention, now: Timestamp) -> Self {
        let expires = after(now, retention.answer);
        entry.expires = entry.answer.as_ref().map(|_| expires);
        Self {
            entry,
            expires,
            forgotten: after(now, retention.tombstone),
        }
    }

    /// The record of an act that no grant made.
    pub(crate) fn of_act(
        target: &Target,
        about: About,
        (outcome, actor, reason): (OutcomeKind, Principal, Option<String>),
        now: Timestamp,
    ) -> Self {
        let entry = Entry::of_act(target, about, outcome, actor, reason, now);
        Self::new(entry, Retention::NONE, now)
    }

    /// Whether these are one entry, wherever it stands, and whether or not its answer is there still.
    /// A number does not tell: it is given again if somebody has replaced the order. Only of what an
    /// operator did it has to: two acts about one key at one moment differ in nothing else.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        fn name(entry: &Entry) -> impl PartialEq {
            (
                (entry.key_id, entry.fingerprint, entry.attempt),
                (entry.fence, entry.step, entry.outcome),
                // As it is kept.
                (entry.at.as_microsecond(), entry.version),
                entry.reason.is_some().then_some(entry.number),
            )
        }
        name(&self.entry) == name(&other.entry)
    }

    /// The entry as it is now: without an answer that is past its retention.
    pub(crate) fn shown(mut self, now: Timestamp) -> Entry {
        self.entry.answer = self.entry.answer.filter(|_| now < self.expires);
        self.entry
    }

    pub(crate) fn receipt(&self) -> Receipt {
        Receipt {
            number: self.entry.number,
            expires: self.expires,
        }
    }

    /// How many bytes it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        let change = self.entry.change.as_ref().map_or(0, Document::size);
        let answer = self
            .entry
            .answer
            .as_ref()
            .map_or(0, |answer| answer.body.len());
        1_024 + change + answer
    }

    /// Whether this is what a settle of that grant has written.
    pub(crate) fn is_of(&self, fence: Fence, step: u32) -> bool {
        self.entry.fence == Some(fence) && self.entry.step == step
    }

    /// What says that an entry which waits in an order is this one: conditions on the order.
    pub(crate) fn conditions(&self) -> Fields {
        let entry = &self.entry;
        let path = |name: &str| format!("orderlock.entries.e{}.{name}", entry.number);
        let fence = entry.fence.map_or(Bson::Null, |fence| hex(fence.0).into());
        doc! {
            path("key"): hash_hex(entry.key_id.0),
            path("at"): micros(entry.at),
            path("fence"): fence,
            path("step"): i64::from(entry.step),
        }
    }

    pub(crate) fn to_fields(&self) -> Result<Fields, Failure> {
        let entry = &self.entry;
        let mut fields = doc! {
            "number": long(entry.number),
            "version": long(entry.version.0),
            "operation": entry.operation.as_str(),
            "outcome": entry.outcome.as_str(),
            "actor": entry.actor.as_str(),
            "at": micros(entry.at),
            "attempt": i64::from(entry.attempt),
            "key": hash_hex(entry.key_id.0),
            "fingerprint": hash_hex(entry.fingerprint.0),
            "step": i64::from(entry.step),
            "expires": micros(self.expires),
            "forgotten": micros(self.forgotten),
        };
        if let Some(reason) = &entry.reason {
            fields.insert("reason", reason);
        }
        if let Some(fence) = entry.fence {
            fields.insert("fence", hex(fence.0));
        }
        if let Some(change) = &entry.change {
            let text = std::str::from_utf8(change.as_bytes())
                .map_err(|_| Failure::impossible("the order is not UTF-8"))?;
            fields.insert("change", text);
        }
        if entry.expires.is_some() {
            fields.insert("answered", 1);
        }
        if let Some(answer) = &entry.answer {
            fields.insert("answer", answer_to_fields(answer));
        }
        Ok(fields)
    }

    /// Reads an entry of an order; its position is 0 while it has none.
    pub(crate) fn from_fields(fields: &Fields, target: &Target) -> Result<Self, Failure> {
        let reader = FieldReader::new("a journal entry", fields);
        let outcome = OutcomeKind::parse(reader.text("outcome")?)
            .ok_or_else(|| Failure::unreadable("`outcome` of a journal entry"))?;
        let expires = reader.time("expires")?;
        let answer = reader.document("answer")?.map(answer_from_fields);
        let fence = match reader.has("fence") {
            true => Some(reader.fence("fence")?),
            false => None,
        };
        let change = reader.optional_text("change")?;
        Ok(Self {
            entry: Entry {
                target: target.clone(),
                number: reader.count("number")?,
                position: Position(reader.count("position").unwrap_or(0)),
                version: Version(reader.count("version")?),
                operation: reader.parsed("operation")?,
                outcome,
                actor: reader.parsed("actor")?,
                reason: reader.optional_text("reason")?.map(Into::into),
                at: reader.time("at")?,
                attempt: reader.count("attempt")?,
                key_id: reader.key_id("key")?,
                fingerprint: reader.fingerprint("fingerprint")?,
                fence,
                step: reader.count("step")?,
                change: change.map(|text| Document::trusted(text.to_owned())),
                answer: answer.transpose()?,
                expires: reader.has("answered").then_some(expires),
            },
            expires,
            forgotten: reader.time("forgotten")?,
        })
    }
}

fn answer_to_fields(answer: &Answer) -> Fields {
    let mut fields = doc! {
        "status": i32::from(answer.status),
        "contentType": &answer.content_type,
        "body": binary(&answer.body),
    };
    if let Some(location) = &answer.location {
        fields.insert("location", location);
    }
    if let Some(version) = answer.version {
        fields.insert("version", long(version.0));
    }
    fields
}

fn answer_from_fields(fields: &Fields) -> Result<Answer, Failure> {
    let reader = FieldReader::new("a stored answer", fields);
    let version = match reader.get("version") {
        Some(Bson::Null) | None => None,
        Some(_) => Some(Version(reader.count("version")?)),
    };
    Ok(Answer {
        status: reader.count("status")?,
        content_type: reader.text("contentType")?.to_owned(),
        location: reader.optional_text("location")?.map(Into::into),
        version,
        body: Bytes::copy_from_slice(reader.bytes("body")?),
    })
}
