//! The reference of all keys in `docs/configuration.md`, made from the schema so that it cannot be wrong.
//!
//! The test fails where the page differs; `UPDATE_DOCS=1 cargo test -p watchpost-config docs` writes it.

use std::collections::BTreeSet;

use serde_json::Value;

const BEGIN: &str = "<!-- reference: begin -->\n";
const END: &str = "<!-- reference: end -->\n";

/// One table per mapping, in the order they are first met.
fn reference(schema: &Value) -> String {
    let mut out = String::new();
    let mut seen = BTreeSet::new();
    let mut waiting = vec![("The file".to_owned(), schema.clone())];
    while !waiting.is_empty() {
        let (title, section) = waiting.remove(0);
        out.push_str(&format!("\n### {title}\n\n"));
        if let Some(text) = section["description"]
            .as_str()
            .filter(|_| title != "The file")
        {
            out.push_str(&format!("{}\n\n", text.replace('\n', " ")));
        }
        out.push_str("| Key | Value | Default | Meaning |\n|---|---|---|---|\n");
        for (key, property) in section["properties"].as_object().into_iter().flatten() {
            let default = match &property["default"] {
                Value::Null => "",
                Value::Object(_) => "see there",
                value => &format!("`{value}`"),
            };
            let meaning = property["description"]
                .as_str()
                .unwrap_or_default()
                .replace('\n', " ");
            let required = section["required"]
                .as_array()
                .is_some_and(|required| required.iter().any(|r| r == key));
            let default = if required { "required" } else { default };
            out.push_str(&format!(
                "| `{key}` | {} | {default} | {} |\n",
                kind(schema, property),
                meaning.replace('|', "\\|")
            ));
            let mut names = BTreeSet::new();
            references(property, &mut names);
            for name in names {
                if schema["$defs"][&name]["properties"].is_object() && seen.insert(name.clone()) {
                    waiting.push((name.clone(), schema["$defs"][&name].clone()));
                }
            }
        }
    }
    out
}

fn references(schema: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(entries) => {
            if let Some(name) = entries.get("$ref").and_then(Value::as_str) {
                let name = name.trim_start_matches("#/$defs/").to_owned();
                names.insert(match name.strip_prefix("ShortOrLong_for_") {
                    Some(long) => long.to_owned(),
                    None if name.starts_with("ShortOrLong") => return,
                    None if name == "Masks" => "Mask".to_owned(),
                    None => name,
                });
            }
            entries.values().for_each(|value| references(value, names));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, names)),
        _ => {}
    }
}

fn kind(root: &Value, schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.trim_start_matches("#/$defs/");
        let target = &root["$defs"][name];
        return match name
            .strip_prefix("ShortOrLong_for_")
            .or(name.strip_prefix("ShortOrLong"))
        {
            Some(long) => format!("text, or a mapping ({long})"),
            None if target["properties"].is_object() => format!("mapping ({name})"),
            // A list of itself has no end.
            None if name == "ControlValue" => "true, false, number, text, or a list of them".into(),
            None => kind(root, target),
        };
    }
    if let Some(options) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        let mut kinds: Vec<String> = options
            .iter()
            .filter(|option| option["type"] != "null")
            .map(|option| match option["const"].as_str() {
                Some(word) => format!("`{word}`"),
                None => kind(root, option),
            })
            .collect();
        kinds.dedup();
        return kinds.join(", ");
    }
    if let Some(words) = schema["enum"].as_array() {
        return words
            .iter()
            .filter_map(Value::as_str)
            .map(|w| format!("`{w}`"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    let name = match &schema["type"] {
        Value::String(name) => name.as_str(),
        Value::Array(names) => names
            .iter()
            .filter_map(Value::as_str)
            .find(|n| *n != "null")
            .unwrap_or_default(),
        _ => "",
    };
    let range = match (&schema["minimum"], &schema["maximum"]) {
        (Value::Null, Value::Null) => String::new(),
        (minimum, Value::Null) => format!(", from {minimum}"),
        (Value::Null, maximum) => format!(", up to {maximum}"),
        (minimum, maximum) => format!(", {minimum} to {maximum}"),
    };
    match name {
        "integer" => format!("whole number{range}"),
        "number" => format!("number{range}"),
        "string" => "text".to_owned(),
        "boolean" => "true, false".to_owned(),
        "array" => format!("list of {}", kind(root, &schema["items"])),
        "object" => match &schema["additionalProperties"] {
            Value::Object(_) => format!("by name: {}", kind(root, &schema["additionalProperties"])),
            _ => "mapping".to_owned(),
        },
        _ => "any".to_owned(),
    }
}

#[test]
fn the_page_has_every_key_as_the_schema_has_it() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (head, rest) = page.split_once(BEGIN).unwrap();
    let (found, tail) = rest.split_once(END).unwrap();
    let reference = reference(super::schema());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{head}{BEGIN}{reference}{END}{tail}")).unwrap();
        return;
    }
    assert!(
        found == reference,
        "docs/configuration.md is out of date; see orchestrator/config/src/docs.rs"
    );
}
