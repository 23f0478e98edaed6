//! What types cannot say: how keys go together, and whether what they name exists.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;

use detection::FrameSize;
use gsttestscene::scene::Script;
use regiondetect_core::decode::ModelType;
use shmring_core::MAX_SOCKET_PATH;
use watchpost_pipelines::camera::{
    CameraConfig, Masks, ObjectFilter, Polygon, RecordConfig, Role, Source, SourceEntry,
};
use watchpost_pipelines::capture::{split_credentials, split_port};
use watchpost_pipelines::model::ModelConfig;
use watchpost_pipelines::tasks::Profiles;

use super::file::Config;
use super::hooks::{HookConfig, WebhookConfig};
use super::media::MediaConfig;
use super::mqtt::MqttConfig;
use super::reading::Wrong;
use super::yaml::Step;

/// Width and height that a picture can have.
const PICTURE: RangeInclusive<u32> = 16..=16384;
/// Longest name of a camera.
const MAX_NAME: usize = 64;

/// What was found: mistakes, and what is only worth saying.
#[derive(Default)]
pub struct Findings {
    /// Mistakes.
    pub wrong: Vec<Wrong>,
    /// What stops nothing.
    pub warnings: Vec<Wrong>,
    path: Vec<Step>,
}

impl Findings {
    fn note(&self, message: impl Into<String>) -> Wrong {
        Wrong::of_value(self.path.clone(), message)
    }

    fn wrong(&mut self, message: impl Into<String>) {
        let note = self.note(message);
        self.wrong.push(note);
    }

    fn warn(&mut self, message: impl Into<String>) {
        let note = self.note(message);
        self.warnings.push(note);
    }

    fn at(&mut self, keys: &[&str], check: impl FnOnce(&mut Self)) {
        let depth = self.path.len();
        self.path
            .extend(keys.iter().map(|key| Step::Key((*key).to_owned())));
        check(self);
        self.path.truncate(depth);
    }

    fn at_index(&mut self, key: &str, index: usize, check: impl FnOnce(&mut Self)) {
        self.at(&[key], |found| {
            found.path.push(Step::Index(index));
            check(found);
            found.path.pop();
        });
    }
}

/// Checks what does not belong to a camera.
pub fn general(config: &Config) -> Findings {
    let mut found = Findings::default();
    if let Some(model) = &config.model {
        found.at(&["model"], |found| self::model(model, found));
    } else if !config.cameras.is_empty() {
        found.warn("no `model`: motion is looked for, objects are not");
    }
    if config.events.days == 0.0 {
        found.at(&["events", "days"], |found| {
            found.wrong(
                "is 0, which would delete every event at once; give a large number to keep them",
            );
        });
    }
    media(&config.media, &mut found);
    found.at(&["mqtt"], |found| mqtt(&config.mqtt, found));
    hooks(config, &mut found);
    if config.mqtt.wanted_host().is_some() {
        topic_names(config, &mut found);
    }
    for (key, folder) in [("data_dir", &config.data_dir), ("run_dir", &config.run_dir)] {
        if folder
            .as_deref()
            .is_some_and(|folder| folder.exists() && !folder.is_dir())
        {
            found.at(&[key], |found| found.wrong("is a file, expected a folder"));
        }
    }
    found
}

fn model(model: &ModelConfig, found: &mut Findings) {
    existing_file(&["path"], &model.path, found);
    if let Some(labels) = &model.labels {
        existing_file(&["labels"], labels, found);
    }
    if let Some(kind) = &model.kind
        && ModelType::named(kind).is_err()
    {
        let known: Vec<&str> = ModelType::names().collect();
        let near = watchpost_pipelines::nearest::nearest(kind, &known)
            .map_or(String::new(), |near| format!("did you mean `{near}`? "));
        found.at(&["type"], |found| {
            found.wrong(format!(
                "`{kind}` is not known, {near}expected one of {}",
                known.join(", ")
            ));
        });
    }
}

