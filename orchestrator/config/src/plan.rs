//! What a changed configuration means: which cameras start, stop, begin anew, or go on with other settings.
//!
//! Pure. Every struct is taken apart with all its fields, so that a new key does not compile until somebody has decided
//! what a change of it means.

use std::collections::BTreeMap;

use watchpost_api::{Action, Key};
use watchpost_pipelines::CameraConfig;
use watchpost_pipelines::camera::DetectConfig;

use super::file::{Config, HttpConfig};

/// What is to be done to get from one configuration to another; nothing where they are equal. Stops come before starts.
pub fn plan(old: &Config, new: &Config) -> Vec<Action> {
    let Config {
        http:
            HttpConfig {
                listen,
                tokens,
                users,
                allow_local_sources,
                max_connections,
            },
        data_dir,
        run_dir,
        model,
        events,
        media,
        mqtt,
        hooks,
        // What these mean is in the cameras already.
        detect: _,
        motion: _,
        objects: _,
        record: _,
        cameras,
    } = new;
    let mut actions = Vec::new();
    let http = changed(&[
        ("http.listen", *listen != old.http.listen),
        ("http.tokens", *tokens != old.http.tokens),
        ("http.users", *users != old.http.users),
        (
            "http.allow_local_sources",
            *allow_local_sources != old.http.allow_local_sources,
        ),
        (
            "http.max_connections",
            *max_connections != old.http.max_connections,
        ),
    ]);
    if !http.is_empty() {
        actions.push(Action::Http { keys: http });
    }
    let folders = changed(&[
        ("data_dir", *data_dir != old.data_dir),
        ("run_dir", *run_dir != old.run_dir),
    ]);
    actions.extend(folders.into_iter().map(|key| Action::NeedsNewStart { key }));
    if *model != old.model {
        actions.push(Action::RestartAnalysis);
    }
    if *events != old.events {
        actions.push(Action::Events);
    }
    if *media != old.media {
        actions.push(Action::Media);
    }
    if *mqtt != old.mqtt {
        actions.push(Action::Mqtt);
    }
    if *hooks != old.hooks {
        actions.push(Action::Hooks);
    }

    let renamed = takeovers(|name| old.cameras.contains_key(name), cameras);
    for (name, camera) in &old.cameras {
        let moves = renamed.iter().any(|(from, _)| from == name);
        match cameras.get(name) {
            None if !moves => actions.push(Action::Stop {
                camera: name.clone(),
                removed: true,
            }),
            Some(now) if camera.enabled && !now.enabled => {
                actions.push(Action::Stop {
                    camera: name.clone(),
                    removed: false,
                });
            }
            _ => {}
        }
    }
    for (from, name) in &renamed {
        actions.push(Action::Rename {
            from: (*from).to_owned(),
            camera: (*name).to_owned(),
        });
    }
    for (name, camera) in cameras {
        let Some(before) = old.cameras.get(name) else {
            if camera.enabled && !renamed.iter().any(|(_, to)| to == name) {
                actions.push(Action::Start {
                    camera: name.clone(),
                });
            }
            continue;
        };
        if !camera.enabled {
            continue;
        }
        if !before.enabled {
            actions.push(Action::Start {
                camera: name.clone(),
            });
            continue;
        }
        let Changes { restart, update } = changes(before, camera);
        if !restart.is_empty() {
            actions.push(Action::Restart {
                camera: name.clone(),
                keys: restart,
            });
        } else if !update.is_empty() {
            actions.push(Action::Update {
                camera: name.clone(),
                keys: update,
            });
        }
    }
    actions
}

/// Which cameras take over from a former one that is gone: its name and the new one. Two cannot take over from one, and none
/// that was known itself.
pub fn takeovers(
    known: impl Fn(&str) -> bool,
    cameras: &BTreeMap<String, CameraConfig>,
) -> Vec<(&str, &str)> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    for (name, camera) in cameras {
        if let Some(from) = &camera.previous_name
            && !known(name)
            && known(from)
            && !cameras.contains_key(from)
            && !found.iter().any(|(taken, _)| taken == from)
        {
            found.push((from, name));
        }
    }
    found
}

