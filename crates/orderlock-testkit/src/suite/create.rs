//! `create`: an order is made once, and its key answered for ever.

use orderlock_core::store::{Acquired, Claim, Create, Created, Known, Receipt};
use orderlock_core::{Caller, Document, OutcomeKind, Runtime as _, Version};

use super::world::{World, single};
use crate::fixtures::{self, RETENTION, ids};

fn request(world: &World) -> Create {
    fixtures::create(fixtures::claim("o1", "k1"), world.runtime.wall())
}

pub(crate) async fn makes_an_order_at_version_one(world: World) {
    let request = request(&world);
    let expires = request.entry.at + RETENTION.answer;
    let created = world.create(request.clone()).await;
    assert_eq!(created, Created::Inserted(Receipt { number: 1, expires }));
    let view = world.view("o1").await;
    assert_eq!(view.version, Version::FIRST);
    assert_eq!(view.document, request.document);
    assert_eq!(view.index, request.index);
    assert_eq!(view.times, request.times);
    assert_eq!(view.lease, None);
    let history = world.history("o1").await;
    let [entry] = history.as_slice() else {
        panic!("not one entry but {history:?}");
    };
    assert_eq!(entry.number, 1);
    assert_eq!(entry.version, Version::FIRST);
    assert_eq!(entry.outcome, OutcomeKind::Created);
    assert_eq!(entry.operation, request.entry.operation);
    assert_eq!(entry.actor, Caller::single().principal);
    assert_eq!(entry.at, request.entry.at);
    assert_eq!(entry.key_id, request.claim.key_id);
    assert_eq!(entry.fingerprint, request.claim.fingerprint);
    assert_eq!(entry.change.as_ref(), Some(&request.document));
    assert_eq!(entry.answer.as_ref(), Some(&request.answer));
    assert_eq!(entry.expires, Some(expires));
    assert_eq!(entry.fence, None);
}

pub(crate) async fn a_repeat_gets_the_first_answer(world: World) {
    let first = request(&world);
    world.create(first.clone()).await;
    let again = Create {
        document: fixtures::document(99),
        ..first.clone()
    };
    match world.create(again).await {
        Created::Settled(entry) => assert_eq!(entry.answer, Some(first.answer.clone())),
        other => panic!("not settled but {other:?}"),
    }
    assert_eq!(world.count("o1").await, 0);
    assert_eq!(world.history("o1").await.len(), 1);
}

