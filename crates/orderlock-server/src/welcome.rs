//! What a newcomer sees at the start: where everything is, and three commands to try.

use std::net::SocketAddr;

use orderlock::store::StoreInfo;
use orderlock::{Caller, IdempotencyKey, Lifecycle, OrderId};

/// The order that the printed commands create and confirm.
#[derive(Debug)]
pub(crate) struct Trial {
    key: String,
    order: OrderId,
}

impl Trial {
    /// A trial under a fresh key, so that the commands work again on a file that has seen others.
    /// Without it the server serves as well.
    pub(crate) async fn new(lifecycle: &Lifecycle) -> Option<Self> {
        let key = format!("try-{:08x}", lifecycle.runtime().random() >> 96);
        let parsed = IdempotencyKey::parse(&key).ok()?;
        let order = lifecycle.order_id(&Caller::single(), &parsed).await.ok()?;
        Some(Self { key, order })
    }
}

/// The text that is printed once the server listens.
pub(crate) fn text(
    address: SocketAddr,
    node: &str,
    store: &StoreInfo,
    trial: Option<&Trial>,
) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let StoreInfo {
        name,
        location,
        durability,
        ..
    } = store;
    let mut text = format!(
        "Orderlock {version} listens on http://{address}\n\n\
         \x20 version         {version}\n\
         \x20 store           {name}, {location}\n\
         \x20 node            {node}\n\
         \x20 address         http://{address}\n\
         \x20 durability      {durability}\n\
         \x20 authentication  none: loopback only\n\n"
    );
    if let Some(Trial { key, order }) = trial {
        let url = format!("http://{address}/v1/orders");
        text.push_str(&format!(
            "Create an order, confirm it, and send the confirmation again: you get the same \
             answer, and nothing runs twice.\n\n\
             curl {url} -H 'Idempotency-Key: {key}' -H 'Content-Type: application/json' \
             -d '{ORDER}' {LINE_END}\n\
             curl -X POST {url}/{order}/confirm -H 'Idempotency-Key: {key}-confirm' {LINE_END}\n\
             curl -i -X POST {url}/{order}/confirm -H 'Idempotency-Key: {key}-confirm' {LINE_END}\n\n"
        ));
    }
    text.push_str("Stop with Ctrl-C.\n");
    text
}

/// Makes curl end its output with a line break, so that the prompt begins its own line.
const LINE_END: &str = r"-w '\n'";

const ORDER: &str = r#"{"customer":"cus_42","currency":"EUR","submit":true,"lines":[{"sku":"TEA-250","name":"Green tea","quantity":2,"unitPrice":1299}]}"#;
