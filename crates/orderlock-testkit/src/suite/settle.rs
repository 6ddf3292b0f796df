//! `settle`: one write that changes, records and unlocks; or nothing.

use orderlock_core::store::{Acquired, FinalOutcome, Known, Loss, Settle};
use orderlock_core::{OutcomeKind, Recovery, Version};

use super::create::over_the_limit;
use super::world::{Ended, World, applied, replayed};
use crate::fixtures::{self, RETENTION};

pub(crate) async fn changes_records_and_unlocks(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    world.pass(std::time::Duration::from_secs(1));
    let held = node.hold("o1", "k1").await;
    let request = held.settle();
    let receipt = applied(world.settle(request.clone()).await);
    assert_eq!(receipt.number, 2);
    assert_eq!(receipt.expires, held.grant.now + RETENTION.answer);
    let view = world.view("o1").await;
    let change = request.change().unwrap();
    assert_eq!(view.version, Version(2));
    assert_eq!(view.document, change.after);
    assert_eq!(view.index, change.index);
    assert_eq!(view.times.created, held.grant.times.created);
    assert_eq!(view.times.updated, change.at);
    assert_eq!(view.lease, None);
    let entry = world.history("o1").await.remove(1);
    assert_eq!(entry.number, 2);
    assert_eq!(entry.version, Version(2));
    assert_eq!(entry.operation, request.entry.operation);
    assert_eq!(entry.outcome, OutcomeKind::Applied);
    assert_eq!(entry.actor, request.claim.caller.principal);
    assert_eq!(entry.reason, None);
    assert_eq!(entry.at, request.entry.at);
    assert_eq!(entry.attempt, 1);
    assert_eq!(entry.key_id, request.claim.key_id);
    assert_eq!(entry.fingerprint, request.claim.fingerprint);
    assert_eq!(entry.fence, Some(request.fence));
    assert_eq!(entry.step, 0);
    assert_eq!(entry.change.as_ref(), Some(&change.after));
    assert_eq!(entry.answer.as_ref(), request.answer());
    assert_eq!(entry.expires, Some(receipt.expires));
    let retry = node.request(held.request.claim.clone());
    assert_eq!(replayed(world.acquire(retry).await), entry);
    let known = world.known(&held.request.claim).await;
    assert_eq!(known, Known::Settled(Box::new(entry)));
}

pub(crate) async fn a_refusal_changes_nothing_and_is_kept(world: World) {
    world.order("o1").await;
    let before = world.view("o1").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    applied(world.settle(held.refuse()).await);
    assert_eq!(world.view("o1").await, before);
    let retry = node.request(held.request.claim.clone());
    let entry = replayed(world.acquire(retry).await);
    assert_eq!(entry.answer, held.refuse().answer().cloned());
    assert_eq!(entry.change, None);
    assert_eq!(entry.version, Version(1));
    assert_eq!(entry.number, 2);
}

pub(crate) async fn every_kind_of_outcome_is_kept(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let kinds = [
        OutcomeKind::Applied,
        OutcomeKind::AppliedWithError,
        OutcomeKind::Refused,
        OutcomeKind::Unchanged,
    ];
    for kind in kinds {
        let held = node.hold("o1", kind.as_str()).await;
        let mut request = held.settle();
        let change = fixtures::change_of(&mut request).clone();
        fixtures::end_of(&mut request).outcome = match kind {
            OutcomeKind::Applied => FinalOutcome::Applied(change),
            OutcomeKind::AppliedWithError => FinalOutcome::AppliedWithError(change),
            OutcomeKind::Refused => FinalOutcome::Refused,
            _ => FinalOutcome::Unchanged,
        };
        assert_eq!(request.outcome(), kind);
        applied(world.settle(request).await);
        let known = world.known(&held.request.claim).await;
        let Known::Settled(entry) = known else {
            panic!("not settled but {known:?}");
        };
        assert_eq!(entry.outcome, kind);
    }
    assert_eq!(world.view("o1").await.version, Version(3));
}

