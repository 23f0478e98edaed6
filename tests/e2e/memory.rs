//! Memory for rings is handed out, and where it ends one camera is refused and the others go on.

use crate::support::{Watchpost, in_own_mounts};
use serde_json::{Value, json};

const JSON: &str = "Content-Type: application/json\r\n";

/// A camera whose source has this size; `detect` says what is asked for.
fn camera(width: u32, height: u32, detect: Value) -> Value {
    json!({
        "source": {"test": {"scene": "still", "width": width, "height": height, "fps": 5}},
        "detect": detect,
    })
}

fn put(watchpost: &Watchpost, name: &str, camera: &Value) {
    let path = format!("/api/cameras/{name}");
    let (code, answer) = watchpost.request("PUT", &path, JSON, &camera.to_string());
    assert_eq!(code, 200, "{answer}");
}

fn slots(camera: &Value) -> u64 {
    camera["ring"]["slots"].as_u64().expect("a ring")
}

#[test]
fn a_camera_too_large_for_the_memory_is_refused_alone_and_guesses_are_corrected() {
    // 200 MiB are available, 180 usable, a quarter of them for rings: 45.
    let folder = tempfile::tempdir().unwrap();
    let meminfo = folder.path().join("meminfo");
    std::fs::write(&meminfo, "MemTotal: 1000000 kB\nMemAvailable: 204800 kB\n").unwrap();
    let script = format!("mount --bind {} /proc/meminfo", meminfo.display());
    let Some(command) = in_own_mounts(&script) else {
        return;
    };
    let cameras = json!({
        "small": camera(320, 180, json!({"width": 320, "height": 180})),
        // Six slots of it, what its readers hold and two, take 71 MiB.
        "huge": camera(320, 180, json!({"width": 3840, "height": 2160, "fps": 1})),
        // Nobody knows its size before it streams.
        "guess": camera(320, 180, json!({})),
    });
    let watchpost = Watchpost::start_by(command, &format!("cameras: {cameras}\n"));

    let huge = watchpost.wait_for("huge", "is refused", |c| c["state"] == "failed");
    let reason = huge["reason"].as_str().unwrap();
    let numbers: Vec<u64> = reason
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect();
    let [slots_needed, _, needed, free] = numbers[..] else {
        panic!("slots, bytes needed and bytes free: {reason}");
    };
    assert_eq!(slots_needed, 6, "{reason}");
    assert!(
        needed > 6 * 3840 * 2160 * 3 / 2 && free < needed,
        "{reason}"
    );
    assert!(slots(&watchpost.wait_streaming("small")) >= 6);
    let guess = watchpost.wait_streaming("guess");
    // Taken for 1080p it got fewer slots than usual, and keeps them: what is smaller fits.
    assert!((6..16).contains(&slots(&guess)), "{guess}");

    // What it does not need is there for others: 1080p would not fit beside the guess.
    let wide = camera(320, 180, json!({"width": 1920, "height": 1080, "fps": 1}));
    put(&watchpost, "wide", &wide);
    let wide = watchpost.wait_streaming("wide");
    assert!((10..16).contains(&slots(&wide)), "{wide}");
    let log = watchpost.log();
    let warned = log.lines().any(|line| {
        line.contains("camera wide: ring of")
            && line.contains("instead of 16")
            && line.contains("MiB")
    });
    assert!(warned, "{log}");

    // A guess that was too small is corrected before anything is put into memory.
    let path = "/api/cameras/wide";
    // It begins as soon as the other one has given its memory back.
    assert_eq!(watchpost.request("DELETE", path, JSON, "").0, 200);
    put(&watchpost, "larger", &camera(2560, 1440, json!({"fps": 1})));
    let larger = watchpost.wait_streaming("larger");
    let bytes = slots(&larger) * larger["ring"]["slot_bytes"].as_u64().unwrap();
    assert_eq!(larger["ring"]["width"], 2560);
    assert!((6..10).contains(&slots(&larger)), "{larger}");
    assert!(bytes < 45 << 20, "{larger}");
    assert_eq!(larger["reconnects_last_hour"], 0, "{larger}");
    assert_eq!(watchpost.camera("huge")["state"], "failed");
}