fn existing_file(key: &[&str], path: &Path, found: &mut Findings) {
    let why = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => return,
        Ok(metadata) if metadata.is_dir() => "is a folder, expected a file".to_owned(),
        Ok(_) => "is no regular file".to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        Err(error) => format!("cannot be read: {error}"),
    };
    found.at(key, |found| {
        found.wrong(format!("{} {why}", path.display()))
    });
}

/// Whether a text can be a camera's name: it becomes a folder, a label and a part of URLs.
pub fn name_problem(name: &str) -> Option<String> {
    let ok = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= MAX_NAME
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    (!ok).then(|| {
        format!(
            "is no name for a camera, expected letters, digits, `-` and `_`, a letter or digit first, at most {MAX_NAME} \
             (use friendly_name for anything else)"
        )
    })
}

/// Checks one camera.
pub fn camera(name: &str, camera: &CameraConfig, run_dir: Option<&Path>) -> Findings {
    let mut found = Findings::default();
    if let Some(problem) = name_problem(name) {
        let mut note = found.note(problem);
        note.key = true;
        found.wrong.push(note);
    }
    if let Some(previous) = &camera.previous_name {
        found.at(&["previous_name"], |found| {
            if previous == name {
                found.wrong("is the camera's own name, expected the one it had before");
            } else if let Some(problem) = name_problem(previous) {
                found.wrong(problem);
            }
        });
    }
    if let Some(run_dir) = run_dir {
        let socket = run_dir.join(name).join("detect.sock");
        let length = socket.as_os_str().len();
        if length > MAX_SOCKET_PATH {
            found.wrong(format!(
                "its socket {} would have {length} bytes, a ring's socket can have {MAX_SOCKET_PATH}: choose a shorter \
                 run_dir or camera name",
                socket.display()
            ));
        }
    }
    sources(camera, &mut found);
    profiles(&camera.profiles, &mut found);
    found.at(&["detect"], |found| detect(camera, found));
    found.at(&["motion"], |found| motion(camera, found));
    found.at(&["objects"], |found| objects(camera, found));
    found.at(&["record"], |found| record(&camera.record, found));
    for (zone_name, zone) in &camera.zones {
        found.at(&["zones", zone_name], |found| {
            found.at(&["coordinates"], |found| {
                polygon(&zone.coordinates, camera, found)
            });
            filters(&zone.filters, camera, found);
            untracked(&zone.objects, camera, found);
            ineffective(
                &[
                    ("distances", zone.distances.is_some()),
                    ("speed_threshold", zone.speed_threshold.is_some()),
                ],
                found,
            );
        });
    }
    let shortest = 2.0 / camera.detect.fps;
    if camera.stall_timeout < shortest {
        found.at(&["stall_timeout"], |found| {
            found.wrong(format!(
                "{} s is less than two frames at {} fps take, expected at least {shortest} s",
                camera.stall_timeout, camera.detect.fps
            ));
        });
    }
    found
}

fn sources(camera: &CameraConfig, found: &mut Findings) {
    match (&camera.source, camera.sources.as_slice()) {
        (None, []) => found.wrong("has no source, expected `source` (or `sources`) with rtsp, file, v4l2, libcamera, test or launch"),
        (Some(_), [_, ..]) => found.at(&["sources"], |found| {
            found.wrong("given together with `source`, expected one of both");
        }),
        (Some(source), []) => found.at(&["source"], |found| self::source(source, found)),
        (None, entries) => roles(entries, camera, found),
    }
}

fn roles(entries: &[SourceEntry], camera: &CameraConfig, found: &mut Findings) {
    let mut seen: BTreeMap<Role, usize> = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        found.at_index("sources", index, |found| {
            source(&entry.source, found);
            if entry.roles.is_empty() && entries.len() > 1 {
                found.wrong("has no roles, expected `roles` with some of detect, record, live");
            }
            for role in &entry.roles {
                if let Some(first) = seen.insert(*role, index) {
                    let other = if first == index {
                        "twice here".to_owned()
                    } else {
                        format!("in sources[{first}] too")
                    };
                    found.at(&["roles"], |found| {
                        found.wrong(format!(
                            "the role {} is given {other}, expected each role once",
                            role.as_str()
                        ));
                    });
                }
            }
        });
    }
    if entries.len() > 1 && camera.detect.enabled && !seen.contains_key(&Role::Detect) {
        found.at(&["sources"], |found| {
            found.wrong(
                "no source has the role detect, expected one (or `detect: {enabled: false}`)",
            );
        });
    }
}

