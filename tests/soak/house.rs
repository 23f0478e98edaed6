//! The cameras as they should be, and how they are made to be so: over HTTP or in the file.

use crate::random::Random;
use crate::support::{Watchpost, eventually, kill, lives};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The camera nobody touches.
pub const STILL: &str = "still";
/// A camera that was killed often waits up to a minute before it starts again.
const SETTLE: Duration = Duration::from_secs(120);
const JSON: &str = "Content-Type: application/json\r\n";

/// What the configuration says, and what was done to it.
pub struct House {
    general: Value,
    /// By place, so that a camera with a new name stands where the old one stood.
    places: Vec<(String, Value)>,
    newest_name: u32,
    /// The last one removed, until another comes in its place.
    missing: Option<usize>,
    done: BTreeMap<&'static str, u32>,
}

fn camera(random: &mut Random) -> Value {
    let (width, height) = [(320, 180), (256, 144)][random.below(2)];
    let scene = format!("walkers,seed={}", random.below(1000));
    json!({
        "source": {"test": {"scene": scene, "width": width, "height": height, "fps": 5}},
        "detect": {"width": width, "height": height, "fps": 5},
        "stall_timeout": 10,
    })
}

impl House {
    pub fn new(cameras: usize, model: Option<&str>) -> Self {
        let mut random = Random::new(0);
        let name = |place| {
            if place == 0 {
                STILL.to_owned()
            } else {
                format!("camera{place}")
            }
        };
        let mut places: Vec<_> = (0..cameras)
            .map(|place| (name(place), camera(&mut random)))
            .collect();
        // Its reader may fall behind where the machine is busy, its writer never.
        places[0].1["slots"] = json!(32);
        Self {
            general: model.map_or(json!({}), |path| json!({"model": {"path": path}})),
            places,
            newest_name: 0,
            missing: None,
            done: BTreeMap::new(),
        }
    }

    pub fn still(&self) -> &str {
        STILL
    }

    fn cameras(&self) -> impl Iterator<Item = &(String, Value)> {
        let there = |(place, _): &(usize, _)| Some(*place) != self.missing;
        self.places
            .iter()
            .enumerate()
            .filter(there)
            .map(|(_, camera)| camera)
    }

    /// The part of the file that is ours. JSON is YAML.
    pub fn file(&self) -> String {
        let mut text = String::from("# cameras that come and go\n");
        for (key, value) in self.general.as_object().expect("a mapping") {
            text += &format!("{key}: {value}\n");
        }
        text += "cameras:\n";
        for (name, camera) in self.cameras() {
            text += &format!("  # place of {name}\n  {name}: {camera}\n");
        }
        text
    }

    pub fn counts(&self) -> String {
        let parts: Vec<String> = self
            .done
            .iter()
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        parts.join(", ")
    }

