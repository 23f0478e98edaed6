//! The HTTP interface: JSON about cameras, health checks.

mod cameras;
mod error;
mod events;
mod grid;
mod health;

use self::error::ApiError;
use crate::store::Store;
use crate::supervisor::Handle;
use axum::Router;
use axum::routing::{get, post};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What every handler can reach.
#[derive(Clone)]
struct Api {
    supervisor: Handle,
    store: Option<Arc<Store>>,
    done: CancellationToken,
}

impl Api {
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

/// Answers until `done`.
pub async fn serve(
    listener: TcpListener,
    supervisor: Handle,
    store: Option<Arc<Store>>,
    done: CancellationToken,
) -> std::io::Result<()> {
    let api = Api {
        supervisor,
        store,
        done: done.clone(),
    };
    axum::serve(listener, router(api))
        .with_graceful_shutdown(done.cancelled_owned())
        .await
}

fn router(api: Api) -> Router {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/api/status", get(cameras::status))
        .route("/api/cameras", get(cameras::list))
        .route("/api/cameras/{name}", get(cameras::one))
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
        .with_state(api)
}
