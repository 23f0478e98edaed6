//! Numbers against the ranges the schema gives them, so that a range is written once: at the type.

use std::collections::HashSet;

use serde_json::Value;

use super::schema;
use super::yaml::Step;

/// Every number outside its range: where, and what was expected.
pub fn check(schema: &Value, value: &Value) -> Vec<(Vec<Step>, String)> {
    let mut found = Vec::new();
    walk(schema, schema, value, &mut Vec::new(), &mut found);
    // Several options of the schema can find the same.
    let mut known = HashSet::new();
    found.retain(|(path, _)| known.insert(path.clone()));
    found
}

fn walk(
    root: &Value,
    schema: &Value,
    value: &Value,
    path: &mut Vec<Step>,
    found: &mut Vec<(Vec<Step>, String)>,
) {
    if let Some(schema) = schema::referred(root, schema) {
        walk(root, schema, value, path, found);
    }
    for option in schema::options(schema) {
        walk(root, option, value, path, found);
    }
    match value {
        Value::Number(number) => {
            let (minimum, maximum) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
            let number = number.as_f64().unwrap_or(0.0);
            let outside =
                minimum.is_some_and(|m| number < m) || maximum.is_some_and(|m| number > m);
            if outside && found.last().is_none_or(|(known, _)| known != path) {
                let wish = match (minimum, maximum) {
                    (Some(minimum), Some(maximum)) => format!("{minimum} to {maximum}"),
                    (Some(minimum), None) => format!("at least {minimum}"),
                    (_, Some(maximum)) => format!("at most {maximum}"),
                    (None, None) => unreachable!("then it is not outside"),
                };
                found.push((
                    path.clone(),
                    format!("{number} is out of range, expected {wish}"),
                ));
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(Step::Index(index));
                walk(root, &schema["items"], item, path, found);
                path.pop();
            }
        }
        Value::Object(entries) => {
            for (key, item) in entries {
                path.push(Step::Key(key.clone()));
                walk(root, schema::of_key(schema, key), item, path, found);
                path.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}
