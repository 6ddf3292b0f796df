//! The document and the router say the same.

use std::collections::BTreeSet;

use http::Method;
use orderlock_orders::TABLE;
use orderlock_server::http::kinds;
use serde_json::Value;

use crate::support::{Call, World};

async fn document(world: &World) -> Value {
    let answer = world.get("/openapi.json").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

fn routes(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &Value)| {
        let methods = item.as_object().unwrap().keys();
        let routes = methods.map(|method| (method.to_uppercase(), path.clone()));
        routes.collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

#[tokio::test]
async fn every_route_of_the_document_is_served() {
    let world = World::new();
    let document = document(&world).await;
    assert_eq!(document["openapi"], "3.1.0");
    let routes = routes(&document);
    println!("{} routes", routes.len());
    for (method, path) in &routes {
        let method: Method = method.parse().unwrap();
        let path = path.replace(['{', '}'], "");
        let answer = world.send(Call::new(method.clone(), &path)).await;
        if !answer.status.is_success() {
            let kind = answer.problem();
            assert!(
                kind != "route-not-found" && kind != "method-not-allowed",
                "{method} {path}"
            );
        }
        // And no other method is.
        for other in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let template = (other.to_owned(), path.clone());
            if other != method.as_str() && !served(&routes, &template) {
                let other: Method = other.parse().unwrap();
                let answer = world.send(Call::new(other.clone(), &path)).await;
                assert_eq!(answer.problem(), "method-not-allowed", "{other} {path}");
                let allow = answer.header("allow").unwrap();
                assert!(
                    allow.split(',').any(|known| known == method.as_str()),
                    "{allow}"
                );
            }
        }
    }
}

fn served(routes: &BTreeSet<(String, String)>, (method, path): &(String, String)) -> bool {
    routes
        .iter()
        .any(|(known, template)| known == method && template.replace(['{', '}'], "") == *path)
}

#[tokio::test]
async fn every_operation_of_the_process_is_in_it() {
    let world = World::new();
    let document = document(&world).await;
    let routes = routes(&document);
    for row in TABLE {
        let (method, path) = row.route();
        assert!(
            routes.contains(&(method.to_owned(), path.clone())),
            "{method} {path}"
        );
        let operation = &document["paths"][&path][method.to_lowercase()];
        let parameters = operation["parameters"].as_array().unwrap();
        assert!(
            parameters
                .iter()
                .any(|it| it["name"] == "Idempotency-Key" && it["required"] == true)
        );
    }
}

#[tokio::test]
async fn every_kind_of_problem_is_in_it() {
    let world = World::new();
    let document = document(&world).await;
    let listed = &document["components"]["schemas"]["Problem"]["properties"]["type"]["enum"];
    let listed: BTreeSet<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let wanted: Vec<_> = kinds()
        .iter()
        .map(|kind| format!("/problems/{}", kind.kind))
        .collect();
    assert_eq!(listed, wanted.iter().map(String::as_str).collect());
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    let world = World::new();
    let document = document(&world).await;
    let mut references = Vec::new();
    find_references(&document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

fn find_references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(
                members
                    .get("$ref")
                    .and_then(Value::as_str)
                    .map(ToOwned::to_owned),
            );
            members
                .values()
                .for_each(|member| find_references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| find_references(item, found)),
        _ => {}
    }
}
