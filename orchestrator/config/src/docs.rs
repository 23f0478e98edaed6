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
            references(schema, property, &mut names);
            for name in names {
                if schema["$defs"][&name]["properties"].is_object() && seen.insert(name.clone()) {
                    waiting.push((name.clone(), schema["$defs"][&name].clone()));
                }
            }
        }
    }
    out
}

/// The mappings that a schema mentions, through definitions that are no mappings themselves.
fn references(root: &Value, schema: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(entries) => {
            if let Some(name) = entries.get("$ref").and_then(Value::as_str) {
                let name = name.trim_start_matches("#/$defs/");
                let is_new = names.insert(name.to_owned());
                if is_new && !root["$defs"][name]["properties"].is_object() {
                    references(root, &root["$defs"][name], names);
                }
            }
            for value in entries.values() {
                references(root, value, names);
            }
        }
        Value::Array(items) => items
            .iter()
            .for_each(|value| references(root, value, names)),
        _ => {}
    }
}

fn kind(root: &Value, schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.trim_start_matches("#/$defs/");
        let target = &root["$defs"][name];
        return match name {
            _ if target["properties"].is_object() => format!("mapping ({name})"),
            // A list of itself has no end.
            "ControlValue" => "true, false, number, text, or a list of them".into(),
            _ => kind(root, target),
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
fn every_key_of_every_mapping_is_in_the_reference() {
    let schema = super::schema();
    let reference = reference(schema);
    let mut mappings: Vec<(&str, &Value)> = vec![("The file", schema)];
    let types = schema["$defs"].as_object().unwrap();
    mappings.extend(types.iter().map(|(name, schema)| (name.as_str(), schema)));
    let mut keys = 0;
    for (name, mapping) in mappings {
        let Some(properties) = mapping["properties"].as_object() else {
            continue;
        };
        let table = reference
            .split_once(&format!("\n### {name}\n"))
            .unwrap_or_else(|| panic!("no section {name}"))
            .1;
        let table = table.split("\n### ").next().unwrap();
        for key in properties.keys() {
            let row = table
                .lines()
                .find(|line| line.starts_with(&format!("| `{key}` | ")))
                .unwrap_or_else(|| panic!("{name} has no {key}"));
            let value = row.split(" | ").nth(1).unwrap();
            assert!(!value.is_empty(), "{name}: {row}");
            keys += 1;
        }
    }
    assert!(keys > 100, "only {keys} keys were found");
    for (start, _) in reference.match_indices("mapping (") {
        let name = reference[start + "mapping (".len()..]
            .split(')')
            .next()
            .unwrap();
        assert!(types.contains_key(name), "mapping ({name})");
        assert!(name.chars().any(char::is_alphabetic), "mapping ({name})");
    }
    for (mapping, key) in [
        ("RtspSource", "transport"),
        ("RtspSource", "password"),
        ("FileSource", "loop"),
        ("V4l2Source", "fps"),
    ] {
        let section = reference
            .split(&format!("\n### {mapping}\n"))
            .nth(1)
            .unwrap();
        assert!(section.contains(&format!("| `{key}` |")), "{mapping}.{key}");
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
