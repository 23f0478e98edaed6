//! Configurations as they are shown: secrets as `***`, and what comes back unchanged means "as it was".

use serde_json::Value;
use watchpost_pipelines::nearest::nearest;
use watchpost_pipelines::secret::{self, HIDDEN};

/// Whether a key holds a secret, or was meant to: a camera with a mistyped `pasword` is wrong, and shown all the same.
fn is_secret(key: &str) -> bool {
    const MEANT: [&str; 4] = ["password", "passwd", "passphrase", "token"];
    secret::is_secret_key(key) || nearest(key, &MEANT).is_some()
}

/// The value with every secret hidden. References (`${NAME}`, `file:PATH`) are no secrets.
pub fn hide(value: &Value) -> Value {
    hide_below(value, None)
}

fn hide_below(value: &Value, key: Option<&str>) -> Value {
    match value {
        Value::Object(keys) => keys
            .iter()
            .map(|(key, value)| (key.clone(), hide_below(value, Some(key))))
            .collect(),
        Value::Array(items) => items.iter().map(|item| hide_below(item, key)).collect(),
        Value::String(text) => Value::String(hide_text(text, key)),
        Value::Number(_) if key.is_some_and(is_secret) => Value::from(HIDDEN),
        other => other.clone(),
    }
}

fn hide_text(text: &str, key: Option<&str>) -> String {
    if !key.is_some_and(is_secret) {
        return secret::hide(text);
    }
    let reference = text.starts_with("file:") || text.starts_with("${") && text.ends_with('}');
    if reference || text.is_empty() {
        text.to_owned()
    } else {
        HIDDEN.to_owned()
    }
}

/// Puts back what was hidden: where a text comes back as it was shown, it is what it was. An error names a `***` for which
/// nothing is known.
pub fn restore(wanted: &mut Value, old: &Value) -> Result<(), String> {
    restore_below(wanted, Some(old), None, "")
}

fn restore_below(
    wanted: &mut Value,
    old: Option<&Value>,
    key: Option<&str>,
    path: &str,
) -> Result<(), String> {
    match wanted {
        Value::Object(keys) => {
            for (key, value) in keys {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                restore_below(value, old.and_then(|old| old.get(key)), Some(key), &path)?;
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                let old = old.and_then(|old| old.get(index));
                restore_below(item, old, key, &format!("{path}[{index}]"))?;
            }
        }
        Value::String(text) if text.contains(HIDDEN) => match old {
            Some(old) if hide_below(old, key) == Value::String(text.clone()) => {
                *wanted = old.clone()
            }
            _ => {
                return Err(format!(
                    "{path}: `***` stands for a secret, and there is none to keep; give the secret itself"
                ));
            }
        },
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_hidden_comes_back() {
        let old = json!({"front": {"source": {"rtsp": {"url": "rtsp://u:p@h/1", "password": "x"}}},
                         "back": {"source": {"rtsp": {"url": "rtsp://h", "password": "${PW}"}}},
                         "side": {"source": {"rtsp": {"url": "rtsp://h", "password": "file:/run/pw"}}}});
        let shown = hide(&old);
        assert_eq!(
            shown["front"]["source"]["rtsp"],
            json!({"url": "rtsp://u:***@h/1", "password": "***"})
        );
        assert_eq!(shown["back"], old["back"]);
        assert_eq!(shown["side"], old["side"]);
        let mut back = shown.clone();
        restore(&mut back, &old).unwrap();
        assert_eq!(back, old);
        let mut changed = shown;
        changed["front"]["source"]["rtsp"]["url"] = json!("rtsp://u:***@elsewhere/1");
        let error = restore(&mut changed, &old).unwrap_err();
        assert!(error.starts_with("front.source.rtsp.url: `***`"), "{error}");
    }

    #[test]
    fn a_secret_under_a_mistyped_key_is_hidden_and_no_key_of_ours_is_taken_for_one() {
        let old =
            json!({"rtsp": {"url": "rtsp://h/1", "pasword": "geheim", "Passwort": "x"}, "tken": 5});
        let shown = hide(&old);
        assert_eq!(
            shown,
            json!({"rtsp": {"url": "rtsp://h/1", "pasword": "***", "Passwort": "***"}, "tken": "***"})
        );
        // The keys of the whole configuration, and what hides them on purpose.
        let text = super::super::schema().to_string();
        let schema: Value = serde_json::from_str(&text).unwrap();
        let mut secret = std::collections::BTreeSet::new();
        let types = schema["$defs"].as_object().unwrap().values();
        for keys in types.filter_map(|kind| kind["properties"].as_object()) {
            secret.extend(keys.keys().filter(|key| is_secret(key)).cloned());
        }
        // In the list `tokens` a token without its key would be hidden; what is in its mappings goes by their own keys.
        let secret: Vec<_> = secret.into_iter().collect();
        assert_eq!(secret, ["password", "secret", "token", "tokens"]);
    }
}