/// What stands where the port of `HOST:PORT/PATH` has to be, if it is none.
fn wrong_port(host: &str) -> Option<&str> {
    let port = split_port(host).1?;
    (!port.parse::<u16>().is_ok_and(|port| port > 0)).then_some(port)
}

fn profiles(profiles: &Profiles, found: &mut Findings) {
    for (name, profile) in [
        ("live", &profiles.live),
        ("photo", &profiles.photo),
        ("raw_photo", &profiles.raw_photo),
        ("video", &profiles.video),
    ] {
        if let Some(size) = profile.size
            && !(PICTURE.contains(&size.width) && PICTURE.contains(&size.height))
        {
            found.at(&["profiles", name, "size"], |found| {
                found.wrong(format!(
                    "{}x{} is no size of a picture, expected {} to {} for width and height; without it the camera chooses",
                    size.width,
                    size.height,
                    PICTURE.start(),
                    PICTURE.end()
                ));
            });
        }
    }
}

fn mqtt(mqtt: &MqttConfig, found: &mut Findings) {
    if let Some(host) = &mqtt.host
        && (host.trim().is_empty() || host.contains("://") || host.contains('/'))
    {
        found.at(&["host"], |found| {
            found.wrong(format!(
                "`{host}` is no host, expected a name or an address such as 192.168.1.5; the port has a key of its own"
            ));
        });
    }
    for (key, topic) in [
        (&["topic_prefix"][..], &mqtt.topic_prefix),
        (&["discovery", "prefix"], &mqtt.discovery.prefix),
    ] {
        let is_topic = !topic.starts_with('$')
            && !topic.contains(['+', '#', '\0'])
            && topic.split('/').all(|level| !level.is_empty());
        if !is_topic {
            found.at(key, |found| {
                found.wrong(format!(
                    "`{topic}` is no topic, expected levels such as `watchpost` or `home/watchpost` without + and #"
                ));
            });
        }
    }
    let is_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if mqtt.client_id.is_empty() || !mqtt.client_id.chars().all(is_id) {
        found.at(&["client_id"], |found| {
            found.wrong(format!(
                "`{}` is no client id, expected letters, digits, `-` and `_`",
                mqtt.client_id
            ));
        });
    }
    for (key, path) in mqtt.files() {
        existing_file(&[key], path, found);
    }
    let pair = [
        ("tls_client_cert", &mqtt.tls_client_cert, "tls_client_key"),
        ("tls_client_key", &mqtt.tls_client_key, "tls_client_cert"),
    ];
    if let [(key, Some(_), other), (_, None, _)] | [(_, None, _), (key, Some(_), other)] = pair {
        found.at(&[key], |found| {
            found.wrong(format!("given without `{other}`, expected both or none"));
        });
    }
    if mqtt.tls_insecure && !mqtt.uses_tls() {
        found.at(&["tls_insecure"], |found| {
            found.warn(
                "has no effect without `tls_ca_certs` or `tls_client_cert`, which turn TLS on",
            );
        });
    }
    if mqtt.password.is_some() && mqtt.user.is_none() {
        found.at(&["password"], |found| {
            found.wrong("given without `user`, expected both or none");
        });
    }
}

