//! State changes in any order, flushes, seeks, interruptions.

mod support;

use std::time::{Duration, Instant};

use gst::prelude::*;
use support::*;

fn writer_line(place: &Place) -> String {
    format!(
        "videotestsrc is-live=true ! video/x-raw,format=GRAY8,width=64,height=64,framerate=100/1 ! shmringsink name=ring socket-path={}",
        place.socket().display()
    )
}

fn reader_line(place: &Place) -> String {
    format!(
        "shmringsrc name=src socket-path={} ! appsink name=out sync=false async=false max-buffers=2 drop=true",
        place.socket().display()
    )
}

#[track_caller]
fn set(p: &Pipeline, state: gst::State) {
    let result = p.0.set_state(state);
    assert!(result.is_ok(), "{state:?}: {:?}", p.error());
    let (result, now, _) = p.0.state(gst::ClockTime::from_seconds(DEADLINE.as_secs()));
    assert!(result.is_ok(), "{state:?}: {:?}", p.error());
    assert_eq!(now, state);
}

#[test]
fn both_sides_go_through_their_states_in_any_order() {
    use gst::State::*;
    let place = Place::new();
    let (writer, reader) = (
        Pipeline::new(&writer_line(&place)),
        Pipeline::new(&reader_line(&place)),
    );
    let orders: [&[gst::State]; 6] = [
        &[Ready, Null, Ready, Null],
        &[Paused, Playing, Paused, Playing, Null],
        &[Ready, Paused, Ready, Playing, Ready, Null],
        &[Paused, Null, Playing, Null],
        &[Playing, Null, Playing, Paused, Null],
        &[Ready, Ready, Paused, Paused, Playing, Playing, Null],
    ];
    for order in orders {
        for state in order {
            set(&writer, *state);
            set(&reader, *state);
        }
    }
    for order in orders {
        for state in order {
            set(&reader, *state);
            set(&writer, *state);
        }
    }
    set(&writer, Playing);
    set(&reader, Playing);
    pull(&reader, "out");
}

#[test]
fn a_reader_without_a_writer_can_be_stopped_at_once_and_again() {
    let place = Place::new();
    let reader = Pipeline::new(&reader_line(&place));
    for n in 0..20 {
        set(&reader, gst::State::Playing);
        std::thread::sleep(Duration::from_millis(n));
        let begin = Instant::now();
        set(&reader, gst::State::Null);
        assert!(begin.elapsed() < DEADLINE);
    }
    // And it finds the writer that comes later.
    set(&reader, gst::State::Playing);
    let _writer = Pipeline::play(&writer_line(&place));
    pull(&reader, "out");
}

#[test]
fn a_reader_can_be_stopped_while_it_waits_for_a_frame() {
    let place = Place::new();
    let writer = Pipeline::play(&format!(
        "appsrc name=in format=time is-live=true ! shmringsink name=ring socket-path={}",
        place.socket().display()
    ));
    let src = appsrc(&writer, "in");
    src.set_caps(Some(
        &"video/x-raw, format=GRAY8, width=16, height=16, framerate=1/1"
            .parse()
            .unwrap(),
    ));
    src.push_buffer(gst::Buffer::from_slice([0u8; 256]))
        .unwrap();
    for _ in 0..20 {
        let reader = Pipeline::play(&reader_line(&place));
        pull(&reader, "out");
        set(&reader, gst::State::Null);
    }
    wait_for_readers(&writer, 0);
}

#[test]
fn pausing_and_going_on_loses_only_what_was_published_meanwhile() {
    let place = Place::new();
    let writer = Pipeline::play(&writer_line(&place));
    let reader = Pipeline::play(&reader_line(&place));
    let before = pull(&reader, "out").buffer().unwrap().offset();
    set(&reader, gst::State::Paused);
    let frames = count(&writer.stats("ring"), "frames");
    wait_until("the writer goes on", || {
        count(&writer.stats("ring"), "frames") > frames + 40
    });
    set(&reader, gst::State::Playing);
    let end = Instant::now() + DEADLINE;
    // What appsink had queued comes first.
    while pull(&reader, "out").buffer().unwrap().offset() < before + 40 {
        assert!(Instant::now() < end);
    }
    assert_eq!(
        count(&reader.stats("src"), "connections"),
        1,
        "the connection outlives a pause"
    );
}

#[test]
fn a_flush_passes_and_the_stream_goes_on() {
    let place = Place::new();
    let writer = Pipeline::play(&writer_line(&place));
    let reader = Pipeline::play(&reader_line(&place));
    pull(&reader, "out");
    let src = reader.by_name("src");
    for _ in 0..5 {
        assert!(src.send_event(gst::event::FlushStart::new()));
        assert!(src.send_event(gst::event::FlushStop::new(false)));
        pull(&reader, "out");
    }
    // On the writing side, from above.
    let ring = writer.by_name("ring").static_pad("sink").unwrap();
    let upstream = ring.peer().unwrap();
    let frames = count(&writer.stats("ring"), "frames");
    assert!(upstream.push_event(gst::event::FlushStart::new()));
    assert!(upstream.push_event(gst::event::FlushStop::new(false)));
    // videotestsrc's loop saw the flush as an end of its task; it is started again by a state change.
    set(&writer, gst::State::Paused);
    set(&writer, gst::State::Ready);
    set(&writer, gst::State::Playing);
    wait_until("frames flow", || count(&writer.stats("ring"), "frames") > 3);
    assert!(frames > 0);
    pull(&reader, "out");
}

