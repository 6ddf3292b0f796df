//! An order's document, as it is read: the order's own fields, and what Orderlock keeps beside them.

use std::collections::BTreeMap;

use mongodb::bson::{Bson, Document as Fields, doc};
use orderlock_core::store::OrderView;
use orderlock_core::{
    Document, Fence, LeaseId, LeaseState, LeaseView, LeaseViewState, Mark, OrderId, OwnedIndex,
    Target, Times, Timestamp, Version,
};

use crate::document::entry::StoredEntry;
use crate::document::fields::{FieldReader, from_micros, nested, size};
use crate::document::json::{self, Doubles};
use crate::document::keys::Keys;
use crate::document::lease::{GrantedLease, locked_by, mark_from_fields};
use crate::document::order_id;
use crate::document::update::REVISION;
use crate::document::waits::WaitList;
use crate::error::Failure;

/// What stands in `locked`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Locked {
    /// Null, or nothing.
    Free,
    /// A grant of Orderlock's, whose lease is in the document.
    Ours,
    /// Something that a service has put there which does not know Orderlock.
    Foreign(Bson),
}

/// An order's document.
#[derive(Clone, Debug)]
pub(crate) struct OrderDocument {
    pub(crate) id: Bson,
    pub(crate) target: Target,
    /// The order's own fields, without those of the store.
    pub(crate) own: Fields,
    pub(crate) locked: Locked,
    /// What `locked` holds, as it was read.
    locked_value: Bson,
    /// Counts Orderlock's writes; none in a document that it has never written, or of which somebody
    /// has dropped what it had written.
    pub(crate) revision: Option<i64>,
    pub(crate) version: Version,
    /// Versions up to this one have been given to another state of the order.
    pub(crate) floor: Option<Version>,
    /// The number of the last entry.
    pub(crate) number: u64,
    created: Option<Timestamp>,
    updated: Option<Timestamp>,
    /// Whether nobody but Orderlock has ever written the order's own fields.
    pub(crate) exact: bool,
    /// The hash of the order's own fields as Orderlock has left them.
    hash: Option<String>,
    /// The JSON text, where the fields cannot give it back.
    text: Option<String>,
    /// What lists find the order by, where its own fields do not say it.
    index: Option<OwnedIndex>,
    pub(crate) granted: Option<GrantedLease>,
    pub(crate) mark: Option<Mark>,
    pub(crate) keys: Keys,
    /// Entries that wait for the relay, by their number.
    pub(crate) entries: BTreeMap<u64, Fields>,
    /// The nodes that wait for the order, as far as had been written when it was read.
    pub(crate) waits: WaitList,
}

impl OrderDocument {
    /// Reads a document, whole or in parts.
    pub(crate) fn read(fields: Fields) -> Result<Self, Failure> {
        let mut fields = nested(fields);
        let id = fields.remove("_id");
        let read = id
            .clone()
            .ok_or_else(|| Failure::unreadable("an order without _id"));
        let read = read.and_then(|id| Self::read_members(id, fields));
        read.map_err(|failure| failure.in_document("the order", id.as_ref()))
    }

    fn read_members(id: Bson, mut fields: Fields) -> Result<Self, Failure> {
        let target = order_id::target(&id)
            .ok_or_else(|| Failure::unreadable("an `_id` that names no order"))?;
        let locked_value = fields.remove("locked").unwrap_or(Bson::Null);
        let kept = fields.remove("orderlock").unwrap_or(Bson::Null);
        let nothing = Fields::new();
        let kept = match &kept {
            Bson::Null => &nothing,
            Bson::Document(kept) => kept,
            _ => return Err(Failure::unreadable("`orderlock` of an order is not ours")),
        };
        let reader = FieldReader::new("an order", kept);
        let tenant = &target.tenant;
        let lease = reader.document("lease")?;
        let granted = lease
            .map(|lease| GrantedLease::from_fields(lease, tenant))
            .transpose()?;
        let mark = reader.document("mark")?;
        let mark = mark
            .map(|mark| mark_from_fields(mark, tenant))
            .transpose()?;
        let version = reader.optional_number("version")?;
        let revision = reader.optional_number("turn")?;
        Ok(Self {
            locked: locked(&locked_value, granted.as_ref()),
            locked_value,
            revision,
            version: version.map_or(Version::FIRST, |version| Version(version.unsigned_abs())),
            floor: match reader.has("floor") {
                true => Some(Version(reader.count("floor")?)),
                false => None,
            },
            number: reader
                .optional_number("number")?
                .unwrap_or(0)
                .unsigned_abs(),
            created: reader.optional_time("created")?,
            updated: reader.optional_time("updated")?,
            exact: reader.has("exact"),
            hash: reader.optional_text("hash")?.map(Into::into),
            text: reader.optional_text("text")?.map(Into::into),
            index: reader.document("index")?.map(index_of),
            granted,
            mark,
            keys: match revision {
                Some(_) => Keys::from_fields(reader)?,
                None => Keys::dropped(),
            },
            entries: entries(reader)?,
            waits: WaitList::read(reader.get("waits")),
            own: fields,
            target,
            id,
        })
    }

