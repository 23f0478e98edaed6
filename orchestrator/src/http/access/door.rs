//! The layer every request passes: credentials, the decision, and the end of an answer with its credentials.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::header::RANGE;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Frame, SizeHint};

use super::{Action, Denied, Identity, Place, may};
use crate::http::Api;
use crate::http::auth::{self, SignIn};
use crate::http::error::ApiError;
use crate::http::frigate;
use crate::http::guard;
use crate::http::routes::Route;

/// What the layer knows of the routes.
#[derive(Clone)]
pub(in crate::http) struct Door {
    api: Api,
    routes: Arc<HashMap<(Method, &'static str), Known>>,
}

#[derive(Clone, Copy)]
struct Known {
    action: Action,
    is_stream: bool,
}

impl Door {
    pub(in crate::http) fn new(api: Api, routes: &[Route]) -> Self {
        let routes = routes.iter().map(|route| {
            let known = Known {
                action: route.action,
                is_stream: route.is_stream(),
            };
            ((route.method.clone(), route.path), known)
        });
        Self {
            api,
            routes: Arc::new(routes.collect()),
        }
    }

    fn route(&self, request: &Request) -> Option<Known> {
        if frigate::is_below(request.uri().path()) {
            return Some(of_frigate(request));
        }
        let path = request.extensions().get::<MatchedPath>()?;
        let method = match *request.method() {
            Method::HEAD => Method::GET,
            _ => request.method().clone(),
        };
        let known = self.routes.iter();
        known
            .filter(|((m, p), _)| *m == method && *p == path.as_str())
            .map(|(_, known)| *known)
            .next()
    }
}

/// Routes of Frigate's dialect are not in the list: they have Frigate's rules.
fn of_frigate(request: &Request) -> Known {
    let path = request.extensions().get::<MatchedPath>();
    let path = path.map_or("", MatchedPath::as_str);
    let action = match *request.method() {
        _ if path == frigate::LOGIN => Action::Probe,
        Method::GET | Method::HEAD => Action::Look,
        _ => Action::Operate,
    };
    Known {
        action,
        is_stream: path == frigate::STREAM,
    }
}

/// Lets through what may be done. Paths and methods that do not exist are named to those with credentials only.
pub(in crate::http) async fn check(
    State(door): State<Door>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let route = door.route(&request);
    if route.is_some_and(|route| route.action == Action::Probe) {
        return Ok(next.run(request).await);
    }
    if route.is_some() {
        guard::check_type(request.method(), request.headers())?;
    }
    let place = request.extensions().get::<Arc<Place>>().cloned();
    let address = place
        .as_ref()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |place| place.address());
    let of_frigate = frigate::is_below(request.uri().path());
    let logged_in = match of_frigate {
        true => frigate::identify(&door.api, request.headers()),
        false => None,
    };
    let identity = match logged_in {
        Some(identity) => identity,
        None => sign_in(&door.api, request.headers(), address).await?,
    };
    if let Some(place) = &place {
        place
            .sign(route.is_some_and(|route| route.is_stream))
            .map_err(ApiError::Crowded)?;
    }
    let (mut head, body) = request.into_parts();
    let mut pending = None;
    if let Some(route) = route {
        let camera = camera(&mut head).await;
        let mut allowed = may(Some(&identity), route.action, camera.as_deref());
        // Frigate's lists are of all cameras.
        if of_frigate && camera.is_none() && identity.cameras.is_some() {
            allowed = allowed.and(Err(Denied::Limited));
        }
        if is_audited(&head) {
            let path = head.extensions.get::<MatchedPath>();
            let action = format!("{} {}", head.method, path.map_or("", MatchedPath::as_str));
            let target = head
                .uri
                .path_and_query()
                .map_or("", |target| target.as_str());
            let user = &identity.name;
            pending = Some(door.api.audit.begin(user, address, action, target, camera));
        }
        if let Err(denied) = allowed {
            let refused = ApiError::Denied(denied);
            if let Some(pending) = pending {
                pending.end(refused.code()).await;
            }
            return Err(refused);
        }
    }
    head.extensions.insert(identity.clone());
    let response = next.run(Request::from_parts(head, body)).await;
    if let Some(pending) = pending {
        pending.end(response.status()).await;
    }
    Ok(until_revoked(&door, identity, response))
}

/// Changes and downloads are; of a download in pieces, as players do it, the first piece.
fn is_audited(head: &axum::http::request::Parts) -> bool {
    if head.method != Method::GET && head.method != Method::HEAD {
        return true;
    }
    let path = head.extensions.get::<MatchedPath>();
    const FILES: [&str; 2] = [
        "/api/media/{id}/file",
        "/api/cameras/{name}/recordings/clip.mp4",
    ];
    let is_file = path.is_some_and(|path| FILES.contains(&path.as_str()));
    let range = head.headers.get(RANGE);
    is_file && range.is_none_or(|range| range.as_bytes().starts_with(b"bytes=0-"))
}

/// The identity that a request's headers prove; sign-ins and failures are noted.
pub(in crate::http) async fn sign_in(
    api: &Api,
    headers: &HeaderMap,
    address: IpAddr,
) -> Result<Identity, ApiError> {
    let auth = api.auth.borrow().clone();
    let answer = auth.identify(headers, address, &api.sign_ins);
    match answer.await {
        SignIn::Known(identity) => Ok(identity),
        SignIn::New(identity) => {
            let audit = &api.audit;
            audit.sign_in(&identity.name, address, StatusCode::OK).await;
            Ok(identity)
        }
        SignIn::Missing => Err(ApiError::Denied(Denied::Unknown)),
        SignIn::TooSoon(wait) => Err(ApiError::TooSoon(wait.as_secs_f64().ceil() as u64)),
        SignIn::Wrong(failure) => {
            if let Some(count) = failure.noted {
                tracing::warn!(
                    %address,
                    user = ?failure.name,
                    "sign-in failed ({count} since the last line about this address)"
                );
                let audit = &api.audit;
                let refused = StatusCode::UNAUTHORIZED;
                audit.sign_in(&failure.name, address, refused).await;
            }
            Err(ApiError::Denied(Denied::Unknown))
        }
    }
}

/// The camera that the path names.
async fn camera(head: &mut axum::http::request::Parts) -> Option<String> {
    let parameters = RawPathParams::from_request_parts(head, &()).await.ok()?;
    let mut parameters = parameters.iter();
    let (_, name) = parameters.find(|(key, _)| matches!(*key, "name" | "camera"))?;
    Some(name.to_owned())
}

/// An answer whose length is not known, a stream most of all, ends when its credentials do.
fn until_revoked(door: &Door, identity: Identity, response: Response) -> Response {
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    let ended = auth::ended(door.api.auth.subscribe(), identity);
    response.map(|body| {
        Body::new(Ending {
            body,
            ended: Box::pin(ended),
        })
    })
}

struct Ending {
    body: Body,
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl HttpBody for Ending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ended.as_mut().poll(cx).is_ready() {
            // Cut off rather than ended, so that half a file is not taken for a whole one.
            let cut = std::io::Error::other("the credentials of this request are gone");
            return Poll::Ready(Some(Err(axum::Error::new(cut))));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
