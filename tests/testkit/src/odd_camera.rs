//! An RTSP camera with habits that gst-rtsp-server does not have: its session description, its packets, its answers and
//! its transports are the test's own. Packets come from a launch line that ends in a payloader.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use gst::prelude::*;

/// Changes a packet before it is sent; the number counts the packets of a session.
type Mangle = Arc<dyn Fn(u64, &mut Vec<u8>) + Send + Sync>;

/// How a camera answers.
#[derive(Clone)]
struct Habits {
    packets: String,
    media: String,
    mangle: Mangle,
    over_tcp: bool,
    over_udp: bool,
    challenge: Option<String>,
    idle_timeout: Option<Duration>,
}

/// A request as the camera received it.
#[derive(Debug, Clone)]
pub struct Request {
    /// `DESCRIBE` and so on.
    pub method: String,
    /// Headers by their names in lower case.
    pub headers: BTreeMap<String, String>,
}

/// A camera to be.
pub struct Builder(Habits);

impl Builder {
    /// Offers RTP over TCP only, or UDP only.
    pub fn transports(mut self, tcp: bool, udp: bool) -> Self {
        (self.0.over_tcp, self.0.over_udp) = (tcp, udp);
        self
    }

    /// Changes every packet.
    pub fn mangle(mut self, mangle: impl Fn(u64, &mut Vec<u8>) + Send + Sync + 'static) -> Self {
        self.0.mangle = Arc::new(mangle);
        self
    }

    /// Refuses every request but `OPTIONS` with this challenge, whatever credentials it has.
    pub fn refuse(mut self, challenge: &str) -> Self {
        self.0.challenge = Some(challenge.into());
        self
    }

    /// Ends a session without a request for so long, as it announces.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.0.idle_timeout = Some(timeout);
        self
    }

    /// Starts to serve.
    pub fn start(self) -> OddCamera {
        gst::init().expect("GStreamer starts");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let (log, stop) = (requests.clone(), stopped.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let session = Session {
                    habits: self.0.clone(),
                    log: log.clone(),
                    stopped: stop.clone(),
                };
                // Ends with the client's connection.
                thread::spawn(move || session.serve(client));
            }
        });
        OddCamera {
            port,
            requests,
            stopped,
        }
    }
}

/// A camera that stops when it is dropped.
pub struct OddCamera {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    stopped: Arc<AtomicBool>,
}

impl OddCamera {
    /// `packets` is a launch line that ends in a payloader; `media` the lines of the media description from `m=` on.
    pub fn builder(packets: &str, media: &str) -> Builder {
        Builder(Habits {
            packets: packets.into(),
            media: media.into(),
            mangle: Arc::new(|_, _| {}),
            over_tcp: true,
            over_udp: true,
            challenge: None,
            idle_timeout: None,
        })
    }

    /// The address of the stream; `credentials` is empty or `USER:PASSWORD@`.
    pub fn url(&self, credentials: &str) -> String {
        format!("rtsp://{credentials}127.0.0.1:{}/live", self.port)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic while held").clone()
    }

    /// How often a method was requested.
    pub fn count(&self, method: &str) -> usize {
        let requests = self.requests();
        requests.iter().filter(|r| r.method == method).count()
    }
}

impl Drop for OddCamera {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the listener up.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

/// Where a session's packets go.
enum Target {
    Tcp(Arc<Mutex<TcpStream>>),
    Udp(UdpSocket, u16),
}

impl Target {
    fn send(&self, packet: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                let mut framed = vec![b'$', 0];
                framed.extend((packet.len() as u16).to_be_bytes());
                framed.extend(packet);
                stream
                    .lock()
                    .expect("no panic while held")
                    .write_all(&framed)
            }
            Self::Udp(socket, port) => socket
                .send_to(packet, (Ipv4Addr::LOCALHOST, *port))
                .map(drop),
        }
    }
}

struct Session {
    habits: Habits,
    log: Arc<Mutex<Vec<Request>>>,
    stopped: Arc<AtomicBool>,
}

