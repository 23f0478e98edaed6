//! Listening, as configured and as configured anew while it runs.

use super::listener::Limited;
use super::{Api, MAX_CONNECTIONS, NOT_TAKEN, STALLED, router};
use crate::config::HttpConfig;
use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
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
        let listener = Limited::new(listener, self.room.clone(), NOT_TAKEN);
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
        let connection = tokio::select! {
            () = stop.cancelled() => break,
            (connection, _) = listener.accept() => connection,
        };
        let service = TowerToHyperService::new(router.clone());
        let served = http
            .serve_connection(TokioIo::new(connection), service)
            .with_upgrades();
        let stop = stop.clone();
        open.spawn(async move {
            tokio::pin!(served);
            // What goes wrong is that the client went away or made no sense, which is its own business.
            tokio::select! {
                _ = served.as_mut() => {}
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
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    const PATIENCE: Duration = Duration::from_millis(200);
    const DEADLINE: Duration = Duration::from_secs(60);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    #[tokio::test]
    async fn who_asks_nothing_gives_its_place_to_others_and_who_listens_keeps_it() {
        let slow = || async {
            sleep(3 * PATIENCE).await;
            "at last"
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Limited::new(listener, Arc::new(Semaphore::new(1)), DEADLINE);
        let stop = CancellationToken::new();
        let router = Router::new().route("/", get(slow));
        let server = tokio::spawn(accept(listener, router, PATIENCE, stop.clone()));
        // Each has the only place; the next one gets it when the former is hung up on.
        for sent in [b"".as_slice(), b"GET / HT", REQUEST] {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(sent).await.unwrap();
            let mut answer = Vec::new();
            timeout(DEADLINE, client.read_to_end(&mut answer))
                .await
                .expect("it is hung up on")
                .unwrap();
            let answer = String::from_utf8_lossy(&answer);
            assert_eq!(answer.ends_with("at last"), sent == REQUEST, "{answer}");
        }
        stop.cancel();
        timeout(DEADLINE, server).await.expect("an end").unwrap();
    }
}
