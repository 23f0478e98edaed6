//! Packet rings of a camera's encoded streams: their sockets listen while the worker runs; the first reader connects the
//! source and starts the encoder as far as that is needed, and both are released ten seconds after the last reader.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use shmring_core::packet::{PacketMeta, PacketWriter, PacketWriterConfig};
use watchpost_pipelines::camera::{CameraConfig, Role};
use watchpost_pipelines::encode::{Consumer, EncodedStream, Packet, Received, Start, UNUSED};

use crate::live::encoded::{StreamInformation, StreamName};
use crate::run_dir;

/// Longest wait for a packet, after which the forwarding thread looks after its end.
const WAIT: Duration = Duration::from_millis(200);
/// Time between two attempts to start a stream.
const RETRY: Duration = Duration::from_secs(1);

/// The packet rings of a camera.
pub(super) struct PacketRings {
    rings: BTreeMap<StreamName, Ring>,
}

struct Ring {
    /// Of its source.
    role: Role,
    writer: Arc<Mutex<PacketWriter>>,
    forwarder: Option<Forwarder>,
    /// A reader was connected last at this time.
    read: Option<Instant>,
    try_at: Instant,
    reported: Option<String>,
}

/// A thread that writes a stream's packets into a ring. Dropping it ends the thread.
struct Forwarder {
    stream: EncodedStream,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl PacketRings {
    /// Listens at the sockets of all streams that the camera has. A ring that cannot be made is logged and left out.
    pub(super) fn new(camera: &CameraConfig, socket: &Path) -> Self {
        let mut rings = BTreeMap::new();
        for (name, role) in StreamName::of(camera) {
            let socket_path = socket.with_file_name(run_dir::encoded_socket_name(name));
            let config = PacketWriterConfig {
                on_demand: true,
                ..PacketWriterConfig::new(socket_path)
            };
            match PacketWriter::create(config) {
                Ok(writer) => {
                    let writer = Arc::new(Mutex::new(writer));
                    let ring = Ring {
                        role,
                        writer,
                        forwarder: None,
                        read: None,
                        try_at: Instant::now(),
                        reported: None,
                    };
                    rings.insert(name, ring);
                }
                Err(error) => tracing::error!("packet ring {name:?}: {error}"),
            }
        }
        Self { rings }
    }

    /// Roles whose source must be connected for the readers.
    pub(super) fn needs(&self, role: Role) -> bool {
        self.rings
            .values()
            .any(|ring| ring.role == role && ring.is_used())
    }

    /// Starts and stops what the readers need. `stream` gives the encoded stream of a role: none while its source has no
    /// frames yet.
    pub(super) fn update(
        &mut self,
        mut stream: impl FnMut(Role) -> Option<Result<EncodedStream, String>>,
    ) {
        let now = Instant::now();
        for (name, ring) in &mut self.rings {
            if lock(&ring.writer).readers() > 0 {
                ring.read = Some(now);
            }
            if ring
                .forwarder
                .as_ref()
                .is_some_and(|forwarder| forwarder.stream.is_over() || !ring.is_used())
            {
                ring.forwarder = None;
                ring.try_at = now + RETRY;
            }
            if !ring.is_used() {
                lock(&ring.writer).release();
            }
            if ring.forwarder.is_some() || !ring.is_used() || now < ring.try_at {
                continue;
            }
            let started = match stream(ring.role) {
                Some(Ok(stream)) => Forwarder::start(stream, &ring.writer),
                Some(Err(reason)) => Err(reason),
                None => continue,
            };
            match started {
                Ok(forwarder) => (ring.forwarder, ring.reported) = (Some(forwarder), None),
                Err(reason) => {
                    ring.try_at = now + RETRY;
                    if ring.reported.as_ref() != Some(&reason) {
                        tracing::warn!("live video, stream {name:?}: {reason}");
                        ring.reported = Some(reason);
                    }
                }
            }
        }
    }

    /// Lets go of all streams: the camera is about to stop. Readers stay connected.
    pub(super) fn release(&mut self) {
        for ring in self.rings.values_mut() {
            ring.forwarder = None;
        }
    }
}

impl Ring {
    fn is_used(&self) -> bool {
        self.read.is_some_and(|read| read.elapsed() < UNUSED)
    }
}

impl Forwarder {
    fn start(stream: EncodedStream, writer: &Arc<Mutex<PacketWriter>>) -> Result<Self, String> {
        let consumer = stream.subscribe(Start::NewestKey)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, writer) = (stop.clone(), writer.clone());
        let thread = std::thread::Builder::new()
            .name("packets".into())
            .spawn(move || forward(&consumer, &writer, &flag))
            .map_err(|error| format!("no thread for its packets: {error}"))?;
        Ok(Self {
            stream,
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn forward(consumer: &Consumer, writer: &Mutex<PacketWriter>, stop: &AtomicBool) {
    let mut version = None;
    let to_unix = unix_less_monotonic();
    while !stop.load(Ordering::Relaxed) {
        match consumer.receive(WAIT) {
            Received::Packet(packet) => write(&packet, writer, &mut version, to_unix),
            Received::Nothing => {}
            Received::Ended | Received::Failed(_) => return,
        }
    }
}

fn write(packet: &Packet, writer: &Mutex<PacketWriter>, version: &mut Option<u64>, to_unix: i64) {
    let Ok(data) = packet.buffer.map_readable() else {
        return;
    };
    let mut writer = lock(writer);
    if packet.is_key {
        let next = new_version(*version, packet, &mut writer);
        *version = next.or(*version);
    }
    if version.is_none() {
        return;
    }
    let meta = PacketMeta {
        pts: Some(packet.pts.nseconds()),
        dts: Some(packet.dts.nseconds()),
        duration: packet.buffer.duration().map(gst::ClockTime::nseconds),
        capture_ns: Some(packet.captured),
        unix_ns: packet.captured.checked_add_signed(to_unix),
        key: packet.is_key,
        ..PacketMeta::default()
    };
    writer.write(&meta, &data);
}

/// Announces the stream where its version changed. Versions of different runs of a stream differ, since the wall clock
/// is part of them.
fn new_version(known: Option<u64>, packet: &Packet, writer: &mut PacketWriter) -> Option<u64> {
    let low = u64::from(packet.version & 0x3ff);
    if known.is_some_and(|known| known & 0x3ff == low) {
        return None;
    }
    let structure = packet.caps.structure(0)?;
    let size = |name: &str| {
        structure
            .get::<i32>(name)
            .ok()
            .and_then(|size| u16::try_from(size).ok())
    };
    let run = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    // Below 2^53, so that JavaScript reads it exactly.
    let version = u64::try_from(run.as_millis()).unwrap_or(0) << 10 | low;
    let information = StreamInformation {
        version,
        media_type: structure.name().to_string(),
        width: size("width")?,
        height: size("height")?,
    };
    let information = serde_json::to_vec(&information).ok()?;
    writer.set_stream(&information).ok()?;
    Some(version)
}

/// Nanoseconds from CLOCK_MONOTONIC to Unix time, taken once per run of a stream.
fn unix_less_monotonic() -> i64 {
    let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let monotonic = monotonic.tv_sec * 1_000_000_000 + monotonic.tv_nsec;
    let unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(unix.as_nanos()).unwrap_or(i64::MAX) - monotonic
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
