//! The commands people type.

use crate::support::{Watchpost, watchpost};
use std::process::Output;

const CAMERA: &str = "cameras:\n  a:\n    source: {test: {scene: walkers, width: 128, height: 96, fps: 5}}\n    detect: {width: 128, height: 96, fps: 5}\n";

fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = watchpost().args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn a_plan_and_a_schema_are_printed_and_frigate_is_imported() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let old = file("old.yaml", CAMERA);
    let new = file(
        "new.yaml",
        &format!(
            "http: {{listen: \"127.0.0.1:1\"}}\ndata_dir: elsewhere\n{}  b:\n    source: {{test: still}}\n",
            CAMERA.replace(
                "detect: {width: 128, height: 96, fps: 5}",
                "detect: {width: 160, height: 120, fps: 5}"
            )
        ),
    );
    let (code, text, errors) = run(&["plan", &old, &new]);
    assert_eq!(code, 0, "{errors}");
    for line in [
        "the HTTP interface takes over http.listen",
        "data_dir: takes effect at the next start",
        "a: restarts (detect.width, detect.height)",
        "b: starts",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let (code, text, _) = run(&["plan", &old, &old]);
    assert_eq!((code, text.trim()), (0, "nothing would happen"));

    let (code, text, _) = run(&["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 0);
    assert!(schema["properties"]["cameras"].is_object(), "{schema}");

    let frigate = file(
        "frigate.yml",
        "mqtt: {host: broker}\nbirdseye: {enabled: true}\ncameras:\n  yard:\n    ffmpeg:\n      inputs:\n        - path: rtsp://10.0.0.5/sub\n          roles: [detect]\n    detect: {width: 640, height: 360, fps: 5}\n",
    );
    let (code, text, left_out) = run(&["import-frigate", &frigate]);
    assert_eq!(code, 0, "{left_out}");
    assert!(left_out.contains("birdseye"), "{left_out}");
    assert!(text.contains("host: broker"), "{text}");
    let imported = file("imported.yaml", &text);
    let (code, _, errors) = run(&["check", &imported]);
    assert_eq!(code, 0, "{errors}\n{text}");
    assert!(text.contains("rtsp://10.0.0.5/sub"), "{text}");

    let (code, text, errors) = run(&["devices"]);
    assert_eq!(code, 0, "{errors}");
    assert!(!text.is_empty());
}

#[test]
fn a_launch_line_is_checked_without_being_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.yaml");
    let marker = folder.path().join("opened");
    let text = format!(
        "cameras:\n  a:\n    source: {{launch: \"videotestsrc ! nosuchelement\"}}\n  b:\n    sources:\n    \
         - {{launch: \"videotestsrc patern=ball\", roles: [detect]}}\n    \
         - {{launch: \"videotestsrc ! tee name=t ! filesink location={} t.\", roles: [record]}}\n",
        marker.display()
    );
    std::fs::write(&file, text).unwrap();
    let (code, _, errors) = run(&["check", &file.display().to_string()]);
    let errors: Vec<_> = errors
        .lines()
        .filter(|l| !l.contains("(warning)"))
        .collect();
    assert_eq!((code, errors.len()), (1, 2), "{errors:#?}");
    for (line, place, said) in [
        (
            errors[0],
            ":3:22: cameras.a.source.launch: ",
            "\"nosuchelement\"",
        ),
        (
            errors[1],
            ":6:16: cameras.b.sources[0].launch: ",
            "\"patern\"",
        ),
    ] {
        assert!(line.contains(place) && line.contains(said), "{line}");
    }
    assert!(!marker.exists(), "the line was run");
}

#[test]
fn the_status_of_a_running_watchpost_is_printed() {
    let watchpost = Watchpost::start(CAMERA);
    watchpost.wait_streaming("a");
    let address = watchpost.address().to_string();
    let (code, table, errors) = run(&["status", "--listen", &address]);
    assert_eq!(code, 0, "{errors}");
    let row = table.lines().find(|line| line.starts_with("a "));
    assert!(row.is_some_and(|row| row.contains("streaming")), "{table}");
    let (code, text, _) = run(&["status", "--json", "--listen", &address]);
    let status: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 0);
    assert_eq!(status["pid"], watchpost.pid());
    for process in status["processes"].as_array().unwrap() {
        assert!(process["unshared_bytes"].as_u64() > Some(0), "{process}");
    }
    let (code, _, errors) = run(&["task", "x", "photo", "start", "--listen", &address]);
    assert_eq!(code, 1);
    assert_eq!(errors.trim(), "watchpost: there is no camera \"x\"");
    let (code, _, errors) = run(&["status", "--listen", "127.0.0.1:1"]);
    assert_ne!(code, 0);
    assert!(
        errors.contains("no watchpost answers at 127.0.0.1:1"),
        "{errors}"
    );
}
