//! A runtime that ends while verbs wait.

use futures_util::FutureExt as _;
use orderlock_core::OrderStore as _;

use crate::world::World;

/// What waits goes with the runtime, and takes the process not along.
#[test]
fn verbs_that_wait_go_with_their_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let [waiting] = runtime.block_on(async {
        let world = World::new().await;
        for order in ["o1", "o2"] {
            world.order(order).await;
        }
        world.seize().await;
        let first = world.acquire(world.request("o1", "k1"));
        world.blocked(1).await;
        // Taken in at its first poll, behind the batch that waits for its order.
        let second = world.store.acquire(world.request("o2", "k2"));
        assert!(second.now_or_never().is_none());
        [first]
    });
    drop(runtime);
    assert!(waiting.is_finished(), "nobody waits for ever");
}
