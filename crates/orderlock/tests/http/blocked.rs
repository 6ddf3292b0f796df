//! Handlers that block their threads, on the runtime of production.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use orderlock::{
    Body, Caller, Ended, Failed, Fingerprint, IdempotencyKey, JsonAnswers, Lifecycle, Limits,
    LockedOrder, Operation, OperationRequest, OrderId, Outcome, TokioRuntime,
};
use orderlock_testkit::MemoryStore;
use tokio::io::AsyncReadExt as _;

use crate::handler::Order;

/// A connection: one end for a task, and one for the thread of the test.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    near.set_nonblocking(true).unwrap();
    (near, listener.accept().unwrap().0)
}

fn request(key: &str) -> OperationRequest {
    let (operation, order) = (Operation::named("act"), OrderId::parse("o-1").unwrap());
    OperationRequest {
        caller: Caller::single(),
        fingerprint: Fingerprint::of(operation.name(), Some(&order), Body::Json(b"{}")),
        order,
        key: IdempotencyKey::parse(key).unwrap(),
        operation,
        expected: None,
        wait: Duration::ZERO,
    }
}

fn node() -> Lifecycle {
    let store = MemoryStore::new(std::sync::Arc::new(TokioRuntime));
    let limits = Limits {
        handler: Duration::from_millis(100),
        ..Limits::default()
    };
    Lifecycle::builder(store, JsonAnswers::new())
        .limits(limits)
        .build()
}

async fn create(node: &Lifecycle) {
    let operation = Operation::named("create").name().clone();
    let creation = orderlock::CreateRequest {
        caller: Caller::single(),
        order: Some(OrderId::parse("o-1").unwrap()),
        key: IdempotencyKey::parse("create").unwrap(),
        fingerprint: Fingerprint([0; 32]),
        operation,
    };
    let order = Order {
        count: 0,
        filling: String::new(),
    };
    let ended = node.create(creation, order).await;
    assert!(matches!(ended, Ended::Settled { .. }), "{ended:?}");
}

/// The worker that waits for connections and timers is woken by a client, runs its request and the
/// handler, and is blocked by it: the timers no longer move, and no other thread is awake.
///
/// The handler blocks at once, or after it has waited for an outside service.
#[test]
fn the_limit_holds_though_the_thread_that_moves_the_timers_is_blocked() {
    for (number, waits) in [false, true].into_iter().cycle().take(8).enumerate() {
        let workers = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let node = node();
        workers.block_on(create(&node));
        let ((client, mut asks), (outside, mut answers)) = (connection(), connection());
        let (unblock, blocked) = mpsc::channel::<()>();
        let (begins, begun) = mpsc::channel();
        let (tells, told) = mpsc::channel();
        workers.spawn(async move {
            let mut client = tokio::net::TcpStream::from_std(client).unwrap();
            let mut outside = tokio::net::TcpStream::from_std(outside).unwrap();
            let work = move |_: LockedOrder<Order>| async move {
                begins.send(()).unwrap();
                if waits {
                    outside.read_u8().await.unwrap();
                }
                let _until_the_test_is_over = blocked.recv();
                Ok::<_, String>(Outcome::Unchanged)
            };
            client.read_u8().await.unwrap();
            let ended = node.run(request(&format!("k{number}")), work).await;
            tells.send(ended).unwrap();
        });
        asks.write_all(b"!").unwrap();
        begun.recv().unwrap();
        answers.write_all(b"!").unwrap();
        // It would be as long as the handler blocks.
        let ended = told.recv_timeout(Duration::from_secs(60));
        drop(unblock);
        let ended = ended.expect("the client is told at the handler's limit");
        assert!(
            matches!(
                ended,
                Ended::Failed {
                    failure: Failed::TimedOut,
                    ..
                }
            ),
            "{ended:?}"
        );
        workers.shutdown_background();
    }
}
