//! What version 0.1.0 wrote and answered: this version loads its configuration, migrates its data, and answers with at
//! least the same fields, types and list shapes. `tests/data/v0.1.0` was recorded with that version.

use crate::support::{PATIENCE, Watchpost, onnxruntime, watchpost};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use testkit::{find_within, http};

/// Fields which have a value or not depending on the moment.
const SOMETIMES_NULL: &[&str] = &[
    "reason",
    "detail",
    "decoder",
    "end_time",
    "detection_frame",
    "age",
];

/// Objects whose keys are data, not fields.
const OPEN: &[&str] = &["skipped", "dropped"];

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/v0.1.0")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("make a folder");
    for entry in std::fs::read_dir(from).expect("read a folder").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).expect("copy a file");
        }
    }
}

/// The hash of the password in the recorded requests.
fn password_hash() -> String {
    let mut child = watchpost()
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start watchpost");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(b"password-of-the-test\n").expect("write");
    drop(input);
    let output = child.wait_with_output().expect("its output");
    assert!(output.status.success());
    String::from_utf8(output.stdout)
        .expect("text")
        .trim()
        .to_owned()
}

/// A recorded file with the words in `@` filled in.
fn read(name: &str, folder: &Path) -> String {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines/demo-model/demo.onnx");
    let text = std::fs::read_to_string(recorded().join(name)).expect("recorded");
    text.replace("@FOLDER@", &folder.display().to_string())
        .replace("@MODEL@", &model.display().to_string())
}

/// A copy of the recorded configuration and data directory.
fn folder() -> Arc<tempfile::TempDir> {
    let folder = tempfile::tempdir().expect("a folder");
    copy(&recorded().join("data"), &folder.path().join("data"));
    let text = read("watchpost.yaml", folder.path()).replace("@PASSWORD_HASH@", &password_hash());
    std::fs::write(folder.path().join("watchpost.yaml"), text).expect("write");
    Arc::new(folder)
}

fn answers(folder: &Path) -> Value {
    serde_json::from_str(&read("answers.json", folder)).expect("JSON")
}

/// The first difference that a client of the old answer would notice: a missing field, another type, an empty list.
fn difference(at: &str, old: &Value, new: &Value) -> Option<String> {
    let field = at.rsplit('.').next().unwrap_or(at);
    match (old, new) {
        (Value::Null, _) => None,
        (_, Value::Null) if SOMETIMES_NULL.contains(&field) => None,
        (Value::Object(_), Value::Object(_)) if OPEN.contains(&field) => None,
        (Value::Object(old), Value::Object(new)) => old.iter().find_map(|(key, old)| {
            let at = format!("{at}.{key}");
            match new.get(key) {
                Some(new) => difference(&at, old, new),
                None => Some(format!("{at} is missing")),
            }
        }),
        (Value::Array(old), Value::Array(new)) => old.iter().find_map(|old| {
            let differences = new
                .iter()
                .map(|new| difference(&format!("{at}[]"), old, new));
            let differences: Vec<_> = differences.collect();
            if differences.contains(&None) {
                return None;
            }
            let first = differences.into_iter().flatten().next();
            Some(first.unwrap_or_else(|| format!("{at} is empty")))
        }),
        // A whole number stays one; a fraction may happen to be whole.
        (Value::Number(old), Value::Number(new)) if old.is_f64() || !new.is_f64() => None,
        (Value::String(_), Value::String(_)) | (Value::Bool(_), Value::Bool(_)) => None,
        _ => Some(format!("{at} was {old} and is {new}")),
    }
}

/// The first value of the past that is not as it was.
fn changed(at: &str, old: &Value, new: &Value) -> Option<String> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => old.iter().find_map(|(key, old)| {
            changed(
                &format!("{at}.{key}"),
                old,
                new.get(key).unwrap_or(&Value::Null),
            )
        }),
        _ => (old != new).then(|| format!("{at} was {old} and is {new}")),
    }
}

/// The first difference of an answer to the recorded one.
fn answer_difference(old: &Value, new: &http::Answer) -> Option<String> {
    let text = || String::from_utf8_lossy(&new.body);
    if old["status"] != new.status {
        return Some(format!("status {}: {}", new.status, text()));
    }
    let media_type = new.header("content-type").unwrap_or_default();
    if old["type"] != media_type {
        return Some(format!("media type {media_type}"));
    }
    if let Some(json) = old.get("json") {
        let now: Value = match serde_json::from_slice(&new.body) {
            Ok(now) => now,
            Err(error) => return Some(format!("{error}: {}", text())),
        };
        let path = old["path"].as_str().unwrap_or_default();
        let number = path.rsplit('/').next().unwrap_or_default();
        let is_history = number.parse::<u64>().is_ok() && old["status"] == 200;
        return difference("answer", json, &now)
            .or_else(|| is_history.then(|| changed("answer", json, &now)).flatten());
    }
    if let Some(metrics) = old.get("metrics").and_then(Value::as_array) {
        let now = text();
        let missing = metrics.iter().filter_map(Value::as_str);
        let mut missing =
            missing.filter(|metric| !now.lines().any(|l| l == format!("# TYPE {metric}")));
        return missing.next().map(|metric| format!("no metric {metric}"));
    }
    let length = old.get("length").and_then(Value::as_u64);
    length
        .is_some_and(|length| length != new.body.len() as u64)
        .then(|| format!("{} bytes", new.body.len()))
}

