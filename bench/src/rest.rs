//! Waits until a server is idle.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::runtime::Runtime;

/// How often is looked.
const SAMPLE: Duration = Duration::from_millis(100);

/// Looks until it is so, at most for this long.
///
/// # Errors
/// What a look failed of; or that it is `late`.
pub(crate) fn wait(
    runtime: &Runtime,
    limit: Duration,
    late: &'static str,
    is_so: impl AsyncFn() -> Result<bool>,
) -> Result<()> {
    let started = Instant::now();
    runtime.block_on(async {
        while started.elapsed() < limit {
            tokio::time::sleep(SAMPLE).await;
            if is_so().await? {
                return Ok(());
            }
        }
        bail!(late)
    })
}
