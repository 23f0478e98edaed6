//! Object events: pages of them, one of them, and the stream of their changes.

use std::convert::Infallible;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event as SseEvent, KeepAlive};
use tokio::sync::mpsc;
use watchpost_api::{EventQuery, KeepEvent, ObjectEvent, StreamQuery};

use super::Api;
use super::access::Identity;
use super::error::ApiError;
use super::query::{Id, QueryOf};
use crate::bus::{Published, Received, Subscription};
use crate::store::EventFilter;

/// Changes read from the database at a time while a listener catches up.
const REPLAY: usize = 500;
/// Changes on their way to one listener; a slower one waits for the database, not for memory.
const UNDERWAY: usize = 64;

/// `GET /api/events`: newest first.
pub async fn list(
    State(api): State<Api>,
    identity: Identity,
    QueryOf(query): QueryOf<EventQuery>,
) -> Result<Json<Vec<ObjectEvent>>, ApiError> {
    let filter = EventFilter {
        camera: query.camera,
        cameras: identity.limit(),
        label: query.label,
        zone: query.zone,
        after: query.after,
        before: query.before,
        before_id: query.before_id,
        limit: query.limit,
    };
    api.ask_store(move |store| store.events(&filter))
        .await
        .map(Json)
}

/// `GET /api/events/{id}`.
pub async fn one(
    State(api): State<Api>,
    identity: Identity,
    Id(id): Id,
) -> Result<Json<ObjectEvent>, ApiError> {
    let event = api.ask_store(move |store| store.event(id)).await?;
    let event = event.filter(|event| identity.sees(&event.camera));
    event.map(Json).ok_or(ApiError::NoSuchEvent(id))
}

/// `PUT /api/events/{id}/keep`: marks an event to keep, or not any longer.
pub async fn keep(
    State(api): State<Api>,
    identity: Identity,
    Id(id): Id,
    body: Result<Json<KeepEvent>, axum::extract::rejection::JsonRejection>,
) -> Result<Json<ObjectEvent>, ApiError> {
    let Json(KeepEvent { keep }) = body?;
    let event = api
        .ask_store(move |store| {
            let event = store.event(id)?;
            let is_seen = event.is_some_and(|event| identity.sees(&event.camera));
            if is_seen && store.keep_event(id, keep)? {
                store.event(id)
            } else {
                Ok(None)
            }
        })
        .await?;
    event.map(Json).ok_or(ApiError::NoSuchEvent(id))
}

/// `GET /api/events/stream`: server-sent events, one for each event of the bus, `event:` its kind, `id:` its number. A listener
/// that names the number of the last one it had gets those it missed first, as far as they are kept.
pub async fn stream(
    State(api): State<Api>,
    identity: Identity,
    QueryOf(query): QueryOf<StreamQuery>,
    headers: HeaderMap,
) -> Sse<impl futures_core::Stream<Item = Result<SseEvent, Infallible>>> {
    let header = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let live = api.bus.subscribe("stream");
    // A number that has not been given yet is one of another database: `data_dir` was begun anew.
    let newest = live.newest;
    let from = header.or(query.after).map_or(newest, |seq| seq.min(newest));
    let (sender, receiver) = mpsc::channel(UNDERWAY);
    tokio::spawn(async move {
        // Ends when the listener has gone.
        let _ = follow(api, from, live, Listener { sender, identity }).await;
    });
    Sse::new(tokio_stream::wrappers::ReceiverStream::new(receiver)).keep_alive(KeepAlive::default())
}

/// The client of a stream: gets the changes of cameras it sees.
struct Listener {
    sender: mpsc::Sender<Result<SseEvent, Infallible>>,
    identity: Identity,
}

/// Sends what was missed, then what comes. A listener that falls behind is served again from memory and the database.
async fn follow(
    api: Api,
    mut number: i64,
    mut live: Subscription,
    listener: Listener,
) -> Result<(), ApiError> {
    number = catch_up(&api, number, &listener).await?;
    loop {
        let received = tokio::select! {
            () = listener.sender.closed() => return Err(ApiError::NoListener),
            () = api.done.cancelled() => return Ok(()),
            received = live.next() => received,
        };
        match received {
            Some(Received::Event(event)) if event.number <= number => {}
            Some(Received::Event(event)) => number = send(&listener, &event).await?,
            Some(Received::Lost(_)) => number = catch_up(&api, number, &listener).await?,
            None => return Ok(()),
        }
    }
}

/// Sends the events after `number`: those on disk, then those in memory, which may not be on disk yet. Returns the number of the
/// last one.
async fn catch_up(api: &Api, mut number: i64, listener: &Listener) -> Result<i64, ApiError> {
    loop {
        let (recent, complete) = api.bus.recent(number);
        let stored = match complete || api.store.is_none() {
            true => Vec::new(),
            false => {
                api.ask_store(move |store| store.changes_after(number, REPLAY))
                    .await?
            }
        };
        if stored.is_empty() {
            for event in recent {
                number = send(listener, &event).await?;
            }
            return Ok(number);
        }
        for change in stored {
            number = change.seq;
            if !is_seen(&listener.identity, &change.json) {
                continue;
            }
            let event = SseEvent::default()
                .event(change.kind)
                .id(change.seq.to_string())
                .data(change.json);
            listener
                .sender
                .send(Ok(event))
                .await
                .map_err(|_| ApiError::NoListener)?;
        }
    }
}

async fn send(listener: &Listener, published: &Published) -> Result<i64, ApiError> {
    let (identity, camera) = (&listener.identity, published.event.camera());
    if identity.cameras.is_some() && !camera.is_some_and(|camera| identity.sees(camera)) {
        return Ok(published.number);
    }
    let event = SseEvent::default()
        .event(published.event.kind())
        .id(published.number.to_string())
        .data(published.json());
    listener
        .sender
        .send(Ok(event))
        .await
        .map_err(|_| ApiError::NoListener)?;
    Ok(published.number)
}

/// Whether a stored change is of a camera that the identity sees. It names its camera itself, or what it is about does; one without a
/// camera is for those who see all.
fn is_seen(identity: &Identity, json: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Of {
        camera: String,
    }
    #[derive(serde::Deserialize)]
    struct Named {
        camera: Option<String>,
        event: Option<Of>,
        media: Option<Of>,
    }
    if identity.cameras.is_none() {
        return true;
    }
    let Ok(named) = serde_json::from_str::<Named>(json) else {
        return false;
    };
    let inner = named.event.or(named.media).map(|of| of.camera);
    let camera = named.camera.or(inner);
    camera.is_some_and(|camera| identity.sees(&camera))
}
