//! Who may ask what, where other machines can reach Watchpost; and the interface as it describes itself.

use crate::support::{Watchpost, eventually, watchpost, write_config};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::process::Stdio;
use std::time::Duration;

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
    let status = |token: &[&str]| {
        let address = watchpost.address().to_string();
        let mut command = crate::support::watchpost();
        command.args(["status", "--listen", &address]).args(token);
        command.env_remove("WATCHPOST_TOKEN").output().unwrap()
    };
    assert!(status(&["--token", "reading-token-1"]).status.success());
    let refused = String::from_utf8(status(&[]).stderr).unwrap();
    assert!(refused.contains("--token or WATCHPOST_TOKEN"), "{refused}");
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
        // Streams do not end, pictures are no text, and of what has a number there is none yet.
        let content = &methods["get"]["responses"]["200"]["content"];
        let text = [
            "application/json",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            "image/svg+xml",
        ];
        if text.iter().all(|kind| content[kind].is_null()) || path.contains("{id}") {
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

/// A port of 127.0.0.1 that nobody has at this moment.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn the_interface_changes_while_it_runs_and_open_connections_go_on() {
    let mut watchpost = Watchpost::start(CAMERA);
    watchpost.wait_streaming("a");
    let before = std::fs::read_to_string(watchpost.config_file()).unwrap();
    let mut stream = BufReader::new(watchpost.send("GET", "/api/events/stream", "", ""));
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert!(line.contains("200"), "{line}");

    // Another port, and from now on only with a token.
    let port = free_port();
    let listen = |text: &str, http: &str| {
        text.replace(
            "http: {listen: \"127.0.0.1:0\"}",
            &format!("http: {{{http}}}"),
        )
    };
    let token = "tokens: [{token: \"first-token-1\", role: admin}]";
    let http = format!("listen: \"127.0.0.1:{port}\", {token}");
    std::fs::write(watchpost.config_file(), listen(&before, &http)).unwrap();
    let old = watchpost.move_to(port);
    eventually("the old port is closed", || {
        std::net::TcpStream::connect(old).is_err()
    });
    let get = |watchpost: &Watchpost, token: &str| {
        let header = format!("Authorization: Bearer {token}\r\n");
        watchpost.request("GET", "/api/cameras/a", &header, "").0
    };
    assert_eq!(get(&watchpost, "guessed-token-1"), 401);
    assert_eq!(get(&watchpost, "first-token-1"), 200);
    // Who listened before listens on: nobody hung up.
    stream
        .get_ref()
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut rest = Vec::new();
    let end = stream.read_to_end(&mut rest);
    assert!(end.is_err_and(|e| e.kind() == ErrorKind::WouldBlock));

    // Another token, and the same port of all interfaces.
    let token = "tokens: [{token: \"second-token-1\", role: admin}]";
    let http = format!("listen: \"0.0.0.0:{port}\", {token}");
    std::fs::write(watchpost.config_file(), listen(&before, &http)).unwrap();
    eventually("it listens everywhere", || {
        watchpost
            .log()
            .contains(&format!("listening on http://0.0.0.0:{port}"))
    });
    assert_eq!(get(&watchpost, "first-token-1"), 401);
    assert_eq!(get(&watchpost, "second-token-1"), 200);

    // Without credentials it would not be safe, so all stays as it is.
    let http = format!("listen: \"0.0.0.0:{port}\"");
    std::fs::write(watchpost.config_file(), listen(&before, &http)).unwrap();
    eventually("that is refused", || {
        watchpost
            .log()
            .contains("it needs http.tokens or http.users")
    });
    assert_eq!(get(&watchpost, ""), 401);
    // A port somebody else has: it stays where it is, and says so.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let http = format!("listen: \"{}\", {token}", taken.local_addr().unwrap());
    std::fs::write(watchpost.config_file(), listen(&before, &http)).unwrap();
    eventually("that is told", || {
        watchpost
            .log()
            .contains(&format!("it stays 0.0.0.0:{port}"))
    });
    watchpost.move_to(port);
    assert_eq!(get(&watchpost, "second-token-1"), 200);
}

#[test]
fn an_address_that_cannot_be_had_is_refused_before_anything_changes() {
    let watchpost = Watchpost::start(CAMERA);
    let before = std::fs::read_to_string(watchpost.config_file()).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let mut config = watchpost.get("/api/config");
    config["cameras"]["a"]["friendly_name"] = "Gate".into();
    // In use; an address of documentation, which this machine does not have.
    for (listen, why) in [
        (taken.as_str(), "in use"),
        ("192.0.2.1:8080", "Cannot assign"),
    ] {
        config["http"] =
            serde_json::json!({"listen": listen, "tokens": [{"token": "some-token-123456"}]});
        for path in ["/api/config?dry_run=1", "/api/config"] {
            let json = "Content-Type: application/json\r\n";
            let (code, answer) = watchpost.request("POST", path, json, &config.to_string());
            assert_eq!(code, 409, "{answer}");
            assert!(answer.contains(listen) && answer.contains(why), "{answer}");
        }
    }
    assert_eq!(
        std::fs::read_to_string(watchpost.config_file()).unwrap(),
        before
    );
    assert!(watchpost.camera("a")["friendly_name"].is_null());
    // Where it listens already, and where somebody else does not.
    config["http"] = serde_json::json!({"listen": format!("127.0.0.1:{}", free_port())});
    let json = "Content-Type: application/json\r\n";
    let path = "/api/config?dry_run=1";
    assert_eq!(
        watchpost.request("POST", path, json, &config.to_string()).0,
        200
    );
}

#[test]
fn more_is_not_allowed_over_http_than_the_file_allows() {
    let watchpost = Watchpost::start(CAMERA);
    let json = "Content-Type: application/json\r\n";
    let mut config = watchpost.get("/api/config");
    config["http"]["allow_local_sources"] = true.into();
    let (code, answer) = watchpost.request("POST", "/api/config", json, &config.to_string());
    assert_eq!(code, 403, "{answer}");
    let launch = r#"{"source": {"launch": "videotestsrc"}}"#;
    assert_eq!(
        watchpost.request("PUT", "/api/cameras/b", json, launch).0,
        403
    );
    // The file may, and it counts at once.
    let text = std::fs::read_to_string(watchpost.config_file()).unwrap();
    let text = text.replace("http: {", "http: {allow_local_sources: true, ");
    std::fs::write(watchpost.config_file(), text).unwrap();
    eventually("local sources are allowed", || {
        watchpost
            .request("PUT", "/api/cameras/b?dry_run=1", json, launch)
            .0
            == 200
    });
}
