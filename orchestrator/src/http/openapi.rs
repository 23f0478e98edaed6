//! The interface described for programs: OpenAPI 3.1, made of the routes at work and the types they read and answer with.

use std::sync::LazyLock;

use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use watchpost_api::Refused;

use super::access::Action;
use super::routes::{self, Route, SOCKET};

/// `GET /api/openapi.json`.
pub async fn get() -> impl IntoResponse {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| document(&routes::all()).to_string());
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str())
}

fn document(routes: &[Route]) -> Value {
    let settings = || {
        let mut settings = SchemaSettings::draft2020_12();
        settings.definitions_path = "/components/schemas".into();
        settings
    };
    // What is read may leave out what has a default; what is answered has everything.
    let mut asked = SchemaGenerator::new(settings());
    let mut answered = SchemaGenerator::new(settings().for_serialize());
    let mut paths = Map::new();
    for route in routes {
        let operations = paths.entry(route.path).or_insert_with(|| json!({}));
        operations[route.method.as_str().to_lowercase()] =
            operation(route, &mut asked, &mut answered);
    }
    let mut schemas = configuration();
    answered.subschema_for::<Refused>();
    schemas.extend(asked.take_definitions(true));
    schemas.extend(answered.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Watchpost",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Cameras, their objects, and changes of them. Times are seconds since 1970 with a fraction.",
        },
        "security": [{"token": []}, {"password": []}, {}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {"Error": {
                "description": "It was not done.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            }},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "password": {"type": "http", "scheme": "basic"},
            },
        },
    })
}

