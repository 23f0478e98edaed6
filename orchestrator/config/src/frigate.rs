//! A Frigate configuration as one of ours, and a list of what was left out and why.

use std::path::Path;

use serde_json::{Map, Value, json};
use watchpost_pipelines::CameraConfig;

use super::expand::{self, Resolved};
use super::file::Config;
use super::mqtt::MqttConfig;
use super::problem::{Problem, Problems};
use super::reading::{self, Wrong};
use super::yaml::{self, Node, Step, path_text};

/// What became of a Frigate configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The configuration, to be written to a file.
    pub yaml: String,
    /// What was left out or is different, each with its place in Frigate's file.
    pub ignored: Problems,
}

/// Converts the text of a Frigate configuration. `path` is only named in messages.
pub fn import(path: &Path, text: &str) -> Result<Imported, Problems> {
    let tree = yaml::parse(text).map_err(|mistake| {
        Problems::from(Problem {
            file: path.to_owned(),
            line: mistake.place.line,
            column: mistake.place.column,
            key: path_text(&mistake.path),
            message: mistake.message,
        })
    })?;
    let mut import = Import {
        path,
        root: &tree.root,
        ignored: Vec::new(),
    };
    if !matches!(
        tree.root.content,
        yaml::Content::Mapping(_) | yaml::Content::Null
    ) {
        import.note(
            Vec::new(),
            "is no mapping, expected Frigate's keys, such as `cameras:`".to_owned(),
        );
        return Err(Problems(import.ignored));
    }
    let value = import.file();
    let mut yaml = serde_yaml::to_string(&value)
        .map_err(|error| Problems::from(Problem::of_file(path, error.to_string())))?;
    yaml.insert_str(
        0,
        "# Converted from a Frigate configuration by `watchpost import-frigate`.\n",
    );
    import
        .ignored
        .sort_by_key(|problem| (problem.line, problem.column));
    Ok(Imported {
        yaml,
        ignored: Problems(import.ignored),
    })
}

/// Sections of Frigate that have no counterpart, and why.
const NO_COUNTERPART: [(&str, &str); 24] = [
    ("snapshots", "no snapshots yet"),
    ("review", "no review items"),
    ("live", "the live view needs no section of its own"),
    ("birdseye", "no such view"),
    ("timestamp_style", "no timestamps are drawn"),
    ("ui", "settings of Frigate's pages"),
    ("audio", "no audio detection"),
    ("profiles", "no profiles of this kind"),
    ("genai", "no descriptions by language models"),
    ("lpr", "no number plates"),
    ("face_recognition", "no face recognition"),
    ("semantic_search", "no semantic search"),
    ("classification", "no classification"),
    (
        "go2rtc",
        "one connection per camera is shared without it; its streams were followed where a camera uses them",
    ),
    ("onvif", "no PTZ control"),
    ("detectors", "the hardware is chosen by `model.provider`"),
    ("database", "see `data_dir`"),
    ("logger", "see `watchpost run --help`"),
    ("auth", "not taken over"),
    ("tls", "not taken over"),
    ("proxy", "not taken over"),
    ("networking", "see `http.listen`"),
    ("notifications", "no notifications"),
    ("telemetry", "see /metrics"),
];

/// Where Frigate's own go2rtc serves its streams.
const RESTREAM: [&str; 2] = ["rtsp://127.0.0.1:8554/", "rtsp://localhost:8554/"];

/// Keys that mean nothing outside Frigate and are not worth a word.
const SILENT: [&str; 3] = ["version", "safe_mode", "environment_vars"];

struct Import<'a> {
    path: &'a Path,
    root: &'a Node,
    ignored: Vec<Problem>,
}

fn keys(path: &[&str]) -> Vec<Step> {
    path.iter()
        .map(|key| Step::Key((*key).to_owned()))
        .collect()
}

