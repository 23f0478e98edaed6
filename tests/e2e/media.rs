//! What tasks made, over HTTP: listed, fetched in parts, removed; nothing else of the disk. And the live picture.

use crate::support::{Watchpost, eventually, kill, watchpost, write_config};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

const CAMERA: &str = "cameras:\n  front:\n    source: {test: {scene: walkers, width: 320, height: 240, fps: 10}}\n    detect: {enabled: false}\n";
const PHOTO: &str = "2026-01-01/10-00-00.000-photo.jpg";
const SHOT: &str = "2026-01-01/10-00-01.500-series-garden-000007.jpg";
const FILM: &str = "2026-01-02/11-00-00.000-video.mp4";

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// A folder with a configuration and media of an earlier run, whose index was lost.
fn folder(rest: &str) -> Arc<tempfile::TempDir> {
    let folder = tempfile::tempdir().unwrap();
    write_config(folder.path(), rest);
    let media = folder.path().join("data/media/front");
    write(&media.join(PHOTO), b"\xff\xd8\xff photo");
    write(
        &media.join(format!(".thumbnails/{PHOTO}.jpg")),
        b"\xff\xd8\xff small",
    );
    write(&media.join(SHOT), b"\xff\xd8\xff shot");
    let film: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
    write(&media.join(FILM), &film);
    write(&folder.path().join("data/secret"), b"secret");
    Arc::new(folder)
}

/// Status, lower-case head and body of an answer.
fn fetch(watchpost: &Watchpost, method: &str, path: &str, headers: &str) -> (u16, String, Vec<u8>) {
    let answer = watchpost.ask(method, path, headers, "");
    (answer.status, answer.head.to_ascii_lowercase(), answer.body)
}

fn list(watchpost: &Watchpost, query: &str) -> Vec<Value> {
    let list = watchpost.get(&format!("/api/media{query}"));
    list.as_array().expect("a list").clone()
}

fn names(items: &[Value]) -> Vec<&str> {
    items.iter().map(|i| i["name"].as_str().unwrap()).collect()
}

