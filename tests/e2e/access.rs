//! Who may ask what, where other machines can reach Watchpost; and the interface as it describes itself.

use crate::support::{Watchpost, eventually, watchpost, write_config};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
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
fn a_viewer_of_one_camera_learns_nothing_of_the_other() {
    let cameras: String = ["amber", "birch"]
        .map(|name| {
            format!(
                "  {name}:\n    source: {{test: {{scene: walkers, width: 128, height: 96, fps: 5}}}}\n    detect: {{width: 128, height: 96, fps: 5}}\n"
            )
        })
        .concat();
    let watchpost = Watchpost::start(&format!(
        "http:\n  listen: \"127.0.0.1:0\"\n  tokens:\n    - {{token: all, role: admin}}\n    - {{token: one, role: viewer, cameras: [amber]}}\n    - {{token: some, role: admin, cameras: [amber]}}\n    - {{token: using, role: operator}}\n    - {{token: metrics, scope: metrics}}\ncameras:\n{cameras}"
    ));
    let ask = |token: &str, method: &str, path: &str, body: &str| {
        let headers =
            format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
        watchpost.request(method, path, &headers, body)
    };
    let photo = |name: &str| {
        eventually("a photo is made", || {
            let path = format!("/api/cameras/{name}/tasks/photo");
            ask("using", "POST", &path, "").0 == 200
        });
    };
    photo("amber");
    photo("birch");
    let media = |token: &str| -> Vec<serde_json::Value> {
        serde_json::from_str(&ask(token, "GET", "/api/media", "").1).unwrap()
    };
    eventually("both photos are listed", || media("all").len() == 2);
    let hidden = media("all");
    let hidden = hidden
        .iter()
        .find(|item| item["camera"] == "birch")
        .unwrap();
    let hidden = hidden["id"].to_string();
    let (_, document) = ask("all", "GET", "/api/openapi.json", "");
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let method = method.to_uppercase();
            if path == "/healthz" {
                continue;
            }
            assert_eq!(
                watchpost
                    .request(&method, path, "Content-Type: application/json\r\n", "{}")
                    .0,
                401,
                "{path}"
            );
            let of_other = path
                .replace("{name}", "birch")
                .replace("{task}", "photo")
                .replace("{id}", &hidden);
            if path.ends_with("/stream") {
                continue; // below
            }
            let (code, body) = ask("one", &method, &of_other, "{}");
            asked += 1;
            if of_other != *path {
                let refused = if path.contains("{name}") || method == "GET" {
                    404
                } else {
                    403
                };
                assert_eq!(code, refused, "{method} {of_other}: {body}");
                let body = body.replace("there is no camera \\\"birch\\\"", "");
                assert!(!body.contains("birch"), "{method} {of_other}: {body}");
            } else {
                assert!(!body.contains("birch"), "{method} {of_other}: {body}");
                assert_eq!(
                    code == 403,
                    method != "GET"
                        || ["/metrics", "/api/config", "/api/audit"].contains(&path.as_str()),
                    "{method} {path}: {code}"
                );
            }
        }
    }
    assert!(asked > 25, "{asked}");
    // The answers are the same as for a camera that does not exist.
    let (code, body) = ask("one", "GET", "/api/cameras/none", "");
    let (other_code, other) = ask("one", "GET", "/api/cameras/birch", "");
    assert_eq!((code, body.replace("none", "birch")), (other_code, other));
    assert_eq!(media("one").len(), 1);
    assert_eq!(ask("one", "GET", "/api/media?camera=birch", "").1, "[]");
    let (_, seen) = ask("one", "GET", "/api/status", "");
    assert!(
        seen.contains("capture amber") || seen.contains("amber"),
        "{seen}"
    );
    // Roles and scopes.
    assert_eq!(
        ask("one", "POST", "/api/cameras/amber/tasks/photo", "").0,
        403
    );
    assert_eq!(ask("using", "PATCH", "/api/cameras/amber", "{}").0, 403);
    assert_eq!(ask("using", "GET", "/metrics", "").0, 403);
    let (code, metrics) = ask("metrics", "GET", "/metrics", "");
    assert!(
        code == 200 && metrics.contains("failed_sign_ins_total"),
        "{metrics}"
    );
    assert_eq!(ask("metrics", "GET", "/api/config", "").0, 200);
    assert_eq!(ask("metrics", "GET", "/api/cameras", "").0, 403);
    assert_eq!(
        ask("some", "DELETE", &format!("/api/media/{hidden}"), "").0,
        404
    );
    assert_eq!(ask("some", "DELETE", "/api/cameras/birch", "").0, 404);
    assert_eq!(ask("some", "GET", "/api/audit", "").0, 403);
    let entries: Vec<watchpost_api::AuditEntry> =
        serde_json::from_str(&ask("all", "GET", "/api/audit?limit=3", "").1).unwrap();
    let last = entries
        .iter()
        .map(|e| (e.action.as_str(), e.camera.as_deref(), e.status));
    assert_eq!(
        last.collect::<Vec<_>>(),
        [
            ("DELETE /api/cameras/{name}", Some("birch"), Some(404)),
            ("DELETE /api/media/{id}", None, Some(404)),
            ("PATCH /api/cameras/{name}", Some("amber"), Some(403)),
        ]
    );
    let (code, config) = ask("some", "GET", "/api/config", "");
    assert!(
        code == 200 && config.contains("amber") && !config.contains("birch"),
        "{config}"
    );
    assert!(!ask("some", "GET", "/metrics", "").1.contains("birch"));
    // What was missed of all cameras, as far as it is seen: a photo of each has come.
    let mut stream = watchpost.send(
        "GET",
        "/api/events/stream?after=0",
        "Authorization: Bearer one\r\n",
        "",
    );
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while !text.contains("event: media") {
        assert!(std::time::Instant::now() < deadline, "{text}");
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "{text}");
        text += &String::from_utf8_lossy(&buffer[..count]);
    }
    assert!(text.contains("amber") && !text.contains("birch"), "{text}");
    // It ends with the token.
    let file = watchpost.config_file();
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, config.replace("token: one,", "token: other,")).unwrap();
    watchpost.signal(rustix::process::Signal::HUP);
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    assert_eq!(ask("one", "GET", "/api/cameras", "").0, 401);
}

