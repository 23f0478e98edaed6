//! The HTTP interface: JSON about cameras and events, changes of them, health checks, metrics.

mod access;
mod analysis;
mod audit;
mod auth;
mod cameras;
mod config;
mod encoded;
mod error;
mod event_socket;
mod events;
mod frigate;
mod grid;
mod guard;
mod health;
mod listener;
mod live;
mod media;
mod metrics;
mod openapi;
mod page;
mod query;
mod recordings;
mod routes;
mod server;
mod socket;
mod tasks;

use self::access::{Door, Identity};
use self::audit::Audit;
use self::auth::{Auth, SignIns};
use self::error::ApiError;
use self::metrics::EventMetrics;
use crate::bus::Bus;
use crate::config::{Config, HttpConfig};
use crate::frigate::Signer;
use crate::live::Live;
use crate::media::Media;
use crate::outputs;
use crate::recordings::Recordings;
use crate::reload::Changes;
use crate::store::Store;
use crate::supervisor::Handle;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use axum::{Router, middleware};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower_http::limit::RequestBodyLimitLayer;
use watchpost_api::Status;

pub use server::serve;

/// Largest body of a request. A configuration of a hundred cameras has a tenth of it.
const MAX_BODY: usize = 1 << 20;

/// A client that takes nothing of what is sent to it for this long is not there any more, or only looks as if it were: a viewer
/// whose network went away, a page that sleeps.
const NOT_TAKEN: Duration = Duration::from_secs(60);

/// Time in which a client says what it wants.
const STALLED: Duration = Duration::from_secs(30);

/// What every handler can reach.
#[derive(Clone)]
pub struct Api {
    supervisor: Handle,
    changes: Changes,
    bus: Bus,
    event_metrics: EventMetrics,
    store: Option<Arc<Store>>,
    media: Option<Media>,
    live: Live,
    recordings: Option<Recordings>,
    outputs: outputs::Numbers,
    config: watch::Receiver<Arc<Config>>,
    signer: Arc<Signer>,
    auth: watch::Sender<Arc<Auth>>,
    sign_ins: Arc<SignIns>,
    audit: Audit,
    done: CancellationToken,
}

impl Api {
    /// An interface to this supervisor, this configuration, what is kept, and live pictures, until `done`.
    pub fn new(
        supervisor: Handle,
        changes: Changes,
        bus: Bus,
        (store, media): (Option<Arc<Store>>, Option<Media>),
        (live, outputs): (Live, outputs::Numbers),
        config: watch::Receiver<Arc<Config>>,
        done: CancellationToken,
    ) -> Self {
        // The folder of media is in `data_dir`.
        let folder = media.as_ref().map(Media::path);
        let (signer, error) = Signer::new(folder.as_deref().and_then(Path::parent));
        if let Some(error) = error {
            tracing::warn!(
                "the key of logins at /frigate cannot be kept in data_dir: {error}; clients have to log in again after a \
                 restart"
            );
        }
        let auth = Auth::new(&config.borrow().http);
        let folder = store.as_ref().map(|store| store.folder());
        let audit = folder.map(Audit::new).unwrap_or_default();
        Self {
            supervisor,
            changes,
            event_metrics: EventMetrics::start(&bus, done.clone()),
            bus,
            store,
            media,
            live,
            recordings: None,
            outputs,
            config,
            signer: Arc::new(signer),
            auth: watch::Sender::new(Arc::new(auth)),
            sign_ins: Arc::default(),
            audit,
            done,
        }
    }

    /// With what is recorded.
    pub fn with_recordings(self, recordings: Option<Recordings>) -> Self {
        Self { recordings, ..self }
    }

    /// Other credentials from now on, also on connections that are open.
    fn take_credentials(&self, config: &HttpConfig) {
        self.auth.send_replace(Arc::new(Auth::new(config)));
    }

    fn store(&self) -> Result<Arc<Store>, ApiError> {
        self.store.clone().ok_or(ApiError::NoStore)
    }

    /// Reads from the store without holding up anybody else's request.
    async fn ask_store<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> crate::store::Result<T> + Send + 'static,
    ) -> Result<T, ApiError> {
        let store = self.store()?;
        let answer = tokio::task::spawn_blocking(move || read(&store)).await;
        answer
            .map_err(|_| ApiError::NoStore)?
            .map_err(ApiError::Store)
    }
}

/// Waits for the body before anybody works on the request, and not longer than a client may take that reads.
async fn whole_body(request: Request, next: Next) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    let body = tokio::time::timeout(STALLED, axum::body::to_bytes(body, MAX_BODY))
        .await
        .map_err(|_| ApiError::TooSlow)?
        .map_err(|error| unread(&error))?;
    Ok(next.run(Request::from_parts(head, body.into())).await)
}

/// Why a body did not arrive whole: it is above the limit, or it is no body (a chunk's length that is no number).
fn unread(error: &(dyn std::error::Error + 'static)) -> ApiError {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    if causes.any(|cause| cause.is::<http_body_util::LengthLimitError>()) {
        return ApiError::TooLarge;
    }
    let last = std::iter::successors(Some(error), |error| error.source()).last();
    ApiError::BrokenBody(last.map_or_else(|| error.to_string(), ToString::to_string))
}

/// Of what concerns cameras, what an identity sees of it.
trait Seen {
    fn seen_by(self, identity: &Identity) -> Self;
}

impl Seen for Status {
    fn seen_by(mut self, identity: &Identity) -> Self {
        if identity.cameras.is_some() {
            self.cameras.retain(|camera| identity.sees(&camera.name));
            // `capture NAME`, `analysis NAME`
            self.processes.retain(|process| {
                let camera = process.name.split_once(' ').map(|(_, camera)| camera);
                camera.is_none_or(|camera| identity.sees(camera))
            });
            // It may name other cameras.
            self.config_error = None;
        }
        self
    }
}

fn router(api: Api, listen: SocketAddr) -> Router {
    let routes = routes::all();
    let door = Door::new(api.clone(), &routes);
    let access = middleware::from_fn_with_state(door, access::check);
    let guard = middleware::from_fn_with_state(listen, guard::check);
    routes
        .into_iter()
        .fold(Router::new(), |router, route| {
            router.route(route.path, route.handler)
        })
        .merge(frigate::router())
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::wrong_method)
        .layer(middleware::from_fn(whole_body))
        .layer(RequestBodyLimitLayer::new(MAX_BODY))
        .layer(middleware::map_response(error::as_json))
        .layer(access)
        .layer(middleware::from_fn(page::serve))
        .layer(guard)
        .with_state(api)
}
