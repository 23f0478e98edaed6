//! Frigate's dialect over HTTP, under `/frigate`: what Home Assistant's Frigate integration, its card and notifiers ask.
//!
//! What Watchpost does not have is answered as Frigate answers when it is switched off, and not described in
//! `/api/openapi.json`: this is Frigate's interface.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Extension, Path, Query, State};
use axum::http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use detection::FrameSize;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::{self, Identity, Place, Proof};
use super::error::ApiError;
use super::{Api, live};
use crate::clock;
use crate::config::Role;
use crate::frigate::{self, TimeZone, User};
use crate::store::{EventOrder, EventSearch};

/// Where it is.
pub(super) const BASE: &str = "/frigate";
/// Needs no credentials: it takes them.
pub(super) const LOGIN: &str = "/frigate/api/login";
/// Goes on until the client leaves.
pub(super) const STREAM: &str = "/frigate/api/{camera}";
const COOKIE_NAME: &str = "frigate_token";
/// Events of one answer at most.
const MOST: usize = 5000;

/// Every request there is.
pub(super) fn router() -> Router<Api> {
    let none = || get(|| async { Json(json!([])) });
    let nothing = || get(|| async { Json(json!({})) });
    let api = Router::new()
        .route(
            "/",
            get(|| async { "Frigate is running. Alive and healthy!" }),
        )
        .route("/version", get(|| async { frigate::VERSION }))
        .route("/login", post(login))
        .route("/logout", get(logout))
        .route("/profile", get(profile))
        .route("/config", get(config))
        .route("/stats", get(stats))
        .route("/labels", get(labels))
        .route("/events", get(events))
        .route("/events/summary", get(summary))
        .route("/events/{id}", get(event))
        .route("/events/{id}/retain", post(keep).delete(do_not_keep))
        .route("/events/{id}/{file}", get(no_file))
        .route("/{camera}", get(live::stream))
        .route("/{camera}/latest.jpg", get(live::snapshot))
        // Functions that Watchpost does not have.
        .route("/{camera}/ptz/info", nothing())
        .route("/{camera}/recordings", none())
        .route("/{camera}/recordings/summary", none())
        .route("/recordings/summary", nothing())
        .route("/recordings/storage", nothing())
        .route("/review", none())
        .route("/exports", none())
        .route("/sub_labels", none())
        .route("/faces", nothing())
        .route("/go2rtc/streams", nothing());
    Router::new()
        .nest(&format!("{BASE}/api"), api)
        .route(&format!("{BASE}/{{*path}}"), get(no_such_path))
}

/// An error in Frigate's form.
struct Failure(StatusCode, String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = json!({"success": false, "message": self.1});
        (self.0, Json(body)).into_response()
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self(error.code(), error.to_string())
    }
}

type Answer = Result<Json<Value>, Failure>;

async fn no_such_path(Path(path): Path<String>) -> Failure {
    Failure(
        StatusCode::NOT_FOUND,
        format!("Watchpost has no /{path} of Frigate's interface"),
    )
}

/// Body of `POST /api/login`.
#[derive(Deserialize)]
struct Login {
    user: String,
    password: String,
}

async fn login(
    State(api): State<Api>,
    place: Option<Extension<Arc<Place>>>,
    body: Bytes,
) -> Result<Response, Failure> {
    let Ok(Login { user, password }) = serde_json::from_slice(&body) else {
        let text = "expected {\"user\": ..., \"password\": ...}".to_owned();
        return Err(Failure(StatusCode::BAD_REQUEST, text));
    };
    let auth = api.auth.borrow().clone();
    let refused = || Failure(StatusCode::UNAUTHORIZED, "Login failed".to_owned());
    let mut headers = HeaderMap::new();
    let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let basic = HeaderValue::from_str(&basic).map_err(|_| refused())?;
    headers.insert(AUTHORIZATION, basic);
    let address = place.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |place| place.address());
    let identity = match access::sign_in(&api, &headers, address).await {
        Ok(identity) => identity,
        Err(error @ ApiError::TooSoon(_)) => return Err(error.into()),
        Err(_) => return Err(refused()),
    };
    let known = User {
        name: &user,
        proof: auth.password_hash(&user).unwrap_or_default(),
    };
    let token = api.signer.sign(known, role(identity.role), clock::now());
    let token = token.ok_or_else(refused)?;
    let cookie = format!("{COOKIE_NAME}={token}; Path={BASE}; HttpOnly; SameSite=Strict");
    Ok(([(SET_COOKIE, cookie)], Json(json!({}))).into_response())
}

