//! The core's table of the lock: in every state that public verbs reach, every event comes to what
//! [`decide`], [`decide_settle`] and [`LeaseState::next`] say, and to nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use orderlock_core::store::{
    Acquired, Broken, Claim, Decision, Facts, Final, FinalOutcome, Grant, KeyFacts, Leave,
    MarkFate, Resolve, Resolved, Settle, SettleFacts, SettleVerdict, Verdict, decide,
    decide_settle,
};
use orderlock_core::{
    Fingerprint, KeyId, LeaseEvent, LeaseState, LeaseView, Recovery, Runtime as _, Target, Times,
    Version,
};

use super::node::{Held, Node};
use super::world::{Ended, World};
use crate::fixtures::{self, RETENTION, ids};

const RESUME: Recovery = Recovery::Resume {
    times: 9,
    within: Duration::from_secs(3_600),
};
const KEY: &str = "k1";

/// How a state is reached.
#[derive(Clone, Copy, Debug)]
enum Start {
    Free,
    Held,
    HeldAfterACheckpoint,
    Begun,
    BegunAfterACheckpoint,
    Resumed,
    Unattended,
}

impl Start {
    const ALL: [Self; 7] = [
        Self::Free,
        Self::Held,
        Self::HeldAfterACheckpoint,
        Self::Begun,
        Self::BegunAfterACheckpoint,
        Self::Resumed,
        Self::Unattended,
    ];
}

/// An order, and beside it what the core says of it.
struct Scene {
    node: Node,
    order: String,
    lock: LeaseState,
    version: Version,
    keys: BTreeMap<KeyId, KeyFacts>,
    /// The last grant, and the step of its next settle.
    last: Held,
    step: u32,
}

impl Scene {
    /// A new order in this state.
    async fn reach(node: &Node, order: String, from: Start) -> Self {
        node.order(&order).await;
        let claim = fixtures::claim(&order, KEY);
        let mut scene = Self {
            last: nobody(node, claim),
            node: node.clone(),
            order,
            lock: LeaseState::Free,
            version: Version::FIRST,
            keys: BTreeMap::new(),
            step: 0,
        };
        match from {
            Start::Free => {}
            Start::Held => scene.asks(KEY, "{}", None).await,
            Start::HeldAfterACheckpoint => {
                scene.asks(KEY, "{}", None).await;
                scene.checkpoints(0).await;
            }
            Start::Begun => scene.asks(KEY, "{}", Some(RESUME)).await,
            Start::BegunAfterACheckpoint => {
                scene.asks(KEY, "{}", Some(RESUME)).await;
                scene.checkpoints(0).await;
            }
            Start::Resumed | Start::Unattended => {
                scene.asks(KEY, "{}", Some(RESUME)).await;
                scene.releases(MarkFate::Keep).await;
                if matches!(from, Start::Resumed) {
                    scene.asks(KEY, "{}", Some(Recovery::Reconcile)).await;
                }
            }
        }
        scene
    }

    fn target(&self) -> Target {
        ids::target(&self.order)
    }

    fn view(&self) -> Option<LeaseView> {
        let target = self.target();
        match &self.lock {
            LeaseState::Free => None,
            LeaseState::Held(lease) | LeaseState::Begun(lease, _) => Some(lease.view(&target)),
            LeaseState::Unattended(mark) => Some(mark.view(&target)),
        }
    }

    /// The store shows the lock as the core says it is, also what is behind a lease.
    async fn agrees(&mut self) {
        self.shows_the_lock().await;
        if self.lock.lease().is_some() {
            self.releases(MarkFate::Keep).await;
            self.shows_the_lock().await;
        }
        self.asks("k9", "{}", None).await;
        self.shows_the_lock().await;
    }

    async fn shows_the_lock(&self) {
        let shown = self.node.view(&self.order).await;
        assert_eq!(shown.lease, self.view());
        assert_eq!(shown.version, self.version);
    }

