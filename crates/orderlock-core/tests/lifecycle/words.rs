//! The words that logs have for an end: whoever counts them must be able to tell ends apart.

use std::collections::BTreeSet;
use std::sync::Arc;

use orderlock_core::{
    Caller, Denied, Ended, Failed, Fingerprint, KeyId, Mark, Operation, OutcomeKind, Recovery,
    Running, StoreError, Timestamp, Version,
};

use crate::world::{Ending, World, request};

fn mark() -> Mark {
    Mark {
        caller: Caller::single(),
        key_id: KeyId([1; 32]),
        fingerprint: Fingerprint([1; 32]),
        operation: Operation::named("pay").name().clone(),
        attempt: 1,
        recovery: Recovery::Reconcile,
        since: Timestamp::UNIX_EPOCH,
    }
}

fn denials() -> Vec<Denied> {
    let running = Running {
        operation: None,
        since: None,
        attempt: 1,
        foreign: false,
    };
    vec![
        Denied::KeyReused,
        Denied::KeyExpired,
        Denied::InProgress(None),
        Denied::Locked(running),
        Denied::QueueFull,
        Denied::NodeFull,
        Denied::VersionMismatch {
            current: Version(2),
        },
        Denied::OutcomeUnknown(Box::new(mark())),
        Denied::NotFound,
        Denied::Exists,
        Denied::StoreUnavailable(Arc::new(StoreError::InvalidCursor)),
        Denied::ShuttingDown,
    ]
}

#[tokio::test]
async fn every_end_has_a_word_of_its_own() {
    let world = World::new().await;
    let first = world.add(request("k")).await;
    assert_eq!(first.as_str(), OutcomeKind::Applied.as_str());
    let again = world.add(request("k")).await;
    let failed: Ending = Ended::Failed {
        failure: Failed::Panicked,
        partial: None,
        marked: false,
    };
    let lost = Ended::Lost {
        partial: None,
        marked: false,
    };
    let Ended::Settled { answer, .. } = again.clone() else {
        panic!("{again:?}")
    };
    let ends = [
        first,
        again,
        failed,
        lost,
        Ended::Refused(answer),
        Ended::Unknown,
    ];
    let denied = denials().into_iter().map(Ended::Denied);
    let ends: Vec<_> = ends.into_iter().chain(denied).collect();
    let words: BTreeSet<_> = ends.iter().map(Ended::as_str).collect();
    assert_eq!(words.len(), ends.len(), "{words:?}");
    assert!(!words.contains(""));
}