async fn logout() -> Response {
    let cookie = format!("{COOKIE_NAME}=; Path={BASE}; Max-Age=0; HttpOnly; SameSite=Strict");
    ([(SET_COOKIE, cookie)], Json(json!({}))).into_response()
}

/// Whether a path is one of this interface.
pub(super) fn is_below(path: &str) -> bool {
    path.strip_prefix(BASE)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// The identity of the token in a request. Only requests below [`BASE`] have one.
pub(super) fn identify(api: &Api, headers: &HeaderMap) -> Option<Identity> {
    let auth = api.auth.borrow().clone();
    let text = |value: &HeaderValue| value.to_str().map(str::to_owned).ok();
    let bearer = headers.get(AUTHORIZATION).and_then(text);
    let bearer = bearer
        .as_deref()
        .and_then(|value| value.strip_prefix("Bearer "));
    let cookies: Vec<String> = headers.get_all(COOKIE).iter().filter_map(text).collect();
    let cookie = cookies
        .iter()
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(COOKIE_NAME)?.strip_prefix('='));
    let token = bearer.or(cookie)?;
    let name = api
        .signer
        .verify(token, clock::now(), |name| auth.password_hash(name))?;
    auth.user(&name)
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::Admin => "admin",
        Role::Viewer | Role::ReadOnly | Role::Operator => "viewer",
    }
}

async fn profile(State(api): State<Api>, identity: Identity) -> Answer {
    let status = api.supervisor.status().await.map_err(ApiError::from)?;
    let cameras: Vec<&String> = status.cameras.iter().map(|camera| &camera.name).collect();
    Ok(Json(json!({
        "username": match identity.proof {
            Proof::Password(_) => &*identity.name,
            Proof::Open | Proof::Token(_) => "anonymous",
        },
        "role": role(identity.role),
        "allowed_cameras": cameras,
    })))
}

async fn config(State(api): State<Api>) -> Answer {
    let status = api.supervisor.status().await.map_err(ApiError::from)?;
    let size = |ring: &watchpost_api::RingStatus| FrameSize::new(ring.width, ring.height);
    let sizes: BTreeMap<String, FrameSize> = status
        .cameras
        .iter()
        .filter_map(|camera| Some((camera.name.clone(), size(camera.ring.as_ref()?))))
        .collect();
    let mut config = (**api.config.borrow()).clone();
    // Both must list the same cameras at the same time, or Home Assistant has no sensors at all.
    config
        .cameras
        .retain(|name, _| status.cameras.iter().any(|camera| camera.name == *name));
    Ok(Json(frigate::config(&config, &sizes)))
}

async fn stats(State(api): State<Api>) -> Answer {
    let status = api.supervisor.status().await.map_err(ApiError::from)?;
    Ok(Json(frigate::stats(&status, clock::now())))
}

async fn labels(State(api): State<Api>) -> Json<Value> {
    let config = api.config.borrow().clone();
    Json(json!(frigate::labels(&config)))
}

type Parameters = Query<HashMap<String, String>>;

async fn events(State(api): State<Api>, Query(parameters): Parameters) -> Answer {
    let search = search(&parameters)?;
    if wants_more(&parameters)? {
        return Ok(Json(json!([])));
    }
    let found = api
        .ask_store(move |store| store.search_events(&search))
        .await?;
    let found: Vec<Value> = found.iter().map(frigate::event).collect();
    Ok(Json(json!(found)))
}

async fn summary(State(api): State<Api>, Query(parameters): Parameters) -> Answer {
    let zone = parameters.get("timezone").map_or("UTC", String::as_str);
    let zone = TimeZone::named(zone);
    if wants_more(&parameters)? {
        return Ok(Json(json!([])));
    }
    let counts = api
        .ask_store(move |store| Ok(frigate::summary(store.event_starts()?, &zone)))
        .await?;
    Ok(Json(json!(counts)))
}

async fn event(State(api): State<Api>, Path(id): Path<String>) -> Answer {
    let found = find(&api, &id).await?;
    Ok(Json(frigate::event(&found)))
}

