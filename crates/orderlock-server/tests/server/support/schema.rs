//! What the OpenAPI document says, held against what is sent and answered.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use http::Method;
use regex::Regex;
use serde_json::{Map, Value};

use super::Answer;

/// The document.
pub(crate) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let text = orderlock_server::http::document().unwrap();
        serde_json::from_str(&text).unwrap()
    })
}

/// What the document says of requests of this method to this address.
pub(crate) fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let path = path.split('?').next().unwrap_or_default();
    let fits = |template: &str| {
        let (mut given, mut named) = (path.split('/'), template.split('/'));
        loop {
            match (given.next(), named.next()) {
                (None, None) => return true,
                (Some(given), Some(named)) if given == named => {}
                (Some(given), Some(named)) if named.starts_with('{') && !given.is_empty() => {}
                _ => return false,
            }
        }
    };
    let paths = document()["paths"].as_object().unwrap();
    let of_path = |(template, item): (&String, &'static Value)| {
        let operation = fits(template).then(|| item.get(method.as_str().to_lowercase()));
        operation.flatten()
    };
    paths.iter().find_map(of_path)
}

/// Fails if the document does not have this answer.
pub(crate) fn check_answer(method: &Method, path: &str, answer: &Answer) {
    let Some(operation) = operation(method, path) else {
        return;
    };
    let told = format!("{method} {path}: {} {}", answer.status, answer.text);
    let responses = &operation["responses"];
    let own = responses.get(answer.status.as_str());
    let response = own.unwrap_or(&responses["default"]);
    assert!(response.is_object(), "the document lacks {told}");
    let media_type = answer.header("content-type").unwrap_or_default();
    let schema = &response["content"][media_type]["schema"];
    assert!(
        schema.is_object(),
        "the document lacks {media_type}, {told}"
    );
    let found = faults(schema, &answer.json());
    assert!(found.is_empty(), "{found:#?} {told}");
}

/// What a schema says against a value; nothing if the value fits it.
pub(crate) fn faults(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, value, "", &mut found);
    found
}

fn check(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let Some(rules) = schema.as_object() else {
        assert_eq!(schema, &Value::Bool(true), "{at}");
        return;
    };
    for (keyword, rule) in rules {
        let fits = match keyword.as_str() {
            "$ref" => {
                let pointer = rule.as_str().unwrap().trim_start_matches('#');
                check(document().pointer(pointer).unwrap(), value, at, found);
                true
            }
            "allOf" => {
                for part in rule.as_array().unwrap() {
                    check(part, value, at, found);
                }
                true
            }
            "oneOf" => {
                let parts = rule.as_array().unwrap().iter();
                parts.filter(|part| faults(part, value).is_empty()).count() == 1
            }
            "enum" => rule.as_array().unwrap().contains(value),
            "type" => match rule {
                Value::Array(types) => types.iter().any(|name| is_of(name, value)),
                name => is_of(name, value),
            },
            "properties" | "required" | "additionalProperties" => {
                of_object(rules, keyword, value, at, found)
            }
            "items" | "minItems" | "maxItems" => of_array(keyword, rule, value, at, found),
            "minLength" | "maxLength" | "pattern" => of_text(keyword, rule, value),
            "minimum" => value.as_f64().is_none_or(|it| it >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|it| it <= rule.as_f64().unwrap()),
            "description" | "title" | "default" | "examples" | "format" => true,
            other => panic!("a keyword that is not known here: {other}"),
        };
        if !fits {
            found.push(format!("{at}: {keyword} {rule:.80}"));
        }
    }
}

fn is_of(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        other => panic!("a type that is not known here: {other}"),
    }
}

fn of_object(
    rules: &Map<String, Value>,
    keyword: &str,
    value: &Value,
    at: &str,
    found: &mut Vec<String>,
) -> bool {
    let Some(members) = value.as_object() else {
        return true;
    };
    let known = rules.get("properties").and_then(Value::as_object);
    match keyword {
        "required" => {
            let mut names = rules["required"].as_array().unwrap().iter();
            names.all(|name| members.contains_key(name.as_str().unwrap()))
        }
        "properties" => {
            for (name, schema) in known.unwrap() {
                if let Some(member) = members.get(name) {
                    check(schema, member, &format!("{at}/{name}"), found);
                }
            }
            true
        }
        _ => {
            let free = rules["additionalProperties"] == Value::Bool(true);
            let is_known = |name: &String| known.is_some_and(|known| known.contains_key(name));
            free || members.keys().all(is_known)
        }
    }
}

fn of_array(keyword: &str, rule: &Value, value: &Value, at: &str, found: &mut Vec<String>) -> bool {
    let Some(items) = value.as_array() else {
        return true;
    };
    let bound = || usize::try_from(rule.as_u64().unwrap()).unwrap();
    match keyword {
        "minItems" => items.len() >= bound(),
        "maxItems" => items.len() <= bound(),
        _ => {
            for (place, item) in items.iter().enumerate() {
                check(rule, item, &format!("{at}/{place}"), found);
            }
            true
        }
    }
}

fn of_text(keyword: &str, rule: &Value, value: &Value) -> bool {
    let Some(text) = value.as_str() else {
        return true;
    };
    let count = text.chars().count() as u64;
    match keyword {
        "minLength" => count >= rule.as_u64().unwrap(),
        "maxLength" => count <= rule.as_u64().unwrap(),
        _ => fits_pattern(rule.as_str().unwrap(), text),
    }
}

fn fits_pattern(pattern: &str, text: &str) -> bool {
    static KNOWN: Mutex<BTreeMap<String, Regex>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let regex = known
        .entry(pattern.to_owned())
        .or_insert_with(|| Regex::new(pattern).unwrap());
    regex.is_match(text)
}
