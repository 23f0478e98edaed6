//! The HTTP interface: JSON about cameras and events, changes of them, health checks, metrics.

mod auth;
mod cameras;
mod config;
mod error;
mod events;
mod grid;
mod guard;
mod health;
mod listener;
mod metrics;

use self::auth::Auth;
use self::error::ApiError;
use self::listener::Limited;
use crate::changes::Changes;
use crate::config::HttpConfig;
use crate::store::Store;
use crate::supervisor::Handle;
use axum::routing::{get, post};
use axum::{Router, middleware};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::limit::RequestBodyLimitLayer;

/// Largest body of a request. A configuration of a hundred cameras has a tenth of it.
const MAX_BODY: usize = 1 << 20;

/// Connections at a time. A page takes a handful, a Prometheus one.
const MAX_CONNECTIONS: usize = 128;

/// Why HTTP must not be served as configured.
pub fn problem(config: &HttpConfig) -> Option<String> {
    Auth::problem(config)
}

/// What every handler can reach.
#[derive(Clone)]
pub struct Api {
    supervisor: Handle,
    changes: Changes,
    store: Option<Arc<Store>>,
    auth: Arc<Auth>,
    done: CancellationToken,
}

impl Api {
    /// An interface to this supervisor, this configuration and this store, until `done`.
    pub fn new(
        supervisor: Handle,
        changes: Changes,
        store: Option<Arc<Store>>,
        config: &HttpConfig,
        done: CancellationToken,
    ) -> Self {
        Self {
            supervisor,
            changes,
            store,
            auth: Arc::new(Auth::new(config)),
            done,
        }
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

/// Answers until the interface's end.
pub async fn serve(listener: TcpListener, api: Api) -> std::io::Result<()> {
    let listen = listener.local_addr()?;
    let done = api.done.clone();
    let listener = Limited::new(listener, MAX_CONNECTIONS);
    axum::serve(listener, router(api, listen))
        .with_graceful_shutdown(done.cancelled_owned())
        .await
}

fn router(api: Api, listen: SocketAddr) -> Router {
    let auth = middleware::from_fn_with_state(api.auth.clone(), auth::check);
    let guard = middleware::from_fn_with_state(listen, guard::check);
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::prometheus))
        .route("/api/status", get(cameras::status))
        .route("/api/config", get(config::get).post(config::post))
        .route("/api/cameras", get(cameras::list))
        .route(
            "/api/cameras/{name}",
            get(cameras::one)
                .put(config::put_camera)
                .patch(config::patch_camera)
                .delete(config::delete_camera),
        )
        .route("/api/cameras/{name}/moving", post(cameras::moving))
        .route(
            "/api/cameras/{name}/grid",
            get(grid::get).delete(grid::delete),
        )
        .route("/api/cameras/{name}/grid.svg", get(grid::picture))
        .route("/api/cameras/{name}/grid/freeze", post(grid::freeze))
        .route("/api/events", get(events::list))
        .route("/api/events/stream", get(events::stream))
        .route("/api/events/{id}", get(events::one))
        .fallback(error::no_such_path)
        .layer(RequestBodyLimitLayer::new(MAX_BODY))
        .layer(auth)
        .layer(guard)
        .with_state(api)
}