    fn count(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    /// Takes the camera in this place away.
    pub fn remove(&mut self, watchpost: &Watchpost, random: &mut Random, place: usize) {
        let name = self.places[place].0.clone();
        self.missing = Some(place);
        if random.one_in(4) {
            self.by_file(watchpost, random);
        } else {
            self.by_http(watchpost, "DELETE", &name, &Value::Null);
        }
        self.count("removed");
        if random.one_in(2) {
            let socket = watchpost.socket(&name);
            eventually("the socket of a removed camera goes", || !socket.exists());
        }
    }

    /// Puts a camera into the place where one is missing, under its name or a new one.
    pub fn add(&mut self, watchpost: &Watchpost, random: &mut Random, place: usize) {
        let name = if random.one_in(3) {
            self.newest_name += 1;
            format!("new{}", self.newest_name)
        } else {
            self.places[place].0.clone()
        };
        self.places[place] = (name.clone(), camera(random));
        self.missing = None;
        if random.one_in(4) {
            self.by_file(watchpost, random);
        } else {
            let camera = self.places[place].1.clone();
            self.by_http(watchpost, "PUT", &name, &camera);
        }
        self.count("added");
        if !random.one_in(3) {
            watchpost.wait_streaming(&name);
        }
    }

    /// Changes a camera: something that can change while it runs, something that cannot, or off and on.
    pub fn change(&mut self, watchpost: &Watchpost, random: &mut Random, place: usize) {
        let name = self.places[place].0.clone();
        let patch = match random.below(4) {
            0 => json!({"motion": {"threshold": 20 + random.below(40)}}),
            1 => json!({"zones": {"door": {"coordinates": "0.5,0.5,1,0.5,1,1,0.5,1"}}}),
            2 => json!({"detect": {"fps": 3 + random.below(3)}}),
            _ => {
                let off = json!({"enabled": false});
                self.by_http(watchpost, "PATCH", &name, &off);
                json!({"enabled": true})
            }
        };
        merge(&mut self.places[place].1, &patch);
        if random.one_in(4) {
            self.by_file(watchpost, random);
        } else {
            self.by_http(watchpost, "PATCH", &name, &patch);
        }
        self.count("changed");
        if random.one_in(3) {
            watchpost.wait_streaming(&name);
        }
    }

    fn by_http(&mut self, watchpost: &Watchpost, method: &str, name: &str, body: &Value) {
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let path = format!("/api/cameras/{name}");
        let (code, answer) = watchpost.request(method, &path, JSON, &text);
        assert!(
            (200..300).contains(&code),
            "{method} {path} {text}: {code} {answer}"
        );
        self.count("over HTTP");
    }

    /// Replaces the file, and waits until it is at work.
    fn by_file(&mut self, watchpost: &Watchpost, random: &mut Random) {
        let file = watchpost.config_file();
        let written = std::fs::read_to_string(&file).expect("the configuration");
        let head = written
            .split_once("# cameras")
            .map_or(written.as_str(), |(head, _)| head);
        let next = file.with_extension("next");
        std::fs::write(&next, format!("{head}{}", self.file())).expect("write");
        std::fs::rename(&next, &file).expect("rename");
        if random.one_in(2) {
            watchpost.signal(Signal::HUP);
        }
        let wanted: Value = self
            .cameras()
            .cloned()
            .collect::<serde_json::Map<_, _>>()
            .into();
        eventually("the file is taken over", || {
            watchpost.get("/api/config")["cameras"] == wanted
        });
        self.count("in the file");
    }

    /// Kills the capture worker of the camera in this place, if it has one.
    pub fn kill_capture(&self, watchpost: &Watchpost, place: usize) -> bool {
        let name = &self.places[place].0;
        kill_worker(&watchpost.camera(name)["capture_pid"])
    }

    /// Kills the analysis worker.
    pub fn kill_analysis(&self, watchpost: &Watchpost) -> bool {
        // While it starts there is nothing to kill, and this is not to be done in vain.
        let camera = watchpost.wait_for(STILL, "is analysed", |c| {
            c["analysis"]["state"] == "running"
        });
        kill_worker(&camera["analysis_pid"])
    }

    /// Waits until every camera is there, streams and is analysed, and nothing else is there.
    pub fn settle(&self, watchpost: &Watchpost) {
        let deadline = Instant::now() + SETTLE;
        loop {
            let cameras = watchpost.get("/api/cameras");
            let cameras = cameras.as_array().expect("a list");
            let at_work = |c: &&Value| {
                c["state"] == "streaming"
                    && c["analysis"]["state"] == "running"
                    && !c["detection_frame"].is_null()
            };
            let working = cameras.iter().filter(at_work).count();
            if working == self.cameras().count() && cameras.len() == working {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "never settles: {cameras:#?}\n{}",
                watchpost.log()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

fn kill_worker(pid: &Value) -> bool {
    let Some(pid) = pid.as_u64().map(|pid| pid as u32).filter(|pid| lives(*pid)) else {
        return false;
    };
    kill(pid, Signal::KILL);
    true
}

/// JSON merge patch, for objects.
fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(keys) = patch else {
        *value = patch.clone();
        return;
    };
    for (key, patch) in keys {
        merge(&mut value[key], patch);
    }
}
