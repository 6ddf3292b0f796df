//! A node and its store, told by a test what was asked and answered, one moment after the other.

use std::time::Duration;

use orderlock_core::store::{
    Accepted, Acquire, Acquired, Durable, Fate, Grant, Loss, MarkFate, OrderView, Receipt, Release,
    Released, Settle, Settled, StoreError, Undo,
};
use orderlock_core::{
    Caller, Fence, LeaseId, LeaseView, LeaseViewState, Recovery, SessionId, Times, Timestamp,
    Version,
};
use orderlock_testkit::fixtures::{self, claim, document, index};

use super::super::book::Book;

pub(super) const ORDER: &str = "order-1";
pub(super) const RESUME: Recovery = Recovery::Resume {
    times: 4,
    within: Duration::from_secs(3_600),
};

/// A book that is kept, and what it has found broken so far.
#[derive(Default)]
pub(super) struct Script {
    pub(super) book: Book,
    pub(super) broken: Vec<String>,
    now: u64,
    fences: u128,
}

/// A grant that was asked for, and what was told.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) asked: Acquire,
    pub(super) grant: Grant,
}

impl Script {
    pub(super) fn moment(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    /// A request for the order under this key, not sent yet.
    pub(super) fn request(&mut self, key: &str, mark: Option<Recovery>) -> Acquire {
        self.fences += 1;
        Acquire {
            mark,
            ..fixtures::acquire(claim(ORDER, key), SessionId(1), Fence(self.fences))
        }
    }

    pub(super) fn asks(&mut self, key: &str, mark: Option<Recovery>) -> Acquire {
        let request = self.request(key, mark);
        let now = self.moment();
        self.book.asks(&request, now);
        request
    }

    pub(super) fn granted(&mut self, asked: Acquire, version: u64, attempt: u32) -> Run {
        let grant = grant(&asked, version, attempt);
        let now = self.moment();
        let told = Acquired::Granted(Box::new(grant.clone()));
        self.broken.extend(self.book.acquired(&asked, &told, now));
        Run { asked, grant }
    }

    /// Asked for and granted, as the first run of its key.
    pub(super) fn holds(&mut self, key: &str, mark: Option<Recovery>) -> Run {
        let asked = self.asks(key, mark);
        self.granted(asked, 1, 1)
    }

    pub(super) fn settles(&mut self, run: &Run, next: Option<&Run>) -> Settle {
        let mut settle = fixtures::settle(&run.asked, &run.grant);
        if let Some(next) = next {
            settle = fixtures::handing_over(settle, next.asked.clone());
        }
        let now = self.moment();
        self.book.settles(&settle, now);
        settle
    }

    /// What the store says to a settle.
    pub(super) fn settled(&mut self, settle: &Settle, told: &Result<Settled, StoreError>) {
        let now = self.moment();
        self.broken.extend(self.book.settled(settle, told, now));
    }

    /// The settle is durable at once.
    pub(super) fn accepted(&mut self, settle: &Settle, next: Option<&Run>) {
        self.settled(settle, &accepted(next, Durable::already()));
    }

    /// The settle is accepted, and not durable yet.
    pub(super) fn accepted_early(&mut self, settle: &Settle, next: Option<&Run>) {
        let durable = Durable::later(async { Ok(Fate::Durable) });
        self.settled(settle, &accepted(next, durable));
    }

    /// What became of it.
    pub(super) fn hardened(
        &mut self,
        settle: &Settle,
        next: Option<&Run>,
        fate: &Result<Fate, StoreError>,
    ) {
        let now = self.moment();
        let next = next.map(|run| Acquired::Granted(Box::new(run.grant.clone())));
        let broken = self.book.hardened(settle, next.as_ref(), fate, now);
        self.broken.extend(broken);
    }

    /// Settled for good, at once.
    pub(super) fn ends(&mut self, run: &Run) {
        let settle = self.settles(run, None);
        self.accepted(&settle, None);
    }

    pub(super) fn releases(&mut self, run: &Run, mark: MarkFate) -> Release {
        let release = Release {
            target: run.asked.claim.target(),
            fence: run.asked.fence,
            mark,
            next: None,
        };
        let now = self.moment();
        self.book.releases(&release, now);
        release
    }

    pub(super) fn released(&mut self, release: &Release, told: Result<bool, StoreError>) {
        let now = self.moment();
        let told = told.map(|held| Released { held, next: None });
        self.broken.extend(self.book.released(release, &told, now));
    }

    pub(super) fn undoes(&mut self, run: &Run) -> Undo {
        let undo = Undo {
            target: run.asked.claim.target(),
            fence: run.asked.fence,
            next: None,
        };
        let now = self.moment();
        self.book.undoes(&undo, now);
        undo
    }

    pub(super) fn undone(&mut self, undo: &Undo, told: Result<bool, StoreError>) {
        let now = self.moment();
        let told = told.map(|held| Released { held, next: None });
        self.broken.extend(self.book.undone(undo, &told, now));
    }

    /// Somebody reads the order, with the mark of this run or without any.
    pub(super) fn reads(&mut self, version: u64, mark: Option<&Run>) {
        let sent = self.moment();
        let now = self.moment();
        let view = view(version, mark);
        self.broken.extend(self.book.read(&view, (sent, now)));
    }

    #[track_caller]
    pub(super) fn is_well(&self) {
        assert!(self.broken.is_empty(), "{:?}", self.broken);
    }

    /// This broke, and nothing else.
    #[track_caller]
    pub(super) fn breaks(&self, words: &str) {
        let said = matches!(&self.broken[..], [only] if only.contains(words));
        assert!(said, "{:?} is not {words:?}", self.broken);
    }
}

pub(super) fn lost() -> Result<Settled, StoreError> {
    Ok(Settled::Lost(Loss::NotHeld))
}

pub(super) fn not_applied() -> StoreError {
    StoreError::NotApplied("planned".into())
}

pub(super) fn in_doubt() -> StoreError {
    StoreError::OutcomeUnknown("planned".into())
}

/// What a run is told with the settle that hands it the order.
pub(super) fn next(asked: Acquire, version: u64) -> Run {
    let grant = grant(&asked, version, 1);
    Run { asked, grant }
}

pub(super) fn view(version: u64, mark: Option<&Run>) -> OrderView {
    let lease = mark.map(|run| LeaseView {
        id: LeaseId("mark".into()),
        target: run.asked.claim.target(),
        state: LeaseViewState::Marked,
        operation: None,
        caller: None,
        key_id: Some(run.asked.claim.key_id),
        fingerprint: None,
        attempt: run.grant.attempt,
        since: None,
    });
    OrderView {
        target: fixtures::ids::target(ORDER),
        version: Version(version),
        document: document(0),
        index: index("open"),
        times: times(),
        lease,
    }
}

fn accepted(next: Option<&Run>, durable: Durable) -> Result<Settled, StoreError> {
    let receipt = Receipt {
        number: 1,
        expires: Timestamp::MAX,
    };
    let next = next.map(|run| Acquired::Granted(Box::new(run.grant.clone())));
    Ok(Settled::Accepted(Accepted {
        receipt,
        durable,
        next,
    }))
}

fn grant(asked: &Acquire, version: u64, attempt: u32) -> Grant {
    Grant {
        fence: asked.fence,
        version: Version(version),
        document: document(0),
        index: index("open"),
        times: times(),
        now: Timestamp::UNIX_EPOCH,
        attempt,
        progress: None,
    }
}

fn times() -> Times {
    Times {
        created: Timestamp::UNIX_EPOCH,
        updated: Timestamp::UNIX_EPOCH,
    }
}

/// The caller of all fixtures.
pub(super) fn who() -> Caller {
    Caller::single()
}
