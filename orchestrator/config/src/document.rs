//! The file as HTTP sees it: shown without secrets, changed camera by camera.

use serde_json::{Map, Value};

use super::yaml::EditError;
use super::{foreign, hidden, yaml};

/// Why a change of the file is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The request makes no sense.
    #[error("{0}")]
    Request(String),
    /// There is no such camera in the file.
    #[error("there is no camera {0} in the configuration file")]
    NoCamera(String),
    /// The file cannot be changed there; nothing was.
    #[error(transparent)]
    Edit(#[from] EditError),
}

/// The text of a configuration file, references unresolved. A change is made in two steps, so that its values can be
/// checked ([`super::parse_value`]) before the text is edited.
#[derive(Debug, Clone)]
pub struct Document {
    text: String,
    value: Value,
}

/// What a document is to become.
#[derive(Debug, Clone)]
pub struct Wanted {
    value: Value,
    foreign_reference: Option<String>,
}

impl Wanted {
    /// The whole configuration, secrets included.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The place of a reference (`${NAME}`, `file:PATH`) that the document does not have there.
    pub fn foreign_reference(&self) -> Option<String> {
        self.foreign_reference.clone()
    }
}

impl Document {
    /// Reads a text.
    pub fn new(text: &str) -> Result<Self, ChangeError> {
        let tree = yaml::parse(text).map_err(|mistake| EditError::Unreadable(mistake.message))?;
        Ok(Self {
            text: text.to_owned(),
            value: match tree.root.to_value() {
                Value::Null => Value::Object(Map::new()),
                value => value,
            },
        })
    }

    /// The whole file, secrets as `***`.
    pub fn shown(&self) -> Value {
        hidden::hide(&self.value)
    }

    /// One camera, secrets as `***`.
    pub fn shown_camera(&self, name: &str) -> Option<Value> {
        self.value.get("cameras")?.get(name).map(hidden::hide)
    }

    /// With a camera added or replaced.
    pub fn put_camera(&self, name: &str, camera: Value) -> Result<Wanted, ChangeError> {
        if !camera.is_object() {
            return Err(ChangeError::Request(
                "expected a JSON object with the keys of a camera".to_owned(),
            ));
        }
        let old = self.camera(name).cloned().unwrap_or(Value::Null);
        let mut restored = camera.clone();
        hidden::restore(&mut restored, &old).map_err(ChangeError::Request)?;
        self.with_camera(name, Some(restored), camera)
    }

    /// With some keys of a camera changed (JSON merge patch: mappings are merged, null takes a key away).
    pub fn patch_camera(&self, name: &str, patch: Value) -> Result<Wanted, ChangeError> {
        if !patch.is_object() {
            return Err(ChangeError::Request(
                "expected a JSON object with keys of a camera".to_owned(),
            ));
        }
        let old = self
            .camera(name)
            .ok_or_else(|| ChangeError::NoCamera(name.to_owned()))?;
        let mut restored = patch.clone();
        hidden::restore(&mut restored, old).map_err(ChangeError::Request)?;
        let mut camera = old.clone();
        merge_patch(&mut camera, restored);
        self.with_camera(name, Some(camera), patch)
    }

    /// Without a camera.
    pub fn remove_camera(&self, name: &str) -> Result<Wanted, ChangeError> {
        self.camera(name)
            .ok_or_else(|| ChangeError::NoCamera(name.to_owned()))?;
        self.with_camera(name, None, Value::Null)
    }

    /// A whole new configuration.
    pub fn put_all(&self, mut wanted: Value) -> Result<Wanted, ChangeError> {
        if !wanted.is_object() {
            return Err(ChangeError::Request(
                "expected a JSON object with the whole configuration".to_owned(),
            ));
        }
        let given = wanted.clone();
        hidden::restore(&mut wanted, &self.value).map_err(ChangeError::Request)?;
        self.wanted(wanted, &given)
    }

