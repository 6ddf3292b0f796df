//! Fairness between nodes: who waits for an order that another node holds, and for whom it is kept.
//!
//! A node whose request has found an order held more than once writes into the order that it waits.
//! When it has waited for half a second, nobody else is granted the order, by a hand-over neither:
//! the holder lets it go, and it is kept for the node that has waited longest, as long as that one
//! goes on asking. A wait decides nothing but who comes next; one that is late, lost or left behind
//! costs half a second. It makes no new revision of the order, so that it hinders nobody's write.

use std::time::Duration;

use mongodb::bson::{Bson, Document as Fields, doc};
use orderlock_core::store::WAIT_UNTIL_KEPT;
use orderlock_core::{SessionId, Timestamp};

use crate::document::fields::{FieldReader, hex, micros, parse_u128, span_to_micros};
use crate::document::update::Update;

/// How long a node waits before the order is kept for it, and within what time it asks again at least,
/// in microseconds.
pub(crate) const PATIENCE: i64 = WAIT_UNTIL_KEPT.as_micros() as i64;

/// Within what time a node asks again at most, however long its questions take.
const WITHIN_MAX: i64 = 5_000_000;

/// How many times as long as its last question a node's next one may be on its way.
const QUESTIONS: i64 = 4;

/// How many nodes may wait in one order.
const WAITS_MAX: usize = 64;

/// One node's wait, in microseconds of the store's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wait {
    session: SessionId,
    since: i64,
    asked: i64,
    /// Within what time it asks again. One that is far from the database, or whose database is slow,
    /// needs longer for each question, and would never be found waiting.
    within: i64,
}

impl Wait {
    fn from_fields(name: &str, value: &Bson) -> Option<Self> {
        let reader = FieldReader::new("a wait", value.as_document()?);
        Some(Self {
            session: SessionId(parse_u128(name)?),
            since: reader.number("since").ok()?,
            asked: reader.number("asked").ok()?,
            within: reader
                .number("within")
                .unwrap_or(PATIENCE)
                .clamp(PATIENCE, WITHIN_MAX),
        })
    }

    /// Whether its node has asked lately. A time that is to come is that of a clock that was set
    /// back.
    fn asks(&self, now: i64) -> bool {
        now.abs_diff(self.asked) <= self.within.unsigned_abs()
    }

    fn has_waited(&self, now: i64) -> bool {
        self.since <= now.saturating_sub(PATIENCE)
    }

    fn came(&self) -> (i64, u128) {
        (self.since, self.session.0)
    }
}

/// Who waits for an order.
#[derive(Clone, Debug, Default)]
pub(crate) struct WaitList {
    /// Whether the order's document has the member at all.
    there: bool,
    waits: Vec<Wait>,
}

impl WaitList {
    /// What cannot be read counts as nobody's wait: no order is out of reach because of it.
    pub(crate) fn read(value: Option<&Bson>) -> Self {
        let fields = value.and_then(Bson::as_document).into_iter().flatten();
        Self {
            there: value.is_some(),
            waits: fields
                .filter_map(|(name, value)| Wait::from_fields(name, value))
                .collect(),
        }
    }

    /// Whether the order is kept for another session than this one: for one that has waited for
    /// long enough, goes on asking, and did not come after this one.
    pub(crate) fn kept_for_another(&self, session: SessionId, now: Timestamp) -> bool {
        let now = now.as_microsecond();
        let own = self.of(session).filter(|own| own.asks(now));
        self.others(session).any(|wait| {
            let first = own.is_none_or(|own| wait.came() < own.came());
            first && wait.has_waited(now) && wait.asks(now)
        })
    }

    /// Adds to an update which grants the order to a session that it waits no more, and that those
    /// who have not asked lately do not.
    pub(crate) fn remove_from(&self, update: &mut Update, session: SessionId, now: Timestamp) {
        if !self.there {
            return;
        }
        let now = now.as_microsecond();
        let stays = |wait: &Wait| wait.session != session && wait.asks(now);
        if !self.waits.iter().any(stays) {
            update.unset("orderlock.waits");
            return;
        }
        for wait in self.waits.iter().filter(|wait| !stays(wait)) {
            update.unset(path(wait.session));
        }
    }

    /// Whether another session than this one has waited for long enough.
    pub(crate) fn another_has_waited(&self, session: SessionId, now: Timestamp) -> bool {
        let now = now.as_microsecond();
        self.others(session).any(|wait| wait.has_waited(now))
    }

    /// Whether there is room for this session's wait.
    pub(crate) fn has_room_for(&self, session: SessionId) -> bool {
        self.of(session).is_some() || self.waits.len() < WAITS_MAX
    }

    /// What is written of a session that waits, whose last question took so long. One that has not
    /// asked for a while begins its wait anew.
    pub(crate) fn noted(&self, session: SessionId, now: Timestamp, took: Duration) -> Fields {
        let own = self.of(session);
        let own = own.filter(|own| own.asks(now.as_microsecond()));
        let since = own.map_or_else(|| micros(now), |own| Bson::Int64(own.since));
        let within = span_to_micros(took).saturating_mul(QUESTIONS);
        let within = within.saturating_add(PATIENCE).min(WITHIN_MAX);
        let wait: Fields = doc! {"since": since, "asked": micros(now), "within": within};
        doc! {"$set": {path(session): wait}}
    }

    fn of(&self, session: SessionId) -> Option<&Wait> {
        self.waits.iter().find(|wait| wait.session == session)
    }

    fn others(&self, session: SessionId) -> impl Iterator<Item = &Wait> {
        self.waits
            .iter()
            .filter(move |wait| wait.session != session)
    }
}

/// Where an order's document says that a session waits.
fn path(session: SessionId) -> String {
    format!("orderlock.waits.{}", hex(session.0))
}