    /// The lock, without any thought of whether its session is alive. A foreign lock is none.
    pub(crate) fn state(&self) -> LeaseState {
        match (self.lease(), &self.mark) {
            (Some(granted), None) => LeaseState::Held(granted.lease.clone()),
            (Some(granted), Some(mark)) => LeaseState::Begun(granted.lease.clone(), mark.clone()),
            (None, Some(mark)) => LeaseState::Unattended(mark.clone()),
            (None, None) => LeaseState::Free,
        }
    }

    /// The grant that holds the order.
    pub(crate) fn lease(&self) -> Option<&GrantedLease> {
        self.granted
            .as_ref()
            .filter(|_| self.locked == Locked::Ours)
    }

    /// The name of the grant that holds the order.
    pub(crate) fn lease_id(&self) -> Option<LeaseId> {
        let granted = self.lease()?;
        Some(LeaseId::of_grant(granted.lease.fence, &self.target.order))
    }

    /// Whether this grant holds the order.
    pub(crate) fn is_held_by(&self, fence: Fence) -> bool {
        self.lease()
            .is_some_and(|granted| granted.lease.fence == fence)
    }

    /// A filter for the order as long as it is as it was read, whoever holds it.
    pub(crate) fn unchanged(&self) -> Fields {
        doc! {"_id": &self.id, "locked": &self.locked_value, REVISION: self.revision}
    }

    /// The order once nobody holds it, with the mark that then stands.
    pub(crate) fn let_go(mut self, mark: Option<Mark>) -> Self {
        self.locked = Locked::Free;
        self.granted = None;
        self.mark = mark;
        self
    }

    /// Whether somebody else has changed the order since Orderlock left it: its own fields, or all of
    /// it by another document.
    pub(crate) fn changed_elsewhere(&self) -> bool {
        self.floor.is_some_and(|floor| floor >= self.version) || self.fields_changed()
    }

    /// Whether somebody else has changed the order's own fields since Orderlock left them.
    pub(crate) fn fields_changed(&self) -> bool {
        self.hash
            .as_ref()
            .is_some_and(|hash| !json::is_hash_of(hash, &self.own))
    }

    /// How the order's doubles are shown.
    pub(crate) fn doubles(&self) -> Doubles {
        match self.exact {
            true => Doubles::AsTheyAre,
            false => Doubles::WholeAsIntegers,
        }
    }

    /// The order as JSON.
    pub(crate) fn document(&self) -> Result<Document, Failure> {
        if self.fields_changed() {
            return json::to_document(&self.own, Doubles::WholeAsIntegers);
        }
        match &self.text {
            Some(text) => Ok(Document::trusted(text.clone())),
            None => json::to_document(&self.own, self.doubles()),
        }
    }

    /// What lists find the order by.
    pub(crate) fn index(&self) -> OwnedIndex {
        self.index.clone().unwrap_or_else(|| index_of(&self.own))
    }

    /// When the order was made and last changed. Of an order that Orderlock has not made, its own
    /// fields and its id are asked.
    pub(crate) fn times(&self) -> Times {
        let own = |name| match self.own.get(name) {
            Some(Bson::DateTime(time)) => Some(from_millis(time.timestamp_millis())),
            _ => None,
        };
        let by_id = match &self.id {
            Bson::ObjectId(id) => Some(from_millis(id.timestamp().timestamp_millis())),
            _ => None,
        };
        let created = self.created.or_else(|| own("createdAt")).or(by_id);
        let created = created.unwrap_or(Timestamp::UNIX_EPOCH);
        let updated = self.updated.or_else(|| own("updatedAt"));
        Times {
            created,
            updated: updated.unwrap_or(created),
        }
    }

