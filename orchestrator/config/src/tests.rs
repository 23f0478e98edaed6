//! What a user sees of a wrong file.

use std::path::Path;

use super::*;

struct Nothing;

impl Environment for Nothing {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "PW").then(|| "ge heim".to_owned())
    }
}

fn load_text(text: &str) -> Loaded {
    parse_with(Path::new("/etc/watchpost.yaml"), text.to_owned(), &Nothing).unwrap()
}

fn said(text: &str) -> Vec<String> {
    load_text(text)
        .problems()
        .map(ToString::to_string)
        .collect()
}

#[track_caller]
fn says(text: &str, expected: &[&str]) {
    let said = said(text);
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.contains(expected), "{said}\n  misses: {expected}");
    }
}

const GOOD: &str = "cameras:\n  front:\n    source: {rtsp: rtsp://10.0.0.2/main}\n";

#[test]
fn a_small_file_has_frigates_defaults() {
    let loaded = load_text(GOOD);
    assert_eq!(loaded.problems().count(), 0);
    let camera = &loaded.config.cameras["front"];
    assert_eq!(
        (camera.enabled, camera.detect.enabled, camera.detect.fps),
        (true, true, 5.0)
    );
    assert_eq!(
        (
            camera.detect.min_initialized(),
            camera.detect.max_disappeared()
        ),
        (2, 25)
    );
    assert_eq!(
        (
            camera.detect.stationary_threshold(),
            camera.detect.stationary_interval()
        ),
        (50, 50)
    );
    assert_eq!(camera.objects.track, ["person"]);
    assert_eq!(loaded.config.http.listen.to_string(), "127.0.0.1:8480");
}

#[test]
fn tags_that_other_programs_know_are_named() {
    for (text, tag) in [
        (
            "cameras: {front: {source: {rtsp: {url: rtsp://h, password: !secret cam}}}}",
            "`!secret`",
        ),
        ("cameras: !include cameras.yaml", "`!include`"),
        ("objects: {track: !env_var [person]}", "`!env_var`"),
    ] {
        let error = parse_with(Path::new("w.yaml"), text.to_owned(), &Nothing).unwrap_err();
        assert!(error.to_string().contains(tag), "{error}");
    }
    says(
        "cameras: {front: {friendly_name: !!str 5, source: {test: walkers}}}",
        &[],
    );
}

#[test]
fn a_mistake_in_http_is_known_as_such() {
    for wrong in [
        "http: {tokens: [{tken: x}]}",
        "http: {users: {anna: {passwrd: x}}}",
        "http: {tokens: [{token: \"${NONE}\"}]}",
        "http: 5",
        "htp: {tokens: [{token: x}]}",
        "http: {}\nhttp: {tokens: [{token: x}]}",
    ] {
        assert!(load_text(wrong).is_http_wrong(), "{wrong}");
    }
    for other in ["http: {tokens: [{token: x}]}", "model: {pth: x}", "foo: 1"] {
        assert!(!load_text(other).is_http_wrong(), "{other}");
    }
}

#[test]
fn what_cannot_be_is_named_with_its_value() {
    let with = |camera: &str| format!("cameras: {{front: {{{camera}}}}}");
    for (camera, said) in [
        ("source: {rtsp: \"rtsp://h:port/1\"}", "`port` is no port"),
        (
            "source: {rtsp: \"rtsp://u:p@ss@h:99999/1\"}",
            "`99999` is no port",
        ),
        ("source: {file: /dev/null}", "/dev/null is no regular file"),
        (
            "source: {test: walkers}, profiles: {live: {size: [0, 0]}}",
            "0x0 is no size of a picture, expected 16 to 16384",
        ),
        (
            "source: {test: walkers}, profiles: {video: {size: [100000, 30]}}",
            "100000x30 is no size",
        ),
        (
            "source: {test: walkers}, profiles: {live: {size: 640x360}}",
            ":1:68: cameras.front.profiles.live.size: is text \"640x360\", expected a list of 2",
        ),
        (
            "source: {test: walkers}, profiles: {live: {size: [640]}}",
            "cameras.front.profiles.live.size: is a list of 1, expected a list of 2",
        ),
        (
            "source: {test: walkers}, profiles: {photo: {stream: lowres}}",
            "cameras.front.profiles.photo.stream: `lowres` is not known, did you mean `lores`?",
        ),
        (
            "source: {test: walkers}, profiles: {photo: {transform: {hflp: true}}}",
            "cameras.front.profiles.photo.transform.hflp: unknown key, did you mean `hflip`?",
        ),
    ] {
        says(&with(camera), &[said]);
    }
    for good in [
        "source: {rtsp: \"rtsp://[::1]:554/x\"}",
        "source: {rtsp: \"rtsp://u:p:1@h/a@b:c\"}",
        "source: {libcamera: 0}",
    ] {
        says(&with(good), &[]);
    }
    says("events: {days: 0}", &["would delete every event at once"]);
    says("media: {days: 0}", &["would remove every file at once"]);
    says(
        "media: {max_bytes: 0}",
        &["would remove every file at once"],
    );
}