#[test]
fn connections_without_credentials_do_not_keep_an_administrator_out() {
    let watchpost = Watchpost::start(&format!(
        "http:\n  listen: \"127.0.0.1:0\"\n  tokens: [{{token: admin-token-1, role: admin}}]\n{CAMERA}"
    ));
    let idle: Vec<_> = (0..140)
        .map(|_| {
            let mut client = std::net::TcpStream::connect(watchpost.address()).unwrap();
            let request = format!(
                "GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n",
                watchpost.address()
            );
            // One that gave way already is as good as one that stays.
            let _ = client.write_all(request.as_bytes());
            client
        })
        .collect();
    for _ in 0..15 {
        let asked = std::time::Instant::now();
        let admin = "Authorization: Bearer admin-token-1\r\n";
        assert_eq!(watchpost.request("GET", "/api/cameras", admin, "").0, 200);
        assert!(
            asked.elapsed() < Duration::from_secs(10),
            "{:?}",
            asked.elapsed()
        );
    }
    drop(idle);
}

#[test]
fn a_thousand_connections_of_one_address_are_refused_with_a_reason() {
    let watchpost = Watchpost::start(&format!(
        "http:\n  listen: \"127.0.0.1:0\"\n  tokens: [{{token: admin-token-1, role: admin}}]\n{CAMERA}"
    ));
    let mut open = Vec::new();
    let (mut served, mut refused) = (0, 0);
    for _ in 0..1000 {
        let mut client = TcpStream::connect(watchpost.address()).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let request = format!(
            "GET /api/cameras HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer admin-token-1\r\n\r\n",
            watchpost.address()
        );
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 4096];
        let count = client.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..count]);
        if answer.starts_with("HTTP/1.1 200") {
            served += 1;
        } else {
            assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
            assert!(
                answer.contains("this address has too many connections"),
                "{answer}"
            );
            refused += 1;
        }
        open.push(client);
    }
    assert_eq!((served, refused), (256, 744));
    drop(open);
    eventually("there is room again", || {
        let admin = "Authorization: Bearer admin-token-1\r\n";
        watchpost.request("GET", "/api/cameras", admin, "").0 == 200
    });
}

