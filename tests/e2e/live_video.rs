//! Encoded live video with real clients: ffmpeg reads the MP4 body, a WebSocket client the messages.

use std::io::Read;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

use super::support::{PATIENCE, Watchpost, kill};

const CAMERAS: &str =
    "cameras: {front: {source: {test: walkers}}, back: {source: {test: walkers}}}\n";

type Socket = WebSocket<MaybeTlsStream<TcpStream>>;

fn open(watchpost: &Watchpost, path: &str) -> Socket {
    let address = format!("ws://{}{path}", watchpost.address());
    let (socket, _) = tungstenite::connect(address).expect("a WebSocket");
    if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time limit");
    }
    socket
}

/// Reads up to the next text message of this type.
fn text(socket: &mut Socket, kind: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let Message::Text(text) = socket.read().expect("a message") else {
            continue;
        };
        let message: Value = serde_json::from_str(&text).expect("JSON");
        if message["type"] == kind {
            return message;
        }
    }
    panic!("no message `{kind}`");
}

/// Reads up to the next `init` message and the initialisation segment behind it.
fn initialisation(socket: &mut Socket) -> Value {
    let message = text(socket, "init");
    let segment = binary(socket);
    assert_eq!(&segment[4..8], b"ftyp", "{message}");
    message
}

/// Whether a fragment of one frame holds a key frame: `sample_is_non_sync_sample` in the flags of its run is not set.
fn is_key(fragment: &[u8]) -> bool {
    let at = fragment.windows(4).position(|name| name == b"trun");
    let run = &fragment[at.expect("a run") + 4..];
    let word = |at: usize| u32::from_be_bytes(run[at..at + 4].try_into().expect("four bytes"));
    let flags = word(0) & 0xff_ffff;
    // Behind the count: data offset, flags of the first sample; then of each sample duration, size, flags.
    let mut at = 8 + if flags & 1 == 0 { 0 } else { 4 };
    if flags & 4 != 0 {
        return word(at) & 0x1_0000 == 0;
    }
    assert!(flags & 0x400 != 0, "flags of the sample in {flags:x}");
    at += if flags & 0x100 == 0 { 0 } else { 4 };
    at += if flags & 0x200 == 0 { 0 } else { 4 };
    word(at) & 0x1_0000 == 0
}

fn binary(socket: &mut Socket) -> Vec<u8> {
    loop {
        if let Message::Binary(data) = socket.read().expect("a message") {
            return data.to_vec();
        }
    }
}

#[test]
fn ffmpeg_decodes_the_endless_mp4() {
    let watchpost = Watchpost::start(CAMERAS);
    let address = format!("http://{}/api/cameras/front/live.mp4", watchpost.address());
    let output = Command::new("ffmpeg")
        .args([
            "-v", "warning", "-t", "3", "-i", &address, "-f", "null", "-",
        ])
        .stdin(Stdio::null())
        .output()
        .expect("ffmpeg; `make setup` installs it");
    let warnings = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && warnings.is_empty(),
        "{warnings}\n{}",
        watchpost.log()
    );
}

#[test]
fn viewers_get_the_stream_and_keep_it_when_the_capture_worker_dies() {
    let watchpost = Watchpost::start(CAMERAS);
    let mut socket = open(&watchpost, "/api/cameras/front/live.ws?stream=main");
    let first = initialisation(&mut socket);
    assert!(
        first["mime"]
            .as_str()
            .is_some_and(|mime| mime.starts_with("video/mp4; codecs=\"avc1.")),
        "{first}"
    );
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    let epoch = first["epoch"].as_f64().expect("a time");
    assert!((now - epoch).abs() < 30.0, "epoch {epoch}, now {now}");
    assert_eq!(&binary(&mut socket)[4..8], b"moof");

    let pid = watchpost.camera("front")["capture_pid"].as_u64();
    let pid = u32::try_from(pid.expect("a process")).unwrap();
    kill(pid, rustix::process::Signal::KILL);

    // The connection stays, and the stream of the next worker begins with its own initialisation.
    let second = initialisation(&mut socket);
    assert_ne!(first["version"], second["version"]);
    assert_eq!(&binary(&mut socket)[4..8], b"moof");
}

#[test]
fn a_camera_that_is_not_there_closes_the_socket_with_its_code() {
    let watchpost = Watchpost::start(CAMERAS);
    let mut socket = open(&watchpost, "/api/cameras/nowhere/live.ws");
    let Ok(Message::Close(Some(frame))) = socket.read() else {
        panic!("expected a close")
    };
    assert_eq!(u16::from(frame.code), 4404);
}

#[test]
fn a_viewer_that_stops_reading_loses_frames_and_harms_no_other() {
    let watchpost = Watchpost::start(
        "cameras: {front: {source: {test: {scene: walkers, width: 640, height: 360, fps: 25}}}}\n",
    );
    let mut idle = open(&watchpost, "/api/cameras/front/live.ws");
    if let MaybeTlsStream::Plain(stream) = idle.get_ref() {
        rustix::net::sockopt::set_socket_recv_buffer_size(stream, 4096).expect("a small buffer");
    }
    initialisation(&mut idle);
    let mut reading = open(&watchpost, "/api/cameras/front/live.ws");
    initialisation(&mut reading);
    // More than the other's connection and its place in the queue hold.
    let mut bytes = 0;
    let mut frames = 0;
    while bytes < 1 << 20 || frames < 200 {
        match reading.read().expect("a message") {
            Message::Binary(data) => (bytes, frames) = (bytes + data.len(), frames + 1),
            Message::Text(text) => panic!("after {frames} frames: {text}"),
            _ => {}
        }
    }
    let dropped = text(&mut idle, "dropped");
    assert!(
        dropped["frames"].as_u64().is_some_and(|frames| frames > 0),
        "{dropped}"
    );
    assert!(is_key(&binary(&mut idle)), "it goes on at a key frame");
}

#[test]
fn another_size_begins_a_new_initialisation() {
    let watchpost = Watchpost::start(
        "cameras: {front: {source: {test: {scene: walkers, width: 640, height: 360}}}}\n",
    );
    let mut socket = open(&watchpost, "/api/cameras/front/live.ws");
    let first = initialisation(&mut socket);
    assert_eq!(
        (&first["width"], &first["height"]),
        (&640.into(), &360.into())
    );
    let body = r#"{"source": {"test": {"scene": "walkers", "width": 320, "height": 240}}}"#;
    let json = "Content-Type: application/json\r\n";
    let (code, answer) = watchpost.request("PATCH", "/api/cameras/front", json, body);
    assert_eq!(code, 200, "{answer}");
    let second = initialisation(&mut socket);
    assert_eq!(
        (&second["width"], &second["height"]),
        (&320.into(), &240.into())
    );
    assert!(is_key(&binary(&mut socket)));
}

#[test]
fn a_player_that_leaves_ends_its_stream() {
    let watchpost = Watchpost::start(CAMERAS);
    let mut stream = TcpStream::connect(watchpost.address()).expect("connect");
    let request = "GET /api/cameras/back/live.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    std::io::Write::write_all(&mut stream, request.as_bytes()).expect("write");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    let mut head = [0; 2048];
    let length = stream.read(&mut head).expect("an answer");
    let head = String::from_utf8_lossy(&head[..length]);
    assert!(
        head.starts_with("HTTP/1.1 200") && head.contains("video/mp4"),
        "{head}"
    );
    drop(stream);
    let status = watchpost.get("/api/cameras/back");
    assert_eq!(status["state"], "streaming");
}
