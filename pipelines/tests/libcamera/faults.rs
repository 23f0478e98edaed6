//! Cameras that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstlibcameratest::{Environment, within};
use watchpost_pipelines::fault::FaultKind;
use watchpost_pipelines::libcamera::{Built, cause_of};
use watchpost_pipelines::tasks::{Merged, Size, Stream, Use};

use crate::support::{DEADLINE, Running, merged, planned};
use testkit::eventually;

/// The error a camera comes to an end with.
fn error_of(running: &Running) -> (Option<(FaultKind, &'static str)>, String) {
    let message = running.error(DEADLINE).expect("an error");
    let gst::MessageView::Error(error) = message.view() else {
        unreachable!()
    };
    (cause_of(error), error.error().to_string())
}

fn started(merged: &Merged) -> (gst::Pipeline, Built) {
    let built = planned(merged).unwrap().build().unwrap();
    let pipeline = gst::Pipeline::new();
    built.add_to(&pipeline).unwrap();
    for output in built.outputs.values() {
        let sink = gst::ElementFactory::make("fakesink").build().unwrap();
        pipeline.add(&sink).unwrap();
        output.link(&sink).unwrap();
    }
    (pipeline, built)
}

#[test]
fn errors_of_the_camera_say_what_to_do() {
    within(
        "version=0.0.3",
        "faults::errors_of_the_camera_say_what_to_do",
        || {
            gst::init().unwrap();
            let environment = Environment::current();
            let live = merged(&[Use::Live]);
            for (fault, kind, said) in [
                ("no-memory", FaultKind::Source, "CMA"),
                (
                    "configure",
                    FaultKind::Source,
                    "could not set the camera up",
                ),
                ("start", FaultKind::Source, "could not set the camera up"),
                ("error@0.1", FaultKind::Source, "stopped giving frames"),
            ] {
                environment.set_faults(fault);
                let running = Running::start(&planned(&live).unwrap().build().unwrap());
                let (cause, text) = error_of(&running);
                let (found, advice) = cause.unwrap_or_else(|| panic!("{fault}: {text}"));
                assert_eq!(found, kind, "{fault}");
                assert!(advice.contains(said), "{fault}: {advice}");
            }
            environment.clear_faults();

            // Two that nobody can have at once.
            let (first, _built) = started(&live);
            first.set_state(gst::State::Playing).unwrap();
            let (second, _built) = started(&live);
            assert!(second.set_state(gst::State::Playing).is_err());
            let bus = second.bus().unwrap();
            let message = bus
                .pop_filtered(&[gst::MessageType::Error])
                .expect("an error");
            let gst::MessageView::Error(error) = message.view() else {
                unreachable!()
            };
            let (kind, advice) = cause_of(error).expect("a cause");
            assert_eq!(kind, FaultKind::Source);
            assert!(advice.contains("another program"), "{advice}");
            second.set_state(gst::State::Null).unwrap();
            first.set_state(gst::State::Null).unwrap();

            // Larger than the sensor: nothing in common.
            let mut large = merged(&[Use::Video]);
            let size = Size {
                width: 8000,
                height: 6000,
            };
            large.streams.get_mut(&Stream::Main).unwrap().size = Some(size);
            let running = Running::start(&planned(&large).unwrap().build().unwrap());
            let (cause, text) = error_of(&running);
            let (kind, advice) = cause.unwrap_or_else(|| panic!("{text}"));
            assert_eq!(kind, FaultKind::Permanent);
            assert!(advice.contains("formats and sizes"), "{advice}");
        },
    );
}

/// Counts what reaches the end of a stream of a pipeline made by [`started`].
fn counted(built: &Built, stream: Stream) -> Arc<AtomicU32> {
    let count = Arc::new(AtomicU32::new(0));
    let counter = count.clone();
    let pad = built.outputs[&stream].static_pad("src").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        counter.fetch_add(1, Ordering::Relaxed);
        gst::PadProbeReturn::Ok
    });
    count
}

fn wait_for_more(count: &AtomicU32) {
    let before = count.load(Ordering::Relaxed);
    eventually("three more frames", || {
        count.load(Ordering::Relaxed) >= before + 3
    });
}

/// Waits until there have been no frames for the time of ten.
fn wait_for_silence(count: &AtomicU32) {
    let mut seen = (count.load(Ordering::Relaxed), Instant::now());
    eventually("the frames end", || {
        let now = count.load(Ordering::Relaxed);
        if now != seen.0 {
            seen = (now, Instant::now());
        }
        seen.1.elapsed() >= Duration::from_millis(333)
    });
}

#[test]
fn a_silent_sensor_says_nothing_on_the_bus() {
    within(
        "version=0.0.3",
        "faults::a_silent_sensor_says_nothing_on_the_bus",
        || {
            gst::init().unwrap();
            let environment = Environment::current();
            for fault in ["timeout", "starve"] {
                let (pipeline, built) = started(&merged(&[Use::Live]));
                let count = counted(&built, Stream::Lores);
                pipeline.set_state(gst::State::Playing).unwrap();
                wait_for_more(&count);
                environment.set_faults(fault);
                wait_for_silence(&count);
                let error = pipeline
                    .bus()
                    .unwrap()
                    .pop_filtered(&[gst::MessageType::Error]);
                assert!(error.is_none(), "{fault}: {error:?}");
                pipeline.set_state(gst::State::Null).unwrap();
                environment.clear_faults();
            }
        },
    );
}

#[test]
fn all_streams_stand_still_while_one_has_no_buffer_left() {
    within(
        "version=0.0.3",
        "faults::all_streams_stand_still_while_one_has_no_buffer_left",
        || {
            gst::init().unwrap();
            let (pipeline, built) = started(&merged(&[Use::Live, Use::Video]));
            let main = counted(&built, Stream::Main);
            let (send, held) = std::sync::mpsc::channel::<gst::Buffer>();
            let pad = built.outputs[&Stream::Lores].static_pad("src").unwrap();
            let probe = pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                if let Some(buffer) = info.buffer() {
                    let _ = send.send(buffer.clone());
                }
                gst::PadProbeReturn::Ok
            });
            pipeline.set_state(gst::State::Playing).unwrap();
            wait_for_silence(&main);
            pad.remove_probe(probe.unwrap());
            drop(held);
            wait_for_more(&main);
            pipeline.set_state(gst::State::Null).unwrap();
        },
    );
}

#[test]
fn faults_come_at_the_openings_they_are_told() {
    within(
        "version=0.0.3 faults=busy#2,hang-stop@0.5#3",
        "faults::faults_come_at_the_openings_they_are_told",
        || {
            gst::init().unwrap();
            let live = merged(&[Use::Live]);
            let mut outcomes = Vec::new();
            for _ in 0..3 {
                let (pipeline, built) = started(&live);
                let count = counted(&built, Stream::Lores);
                let playing = pipeline.set_state(gst::State::Playing).is_ok();
                if playing {
                    wait_for_more(&count);
                }
                let stop = Instant::now();
                pipeline.set_state(gst::State::Null).unwrap();
                outcomes.push((playing, stop.elapsed()));
            }
            let played: Vec<bool> = outcomes.iter().map(|(playing, _)| *playing).collect();
            assert_eq!(played, [true, false, true]);
            let hung = outcomes[2].1;
            assert!(hung >= Duration::from_millis(500), "{hung:?}");
        },
    );
}
