//! Listening, as configured and as configured anew while it runs.

use super::access::Places;
use super::listener::Limited;
use super::{Api, NOT_TAKEN, STALLED, router};
use crate::config::HttpConfig;
use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

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
        places: Places::new(config.borrow().max_connections),
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
                server.places.set_max(new.max_connections);
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
    /// The connections, whichever listener they come by.
    places: Places,
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
        let listener = Limited::new(listener, self.places.clone(), NOT_TAKEN);
        self.tasks.spawn(accept(listener, router, STALLED, stop));
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

/// Answers on this listener until `stop`, and then what has been asked already. A client that does not say within `patience` what
/// it wants, or keeps its connection after an answer and asks nothing more, gives its place to others: half a request, a
/// browser's spare connection, a computer that went to sleep.
async fn accept(
    mut listener: Limited,
    router: Router,
    patience: Duration,
    stop: CancellationToken,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience);
    let open = TaskTracker::new();
    loop {
        let (connection, place) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let end = place.end();
        let place = Arc::new(place);
        let router = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(place.clone());
            place.set_busy(true);
            let (answer, place) = (router.call(request), place.clone());
            async move {
                let answer = answer.await;
                place.set_busy(false);
                answer
            }
        });
        let served = http
            .serve_connection(TokioIo::new(connection), service)
            .with_upgrades();
        let stop = stop.clone();
        open.spawn(async move {
            tokio::pin!(served);
            tokio::select! {
                // What goes wrong is that the client went away or made no sense, which is its own business.
                _ = served.as_mut() => {}
                // Others need its place more.
                () = end.cancelled() => {}
                () = stop.cancelled() => {
                    served.as_mut().graceful_shutdown();
                    let _ = served.await;
                }
            }
        });
    }
    drop(listener);
    open.close();
    open.wait().await;
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

#[cfg(test)]
mod tests;
