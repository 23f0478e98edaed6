//! Who may ask what, where other machines can reach Watchpost; and the interface as it describes itself.

use crate::support::{Watchpost, watchpost, write_config};
use std::io::Write;
use std::process::Stdio;

const CAMERA: &str = "cameras:\n  a:\n    source: {test: {scene: walkers, width: 128, height: 96, fps: 5}}\n    detect: {width: 128, height: 96, fps: 5}\n";

/// What `watchpost hash-password` makes of a password.
fn hash(password: &str) -> String {
    let mut child = watchpost()
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{password}").unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn without_credentials_other_machines_are_not_served() {
    let folder = tempfile::tempdir().unwrap();
    let file = write_config(
        folder.path(),
        &format!("http: {{listen: \"0.0.0.0:0\"}}\n{CAMERA}"),
    );
    let output = watchpost().args(["run", "-c"]).arg(&file).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("http.tokens or http.users"), "{text}");
}

#[test]
fn roles_are_kept_where_other_machines_can_ask() {
    let watchpost = Watchpost::start(&format!(
        "http:\n  listen: \"0.0.0.0:0\"\n  tokens:\n    - {{token: reading-token-1, role: read-only}}\n    - {{token: changing-token-1, role: admin}}\n  users:\n    anna: {{password: \"{}\", role: read-only}}\n{CAMERA}",
        hash("kein Geheimnis")
    ));
    let put = |headers: &str| {
        let headers = format!("Content-Type: application/json\r\n{headers}");
        let body = r#"{"friendly_name": "A"}"#;
        watchpost
            .request("PATCH", "/api/cameras/a", &headers, body)
            .0
    };
    let get = |headers: &str| watchpost.request("GET", "/api/cameras", headers, "").0;
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    // anna:kein Geheimnis, and anna:geraten
    let (right, wrong) = (
        "Authorization: Basic YW5uYTprZWluIEdlaGVpbW5pcw==\r\n",
        "Authorization: Basic YW5uYTpnZXJhdGVu\r\n",
    );
    assert_eq!((get(""), put("")), (401, 401));
    assert_eq!(get(&bearer("guessed-token-1")), 401);
    assert_eq!(get(wrong), 401);
    let reading = bearer("reading-token-1");
    assert_eq!((get(&reading), put(&reading)), (200, 403));
    assert_eq!((get(right), put(right)), (200, 403));
    let changing = bearer("changing-token-1");
    assert_eq!((get(&changing), put(&changing)), (200, 200));
    assert_eq!(watchpost.request("GET", "/healthz", "", "").0, 200);
    for path in [
        "/readyz",
        "/metrics",
        "/api/openapi.json",
        "/api/events",
        "/nothing",
    ] {
        assert_eq!(watchpost.request("GET", path, "", "").0, 401, "{path}");
    }
    let (_, shown) = watchpost.request("GET", "/api/config", &changing, "");
    let seen = shown + &watchpost.log();
    assert!(
        !seen.contains("reading-token-1")
            && !seen.contains("changing-token-1")
            && !seen.contains("argon2"),
        "{seen}"
    );
}

#[test]
fn the_interface_describes_itself_as_it_is() {
    let watchpost = Watchpost::start(CAMERA);
    let camera = watchpost.wait_streaming("a");
    let document = watchpost.get("/api/openapi.json");
    assert_eq!(document["openapi"], "3.1.0");
    let said = &document["components"]["schemas"]["CameraStatus"];
    for key in camera.as_object().unwrap().keys() {
        assert!(
            said["properties"][key].is_object(),
            "{key} is not described"
        );
    }
    for key in said["required"].as_array().unwrap() {
        let there = camera
            .as_object()
            .unwrap()
            .contains_key(key.as_str().unwrap());
        assert!(there, "{key} is required and not there");
    }
    for (path, methods) in document["paths"].as_object().unwrap() {
        // A stream does not end; what has a name in its path needs a camera.
        if methods["get"].is_null() || path.ends_with("/stream") || path.contains("{id}") {
            continue;
        }
        let (code, body) = watchpost.request("GET", &path.replace("{name}", "a"), "", "");
        assert_eq!(code, 200, "{path}: {body}");
    }
    for path in [
        "/api/events/last",
        "/api/events?limit=many",
        "/api/events?page=2",
    ] {
        let (code, body) = watchpost.request("GET", path, "", "");
        assert_eq!(code, 400, "{path}: {body}");
        assert!(body.starts_with("{\"error\":"), "{path}: {body}");
    }
}
