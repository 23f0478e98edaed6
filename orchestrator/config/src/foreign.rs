//! What a change over HTTP may do with secrets it does not know: leave them where they are.
//!
//! A reference (`${NAME}`, `file:PATH`) is accepted only where the file has it, and a stored user or password stays with its
//! server: otherwise a value that answers hide could be moved to a key that they show, or sent to another host.

use serde_json::Value;
use watchpost_pipelines::capture::split_credentials;
use watchpost_pipelines::secret::HIDDEN;

/// Keys of a configuration whose mappings have credentials.
const SECTIONS: [&str; 2] = ["rtsp", "mqtt"];
/// Keys beside the URL of a source, or the host of a broker, whose values are sent to its server.
const CREDENTIALS: [&str; 2] = ["user", "password"];

fn is_reference(text: &str) -> bool {
    text.starts_with("file:") || text.contains("${")
}

/// The first reference in `wanted` that the old configuration does not have at this place, or that would be sent to another
/// server.
pub fn reference(wanted: &Value, old: &Value) -> Option<String> {
    walk(wanted, &Place::top(old), &|value, place| {
        let known = || place.old.contains(&value);
        match value {
            Value::String(text) if is_reference(text) && !known() => Some(place.path.clone()),
            _ => moved_credentials(value, place, |value| {
                value.as_str().is_some_and(is_reference)
            }),
        }
    })
}

/// The first stored user or password that would be sent to another server. What `given`, the request, says itself is not
/// stored; `***` is.
pub fn credentials(wanted: &Value, given: &Value, old: &Value) -> Option<String> {
    let mut top = Place::top(old);
    top.given = Some(given);
    walk(wanted, &top, &|value, place| {
        let is_stored = |section: &str, key: &str| {
            let given = place.given.and_then(|given| given.get(section)?.get(key));
            given.is_none_or(|given| given.as_str().is_some_and(|text| text.contains(HIDDEN)))
        };
        pairs().find_map(|(section, key)| {
            let found = moved_credential(value, place, section, key, |_| true);
            found.filter(|_| is_stored(section, key))
        })
    })
}

/// A place in the wanted configuration and what corresponds to it. Elements of lists have no names: each may come from each.
#[derive(Clone)]
struct Place<'a> {
    path: String,
    old: Vec<&'a Value>,
    given: Option<&'a Value>,
}

impl<'a> Place<'a> {
    fn top(old: &'a Value) -> Self {
        Self {
            path: String::new(),
            old: vec![old],
            given: None,
        }
    }

    fn key(&self, key: &str, value: &Value) -> Self {
        let mut old: Vec<_> = self.old.iter().filter_map(|old| old.get(key)).collect();
        // A renamed camera takes over what its former name had.
        if old.is_empty()
            && self.path == "cameras"
            && let Some(from) = value.get("previous_name").and_then(Value::as_str)
        {
            old.extend(self.old.iter().filter_map(|old| old.get(from)));
        }
        Self {
            path: if self.path.is_empty() {
                key.to_owned()
            } else {
                format!("{}.{key}", self.path)
            },
            old,
            given: self.given.and_then(|given| given.get(key)),
        }
    }

    fn item(&self, index: usize) -> Self {
        let lists = self.old.iter().filter_map(|old| old.as_array());
        Self {
            path: format!("{}[{index}]", self.path),
            old: lists.flatten().collect(),
            given: self.given.and_then(|given| given.get(index)),
        }
    }
}

fn walk(
    value: &Value,
    place: &Place,
    find: &impl Fn(&Value, &Place) -> Option<String>,
) -> Option<String> {
    find(value, place).or_else(|| match value {
        Value::Object(keys) => {
            (keys.iter()).find_map(|(key, value)| walk(value, &place.key(key, value), find))
        }
        Value::Array(items) => (items.iter().enumerate())
            .find_map(|(index, item)| walk(item, &place.item(index), find)),
        _ => None,
    })
}

fn moved_credentials(
    value: &Value,
    place: &Place,
    concerns: impl Fn(&Value) -> bool,
) -> Option<String> {
    pairs().find_map(|(section, key)| moved_credential(value, place, section, key, &concerns))
}

fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    SECTIONS
        .into_iter()
        .flat_map(|section| CREDENTIALS.map(|key| (section, key)))
}

/// Where `value` holds a source or the connection to a broker: the path of a credential that a source at this place has for another server only.
fn moved_credential(
    value: &Value,
    place: &Place,
    section: &str,
    key: &str,
    concerns: impl Fn(&Value) -> bool,
) -> Option<String> {
    let source = value.get(section)?;
    let credential = source.get(key).filter(|value| concerns(value))?;
    let mut same = (place.old.iter())
        .filter_map(|old| old.get(section))
        .filter(|old| old.get(key) == Some(credential))
        .peekable();
    same.peek()?;
    let stays = same.any(|old| server(old) == server(source));
    let below = if place.path.is_empty() { "" } else { "." };
    (!stays).then(|| format!("{}{below}{section}.{key}", place.path))
}

