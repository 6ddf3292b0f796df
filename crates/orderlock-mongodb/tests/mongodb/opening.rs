//! Opening: what is refused, and that nobody is shown a secret.

use std::time::Duration;

use orderlock_core::OrderStore as _;
use orderlock_mongodb::{MongodbOptions, MongodbStore, OpenError};

use crate::place::{Place, server};

fn quick() -> MongodbOptions {
    MongodbOptions::default().with_patience(Duration::from_millis(300))
}

#[tokio::test]
async fn it_says_where_it_is_and_what_it_survives() {
    let place = Place::new();
    let store = place.open(MongodbOptions::default()).await;
    let info = store.describe();
    assert_eq!(info.name, "mongodb");
    assert!(info.location.ends_with(".orders"), "{}", info.location);
    assert!(info.durability.contains("journal"), "{}", info.durability);
    println!("{} at {}: {}", info.name, info.location, info.durability);
    // Whoever opens it next finds it as it is.
    place.open(MongodbOptions::default()).await;
}

#[tokio::test]
async fn nobody_is_shown_the_password() {
    let address = "mongodb://ann:s3cret@127.0.0.1:1/shop?collection=orders";
    let error = MongodbStore::connect(address, quick()).await.unwrap_err();
    let mut words = format!("{error:?} {error}");
    let mut below = std::error::Error::source(&error);
    while let Some(error) = below {
        words.push_str(&format!(" {error}"));
        below = error.source();
    }
    assert!(!words.contains("s3cret"), "{words}");
    assert!(matches!(error, OpenError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn an_address_without_a_database_is_refused() {
    let address = format!("{}/?collection=orders", server());
    let error = MongodbStore::connect(&address, quick()).await.unwrap_err();
    assert!(matches!(error, OpenError::Address(_)), "{error:?}");
}

#[tokio::test]
async fn what_asks_for_less_than_is_promised_is_refused() {
    let address = format!("{}/shop?w=1", server());
    let error = MongodbStore::connect(&address, quick()).await.unwrap_err();
    assert!(matches!(error, OpenError::Weaker(_)), "{error:?}");
}

#[tokio::test]
async fn many_open_it_at_once() {
    let place = Place::new();
    let open = || place.open(MongodbOptions::default());
    let (one, two, three) = futures_util::join!(open(), open(), open());
    assert_eq!(one.describe(), two.describe());
    assert_eq!(two.describe(), three.describe());
}