pub(crate) async fn the_key_stands_for_one_request(world: World) {
    let first = request(&world);
    world.create(first.clone()).await;
    let reused = Create {
        claim: fixtures::asking(first.claim.clone(), r#"{"other": 1}"#),
        ..first.clone()
    };
    assert_eq!(world.create(reused).await, Created::Reused);
    let other_key = Create {
        claim: fixtures::claim("o1", "k2"),
        ..first
    };
    assert_eq!(world.create(other_key).await, Created::Exists);
    assert_eq!(world.journal(&single()).await.len(), 1);
}

/// The creation of an order under a chosen id, by a key whose derived id is another.
fn chosen(world: &World, id: &str) -> Create {
    let first = request(world);
    let answer = fixtures::answer(id);
    let mut create = Create {
        claim: Claim {
            order: ids::order(id),
            ..first.claim
        },
        ..first
    };
    create.answer = answer;
    create
}

pub(crate) async fn a_key_makes_one_order_whatever_its_id(mut world: World) {
    let first = chosen(&world, "chosen-1");
    let created = world.create(first.clone()).await;
    assert!(matches!(created, Created::Inserted(_)), "{created:?}");
    for restarted in [false, true] {
        if restarted {
            world.restart().await;
        }
        match world.create(chosen(&world, "chosen-2")).await {
            Created::Settled(entry) => {
                assert_eq!(entry.target.order, ids::order("chosen-1"));
                assert_eq!(entry.answer, Some(first.answer.clone()));
            }
            other => panic!("not settled but {other:?}"),
        }
        let second = chosen(&world, "chosen-2");
        let reused = Create {
            claim: fixtures::asking(second.claim.clone(), r#"{"other": 1}"#),
            ..second
        };
        assert_eq!(world.create(reused).await, Created::Reused);
        // The key is found by the id that is derived from it, and by the order that it made.
        for order in ["o1", "chosen-1"] {
            let claim = Claim {
                order: ids::order(order),
                ..first.claim.clone()
            };
            let known = world.known(&claim).await;
            assert!(matches!(known, Known::Settled(_)), "{order}: {known:?}");
        }
    }
    assert_eq!(world.read(ids::target("chosen-2")).await, None);
    world.pass(RETENTION.tombstone * 2);
    world.expire().await;
    let late = world.create(chosen(&world, "chosen-2")).await;
    assert_eq!(late, Created::Expired, "the order is the tombstone");
    assert_eq!(world.journal(&single()).await.len(), 1);
}

pub(crate) async fn a_taken_id_uses_up_no_key(world: World) {
    world.order("chosen-1").await;
    assert_eq!(
        world.create(chosen(&world, "chosen-1")).await,
        Created::Exists
    );
    let other = world.create(chosen(&world, "chosen-2")).await;
    assert!(matches!(other, Created::Inserted(_)), "{other:?}");
}

pub(crate) async fn one_of_many_ids_makes_it(world: World) {
    let mut tasks = Vec::new();
    for number in 0..8 {
        let (verbs, request) = (
            (*world).clone(),
            chosen(&world, &format!("chosen-{number}")),
        );
        tasks.push(tokio::spawn(async move { verbs.create(request).await }));
    }
    let (mut inserted, mut settled) = (0, Vec::new());
    for task in tasks {
        match task.await.unwrap() {
            Created::Inserted(_) => inserted += 1,
            Created::Settled(entry) => settled.push(entry.target),
            other => panic!("neither inserted nor settled but {other:?}"),
        }
    }
    settled.dedup();
    assert_eq!((inserted, settled.len()), (1, 1));
    assert_eq!(world.journal(&single()).await.len(), 1);
}

pub(crate) async fn one_of_many_equal_requests_makes_it(world: World) {
    let request = request(&world);
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let (verbs, request) = ((*world).clone(), request.clone());
        tasks.push(tokio::spawn(async move { verbs.create(request).await }));
    }
    let mut inserted = 0;
    for task in tasks {
        match task.await.unwrap() {
            Created::Inserted(_) => inserted += 1,
            Created::Settled(entry) => assert_eq!(entry.answer.as_ref(), Some(&request.answer)),
            other => panic!("neither inserted nor settled but {other:?}"),
        }
    }
    assert_eq!(inserted, 1);
}

pub(crate) async fn the_order_is_the_tombstone(world: World) {
    let first = request(&world);
    world.create(first.clone()).await;
    world.pass(RETENTION.answer);
    assert_eq!(world.create(first.clone()).await, Created::Expired);
    world.expire().await;
    assert_eq!(world.create(first.clone()).await, Created::Expired);
    world.pass(RETENTION.tombstone * 2);
    world.expire().await;
    assert_eq!(world.create(first.clone()).await, Created::Expired);
    let reused = Create {
        claim: fixtures::asking(first.claim, r#"{"other": 1}"#),
        ..request(&world)
    };
    assert_eq!(world.create(reused).await, Created::Reused);
    assert_eq!(world.history("o1").await.len(), 1);
}

pub(crate) async fn its_key_is_settled_for_the_order(world: World) {
    let first = request(&world);
    world.create(first.clone()).await;
    let known = world.known(&first.claim).await;
    assert!(matches!(known, Known::Settled(_)), "{known:?}");
    let node = world.join("a").await;
    let answer = world.acquire(node.request(first.claim.clone())).await;
    assert!(matches!(answer, Acquired::Settled(_)), "{answer:?}");
}

pub(crate) async fn too_large_a_document_is_not_taken(world: World) {
    let Some(document) = over_the_limit(world.store().describe().document_bytes_max) else {
        return;
    };
    let request = Create {
        document,
        ..request(&world)
    };
    let error = world.store().create(request).await.unwrap_err();
    assert!(!error.may_have_happened(), "{error:?}");
    assert_eq!(world.read(ids::target("o1")).await, None);
}

/// A document that a store must refuse; none if making it would take too much memory.
pub(crate) fn over_the_limit(bytes_max: usize) -> Option<Document> {
    (bytes_max <= 64 * 1024 * 1024)
        .then(|| Document::encode(&"x".repeat(bytes_max)).expect("a text is JSON"))
}