    async fn asks(&mut self, key: &str, body: &str, mark: Option<Recovery>) {
        let claim = fixtures::asking(fixtures::claim(&self.order, key), body);
        let key = claim.key_id;
        let mut request = self.node.request(claim);
        request.mark = mark;
        let facts = Facts {
            version: Some(self.version),
            key: self.keys.get(&key).copied().unwrap_or(KeyFacts::New),
            lease: &self.lock,
            session_alive: true,
            now: self.node.runtime.wall(),
        };
        let verdict = decide(&request, facts);
        let told = self.node.acquire(request.clone()).await;
        match (verdict, told) {
            (Verdict::Grant(mut granted), Acquired::Granted(grant)) => {
                assert_eq!(granted.lease.attempt, grant.attempt);
                // The time is the store's.
                granted.lease.since = grant.now;
                if let (None, Some(mark)) = (self.lock.mark(), &mut granted.mark) {
                    mark.since = grant.now;
                }
                self.last = Held {
                    request,
                    grant: *grant,
                };
                self.step = 0;
                self.lock = (*granted).into();
            }
            (Verdict::Replay, Acquired::Settled(entry)) => assert_eq!(entry.key_id, key),
            (Verdict::Answer(said), told) => assert_eq!(told, said),
            (verdict, told) => panic!("{verdict:?}, but {told:?}"),
        }
    }

    async fn settles(&mut self, settle: Settle) {
        let claim = &settle.claim;
        let known = self.keys.get(&claim.key_id);
        let facts = SettleFacts {
            version: Some(self.version),
            lease: &self.lock,
            written: None,
            key_settled: matches!(known, Some(KeyFacts::Final { .. })),
        };
        let verdict = decide_settle(&settle, facts);
        match (verdict, self.node.settle(settle.clone()).await) {
            (SettleVerdict::Apply(after), Ended::Applied(..)) => {
                self.lock = after;
                self.step += 1;
                self.version = settle
                    .change()
                    .map_or(self.version, |_| self.version.next());
                let attempt = settle.entry.attempt;
                let known = bound(claim.fingerprint, attempt, settle.is_final());
                self.keys.insert(claim.key_id, known);
            }
            (SettleVerdict::Lost(loss), told) => assert_eq!(told, Ended::Lost(loss)),
            (verdict, told) => panic!("{verdict:?}, but {told:?}"),
        }
    }

    async fn ends(&mut self) {
        let settle = Settle {
            step: self.step,
            version: self.version,
            ..self.last.settle()
        };
        self.settles(settle).await;
    }

    async fn checkpoints(&mut self, too_far: u32) {
        let checkpoint = Settle {
            step: self.step + too_far,
            version: self.version,
            ..self.last.checkpoint()
        };
        self.settles(checkpoint).await;
    }

    /// Whether the event is an arrow of the table; then the lock is as it leaves it.
    fn moves(&mut self, event: LeaseEvent) -> bool {
        let after = self.lock.next(event);
        let is_arrow = after.is_ok();
        if let Ok(after) = after {
            self.lock = after;
        }
        is_arrow
    }

    async fn releases(&mut self, mark: MarkFate) {
        let fence = self.last.grant.fence;
        let arrow = self.moves(match mark {
            MarkFate::Keep => LeaseEvent::Released(fence),
            MarkFate::Clear => LeaseEvent::ReleasedWithoutEffect(fence),
        });
        let told = self.node.release(self.last.release(mark)).await;
        assert_eq!(told.held, arrow);
    }

    async fn undoes(&mut self) {
        let arrow = self.moves(LeaseEvent::Undone(self.last.grant.fence));
        assert_eq!(self.node.undo(self.last.undo()).await.held, arrow);
    }

    async fn breaks(&mut self) {
        let arrow = self.moves(LeaseEvent::Voided(self.last.grant.fence));
        let told = self.node.break_lease(self.last.break_it()).await;
        assert_eq!(matches!(told, Broken::Broken(_)), arrow, "{told:?}");
    }

    /// The session of the last grant ends.
    async fn leaves(&mut self, other: Node) {
        self.moves(LeaseEvent::Voided(self.last.grant.fence));
        let session = self.node.session;
        self.node.store().leave(Leave { session }).await.unwrap();
        self.node = other;
    }

