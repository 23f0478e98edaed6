//! The test source in real pipelines: frames, times, and every scripted fault as its user sees it.

use std::process::{Command, ExitStatus};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use gst::prelude::*;
use gsttestscene::source::{self, Speed, TestSourceError};

const DEADLINE: Duration = Duration::from_secs(30);

/// A pipeline that ends in an appsink, stopped when dropped.
struct Player {
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
}

impl Player {
    fn new(spec: &str, fps: i32, speed: Speed) -> Self {
        gst::init().unwrap();
        let script = spec.parse().unwrap();
        let source = source::make_from(script, 64, 48, gst::Fraction::new(fps, 1), speed).unwrap();
        let sink = gst_app::AppSink::builder()
            .sync(false)
            .max_buffers(2)
            .build();
        let pipeline = gst::Pipeline::new();
        pipeline
            .add_many([source.upcast_ref(), sink.upcast_ref::<gst::Element>()])
            .unwrap();
        source.link(&sink).unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        Self { pipeline, sink }
    }

    fn unlimited(spec: &str) -> Self {
        Self::new(spec, 10, Speed::Unlimited)
    }

    fn live(spec: &str) -> Self {
        Self::new(spec, 10, Speed::Live)
    }

    /// The next frame, or `None` at the end.
    fn frame(&self) -> Option<gst::Sample> {
        self.sink
            .try_pull_sample(gst::ClockTime::from_mseconds(DEADLINE.as_millis() as u64))
    }

    fn frames(&self, count: usize) -> Vec<gst::Sample> {
        (0..count)
            .map(|index| self.frame().unwrap_or_else(|| panic!("frame {index}")))
            .collect()
    }

