//! The HTTP interface: JSON about cameras, health checks.

mod cameras;
mod error;
mod health;

use crate::supervisor::Handle;
use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What every handler can reach.
#[derive(Debug, Clone)]
struct Api {
    supervisor: Handle,
}

/// Answers until `done`.
pub async fn serve(
    listener: TcpListener,
    supervisor: Handle,
    done: CancellationToken,
) -> std::io::Result<()> {
    axum::serve(listener, router(supervisor))
        .with_graceful_shutdown(done.cancelled_owned())
        .await
}

fn router(supervisor: Handle) -> Router {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/api/status", get(cameras::status))
        .route("/api/cameras", get(cameras::list))
        .route("/api/cameras/{name}", get(cameras::one))
        .fallback(error::no_such_path)
        .with_state(Api { supervisor })
}