/// Levels of topics that cameras, zones and labels must not be named as: two meanings would share one topic.
const TOPICS: [&str; 12] = [
    "available",
    "camera_activity",
    "events",
    "notifications",
    "onConnect",
    "profile",
    "restart",
    "retained",
    "reviews",
    "stats",
    "tracked_object_update",
    "triggers",
];
/// The same for labels, which share a level with what a camera has beside its counts.
const CAMERA_TOPICS: [&str; 14] = [
    "all",
    "audio",
    "detect",
    "enabled",
    "improve_contrast",
    "latest",
    "motion",
    "motion_contour_area",
    "motion_threshold",
    "object_event",
    "ptz",
    "recordings",
    "review_status",
    "status",
];

/// Names that two MQTT topics would share.
fn topic_names(config: &Config, found: &mut Findings) {
    for (name, camera) in &config.cameras {
        found.at(&["cameras", name], |found| {
            if TOPICS.contains(&name.as_str()) {
                found.warn(format!(
                    "`{name}` is also an MQTT topic of its own; give the camera another name"
                ));
            }
            for zone in camera.zones.keys() {
                let why = if config.cameras.contains_key(zone) {
                    "is also the name of a camera, and both would be counted in one MQTT topic"
                } else if TOPICS.contains(&zone.as_str()) {
                    "is also an MQTT topic of its own"
                } else {
                    continue;
                };
                found.at(&["zones", zone], |found| {
                    found.warn(format!("`{zone}` {why}; give the zone another name"));
                });
            }
            for (index, label) in camera.objects.track.iter().enumerate() {
                if CAMERA_TOPICS.contains(&label.as_str()) || label.contains(['/', '+', '#']) {
                    found.at(&["objects"], |found| {
                        found.at_index("track", index, |found| {
                            found.warn(format!(
                                "`{label}` cannot be a level of an MQTT topic, so this label is not published"
                            ));
                        });
                    });
                }
            }
        });
    }
}

/// Whether a label can be a level of a topic beside what else a camera has there.
pub fn is_topic_label(label: &str) -> bool {
    !label.is_empty() && !CAMERA_TOPICS.contains(&label) && !label.contains(['/', '+', '#'])
}

fn hooks(config: &Config, found: &mut Findings) {
    let mut names = BTreeSet::new();
    for (index, hook) in config.hooks.iter().enumerate() {
        found.at_index("hooks", index, |found| {
            if hook.name.trim().is_empty() || !names.insert(&hook.name) {
                found.at(&["name"], |found| {
                    found.wrong(format!(
                        "`{}` is empty or another hook's name, expected one of its own",
                        hook.name
                    ));
                });
            }
            self::hook(hook, found);
            for (place, camera) in hook.on.cameras.iter().enumerate() {
                if !config.cameras.contains_key(camera) {
                    found.at(&["on"], |found| {
                        found.at_index("cameras", place, |found| {
                            found.warn(format!("there is no camera `{camera}`"));
                        });
                    });
                }
            }
        });
    }
}

fn hook(hook: &HookConfig, found: &mut Findings) {
    match (hook.command.first(), &hook.webhook) {
        (Some(program), None) => {
            let program = Path::new(program);
            if program.is_absolute() {
                existing_file(&["command"], program, found);
            } else {
                found.at(&["command"], |found| {
                    found.wrong(format!(
                        "`{}` is no absolute path, expected one such as /usr/local/bin/notify",
                        program.display()
                    ));
                });
            }
        }
        (None, Some(webhook)) => found.at(&["webhook"], |found| self::webhook(webhook, found)),
        (Some(_), Some(_)) | (None, None) => {
            found.wrong("expected either `command` or `webhook`");
        }
    }
}

fn webhook(webhook: &WebhookConfig, found: &mut Findings) {
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|scheme| webhook.url.strip_prefix(scheme));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    // The address itself may be a secret.
    match host {
        None | Some("") => found.at(&["url"], |found| {
            found.wrong("is no address, expected http://HOST/... or https://HOST/...");
        }),
        Some(host) if host.contains('@') => found.at(&["url"], |found| {
            found.wrong("has a user name, expected `token` or `headers` for credentials");
        }),
        Some(_) if webhook.url.contains(char::is_whitespace) => found.at(&["url"], |found| {
            found.wrong("has a blank, expected it as %20");
        }),
        Some(_) => {}
    }
    if let Some(path) = &webhook.ca_certs {
        existing_file(&["ca_certs"], path, found);
        if webhook.url.starts_with("http://") {
            found.at(&["ca_certs"], |found| {
                found.warn("has no effect with http://, which is not encrypted");
            });
        }
    }
}

