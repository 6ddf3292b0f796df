//! The indexes that the store needs: made when they are missing, and looked for again while it serves.
//! Two of them keep the journal right, and not only quick.

use std::time::Duration;

use mongodb::IndexModel;
use mongodb::bson::{Document as Fields, doc};
use mongodb::options::IndexOptions;

use futures_util::TryStreamExt as _;

use crate::database::calls::{Calls, RawCollection};
use crate::error::Failure;
use crate::open::error::OpenError;

/// How long an index may take to be built on a collection that is there already.
const INDEX_PATIENCE: Duration = Duration::from_secs(600);

fn named(name: &str) -> String {
    format!("orderlock_{name}")
}

fn plain(name: &str, keys: Fields, unique: bool) -> IndexModel {
    let options = IndexOptions::builder()
        .name(named(name))
        .unique(unique)
        .build();
    IndexModel::builder().keys(keys).options(options).build()
}

fn partial(name: &str, keys: Fields, when: Fields) -> IndexModel {
    let options = IndexOptions::builder()
        .name(named(name))
        .partial_filter_expression(when)
        .build();
    IndexModel::builder().keys(keys).options(options).build()
}

fn where_there_is(name: &str, path: &str) -> IndexModel {
    partial(name, doc! {path: 1}, doc! {path: {"$exists": true}})
}

/// Those that keep entries apart. Without them two relays could give one position or one number twice.
fn of_the_journal() -> [IndexModel; 2] {
    [
        plain("position", doc! {"position": 1}, true),
        plain("number", doc! {"order": 1, "number": 1}, true),
    ]
}

/// Those of orders that are held, marked or waiting: each holds only these.
fn of_few_orders() -> [IndexModel; 4] {
    let lease = "orderlock.lease.session";
    [
        partial(
            "locked",
            doc! {"locked": 1},
            doc! {"locked": {"$type": "string"}},
        ),
        partial(
            "lease",
            doc! {lease: 1, "orderlock.lease.renewals": 1},
            doc! {lease: {"$exists": true}},
        ),
        where_there_is("mark", "orderlock.mark.since"),
        where_there_is("waiting", "orderlock.waiting"),
    ]
}

/// Those of lists, which are over all orders. Some servers that only speak MongoDB's protocol do not
/// take them, because they are over `_id` and a path.
fn of_lists() -> Vec<IndexModel> {
    let by = |path: &str| doc! {path: 1, "orderlock.created": -1, "_id": -1};
    let mut lists = vec![plain(
        "list",
        doc! {"orderlock.created": -1, "_id": -1},
        false,
    )];
    for name in ["status", "customer"] {
        let path = format!("orderlock.index.{name}");
        lists.push(plain(name, by(name), false));
        lists.push(partial(
            &format!("index_{name}"),
            by(&path),
            doc! {&path: {"$exists": true}},
        ));
    }
    lists
}

/// Makes the indexes that are missing. `whole`: the server takes all of them.
pub(crate) async fn make(calls: &Calls, whole: bool) -> Result<(), OpenError> {
    let rest = [
        plain("key", doc! {"order": 1, "key": 1, "number": 1}, false),
        plain("tenant", doc! {"tenant": 1, "position": 1}, false),
        where_there_is("due", "due"),
        where_there_is("ends", "ends"),
    ];
    let mut orders = of_few_orders().to_vec();
    if whole {
        orders.extend(of_lists());
    }
    let orders = orders.into_iter().map(|index| (&calls.orders, index));
    let journal = of_the_journal().into_iter().chain(rest);
    let journal = journal.map(|index| (&calls.journal, index));
    // The journal first: it is right before anything is written.
    for (collection, index) in journal.chain(orders) {
        make_one(collection, index)
            .await
            .map_err(|failure| OpenError::Index(failure.into()))?;
    }
    Ok(())
}

async fn make_one(collection: &RawCollection, index: IndexModel) -> Result<(), Failure> {
    match tokio::time::timeout(INDEX_PATIENCE, collection.create_index(index)).await {
        Ok(made) => Ok(made.map(drop)?),
        Err(_) => Err(Failure::TimedOut(INDEX_PATIENCE)),
    }
}

/// Whether the indexes are there that keep entries apart. Who restores a database without its indexes,
/// or drops one of them, takes more away than speed.
pub(crate) async fn keep_entries_apart(calls: &Calls) -> Result<bool, Failure> {
    let found = async {
        let indexes = calls.journal.list_indexes().await?;
        indexes.try_collect::<Vec<_>>().await
    };
    let found = calls.bounded(found).await?;
    let unique = |wanted: &IndexModel| {
        found.iter().any(|index| {
            let unique = index.options.as_ref().and_then(|options| options.unique);
            same_keys(&index.keys, &wanted.keys) && unique == Some(true)
        })
    };
    Ok(of_the_journal().iter().all(unique))
}

/// Makes them again.
pub(crate) async fn keep_entries_apart_again(calls: &Calls) -> Result<(), Failure> {
    for index in of_the_journal() {
        make_one(&calls.journal, index).await?;
    }
    Ok(())
}

/// Whether two indexes are over the same members, in the same order.
fn same_keys(one: &Fields, other: &Fields) -> bool {
    one.keys().eq(other.keys())
}
