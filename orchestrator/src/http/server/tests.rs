use super::*;
use axum::body::{Body, Bytes};
use axum::routing::get;
use std::convert::Infallible;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

const PATIENCE: Duration = Duration::from_millis(300);
const DEADLINE: Duration = Duration::from_secs(60);
const REQUEST: &[u8] = b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn piece() -> Result<Bytes, Infallible> {
    Ok(Bytes::from_static(&[b'.'; 65_536]))
}

fn routes() -> Router {
    let endless = || async { Body::from_stream(tokio_stream::iter(std::iter::repeat_with(piece))) };
    let pausing = || async {
        let (sender, pieces) = mpsc::channel(1);
        tokio::spawn(async move {
            let _ = sender.send(piece()).await;
            sleep(3 * PATIENCE).await;
            let _ = sender.send(Ok(Bytes::from_static(b"the end"))).await;
        });
        Body::from_stream(ReceiverStream::new(pieces))
    };
    let slow = || async {
        sleep(3 * PATIENCE).await;
        "at last"
    };
    Router::new()
        .route("/endless", get(endless))
        .route("/pausing", get(pausing))
        .route("/slow", get(slow))
}

struct Running {
    address: SocketAddr,
    places: Places,
    stop: CancellationToken,
    server: tokio::task::JoinHandle<()>,
}

/// A server that hangs up on those who take nothing for `writing`, or ask nothing for `reading`.
async fn serve(writing: Duration, reading: Duration) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let places = Places::new(128);
    let listener = Limited::new(listener, places.clone(), writing);
    let stop = CancellationToken::new();
    let server = tokio::spawn(accept(listener, routes(), reading, stop.clone()));
    Running {
        address,
        places,
        stop,
        server,
    }
}

async fn ask(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Waits until so many connections have a place.
async fn until_open(places: &Places, count: usize) {
    let reached = async {
        while places.open() != count {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, reached).await.expect("the places change");
}

#[tokio::test]
async fn a_client_that_takes_nothing_loses_its_connection_and_its_place() {
    let running = serve(PATIENCE, DEADLINE).await;
    let mut stalled = ask(running.address, "/endless").await;
    stalled.read_u8().await.unwrap();
    assert_eq!(running.places.open(), 1);
    until_open(&running.places, 0).await;
    let mut rest = Vec::new();
    let end = timeout(DEADLINE, stalled.read_to_end(&mut rest))
        .await
        .expect("an end");
    assert!(end.is_err(), "it was cut off, not ended");
}

#[tokio::test]
async fn a_client_with_nothing_to_take_stays() {
    let running = serve(PATIENCE, DEADLINE).await;
    let mut client = ask(running.address, "/pausing").await;
    let mut text = Vec::new();
    timeout(DEADLINE, client.read_to_end(&mut text))
        .await
        .unwrap()
        .unwrap();
    assert!(String::from_utf8_lossy(&text).contains("the end"));
}

#[tokio::test]
async fn a_client_that_asks_nothing_is_hung_up_on_and_one_that_waits_is_not() {
    let running = serve(DEADLINE, PATIENCE).await;
    for sent in [b"".as_slice(), b"GET / HT", REQUEST] {
        let mut client = TcpStream::connect(running.address).await.unwrap();
        client.write_all(sent).await.unwrap();
        let mut answer = Vec::new();
        timeout(DEADLINE, client.read_to_end(&mut answer))
            .await
            .expect("it is hung up on")
            .unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert_eq!(answer.ends_with("at last"), sent == REQUEST, "{answer}");
    }
    until_open(&running.places, 0).await;
    running.stop.cancel();
    timeout(DEADLINE, running.server)
        .await
        .expect("an end")
        .unwrap();
}

#[tokio::test]
async fn clients_that_keep_connections_without_credentials_give_way_to_new_ones() {
    let running = serve(DEADLINE, DEADLINE).await;
    let mut idle = Vec::new();
    for _ in 0..140 {
        idle.push(TcpStream::connect(running.address).await.unwrap());
    }
    until_open(&running.places, 64).await;
    let mut answer = Vec::new();
    let mut client = ask(running.address, "/slow").await;
    timeout(DEADLINE, client.read_to_end(&mut answer))
        .await
        .expect("an answer")
        .unwrap();
    assert!(String::from_utf8_lossy(&answer).ends_with("at last"));
    let mut oldest = Vec::new();
    timeout(DEADLINE, idle[0].read_to_end(&mut oldest))
        .await
        .expect("the oldest gave way")
        .unwrap();
}