fn media(media: &MediaConfig, found: &mut Findings) {
    for (key, is_nothing) in [
        ("days", media.days == Some(0.0)),
        ("max_bytes", media.max_bytes.is_some_and(|max| max.0 == 0)),
    ] {
        if is_nothing {
            found.at(&["media", key], |found| {
                found.wrong(
                    "is 0, which would remove every file at once; leave it out for no such limit",
                );
            });
        }
    }
}

fn record(record: &RecordConfig, found: &mut Findings) {
    for (keys, max) in [
        (&["max_bytes"][..], record.max_bytes),
        (&["continuous", "max_bytes"], record.continuous.max_bytes),
        (&["motion", "max_bytes"], record.motion.max_bytes),
        (&["alerts", "max_bytes"], record.alerts.max_bytes),
        (&["detections", "max_bytes"], record.detections.max_bytes),
    ] {
        if max.is_some_and(|max| max.0 == 0) {
            found.at(keys, |found| {
                found.wrong(
                    "is 0, which would remove all footage at once; leave it out for no such limit",
                );
            });
        }
    }
    let days = [
        record.continuous.days,
        record.motion.days,
        record.alerts.retain.days,
        record.detections.retain.days,
    ];
    if record.enabled && days.iter().all(|days| *days == 0.0) {
        found.at(&["enabled"], |found| {
            found.warn("is true, but all kinds have 0 days, so that nothing is recorded");
        });
    }
    if record.audio {
        found.at(&["audio"], |found| {
            found.warn("is true, but sound is not recorded yet");
        });
    }
}

fn source(source: &Source, found: &mut Findings) {
    match source {
        Source::Rtsp(rtsp) => {
            let (location, _) = split_credentials(&rtsp.url);
            let host = location
                .split_once("://")
                .filter(|(scheme, _)| {
                    matches!(
                        scheme.to_ascii_lowercase().as_str(),
                        "rtsp" | "rtsps" | "rtspt" | "rtspu" | "rtsph"
                    )
                })
                .map(|(_, host)| host);
            if host.is_none_or(|host| host.is_empty() || host.starts_with(['/', ':'])) {
                found.at(&["rtsp"], |found| {
                    found.wrong("is no RTSP address, expected rtsp://HOST/PATH or rtsp://USER:PASSWORD@HOST:PORT/PATH");
                });
            } else if let Some(port) = host.and_then(wrong_port) {
                found.at(&["rtsp"], |found| {
                    found.wrong(format!("`{port}` is no port, expected 1 to 65535"));
                });
            }
            if let Some((_, options)) = location.split_once('#') {
                found.at(&["rtsp"], |found| {
                    found.warn(format!(
                        "`#{options}` goes to the camera as a part of the path; leave options of go2rtc out"
                    ));
                });
            }
        }
        Source::File(file) => existing_file(&["file"], &file.path, found),
        Source::V4l2(v4l2) => {
            if !v4l2.device.is_absolute() {
                found.at(&["v4l2"], |found| {
                    found.wrong(format!(
                        "`{}` is no device, expected its path, for instance /dev/video0",
                        v4l2.device.display()
                    ));
                });
            }
        }
        Source::Libcamera(_) => {}
        Source::Test(test) => {
            if let Err(error) = test.scene.parse::<Script>() {
                found.at(&["test"], |found| found.wrong(error.to_string()));
            }
            if !test.width.is_multiple_of(2) || !test.height.is_multiple_of(2) {
                found.at(&["test"], |found| {
                    found.wrong(format!(
                        "{}x{} is odd, expected even numbers",
                        test.width, test.height
                    ));
                });
            }
        }
        Source::Launch(line) => {
            if line.trim().is_empty() {
                found.at(&["launch"], |found| {
                    found.wrong("is empty, expected a GStreamer launch line")
                });
            }
        }
    }
}