fn operation(route: &Route, asked: &mut SchemaGenerator, answered: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            let schema = match name {
                "id" => bounded(json!({"type": "integer", "format": "int64"})),
                _ => json!({"type": "string"}),
            };
            json!({"name": name, "in": "path", "required": true, "schema": schema})
        })
        .collect();
    if let Some(query) = route.query {
        let schema = query(asked).to_value();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let required = schema["required"].as_array();
            parameters.push(json!({
                "name": name,
                "in": "query",
                "required": required.is_some_and(|names| names.iter().any(|n| n == name)),
                "schema": bounded(property.clone()),
            }));
        }
    }
    let (media_type, schema) = route.answer;
    let content = match schema {
        Some(schema) => json!({media_type: {"schema": schema(answered)}}),
        None => json!({media_type: {"schema": {"type": "string"}}}),
    };
    let mut responses = json!({"200": {"description": "Done.", "content": content}});
    if media_type == SOCKET {
        // OpenAPI knows no WebSockets; this says at least what their messages are.
        let messages = json!({"application/json": content[SOCKET].clone()});
        let description = "A WebSocket, whose text messages are as the schema says.";
        responses = json!({"101": {"description": description, "content": messages}});
        responses["426"] = json!({"$ref": "#/components/responses/Error", "description": "It is no WebSocket's request."});
    }
    for (code, when) in errors(route) {
        responses[code] = json!({"$ref": "#/components/responses/Error", "description": when});
    }
    if route.path == "/readyz" {
        responses["503"] =
            json!({"description": "Some camera does not stream.", "content": content});
    }
    let words: Vec<&str> = route
        .path
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty() && *word != "api")
        .collect();
    let method = route.method.as_str().to_lowercase();
    let mut operation = json!({
        "operationId": format!("{method}_{}", words.join("_")),
        "summary": route.summary,
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(body) = route.body {
        operation["requestBody"] = json!({
            "required": true,
            "content": {"application/json": {"schema": body(asked)}},
        });
    }
    operation
}

/// The schema of a number with the bounds of its type: what is beyond them is refused.
fn bounded(mut schema: Value) -> Value {
    let bounds = match schema["format"].as_str() {
        Some("int64") => (json!(i64::MIN), json!(i64::MAX)),
        Some("uint") => (json!(u64::MIN), json!(usize::MAX)),
        _ => return schema,
    };
    if let Value::Object(schema) = &mut schema {
        schema.entry("minimum").or_insert(bounds.0);
        schema.entry("maximum").or_insert(bounds.1);
    }
    schema
}

/// How a request can fail, besides a supervisor that is going (503).
fn errors(route: &Route) -> Vec<(&'static str, &'static str)> {
    let mut errors = vec![("503", "The supervisor or the store is not there.")];
    if route.path != "/healthz" {
        errors.push(("401", "Credentials are needed."));
        errors.push((
            "429",
            "Too many failed sign-ins or connections of this address.",
        ));
    }
    if route.query.is_some() || route.body.is_some() || route.path.contains("{id}") {
        errors.push(("400", "A parameter or the body is not what is expected."));
    }
    if route.path.contains('{') {
        errors.push(("404", "There is no such camera, task, event or file."));
    }
    if !matches!(route.action, Action::Probe) {
        errors.push((
            "403",
            "These credentials may not do that, or this may only be set in the file.",
        ));
    }
    if route.body.is_some() {
        errors.push(("413", "The body is above 1 MiB."));
        errors.push((
            "415",
            "The header Content-Type: application/json is missing.",
        ));
    }
    if route.method != Method::GET && route.query.is_some() {
        errors.push((
            "409",
            "The file cannot be written; nothing of the change was applied.",
        ));
    }
    if route.path.contains("{task}") {
        errors.push(("409", "The task cannot do that now; the answer says why."));
    }
    if route.path.ends_with("/file") {
        errors.push(("416", "The range begins behind the end of the file."));
    }
    errors
}

/// The schema of the configuration file, its parts where OpenAPI looks for them.
fn configuration() -> Map<String, Value> {
    let mut root = crate::config::schema().clone();
    move_references(&mut root);
    let Value::Object(mut root) = root else {
        return Map::new();
    };
    root.remove("$schema");
    let Some(Value::Object(mut schemas)) = root.remove("$defs") else {
        return Map::new();
    };
    schemas.insert("Config".into(), Value::Object(root));
    schemas
}

fn move_references(schema: &mut Value) {
    match schema {
        Value::Object(entries) => {
            if let Some(Value::String(reference)) = entries.get_mut("$ref") {
                *reference = reference.replace("#/$defs/", "#/components/schemas/");
            }
            entries.values_mut().for_each(move_references);
        }
        Value::Array(items) => items.iter_mut().for_each(move_references),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(entries) => {
                found.extend(entries.get("$ref").and_then(Value::as_str));
                entries.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn what_is_refused_is_not_in_the_schema() {
        let document = document(&routes::all());
        let parameter = |path: &str, method: &str, name: &str| {
            let parameters = document["paths"][path][method]["parameters"].as_array();
            let found = parameters.unwrap().iter().find(|p| p["name"] == name);
            found.unwrap()["schema"].clone()
        };
        let id = parameter("/api/events/{id}", "get", "id");
        assert_eq!(
            (&id["minimum"], &id["maximum"]),
            (&json!(i64::MIN), &json!(i64::MAX))
        );
        for (path, name) in [("/api/events", "limit"), ("/api/media", "before_id")] {
            let schema = parameter(path, "get", name);
            assert!(
                schema["minimum"].is_number() && schema["maximum"].is_number(),
                "{schema}"
            );
        }
        for name in ["dry_run", "persist"] {
            let schema = parameter("/api/cameras/{name}", "put", name);
            assert_eq!(schema["enum"], json!(["0", "1", "false", "true"]), "{name}");
        }
    }

    #[test]
    fn every_route_is_in_the_document_and_on_the_page() {
        let routes = routes::all();
        let document = document(&routes);
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/api.md"));
        let page = page.unwrap();
        let mut ids = std::collections::BTreeSet::new();
        for route in &routes {
            let method = route.method.as_str().to_lowercase();
            let operation = &document["paths"][route.path][&method];
            assert!(operation["summary"].is_string(), "{method} {}", route.path);
            let code = if route.answer.0 == SOCKET {
                "101"
            } else {
                "200"
            };
            assert!(operation["responses"][code]["content"].is_object());
            assert!(
                ids.insert(operation["operationId"].to_string()),
                "twice: {operation}"
            );
            let named = format!("`{} {}`", route.method, route.path);
            assert!(page.contains(&named), "docs/api.md misses {named}");
        }
        // And the other way round: the page names nothing that is not served.
        for line in page.lines().filter_map(|line| line.strip_prefix("| `")) {
            let request = line.split('`').next().unwrap_or_default();
            if let Some((method, path)) = request.split_once(' ') {
                let served = routes
                    .iter()
                    .any(|route| route.method == method && route.path == path);
                assert!(served, "docs/api.md has {request}");
            }
        }
    }

    /// The data of a server-sent event is an [`Event`], whose schema `watchpost schema --events` prints.
    #[test]
    fn the_events_of_a_stream_have_their_schema() {
        let document = document(&routes::all());
        let stream = &document["paths"]["/api/events/stream"]["get"]["responses"]["200"];
        let event = &stream["content"]["text/event-stream"]["schema"]["$ref"];
        assert_eq!(*event, "#/components/schemas/Event");
        let kinds = &document["components"]["schemas"]["Event"]["oneOf"];
        let printed = watchpost_api::event_schema();
        assert_eq!(
            kinds.as_array().map(Vec::len),
            printed["oneOf"].as_array().map(Vec::len)
        );
        assert!(document["components"]["schemas"]["ZoneEvent"].is_object());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document(&routes::all());
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 50, "{}", found.len());
        for reference in found {
            let place = reference.strip_prefix('#').expect("within the document");
            assert!(document.pointer(place).is_some(), "{reference}");
        }
    }

    #[test]
    fn no_two_types_share_a_name() {
        let names = |generator: &mut SchemaGenerator, answers: bool| {
            for route in routes::all() {
                let schemas = if answers {
                    [route.answer.1, None]
                } else {
                    [route.query, route.body]
                };
                schemas.into_iter().flatten().for_each(|schema| {
                    schema(generator);
                });
            }
            let mut types = generator.take_definitions(true);
            types.values_mut().for_each(move_references);
            types
        };
        let asked = names(&mut SchemaGenerator::default(), false);
        let settings = SchemaSettings::default().for_serialize();
        let answered = names(&mut SchemaGenerator::new(settings), true);
        let configuration = configuration();
        // A type that stands in several places is the same in all of them.
        let same = |name: &String, schema: &Value, others: &Map<String, Value>| {
            assert!(
                others.get(name).is_none_or(|other| other == schema),
                "{name}"
            );
        };
        for (name, schema) in &answered {
            same(name, schema, &configuration);
            same(name, schema, &asked);
        }
        for (name, schema) in &asked {
            same(name, schema, &configuration);
        }
    }

    #[test]
    fn parameters_come_from_the_types_that_read_them() {
        let document = document(&routes::all());
        let list = document["paths"]["/api/events"]["get"]["parameters"].as_array();
        let names: Vec<_> = list.unwrap().iter().map(|p| p["name"].as_str()).collect();
        for name in [
            "camera",
            "label",
            "zone",
            "after",
            "before",
            "before_id",
            "limit",
        ] {
            assert!(names.contains(&Some(name)), "{name}");
        }
        let start = &document["paths"]["/api/cameras/{name}/tasks/{task}"]["post"];
        assert!(start["responses"]["409"].is_object());
        let put = &document["paths"]["/api/cameras/{name}"]["put"];
        assert_eq!(put["parameters"][0]["in"], "path");
        assert!(put["requestBody"]["required"].as_bool().unwrap());
    }
}