#[test]
fn text_in_another_encoding_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.yaml");
    std::fs::write(&file, b"cameras:\n  front:\n    friendly_name: K\xfcche\n").unwrap();
    let error = load(&file).unwrap_err().to_string();
    assert!(
        error.contains("line 3 is no UTF-8 text (byte 0xfc)"),
        "{error}"
    );
}

#[test]
fn json_is_accepted() {
    let loaded =
        load_text(r#"{"cameras": {"front": {"source": {"rtsp": "rtsp://10.0.0.2/main"}}}}"#);
    assert_eq!(loaded.problems().count(), 0);
    assert_eq!(loaded.config.cameras.len(), 1);
}

#[test]
fn a_mistake_is_named_by_place_path_and_expectation() {
    says(
        "http:\n  listne: 127.0.0.1:1\ncameras:\n  front:\n    source: {rtsp: rtsp://10.0.0.2/main}\n    detect:\n      fsp: 5\n      width: wide\n",
        &[
            "/etc/watchpost.yaml:2:3: http.listne: unknown key, did you mean `listen`?",
            "/etc/watchpost.yaml:7:7: cameras.front.detect.fsp: unknown key, did you mean `fps`?",
            "/etc/watchpost.yaml:8:14: cameras.front.detect.width: is text \"wide\", expected a whole number",
        ],
    );
}

#[test]
fn a_bad_camera_leaves_the_others_alone() {
    let loaded = load_text(&format!(
        "{GOOD}  back:\n    source: {{rtps: x}}\n  side: 5\n"
    ));
    assert_eq!(loaded.config.cameras.keys().collect::<Vec<_>>(), ["front"]);
    assert_eq!(loaded.broken.keys().collect::<Vec<_>>(), ["back", "side"]);
    assert!(
        loaded.broken["back"]
            .to_string()
            .contains("did you mean `rtsp`?"),
        "{}",
        loaded.broken["back"]
    );
}

#[test]
fn keys_given_twice_are_errors_where_they_stand() {
    says(
        "cameras:\n  front:\n    source: {test: walkers}\n    enabled: true\n    enabled: false\nrun_dir: /a\nrun_dir: /b\n",
        &[
            ":5:5: cameras.front.enabled: given twice, first in line 4",
            ":7:1: run_dir: given twice, first in line 6",
        ],
    );
}

#[test]
fn text_that_is_no_yaml_says_where() {
    let problems = parse(Path::new("x.yaml"), "cameras:\n  front: [1, 2\n".into()).unwrap_err();
    assert!(problems.to_string().starts_with("x.yaml:3:"), "{problems}");
    let problems = parse(Path::new("x.yaml"), "- 1\n".into()).unwrap_err();
    assert!(problems.to_string().contains("is no mapping"), "{problems}");
}

#[test]
fn ranges_come_from_the_schema() {
    says(
        "motion: {threshold: 300}\ncameras:\n  front:\n    source: {test: {scene: walkers, fps: 0}}\n    detect: {fps: 500}\n    slots: 2\n    stall_timeout: -1\n",
        &[
            ":1:21: motion.threshold: 300 is out of range, expected 1 to 255",
            "cameras.front.source.test.fps: 0 is out of range, expected 0.1 to 240",
            "cameras.front.detect.fps: 500 is out of range, expected 0.1 to 60",
            "cameras.front.slots: 2 is out of range, expected 3 to 50",
            "cameras.front.stall_timeout: -1 is out of range",
        ],
    );
}

#[test]
fn general_sections_hold_for_every_camera() {
    let loaded = load_text(&format!(
        "detect: {{fps: 3, width: 640, height: 360}}\nobjects: {{track: [car]}}\n{GOOD}    detect: {{fps: 7, width: null, height: null}}\n  back:\n    source: {{test: walkers}}\n"
    ));
    assert_eq!(loaded.problems().count(), 0, "{:?}", loaded.broken);
    let (front, back) = (
        &loaded.config.cameras["front"],
        &loaded.config.cameras["back"],
    );
    assert_eq!((front.detect.fps, front.detect_size()), (7.0, None));
    assert_eq!(
        (back.detect.fps, back.detect_size()),
        (3.0, Some(detection::FrameSize::new(640, 360)))
    );
    assert_eq!(back.objects.track, ["car"]);
    // A mistake in a general section is said once, where it stands.
    says(
        &format!("detect: {{fps: fast}}\n{GOOD}  back:\n    source: {{test: walkers}}\n"),
        &[":1:15: detect.fps: is text \"fast\", expected a number"],
    );
}

#[test]
fn sources_and_roles_are_checked() {
    let camera = |keys: &str| format!("cameras:\n  front:\n    {keys}\n");
    for (keys, expected) in [
        ("enabled: true", "cameras.front: has no source"),
        (
            "source: {}",
            "cameras.front.source: no source given, expected one of rtsp, file",
        ),
        (
            "source: {rtsp: rtsp://h/1, test: walkers}",
            "cameras.front.source: rtsp and test given together",
        ),
        ("source: {test: joggers}", "cameras.front.source.test: "),
        (
            "source: rtsp://h/1",
            "cameras.front.source: is text \"rtsp://h/1\", expected a mapping with one of rtsp, file",
        ),
        (
            "source: {v4l2: 0}",
            "cameras.front.source.v4l2: `0` is no device, expected its path, for instance /dev/video0",
        ),
        (
            "sources: [{test: walkers, roles: [detect, audio]}, {test: walkers, roles: [record]}]",
            "sources[0].roles[1]: `audio` is not known",
        ),
        (
            "source: {rtsp: 'http://h/1'}",
            "cameras.front.source.rtsp: is no RTSP address",
        ),
        (
            "source: {rtsp: 'rtsp:///1'}",
            "cameras.front.source.rtsp: is no RTSP address",
        ),
        (
            "source: {file: none.mp4}",
            "cameras.front.source.file: /etc/none.mp4 does not exist",
        ),
        (
            "sources: [{test: walkers, roles: [detect]}, {test: walkers, roles: [detect]}]",
            "sources[1].roles: the role detect is given in sources[0] too",
        ),
        (
            "sources: [{test: walkers, roles: [live]}, {test: walkers, roles: [record]}]",
            "no source has the role detect",
        ),
        (
            "sources: [{test: walkers, roles: [watch]}]",
            "sources[0].roles[0]: `watch` is not known, expected one of detect, record, live",
        ),
        (
            "sources: [{test: walkers}, {test: walkers, roles: [detect]}]",
            "sources[0]: has no roles",
        ),
    ] {
        says(&camera(keys), &[expected]);
    }
    let loaded = load_text(&camera("source: {rtsp: 'rtsp://u:p#w@h/1#backchannel=0'}"));
    assert_eq!(loaded.problems().count(), 0);
    let warnings = loaded.warnings.to_string();
    assert!(warnings.contains("`#backchannel=0` goes to"), "{warnings}");
    let both = camera("source: {test: walkers}\n    sources: [{test: walkers}]");
    says(
        &both,
        &["cameras.front.sources: given together with `source`"],
    );
    let main_and_sub = camera(
        "sources: [{rtsp: 'rtsp://h/main', roles: [record, live]}, {rtsp: 'rtsp://h/sub', roles: [detect]}]",
    );
    let loaded = load_text(&main_and_sub);
    let camera = &loaded.config.cameras["front"];
    let Some(Source::Rtsp(sub)) = camera.source_for(watchpost_pipelines::camera::Role::Detect)
    else {
        panic!("{camera:?}")
    };
    assert_eq!(sub.url, "rtsp://h/sub");
}

#[test]
fn sizes_masks_and_filters_are_checked() {
    let camera = |keys: &str| format!("{GOOD}    {keys}\n");
    for (keys, expected) in [
        (
            "detect: {width: 640}",
            "detect.width: given without `height`",
        ),
        (
            "detect: {width: 641, height: 360}",
            "detect.width: 641 is odd",
        ),
        (
            "motion: {mask: '0,0,100,0,100,100'}",
            "needs detect.width and detect.height",
        ),
        (
            "zones: {door: {objects: [person]}}",
            "cameras.front.zones.door: key `coordinates` is missing",
        ),
        (
            "objects: {filters: {person: {min_area: 5000, max_area: 100}}}",
            "filters.person.min_area: 5000 is more than max_area 100",
        ),
        (
            "objects: {filters: {person: {min_score: 2}}}",
            "filters.person.min_score: 2 is out of range, expected 0 to 1",
        ),
        (
            "detect: {fps: 0.1}\n    stall_timeout: 5",
            "stall_timeout: 5 s is less than two frames at 0.1 fps take, expected at least 20 s",
        ),
        (
            "decoder: cuda",
            "decoder: `cuda` is not known, expected one of auto, software, vaapi, v4l2",
        ),
    ] {
        says(&camera(keys), &[expected]);
    }
    let outside = "detect: {width: 640, height: 360}\n    motion: {mask: {tree: {coordinates: '0,0,700,0,1,360'}}}";
    says(
        &camera(outside),
        &[
            "motion.mask.tree.coordinates: the corner 700,0 is outside the analysed picture of 640x360",
        ],
    );
}

#[test]
fn names_become_folders_and_are_checked() {
    for name in ["../x", "a b", "-a", "ä", "''", &"a".repeat(65)] {
        let said = said(&format!(
            "cameras:\n  {name}: {{source: {{test: walkers}}}}\n"
        ));
        assert!(
            said.len() == 1 && said[0].contains("is no name for a camera"),
            "{name}: {said:?}"
        );
    }
    let long = format!("run_dir: /{}\n{GOOD}", "x".repeat(100));
    says(&long, &["cameras.front: its socket /xxx"]);
}

#[test]
fn a_model_that_is_not_there_stops_no_camera() {
    let loaded = load_text(&format!("model: {{path: none.onnx, type: yolo}}\n{GOOD}"));
    assert_eq!(loaded.config.cameras.len(), 1);
    let said: Vec<_> = loaded.problems().map(ToString::to_string).collect();
    assert!(
        said[0].ends_with("model.path: /etc/none.onnx does not exist"),
        "{said:?}"
    );
    assert!(
        said[1].contains("model.type: `yolo` is not known"),
        "{said:?}"
    );
    assert_eq!(
        loaded.config.model.unwrap().path,
        Path::new("/etc/none.onnx")
    );
}

#[test]
fn references_are_resolved_and_never_told() {
    let text = "cameras:\n  front:\n    source:\n      rtsp: {url: rtsp://h/1, user: u, password: '${PW}'}\n    detect: {fps: '${PW}'}\n";
    let loaded = load_text(text);
    let said = loaded.broken["front"].to_string();
    assert!(!said.contains("ge heim"), "{said}");
    let loaded = load_text(&text.replace("'${PW}'}\n    detect: {fps: '${PW}'}", "'${PW}'}"));
    let Some(Source::Rtsp(rtsp)) = &loaded.config.cameras["front"].source else {
        panic!()
    };
    assert_eq!(rtsp.password.as_deref(), Some("ge heim"));
    assert!(loaded.text.contains("${PW}"));
    says(
        &text
            .replace("PW", "NO")
            .replace("    detect: {fps: '${NO}'}\n", ""),
        &[":4:50: cameras.front.source.rtsp.password: the environment variable NO is not set"],
    );
}

#[test]
fn a_reference_stands_for_what_its_key_wants() {
    struct Set;
    impl Environment for Set {
        fn variable(&self, name: &str) -> Option<String> {
            let value = match name {
                "FPS" => "7.5",
                "WIDTH" => "640",
                "OFF" => "false",
                "DIGITS" => "0123",
                "HUGE" => "500",
                _ => return None,
            };
            Some(value.to_owned())
        }
    }
    let text = "detect: {fps: \"${FPS}\"}\ncameras:\n  front:\n    enabled: ${OFF}\n    source:\n      rtsp:\n        \
                url: rtsp://h/1\n        user: ${DIGITS}\n        password: ${DIGITS}\n        latency: ${WIDTH}\n    \
                detect:\n      width: ${WIDTH}\n      height: 3${FPS}\n";
    let load = |text: &str| parse_with(Path::new("w.yaml"), text.to_owned(), &Set).unwrap();
    let loaded = load(text);
    let said: Vec<_> = loaded.problems().map(ToString::to_string).collect();
    assert!(
        said[1].contains("front.detect.height: 37.5 is out of range"),
        "{said:#?}"
    );
    let loaded = load(&text.replace("3${FPS}", "${WIDTH}"));
    assert_eq!(loaded.problems().count(), 0);
    let front = &loaded.config.cameras["front"];
    assert!(!front.enabled);
    assert_eq!((front.detect.fps, front.detect.width), (7.5, Some(640)));
    let Some(Source::Rtsp(rtsp)) = &front.source else {
        panic!()
    };
    assert_eq!(rtsp.user.as_deref(), Some("0123"));
    assert_eq!(rtsp.password.as_deref(), Some("0123"));
    assert_eq!(rtsp.latency, 640);
    // Where words and numbers may stand, a number is one.
    let loaded = load(
        "cameras:\n  pi:\n    source: {libcamera: \"${DIGITS}\"}\n    profiles:\n      video:\n        controls:\n          \
         AnalogueGain: ${FPS}\n          AeEnable: ${OFF}\n          AfMode: x${OFF}\n          ColourGains: [\"${FPS}\", 1]\n",
    );
    let controls = serde_json::json!(loaded.config.cameras["pi"].profiles.video.controls);
    assert_eq!(controls["AnalogueGain"], 7.5);
    assert_eq!(controls["AeEnable"], false);
    assert_eq!(controls["AfMode"], "xfalse");
    assert_eq!(controls["ColourGains"], serde_json::json!([7.5, 1]));
    let loaded = load(
        &text
            .replace("3${FPS}", "${WIDTH}")
            .replace("\"${FPS}\"", "\"${HUGE}\""),
    );
    let said = loaded.general.to_string();
    assert!(
        said.contains("500 is out of range, expected 0.1 to 60"),
        "{said}"
    );
    let braces = "cameras: {a: {source: {test: still}, detect: {fps: ${FPS}}}}";
    let error = parse_with(Path::new("w.yaml"), braces.to_owned(), &Set).unwrap_err();
    assert!(error.to_string().contains("needs quotes"), "{error}");
}

#[test]
fn keys_without_effect_are_said_not_refused() {
    let loaded = load_text(&format!(
        "{GOOD}    motion: {{delta_alpha: 0.2}}\n    objects: {{filters: {{cat: {{min_score: 0.6}}}}}}\n"
    ));
    assert_eq!(loaded.problems().count(), 0);
    let warnings = loaded.warnings.to_string();
    for expected in ["motion.delta_alpha", "`cat` is not in objects.track"] {
        assert!(warnings.contains(expected), "{warnings}");
    }
}

#[test]
fn the_camera_a_name_came_from_must_be_gone() {
    says(
        &format!("{GOOD}  back:\n    previous_name: front\n    source: {{test: walkers}}\n"),
        &["cameras.back.previous_name: `front` is a camera of this file"],
    );
}

#[test]
fn the_schema_takes_what_serde_takes() {
    let schema = schema();
    assert_eq!(schema["properties"]["cameras"]["type"], "object");
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(
        schema["$defs"]["DetectConfig"]["properties"]["fps"]["default"],
        5.0
    );
}

#[test]
fn the_examples_are_right() {
    let folder = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../pipelines/examples"
    ));
    struct Any;
    impl Environment for Any {
        fn variable(&self, _: &str) -> Option<String> {
            Some("secret".into())
        }
    }
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        count += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        let loaded = parse_with(&path, text, &Any).unwrap();
        let problems: Vec<_> = loaded
            .problems()
            // Models are the user's own, and the demo's is tested where it is run.
            .filter(|problem| problem.key != "model.path")
            .map(ToString::to_string)
            .collect();
        assert_eq!(problems, Vec::<String>::new());
        assert!(loaded.config.cameras.len() >= 2);
    }
    assert!(count >= 3);
}