    /// The text changed into what is wanted; what is equal keeps its form.
    pub fn edited(&self, wanted: &Wanted) -> Result<String, ChangeError> {
        Ok(yaml::edit(&self.text, &wanted.value)?)
    }

    fn camera(&self, name: &str) -> Option<&Value> {
        self.value.get("cameras")?.get(name)
    }

    fn with_camera(
        &self,
        name: &str,
        camera: Option<Value>,
        given: Value,
    ) -> Result<Wanted, ChangeError> {
        let mut wanted = self.value.clone();
        let keys = wanted
            .as_object_mut()
            .ok_or_else(|| EditError::Form("the top".to_owned()))?;
        let cameras = keys.entry("cameras").or_insert(Value::Null);
        if cameras.is_null() {
            *cameras = Value::Object(Map::new());
        }
        let cameras = cameras
            .as_object_mut()
            .ok_or_else(|| EditError::Form("cameras".to_owned()))?;
        match camera {
            Some(camera) => drop(cameras.insert(name.to_owned(), camera)),
            None => drop(cameras.remove(name)),
        }
        let given = serde_json::json!({"cameras": {name: given}});
        self.wanted(wanted, &given)
    }

    fn wanted(&self, value: Value, given: &Value) -> Result<Wanted, ChangeError> {
        if let Some(place) = foreign::credentials(&value, given, &self.value) {
            return Err(ChangeError::Request(format!(
                "{place}: what is stored stays with its server; for another one give it in the request"
            )));
        }
        Ok(Wanted {
            foreign_reference: foreign::reference(&value, &self.value),
            value,
        })
    }
}

fn merge_patch(value: &mut Value, patch: Value) {
    match (value, patch) {
        (Value::Object(keys), Value::Object(patch)) => {
            for (key, patch) in patch {
                if patch.is_null() {
                    keys.remove(&key);
                } else {
                    merge_patch(keys.entry(key).or_insert(Value::Null), patch);
                }
            }
        }
        // A mapping that was not there: what it takes away is not there either.
        (value, Value::Object(patch)) => {
            *value = Value::Object(Map::new());
            merge_patch(value, Value::Object(patch));
        }
        (value, patch) => *value = patch,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FILE: &str = "# mine\ncameras:\n  front: # door\n    source: {rtsp: \"rtsp://u:p@h/1\"}\n    detect: {fps: 5}\n";

    #[test]
    fn a_camera_is_put_patched_and_removed() {
        let document = Document::new(FILE).unwrap();
        let edited = |wanted: Result<Wanted, _>| document.edited(&wanted.unwrap()).unwrap();
        let shown = document.shown_camera("front").unwrap();
        assert_eq!(shown["source"]["rtsp"], "rtsp://u:***@h/1");
        assert_eq!(
            edited(document.put_camera("front", shown)),
            FILE,
            "as it was means as it was"
        );
        let text =
            edited(document.patch_camera("front", json!({"detect": {"fps": 7}, "enabled": false})));
        assert_eq!(
            text,
            format!("{}    enabled: false\n", FILE.replace("fps: 5", "fps: 7"))
        );
        let text = edited(document.patch_camera("front", json!({"detect": null})));
        assert_eq!(text, FILE.replace("    detect: {fps: 5}\n", ""));
        let text = edited(document.put_camera("back", json!({"source": {"test": "walkers"}})));
        assert_eq!(
            text,
            format!("{FILE}  back:\n    source:\n      test: walkers\n")
        );
        let text = edited(document.remove_camera("front"));
        assert!(text.starts_with("# mine\ncameras: {}"), "{text}");
    }

    #[test]
    fn requests_that_make_no_sense_are_refused() {
        let document = Document::new(FILE).unwrap();
        assert_eq!(
            document.remove_camera("back").unwrap_err(),
            ChangeError::NoCamera("back".into())
        );
        assert!(document.put_camera("front", json!([])).is_err());
        let foreign = json!({"source": {"rtsp": "rtsp://u:***@other/1"}});
        assert!(document.put_camera("front", foreign).is_err());
    }
}
