//! Hooks: commands and webhooks that events start, with a real server and real programs.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::support::{Watchpost, eventually};
use ring::hmac;
use serde_json::{Value, json};

const JSON: &str = "Content-Type: application/json\r\n";
const SCENE: &str = "{test: {scene: \"walkers,objects=6\", width: 640, height: 360, fps: 5}}";

/// A request as it came.
#[derive(Debug, Clone)]
struct Request {
    path: String,
    head: String,
    body: String,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        let of_name = |line: &&str| {
            let key = line.split(':').next().unwrap_or_default();
            key.eq_ignore_ascii_case(name)
        };
        let line = self.head.lines().find(of_name).unwrap_or_default();
        line.split_once(':').map_or("", |(_, value)| value.trim())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

/// A web server that answers as it is told, and 200 when it is told nothing.
struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    answers: Arc<Mutex<VecDeque<&'static str>>>,
}

impl Server {
    fn start(answers: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = Self {
            port: listener.local_addr().expect("an address").port(),
            requests: Arc::default(),
            answers: Arc::new(Mutex::new(answers.iter().copied().collect())),
        };
        let (requests, answers) = (server.requests.clone(), server.answers.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let Some(request) = read(&stream) else {
                    continue;
                };
                requests.lock().expect("requests").push(request);
                let answer = answers.lock().expect("answers").pop_front();
                let answer = answer.unwrap_or("200 OK\r\n");
                let _ = (&stream)
                    .write_all(format!("HTTP/1.1 {answer}Content-Length: 0\r\n\r\n").as_bytes());
            }
        });
        server
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("requests").clone()
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let path = head.split(' ').nth(1)?.to_owned();
    let mut request = Request {
        path,
        head,
        body: String::new(),
    };
    let mut body = vec![0; request.header("content-length").parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).ok()?;
    Some(request)
}

#[test]
fn a_webhook_is_signed_and_repeated_and_follows_no_redirect() {
    let server = Server::start(&["503 Service Unavailable\r\n"]);
    let elsewhere = Server::start(&[]);
    let location = elsewhere.url("/stolen");
    let redirect = format!("302 Found\r\nLocation: {location}\r\n").leak();
    let redirecting = Server::start(&[redirect]);
    let watchpost = Watchpost::start(&format!(
        "hooks:
- name: signed
  on: {{events: [camera_changed], cameras: [front]}}
  webhook: {{url: \"{}\", secret: sesame, token: letmein, headers: {{X-Place: home}}}}
- name: sent-away
  on: {{events: [camera_changed], cameras: [front]}}
  webhook: {{url: \"{}\"}}
cameras:
  front: {{source: {SCENE}}}
  back: {{source: {SCENE}}}
",
        server.url("/hook?x=1"),
        redirecting.url("/")
    ));
    watchpost.wait_streaming("front");
    eventually("the state arrives", || {
        let requests = server.requests();
        requests
            .iter()
            .any(|request| request.json()["state"] == "streaming")
    });
    let requests = server.requests();
    let (first, second) = (&requests[0], &requests[1]);
    assert_eq!(first.body, second.body, "the refused one is sent again");
    let delivery = first.header("x-watchpost-delivery");
    assert!(!delivery.is_empty());
    assert_eq!(second.header("x-watchpost-delivery"), delivery);
    for request in &requests {
        let signature = request.header("x-watchpost-signature");
        let signature = signature.strip_prefix("sha256=").expect("sha256=");
        let bytes: Vec<u8> = (0..signature.len() / 2)
            .map(|at| u8::from_str_radix(&signature[2 * at..2 * at + 2], 16).expect("hex"))
            .collect();
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"sesame");
        hmac::verify(&key, request.body.as_bytes(), &bytes).expect("the signature is right");
        assert_eq!(request.path, "/hook?x=1");
        assert_eq!(request.header("authorization"), "Bearer letmein");
        assert_eq!(request.header("x-place"), "home");
        let event = request.json();
        assert_eq!(
            (&event["hook"], &event["hook_event"], &event["camera"]),
            (&json!("signed"), &json!("camera_changed"), &json!("front"))
        );
    }

    eventually("the redirect is reported", || {
        watchpost.log().contains("hook sent-away: ")
            && watchpost.log().contains("redirects are not followed")
    });
    assert!(elsewhere.requests().is_empty());
    eventually("each end is counted", || {
        let metrics = watchpost.request("GET", "/metrics", "", "").1;
        let counted = |line: &str| {
            let value = metrics.lines().find_map(|found| found.strip_prefix(line));
            value.is_some_and(|value| value.trim() != "0")
        };
        counted("watchpost_hook_runs_total{hook=\"signed\",result=\"done\"}")
            && counted("watchpost_hook_runs_total{hook=\"sent-away\",result=\"failed\"}")
    });
    let log = watchpost.log();
    assert!(!log.contains("sesame") && !log.contains("letmein"), "{log}");
    let shown = watchpost.get("/api/config");
    assert_eq!(shown["hooks"][0]["webhook"]["secret"], "***");
    assert_eq!(shown["hooks"][0]["webhook"]["token"], "***");
}

#[test]
fn a_command_gets_the_event_and_hooks_come_from_the_file_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("events");
    let watchpost = Watchpost::start(&format!(
        "hooks:
- name: log
  on: {{events: [motion_started, object_started]}}
  command: [/usr/bin/tee, -a, {}]
cameras:
  front: {{source: {SCENE}}}
",
        out.display()
    ));
    watchpost.wait_streaming("front");
    let text = || std::fs::read_to_string(&out).unwrap_or_default();
    eventually("the command ran", || text().ends_with('\n'));
    let text = text();
    let first = text.lines().next().expect("a line");
    let event: Value = serde_json::from_str(first).expect("JSON");
    assert_eq!(
        (&event["type"], &event["active"], &event["camera"]),
        (&json!("motion"), &json!(true), &json!("front"))
    );
    assert_eq!(event["hook_event"], "motion_started");

    let mut config = watchpost.get("/api/config");
    let without_change = watchpost.request("POST", "/api/config", JSON, &config.to_string());
    assert_eq!(without_change.0, 200, "{}", without_change.1);
    config["hooks"][0]["command"] = json!(["/bin/sh", "-c", "id"]);
    let (code, answer) = watchpost.request("POST", "/api/config", JSON, &config.to_string());
    assert_eq!(code, 403, "{answer}");
    assert!(answer.contains("hooks"), "{answer}");
    config["hooks"] = json!([]);
    let (code, answer) = watchpost.request("POST", "/api/config", JSON, &config.to_string());
    assert_eq!(code, 403, "{answer}");
}

#[test]
fn a_webhook_brings_the_live_picture() {
    let server = Server::start(&[]);
    let watchpost = Watchpost::start(&format!(
        "hooks:
- name: picture
  on: {{events: [motion_started]}}
  webhook: {{url: \"{}\", picture: true, body: {{title: \"{{camera}}\", image: \"{{picture}}\"}}}}
cameras:
  front: {{source: {SCENE}}}
",
        server.url("/")
    ));
    watchpost.wait_streaming("front");
    eventually("it arrives", || !server.requests().is_empty());
    let body = server.requests()[0].json();
    assert_eq!(body["title"], "front");
    let image = body["image"].as_str().expect("text");
    // A JPEG begins with FF D8 FF.
    assert!(image.starts_with("/9j/") && image.len() > 1000, "{body}");
}