#[test]
fn every_model_type_that_the_element_knows_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("m.onnx"), "x").unwrap();
    let load = |kind: &str| {
        let text = format!("model: {{path: m.onnx, type: {kind}}}");
        parse(&folder.path().join("w.yaml"), text).unwrap()
    };
    for kind in regiondetect_core::decode::ModelType::names().chain(["YOLO11"]) {
        assert!(load(kind).general.is_empty(), "{kind}");
    }
    let problems = load("yolo13").general.to_string();
    assert!(problems.contains("did you mean `yolo1"), "{problems}");
}

#[test]
fn a_run_dir_is_as_long_as_the_ring_can_take_and_not_longer() {
    let load = |length: usize| {
        let rest = "/front/detect.sock".len();
        let run_dir = format!("/{}", "r".repeat(length - rest - 1));
        let text = format!("run_dir: {run_dir}\ncameras: {{front: {{source: {{test: walkers}}}}}}");
        parse(Path::new("/w.yaml"), text).unwrap()
    };
    // The ring itself takes exactly as much (its own test); 104 to 107 bytes are what a Unix socket would take.
    assert!(load(shmring_core::MAX_SOCKET_PATH).broken.is_empty());
    let problems = load(shmring_core::MAX_SOCKET_PATH + 1).broken["front"].to_string();
    assert!(problems.contains("104 bytes"), "{problems}");
}

