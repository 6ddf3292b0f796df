//! The clock that a test moves by hand.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use orderlock_core::Runtime as _;
use orderlock_testkit::TestRuntime;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn both_clocks_move_together_and_only_by_hand() {
    let runtime = TestRuntime::new();
    let (now, wall) = (runtime.now(), runtime.wall());
    assert_eq!((runtime.now(), runtime.wall()), (now, wall));
    assert_eq!(wall, TestRuntime::START);
    runtime.clone().advance(SECOND);
    assert_eq!(
        (runtime.now(), runtime.wall()),
        (now + SECOND, wall + SECOND)
    );
    assert_eq!(runtime.elapsed(), SECOND);
    runtime.advance(Duration::MAX);
    runtime.advance(Duration::MAX);
    assert!(
        runtime.wall() > wall,
        "never back, not even at the end of time"
    );
}

#[test]
fn a_sleeper_wakes_when_the_clock_passes_it() {
    let runtime = TestRuntime::new();
    let mut sleep = runtime.sleep(SECOND);
    assert!((&mut sleep).now_or_never().is_none());
    runtime.advance(SECOND - Duration::from_nanos(1));
    assert!((&mut sleep).now_or_never().is_none());
    runtime.advance(Duration::from_nanos(1));
    assert!(sleep.now_or_never().is_some());
    assert!(runtime.sleep(Duration::ZERO).now_or_never().is_some());
}

#[test]
fn a_sleeper_that_goes_away_is_forgotten() {
    let runtime = TestRuntime::new();
    let (one, other) = (runtime.sleep(SECOND), runtime.sleep(SECOND));
    assert_eq!(runtime.sleepers(), 2);
    drop(one);
    assert_eq!(runtime.sleepers(), 1);
    runtime.advance(SECOND);
    assert_eq!(runtime.sleepers(), 0);
    assert!(other.now_or_never().is_some());
}

#[tokio::test]
async fn sleepers_wake_in_the_order_of_their_times() {
    let runtime = TestRuntime::new();
    let woken = Arc::new(Mutex::new(Vec::new()));
    for seconds in [3, 1, 2] {
        let (sleep, woken) = (runtime.sleep(SECOND * seconds), Arc::clone(&woken));
        runtime.spawn(
            async move {
                sleep.await;
                woken.lock().unwrap().push(seconds);
            }
            .boxed(),
        );
    }
    // The signal of a task that has come to its sleep, and of one that has woken.
    runtime.sleeping(3).await;
    tokio::task::yield_now().await;
    runtime.advance(SECOND * 5);
    while woken.lock().unwrap().len() < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*woken.lock().unwrap(), [1, 2, 3]);
}

#[test]
fn randomness_never_repeats_and_follows_from_the_seed() {
    let draw = |runtime: &TestRuntime| (0..10_000).map(|_| runtime.random()).collect::<Vec<_>>();
    let (one, other) = (TestRuntime::seeded(1), TestRuntime::seeded(2));
    let drawn = draw(&one);
    let mut seen: HashSet<u128> = drawn.iter().copied().collect();
    seen.extend(draw(&one.clone()));
    seen.extend(draw(&other));
    assert_eq!(seen.len(), 30_000);
    assert_eq!(draw(&TestRuntime::seeded(1)), drawn);
}
