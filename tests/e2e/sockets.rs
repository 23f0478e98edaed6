//! WebSockets with a real client: events after the last state, and the analysis of each frame.

use std::net::TcpStream;
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde_json::json;
use testkit::PATIENCE;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};
use watchpost_api::{
    AnalysedFrame, CameraState, ConnectionMessage, Event, EventMessage, NumberedEvent, Status,
    ZoneChange,
};

use crate::history::walkers;
use crate::support::{Watchpost, onnxruntime};

const JSON: &str = "Content-Type: application/json\r\n";

pub struct Client(WebSocket<MaybeTlsStream<TcpStream>>);

impl Client {
    pub fn open(watchpost: &Watchpost, path: &str) -> Self {
        let (socket, _) = tungstenite::connect(format!("ws://{}{path}", watchpost.address()))
            .expect("a WebSocket");
        if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
            stream
                .set_read_timeout(Some(PATIENCE))
                .expect("a time limit");
        }
        Self(socket)
    }

    /// The next message; an error is the code the server closes with.
    pub fn next<T: DeserializeOwned>(&mut self) -> Result<T, u16> {
        loop {
            match self.0.read().expect("a message") {
                Message::Text(text) => {
                    return Ok(serde_json::from_str(&text)
                        .unwrap_or_else(|error| panic!("{error}: {text}")));
                }
                Message::Close(frame) => return Err(frame.expect("a code").code.into()),
                _ => {}
            }
        }
    }

    /// The last state, which comes first.
    pub fn state(&mut self) -> (i64, Vec<NumberedEvent>) {
        match self.next() {
            Ok(EventMessage::Connection(ConnectionMessage::State { number, events })) => {
                (number, events)
            }
            other => panic!("{other:?} instead of the state"),
        }
    }

    /// The next event.
    fn event(&mut self) -> NumberedEvent {
        match self.next() {
            Ok(EventMessage::Event(event)) => event,
            other => panic!("{other:?} instead of an event"),
        }
    }

    /// The first event from now on that is wanted.
    fn find(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> NumberedEvent {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let event = self.event();
            if wanted(&event.event) {
                return event;
            }
        }
        panic!("no event: {what}");
    }
}

fn is_streaming(event: &Event, camera: &str) -> bool {
    matches!(event, Event::Camera(event) if event.camera == camera && event.state == CameraState::Streaming)
}

#[test]
fn a_page_gets_the_last_state_and_then_events_of_its_cameras() {
    if onnxruntime().is_none() {
        return;
    }
    let back = "  back:\n    source: {test: {scene: walkers, width: 640, height: 360, fps: 5}}\n    detect: {enabled: false}\n";
    let watchpost = Watchpost::start(&(walkers("yard") + back));
    watchpost.wait_streaming("front");
    watchpost.wait_streaming("back");

    let mut all = Client::open(&watchpost, "/api/events/ws");
    let (number, state) = all.state();
    for camera in ["front", "back"] {
        assert!(
            state.iter().any(|event| is_streaming(&event.event, camera)),
            "{state:?}"
        );
    }
    assert!(
        state.iter().all(|event| event.number <= number),
        "{number}: {state:?}"
    );
    // What comes follows on from the state without a gap.
    assert_eq!(all.event().number, number + 1);
    assert_eq!(all.event().number, number + 2);

    let mut filtered = Client::open(&watchpost, "/api/events/ws?camera=back");
    let (_, state) = filtered.state();
    assert!(
        !state.is_empty()
            && state
                .iter()
                .all(|event| event.event.camera() == Some("back")),
        "{state:?}"
    );
    // While it is away `front` has many events; `back` has these, and the whole configuration one.
    all.find(
        "an entry",
        |event| matches!(event, Event::Zone(zone) if zone.change == ZoneChange::Entered),
    );
    let path = "/api/cameras/back?persist=0";
    let (code, answer) = watchpost.request("PATCH", path, JSON, r#"{"enabled": false}"#);
    assert_eq!(code, 200, "{answer}");
    for _ in 0..2 {
        let event = filtered.event();
        assert!(
            event.event.camera().is_none_or(|camera| camera == "back"),
            "{event:?}"
        );
    }
    let disabled = |event: &Event| matches!(event, Event::Camera(event) if event.camera == "back" && event.state == CameraState::Disabled);
    all.find("back is disabled", disabled);

    // A client that comes now has that in its state.
    let (_, state) = Client::open(&watchpost, "/api/events/ws").state();
    assert!(
        state.iter().any(|event| disabled(&event.event)),
        "{state:?}"
    );
    let mut unknown = Client::open(&watchpost, "/api/events/ws?camera=front,nobody");
    assert_eq!(unknown.next::<EventMessage>(), Err(4404));
    let (code, text) = watchpost.request("GET", "/api/events/ws?cameras=front", "", "");
    assert_eq!(code, 400, "{text}");
}

#[test]
fn boxes_of_each_analysed_frame_are_fractions_at_their_capture_time() {
    if onnxruntime().is_none() {
        return;
    }
    let watchpost = Watchpost::start(&walkers("yard"));
    let mut client = Client::open(&watchpost, "/api/cameras/front/analysis.ws");
    let deadline = Instant::now() + PATIENCE;
    let mut last = 0.0;
    let frame = loop {
        assert!(Instant::now() < deadline, "no objects");
        let frame: AnalysedFrame = client.next().expect("a frame");
        assert!(frame.time > last, "{frame:?} after {last}");
        last = frame.time;
        // An object is in a zone after some frames.
        if frame.objects.iter().any(|object| object.zones == ["yard"]) {
            break frame;
        }
    };
    for object in &frame.objects {
        let [x1, y1, x2, y2] = object.bbox;
        assert!(0.0 <= x1 && x1 < x2 && x2 <= 1.0, "{object:?}");
        assert!(0.0 <= y1 && y1 < y2 && y2 <= 1.0, "{object:?}");
        assert_eq!(object.label, "person");
    }
    let status: Status = watchpost.read("/api/status");
    assert!(
        frame.time >= status.started && frame.time < status.started + PATIENCE.as_secs_f64(),
        "{frame:?}"
    );

    // An offset takes effect while the camera is watched.
    let change = json!({"detect": {"annotation_offset": -3_600_000}}).to_string();
    let (code, answer) = watchpost.request("PATCH", "/api/cameras/front?persist=0", JSON, &change);
    assert_eq!(code, 200, "{answer}");
    loop {
        assert!(Instant::now() < deadline, "the offset has no effect");
        let frame: AnalysedFrame = client.next().expect("a frame");
        if frame.time < status.started - 3000.0 {
            break;
        }
    }
    let (code, answer) = watchpost.request("DELETE", "/api/cameras/front?persist=0", JSON, "");
    assert_eq!(code, 200, "{answer}");
    let code = loop {
        match client.next::<AnalysedFrame>() {
            Ok(_) => assert!(Instant::now() < deadline, "the camera is gone"),
            Err(code) => break code,
        }
    };
    assert_eq!(code, 4404);
    let mut unknown = Client::open(&watchpost, "/api/cameras/nobody/analysis.ws");
    assert_eq!(unknown.next::<AnalysedFrame>(), Err(4404));
}
