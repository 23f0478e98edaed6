//! `GET /metrics`: everything as Prometheus reads it.

mod events;

use super::access::Identity;
use super::error::ApiError;
use super::{Api, Seen};
use crate::media::{Media, Numbers};
use crate::outputs;
use crate::recordings::{Figures, Recordings};
use crate::supervisor::status::measure_processes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use watchpost_api::{CameraState, ProcessStatus, Status};

pub use events::EventMetrics;

type Real = Gauge<f64, AtomicU64>;
type Whole = Gauge<u64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Camera {
    camera: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CameraIn {
    camera: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CameraBecause {
    camera: String,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Worker {
    worker: String,
}

/// What it is written in.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /metrics`.
pub async fn prometheus(
    State(api): State<Api>,
    identity: Identity,
) -> Result<impl IntoResponse, ApiError> {
    let mut status = api.supervisor.status().await?.seen_by(&identity);
    measure_processes(&mut status);
    let kept = Kept {
        media: api.media.as_ref().map(Media::numbers).unwrap_or_default(),
        viewers: api.live.viewers(),
        lost: api.bus.lost(),
        outputs: api.outputs.clone(),
        recordings: api
            .recordings
            .as_ref()
            .map(Recordings::figures)
            .unwrap_or_default(),
        events: api.event_metrics.clone(),
        video_viewers: api.live.encoded().viewers(),
        failed_sign_ins: api.sign_ins.failed(),
    };
    Ok(([(CONTENT_TYPE, MEDIA_TYPE)], encode(&status, &kept)))
}

/// What is known beside the supervisor's status.
#[derive(Debug, Default)]
struct Kept {
    media: Numbers,
    viewers: BTreeMap<String, usize>,
    video_viewers: BTreeMap<String, usize>,
    outputs: outputs::Numbers,
    recordings: BTreeMap<String, Figures>,
    /// Events that subscribers of the bus have lost.
    lost: BTreeMap<&'static str, u64>,
    events: EventMetrics,
    failed_sign_ins: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Subscriber {
    subscriber: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HookRun {
    hook: String,
    result: &'static str,
}

/// A registry made for one answer: what is not there any more leaves no series behind.
fn encode(status: &Status, kept: &Kept) -> String {
    let mut registry = Registry::with_prefix("watchpost");
    cameras(&mut registry, status);
    media(&mut registry, status, kept);
    recordings(&mut registry, status, &kept.recordings);
    outputs(&mut registry, &kept.outputs);
    processes(&mut registry, &status.processes);
    kept.events.register(&mut registry, status);
    let lost = Family::<Subscriber, Counter>::default();
    registry.register(
        "events_lost",
        "Events that a subscriber of the event bus lost because it was too slow",
        lost.clone(),
    );
    for (&subscriber, count) in &kept.lost {
        lost.get_or_create(&Subscriber { subscriber })
            .inc_by(*count);
    }
    let failed = Counter::default();
    let about = "Sign-ins with a wrong token, user or password";
    registry.register("failed_sign_ins", about, failed.clone());
    total(&failed, kept.failed_sign_ins);
    let mut out = String::new();
    // Writing into a string cannot fail.
    let _ = text::encode(&mut out, &registry);
    out
}

fn outputs(registry: &mut Registry, numbers: &outputs::Numbers) {
    let connected = Whole::default();
    let help = "1 while there is a connection to the MQTT broker";
    registry.register("mqtt_connected", help, connected.clone());
    connected.set(numbers.mqtt.is_connected().into());
    for (name, help, count) in [
        (
            "mqtt_messages",
            "Messages sent to the MQTT broker",
            numbers.mqtt.sent(),
        ),
        (
            "mqtt_dropped_events",
            "Events not sent to the MQTT broker, because it was away or slow",
            numbers.mqtt.dropped(),
        ),
    ] {
        let counter = Counter::<u64>::default();
        registry.register(name, help, counter.clone());
        total(&counter, count);
    }
    let runs = Family::<HookRun, Counter>::default();
    let help = "Events for hooks, by what became of them: done, failed, or dropped because too many waited";
    registry.register("hook_runs", help, runs.clone());
    for (hook, counts) in numbers.hooks.counts() {
        for (result, count) in [
            ("done", counts.done),
            ("failed", counts.failed),
            ("dropped", counts.dropped),
        ] {
            let hook = hook.clone();
            runs.get_or_create(&HookRun { hook, result }).inc_by(count);
        }
    }
}

fn cameras(registry: &mut Registry, status: &Status) {
    let mut real = |name: &str, help: &str| {
        let family = Family::<Camera, Real>::default();
        registry.register(name, help, family.clone());
        family
    };
    let camera_fps = real("camera_fps", "Frames per second that reach the ring");
    let process_fps = real("process_fps", "Frames per second that are analysed");
    let detection_fps = real("detection_fps", "Inferences per second");
    let skipped_fps = real("skipped_fps", "Frames per second that are not analysed");
    let age = real(
        "age_seconds",
        "From capture of a frame to the end of its analysis",
    );
    let inference = real("inference_seconds", "Time of one inference");
    let queue = real(
        "inference_queue_seconds",
        "Time an inference waits for its turn",
    );
    let frame = real(
        "detection_frame_seconds",
        "Capture time of the newest frame analysed, since 1970",
    );
    let slots = real("ring_slots", "Slots of the ring");
    let bytes = real("ring_bytes", "Bytes of the ring's slots together");
    let readers = real("ring_readers", "Readers of the ring");
    let reconnects = real(
        "reconnects_last_hour",
        "Attempts after a failure in the last hour",
    );
    let stalls = real(
        "stalls_last_hour",
        "Stalls and frozen pictures in the last hour",
    );
    let objects = real("objects", "Objects that are tracked");
    let motion = real("motion", "Whether there is motion");
    let written = Family::<Camera, Counter>::default();
    registry.register("ring_frames", "Frames written to the ring", written.clone());
    let states = Family::<CameraIn, Gauge>::default();
    registry.register(
        "camera_state",
        "1 for the state a camera is in",
        states.clone(),
    );
    let skipped = Family::<CameraBecause, Counter>::default();
    registry.register(
        "skipped_frames",
        "Frames not analysed, by reason",
        skipped.clone(),
    );
    let dropped = Family::<CameraBecause, Counter>::default();
    registry.register(
        "dropped_frames",
        "Frames the ring did not take, by reason",
        dropped.clone(),
    );

    let deaths = Family::<Camera, Counter>::default();
    registry.register(
        "capture_deaths",
        "Capture workers that died by themselves",
        deaths.clone(),
    );

    for camera in &status.cameras {
        let label = Camera {
            camera: camera.name.clone(),
        };
        let set = |family: &Family<Camera, Real>, value: f64| {
            family.get_or_create(&label).set(value);
        };
        set(&camera_fps, camera.camera_fps);
        set(&process_fps, camera.process_fps);
        set(&detection_fps, camera.detection_fps);
        set(&skipped_fps, camera.skipped_fps);
        for (family, value) in [
            (&age, camera.age),
            (&inference, camera.inference_ms.map(|ms| ms / 1e3)),
            (&queue, camera.queue_ms.map(|ms| ms / 1e3)),
            (&frame, camera.detection_frame),
        ] {
            if let Some(value) = value {
                set(family, value);
            }
        }
        set(&reconnects, camera.reconnects_last_hour.into());
        set(&stalls, camera.stalls_last_hour.into());
        total(&deaths.get_or_create(&label), camera.worker_deaths);
        set(&objects, camera.objects.len() as f64);
        set(&motion, f64::from(u8::from(camera.motion)));
        for state in CameraState::ALL {
            let label = CameraIn {
                camera: camera.name.clone(),
                state: state.name(),
            };
            states
                .get_or_create(&label)
                .set((state == camera.state).into());
        }
        let because = |reason: &String| CameraBecause {
            camera: camera.name.clone(),
            reason: reason.clone(),
        };
        for (reason, count) in &camera.skipped {
            total(&skipped.get_or_create(&because(reason)), *count);
        }
        if let Some(ring) = &camera.ring {
            set(&slots, ring.slots.into());
            set(&bytes, ring.slots as f64 * ring.slot_bytes as f64);
            set(&readers, ring.readers.into());
            total(&written.get_or_create(&label), ring.written);
            for (reason, count) in &ring.dropped {
                total(&dropped.get_or_create(&because(reason)), *count);
            }
        }
    }
}

fn media(registry: &mut Registry, status: &Status, kept: &Kept) {
    let Kept {
        media,
        viewers,
        video_viewers,
        ..
    } = kept;
    let files = Family::<Camera, Whole>::default();
    registry.register("media_files", "Files of its tasks", files.clone());
    let bytes = Family::<Camera, Whole>::default();
    registry.register("media_bytes", "Bytes of those files", bytes.clone());
    let removed = Family::<Camera, Counter>::default();
    let about = "Files that went because of a limit";
    registry.register("media_removed_files", about, removed.clone());
    let freed = Family::<Camera, Counter>::default();
    let about = "Bytes of the files that went because of a limit";
    registry.register("media_removed_bytes", about, freed.clone());
    let looking = Family::<Camera, Whole>::default();
    let about = "Viewers of the live picture";
    registry.register("live_viewers", about, looking.clone());
    let watching = Family::<Camera, Whole>::default();
    let about = "Viewers of the encoded live video";
    registry.register("live_video_viewers", about, watching.clone());
    let free = Whole::default();
    let about = "Bytes that are free on the disk of the media";
    registry.register("media_disk_free_bytes", about, free.clone());
    free.set(media.free.unwrap_or_default());
    // Media of a camera that was removed stay, its series do not.
    for camera in &status.cameras {
        let name = &camera.name;
        let label = Camera {
            camera: name.clone(),
        };
        let kept = media.kept.get(name).copied().unwrap_or_default();
        files.get_or_create(&label).set(kept.files);
        bytes.get_or_create(&label).set(kept.bytes);
        let gone = media.removed.get(name).copied().unwrap_or_default();
        total(&removed.get_or_create(&label), gone.files);
        total(&freed.get_or_create(&label), gone.bytes);
        let viewers = viewers.get(name).copied().unwrap_or_default();
        looking.get_or_create(&label).set(viewers as u64);
        let viewers = video_viewers.get(name).copied().unwrap_or_default();
        watching.get_or_create(&label).set(viewers as u64);
    }
}

fn recordings(registry: &mut Registry, status: &Status, kept: &BTreeMap<String, Figures>) {
    let bytes = Family::<Camera, Whole>::default();
    registry.register("recording_bytes", "Bytes of its footage", bytes.clone());
    let oldest = Family::<Camera, Real>::default();
    let about = "Time of its oldest footage, seconds since 1970";
    registry.register("recording_oldest_seconds", about, oldest.clone());
    let failed = Family::<Camera, Whole>::default();
    let about = "1 while nothing can be written";
    registry.register("recording_failed", about, failed.clone());
    let gaps = Family::<CameraBecause, Counter>::default();
    let about = "Gaps in what was to be recorded";
    registry.register("recording_gaps", about, gaps.clone());
    let removed = Family::<CameraBecause, Counter>::default();
    let about = "Bytes of footage that were removed";
    registry.register("recording_removed_bytes", about, removed.clone());
    for camera in &status.cameras {
        let Some(figures) = kept.get(&camera.name) else {
            continue;
        };
        let label = Camera {
            camera: camera.name.clone(),
        };
        bytes.get_or_create(&label).set(figures.bytes);
        let trouble = u64::from(figures.trouble.is_some());
        failed.get_or_create(&label).set(trouble);
        if let Some(start) = figures.oldest {
            oldest.get_or_create(&label).set(start as f64 / 1000.0);
        }
        let because = |reason: &str| CameraBecause {
            camera: camera.name.clone(),
            reason: reason.to_owned(),
        };
        for (reason, count) in &figures.gaps {
            total(&gaps.get_or_create(&because(reason)), *count);
        }
        for (rule, count) in &figures.removed {
            total(&removed.get_or_create(&because(rule)), *count);
        }
    }
}

fn processes(registry: &mut Registry, processes: &[ProcessStatus]) {
    let cpu = Family::<Worker, Counter<f64, AtomicU64>>::default();
    registry.register_with_unit(
        "process_cpu",
        "Time on the processor",
        Unit::Seconds,
        cpu.clone(),
    );
    let resident = Family::<Worker, Real>::default();
    let about = "Memory in use, shared parts included";
    registry.register_with_unit("process_resident", about, Unit::Bytes, resident.clone());
    let unshared = Family::<Worker, Real>::default();
    let about = "Memory that nobody else uses";
    registry.register_with_unit("process_unshared", about, Unit::Bytes, unshared.clone());
    for process in processes {
        let label = Worker {
            worker: process.name.clone(),
        };
        cpu.get_or_create(&label).inc_by(process.cpu_seconds);
        resident
            .get_or_create(&label)
            .set(process.resident_bytes as f64);
        unshared
            .get_or_create(&label)
            .set(process.unshared_bytes as f64);
    }
}

/// Gives a fresh counter the value counted elsewhere.
fn total(counter: &Counter, value: u64) {
    counter.inner().store(value, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_in_the_reference() {
        let page = include_str!("../../../docs/metrics.md");
        let status = r#"{"version": "1", "pid": 1, "started": 0, "config_error": null, "cameras": [
            {"name": "front", "enabled": true, "state": "streaming", "reason": null, "since": 0, "camera_fps": 1,
             "process_fps": 1, "detection_fps": 1, "skipped_fps": 1, "skipped": {"newest": 1}, "detection_frame": 1,
             "age": 1, "inference_ms": 1, "queue_ms": 1, "capture_pid": 1, "analysis_pid": 1, "analysis":
             {"state": "running", "reason": null, "own_worker": false}, "decoder": null, "ring": {"slots": 1,
             "slot_bytes": 1, "width": 1, "height": 1, "written": 1, "readers": 1, "generation": 1, "dropped":
             {"full": 1}}, "reconnects_last_hour": 1, "stalls_last_hour": 1, "motion": true, "objects": []}],
            "processes": [{"name": "supervisor", "pid": 1, "cpu_seconds": 1, "resident_bytes": 1, "unshared_bytes": 1}]}"#;
        let status: Status = serde_json::from_str(status).unwrap();
        let kept = Kept {
            lost: BTreeMap::from([("store", 1)]),
            events: EventMetrics::filled("front"),
            recordings: BTreeMap::from([(
                "front".to_owned(),
                Figures {
                    oldest: Some(1),
                    gaps: BTreeMap::from([("slow-disk".to_owned(), 1)]),
                    removed: BTreeMap::from([("age", 1)]),
                    ..Figures::default()
                },
            )]),
            ..Kept::default()
        };
        kept.outputs.hooks.count("gate", |counts| counts.done += 1);
        let text = encode(&status, &kept);
        let mut count = 0;
        for family in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = family.split_once(' ').unwrap();
            let suffix = if kind == "counter" { "_total" } else { "" };
            let documented = format!("| `{name}{suffix}` | {kind} |");
            assert!(
                page.contains(&documented),
                "docs/metrics.md misses {documented}"
            );
            count += 1;
        }
        let rows = page
            .lines()
            .filter(|line| line.starts_with("| `watchpost_"))
            .count();
        assert_eq!(rows, count, "docs/metrics.md has others");
    }

    #[test]
    fn processes_have_names_and_cameras_only_the_series_they_fill() {
        let status = Status {
            version: "1".into(),
            pid: 1,
            started: 0.0,
            config_error: None,
            cameras: vec![],
            processes: vec![ProcessStatus {
                name: "analysis".into(),
                pid: 7,
                cpu_seconds: 1.5,
                resident_bytes: 1000,
                unshared_bytes: 10,
            }],
        };
        let text = encode(&status, &Kept::default());
        assert!(
            text.contains("watchpost_process_cpu_seconds_total{worker=\"analysis\"} 1.5"),
            "{text}"
        );
        assert!(!text.contains("camera_fps{"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