/// Sends a recorded request.
fn ask(watchpost: &Watchpost, old: &Value) -> http::Answer {
    let text = |key: &str| old[key].as_str().unwrap_or_default();
    let headers = old["headers"].as_object().expect("headers").iter();
    let headers: String = headers
        .map(|(key, value)| format!("{key}: {}\r\n", value.as_str().unwrap_or_default()))
        .collect();
    if text("type").starts_with("multipart/") {
        return http::head_of(watchpost.address(), text("method"), text("path"), &headers);
    }
    watchpost.ask(text("method"), text("path"), &headers, text("body"))
}

/// The first event of each kind in the stream.
fn stream(watchpost: &Watchpost, kinds: &Value) -> Value {
    let headers = "Authorization: Bearer admin-token-of-the-test\r\n";
    let lines = watchpost.send("GET", "/api/events/stream?after=0", headers, "");
    let (mut found, mut kind) = (serde_json::Map::new(), String::new());
    for line in BufReader::new(lines).lines() {
        let line = line.expect("the stream goes on");
        if let Some(name) = line.strip_prefix("event:") {
            kind = name.trim().to_owned();
        } else if let Some(data) = line.strip_prefix("data:") {
            let data = serde_json::from_str(data).expect("JSON");
            found.entry(kind.clone()).or_insert(data);
            if kinds
                .as_object()
                .expect("kinds")
                .keys()
                .all(|kind| found.contains_key(kind))
            {
                return found.into();
            }
        }
    }
    panic!("the stream ended after {found:?}");
}

#[test]
fn data_and_clients_of_version_0_1_0_keep_working() {
    if onnxruntime().is_none() {
        return;
    }
    let folder = folder();
    let checked = watchpost()
        .arg("check")
        .arg(folder.path().join("watchpost.yaml"))
        .output()
        .expect("run watchpost check");
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");

    let old = answers(folder.path());
    let daemon = Watchpost::start_in(folder, watchpost());
    let streamed = stream(&daemon, &old["stream"]);
    assert_eq!(difference("stream", &old["stream"], &streamed), None);
    for old in old["answers"].as_array().expect("answers") {
        let mut last = None;
        // What is read may take a moment until it is there, as when it was recorded; a change is sent once.
        let limit = if old["method"] == "GET" {
            PATIENCE
        } else {
            std::time::Duration::ZERO
        };
        let same = find_within(limit, || {
            last = answer_difference(old, &ask(&daemon, old));
            last.is_none().then_some(())
        });
        assert!(
            same.is_some(),
            "{} {}: {last:?}\nrecorded: {old}\n{}",
            old["method"],
            old["path"],
            daemon.log()
        );
    }
}

#[test]
fn a_data_directory_of_version_0_1_0_is_recorded_into() {
    let folder = folder();
    let path = folder.path().join("watchpost.yaml");
    let mut text = std::fs::read_to_string(&path).expect("read");
    text.push_str("record: {enabled: true, continuous: {days: 1}}\n");
    std::fs::write(&path, text).expect("write");
    let daemon = Watchpost::start_in(folder, watchpost());
    let token = "Authorization: Bearer read-only-token-of-the-test\r\n";
    let get = |path: &str| -> Value {
        let answer = daemon.ask("GET", path, token, "");
        assert_eq!(answer.status, 200, "{path}: {}", answer.head);
        serde_json::from_slice(&answer.body).expect("JSON")
    };
    let footage = find_within(PATIENCE, || {
        let recorded = get("/api/cameras/yard/recordings?after=0&before=4000000000");
        let spans = recorded["spans"].as_array().expect("spans");
        let bytes = spans.first().and_then(|span| span["bytes"].as_u64());
        bytes.filter(|bytes| *bytes > 0)
    });
    assert!(footage.is_some(), "{}", daemon.log());
    // What the old version stored is still there.
    for path in ["/api/events", "/api/media"] {
        let list = get(path);
        assert!(
            list.as_array().is_some_and(|list| !list.is_empty()),
            "{path}: {list}"
        );
    }
}

#[test]
fn command_lines_of_version_0_1_0_keep_working() {
    let old = answers(Path::new("/nowhere"));
    for (command, options) in old["commands"].as_object().expect("commands") {
        let output = watchpost()
            .args([command, "--help"])
            .output()
            .expect("run watchpost");
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{command}: {help}");
        let words: Vec<_> = help
            .split(|c: char| c.is_whitespace() || c == ',')
            .collect();
        for option in options.as_array().expect("options") {
            let option = option.as_str().expect("an option");
            assert!(words.contains(&option), "{command} {option}: {help}");
        }
    }
}

#[test]
fn a_client_notices_missing_fields_other_types_and_empty_lists() {
    let old = serde_json::json!({"id": 1, "list": [{"score": 0.5}], "reason": "x", "gone": null});
    let same =
        serde_json::json!({"id": 2, "list": [{"score": 1, "new": 1}], "reason": null, "gone": 1});
    assert_eq!(difference("a", &old, &same), None);
    for (field, value, expected) in [
        ("id", serde_json::json!(1.5), "a.id was 1 and is 1.5"),
        ("id", serde_json::json!(null), "a.id was 1 and is null"),
        ("list", serde_json::json!([]), "a.list is empty"),
        ("list", serde_json::json!([{}]), "a.list[].score is missing"),
        (
            "list",
            serde_json::json!({}),
            "a.list was [{\"score\":0.5}] and is {}",
        ),
    ] {
        let mut new = same.clone();
        new[field] = value;
        assert_eq!(difference("a", &old, &new).as_deref(), Some(expected));
    }
}