#[test]
fn media_are_listed_fetched_in_parts_and_removed() {
    let folder = folder(CAMERA);
    let watchpost = Watchpost::start_in(folder.clone(), watchpost());
    eventually("the files are in the list", || {
        list(&watchpost, "").len() == 3
    });
    let all = list(&watchpost, "");
    assert_eq!(names(&all), [FILM, SHOT, PHOTO]);
    assert_eq!(names(&list(&watchpost, "?camera=front&task=video")), [FILM]);
    assert_eq!(names(&list(&watchpost, "?series=garden")), [SHOT]);
    assert_eq!(list(&watchpost, "?camera=back"), Vec::<Value>::new());
    let page = format!("?limit=1&before_id={}", all[0]["id"]);
    assert_eq!(names(&list(&watchpost, &page)), [SHOT]);
    let after = format!("?after={}", all[1]["time"]);
    assert_eq!(names(&list(&watchpost, &after)), [FILM, SHOT]);
    assert_eq!(
        watchpost.request("GET", "/api/media?task=dance", "", "").0,
        400
    );
    let film = &all[0];
    assert_eq!(
        (&film["size"], &film["media_type"], &film["thumbnail_url"]),
        (&json!(100_000), &json!("video/mp4"), &Value::Null)
    );
    assert_eq!(watchpost.get(&format!("/api/media/{}", film["id"])), *film);

    let url = film["url"].as_str().unwrap();
    let (code, head, whole) = fetch(&watchpost, "GET", url, "");
    assert_eq!((code, whole.len()), (200, 100_000), "{head}");
    assert!(head.contains("content-type: video/mp4"), "{head}");
    let name = "inline; filename=\"front-2026-01-02-11-00-00.000-video.mp4\"";
    assert!(head.contains(name), "{head}");
    let (code, head, part) = fetch(&watchpost, "GET", url, "Range: bytes=1000-1999\r\n");
    assert_eq!((code, part.as_slice()), (206, &whole[1000..2000]), "{head}");
    assert!(
        head.contains("content-range: bytes 1000-1999/100000"),
        "{head}"
    );
    assert!(head.contains("content-type: video/mp4"), "{head}");
    let (code, _, end) = fetch(&watchpost, "GET", url, "Range: bytes=-10\r\n");
    assert_eq!((code, end.as_slice()), (206, &whole[99_990..]));
    for unread in ["bytes=0-1,5-6", "lines=0-1", "bytes=first", "bytes=-"] {
        let (code, ..) = fetch(&watchpost, "GET", url, &format!("Range: {unread}\r\n"));
        assert_eq!(code, 200, "{unread}");
    }
    let (code, ..) = fetch(&watchpost, "GET", url, "Range: bytes=100000-\r\n");
    assert_eq!(code, 416);
    let (code, head, none) = fetch(&watchpost, "HEAD", url, "");
    assert_eq!((code, none.len()), (200, 0));
    assert!(head.contains("content-length: 100000"), "{head}");
    let changed = head.lines().find_map(|l| l.strip_prefix("last-modified: "));
    // Dates have capital letters.
    let (_, text, _) = fetch(
        &watchpost,
        "GET",
        url,
        "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n",
    );
    assert!(
        changed.is_some() && text.starts_with("http/1.0 304"),
        "{text}"
    );

    let photo = &all[2];
    let thumbnail = photo["thumbnail_url"].as_str().unwrap();
    let (code, head, body) = fetch(&watchpost, "GET", thumbnail, "");
    assert_eq!((code, body.as_slice()), (200, &b"\xff\xd8\xff small"[..]));
    assert!(head.contains("content-type: image/jpeg"), "{head}");
    let missing = format!("/api/media/{}/thumbnail", film["id"]);
    assert_eq!(watchpost.request("GET", &missing, "", "").0, 404);

    let one = format!("/api/media/{}", photo["id"]);
    let (code, answer) = watchpost.request("DELETE", &one, "", "");
    assert_eq!(code, 200, "{answer}");
    assert_eq!(watchpost.request("DELETE", &one, "", "").0, 404);
    assert_eq!(watchpost.request("GET", thumbnail, "", "").0, 404);
    let media = folder.path().join("data/media/front");
    assert!(!media.join(PHOTO).exists());
    assert!(!media.join(format!(".thumbnails/{PHOTO}.jpg")).exists());
    assert_eq!(names(&list(&watchpost, "")), [FILM, SHOT]);
    eventually("it is counted", || {
        let (_, metrics) = watchpost.request("GET", "/metrics", "", "");
        metrics.contains("watchpost_media_files{camera=\"front\"} 2")
    });
    let mut stream = BufReader::new(watchpost.send("GET", "/api/events/stream?after=0", "", ""));
    let mut told = String::new();
    while told.trim() != "event: media" {
        told.clear();
        assert!(stream.read_line(&mut told).unwrap() > 0, "the stream ended");
    }

    let output = self::watchpost()
        .args(["media", "--camera", "front", "--task", "series", "--listen"])
        .arg(watchpost.address().to_string())
        .output()
        .unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.contains(&format!("front/{SHOT}")), "{table}");
}

#[test]
fn nothing_else_of_the_disk_is_handed_out_and_only_who_may_removes() {
    let tokens = "http:\n  listen: \"127.0.0.1:0\"\n  tokens:\n    - {token: reading-token-1}\n    - {token: changing-token-1, role: admin}\n";
    let folder = folder(&format!("{tokens}{CAMERA}"));
    let reading = "Authorization: Bearer reading-token-1\r\n";
    let changing = "Authorization: Bearer changing-token-1\r\n";
    let watchpost = Watchpost::start_in(folder.clone(), watchpost());
    let ask = |method: &str, path: &str, who: &str| fetch(&watchpost, method, path, who);
    let items =
        || -> Vec<Value> { serde_json::from_slice(&ask("GET", "/api/media", reading).2).unwrap() };
    eventually("the files are in the list", || items().len() == 3);
    let film = items()[0]["url"].as_str().unwrap().to_owned();
    assert_eq!(ask("GET", &film, "").0, 401);
    assert_eq!(ask("GET", &film, reading).0, 200);
    for path in [
        "/api/media/../../secret",
        "/api/media/..%2f..%2fsecret/file",
        "/api/media/1%2f..%2f..%2fsecret/file",
        "/api/media/-1/file",
        "/api/media/99999/file",
        "/api/media/secret/file",
        "/api/media/1/file/../../secret",
        "/media/front/secret",
    ] {
        let (code, _, body) = ask("GET", path, reading);
        assert!([400, 404].contains(&code), "{path}: {code}");
        assert!(!body.windows(6).any(|w| w == b"secret") || code != 200);
    }
    // A link that takes the place of a file is not followed, nor is one of its folder.
    let media = folder.path().join("data/media/front");
    std::fs::remove_file(media.join(FILM)).unwrap();
    std::os::unix::fs::symlink(folder.path().join("data/secret"), media.join(FILM)).unwrap();
    let (code, _, body) = ask("GET", &film, reading);
    assert!(code == 404 || code == 500, "{code}");
    assert!(!body.windows(6).any(|w| w == b"secret"));
    let one = film.trim_end_matches("/file");
    assert_eq!(ask("DELETE", one, reading).0, 403);
    assert_eq!(ask("DELETE", one, changing).0, 200);
    assert!(
        folder.path().join("data/secret").exists(),
        "the link went, not where it led"
    );
}