#[test]
fn what_the_application_sends_passes_between_two_frames_and_ends_them() {
    let place = Place::new();
    let _writer = Pipeline::play(&writer_line(&place));
    let reader = Pipeline::play(&reader_line(&place));
    let src = reader.by_name("src");
    let (seen, sees) = std::sync::mpsc::channel();
    src.static_pad("src").unwrap().add_probe(
        gst::PadProbeType::EVENT_DOWNSTREAM,
        move |_, info| {
            if let Some(event) = info.event()
                && (event.has_name("mark") || event.type_() == gst::EventType::Eos)
            {
                seen.send(event.type_()).unwrap();
            }
            gst::PadProbeReturn::Ok
        },
    );
    for _ in 0..3 {
        for _ in 0..5 {
            pull(&reader, "out");
        }
        let mark = gst::Structure::new_empty("mark");
        assert!(src.send_event(gst::event::CustomDownstream::new(mark)));
        let passed = sees.recv_timeout(DEADLINE).expect("the event passes");
        assert_eq!(passed, gst::EventType::CustomDownstream);
    }
    assert!(reader.0.query_position::<gst::ClockTime>().is_some());
    assert!(src.send_event(gst::event::Eos::new()));
    let passed = sees.recv_timeout(DEADLINE).expect("the end passes");
    assert_eq!(passed, gst::EventType::Eos);
}

#[test]
fn as_many_buffers_come_as_were_asked_for() {
    let place = Place::new();
    let _writer = Pipeline::play(&writer_line(&place));
    let reader = Pipeline::play(
        &reader_line(&place)
            .replace("name=src", "name=src num-buffers=7")
            .replace("max-buffers=2 drop=true", ""),
    );
    for _ in 0..7 {
        pull(&reader, "out");
    }
    reader.wait_for(&[gst::MessageType::Eos]);
    let out = reader
        .by_name("out")
        .downcast::<gst_app::AppSink>()
        .unwrap();
    assert!(out.try_pull_sample(gst::ClockTime::ZERO).is_none());
}

#[test]
fn seeks_are_refused() {
    let place = Place::new();
    let _writer = Pipeline::play(&writer_line(&place));
    let reader = Pipeline::play(&reader_line(&place));
    pull(&reader, "out");
    assert!(
        reader
            .0
            .seek_simple(gst::SeekFlags::FLUSH, gst::ClockTime::SECOND)
            .is_err()
    );
    let mut query = gst::query::Seeking::new(gst::Format::Time);
    reader.by_name("src").query(&mut query);
    assert!(!query.result().0);
    pull(&reader, "out");
}

#[test]
fn the_writers_latency_is_the_readers_latency() {
    let place = Place::new();
    // videotestsrc is-live reports one frame; the queue adds what it may hold.
    let _writer = Pipeline::play(&format!(
        "videotestsrc is-live=true ! video/x-raw,format=GRAY8,width=64,height=64,framerate=25/1 ! queue min-threshold-time=200000000 \
         ! shmringsink name=ring socket-path={}",
        place.socket().display()
    ));
    let reader = Pipeline::play(&reader_line(&place));
    pull(&reader, "out");
    wait_until("the latency arrives", || {
        let mut query = gst::query::Latency::new();
        assert!(reader.by_name("src").query(&mut query));
        let (live, min, max) = query.result();
        assert!(live);
        // 8 frames of lag may be made up for.
        min == gst::ClockTime::from_mseconds(240)
            && max == Some(gst::ClockTime::from_mseconds(240 + 8 * 40))
    });
}

#[test]
fn statistics_come_as_messages_too() {
    let place = Place::new();
    let writer = Pipeline::play(&format!("{} stats-interval=20", writer_line(&place)));
    let reader =
        Pipeline::play(&reader_line(&place).replace("name=src", "name=src stats-interval=20"));
    for (p, name) in [
        (&writer, "shmringsink-stats"),
        (&reader, "shmringsrc-stats"),
    ] {
        let end = Instant::now() + DEADLINE;
        loop {
            assert!(Instant::now() < end, "no {name}");
            let message = p.wait_for(&[gst::MessageType::Element]);
            let s = message.structure().unwrap();
            if s.name() == name
                && s.get::<u64>(if name == "shmringsink-stats" {
                    "frames"
                } else {
                    "received"
                })
                .unwrap()
                    > 0
            {
                break;
            }
        }
    }
}

#[test]
fn what_is_missing_is_said() {
    init();
    for (launch, text) in [
        ("fakesrc ! shmringsink", "no socket-path"),
        ("shmringsrc ! fakesink", "no socket-path"),
        (
            "fakesrc ! shmringsink socket-path=/nonexistent/place/x.sock",
            "does not exist",
        ),
        (
            "shmringsrc reconnect=never socket-path=/nonexistent/x.sock ! fakesink",
            "no writer at /nonexistent/x.sock",
        ),
        (
            "fakesrc ! shmringsink socket-path=/tmp/shmring-test-group socket-group=no-such-group",
            "no-such-group",
        ),
    ] {
        let p = Pipeline::new(launch);
        let _ = p.0.set_state(gst::State::Playing);
        let said = p.wait_for_error();
        assert!(said.contains(text), "{launch}: {said}");
    }
}
