//! A runtime under which a store believes whatever the wall clock says: its other clock jumps along.

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use orderlock_core::{Runtime, Timestamp};
use orderlock_testkit::TestRuntime;

#[derive(Clone, Debug)]
pub(super) struct Believing(pub(super) TestRuntime);

impl Runtime for Believing {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.spawn(task);
    }

    fn now(&self) -> Instant {
        let start = self.0.now() - self.0.elapsed();
        let told = self.0.wall().duration_since(TestRuntime::START);
        start + Duration::try_from(told).unwrap_or_default()
    }

    fn wall(&self) -> Timestamp {
        self.0.wall()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(duration)
    }

    fn random(&self) -> u128 {
        self.0.random()
    }
}
