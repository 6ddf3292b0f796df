//! The NestJS service alone: what its lock does, and what the guide says that it does not.

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::place::Place;
use super::provider::Provider;
use super::service::{Service, send};

const CLIENTS: usize = 4;
const REFUNDS: usize = 15;

/// A confirmation on its way.
pub(super) fn confirm(
    service: &Service,
    order: &str,
    key: &str,
) -> JoinHandle<Option<(u16, Value)>> {
    let (client, address) = (service.client.clone(), service.address.clone());
    let (order, key) = (order.to_owned(), key.to_owned());
    tokio::spawn(async move {
        let nothing = json!({});
        let sent = send(&client, &address, &order, "confirm", &key, &nothing);
        sent.await.ok()
    })
}

/// As long as no process dies and no key is sent twice, it works.
#[tokio::test(flavor = "multi_thread")]
async fn its_clients_lose_no_update() {
    let place = Place::new();
    let service = place.service().await;
    let order = service.order(1_000).await;
    assert_eq!(service.run(&order, "confirm", "c", &json!({})).await.0, 200);
    let clients = (0..CLIENTS).map(|client| {
        let (http, address) = (service.client.clone(), service.address.clone());
        let order = order.clone();
        tokio::spawn(async move {
            let (cent, mut refused) = (json!({"amount": 1}), 0);
            for number in 0..REFUNDS {
                let key = format!("{client}-{number}");
                loop {
                    let sent = send(&http, &address, &order, "refund", &key, &cent);
                    let (status, answer) = sent.await.unwrap();
                    if status == 200 {
                        break;
                    }
                    assert_eq!(status, 409, "{answer}");
                    refused += 1;
                }
            }
            refused
        })
    });
    let mut refused = 0;
    for client in clients.collect::<Vec<_>>() {
        refused += client.await.unwrap();
    }
    let read = service.read(&order).await;
    assert_eq!(read["payment"]["refunded"], CLIENTS * REFUNDS, "{read}");
    assert_eq!(read["locked"], Value::Null);
    println!(
        "{} refunds, {refused} refused while the order was locked",
        CLIENTS * REFUNDS
    );
}

/// The key is in the lock, so that it opens the lock: the handler runs beside itself, the money is
/// taken twice, and the second client gets 200 with nothing in it.
#[tokio::test(flavor = "multi_thread")]
async fn one_key_holds_its_lock_twice_and_pays_twice() {
    let place = Place::new();
    let provider = Provider::start().await;
    let service = place.service_that_asks(&provider.url).await;
    let order = service.order(1_000).await;
    let first = confirm(&service, &order, "key");
    let first_payment = provider.asked().await;
    let other = service.run(&order, "cancel", "other", &json!({})).await;
    assert_eq!(other.0, 409, "{other:?}");
    let second = confirm(&service, &order, "key");
    let second_payment = provider.asked().await;

    first_payment.pay("ch_1").await;
    let (status, told) = first.await.unwrap().unwrap();
    assert_eq!(
        (status, &told["result"]["status"]),
        (200, &json!("confirmed"))
    );
    second_payment.pay("ch_2").await;
    let (status, told) = second.await.unwrap().unwrap();
    assert_eq!((status, &told["result"]), (200, &Value::Null), "{told}");
    let read = service.read(&order).await;
    assert_eq!(
        read["payment"]["records"].as_array().unwrap().len(),
        1,
        "{read}"
    );
}

/// A retry is another operation, with another answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_runs_again() {
    let place = Place::new();
    let service = place.service().await;
    let order = service.order(1_000).await;
    let paid = service.run(&order, "confirm", "key", &json!({})).await;
    assert_eq!(paid.0, 200);
    let again = service.run(&order, "confirm", "key", &json!({})).await;
    assert_eq!(again.0, 409, "{again:?}");
    let refund = json!({"amount": 10});
    for refunded in [10, 20] {
        let (status, told) = service.run(&order, "refund", "refund", &refund).await;
        assert_eq!(
            (status, &told["result"]["payment"]["refunded"]),
            (200, &json!(refunded))
        );
    }
}

/// The orders that it held when it died stay locked, also after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_service_leaves_its_order_locked() {
    let place = Place::new();
    let provider = Provider::start().await;
    let service = place.service_that_asks(&provider.url).await;
    let order = service.order(1_000).await;
    let told = confirm(&service, &order, "key");
    let payment = provider.asked().await;
    service.kill().await;
    assert_eq!(told.await.unwrap(), None);

    let service = place.service().await;
    assert_eq!(service.read(&order).await["locked"], "key");
    let cancel = service.run(&order, "cancel", "other", &json!({})).await;
    assert_eq!(cancel.0, 409, "{cancel:?}");
    drop(payment);
}
