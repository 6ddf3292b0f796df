//! The servers that are measured beside the order manager.

pub(crate) mod noop;
pub(crate) mod slow;

use std::future::Future;

use anyhow::Result;
use axum::Router;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

/// Serves until the process is ended, and prints where.
pub(crate) fn serve(app: impl Future<Output = Result<Router>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let app = app.await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("http://{}", listener.local_addr()?);
        let listener = listener.tap_io(|stream| {
            // Without it every answer would wait for the client's acknowledgement.
            let _later = stream.set_nodelay(true);
        });
        axum::serve(listener, app).await?;
        Ok(())
    })
}
