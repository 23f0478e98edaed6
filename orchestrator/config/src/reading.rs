//! From a tree to typed values, with every mistake found on the way.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;
use watchpost_pipelines::secret;

use super::message;
use super::yaml::{Place, Step};

/// Mistakes that are named in one camera, or outside all: each costs another reading.
const MAX_WRONG: usize = 100;

/// A mistake at a path, and whether it is the key there that is wrong rather than its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Where.
    pub path: Vec<Step>,
    /// What is wrong and what is expected.
    pub message: String,
    /// The key itself is wrong.
    pub key: bool,
    /// Where it stands, if not where the path leads.
    pub place: Option<Place>,
}

impl Wrong {
    /// A mistake in the value at a path.
    pub fn of_value(path: Vec<Step>, message: impl Into<String>) -> Self {
        Self {
            path,
            message: message.into(),
            key: false,
            place: None,
        }
    }
}

/// Reads a value. serde stops at the first mistake, so what is wrong is noted, taken out, and reading begins again:
/// all mistakes are found, and `value` is left without them. `None` where nothing readable remains.
pub fn read<T: DeserializeOwned>(value: &mut Value) -> (Option<T>, Vec<Wrong>) {
    let mut wrong = Vec::new();
    loop {
        if wrong.len() >= MAX_WRONG {
            wrong.push(Wrong::of_value(
                Vec::new(),
                format!(
                    "more than {MAX_WRONG} mistakes; the others are named when these are corrected"
                ),
            ));
            return (None, wrong);
        }
        match serde_path_to_error::deserialize::<_, T>(&*value) {
            Ok(read) => return (Some(read), wrong),
            Err(error) => {
                let mut path = steps(error.path());
                let error = error.inner().to_string();
                let (inside, error) = inside(&error);
                path.extend(inside);
                let (text, key) = message::rewrite(error);
                // A required key is missing because its wrong value was taken out: said already.
                let follows = error.starts_with("missing field")
                    && wrong
                        .iter()
                        .any(|w: &Wrong| w.path.len() > path.len() && w.path.starts_with(&path));
                if !follows {
                    wrong.push(Wrong {
                        message: secret::hide(&text),
                        path: path.clone(),
                        key,
                        place: None,
                    });
                }
                if path.is_empty() || !remove(value, &path) {
                    return (None, wrong);
                }
            }
        }
    }
}

/// What is wrong inside of a value that is laid over defaults before it is read comes with its path there:
/// `size: invalid length 1`. Answers with both.
fn inside(message: &str) -> (Vec<Step>, &str) {
    let of_serde = |text: &str| {
        ["invalid ", "unknown ", "missing "]
            .iter()
            .any(|start| text.starts_with(start))
    };
    match message.split_once(": ") {
        Some((path, rest)) if !path.contains(' ') && of_serde(rest) => {
            let keys = path.split('.').filter_map(|key| key.split('[').next());
            let keys = keys.filter(|key| !key.is_empty());
            (keys.map(|key| Step::Key(key.to_owned())).collect(), rest)
        }
        _ => (Vec::new(), message),
    }
}

fn steps(path: &serde_path_to_error::Path) -> Vec<Step> {
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

/// Takes out what stands at a path: a key of a mapping; for an element of a list the whole list, because the places of the
/// others must not move.
pub fn remove(value: &mut Value, path: &[Step]) -> bool {
    let Some((last, parent)) = path.split_last() else {
        return false;
    };
    let holder = parent
        .iter()
        .try_fold(&mut *value, |node, step| match step {
            Step::Key(key) => node.get_mut(key),
            Step::Index(index) => node.get_mut(index),
        });
    match (holder, last) {
        (Some(Value::Object(entries)), Step::Key(key)) => entries.remove(key).is_some(),
        _ => remove(value, parent),
    }
}

/// Takes out keys without a value: they stand for the default.
pub fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            entries.retain(|_, value| !value.is_null());
            entries.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// `over` laid over `base`: mappings are merged key by key, anything else replaces.
pub fn lay_over(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                match base.get_mut(&key) {
                    Some(known) => lay_over(known, value),
                    None => {
                        base.insert(key, value);
                    }
                }
            }
        }
        (base, over) => *base = over,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use watchpost_pipelines::CameraConfig;

    use super::super::yaml::path_text;
    use super::*;

    #[test]
    fn all_mistakes_are_found_and_the_rest_is_read() {
        let mut value = json!({
            "sourc": 1,
            "detect": {"fps": "five", "widht": 5, "height": 480, "stationary": {"interval": -1}},
            "motion": {"mask": {"tree": {"coordinates": "0,0,1"}}},
            "objects": {"track": ["person", 5]},
            "source": {"rtsp": "rtsp://h", "file": "x"}
        });
        let (camera, wrong) = read::<CameraConfig>(&mut value);
        let found: Vec<_> = wrong
            .iter()
            .map(|w| (path_text(&w.path), w.message.as_str()))
            .collect();
        for (path, said) in [
            ("sourc", "did you mean `source`?"),
            ("detect.fps", "is text \"five\", expected a number"),
            ("detect.widht", "did you mean `width`?"),
            (
                "detect.stationary.interval",
                "has the wrong value `-1`, expected a whole number",
            ),
            ("motion.mask.tree.coordinates", "3 numbers"),
            ("objects.track[1]", "expected text"),
            ("source", "rtsp and file given together"),
        ] {
            assert!(
                found.iter().any(|(p, m)| p == path && m.contains(said)),
                "{path}: {said} not in {found:#?}"
            );
        }
        assert_eq!(found.len(), 7, "{found:#?}");
        let camera = camera.unwrap();
        assert_eq!((camera.detect.height, camera.detect.fps), (Some(480), 5.0));
    }

    #[test]
    fn sections_are_merged_key_by_key() {
        let mut base = json!({"fps": 5, "stationary": {"interval": 50, "threshold": 50}});
        lay_over(
            &mut base,
            json!({"width": 640, "stationary": {"interval": 10}}),
        );
        assert_eq!(
            base,
            json!({"fps": 5, "width": 640, "stationary": {"interval": 10, "threshold": 50}})
        );
    }
}