    fn error(&self) -> glib::Error {
        let message = self
            .pipeline
            .bus()
            .unwrap()
            .timed_pop_filtered(
                gst::ClockTime::from_seconds(DEADLINE.as_secs()),
                &[gst::MessageType::Error],
            )
            .expect("an error message");
        let gst::MessageView::Error(error) = message.view() else {
            unreachable!()
        };
        error.error()
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn pts(sample: &gst::Sample) -> u64 {
    sample.buffer().unwrap().pts().unwrap().mseconds()
}

fn bytes(sample: &gst::Sample) -> Vec<u8> {
    sample.buffer().unwrap().map_readable().unwrap().to_vec()
}

fn size(sample: &gst::Sample) -> (i32, i32) {
    let caps = sample.caps().unwrap().structure(0).unwrap();
    (caps.get("width").unwrap(), caps.get("height").unwrap())
}

#[test]
fn frames_come_numbered_on_the_grid_of_the_rate() {
    let player = Player::unlimited("walkers");
    let frames = player.frames(12);
    for (index, frame) in (0..).zip(&frames) {
        assert_eq!(
            (pts(frame), frame.buffer().unwrap().offset()),
            (index * 100, index)
        );
        assert_eq!(
            frame.buffer().unwrap().duration(),
            Some(gst::ClockTime::from_mseconds(100))
        );
        assert_eq!(
            (bytes(frame).len(), size(frame)),
            (64 * 48 * 3 / 2, (64, 48))
        );
    }
    assert_ne!(bytes(&frames[0]), bytes(&frames[10]), "something moves");
}

#[test]
fn two_sources_of_one_seed_show_the_same() {
    let frames = |spec| {
        Player::unlimited(spec)
            .frames(5)
            .iter()
            .map(bytes)
            .collect::<Vec<_>>()
    };
    assert_eq!(frames("walkers,seed=4"), frames("walkers,seed=4"));
    assert_ne!(frames("walkers,seed=4"), frames("walkers,seed=5"));
}

#[test]
fn a_live_source_keeps_the_time_of_the_clock() {
    let player = Player::live("still");
    let begin = Instant::now();
    let frames = player.frames(6);
    // The sixth frame is due half a second after the first, however fast it is taken.
    assert!(
        begin.elapsed() >= Duration::from_millis(400),
        "{:?}",
        begin.elapsed()
    );
    let now = player.pipeline.current_running_time().unwrap().mseconds();
    assert!(frames.windows(2).all(|pair| pts(&pair[0]) < pts(&pair[1])));
    assert!(pts(&frames[5]) <= now, "{} after {now}", pts(&frames[5]));
    let mut latency = gst::query::Latency::new();
    // Asked where it is answered: a sink that does not wait for the clock hides it.
    assert!(
        player
            .sink
            .static_pad("sink")
            .unwrap()
            .peer_query(&mut latency)
    );
    assert!(latency.result().0);
    assert_eq!(latency.result().1, gst::ClockTime::from_mseconds(100));
}

#[test]
fn a_stalled_live_source_stops_at_once() {
    let player = Player::live("still,stall@100ms");
    player.frames(1);
    let (done, stopped) = mpsc::channel();
    let pipeline = player.pipeline.clone();
    std::thread::spawn(move || {
        pipeline.set_state(gst::State::Null).unwrap();
        done.send(()).unwrap();
    });
    stopped
        .recv_timeout(DEADLINE)
        .expect("the pipeline stops although nothing comes");
}

#[test]
fn a_stall_is_a_gap_and_a_freeze_the_same_picture() {
    let player = Player::unlimited("walkers,stall@1s+3s,freeze@5s+1s");
    let frames = player.frames(40);
    let times: Vec<_> = frames.iter().map(pts).collect();
    assert_eq!(times[9..12], [900, 4_000, 4_100]);
    let frozen: Vec<_> = frames
        .iter()
        .filter(|frame| (5_000..6_000).contains(&pts(frame)))
        .map(bytes)
        .collect();
    assert_eq!(frozen.len(), 10);
    assert!(frozen.iter().all(|picture| *picture == frozen[0]));
    let later = frames.iter().find(|frame| pts(frame) == 6_000).unwrap();
    assert_ne!(bytes(later), frozen[0]);
}

#[test]
fn another_rate_than_agreed_is_seen_in_the_timestamps_only() {
    let player = Player::unlimited("still,fps=100@1s+1s");
    let frames = player.frames(120);
    assert_eq!(
        frames
            .iter()
            .filter(|frame| (1_000..2_000).contains(&pts(frame)))
            .count(),
        100
    );
    let rate: gst::Fraction = frames[50]
        .caps()
        .unwrap()
        .structure(0)
        .unwrap()
        .get("framerate")
        .unwrap();
    assert_eq!(rate, gst::Fraction::new(10, 1));
}

#[test]
fn garbage_fills_the_picture_and_truncated_buffers_are_short() {
    let player = Player::unlimited("still,garbage@1s+1s,truncate@3s+1s");
    let frames = player.frames(45);
    let spread = |frame: &gst::Sample| {
        bytes(frame)
            .iter()
            .collect::<std::collections::HashSet<_>>()
            .len()
    };
    assert!(
        spread(&frames[15]) > 250 && spread(&frames[25]) < 220,
        "{} {}",
        spread(&frames[15]),
        spread(&frames[25])
    );
    assert_eq!(bytes(&frames[35]).len(), 64 * 48 * 3 / 4);
    assert_eq!(bytes(&frames[44]).len(), 64 * 48 * 3 / 2);
}

#[test]
fn a_mode_switch_brings_new_caps_and_back() {
    let player = Player::unlimited("walkers,size=128x96@1s+1s");
    let frames = player.frames(25);
    let sizes = [&frames[9], &frames[10], &frames[19], &frames[20]].map(size);
    assert_eq!(sizes, [(64, 48), (128, 96), (128, 96), (64, 48)]);
    assert_eq!(bytes(&frames[10]).len(), 128 * 96 * 3 / 2);
}

#[test]
fn ends_are_told_apart_by_their_errors() {
    let player = Player::unlimited("still,disconnect@1s");
    player.frames(10);
    let error = player.error();
    assert!(error.matches(gst::ResourceError::Read), "{error}");
    assert!(error.message().contains("closed the connection"), "{error}");

    let error = Player::live("still,auth").error();
    assert!(error.matches(gst::ResourceError::NotAuthorized), "{error}");

    let player = Player::unlimited("still,eos@1s");
    player.frames(10);
    assert!(player.frame().is_none() && player.sink.is_eos());
}

#[test]
fn a_source_can_be_started_again_and_begins_anew() {
    let player = Player::unlimited("walkers");
    let first = bytes(&player.frames(3)[0]);
    player.pipeline.set_state(gst::State::Null).unwrap();
    player.pipeline.set_state(gst::State::Playing).unwrap();
    let again = player.frame().unwrap();
    assert_eq!((pts(&again), bytes(&again) == first), (0, true));
}

#[test]
fn what_cannot_be_rendered_is_refused_with_a_reason() {
    gst::init().unwrap();
    let rate = gst::Fraction::new(5, 1);
    let refused = |spec, width, height, rate| source::make(spec, width, height, rate).unwrap_err();
    assert!(matches!(
        refused("walker", 64, 48, rate),
        TestSourceError::Script(_)
    ));
    assert_eq!(
        refused("still", 65, 48, rate),
        TestSourceError::Size(65, 48)
    );
    assert_eq!(refused("still", 64, 0, rate), TestSourceError::Size(64, 0));
    assert_eq!(
        refused("still", 64, 48, gst::Fraction::new(0, 1)),
        TestSourceError::Rate(gst::Fraction::new(0, 1))
    );
}

#[test]
fn a_launch_line_makes_the_element_and_is_refused_with_the_same_reasons() {
    gst::init().unwrap();
    gsttestscene::plugin_register_static().unwrap();
    let play = |properties: &str| {
        let line = format!("watchposttestsrc {properties} num-buffers=3 ! fakesink sync=false");
        let pipeline = gst::parse::launch(&line).unwrap();
        let _ = pipeline.set_state(gst::State::Playing);
        let bus = pipeline.bus().unwrap();
        let limit = gst::ClockTime::from_seconds(DEADLINE.as_secs());
        let types = [gst::MessageType::Error, gst::MessageType::Eos];
        let message = bus.timed_pop_filtered(limit, &types).unwrap();
        let caps = pipeline
            .downcast_ref::<gst::Bin>()
            .unwrap()
            .iterate_sources();
        let source = caps.into_iter().next().unwrap().unwrap();
        let caps = source.static_pad("src").unwrap().current_caps();
        pipeline.set_state(gst::State::Null).unwrap();
        match message.view() {
            gst::MessageView::Error(error) => Err(error.error().to_string()),
            _ => Ok(caps.unwrap().structure(0).unwrap().to_owned()),
        }
    };
    let caps = play("scene=\"empty,seed=3\" width=64 height=48 framerate=50/1").unwrap();
    assert_eq!(
        (caps.get::<i32>("width"), caps.get::<i32>("height")),
        (Ok(64), Ok(48))
    );
    assert_eq!(
        caps.get::<gst::Fraction>("framerate"),
        Ok(gst::Fraction::new(50, 1))
    );
    assert!(play("scene=still is-live=false").is_ok());
    for (properties, reason) in [
        ("scene=walker", "no scene is called \"walker\""),
        ("scene=walkers,noise=99", "noise=99"),
        ("width=65", "size 65x360 is not possible"),
        (
            "framerate=2000/1",
            "2000 frames per second are not possible",
        ),
    ] {
        let error = play(properties).unwrap_err();
        assert!(error.contains(reason), "{properties}: {error}");
    }
}

/// What ends a process is tried in one of its own: this test binary, told to run only [`victim`].
fn run_victim(spec: &str, kill_after: Option<Duration>) -> Option<ExitStatus> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--nocapture"])
        .env("TEST_SOURCE_SPEC", spec)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while begin.elapsed() < kill_after.unwrap_or(DEADLINE) {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

#[test]
fn victim() {
    let Ok(spec) = std::env::var("TEST_SOURCE_SPEC") else {
        return;
    };
    let player = Player::unlimited(&spec);
    if spec.contains("hang@") {
        player.frames(3);
        // The source has to be where it blocks before it is stopped.
        let wait = gst::ClockTime::from_mseconds(500);
        assert!(player.sink.try_pull_sample(wait).is_none());
    } else {
        player.frames(5);
    }
    drop(player);
    std::process::exit(0);
}

#[test]
fn processes_exit_crash_and_hang_as_told() {
    use std::os::unix::process::ExitStatusExt as _;
    assert_eq!(
        run_victim("still", None).and_then(|status| status.code()),
        Some(0)
    );
    assert_eq!(
        run_victim("still,exit=3@300ms", None).and_then(|status| status.code()),
        Some(3)
    );
    let status = run_victim("still,crash@300ms", None).expect("the process ends");
    assert_eq!(status.signal(), Some(6), "SIGABRT");
    let patience = Duration::from_secs(2);
    assert_eq!(
        run_victim("still,hang-on-stop", Some(patience)),
        None,
        "stopping never ends"
    );
    assert_eq!(
        run_victim("still,hang@300ms", Some(patience)),
        None,
        "a blocked thread cannot be stopped"
    );
    assert!(run_victim("still,hang-on-stop+200ms", None).is_some_and(|status| status.success()));
}