/// Makes numbers, true and false of texts that are meant as such: Frigate takes `"5"`, and `yes` or `off`, for what they say.
fn take_texts(schema: &Value, value: &mut Value) {
    let mut texts = Vec::new();
    texts_in(value, &mut Vec::new(), &mut texts);
    expand::take_types(schema, value, texts);
}

fn texts_in(value: &Value, path: &mut Vec<Step>, found: &mut Vec<Resolved>) {
    let mut at = |step, value| {
        path.push(step);
        texts_in(value, path, found);
        path.pop();
    };
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                at(Step::Key(key.clone()), value);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                at(Step::Index(index), item);
            }
        }
        Value::String(text) => {
            let meant = match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => "true",
                "false" | "no" | "off" => "false",
                _ => text,
            };
            found.push((path.clone(), meant.to_owned()));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl Import<'_> {
    fn ignore(&mut self, path: Vec<Step>, why: impl Into<String>) {
        self.note(path, format!("ignored: {}", why.into()));
    }

    fn note(&mut self, path: Vec<Step>, message: String) {
        let place = self.root.place_of_key(&path);
        self.ignored.push(Problem {
            file: self.path.to_owned(),
            line: place.line,
            column: place.column,
            key: path_text(&path),
            message,
        });
    }

    fn ignore_section(&mut self, path: Vec<Step>, key: &str) {
        if SILENT.contains(&key) {
            return;
        }
        let why = NO_COUNTERPART
            .iter()
            .find(|(name, _)| *name == key)
            .map_or("no counterpart", |(_, why)| why);
        self.ignore(path, why);
    }

    fn file(&mut self) -> Value {
        let root = self.root;
        let mut out = Map::new();
        for entry in root.entries() {
            match entry.key.as_str() {
                "cameras" => {}
                "mqtt" => {
                    let mqtt = self.mqtt(&entry.value);
                    out.insert("mqtt".into(), mqtt);
                }
                "model" => {
                    if let Some(model) = self.model(&entry.value) {
                        out.insert("model".into(), model);
                    }
                }
                section @ ("detect" | "motion" | "objects" | "record") => {
                    out.insert(section.into(), entry.value.to_value());
                }
                "ffmpeg" => self.ignore(
                    keys(&["ffmpeg"]),
                    "GStreamer needs no arguments; see `decoder`",
                ),
                other => self.ignore_section(keys(&[other]), other),
            }
        }
        let mut value = Value::Object(out);
        reading::drop_nulls(&mut value);
        take_texts(super::schema(), &mut value);
        let (_, wrong) = reading::read::<Config>(&mut value);
        self.ignore_wrong(&[], wrong);

        let mut cameras = Map::new();
        for entry in root.get("cameras").map(Node::entries).unwrap_or_default() {
            let mut camera = self.camera(&entry.key, &entry.value);
            let name = self.name(&entry.key, &cameras);
            if name != entry.key {
                let place = keys(&["cameras", &entry.key]);
                self.note(place, format!("is called `{name}` here"));
                if let Some(keys) = camera.as_object_mut() {
                    keys.entry("friendly_name").or_insert(json!(entry.key));
                }
            }
            cameras.insert(name, camera);
        }
        value["cameras"] = Value::Object(cameras);
        value
    }

    /// A name for a camera whose name in Frigate may have what ours may not, and that no other camera has.
    fn name(&self, key: &str, taken: &Map<String, Value>) -> String {
        if super::name_problem(key).is_none() {
            return key.to_owned();
        }
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') {
                c
            } else {
                '_'
            }
        };
        let name: String = key.chars().map(plain).take(60).collect();
        let name = match name.trim_start_matches(['-', '_']) {
            "" => "camera",
            name => name,
        };
        let cameras = self.root.get("cameras");
        let is_free = |name: &String| {
            !taken.contains_key(name) && cameras.is_none_or(|cameras| cameras.get(name).is_none())
        };
        let numbered = (2..).map(|number| format!("{name}_{number}"));
        std::iter::once(name.to_owned())
            .chain(numbered)
            .find(is_free)
            .expect("there are more numbers than cameras")
    }

    fn ignore_wrong(&mut self, prefix: &[Step], wrong: Vec<Wrong>) {
        for wrong in wrong {
            let path = prefix.iter().cloned().chain(wrong.path).collect();
            self.ignore(path, wrong.message);
        }
    }

    /// The broker and the way to it. Prefix and client id are not taken: beside a Frigate that still runs, the two would
    /// disconnect each other and mix their topics.
    fn mqtt(&mut self, mqtt: &Node) -> Value {
        let mut out = Map::new();
        let ours = MqttConfig::default();
        for entry in mqtt.entries() {
            let key = entry.key.as_str();
            let path = keys(&["mqtt", key]);
            let own = match key {
                "topic_prefix" => Some(&ours.topic_prefix),
                "client_id" => Some(&ours.client_id),
                _ => None,
            };
            let value = entry.value.to_value();
            match (own, value) {
                (Some(own), Value::String(theirs)) if theirs == *own => {}
                (Some(own), theirs) => self.note(
                    path,
                    format!("changed: {theirs} is `{own}` here, so that both can run side by side"),
                ),
                (None, Value::String(text)) => {
                    out.insert(key.to_owned(), Value::String(references(&text)));
                }
                (None, value) => {
                    out.insert(key.to_owned(), value);
                }
            }
        }
        Value::Object(out)
    }

    fn model(&mut self, model: &Node) -> Option<Value> {
        let path = model.get("path").map(Node::to_value);
        let Some(path) = path
            .as_ref()
            .and_then(Value::as_str)
            .filter(|p| p.ends_with(".onnx"))
        else {
            self.ignore(
                keys(&["model"]),
                "no ONNX model; give `model.path` an ONNX file",
            );
            return None;
        };
        let mut out = json!({"path": path});
        for entry in model.entries() {
            match entry.key.as_str() {
                "path" => {}
                "labelmap_path" => out["labels"] = entry.value.to_value(),
                "model_type" => out["type"] = entry.value.to_value(),
                "width" | "height" | "input_tensor" | "input_dtype" | "input_pixel_format" => {
                    self.ignore(keys(&["model", &entry.key]), "read from the model itself");
                }
                other => self.ignore(keys(&["model", other]), "no counterpart"),
            }
        }
        Some(out)
    }

    fn camera(&mut self, name: &str, camera: &Node) -> Value {
        let mut out = Map::new();
        let prefix = keys(&["cameras", name]);
        for entry in camera.entries() {
            match entry.key.as_str() {
                "ffmpeg" => {}
                key @ ("enabled" | "friendly_name" | "detect" | "motion" | "objects" | "record"
                | "zones") => {
                    out.insert(key.into(), entry.value.to_value());
                }
                "type" => {
                    if entry.value.to_value() != "generic" {
                        self.ignore(keys(&["cameras", name, "type"]), "no kinds of cameras");
                    }
                }
                other => self.ignore_section(keys(&["cameras", name, other]), other),
            }
        }
        if let Some(zones) = out.get_mut("zones").and_then(Value::as_object_mut) {
            for zone in zones.values_mut() {
                // Frigate takes one label for a list of one.
                if let Some(label) = zone
                    .get("objects")
                    .and_then(Value::as_str)
                    .map(str::to_owned)
                {
                    zone["objects"] = json!([label]);
                }
            }
        }
        self.sources(name, camera, &mut out);
        if !out.contains_key("source") && !out.contains_key("sources") {
            self.note(
                keys(&["cameras", name]),
                "has no source that could be taken over; give it one".to_owned(),
            );
        }
        let mut value = Value::Object(out);
        reading::drop_nulls(&mut value);
        take_texts(super::camera_schema(), &mut value);
        let (_, wrong) = reading::read::<CameraConfig>(&mut value);
        self.ignore_wrong(&prefix, wrong);
        value
    }

    fn sources(&mut self, name: &str, camera: &Node, out: &mut Map<String, Value>) {
        let Some(ffmpeg) = camera.get("ffmpeg") else {
            return;
        };
        for entry in ffmpeg.entries() {
            if entry.key != "inputs" {
                self.ignore(
                    keys(&["cameras", name, "ffmpeg", &entry.key]),
                    "GStreamer needs no arguments; see `decoder`",
                );
            }
        }
        let inputs = match ffmpeg.get("inputs").map(|node| &node.content) {
            Some(yaml::Content::List(inputs)) => inputs.as_slice(),
            _ => return,
        };
        let mut sources = Vec::new();
        for (index, input) in inputs.iter().enumerate() {
            let mut place = keys(&["cameras", name, "ffmpeg", "inputs"]);
            place.push(Step::Index(index));
            let at = |key: &str| {
                let mut path = place.clone();
                path.push(Step::Key(key.to_owned()));
                path
            };
            let mut roles: Vec<Value> = Vec::new();
            for entry in input.entries() {
                match entry.key.as_str() {
                    "path" => {}
                    "roles" => {
                        let given = entry.value.to_value();
                        let one = [given.clone()];
                        for role in given.as_array().map_or(&one[..], Vec::as_slice) {
                            match role.as_str() {
                                Some("detect" | "record") => roles.push(role.clone()),
                                _ => self.ignore(at("roles"), format!("no role {role}")),
                            }
                        }
                    }
                    other => self.ignore(at(other), "GStreamer needs no arguments; see `decoder`"),
                }
            }
            let path = input.get("path").map(Node::to_value);
            let Some(path) = path.as_ref().and_then(Value::as_str) else {
                continue;
            };
            let url = self.followed(path);
            if RESTREAM.iter().any(|prefix| url.starts_with(prefix)) {
                self.note(
                    at("path"),
                    "is a stream of Frigate's own go2rtc, and no rtsp:// address is known for it; give the camera's own"
                        .to_owned(),
                );
            }
            let Some(mut source) = source(&references(&url)) else {
                self.ignore(at("path"), "only RTSP, files and V4L2 devices are converted; use `launch` for anything else");
                continue;
            };
            if inputs.len() > 1 {
                if roles.is_empty() {
                    continue;
                }
                source["roles"] = Value::Array(roles);
            }
            sources.push(source);
        }
        if sources.len() == 1 {
            let mut source = sources.remove(0);
            source.as_object_mut().map(|keys| keys.remove("roles"));
            out.insert("source".into(), source);
        } else if !sources.is_empty() {
            // Live view from the larger picture, as go2rtc would have given it.
            if let Some(source) = sources.iter_mut().find(|s| {
                s["roles"]
                    .as_array()
                    .is_some_and(|r| r.contains(&json!("record")))
            }) && let Some(roles) = source["roles"].as_array_mut()
            {
                roles.push(json!("live"));
            }
            out.insert("sources".into(), Value::Array(sources));
        }
    }

    /// The stream behind an address of Frigate's own go2rtc, where there is one.
    fn followed(&self, path: &str) -> String {
        let inner = RESTREAM
            .iter()
            .find_map(|prefix| path.strip_prefix(prefix))
            .map(|name| name.split('?').next().unwrap_or(name));
        let Some(name) = inner else {
            return path.to_owned();
        };
        let stream = self
            .root
            .at(&keys(&["go2rtc", "streams", name]))
            .map(Node::to_value);
        let first = match &stream {
            Some(Value::Array(urls)) => {
                let mut urls = urls.iter().filter_map(Value::as_str);
                urls.find(|url| url.starts_with("rtsp"))
            }
            Some(Value::String(url)) => Some(url.as_str()),
            _ => None,
        };
        first
            .filter(|url| url.starts_with("rtsp"))
            .map_or(path, |url| url.split('#').next().unwrap_or(url))
            .to_owned()
    }
}

