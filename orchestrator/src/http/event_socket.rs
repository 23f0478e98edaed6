//! `GET /api/events/ws`: the last state, then events, over a WebSocket.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::response::Response;
use watchpost_api::{ConnectionMessage, Event, EventSocketQuery};

use super::Api;
use super::access::{Identity, Session};
use super::error::ApiError;
use super::query::QueryOf;
use super::socket::{self, Gone, NOT_FOUND, Socket};
use crate::bus::{Bus, Published, Received, Subscription};

/// The name its losses are counted under.
const SUBSCRIBER: &str = "websocket";

/// Accepts the WebSocket. A camera that does not exist ends it with 4404.
pub async fn events(
    State(api): State<Api>,
    session: Session,
    QueryOf(query): QueryOf<EventSocketQuery>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, ApiError> {
    let filter = Filter::new(query.camera.as_deref(), Some(&session.identity));
    let mut unknown = None;
    for camera in filter.cameras.iter().flatten() {
        let is_seen = session.identity.sees(camera);
        if !is_seen || api.supervisor.camera(camera).await?.is_none() {
            unknown = Some(camera.clone());
            break;
        }
    }
    let bus = api.bus.clone();
    Ok(socket::accept(
        upgrade,
        api.done.clone(),
        Some(session),
        move |mut socket| async move {
            match unknown {
                Some(camera) => {
                    let reason = ApiError::NoSuchCamera(camera).to_string();
                    socket.close(NOT_FOUND, reason).await;
                }
                // An error says that the client is gone.
                None => drop(send_events(&mut socket, &bus, &filter).await),
            }
        },
    ))
}

/// Which events a client gets.
#[derive(Clone)]
struct Filter {
    /// `None`: of all cameras.
    cameras: Option<BTreeSet<String>>,
    /// The only cameras that exist for the client; `None`: all.
    seen: Option<Arc<BTreeSet<String>>>,
}

impl Filter {
    fn new(cameras: Option<&str>, identity: Option<&Identity>) -> Self {
        let names = |list: &str| list.split(',').map(|name| name.trim().to_owned()).collect();
        Self {
            cameras: cameras.map(names),
            seen: identity.and_then(|identity| identity.cameras.clone()),
        }
    }

    /// What is about no single camera concerns all of them. A camera that gets another name is known by both.
    fn takes(&self, event: &Event) -> bool {
        let former = match event {
            Event::Configuration(configuration) => configuration.from.as_ref(),
            _ => None,
        };
        let camera = event.camera();
        let is_among = |cameras: &BTreeSet<String>| {
            camera.is_none_or(|camera| cameras.contains(camera))
                || former.is_some_and(|former| cameras.contains(former))
        };
        self.cameras.as_ref().is_none_or(is_among) && self.seen.as_deref().is_none_or(is_among)
    }
}

/// A client that reads slowly waits in its own queue of the bus. When that overflows, the client is told how many events it does
/// not get, and goes on after the last state.
async fn send_events(socket: &mut Socket, bus: &Bus, filter: &Filter) -> Result<(), Gone> {
    let mut events = bus.subscribe(SUBSCRIBER);
    socket.send(state(&events, filter)).await?;
    loop {
        let received = tokio::select! {
            received = events.next() => received,
            () = socket.gone() => return Err(Gone),
        };
        match received {
            Some(Received::Event(event)) if filter.takes(&event.event) => {
                socket.send(numbered(&event)).await?;
            }
            Some(Received::Event(_)) => {}
            Some(Received::Lost(count)) => {
                let events_lost = count + events.skip_to_state(bus);
                let lost = ConnectionMessage::Lost {
                    events: events_lost,
                };
                socket.send(json(&lost)).await?;
                socket.send(state(&events, filter)).await?;
            }
            None => return Ok(()),
        }
    }
}

fn state(events: &Subscription, filter: &Filter) -> String {
    let state = events.state.events();
    let seen = state.iter().filter(|event| filter.takes(&event.event));
    json(&ConnectionMessage::State {
        number: events.newest,
        events: seen.map(|event| event.numbered()).collect(),
    })
}

/// As a [`watchpost_api::NumberedEvent`] serialises, made of the JSON that all clients share.
fn numbered(event: &Published) -> String {
    let fields = event.json().strip_prefix('{').unwrap_or("}");
    format!("{{\"number\":{},{fields}", event.number)
}

fn json(message: &ConnectionMessage) -> String {
    // Keys are strings and floats are finite or null: this cannot fail.
    serde_json::to_string(message).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;
    use watchpost_api::{
        CameraEvent, CameraState, ConfigurationChange, ConfigurationEvent, EventMessage,
        MotionEvent, NumberedEvent,
    };

    use super::*;

    fn motion(camera: &str) -> Event {
        Event::Motion(MotionEvent {
            camera: camera.into(),
            active: true,
            time: 1.5,
        })
    }

    fn configured(change: ConfigurationChange, camera: Option<&str>, from: Option<&str>) -> Event {
        Event::Configuration(ConfigurationEvent {
            change,
            camera: camera.map(str::to_owned),
            from: from.map(str::to_owned),
        })
    }

    #[test]
    fn a_filter_takes_its_cameras_and_what_concerns_all() {
        use ConfigurationChange::{Applied, Changed, Renamed};
        let filter = Filter::new(Some("front, back"), None);
        assert!(filter.takes(&motion("front")) && filter.takes(&motion("back")));
        assert!(!filter.takes(&motion("yard")));
        assert!(filter.takes(&configured(Applied, None, None)));
        assert!(!filter.takes(&configured(Changed, Some("yard"), None)));
        assert!(filter.takes(&configured(Renamed, Some("yard"), Some("front"))));
        assert!(Filter::new(None, None).takes(&motion("yard")));
        let limited = Filter {
            seen: Some(Arc::new(BTreeSet::from(["front".to_owned()]))),
            ..Filter::new(None, None)
        };
        assert!(limited.takes(&motion("front")) && !limited.takes(&motion("yard")));
    }

    /// An event of some kilobytes.
    fn large(number: usize) -> Event {
        Event::Camera(CameraEvent {
            camera: "front".into(),
            state: CameraState::Failed,
            reason: Some(format!("{number:>4096}")),
            since: 1.0,
        })
    }

    /// Events of four kilobytes: a hundred megabytes.
    const PUBLISHED: usize = 25_000;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_client_that_reads_slowly_is_told_what_it_lost_and_gets_the_state_anew() {
        let bus = Bus::new(0);
        let (served, done) = (bus.clone(), CancellationToken::new());
        let handler = move |upgrade: WebSocketUpgrade| async move {
            socket::accept(upgrade, done, None, |mut socket| async move {
                let _ = send_events(&mut socket, &served, &Filter::new(None, None)).await;
            })
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = axum::Router::new().route("/", axum::routing::get(handler));
        tokio::spawn(async { axum::serve(listener, router).await });
        let limit = Duration::from_secs(60);
        let (url, publisher) = (format!("ws://{address}/"), bus.clone());
        let client = move || {
            let (mut socket, _) = tungstenite::connect(url).unwrap();
            if let tungstenite::stream::MaybeTlsStream::Plain(stream) = socket.get_ref() {
                stream.set_read_timeout(Some(limit)).unwrap();
            }
            let mut next = || loop {
                if let tungstenite::Message::Text(text) = socket.read().unwrap() {
                    return serde_json::from_str::<EventMessage>(&text).unwrap();
                }
            };
            assert!(matches!(
                next(),
                EventMessage::Connection(ConnectionMessage::State { number: 0, .. })
            ));
            // It reads nothing until more was published than its queue and the buffers of the connection hold.
            for number in 0..PUBLISHED {
                publisher.publish(large(number));
            }
            let newest = publisher.publish(motion("front"));
            let (mut last, mut losses) = (0, 0);
            while last < newest {
                match next() {
                    EventMessage::Event(event) => {
                        assert_eq!(event.number, last + 1, "without a gap");
                        last = event.number;
                        assert_eq!(event.event == motion("front"), last == newest);
                    }
                    EventMessage::Connection(ConnectionMessage::Lost { events: lost }) => {
                        let EventMessage::Connection(ConnectionMessage::State { number, events }) =
                            next()
                        else {
                            panic!("a state follows");
                        };
                        assert_eq!(number, last + i64::try_from(lost).unwrap());
                        assert_eq!(events.last().map(|event| event.number), Some(number));
                        last = number;
                        losses += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert!(losses > 0, "nothing was lost");
        };
        tokio::task::spawn_blocking(client).await.unwrap();
    }

    #[test]
    fn messages_read_back_as_the_types_of_the_api() {
        let bus = Bus::new(6);
        bus.publish(motion("front"));
        bus.publish(motion("yard"));
        let (events, _) = bus.recent(6);
        let front = NumberedEvent {
            number: 7,
            event: motion("front"),
        };
        let read = |text: &str| serde_json::from_str::<EventMessage>(text).unwrap();
        assert_eq!(
            read(&numbered(&events[0])),
            EventMessage::Event(front.clone())
        );
        let state = state(&bus.subscribe("test"), &Filter::new(Some("front"), None));
        let expected = ConnectionMessage::State {
            number: 8,
            events: vec![front],
        };
        assert_eq!(read(&state), EventMessage::Connection(expected));
        let lost = ConnectionMessage::Lost { events: 3 };
        assert_eq!(json(&lost), r#"{"type":"lost","events":3}"#);
        assert_eq!(read(&json(&lost)), EventMessage::Connection(lost));
    }
}