impl Session {
    fn serve(self, client: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(client.try_clone()?);
        let writer = Arc::new(Mutex::new(client.try_clone()?));
        let heard = Arc::new(Mutex::new(Instant::now()));
        let mut target = None;
        while let Some(request) = read_request(&mut reader)? {
            *heard.lock().expect("no panic while held") = Instant::now();
            self.log
                .lock()
                .expect("no panic while held")
                .push(request.clone());
            let method = request.method.as_str();
            let (status, headers, body) = match (method, &self.habits.challenge) {
                ("OPTIONS", _) => (
                    "200 OK",
                    "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER\r\n".into(),
                    String::new(),
                ),
                (_, Some(challenge)) => (
                    "401 Unauthorized",
                    format!("WWW-Authenticate: {challenge}\r\n"),
                    String::new(),
                ),
                ("DESCRIBE", None) => (
                    "200 OK",
                    "Content-Type: application/sdp\r\n".into(),
                    format!(
                        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n{}a=control:track\r\n",
                        self.habits.media
                    ),
                ),
                ("SETUP", None) => match self.set_up(&request, &writer)? {
                    Some((transport, chosen)) => {
                        target = Some(chosen);
                        let timeout = self.habits.idle_timeout.map_or(60, |limit| limit.as_secs());
                        let headers =
                            format!("Transport: {transport}\r\nSession: 1;timeout={timeout}\r\n");
                        ("200 OK", headers, String::new())
                    }
                    None => ("461 Unsupported Transport", String::new(), String::new()),
                },
                _ => ("200 OK", "Session: 1\r\n".into(), String::new()),
            };
            let sequence = request.headers.get("cseq").map_or("", String::as_str);
            let answer = format!(
                "RTSP/1.0 {status}\r\nCSeq: {sequence}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            writer
                .lock()
                .expect("no panic while held")
                .write_all(answer.as_bytes())?;
            if method == "PLAY"
                && let Some(target) = target.take()
            {
                self.play(target, client.try_clone()?, heard.clone());
            }
        }
        client.shutdown(Shutdown::Both)
    }

    fn set_up(
        &self,
        request: &Request,
        writer: &Arc<Mutex<TcpStream>>,
    ) -> io::Result<Option<(String, Target)>> {
        let asked = request
            .headers
            .get("transport")
            .cloned()
            .unwrap_or_default();
        if asked.contains("TCP") {
            let answer = "RTP/AVP/TCP;unicast;interleaved=0-1".to_owned();
            return Ok(self
                .habits
                .over_tcp
                .then(|| (answer, Target::Tcp(writer.clone()))));
        }
        let ports = asked.split("client_port=").nth(1).unwrap_or_default();
        let port = ports.split('-').next().and_then(|port| port.parse().ok());
        let Some(port) = port.filter(|_| self.habits.over_udp) else {
            return Ok(None);
        };
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let own = socket.local_addr()?.port();
        let answer = format!(
            "RTP/AVP;unicast;client_port={port}-{};server_port={own}-{}",
            port + 1,
            own.wrapping_add(1)
        );
        Ok(Some((answer, Target::Udp(socket, port))))
    }

    /// Sends packets until the client has gone or was silent for too long.
    fn play(&self, target: Target, client: TcpStream, heard: Arc<Mutex<Instant>>) {
        let line = format!("{} ! appsink name=packets sync=false", self.habits.packets);
        let pipeline = gst::parse::launch(&line).expect("the test's launch line");
        let (habits, stopped) = (self.habits.clone(), self.stopped.clone());
        thread::spawn(move || {
            let bin = pipeline
                .downcast_ref::<gst::Bin>()
                .expect("several elements");
            let packets = bin.by_name("packets").expect("it is in the line");
            pipeline.set_state(gst::State::Playing).expect("it plays");
            let mut number = 0;
            'sending: while !stopped.load(Ordering::Relaxed) {
                let wait = gst::ClockTime::from_mseconds(200);
                let sample =
                    packets.emit_by_name::<Option<gst::Sample>>("try-pull-sample", &[&wait]);
                let silent = heard.lock().expect("no panic while held").elapsed();
                if habits.idle_timeout.is_some_and(|limit| silent > limit) {
                    break;
                }
                let lists = sample
                    .as_ref()
                    .and_then(|sample| sample.buffer_list_owned());
                let single = sample.as_ref().and_then(|sample| sample.buffer_owned());
                let buffers = lists
                    .iter()
                    .flat_map(|list| list.iter_owned())
                    .chain(single);
                for buffer in buffers {
                    let mut packet = buffer.map_readable().expect("it is memory").to_vec();
                    (habits.mangle)(number, &mut packet);
                    number += 1;
                    if target.send(&packet).is_err() {
                        break 'sending;
                    }
                }
            }
            let _ = pipeline.set_state(gst::State::Null);
            let _ = client.shutdown(Shutdown::Both);
        });
    }
}

/// The next request, past the packets that the client sends in between.
fn read_request(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    loop {
        let Some(&first) = reader.fill_buf()?.first() else {
            return Ok(None);
        };
        if first != b'$' {
            break;
        }
        let mut head = [0; 4];
        reader.read_exact(&mut head)?;
        let mut packet = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
        reader.read_exact(&mut packet)?;
    }
    let mut lines = reader.by_ref().lines();
    let Some(first) = lines.next().transpose()? else {
        return Ok(None);
    };
    let mut headers = BTreeMap::new();
    for line in lines.by_ref() {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|n| n.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let method = first.split(' ').next().unwrap_or_default().to_owned();
    Ok(Some(Request { method, headers }))
}