async fn find(api: &Api, id: &str) -> Result<watchpost_api::ObjectEvent, Failure> {
    let none = || Failure(StatusCode::NOT_FOUND, "Event not found".to_owned());
    let number = frigate::number_of(id).ok_or_else(none)?;
    let found = api.ask_store(move |store| store.event(number)).await?;
    // An id of Frigate's own, or of another database, is none of ours.
    found
        .filter(|found| frigate::of_event(found) == id)
        .ok_or_else(none)
}

async fn no_file(State(api): State<Api>, Path((id, file)): Path<(String, String)>) -> Failure {
    match find(&api, &id).await {
        Ok(_) => Failure(
            StatusCode::NOT_FOUND,
            format!(
                "the event has no {file}: Watchpost does not keep pictures and clips of events"
            ),
        ),
        Err(failure) => failure,
    }
}

async fn keep(State(api): State<Api>, Path(id): Path<String>) -> Answer {
    set_keep(&api, &id, true).await
}

async fn do_not_keep(State(api): State<Api>, Path(id): Path<String>) -> Answer {
    set_keep(&api, &id, false).await
}

async fn set_keep(api: &Api, id: &str, keep: bool) -> Answer {
    let number = find(api, id).await?.id;
    api.ask_store(move |store| store.keep_event(number, keep))
        .await?;
    let verb = if keep { "retained" } else { "un-retained" };
    Ok(Json(
        json!({"success": true, "message": format!("Event {id} {verb}")}),
    ))
}

/// Whether only events with a picture, a clip or a sub label are asked for, of which there are none.
fn wants_more(parameters: &HashMap<String, String>) -> Result<bool, Failure> {
    let clip = flag(parameters, "has_clip")?;
    let snapshot = flag(parameters, "has_snapshot")?;
    let mut sub_labels = ["sub_label", "sub_labels"]
        .iter()
        .filter_map(|name| parameters.get(*name));
    let wants_sub_label = sub_labels.any(|wanted| !matches!(wanted.as_str(), "" | "all" | "None"));
    Ok(clip == Some(true) || snapshot == Some(true) || wants_sub_label)
}

fn flag(parameters: &HashMap<String, String>, name: &str) -> Result<Option<bool>, Failure> {
    match parameters.get(name).map(String::as_str) {
        None | Some("") => Ok(None),
        Some("1" | "true" | "True") => Ok(Some(true)),
        Some("0" | "false" | "False") => Ok(Some(false)),
        Some(other) => Err(Failure(
            StatusCode::BAD_REQUEST,
            format!("{name}={other}: expected 0 or 1"),
        )),
    }
}

fn search(parameters: &HashMap<String, String>) -> Result<EventSearch, Failure> {
    let list = |names: [&str; 2]| {
        let given = names.into_iter().find_map(|name| parameters.get(name))?;
        let wanted = !given.is_empty() && given != "all";
        wanted.then(|| given.split(',').map(str::to_owned).collect())
    };
    let number = |name: &str| match parameters.get(name).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(Failure(
                StatusCode::BAD_REQUEST,
                format!("{name}={text}: expected a number"),
            )),
        },
    };
    let limit = number("limit")?.map_or(100, |limit| limit.max(0.0) as usize);
    Ok(EventSearch {
        number: parameters
            .get("event_id")
            .filter(|id| !id.is_empty())
            // An unknown id is not all of them.
            .map(|id| frigate::number_of(id).unwrap_or(-1)),
        cameras: list(["cameras", "camera"]),
        labels: list(["labels", "label"]),
        zones: list(["zones", "zone"]),
        after: number("after")?,
        before: number("before")?,
        min_score: number("min_score")?,
        max_score: number("max_score")?,
        min_length: number("min_length")?,
        max_length: number("max_length")?,
        in_progress: flag(parameters, "in_progress")?,
        keep: flag(parameters, "favorites")?.filter(|favorites| *favorites),
        order: match parameters.get("sort").map(String::as_str) {
            Some("date_asc") => EventOrder::Oldest,
            Some("score_desc") => EventOrder::BestScore,
            Some("score_asc") => EventOrder::WorstScore,
            _ => EventOrder::Newest,
        },
        limit: limit.min(MOST),
    })
}