fn detect(camera: &CameraConfig, found: &mut Findings) {
    let detect = &camera.detect;
    for (key, value, other, other_value) in [
        ("width", detect.width, "height", detect.height),
        ("height", detect.height, "width", detect.width),
    ] {
        if let Some(value) = value {
            found.at(&[key], |found| {
                if !value.is_multiple_of(2) {
                    found.wrong(format!("{value} is odd, expected an even number"));
                }
                if other_value.is_none() {
                    found.wrong(format!("given without `{other}`, expected both or none"));
                }
            });
        }
    }
}

fn motion(camera: &CameraConfig, found: &mut Findings) {
    masks(&camera.motion.mask, camera, found);
    ineffective(
        &[("delta_alpha", camera.motion.delta_alpha.is_some())],
        found,
    );
}

fn objects(camera: &CameraConfig, found: &mut Findings) {
    masks(&camera.objects.mask, camera, found);
    for (index, label) in camera.objects.track.iter().enumerate() {
        if label.is_empty() || label.contains(',') {
            found.at_index("track", index, |found| {
                found.wrong(format!(
                    "`{label}` is no label, expected a name without a comma"
                ));
            });
        }
    }
    filters(&camera.objects.filters, camera, found);
}

fn filters(filters: &BTreeMap<String, ObjectFilter>, camera: &CameraConfig, found: &mut Findings) {
    for (label, filter) in filters {
        found.at(&["filters", label], |found| {
            let size = camera.detect_size();
            let comparable =
                (filter.min_area.0 < 1.0) == (filter.max_area.0 < 1.0) || size.is_some();
            let size = size.unwrap_or(FrameSize::new(1, 1));
            if comparable && filter.min_area.pixels(size) > filter.max_area.pixels(size) {
                found.at(&["min_area"], |found| {
                    found.wrong(format!(
                        "{} is more than max_area {}",
                        filter.min_area.0, filter.max_area.0
                    ));
                });
            }
            if filter.min_ratio > filter.max_ratio {
                found.at(&["min_ratio"], |found| {
                    found.wrong(format!(
                        "{} is more than max_ratio {}",
                        filter.min_ratio, filter.max_ratio
                    ));
                });
            }
            masks(&filter.mask, camera, found);
            untracked(std::slice::from_ref(label), camera, found);
        });
    }
}

fn untracked(labels: &[String], camera: &CameraConfig, found: &mut Findings) {
    for label in labels {
        if !camera.objects.track.contains(label) {
            found.warn(format!(
                "`{label}` is not in objects.track, so this has no effect"
            ));
        }
    }
}

fn masks(masks: &Masks, camera: &CameraConfig, found: &mut Findings) {
    found.at(&["mask"], |found| {
        for (name, mask) in masks.iter() {
            found.at(&[name, "coordinates"], |found| {
                polygon(&mask.coordinates, camera, found)
            });
        }
    });
}

fn polygon(coordinates: &Polygon, camera: &CameraConfig, found: &mut Findings) {
    if coordinates.is_relative() {
        return;
    }
    let Some(size) = camera.detect_size() else {
        found.wrong(
            "is in pixels, which needs detect.width and detect.height; expected those, or shares of the picture (0 to 1)",
        );
        return;
    };
    let beyond = coordinates
        .corners()
        .iter()
        .find(|(x, y)| *x > f64::from(size.width) || *y > f64::from(size.height));
    if let Some((x, y)) = beyond {
        found.wrong(format!(
            "the corner {x},{y} is outside the analysed picture of {size}"
        ));
    }
}

fn ineffective(keys: &[(&str, bool)], found: &mut Findings) {
    for (key, given) in keys {
        if *given {
            found.at(&[key], |found| {
                found.warn("is accepted for Frigate's sake and has no effect")
            });
        }
    }
}