#[test]
fn a_malformed_body_and_an_unknown_method_are_named() {
    let watchpost = Watchpost::start(CAMERA);
    let answer = |request: &str| {
        let mut client = TcpStream::connect(watchpost.address()).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 4096];
        let count = client.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..count]).into_owned()
    };
    let head = format!(
        "HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
        watchpost.address()
    );
    let malformed = answer(&format!(
        "PATCH /api/cameras/a {head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n{{}}\r\n0\r\n\r\n"
    ));
    assert!(malformed.starts_with("HTTP/1.1 400"), "{malformed}");
    for (target, status) in [
        ("POST /api/cameras", 405),
        ("PUT /api/none", 404),
        ("PUT /api/cameras/b", 415),
    ] {
        let refused = answer(&format!("{target} {head}Content-Length: 0\r\n\r\n"));
        assert!(
            refused.starts_with(&format!("HTTP/1.1 {status}")),
            "{target}: {refused}"
        );
    }
}

#[test]
fn guessed_passwords_are_logged_counted_and_slowed_down() {
    let watchpost = Watchpost::start(&format!(
        "http:\n  listen: \"127.0.0.1:0\"\n  tokens: [{{token: admin-token-1, role: admin}}]\n  users:\n    anna: {{password: \"{}\", role: viewer}}\n{CAMERA}",
        hash("kein Geheimnis")
    ));
    // anna:geraten
    let wrong = "Authorization: Basic YW5uYTpnZXJhdGVu\r\n";
    let codes: Vec<_> = (0..12)
        .map(|_| watchpost.request("GET", "/api/cameras", wrong, "").0)
        .collect();
    assert_eq!(codes[..5], [401; 5]);
    assert!(codes.contains(&429), "{codes:?}");
    let log = watchpost.log();
    assert!(
        log.contains("sign-in failed") && log.contains("127.0.0.1"),
        "{log}"
    );
    let admin = "Authorization: Bearer admin-token-1\r\n";
    let (code, entries) = watchpost.request("GET", "/api/audit", admin, "");
    let entries: Vec<watchpost_api::AuditEntry> = serde_json::from_str(&entries).unwrap();
    assert_eq!(code, 200);
    assert!(entries.len() >= 5, "{entries:?}");
    for entry in entries {
        let seen = (entry.user.as_str(), entry.address.as_str(), entry.status);
        assert_eq!(seen, ("anna", "127.0.0.1", Some(401)));
    }
    let (code, metrics) = watchpost.request("GET", "/metrics", admin, "");
    let failed = codes.iter().filter(|code| **code == 401).count();
    let line = format!("watchpost_failed_sign_ins_total {failed}");
    assert!(code == 200 && metrics.contains(&line), "{metrics}");
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
        // A span has to be named.
        let span = match path.ends_with("/recordings") {
            true => "?after=1&before=2",
            false => "",
        };
        let path = path.replace("{name}", "a") + span;
        let (code, body) = watchpost.request("GET", &path, "", "");
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
fn the_interface_changes_while_it_runs() {
    let mut watchpost = Watchpost::start(CAMERA);
    watchpost.wait_streaming("a");
    let before = std::fs::read_to_string(watchpost.config_file()).unwrap();
    let mut stream = BufReader::new(watchpost.send("GET", "/api/events/stream", "", ""));
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert!(line.contains("200"), "{line}");

    // Another port.
    let port = free_port();
    let listen = |text: &str, http: &str| {
        text.replace(
            "http: {listen: \"127.0.0.1:0\"}",
            &format!("http: {{{http}}}"),
        )
    };
    let http = format!("listen: \"127.0.0.1:{port}\"");
    std::fs::write(watchpost.config_file(), listen(&before, &http)).unwrap();
    let old = watchpost.move_to(port);
    eventually("the old port is closed", || {
        std::net::TcpStream::connect(old).is_err()
    });
    // Clients that were connected stay so.
    stream
        .get_ref()
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut rest = Vec::new();
    let end = stream.read_to_end(&mut rest);
    assert!(end.is_err_and(|e| e.kind() == ErrorKind::WouldBlock));

    // From now on only with a token.
    let token = "tokens: [{token: \"first-token-1\", role: admin}]";
    let http = format!("listen: \"127.0.0.1:{port}\", {token}");
    std::fs::write(watchpost.config_file(), listen(&before, &http)).unwrap();
    let get = |watchpost: &Watchpost, token: &str| {
        let header = format!("Authorization: Bearer {token}\r\n");
        watchpost.request("GET", "/api/cameras/a", &header, "").0
    };
    eventually("a token is needed", || {
        get(&watchpost, "guessed-token-1") == 401
    });
    assert_eq!(get(&watchpost, "first-token-1"), 200);
    // The stream has no token.
    stream
        .get_ref()
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.read_to_end(&mut rest).unwrap();

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