pub(crate) async fn answers_are_kept_byte_for_byte(world: World) {
    world.order("o1").await;
    let node = world.join("a").await;
    let long: Vec<u8> = (0..100_000_u32).map(|place| place as u8).collect();
    let bodies: [&[u8]; 5] = [
        &long,
        b"",
        b"\x00\xff\xfe not text",
        b"{ \"a\" :1.0 }",
        "tea \u{1f375}".as_bytes(),
    ];
    for (place, body) in bodies.into_iter().enumerate() {
        let held = node.hold("o1", &format!("k{place}")).await;
        let mut request = held.settle();
        let answer = orderlock_core::Answer {
            status: 207,
            content_type: "text/odd; a=\"b\"".into(),
            location: Some("/x?y=z#\u{fc}".into()),
            version: Some(Version(3)),
            body: bytes::Bytes::copy_from_slice(body),
        };
        fixtures::end_of(&mut request).answer = answer.clone();
        applied(world.settle(request).await);
        let retry = node.request(held.request.claim.clone());
        let entry = replayed(world.acquire(retry).await);
        assert_eq!(entry.answer, Some(answer));
    }
}

pub(crate) async fn documents_are_kept_as_written(world: World) {
    world.order("o1").await;
    let held = world.join("a").await.hold("o1", "k1").await;
    let text =
        r#"{"b":1.10,"a":12345678901234567890.5,"c":"\u00e9","nested":{"z":[1,  2],"a":null}}"#;
    let mut request = held.settle();
    let document = orderlock_core::Document::parse(text).unwrap();
    fixtures::change_of(&mut request).after = document.clone();
    applied(world.settle(request).await);
    assert_eq!(
        world.view("o1").await.document,
        document,
        "the text is the same"
    );
    assert_eq!(world.history("o1").await[1].change, Some(document));
}

pub(crate) async fn only_the_grants_fence_may(world: World) {
    world.order("o1").await;
    let before = world.view("o1").await;
    let held = world.join("a").await.hold("o1", "k1").await;
    let forged = Settle {
        fence: world.fence(),
        ..held.settle()
    };
    assert_eq!(world.settle(forged).await, Ended::Lost(Loss::NotHeld));
    let other_order = Settle {
        claim: fixtures::claim("o2", "k1"),
        ..held.settle()
    };
    assert_eq!(world.settle(other_order).await, Ended::Lost(Loss::NotHeld));
    let stale = Settle {
        version: Version(0),
        ..held.settle()
    };
    assert_eq!(world.settle(stale).await, Ended::Lost(Loss::VersionMoved));
    let skipped = Settle {
        step: 1,
        ..held.settle()
    };
    assert_eq!(world.settle(skipped).await, Ended::Lost(Loss::NotHeld));
    let now = world.view("o1").await;
    assert_eq!(now.document, before.document);
    assert_eq!(now.version, before.version);
    assert!(now.lease.is_some(), "the holder still holds");
    assert_eq!(world.history("o1").await.len(), 1);
    applied(world.settle(held.settle()).await);
}

pub(crate) async fn the_impossible_frees_the_order(world: World) {
    let Some(document) = over_the_limit(world.store().describe().document_bytes_max) else {
        return;
    };
    world.order("o1").await;
    let node = world.join("a").await;
    let held = node.hold("o1", "k1").await;
    let mut request = held.settle();
    fixtures::change_of(&mut request).after = document.clone();
    assert_eq!(world.settle(request).await, Ended::Impossible);
    assert_eq!(world.count("o1").await, 0);
    assert_eq!(world.history("o1").await.len(), 1);
    assert_eq!(world.known(&held.request.claim).await, Known::Unknown);
    let held = node.mark("o1", "k2", Recovery::Reconcile).await;
    let mut request = held.settle();
    fixtures::change_of(&mut request).after = document;
    assert_eq!(world.settle(request).await, Ended::Impossible);
    // Something may have happened outside, so the mark stays.
    let next = world
        .acquire(node.request(fixtures::claim("o1", "k3")))
        .await;
    assert!(matches!(next, Acquired::Marked(_)), "{next:?}");
}