#[test]
fn a_hundred_thousand_keys_are_read_in_seconds() {
    let list = |line: &dyn Fn(usize) -> String| (0..100_000).map(line).collect::<String>();
    let texts = [
        format!(
            "cameras:\n  a:\n    source: {{test: walkers}}\n{}",
            list(&|i| format!("    k{i}: 1\n"))
        ),
        format!("cameras:\n{}", list(&|i| format!("  c{i}:\n"))),
        list(&|i| format!("k{i}: 1\n")),
    ];
    for text in texts {
        let began = std::time::Instant::now();
        let loaded = parse(Path::new("/w.yaml"), text).unwrap();
        assert!(loaded.problems().count() >= 100);
        // Quadratic work takes minutes.
        assert!(
            began.elapsed() < std::time::Duration::from_secs(30),
            "{:?}",
            began.elapsed()
        );
    }
}

#[test]
fn the_section_mqtt_is_checked() {
    let problems = |text: &str| {
        let loaded = parse(Path::new("w.yaml"), text.to_owned()).unwrap();
        let lines = loaded.general.iter().chain(loaded.warnings.iter());
        lines
            .map(|problem| format!("{}: {}", problem.key, problem.message))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        problems("mqtt: {host: broker, user: u, password: p}"),
        Vec::<String>::new()
    );
    for (text, expected) in [
        (
            "mqtt: {host: 'mqtt://broker'}",
            "mqtt.host: `mqtt://broker` is no host",
        ),
        (
            "mqtt: {host: b, topic_prefix: 'a/#'}",
            "mqtt.topic_prefix: `a/#` is no topic",
        ),
        (
            "mqtt: {host: b, discovery: {prefix: ''}}",
            "mqtt.discovery.prefix: `` is no topic",
        ),
        (
            "mqtt: {host: b, client_id: 'a b'}",
            "mqtt.client_id: `a b` is no client id",
        ),
        ("mqtt: {host: b, qos: 3}", "mqtt.qos: "),
        (
            "mqtt: {host: b, stats_interval: 5}",
            "mqtt.stats_interval: ",
        ),
        (
            "mqtt: {host: b, tls_ca_certs: /nowhere.pem}",
            "mqtt.tls_ca_certs: /nowhere.pem does not exist",
        ),
        (
            "mqtt: {host: b, tls_client_cert: Cargo.toml}",
            "mqtt.tls_client_cert: given without `tls_client_key`",
        ),
        (
            "mqtt: {host: b, tls_insecure: true}",
            "mqtt.tls_insecure: has no effect",
        ),
        (
            "mqtt: {host: b, password: x}",
            "mqtt.password: given without `user`",
        ),
        (
            "mqtt: {host: b}\ncameras: {events: {source: {test: walkers}}}",
            "cameras.events: `events` is also an MQTT topic",
        ),
        (
            "mqtt: {host: b}\ncameras: {a: {source: {test: walkers}, zones: {a: {coordinates: '0,0,1,0,1,1'}}}}",
            "cameras.a.zones.a: `a` is also the name of a camera",
        ),
        (
            "mqtt: {host: b}\ncameras: {a: {source: {test: walkers}, objects: {track: [motion]}}}",
            "cameras.a.objects.track[0]: `motion` cannot be a level",
        ),
    ] {
        let found = problems(text);
        assert!(
            found.iter().any(|line| line.starts_with(expected)),
            "{text}: {found:#?}"
        );
    }
}

