//! What is written is what the published layout says.

use mongodb::bson::{Bson, Document as Fields};
use orderlock_core::{Document, OrderStore as _, Recovery};
use orderlock_testkit::fixtures;
use serde_json::Value;

use crate::world::{World, hold, join};

const SCHEMA: &str = include_str!("../../../../docs/mongodb-layout.schema.json");

/// Compares every member with its place in the schema; returns what was seen.
fn compare(schema: &Value, place: &Value, value: &Bson, path: &str, seen: &mut Vec<String>) {
    let place = match place["$ref"].as_str() {
        Some(name) => &schema["$defs"][name.trim_start_matches("#/$defs/")],
        None => place,
    };
    assert!(place.is_object(), "{path} has no place in the schema");
    seen.push(path.to_owned());
    match (value, place["type"].as_str()) {
        (Bson::Document(fields), Some("object")) => {
            for (name, value) in fields {
                let member = match &place["properties"][name] {
                    Value::Null => &place["additionalProperties"],
                    member => member,
                };
                // Names that count or hash something are one place.
                let name = if place["properties"].is_null() {
                    "*"
                } else {
                    name
                };
                compare(schema, member, value, &format!("{path}.{name}"), seen);
            }
        }
        (Bson::String(_), Some("string"))
        | (Bson::Int32(_) | Bson::Int64(_), Some("integer"))
        | (_, None) => {}
        (value, expected) => panic!("{path} is {value:?} and not of type {expected:?}"),
    }
}

fn look(order: &Fields, seen: &mut Vec<String>) {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let kept = order.get("orderlock").unwrap();
    compare(
        &schema,
        &schema["$defs"]["orderlock"],
        kept,
        "orderlock",
        seen,
    );
}

#[tokio::test]
async fn every_member_has_its_place() {
    let world = World::new().await;
    let mut seen = Vec::new();
    world.order("o1").await;
    look(&world.raw("o1").await, &mut seen);
    let mut request = world.request("o1", "k1");
    let within = std::time::Duration::from_secs(60);
    request.mark = Some(Recovery::Resume { times: 3, within });
    let held = hold(&world.store, request).await;
    look(&world.raw("o1").await, &mut seen);
    let checkpoint = fixtures::checkpoint(&held.request, &held.grant);
    world.settle(checkpoint).await.unwrap();
    look(&world.raw("o1").await, &mut seen);
    world.store.release(held.release()).await.unwrap();
    let mut request = world.request("o1", "k1");
    request.mark = held.request.mark;
    let held = hold(&world.store, request).await;
    let mut settle = held.settle();
    let exact = Document::parse(r#"{"count": 1.10}"#).unwrap();
    fixtures::change_of(&mut settle).after = exact;
    world.settle(settle).await.unwrap();
    look(&world.raw("o1").await, &mut seen);
    world.hold("o1", "k2").await;
    let waits = crate::world::request(join(&world.store, "b").await, "o1", "k3");
    for _ in 0..2 {
        world.store.acquire(waits.clone()).await.unwrap();
    }
    look(&world.raw("o1").await, &mut seen);
    for member in [
        "waits.*.since",
        "lease.fence",
        "mark.resume",
        "keys.*",
        "text",
        "creation.key",
        "index.status",
    ] {
        let path = format!("orderlock.{member}");
        assert!(seen.contains(&path), "{path} was never written");
    }
    println!("{} members were compared with the schema", seen.len());
}
