//! Steps through a JSON schema.

use serde_json::Value;

/// What a schema refers to instead of saying it itself.
pub fn referred<'a>(root: &'a Value, schema: &Value) -> Option<&'a Value> {
    let name = schema["$ref"].as_str()?.strip_prefix("#/$defs/")?;
    Some(&root["$defs"][name])
}

/// The schemas a value may or must meet besides this one.
pub fn options(schema: &Value) -> impl Iterator<Item = &Value> {
    ["anyOf", "oneOf", "allOf"]
        .iter()
        .flat_map(|several| schema[several].as_array().into_iter().flatten())
}

/// The schema of what stands under a key.
pub fn of_key<'a>(schema: &'a Value, key: &str) -> &'a Value {
    let known = &schema["properties"][key];
    if known.is_null() {
        &schema["additionalProperties"]
    } else {
        known
    }
}