#[test]
fn recording_starts_from_the_top_and_is_checked() {
    let text = "record: {enabled: true, path: footage, continuous: {days: 3}}\n\
                cameras:\n  \
                  a: {source: {test: walkers}, record: {continuous: {max_bytes: 5 GiB}}}\n  \
                  b: {source: {test: walkers}, record: {alerts: {max_bytes: 0}}}\n  \
                  c: {source: {test: walkers}, record: {alerts: {pre_capture: 61}}}\n  \
                  d: {source: {test: walkers}, record: {continuous: {days: 0}, alerts: {retain: {days: 0}}, \
                      detections: {retain: {days: 0}}, audio: true}}\n";
    let loaded = parse(Path::new("/etc/watchpost.yaml"), text.into()).unwrap();
    let record = &loaded.config.cameras["a"].record;
    assert!(record.enabled);
    assert_eq!(record.path.as_deref(), Some(Path::new("/etc/footage")));
    assert_eq!(record.continuous.days, 3.0);
    assert_eq!(record.continuous.max_bytes.map(|max| max.0), Some(5 << 30));
    let zero = loaded.broken["b"].to_string();
    assert!(zero.contains("record.alerts.max_bytes: is 0"), "{zero}");
    let long = loaded.broken["c"].to_string();
    assert!(long.contains("record.alerts.pre_capture"), "{long}");
    let warnings = loaded.warnings.to_string();
    assert!(
        warnings.contains("record.enabled: is true, but all kinds have 0 days, so that nothing is recorded (in camera d)"),
        "{warnings}"
    );
    assert!(warnings.contains("cameras.d.record.audio"), "{warnings}");
}