/// `{FRIGATE_NAME}` as `${FRIGATE_NAME}`.
fn references(text: &str) -> String {
    text.replace("${FRIGATE_", "{FRIGATE_")
        .replace("{FRIGATE_", "${FRIGATE_")
}

fn source(path: &str) -> Option<Value> {
    if path.starts_with("rtsp://") || path.starts_with("rtsps://") {
        Some(json!({"rtsp": path}))
    } else if path.starts_with("/dev/") {
        Some(json!({"v4l2": path}))
    } else if path.starts_with('/') {
        Some(json!({"file": {"path": path, "loop": true}}))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRIGATE: &str = "
mqtt: {host: broker, port: '1884', user: u, password: '{FRIGATE_PW}', client_id: house, topic_prefix: frigate, new: 1}
version: 0.17-0
go2rtc:
  streams:
    front_main: [\"rtsp://{FRIGATE_USER}:{FRIGATE_PW}@10.0.0.2/main#backchannel=0\", \"ffmpeg:x\"]
model: {path: /config/yolox.onnx, width: 416, height: 416, model_type: yolox, labelmap_path: /labelmap.txt}
detect: {enabled: true, fps: 5}
objects:
  track: [person, car]
cameras:
  front:
    ffmpeg:
      hwaccel_args: preset-vaapi
      inputs:
        - path: rtsp://127.0.0.1:8554/front_main
          roles: [record, audio]
          input_args: preset-rtsp-restream
        - path: rtsp://10.0.0.2/sub
          roles: [detect]
    detect: {width: 640, height: 360, stationary: {threshold: 60}}
    motion:
      mask: [\"0,0,100,0,100,100,0,100\"]
      threshold: 35
      new_key: 1
    zones:
      drive: {coordinates: \"0,0,1,0,1,1\", objects: car}
    record: {enabled: true, expire_interval: 60}
  yard cam:
    ffmpeg:
      inputs:
        - path: /dev/video0
          roles: [detect]
  web:
    ffmpeg:
      inputs: [{path: 'http://10.0.0.4/mjpg', roles: [detect]}]
";

    #[test]
    fn a_frigate_file_becomes_ours_and_says_what_it_left_out() {
        let imported = import(Path::new("frigate.yml"), FRIGATE).unwrap();
        let value = yaml::parse(&imported.yaml).unwrap().root.to_value();
        assert_eq!(
            value,
            json!({
                "mqtt": {"host": "broker", "port": 1884, "user": "u", "password": "${FRIGATE_PW}"},
                "model": {"path": "/config/yolox.onnx", "type": "yolox", "labels": "/labelmap.txt"},
                "detect": {"enabled": true, "fps": 5},
                "objects": {"track": ["person", "car"]},
                "cameras": {
                    "front": {
                        "sources": [
                            {"rtsp": "rtsp://${FRIGATE_USER}:${FRIGATE_PW}@10.0.0.2/main", "roles": ["record", "live"]},
                            {"rtsp": "rtsp://10.0.0.2/sub", "roles": ["detect"]}
                        ],
                        "detect": {"width": 640, "height": 360, "stationary": {"threshold": 60}},
                        "motion": {"mask": ["0,0,100,0,100,100,0,100"], "threshold": 35},
                        "zones": {"drive": {"coordinates": "0,0,1,0,1,1", "objects": ["car"]}},
                        "record": {"enabled": true}
                    },
                    "yard_cam": {"friendly_name": "yard cam", "source": {"v4l2": "/dev/video0"}},
                    "web": {}
                }
            })
        );
        let ignored: Vec<_> = imported.ignored.iter().map(ToString::to_string).collect();
        for expected in [
            "mqtt.client_id: changed: \"house\" is `watchpost` here",
            "mqtt.topic_prefix: changed: \"frigate\" is `watchpost` here",
            "mqtt.new: ignored: unknown key",
            "model.width: ignored: read from the model itself",
            "cameras.front.ffmpeg.hwaccel_args: ignored",
            "cameras.front.ffmpeg.inputs[0].roles: ignored: no role \"audio\"",
            "cameras.front.motion.new_key: ignored: unknown key",
            "cameras.front.record.expire_interval: ignored: unknown key",
            "cameras.web.ffmpeg.inputs[0].path: ignored: only RTSP",
        ] {
            assert!(
                ignored.iter().any(|line| line.contains(expected)),
                "{expected} not in {ignored:#?}"
            );
        }
        assert!(!ignored.iter().any(|line| line.contains("version")));
    }

    #[test]
    fn what_was_imported_can_be_run() {
        struct Any;
        impl super::super::Environment for Any {
            fn variable(&self, _: &str) -> Option<String> {
                Some("x".into())
            }
        }
        let imported = import(Path::new("frigate.yml"), FRIGATE).unwrap();
        let loaded =
            super::super::parse_with(Path::new("/etc/w.yaml"), imported.yaml, &Any).unwrap();
        assert_eq!(
            loaded.config.cameras.keys().collect::<Vec<_>>(),
            ["front", "yard_cam"]
        );
        assert_eq!(
            loaded.broken.keys().collect::<Vec<_>>(),
            ["web"],
            "it has no source we know"
        );
    }

    #[test]
    fn texts_mean_what_frigate_takes_them_for() {
        let text = "detect: {fps: \"5\"}
cameras:
  front:
    enabled: off
    friendly_name: no
    ffmpeg: {inputs: [{path: rtsp://h/1, roles: [detect]}]}
    motion: {enabled: 'Yes', threshold: '30', mask: '0,0,1,0,1,1'}
    objects: {track: [no, '5']}
";
        let imported = import(Path::new("frigate.yml"), text).unwrap();
        assert_eq!(imported.ignored.to_string(), "");
        let value = yaml::parse(&imported.yaml).unwrap().root.to_value();
        assert_eq!(value["detect"]["fps"], 5);
        let front = &value["cameras"]["front"];
        assert_eq!(front["enabled"], false);
        assert_eq!(front["friendly_name"], "no");
        let motion = json!({"enabled": true, "threshold": 30, "mask": "0,0,1,0,1,1"});
        assert_eq!(front["motion"], motion);
        assert_eq!(front["objects"]["track"], json!(["no", "5"]));
    }

    #[test]
    fn no_camera_is_lost_to_another_of_nearly_its_name() {
        let text = "go2rtc: {streams: {x: [\"ffmpeg:http://h/flv\"]}}
cameras:
  back yard: {ffmpeg: {inputs: [{path: rtsp://h/1, roles: [detect]}]}}
  back_yard: {ffmpeg: {inputs: [{path: rtsp://h/2, roles: [detect]}]}}
  hof: {ffmpeg: {inputs: [{path: \"rtsp://127.0.0.1:8554/x\", roles: [detect]}]}}
  __: {}
";
        let imported = import(Path::new("frigate.yml"), text).unwrap();
        let tree = yaml::parse(&imported.yaml).unwrap().root.to_value();
        let cameras = &tree["cameras"];
        assert_eq!(cameras["back_yard"]["source"]["rtsp"], "rtsp://h/2");
        assert_eq!(
            cameras["back_yard_2"],
            json!({"friendly_name": "back yard", "source": {"rtsp": "rtsp://h/1"}})
        );
        assert_eq!(cameras["camera"]["friendly_name"], "__");
        let said = imported.ignored.to_string();
        for part in [
            "cameras.back yard: is called `back_yard_2` here",
            "cameras.__: has no source",
            "cameras.hof.ffmpeg.inputs[0].path: is a stream of Frigate's own go2rtc",
        ] {
            assert!(said.contains(part), "{said} misses {part}");
        }
        let error = import(Path::new("frigate.yml"), "[1]")
            .unwrap_err()
            .to_string();
        assert!(error.contains("is no mapping"), "{error}");
    }
}