    async fn resolves(&mut self, key: &str, settles: bool) {
        let claim = fixtures::claim(&self.order, key);
        let (attempt, since) = match self.lock.mark() {
            Some(mark) => (mark.attempt, mark.since),
            None => (1, self.last.grant.now),
        };
        let fingerprint = claim.fingerprint;
        let known = bound(fingerprint, attempt, settles);
        let decision = match settles {
            true => self.refused(),
            false => Decision::RunAgain {
                retention: RETENTION,
            },
        };
        let arrow = self.moves(LeaseEvent::Resolved(claim.key_id));
        if arrow {
            self.keys.insert(claim.key_id, known);
        }
        let request = Resolve {
            target: claim.target(),
            key_id: claim.key_id,
            attempt,
            since,
            decision,
            actor: ids::principal("operator"),
            reason: "it is known by now".into(),
        };
        let told = self.node.resolve(request).await;
        assert_eq!(matches!(told, Resolved::Resolved(_)), arrow, "{told:?}");
    }

    fn refused(&self) -> Decision {
        Decision::Settle {
            version: self.version,
            end: Final {
                outcome: FinalOutcome::Refused,
                answer: fixtures::answer("refused"),
            },
            retention: RETENTION,
        }
    }

    /// From here on it is another fence that speaks.
    fn forged(mut self) -> Self {
        let claim = self.last.request.claim.clone();
        self.last = nobody(&self.node, claim);
        self
    }
}

fn bound(fingerprint: Fingerprint, attempt: u32, for_good: bool) -> KeyFacts {
    match for_good {
        true => KeyFacts::Final {
            fingerprint,
            retained: true,
        },
        false => KeyFacts::Progress {
            fingerprint,
            attempt,
        },
    }
}

/// A grant that was never made.
fn nobody(node: &Node, claim: Claim) -> Held {
    let request = node.request(claim);
    let now = node.runtime.wall();
    let grant = Grant {
        fence: request.fence,
        version: Version::FIRST,
        document: fixtures::document(0),
        index: fixtures::index("open"),
        times: Times {
            created: now,
            updated: now,
        },
        now,
        attempt: 1,
        progress: None,
    };
    Held { request, grant }
}

pub(crate) async fn requests_come_to_what_the_table_says(world: World) {
    let node = world.join("a").await;
    let other = r#"{"other":1}"#;
    for from in Start::ALL {
        for (number, (key, body, mark)) in [
            (KEY, "{}", None),
            (KEY, "{}", Some(RESUME)),
            (KEY, other, Some(RESUME)),
            ("k2", "{}", None),
            ("k2", "{}", Some(RESUME)),
        ]
        .into_iter()
        .enumerate()
        {
            let mut scene = Scene::reach(&node, format!("{from:?}-{number}"), from).await;
            scene.asks(key, body, mark).await;
            scene.agrees().await;
        }
    }
}

pub(crate) async fn the_words_of_holders_come_to_what_the_table_says(world: World) {
    let node = world.join("a").await;
    for from in Start::ALL {
        for word in 0..6 {
            for forged in [false, true] {
                let order = format!("{from:?}-{word}-{forged}");
                let mut scene = Scene::reach(&node, order, from).await;
                if forged {
                    scene = scene.forged();
                }
                match word {
                    0 => scene.ends().await,
                    1 => scene.checkpoints(0).await,
                    2 => scene.checkpoints(1).await,
                    3 => scene.releases(MarkFate::Keep).await,
                    4 => scene.releases(MarkFate::Clear).await,
                    _ => scene.undoes().await,
                }
                scene.shows_the_lock().await;
            }
        }
    }
}

pub(crate) async fn the_acts_of_others_come_to_what_the_table_says(world: World) {
    for from in Start::ALL {
        for act in 0..6 {
            let order = format!("{from:?}-{act}");
            let node = world.join(&order).await;
            let mut scene = Scene::reach(&node, order, from).await;
            match act {
                0 => scene.breaks().await,
                1 => {
                    scene = scene.forged();
                    scene.breaks().await;
                }
                2 => scene.leaves(world.join("other").await).await,
                3 => scene.resolves(KEY, false).await,
                4 => scene.resolves(KEY, true).await,
                _ => scene.resolves("k2", false).await,
            }
            scene.shows_the_lock().await;
        }
    }
}
