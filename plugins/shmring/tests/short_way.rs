//! The sink takes most buffers past its base class. What the base class is there for holds all the same.

mod support;

use std::time::Duration;

use gst::prelude::*;
use support::*;

const FRAME: usize = 64 * 64;

/// A playing writer that has published three frames, at 0, 1 and 2 s.
fn writer(place: &Place) -> Pipeline {
    let writer = Pipeline::play(&format!(
        "appsrc name=in format=time caps=video/x-raw,format=GRAY8,width=64,height=64,framerate=1/1 ! shmringsink name=ring socket-path={}",
        place.socket().display()
    ));
    push(&writer, &[0, 1, 2]);
    wait_for_frames(&writer, 3);
    writer
}

fn push(writer: &Pipeline, seconds: &[u64]) {
    for at in seconds {
        let mut buffer = gst::Buffer::with_size(FRAME).unwrap();
        let b = buffer.make_mut();
        b.set_pts(gst::ClockTime::from_seconds(*at));
        b.set_duration(gst::ClockTime::SECOND); // without it nobody could say that it ends before a segment
        appsrc(writer, "in").push_buffer(buffer).unwrap();
    }
}

fn frames(writer: &Pipeline) -> u64 {
    count(&writer.stats("ring"), "frames")
}

#[track_caller]
fn wait_for_frames(writer: &Pipeline, n: u64) {
    wait_until("frames are published", || frames(writer) >= n);
    assert_eq!(frames(writer), n);
}

/// Pushes a frame that the sink has to hold back, and gives it time not to.
#[track_caller]
fn is_held_back(writer: &Pipeline, second: u64) {
    let before = frames(writer);
    push(writer, &[second]);
    wait_until("the sink has the frame", || {
        appsrc(writer, "in").current_level_buffers() == 0
    });
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(frames(writer), before);
}

fn position(writer: &Pipeline) -> Option<u64> {
    let position = writer.0.query_position::<gst::ClockTime>();
    position.map(|p| p.seconds())
}

#[test]
fn a_writer_at_rest_holds_back_its_frame_until_it_plays() {
    let place = Place::new();
    let writer = writer(&place);
    writer.0.set_state(gst::State::Paused).unwrap();
    is_held_back(&writer, 3);
    writer.0.set_state(gst::State::Playing).unwrap();
    wait_for_frames(&writer, 4);
    push(&writer, &[4, 5]);
    wait_for_frames(&writer, 6);
    assert_eq!(position(&writer), Some(5));
}

#[test]
fn frames_outside_of_the_segment_are_dropped() {
    let place = Place::new();
    let writer = writer(&place);
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_start(gst::ClockTime::from_seconds(10));
    segment.set_time(gst::ClockTime::from_seconds(110));
    // Its position is told in stream time. Between the source and the sink, where the source's own segment has passed.
    let ring = writer.by_name("ring").static_pad("sink").unwrap();
    assert!(ring.send_event(gst::event::Segment::new(&segment)));
    push(&writer, &[1, 10, 11, 1, 12, 2, 13]);
    wait_until("the last one is there", || position(&writer) == Some(113));
    wait_for_frames(&writer, 7);
}

#[test]
fn what_is_asked_of_the_base_class_while_running_it_does() {
    let place = Place::new();
    let writer = writer(&place);
    let ring = writer.by_name("ring");
    ring.set_property("enable-last-sample", true);
    push(&writer, &[3, 4]);
    wait_for_frames(&writer, 5);
    let last = ring
        .property::<Option<gst::Sample>>("last-sample")
        .expect("it was asked for");
    assert_eq!(
        last.buffer().unwrap().pts(),
        Some(gst::ClockTime::from_seconds(4))
    );
    ring.set_property("enable-last-sample", false);
    push(&writer, &[5, 6]);
    wait_for_frames(&writer, 7);

    ring.set_property("sync", true);
    is_held_back(&writer, 3600);
}

#[test]
fn after_a_flush_it_prerolls_again_where_that_was_asked_for() {
    let place = Place::new();
    let writer = writer(&place);
    let ring = writer.by_name("ring");
    ring.set_property("async", true);
    push(&writer, &[3, 4]);
    wait_for_frames(&writer, 5);
    let pad = ring.static_pad("sink").unwrap();
    assert!(pad.send_event(gst::event::FlushStart::new()));
    assert!(pad.send_event(gst::event::FlushStop::new(false)));
    let state = || ring.state(gst::ClockTime::ZERO);
    assert_eq!(state().0, Ok(gst::StateChangeSuccess::Async));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    assert!(pad.send_event(gst::event::Segment::new(&segment)));
    assert!(pad.chain(gst::Buffer::with_size(FRAME).unwrap()).is_ok());
    wait_until("it has prerolled", || {
        state().0 == Ok(gst::StateChangeSuccess::Success)
    });
}

#[test]
fn after_the_end_nothing_more_is_taken() {
    let place = Place::new();
    let writer = writer(&place);
    let ring = writer.by_name("ring").static_pad("sink").unwrap();
    assert!(ring.send_event(gst::event::Eos::new()));
    assert_eq!(
        ring.chain(gst::Buffer::with_size(FRAME).unwrap()),
        Err(gst::FlowError::Eos)
    );
    assert_eq!(frames(&writer), 3);
}