/// Scheme, host and port of a source; host, port and certificates of a broker.
fn server(source: &Value) -> Option<String> {
    let Some(url) = source.get("url").and_then(Value::as_str) else {
        let keys = [
            "host",
            "port",
            "tls_ca_certs",
            "tls_client_cert",
            "tls_insecure",
        ];
        return Some(format!("{:?}", keys.map(|key| source.get(key))));
    };
    let (location, _) = split_credentials(url);
    let start = location.find("://").map_or(0, |at| at + 3);
    let end = location[start..]
        .find(['/', '?', '#'])
        .map_or(location.len(), |at| start + at);
    Some(location[..end].to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn source(url: &str, password: &str) -> Value {
        json!({"source": {"rtsp": {"url": url, "user": "u", "password": password}}})
    }

    #[test]
    fn references_stay_where_the_file_has_them() {
        let old = json!({"cameras": {"a": source("rtsp://h/1", "${PW}")}});
        let cameras = |cameras: Value| reference(&json!({"cameras": cameras}), &old);
        assert_eq!(cameras(json!({"a": source("rtsp://h/2", "${PW}")})), None);
        assert_eq!(cameras(json!({"a": {"friendly_name": "plain"}})), None);
        for (wanted, place) in [
            (
                json!({"a": {"friendly_name": "${PW}"}}),
                "cameras.a.friendly_name",
            ),
            (
                json!({"a": source("rtsp://h/1", "x${PW}")}),
                "cameras.a.source.rtsp.password",
            ),
            (
                json!({"b": source("rtsp://h/1", "${PW}")}),
                "cameras.b.source.rtsp.password",
            ),
            (
                json!({"a": source("rtsp://evil/1", "${PW}")}),
                "cameras.a.source.rtsp.password",
            ),
            (
                json!({"a": source("rtsp://h:80/1", "${PW}")}),
                "cameras.a.source.rtsp.password",
            ),
            (
                json!({"a": source("rtsp://h/1", "file:/etc/shadow")}),
                "cameras.a.source.rtsp.password",
            ),
        ] {
            assert_eq!(cameras(wanted.clone()).as_deref(), Some(place), "{wanted}");
        }
        let mut renamed = source("rtsp://h/1", "${PW}");
        renamed["previous_name"] = json!("a");
        assert_eq!(cameras(json!({"b": renamed})), None);
        let entries = |urls: &[&str]| {
            let entries = urls
                .iter()
                .map(|url| source(url, "${PW}")["source"].clone());
            json!({"sources": entries.collect::<Vec<_>>()})
        };
        let old = entries(&["rtsp://h/1", "rtsp://h/2"]);
        assert_eq!(
            reference(&entries(&["rtsp://h/2", "rtsp://h/1"]), &old),
            None
        );
        assert!(reference(&entries(&["rtsp://g/2"]), &old).is_some());
    }

    #[test]
    fn the_password_of_a_broker_stays_with_its_host() {
        let mqtt = |host: &str, password: &str| json!({"mqtt": {"host": host, "user": "u", "password": password}});
        let old = mqtt("broker", "${PW}");
        assert_eq!(reference(&mqtt("broker", "${PW}"), &old), None);
        let moved = reference(&mqtt("evil", "${PW}"), &old);
        assert_eq!(moved.as_deref(), Some("mqtt.password"));
        let old = mqtt("broker", "secret");
        let wanted = mqtt("evil", "secret");
        let found = credentials(&wanted, &mqtt("evil", "***"), &old);
        assert_eq!(found.as_deref(), Some("mqtt.password"));
        assert_eq!(credentials(&wanted, &wanted, &old), None);
        let mut plain = mqtt("broker", "secret");
        plain["mqtt"]["tls_insecure"] = json!(true);
        let given = json!({"mqtt": {"tls_insecure": true}});
        assert!(credentials(&plain, &given, &old).is_some());
    }

    #[test]
    fn stored_credentials_stay_with_their_server_and_given_ones_are_free() {
        let old = source("rtsp://h/1", "secret");
        let wanted = source("rtsp://evil/1", "secret");
        let place = || Some("source.rtsp.user".to_owned());
        for given in [
            json!({"source": {"rtsp": {"url": "rtsp://evil/1"}}}),
            json!({"source": {"rtsp": {"url": "rtsp://evil/1", "password": "secret"}}}),
        ] {
            assert_eq!(credentials(&wanted, &given, &old), place());
        }
        let hidden = json!({"source": {"rtsp": {"user": "u", "password": "***"}}});
        assert_eq!(
            credentials(&wanted, &hidden, &old).as_deref(),
            Some("source.rtsp.password")
        );
        assert_eq!(credentials(&wanted, &wanted, &old), None);
        let path = source("rtsp://H/other?x=1", "secret");
        assert_eq!(credentials(&path, &json!({}), &old), None);
    }
}
