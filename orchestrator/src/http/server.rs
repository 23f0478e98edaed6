//! Listening, as configured and as configured anew while it runs.

use super::listener::Limited;
use super::{Api, MAX_CONNECTIONS, STALLED, router};
use crate::config::HttpConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// From one attempt to take a port that is in use to the next.
const AGAIN: Duration = Duration::from_secs(5);
/// How long an address may still be taken by the listener that has just been told to end.
const LETTING_GO: Duration = Duration::from_secs(1);

/// Answers until the interface's end. Without a listener the port is in use, and waited for.
pub async fn serve(
    listener: Option<TcpListener>,
    mut config: watch::Receiver<HttpConfig>,
    api: Api,
) {
    let done = api.done.clone();
    let mut server = Server {
        api,
        room: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        tasks: JoinSet::new(),
        accepting: None,
    };
    let mut address = config.borrow_and_update().listen;
    if let Some(listener) = listener {
        server.start(listener);
    }
    loop {
        tokio::select! {
            () = done.cancelled() => break,
            Ok(()) = config.changed() => {
                let new = config.borrow_and_update().clone();
                server.api.take_credentials(&new);
                if new.listen != address {
                    address = server.listen_elsewhere(address, new.listen).await;
                }
            }
            () = sleep(AGAIN), if server.accepting.is_none() => {
                if let Ok(listener) = TcpListener::bind(address).await {
                    server.start(listener);
                }
            }
        }
    }
    while server.tasks.join_next().await.is_some() {}
}

struct Server {
    api: Api,
    /// Room for connections, whichever listener they come by.
    room: Arc<Semaphore>,
    /// The listener at work, and former ones with connections that are still open.
    tasks: JoinSet<()>,
    /// Ends the listener at work.
    accepting: Option<CancellationToken>,
}

impl Server {
    fn start(&mut self, listener: TcpListener) {
        let local = match listener.local_addr() {
            Ok(local) => local,
            Err(error) => return tracing::error!("http: {error}"),
        };
        tracing::info!("listening on http://{local}");
        let stop = self.api.done.child_token();
        self.accepting = Some(stop.clone());
        let router = router(self.api.clone(), local);
        let listener = Limited::new(listener, self.room.clone(), STALLED);
        self.tasks.spawn(async move {
            let serving =
                axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
            if let Err(error) = serving.await {
                tracing::error!("http: {error}");
            }
        });
    }

    /// Listens there instead, or goes on here where that cannot be. Answers with the address that counts now.
    async fn listen_elsewhere(&mut self, from: SocketAddr, to: SocketAddr) -> SocketAddr {
        // First, because the new address is often the same port of more or fewer interfaces.
        if let Some(accepting) = self.accepting.take() {
            accepting.cancel();
        }
        match bind(to).await {
            Ok(listener) => {
                self.start(listener);
                to
            }
            Err(error) => {
                tracing::error!("http.listen {to}: {error}; it stays {from} until the next start");
                if let Ok(listener) = bind(from).await {
                    self.start(listener);
                }
                from
            }
        }
    }
}

/// Binds, patient with a listener that is about to go.
async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let deadline = Instant::now() + LETTING_GO;
    loop {
        match TcpListener::bind(address).await {
            Err(error)
                if error.kind() == std::io::ErrorKind::AddrInUse && Instant::now() < deadline =>
            {
                sleep(Duration::from_millis(20)).await;
            }
            result => return result,
        }
    }
}
