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
    QueryOf(query): QueryOf<EventQuery>,
) -> Result<Json<Vec<ObjectEvent>>, ApiError> {
    let filter = EventFilter {
        camera: query.camera,
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
pub async fn one(State(api): State<Api>, Id(id): Id) -> Result<Json<ObjectEvent>, ApiError> {
    let event = api.ask_store(move |store| store.event(id)).await?;
    event.map(Json).ok_or(ApiError::NoSuchEvent(id))
}

/// `PUT /api/events/{id}/keep`: marks an event to keep, or not any longer.
pub async fn keep(
    State(api): State<Api>,
    Id(id): Id,
    body: Result<Json<KeepEvent>, axum::extract::rejection::JsonRejection>,
) -> Result<Json<ObjectEvent>, ApiError> {
    let Json(KeepEvent { keep }) = body?;
    let event = api
        .ask_store(move |store| {
            if store.keep_event(id, keep)? {
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
        let _ = follow(api, from, live, sender).await;
    });
    Sse::new(tokio_stream::wrappers::ReceiverStream::new(receiver)).keep_alive(KeepAlive::default())
}

type Sender = mpsc::Sender<Result<SseEvent, Infallible>>;

/// Sends what was missed, then what comes. A listener that falls behind is served again from memory and the database.
async fn follow(
    api: Api,
    mut number: i64,
    mut live: Subscription,
    sender: Sender,
) -> Result<(), ApiError> {
    number = catch_up(&api, number, &sender).await?;
    loop {
        let received = tokio::select! {
            () = sender.closed() => return Err(ApiError::NoListener),
            () = api.done.cancelled() => return Ok(()),
            received = live.next() => received,
        };
        match received {
            Some(Received::Event(event)) if event.number <= number => {}
            Some(Received::Event(event)) => number = send(&sender, &event).await?,
            Some(Received::Lost(_)) => number = catch_up(&api, number, &sender).await?,
            None => return Ok(()),
        }
    }
}

/// Sends the events after `number`: those on disk, then those in memory, which may not be on disk yet. Returns the number of the
/// last one.
async fn catch_up(api: &Api, mut number: i64, sender: &Sender) -> Result<i64, ApiError> {
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
                number = send(sender, &event).await?;
            }
            return Ok(number);
        }
        for change in stored {
            number = change.seq;
            let event = SseEvent::default()
                .event(change.kind)
                .id(change.seq.to_string())
                .data(change.json);
            sender
                .send(Ok(event))
                .await
                .map_err(|_| ApiError::NoListener)?;
        }
    }
}

async fn send(sender: &Sender, published: &Published) -> Result<i64, ApiError> {
    let event = SseEvent::default()
        .event(published.event.kind())
        .id(published.number.to_string())
        .data(published.json());
    sender
        .send(Ok(event))
        .await
        .map_err(|_| ApiError::NoListener)?;
    Ok(published.number)
}
