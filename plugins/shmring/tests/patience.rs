//! Files and tests: a writer that waits for its readers.

mod support;

use std::time::Duration;

use gst::prelude::*;
use support::*;

const FRAMES: usize = 60;

fn line(place: &Place, more: &str) -> String {
    format!(
        "videotestsrc num-buffers={FRAMES} ! video/x-raw,format=GRAY8,width=64,height=64,framerate=25/1 \
         ! shmringsink name=ring socket-path={} {more}",
        place.socket().display()
    )
}

fn reader(place: &Place) -> Pipeline {
    Pipeline::play(&format!(
        "shmringsrc name=src socket-path={} is-live=false ! appsink name=out sync=false max-buffers=1",
        place.socket().display()
    ))
}

/// Takes all frames, each after a moment; their offsets.
fn take_all(reader: &Pipeline) -> Vec<u64> {
    let sink = reader
        .by_name("out")
        .downcast::<gst_app::AppSink>()
        .unwrap();
    let mut offsets = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        offsets.push(sample.buffer().unwrap().offset());
        std::thread::sleep(Duration::from_millis(2));
    }
    offsets
}

#[test]
fn with_both_a_file_arrives_whole_at_every_reader() {
    let place = Place::new();
    let writer = Pipeline::play(&line(&place, "wait-for-readers=2 overrun=block"));
    let readers = [reader(&place), reader(&place)];
    // As gst-launch-1.0 does: the writer is gone as soon as it has written all.
    let writing = std::thread::spawn(move || writer.wait_for(&[gst::MessageType::Eos]));
    let taking: Vec<_> = readers
        .into_iter()
        .map(|reader| std::thread::spawn(move || take_all(&reader)))
        .collect();
    for taken in taking {
        assert_eq!(
            taken.join().unwrap(),
            (0..FRAMES as u64).collect::<Vec<_>>()
        );
    }
    writing.join().unwrap();
}

#[test]
fn packets_wait_for_readers_too() {
    let place = Place::new();
    let writer = Pipeline::play(&line(&place, "mode=packets wait-for-readers=1"));
    wait_until("the ring is there", || place.socket().exists());
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(count(&writer.stats("ring"), "frames"), 0);
    let reader = reader(&place);
    pull(&reader, "out");
    wait_until("all is written", || {
        count(&writer.stats("ring"), "frames") == FRAMES as u64
    });
}

#[test]
fn a_writer_that_waits_can_be_stopped_and_flushed() {
    let place = Place::new();
    let writer = Pipeline::play(&line(&place, "wait-for-readers=1"));
    wait_until("the ring is there", || place.socket().exists());
    writer.0.set_state(gst::State::Null).unwrap();
    assert_eq!(writer.0.state(gst::ClockTime::ZERO).1, gst::State::Null);

    // Blocked by a reader that takes nothing.
    let writer = Pipeline::play(&line(&place, "wait-for-readers=1 overrun=block"));
    let _reader = reader(&place);
    wait_until("it has begun", || {
        count(&writer.stats("ring"), "frames") > 5
    });
    writer.0.set_state(gst::State::Null).unwrap();
    assert_eq!(writer.0.state(gst::ClockTime::ZERO).1, gst::State::Null);
}

#[test]
fn large_frames_get_fewer_slots_unless_told_otherwise() {
    for (size, more, slots) in [
        ("width=64,height=64", "", 16),
        ("width=8192,height=8192", "", 6),
        ("width=64,height=64", "slots=5", 5),
    ] {
        let place = Place::new();
        let writer = Pipeline::play(&format!(
            "videotestsrc num-buffers=1 pattern=black ! video/x-raw,format=GRAY8,{size} \
             ! shmringsink name=ring socket-path={} {more}",
            place.socket().display()
        ));
        writer.wait_for(&[gst::MessageType::Eos]);
        let found = writer.stats("ring").get::<u32>("slots");
        assert_eq!(found, Ok(slots), "{size} {more}");
    }
}