/// The keys of those pairs that say so.
fn changed(keys: &[(&'static str, bool)]) -> Vec<Key> {
    keys.iter()
        .filter(|(_, changed)| *changed)
        .map(|(key, _)| Key::from(*key))
        .collect()
}

/// Which keys of a camera changed, by what the change asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Changes {
    /// The camera has to begin anew.
    restart: Vec<Key>,
    /// The camera goes on.
    update: Vec<Key>,
}

/// Compares a camera with what it was, but for `enabled`.
fn changes(old: &CameraConfig, new: &CameraConfig) -> Changes {
    let CameraConfig {
        enabled: _,
        friendly_name,
        previous_name,
        source,
        sources,
        decoder,
        detect:
            DetectConfig {
                enabled: detect_enabled,
                stream,
                width,
                height,
                fps,
                min_initialized,
                max_disappeared,
                stationary,
                annotation_offset,
            },
        motion,
        objects,
        record,
        zones,
        profiles,
        tasks,
        stall_timeout,
        freeze_timeout,
        slots,
    } = new;
    let restart = [
        ("source", *source != old.source),
        ("sources", *sources != old.sources),
        ("decoder", *decoder != old.decoder),
        ("detect.stream", *stream != old.detect.stream),
        ("detect.width", *width != old.detect.width),
        ("detect.height", *height != old.detect.height),
        ("detect.fps", *fps != old.detect.fps),
        ("profiles", *profiles != old.profiles),
        ("tasks", *tasks != old.tasks),
        ("slots", *slots != old.slots),
        ("freeze_timeout", *freeze_timeout != old.freeze_timeout),
    ];
    let update = [
        ("friendly_name", *friendly_name != old.friendly_name),
        ("previous_name", *previous_name != old.previous_name),
        ("detect.enabled", *detect_enabled != old.detect.enabled),
        (
            "detect.min_initialized",
            *min_initialized != old.detect.min_initialized,
        ),
        (
            "detect.max_disappeared",
            *max_disappeared != old.detect.max_disappeared,
        ),
        ("detect.stationary", *stationary != old.detect.stationary),
        (
            "detect.annotation_offset",
            *annotation_offset != old.detect.annotation_offset,
        ),
        ("motion", *motion != old.motion),
        ("objects", *objects != old.objects),
        ("record", *record != old.record),
        ("zones", *zones != old.zones),
        ("stall_timeout", *stall_timeout != old.stall_timeout),
    ];
    Changes {
        restart: changed(&restart),
        update: changed(&update),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn config(cameras: Value) -> Config {
        serde_json::from_value(json!({"cameras": cameras})).unwrap()
    }

    fn camera(over: Value) -> Value {
        let mut camera =
            json!({"source": {"test": "walkers"}, "detect": {"width": 640, "height": 360}});
        super::super::reading::lay_over(&mut camera, over);
        camera
    }

    #[track_caller]
    fn planned(old: Value, new: Value) -> Value {
        serde_json::to_value(plan(&config(old), &config(new))).unwrap()
    }

    /// The first column of the rows of "What a change does" whose second begins so.
    fn documented(page: &str, effect: &str) -> Vec<String> {
        let section = page.split("## What a change does").nth(1).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let row = section
            .lines()
            .find(|line| {
                line.split('|')
                    .nth(2)
                    .is_some_and(|text| text.contains(effect))
            })
            .unwrap_or_else(|| panic!("no row `{effect}`"));
        let keys = row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2);
        keys.map(str::to_owned).collect()
    }

    #[test]
    fn the_page_says_what_a_change_of_each_key_does() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let page = std::fs::read_to_string(page).unwrap();
        let restarts = documented(&page, "this camera restarts");
        let switches = documented(&page, "this camera starts or stops");
        assert_eq!(switches, ["enabled"]);
        let changed = [
            ("enabled", json!(false)),
            ("friendly_name", json!("Front")),
            ("previous_name", json!("old")),
            ("source", json!({"test": "parking"})),
            ("sources", json!([{"test": "parking"}])),
            ("decoder", json!("software")),
            ("detect.enabled", json!(false)),
            ("detect.stream", json!("main")),
            ("detect.width", json!(320)),
            ("detect.height", json!(180)),
            ("detect.fps", json!(7)),
            ("detect.min_initialized", json!(7)),
            ("detect.max_disappeared", json!(7)),
            ("detect.stationary", json!({"interval": 7})),
            ("detect.annotation_offset", json!(7)),
            ("motion", json!({"threshold": 7})),
            ("objects", json!({"track": ["cat"]})),
            ("record", json!({"enabled": true})),
            ("zones", json!({"z": {"coordinates": "0,0,1,0,1,1"}})),
            ("profiles", json!({"live": {"size": [320, 180]}})),
            ("tasks", json!({"photo": {"quality": 50}})),
            ("stall_timeout", json!(77)),
            ("freeze_timeout", json!(77)),
            ("slots", json!(7)),
        ];
        let schema = super::super::schema();
        let properties = |name: &str| {
            let keys = schema["$defs"][name]["properties"].as_object().unwrap();
            keys.keys().cloned().collect::<Vec<_>>()
        };
        let mut keys = properties("CameraConfig");
        keys.retain(|key| key != "detect");
        keys.extend(
            properties("DetectConfig")
                .iter()
                .map(|key| format!("detect.{key}")),
        );
        keys.sort();
        let mut named: Vec<_> = changed.iter().map(|(key, _)| (*key).to_owned()).collect();
        named.sort();
        assert_eq!(named, keys, "a key has no change here");
        for (key, value) in changed {
            let over = match key.split_once('.') {
                Some((section, key)) => json!({section: {key: value}}),
                None => json!({key: value}),
            };
            let actions = planned(json!({"a": camera(json!({}))}), json!({"a": camera(over)}));
            let expected = if switches.iter().any(|known| known == key) {
                "stop"
            } else if restarts.iter().any(|known| known == key) {
                "restart"
            } else {
                "update"
            };
            assert_eq!(actions[0]["action"], expected, "{key}: {actions}");
            assert_eq!(actions.as_array().unwrap().len(), 1, "{key}: {actions}");
        }
    }

    #[test]
    fn each_key_asks_for_what_it_must() {
        for (over, key, restarts) in [
            (json!({"source": {"test": "parking"}}), "source", true),
            (json!({"decoder": "software"}), "decoder", true),
            (json!({"detect": {"width": 320}}), "detect.width", true),
            (json!({"detect": {"height": 320}}), "detect.height", true),
            (json!({"detect": {"fps": 7}}), "detect.fps", true),
            (json!({"detect": {"stream": "main"}}), "detect.stream", true),
            (
                json!({"profiles": {"live": {"size": [320, 180]}}}),
                "profiles",
                true,
            ),
            (json!({"tasks": {"photo": {"quality": 50}}}), "tasks", true),
            (json!({"slots": 9}), "slots", true),
            (json!({"friendly_name": "Front"}), "friendly_name", false),
            (json!({"previous_name": "x"}), "previous_name", false),
            (
                json!({"detect": {"enabled": false}}),
                "detect.enabled",
                false,
            ),
            (
                json!({"detect": {"min_initialized": 5}}),
                "detect.min_initialized",
                false,
            ),
            (
                json!({"detect": {"max_disappeared": 5}}),
                "detect.max_disappeared",
                false,
            ),
            (
                json!({"detect": {"stationary": {"threshold": 5}}}),
                "detect.stationary",
                false,
            ),
            (
                json!({"detect": {"annotation_offset": 5}}),
                "detect.annotation_offset",
                false,
            ),
            (json!({"motion": {"mask": "0,0,1,0,1,1"}}), "motion", false),
            (json!({"objects": {"track": ["car"]}}), "objects", false),
            (
                json!({"zones": {"a": {"coordinates": "0,0,1,0,1,1"}}}),
                "zones",
                false,
            ),
            (json!({"stall_timeout": 60}), "stall_timeout", false),
            (json!({"freeze_timeout": 0}), "freeze_timeout", true),
        ] {
            let action = if restarts { "restart" } else { "update" };
            let old = json!({"front": camera(json!({})), "back": camera(json!({}))});
            let new = json!({"front": camera(over), "back": camera(json!({}))});
            assert_eq!(
                planned(old, new),
                json!([{"action": action, "camera": "front", "keys": [key]}])
            );
        }
        let old = json!({"front": {"source": {"test": "walkers"}}});
        let new = json!({"front": {"sources": [{"test": "walkers"}]}});
        assert_eq!(planned(old, new)[0]["keys"], json!(["source", "sources"]));
    }

    #[test]
    fn nothing_changed_means_nothing_to_do() {
        let cameras = json!({"front": camera(json!({}))});
        assert_eq!(planned(cameras.clone(), cameras), json!([]));
    }

    #[test]
    fn cameras_come_go_and_are_switched() {
        let old = json!({"a": camera(json!({})), "b": camera(json!({})), "c": camera(json!({"enabled": false}))});
        let new = json!({"b": camera(json!({"enabled": false})), "c": camera(json!({})), "d": camera(json!({})),
                         "e": camera(json!({"enabled": false}))});
        assert_eq!(
            planned(old, new),
            json!([
                {"action": "stop", "camera": "a", "removed": true},
                {"action": "stop", "camera": "b", "removed": false},
                {"action": "start", "camera": "c"},
                {"action": "start", "camera": "d"},
            ])
        );
    }

    #[test]
    fn a_disabled_camera_may_change_without_anything_happening() {
        let old = json!({"a": camera(json!({"enabled": false}))});
        let new = json!({"a": camera(json!({"enabled": false, "detect": {"fps": 9}}))});
        assert_eq!(planned(old, new), json!([]));
    }

    #[test]
    fn a_renamed_camera_keeps_what_was_learned() {
        let old = json!({"a": camera(json!({}))});
        let new = json!({"b": camera(json!({"previous_name": "a"})), "c": camera(json!({"previous_name": "a"}))});
        assert_eq!(
            planned(old.clone(), new),
            json!([{"action": "rename", "from": "a", "camera": "b"}, {"action": "start", "camera": "c"}])
        );
        // The name stays in the file for ever and must not do it again.
        let now = json!({"b": camera(json!({"previous_name": "a"}))});
        assert_eq!(planned(now.clone(), now), json!([]));
        // Unless the old one still exists.
        let both = json!({"a": camera(json!({})), "b": camera(json!({"previous_name": "a"}))});
        assert_eq!(
            planned(old, both),
            json!([{"action": "start", "camera": "b"}])
        );
    }

    #[test]
    fn what_is_shared_is_said_once() {
        let old = Config::default();
        let mut new = Config::default();
        new.http.listen = "127.0.0.1:1".parse().unwrap();
        new.data_dir = Some("/a".into());
        new.run_dir = Some("/b".into());
        new.model = Some(serde_json::from_value(json!({"path": "/m.onnx"})).unwrap());
        new.events.days = 7.0;
        new.media.days = Some(7.0);
        assert_eq!(
            plan(&old, &new),
            [
                Action::Http {
                    keys: vec!["http.listen".into()]
                },
                Action::NeedsNewStart {
                    key: "data_dir".into()
                },
                Action::NeedsNewStart {
                    key: "run_dir".into()
                },
                Action::RestartAnalysis,
                Action::Events,
                Action::Media,
            ]
        );
    }
}