    /// Who holds the order, or which mark is open.
    pub(crate) fn lease_view(&self) -> Option<LeaseView> {
        if let Locked::Foreign(value) = &self.locked {
            return Some(foreign_view(&self.target, value));
        }
        match self.state() {
            LeaseState::Free => None,
            LeaseState::Held(lease) | LeaseState::Begun(lease, _) => Some(lease.view(&self.target)),
            LeaseState::Unattended(mark) => Some(mark.view(&self.target)),
        }
    }

    pub(crate) fn view(&self) -> Result<OrderView, Failure> {
        Ok(OrderView {
            target: self.target.clone(),
            version: self.version,
            document: self.document()?,
            index: self.index(),
            times: self.times(),
            lease: self.lease_view(),
        })
    }

    /// An entry that waits for the relay.
    pub(crate) fn pending(&self, number: u64) -> Result<Option<StoredEntry>, Failure> {
        let fields = self.entries.get(&number);
        fields
            .map(|fields| StoredEntry::from_fields(fields, &self.target))
            .transpose()
    }

    /// How many bytes wait for the relay.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.entries.values().map(size).sum()
    }

    /// Every entry that waits for the relay, the oldest first.
    pub(crate) fn pending_all(&self) -> Result<Vec<StoredEntry>, Failure> {
        let entries = self.entries.values();
        entries
            .map(|fields| StoredEntry::from_fields(fields, &self.target))
            .collect()
    }
}

/// A lock that a service took which does not know Orderlock. Its id says what was seen, so that an
/// operator who breaks it breaks that one.
pub(crate) fn foreign_view(target: &Target, value: &Bson) -> LeaseView {
    LeaseView {
        id: foreign_id(target, value),
        target: target.clone(),
        state: LeaseViewState::Foreign,
        operation: None,
        caller: None,
        key_id: None,
        fingerprint: None,
        attempt: 1,
        since: None,
    }
}

/// Names the order, and by a hash the lock that was seen.
pub(crate) fn foreign_id(target: &Target, value: &Bson) -> LeaseId {
    let mut seen = [0; 16];
    seen.copy_from_slice(&blake3::hash(value.to_string().as_bytes()).as_bytes()[..16]);
    let name = LeaseId::of_grant(Fence(u128::from_be_bytes(seen)), &target.order);
    LeaseId(name.0.replacen(GRANT, FOREIGN, 1).into())
}

const GRANT: &str = "lck_";
const FOREIGN: &str = "old_";

/// Which order a lease's name is about.
pub(crate) fn order_of(lease: &LeaseId) -> Option<OrderId> {
    let name = match lease.0.strip_prefix(FOREIGN) {
        Some(rest) => LeaseId(format!("{GRANT}{rest}").into()),
        None => lease.clone(),
    };
    name.grant().map(|(_, order)| order)
}

fn locked(value: &Bson, granted: Option<&GrantedLease>) -> Locked {
    match value {
        Bson::Null => Locked::Free,
        Bson::String(text)
            if granted.is_some_and(|granted| locked_by(granted.lease.fence) == *text) =>
        {
            Locked::Ours
        }
        other => Locked::Foreign(other.clone()),
    }
}

/// What lists find an order by, as its own fields say it.
pub(crate) fn index_of(fields: &Fields) -> OwnedIndex {
    let text = |name| fields.get(name).and_then(Bson::as_str).map(Into::into);
    OwnedIndex {
        status: text("status"),
        customer: text("customer"),
    }
}

pub(crate) fn entries(reader: FieldReader<'_>) -> Result<BTreeMap<u64, Fields>, Failure> {
    let entries = reader.document("entries")?.into_iter().flatten();
    entries
        .map(|(name, entry)| {
            let number = name
                .strip_prefix('e')
                .and_then(|number| number.parse().ok());
            match (number, entry) {
                (Some(number), Bson::Document(entry)) => Ok((number, entry.clone())),
                _ => Err(Failure::unreadable("an entry that waits in an order")),
            }
        })
        .collect()
}

fn from_millis(millis: i64) -> Timestamp {
    from_micros(millis.saturating_mul(1_000))
}