/// The next picture of a stream of them.
fn picture(stream: &mut impl BufRead) -> Vec<u8> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        assert!(
            stream.read_line(&mut line).unwrap() > 0,
            "the stream goes on"
        );
        let line = line.trim().to_ascii_lowercase();
        if let Some(text) = line.strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        } else if line.is_empty() && length > 0 {
            let mut jpeg = vec![0; length];
            stream.read_exact(&mut jpeg).unwrap();
            assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.ends_with(&[0xff, 0xd9]));
            return jpeg;
        }
    }
}

#[test]
fn the_live_picture_runs_while_somebody_looks() {
    let watchpost = Watchpost::start(CAMERA);
    watchpost.wait_streaming("front");
    let live = || {
        let tasks = watchpost.get("/api/cameras/front/tasks");
        let tasks = tasks.as_array().unwrap();
        let live = tasks.iter().find(|task| task["task"] == "live").unwrap();
        live["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(live(), "idle");
    let path = "/api/cameras/front/live.mjpg";
    let mut viewer = BufReader::new(watchpost.send("GET", path, "", ""));
    let first = picture(&mut viewer);
    assert_eq!(live(), "active");
    // This one never reads on.
    let stalled = watchpost.send("GET", path, "", "");
    let differ = (0..20).filter(|_| picture(&mut viewer) != first).count();
    assert!(differ > 10, "the picture moves");
    let (code, head, jpeg) = fetch(&watchpost, "GET", "/api/cameras/front/snapshot.jpg", "");
    assert_eq!(code, 200, "{head}");
    assert!(head.contains("content-type: image/jpeg"), "{head}");
    assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.ends_with(&[0xff, 0xd9]));

    // The worker dies: viewers stay, and see the next one's pictures.
    let pid = watchpost.camera("front")["capture_pid"].as_u64().unwrap() as u32;
    kill(pid, rustix::process::Signal::KILL);
    watchpost.wait_for("front", "has another worker", |c| {
        c["capture_pid"]
            .as_u64()
            .is_some_and(|new| new != u64::from(pid))
    });
    let last = picture(&mut viewer);
    let more = (0..40).filter(|_| picture(&mut viewer) != last).count();
    assert!(more > 20, "the picture moves again");

    assert_eq!(
        watchpost
            .request("GET", "/api/cameras/nobody/live.mjpg", "", "")
            .0,
        404
    );
    assert_eq!(
        watchpost
            .request("GET", "/api/cameras/nobody/snapshot.jpg", "", "")
            .0,
        404
    );
    drop((viewer, stalled));
    eventually("it ends after the last viewer", || live() == "idle");
    let off = r#"{"enabled": false}"#;
    let json = "Content-Type: application/json\r\n";
    assert_eq!(
        watchpost
            .request("PATCH", "/api/cameras/front", json, off)
            .0,
        200
    );
    eventually("a camera that does not run has no picture", || {
        let (code, answer) = watchpost.request("GET", path, "", "");
        code == 503 && answer.contains("disabled")
    });
}