#[test]
fn the_list_hooks_is_checked() {
    let problems = |hooks: &str| {
        let text = format!(
            "hooks:\n{hooks}\ncameras: {{a: {{source: {{test: walkers}}}}}}\nmodel: {{path: Cargo.toml}}"
        );
        let loaded = parse(Path::new("w.yaml"), text).unwrap();
        let lines = loaded.general.iter().chain(loaded.warnings.iter());
        let of_hooks = lines.filter(|problem| problem.key.starts_with("hooks"));
        of_hooks
            .map(|problem| format!("{}: {}", problem.key, problem.message))
            .collect::<Vec<_>>()
    };
    let good = "- {name: a, command: [/bin/sh, x]}\n- {name: b, webhook: {url: 'https://h/x'}, on: {cameras: [a]}}";
    assert_eq!(problems(good), Vec::<String>::new());
    for (hooks, expected) in [
        (
            "- {name: a}",
            "hooks[0]: expected either `command` or `webhook`",
        ),
        (
            "- {name: a, command: [/bin/sh], webhook: {url: 'http://h'}}",
            "hooks[0]: expected either",
        ),
        (
            "- {name: a, command: [sh]}",
            "hooks[0].command: `sh` is no absolute path",
        ),
        (
            "- {name: a, command: [/nowhere/sh]}",
            "hooks[0].command: /nowhere/sh does not exist",
        ),
        (
            "- {name: a, command: [/bin/sh]}\n- {name: a, command: [/bin/sh]}",
            "hooks[1].name: `a` is empty or another hook's name",
        ),
        (
            "- {name: a, webhook: {url: 'ftp://h'}}",
            "hooks[0].webhook.url: is no address",
        ),
        (
            "- {name: a, webhook: {url: 'http://u:p@h/'}}",
            "hooks[0].webhook.url: has a user name",
        ),
        (
            "- {name: a, webhook: {url: 'http://h/', ca_certs: Cargo.toml}}",
            "hooks[0].webhook.ca_certs: has no effect",
        ),
        (
            "- {name: a, command: [/bin/sh], on: {cameras: [b]}}",
            "hooks[0].on.cameras[0]: there is no camera `b`",
        ),
        (
            "- {name: a, command: [/bin/sh], on: {events: [person]}}",
            "hooks[0].on.events[0]: ",
        ),
        (
            "- {name: a, command: [/bin/sh], timeout: 0}",
            "hooks[0].timeout: ",
        ),
    ] {
        let found = problems(hooks);
        assert!(
            found.iter().any(|line| line.starts_with(expected)),
            "{hooks}: {found:#?}"
        );
    }
}

