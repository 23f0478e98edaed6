//! Frigate's dialect under `/frigate`, asked as its clients ask, against the tables of what they need.

use crate::support::{PROGRAM, Watchpost, eventually, onnxruntime};
use serde_json::{Value, json};

/// As the Home Assistant integration asks: every request, GET too, has a JSON body.
const JSON: &str = "Content-Type: application/json\r\n";
const SCENE: &str = "{test: {scene: \"walkers,objects=6\", width: 640, height: 360, fps: 5}}";

fn ask(watchpost: &Watchpost, method: &str, path: &str, headers: &str) -> (u16, Value) {
    let path = format!("/frigate{path}");
    let answer = watchpost.ask(method, &path, &format!("{JSON}{headers}"), "{}");
    let kind = answer.header("content-type").unwrap_or_default();
    assert_eq!(
        kind,
        "application/json",
        "{method} {path}: {}",
        answer.text()
    );
    let value = serde_json::from_slice(&answer.body).expect("JSON");
    (answer.status, value)
}

fn get(watchpost: &Watchpost, path: &str) -> Value {
    let (code, value) = ask(watchpost, "GET", path, "");
    assert_eq!(code, 200, "{path}: {value}");
    value
}

#[test]
fn the_integration_finds_what_it_needs() {
    let watchpost = Watchpost::start(&format!(
        "mqtt: {{client_id: house, topic_prefix: frigate}}
cameras:
  front:
    source: {SCENE}
    friendly_name: Front door
    zones: {{yard: {{coordinates: \"0,0,1,0,1,1\", objects: [person]}}}}
  back: {{enabled: false, source: {SCENE}}}
"
    ));
    watchpost.wait_streaming("front");

    let version = watchpost.ask("GET", "/frigate/api/version", JSON, "{}");
    assert!(
        version
            .header("content-type")
            .expect("a type")
            .starts_with("text/plain")
    );
    let number = version.text().split('-').next().expect("a number");
    let parts: Vec<u32> = number
        .split('.')
        .map(|part| part.parse().expect("a number"))
        .collect();
    assert!(
        parts[..2] >= [0, 12][..],
        "the integration refuses {number}"
    );

    let config = get(&watchpost, "/api/config");
    assert_eq!(config["version"], version.text());
    assert_eq!(config["mqtt"]["client_id"], "house");
    assert_eq!(config["mqtt"]["topic_prefix"], "frigate");
    let front = &config["cameras"]["front"];
    assert_eq!(front["friendly_name"], "Front door");
    assert_eq!(front["zones"]["yard"]["objects"], json!(["person"]));
    assert_eq!(front["audio"]["enabled_in_config"], false);
    for key in ["threshold", "contour_area"] {
        assert!(front["motion"][key].is_number(), "{key}");
    }
    assert_eq!(
        (&front["detect"]["width"], &front["detect"]["height"]),
        (&json!(640), &json!(360))
    );
    assert_eq!(front["record"]["enabled"], false);
    assert!(
        config["go2rtc"]["streams"]
            .as_object()
            .expect("a mapping")
            .is_empty()
    );

    let stats = || get(&watchpost, "/api/stats");
    eventually("pictures are counted", || {
        stats()["cameras"]["front"]["camera_fps"]
            .as_f64()
            .is_some_and(|fps| fps > 0.0)
    });
    let stats = stats();
    let names = |value: &Value| {
        let cameras = value["cameras"].as_object().expect("a mapping");
        cameras.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(
        names(&stats),
        names(&config),
        "both must list the same cameras"
    );
    for key in ["camera_fps", "process_fps", "skipped_fps", "detection_fps"] {
        assert!(stats[key].is_number(), "{key}");
        assert!(stats["cameras"]["front"][key].is_number(), "{key}");
    }
    assert_eq!(stats["service"]["version"], version.text());
    assert_eq!(stats["service"]["latest_version"], "disabled");
    assert!(stats["service"]["uptime"].is_number());

    let picture = watchpost.ask("GET", "/frigate/api/front/latest.jpg?h=277", JSON, "{}");
    assert_eq!(picture.header("content-type"), Some("image/jpeg"));
    assert_eq!(picture.header("cache-control"), Some("no-store"));
    assert!(picture.body.starts_with(&[0xff, 0xd8, 0xff]));
    assert_eq!(ask(&watchpost, "GET", "/api/garden/latest.jpg", "").0, 404);
    assert_eq!(get(&watchpost, "/api/labels"), json!(["person"]));

    // What is not there is answered as when it is switched off.
    for (path, answer) in [
        ("/api/front/ptz/info", json!({})),
        ("/api/front/recordings/summary?timezone=UTC", json!([])),
        ("/api/front/recordings?after=1.5&before=2.5", json!([])),
        ("/api/recordings/summary", json!({})),
        ("/api/review?limit=10", json!([])),
        ("/api/exports", json!([])),
        ("/api/sub_labels", json!([])),
        ("/api/faces", json!({})),
    ] {
        assert_eq!(get(&watchpost, path), answer, "{path}");
    }
    let (code, answer) = ask(&watchpost, "GET", "/vod/front/start/1/end/2/index.m3u8", "");
    assert_eq!((code, &answer["success"]), (404, &json!(false)));
    let profile = get(&watchpost, "/api/profile");
    assert_eq!(
        (&profile["username"], &profile["role"]),
        (&json!("anonymous"), &json!("admin"))
    );
}

#[test]
fn events_have_frigates_form_and_can_be_kept() {
    if onnxruntime().is_none() {
        return;
    }
    let model = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../pipelines/demo-model/demo.onnx"
    );
    let watchpost = Watchpost::start(&format!(
        "model: {{path: {model}}}
cameras:
  front:
    source: {SCENE}
    detect: {{width: 640, height: 360, fps: 5}}
    zones: {{yard: {{coordinates: \"0,0,1,0,1,1,0,1\"}}}}
"
    ));
    eventually("an object has gone", || {
        let ended = get(&watchpost, "/api/events?in_progress=0");
        !ended.as_array().expect("a list").is_empty()
    });
    let events = get(
        &watchpost,
        "/api/events?cameras=front&labels=person&include_thumbnails=0",
    );
    let events = events.as_array().expect("a list");
    for pair in events.windows(2) {
        assert!(
            pair[0]["start_time"].as_f64() >= pair[1]["start_time"].as_f64(),
            "newest first"
        );
    }
    let event = &events[events.len() - 1];
    // The card refuses events without one of these keys.
    for key in [
        "camera",
        "end_time",
        "false_positive",
        "has_clip",
        "has_snapshot",
        "id",
        "label",
        "sub_label",
        "start_time",
        "top_score",
        "zones",
        "retain_indefinitely",
        "data",
    ] {
        assert!(event.get(key).is_some(), "{key}");
    }
    let id = event["id"].as_str().expect("text");
    assert!(id.len() <= 30, "{id}");
    let start: f64 = id
        .split('-')
        .next()
        .expect("a start")
        .parse()
        .expect("a number");
    assert!(
        (start - event["start_time"].as_f64().expect("a number")).abs() < 1e-5,
        "{id}"
    );
    assert_eq!(get(&watchpost, &format!("/api/events/{id}"))["id"], id);

    let ours = watchpost.get("/api/events?limit=1000");
    let number =
        i64::from_str_radix(id.split('-').next_back().expect("a number"), 36).expect("base 36");
    let same = ours
        .as_array()
        .expect("a list")
        .iter()
        .find(|ours| ours["id"] == number);
    assert_eq!(
        same.expect("the same event")["start_time"],
        event["start_time"]
    );

    for (query, is_empty) in [
        ("labels=car", true),
        ("camera=all&zone=yard", false),
        ("zones=road", true),
        ("has_clip=1", true),
        ("has_snapshot=0", false),
        ("after=1000000000", false),
        ("before=1000000000", true),
        ("limit=0", true),
    ] {
        let found = get(&watchpost, &format!("/api/events?{query}"));
        assert_eq!(
            found.as_array().expect("a list").is_empty(),
            is_empty,
            "{query}"
        );
    }
    let (code, answer) = ask(&watchpost, "GET", "/api/events?after=now", "");
    assert_eq!(
        (code, &answer["message"]),
        (400, &json!("after=now: expected a number"))
    );

    let summary = get(&watchpost, "/api/events/summary?timezone=Europe/Berlin");
    let first = &summary[0];
    assert_eq!(
        (&first["camera"], &first["label"]),
        (&json!("front"), &json!("person"))
    );
    assert_eq!(first["zones"], json!(["yard"]));
    assert!(first.get("sub_label").is_some() && first["count"].as_u64() >= Some(1));
    assert_eq!(first["day"].as_str().expect("a day").len(), 10);

    let retain = format!("/api/events/{id}/retain");
    for (method, kept) in [("POST", true), ("DELETE", false)] {
        let (code, answer) = ask(&watchpost, method, &retain, "");
        assert_eq!((code, &answer["success"]), (200, &json!(true)));
        assert!(answer["message"].is_string());
        let event = get(&watchpost, &format!("/api/events/{id}"));
        assert_eq!(event["retain_indefinitely"], kept);
        let favorites = get(&watchpost, "/api/events?favorites=1");
        assert_eq!(
            favorites.as_array().expect("a list").len(),
            usize::from(kept)
        );
    }
    for path in [
        "/api/events/1.0-00000a",
        "/api/events/x",
        &format!("/api/events/{id}/clip.mp4"),
    ] {
        let (code, answer) = ask(&watchpost, "GET", path, "");
        assert_eq!((code, &answer["success"]), (404, &json!(false)), "{path}");
    }
}

/// What `watchpost hash-password` makes of a password.
fn hashed(password: &str) -> String {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut child = Command::new(PROGRAM)
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(password.as_bytes()).expect("write");
    drop(stdin);
    let output = child.wait_with_output().expect("an end");
    String::from_utf8(output.stdout)
        .expect("text")
        .trim()
        .to_owned()
}

#[test]
fn a_login_lasts_over_a_restart_and_ends_with_the_password() {
    let config = |password: &str| {
        format!(
            "http:\n  listen: \"127.0.0.1:0\"\n  users:\n    anna: {{password: \"{}\", role: read-only}}\n    ben: {{password: \"{}\", role: admin}}\ncameras: {{}}\n",
            hashed(password),
            hashed("sesame")
        )
    };
    let watchpost = Watchpost::start(&config("open"));
    let (code, answer) = ask(&watchpost, "GET", "/api/stats", "");
    assert_eq!(code, 401, "{answer}");
    let login = |watchpost: &Watchpost, user: &str, password: &str| {
        let body = json!({"user": user, "password": password}).to_string();
        watchpost.ask("POST", "/frigate/api/login", JSON, &body)
    };
    assert_eq!(login(&watchpost, "anna", "shut").status, 401);
    assert_eq!(login(&watchpost, "nobody", "open").status, 401);
    let answer = login(&watchpost, "anna", "open");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let cookie = answer.header("set-cookie").expect("a cookie");
    let cookie = cookie.split(';').next().expect("a pair");
    let token = cookie
        .strip_prefix("frigate_token=")
        .expect("Frigate's name");
    let bearer = format!("Authorization: Bearer {token}\r\n");
    for headers in [format!("Cookie: a=b; {cookie}\r\n"), bearer.clone()] {
        let (code, profile) = ask(&watchpost, "GET", "/api/profile", &headers);
        assert_eq!(code, 200, "{profile}");
        assert_eq!(
            (&profile["username"], &profile["role"]),
            (&json!("anna"), &json!("viewer"))
        );
    }
    // The role is that of the configuration, and the token is none of Watchpost's own interface.
    let retain = "/api/events/1.0-00000a/retain";
    assert_eq!(ask(&watchpost, "POST", retain, &bearer).0, 403);
    assert_eq!(watchpost.request("GET", "/api/status", &bearer, "").0, 401);
    let ben = login(&watchpost, "ben", "sesame");
    let ben = ben
        .header("set-cookie")
        .expect("a cookie")
        .split(';')
        .next()
        .expect("a pair");
    let ben = format!("Cookie: {ben}\r\n");
    assert_eq!(
        ask(&watchpost, "POST", retain, &ben).0,
        404,
        "he may, and there is none"
    );

    let watchpost = watchpost.start_again();
    assert_eq!(
        ask(&watchpost, "GET", "/api/stats", &bearer).0,
        200,
        "after a restart"
    );
    let text = std::fs::read_to_string(watchpost.config_file()).expect("the file");
    let anna = text
        .lines()
        .find(|line| line.contains("anna"))
        .expect("her line");
    let other = format!(
        "    anna: {{password: \"{}\", role: read-only}}",
        hashed("other")
    );
    std::fs::write(watchpost.config_file(), text.replace(anna, &other)).expect("write");
    eventually("another password ends it", || {
        ask(&watchpost, "GET", "/api/stats", &bearer).0 == 401
    });
    assert_eq!(
        ask(&watchpost, "GET", "/api/stats", &ben).0,
        200,
        "only hers"
    );
    let log = watchpost.log();
    assert!(!log.contains("sesame") && !log.contains(token), "{log}");
}