/// Every configuration of the guides can be used as it stands there.
#[test]
fn the_configurations_of_the_guides_load() {
    let guides = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide");
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    for guide in std::fs::read_dir(guides).unwrap() {
        let path = guide.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for block in text.split("```yaml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            let block = dedented(block);
            if block.starts_with("automation:") {
                continue;
            }
            // The files that it names, with something in them.
            let block = block.replace("/etc/watchpost/", &format!("{}/", folder.path().display()));
            for word in block.split([' ', '"', '\n']) {
                if let Some(file) = word.strip_prefix("file:") {
                    std::fs::write(file, "secret").unwrap();
                }
            }
            let file = folder.path().join("watchpost.yaml");
            let loaded = parse(&file, block.clone()).unwrap();
            let problems: Vec<_> = loaded.problems().map(ToString::to_string).collect();
            assert!(
                problems.is_empty(),
                "{}: {problems:#?}\n{block}",
                path.display()
            );
            count += 1;
        }
    }
    assert!(count > 3, "{count}");
}

/// A block of a list is indented.
fn dedented(block: &str) -> String {
    let indent = block.len() - block.trim_start_matches(' ').len();
    let lines = block
        .lines()
        .map(|line| line.get(indent..).unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn roles_keep_the_names_of_version_0_1_0() {
    for (text, role) in [
        ("read-only", Role::ReadOnly),
        ("viewer", Role::Viewer),
        ("operator", Role::Operator),
        ("admin", Role::Admin),
    ] {
        let text =
            format!("http: {{tokens: [{{token: x, role: {text}, cameras: [a], scope: metrics}}]}}");
        assert_eq!(load_text(&text).config.http.tokens[0].role, role);
        says(&text, &[]);
    }
    let unnamed = load_text("http: {tokens: [{token: x}]}");
    assert_eq!(unnamed.config.http.tokens[0].role, Role::ReadOnly);
    assert!(!said("http: {tokens: [{token: x, role: root}]}").is_empty());
    assert!(!said("http: {max_connections: 10}").is_empty());
}
