//! What arrives equals what was sent, in order, and early or late readers are told what they need.

use crate::support::*;
use shmring_core::{
    Event, FrameHeader, Policy, PublishError, Purpose, Reader, ReaderOptions, WaitError, Writer,
};
use std::collections::HashSet;
use std::time::{Duration, Instant};

fn reader(place: &Place) -> Reader {
    Reader::connect(&place.socket, ReaderOptions::default()).expect("reader")
}

#[test]
fn every_field_of_a_frame_arrives() {
    let place = place();
    let writer = writer(&place, 4);
    let header = FrameHeader {
        pts: Some(1),
        dts: None,
        duration: Some(3),
        offset: Some(4),
        offset_end: Some(5),
        flags: 0xffff_0000_1234,
        capture_ns: Some(7),
    };
    let mut slot = writer.acquire(Purpose::Pool).expect("slot");
    paint(slot.bytes_mut(), 9);
    writer
        .publish(slot.id(), 8..FRAME, &header, b"meta")
        .expect("published");
    let mut reader = reader(&place);
    let Ok(Event::Frame(frame)) = reader.next(Some(LONG)) else {
        panic!("no frame")
    };
    assert_eq!(*frame.header(), header);
    assert_eq!(frame.bytes(), &slot.bytes()[8..]);
    assert_eq!(
        (frame.number(), frame.skipped(), frame.is_copy()),
        (1, 0, false)
    );
    assert!(frame.published_ns() > 0);
    let mut info = vec![1; 1000];
    frame.copy_info(&mut info);
    assert_eq!(info, b"meta");
    assert!(reader.stats().age_ns > 0);
}

#[test]
fn the_reader_reads_the_memory_the_writer_wrote() {
    let place = place();
    let writer = writer(&place, 4);
    let mut slot = writer.acquire(Purpose::Pool).expect("slot");
    paint(slot.bytes_mut(), 1);
    let header = FrameHeader {
        pts: Some(1),
        ..Default::default()
    };
    writer
        .publish(slot.id(), 0..FRAME, &header, &[])
        .expect("published");
    let mut reader = reader(&place);
    let frame = frame(&mut reader);
    // A change in place (which users must not make after publishing) is seen at once: the pages are the same.
    slot.bytes_mut()[100] ^= 1;
    assert_eq!(frame.bytes()[100], slot.bytes()[100]);
}

#[test]
fn a_late_reader_gets_the_stream_and_the_newest_frame_at_once() {
    let place = place();
    let writer = writer(&place, 6);
    writer.set_stream(b"old").expect("stream");
    publish(&writer, 1);
    writer.set_stream(b"new").expect("stream");
    publish(&writer, 2);
    publish(&writer, 3);
    let mut reader = reader(&place);
    match reader.next(Some(LONG)) {
        Ok(Event::Stream { bytes, .. }) => assert_eq!(bytes, b"new"),
        other => panic!("{other:?}"),
    }
    let frame = frame(&mut reader);
    assert_eq!((frame.number(), frame.skipped()), (3, 0));
    nothing(&mut reader);
}

#[test]
fn a_reader_gets_the_stream_before_any_frame() {
    let place = place();
    let writer = writer(&place, 4);
    let mut reader = reader(&place);
    nothing(&mut reader);
    writer.set_stream(b"caps").expect("stream");
    assert!(matches!(
        reader.next(Some(LONG)),
        Ok(Event::Stream { version: 1, bytes }) if bytes == b"caps"
    ));
    writer.set_stream(b"caps").expect("the same again");
    nothing(&mut reader);
}

#[test]
fn events_keep_their_place_among_the_frames() {
    let place = place();
    let writer = writer(&place, 12);
    let mut reader = reader(&place);
    writer.set_stream(b"a").expect("stream");
    publish(&writer, 1);
    writer.publish_gap(Some(10), Some(20));
    writer.publish_gap(None, None);
    publish(&writer, 2);
    writer.set_stream(b"b").expect("stream");
    publish(&writer, 3);
    writer.publish_eos();
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| last != "eos") {
        seen.push(match reader.next(Some(LONG)).expect("event") {
            Event::Frame(frame) => format!("{}", frame.number()),
            Event::Gap { pts, duration } => format!("gap {pts:?} {duration:?}"),
            Event::Eos => "eos".into(),
            Event::Stream { bytes, .. } => String::from_utf8(bytes).expect("text"),
            other => panic!("{other:?}"),
        });
    }
    let expected = [
        "a",
        "1",
        "gap Some(10) Some(20)",
        "gap None None",
        "2",
        "b",
        "3",
        "eos",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn the_newest_policy_skips_and_says_so_but_never_misses_the_end() {
    let place = place();
    let writer = writer(&place, 6);
    let options = ReaderOptions {
        policy: Policy::Newest,
        ..Default::default()
    };
    let mut reader = Reader::connect(&place.socket, options).expect("reader");
    publish(&writer, 1);
    drop(frame(&mut reader));
    for number in 2..=30 {
        publish(&writer, number);
    }
    writer.publish_eos();
    let frame = frame(&mut reader);
    assert_eq!((frame.number(), frame.skipped()), (30, 28));
    assert!(matches!(reader.next(Some(LONG)), Ok(Event::Eos)));
    assert_eq!(reader.stats().skipped, 28);
    // The writer knows from the reader's control page.
    assert_eq!(writer.stats().readers[0].skipped, 28);
}

#[test]
fn a_reader_of_every_frame_may_lag_by_its_history() {
    let place = place();
    let writer = writer(&place, 16);
    let options = ReaderOptions {
        policy: Policy::EveryFrame { max_lag: 8 },
        ..Default::default()
    };
    let mut reader = Reader::connect(&place.socket, options).expect("reader");
    publish(&writer, 1);
    drop(frame(&mut reader));
    for number in 2..=9 {
        publish(&writer, number);
    }
    for number in 2..=9 {
        let frame = frame(&mut reader);
        assert_eq!((frame.number(), frame.skipped()), (number, 0));
    }
    for number in 10..=30 {
        publish(&writer, number);
    }
    let frame = frame(&mut reader);
    assert_eq!(
        (frame.number(), frame.skipped()),
        (30, 20),
        "too far behind: the newest"
    );
}

#[test]
fn an_idle_ring_stays_in_few_slots() {
    let place = place();
    let writer = writer(&place, 16);
    let mut reader = reader(&place);
    let mut slots = HashSet::new();
    for number in 1..=200 {
        let slot = writer.acquire(Purpose::Pool).expect("slot");
        slots.insert(slot.id());
        writer
            .publish(slot.id(), 0..FRAME, &Default::default(), &[])
            .expect("published");
        drop(slot);
        let Ok(Event::Frame(frame)) = reader.next(Some(LONG)) else {
            panic!("no frame {number}")
        };
        assert_eq!(frame.number(), number);
    }
    assert!(slots.len() <= 3, "{} slots", slots.len());
}

#[test]
fn a_slot_is_not_handed_out_twice_and_comes_back_when_dropped() {
    let place = place();
    let writer = writer(&place, 8);
    let mut slots = Vec::new();
    while let Ok(slot) = writer.acquire(Purpose::Pool) {
        slots.push(slot);
    }
    // Four stay for a reader to come (the default lease), one of the rest for a copy.
    assert_eq!(slots.len(), 3);
    let ids: HashSet<_> = slots.iter().map(|slot| slot.id()).collect();
    assert_eq!(ids.len(), slots.len());
    let copy = writer
        .acquire(Purpose::Copy)
        .expect("a copy always finds one");
    assert!(!ids.contains(&copy.id()));
    slots.pop();
    writer.acquire(Purpose::Pool).expect("free again");
    assert_eq!(writer.stats().pool_refused, 1);
}

#[test]
fn a_published_slot_that_upstream_still_holds_is_not_reused() {
    let place = place();
    let writer = writer(&place, 4);
    let mut slot = writer.acquire(Purpose::Pool).expect("slot");
    paint(slot.bytes_mut(), 1);
    let header = FrameHeader::default();
    writer
        .publish(slot.id(), 0..FRAME, &header, &[])
        .expect("published");
    for number in 2..20 {
        publish(&writer, number);
        assert_eq!(number_of(slot.bytes()), Some(1));
    }
    let again = writer.publish(slot.id(), 0..FRAME, &header, &[]);
    assert_eq!(again, Err(PublishError::Published));
}

#[test]
fn a_pointer_into_a_slot_names_it() {
    let place = place();
    let writer = writer(&place, 4);
    let slot = writer.acquire(Purpose::Pool).expect("slot");
    let inside = &slot.bytes()[77];
    assert_eq!(writer.slot_at(inside), Some((slot.id(), 77)));
    assert_eq!(writer.slot_at([0u8; 1].as_ptr()), None);
}

#[test]
fn what_does_not_fit_is_refused_with_its_size() {
    let place = place();
    let writer = writer(&place, 4);
    let too_large = PublishError::TooLarge {
        len: FRAME as u64 + 1,
        slot_bytes: FRAME as u64,
    };
    assert_eq!(writer.fits(FRAME + 1, 0), Err(too_large));
    let payload = vec![0; FRAME + 1];
    let result = writer.publish_copy(&payload, &Default::default(), &[]);
    assert_eq!(result, Err(too_large));
    let info = [0; 65];
    let result = writer.publish_copy(&payload[..10], &Default::default(), &info);
    assert!(matches!(
        result,
        Err(PublishError::InfoTooLarge {
            len: 65,
            info_bytes: 64
        })
    ));
    let result = writer.set_stream(&vec![0; 17 << 10]);
    assert!(matches!(result, Err(PublishError::StreamTooLarge { .. })));
    assert_eq!(writer.stats().dropped_too_large, 2);
    assert_eq!(writer.stats().frames, 0);
    publish(&writer, 1); // and nothing leaked
}

#[test]
fn a_reader_that_holds_too_much_gets_copies_until_frames_come_back() {
    let place = place();
    let writer = writer(&place, 8);
    let mut reader = reader(&place);
    let mut held = Vec::new();
    for number in 1..=6 {
        publish(&writer, number);
        held.push(frame(&mut reader));
    }
    let copies: Vec<_> = held.iter().map(|frame| frame.is_copy()).collect();
    assert_eq!(copies, [false, false, false, true, true, true]);
    assert_eq!(reader.stats().copies, 3);
    for (number, frame) in (1..).zip(&held) {
        assert_eq!(number_of(frame.bytes()), Some(number));
        let mut info = Vec::new();
        frame.copy_info(&mut info);
        assert_eq!(info, number.to_ne_bytes());
    }
    held.clear();
    publish(&writer, 7);
    assert!(!frame(&mut reader).is_copy());
}

#[test]
fn a_ring_that_changes_its_size_keeps_its_readers_and_their_frames() {
    let place = place();
    let mut writer = writer(&place, 6);
    writer.set_stream(b"caps").expect("stream");
    let mut reader = reader(&place);
    publish(&writer, 1);
    assert!(matches!(reader.next(Some(LONG)), Ok(Event::Stream { .. })));
    let old = frame(&mut reader);
    publish(&writer, 2);
    let stale = writer.acquire(Purpose::Pool).expect("slot");
    writer.resize(5, 2 * FRAME as u64).expect("resized");
    let result = writer.publish(stale.id(), 0..FRAME, &Default::default(), &[]);
    assert_eq!(result, Err(PublishError::OldGeneration));
    drop(stale);
    let mut big = vec![0; 2 * FRAME];
    paint(&mut big, 3);
    writer
        .publish_copy(&big, &Default::default(), &[])
        .expect("fits now");
    publish(&writer, 4);
    assert_eq!(frame(&mut reader).number(), 2, "what was not read yet is");
    match reader.next(Some(LONG)) {
        Ok(Event::NewGeneration { geometry }) => {
            assert_eq!(
                (geometry.slots(), geometry.slot_bytes()),
                (5, 2 * FRAME as u64)
            );
        }
        other => panic!("{other:?}"),
    }
    let Ok(Event::Frame(frame3)) = reader.next(Some(LONG)) else {
        panic!("no frame")
    };
    assert_eq!((frame3.number(), frame3.skipped()), (3, 0));
    assert_eq!(frame3.bytes(), big);
    assert_eq!(frame(&mut reader).number(), 4);
    assert_eq!(number_of(old.bytes()), Some(1), "still in its hands");
    assert_eq!(reader.stats().skipped, 0);
    assert_eq!(writer.stats().frames, 4);
}

#[test]
fn waiting_ends_at_the_limit_and_at_once_when_cancelled() {
    let place = place();
    let writer = writer(&place, 4);
    let mut reader = reader(&place);
    nothing(&mut reader);
    let canceller = reader.canceller();
    let waiting = std::thread::spawn(move || (reader.next(None).err(), reader));
    // Asleep for certain: a frame-less publish of stream information would wake it.
    std::thread::sleep(Duration::from_millis(30));
    canceller.cancel();
    let (error, mut reader) = waiting.join().expect("reader");
    assert_eq!(error, Some(WaitError::Cancelled));
    assert_eq!(reader.next(None).err(), Some(WaitError::Cancelled));
    canceller.reset();
    publish(&writer, 1);
    frame(&mut reader);
    // Waiting for a writer is interrupted as well.
    drop(writer);
    assert!(matches!(reader.next(Some(LONG)), Ok(Event::WriterGone)));
    assert_eq!(reader.next(None).err(), Some(WaitError::NotConnected));
    let waiting = std::thread::spawn(move || reader.reconnect(None).is_err());
    std::thread::sleep(Duration::from_millis(30));
    canceller.cancel();
    assert!(waiting.join().expect("reader"));
}

#[test]
fn the_writer_makes_no_wake_call_while_nobody_sleeps() {
    let place = place();
    let writer = writer(&place, 8);
    let mut reader = reader(&place);
    for number in 1..=100 {
        publish(&writer, number);
        drop(frame(&mut reader));
    }
    assert_eq!(writer.stats().wakes, 0);
    let reading = std::thread::spawn(move || frame(&mut reader).number());
    // One wake for one sleep, however many frames come before it runs.
    std::thread::sleep(Duration::from_millis(20));
    publish(&writer, 101);
    assert_eq!(reading.join().expect("reader"), 101);
    assert!(writer.stats().wakes <= 1);
}

#[test]
fn a_frame_wakes_a_sleeping_reader_long_before_its_limit() {
    let place = place();
    let writer = writer(&place, 4);
    let mut reader = reader(&place);
    let reading = std::thread::spawn(move || {
        let start = Instant::now();
        (0..20).for_each(|_| drop(frame(&mut reader)));
        start.elapsed()
    });
    for number in 1..=20 {
        // Published right when the reader goes to sleep, as near as it can be arranged.
        eventually("read so far", || {
            writer.stats().readers[0].received == number - 1
        });
        publish(&writer, number);
    }
    reading.join().expect("reader");
}

#[test]
fn a_monitor_sees_the_head_without_being_a_reader() {
    let place = place();
    let mut writer = writer(&place, 3);
    let mut monitor = shmring_core::Monitor::connect(&place.socket, LONG).expect("monitor");
    let head = monitor.head().expect("alive");
    assert_eq!((head.newest, head.frames, head.readers), (0, 0, 0));
    assert_eq!(head.age(), None);
    // The ring has one lease to give, and the monitor did not take it.
    let mut reader = reader(&place);
    publish(&writer, 1);
    let head = monitor.head().expect("alive");
    assert_eq!((head.frames, head.slots, head.readers), (1, 3, 1));
    assert_eq!(head.slot_bytes, FRAME as u64);
    assert_eq!(head.total_bytes, writer.geometry().total_bytes());
    assert!(head.age().is_some());
    writer.resize(7, 100).expect("resized");
    writer
        .publish_copy(b"small", &Default::default(), &[])
        .expect("published");
    let head = monitor.head().expect("alive");
    assert_eq!(
        (head.frames, head.slots, head.generation, head.readers),
        (2, 7, 2, 1)
    );
    frame(&mut reader);
    drop(writer);
    assert_eq!(monitor.head(), None);
    assert_eq!(monitor.head(), None);
}

#[test]
fn slots_and_frames_may_outlive_writer_and_reader() {
    let place = place();
    let writer: Writer = writer(&place, 6);
    let mut reader = reader(&place);
    publish(&writer, 1);
    let mut slot = writer.acquire(Purpose::Pool).expect("slot");
    let frame = frame(&mut reader);
    drop((writer, reader));
    paint(slot.bytes_mut(), 5);
    let other = std::thread::spawn(move || number_of(frame.bytes()));
    assert_eq!(other.join().expect("thread"), Some(1));
    assert!(!place.socket.exists());
}

#[test]
fn a_reader_that_asks_is_told_of_a_frame_to_come_in_vain_or_not() {
    if std::thread::available_parallelism().is_ok_and(|n| n.get() == 1) {
        eprintln!("skipped: with one processor nobody is woken early");
        return;
    }
    let place = place();
    let writer = writer(&place, 4);
    let (told, telling) = std::sync::mpsc::channel();
    let options = ReaderOptions {
        early: true,
        ..ReaderOptions::default()
    };
    let mut reader = Reader::connect(&place.socket, options).expect("reader");
    let reading = std::thread::spawn(move || {
        loop {
            match reader.next(Some(LONG)) {
                Ok(Event::Coming) => told.send(()).expect("somebody listens"),
                Ok(Event::Frame(frame)) => return frame.number(),
                other => panic!("{other:?}"),
            }
        }
    });
    let slot = writer.acquire(Purpose::Pool).expect("slot");
    let end = Instant::now() + LONG;
    // Until the reader sleeps there is nobody to be told. The second time is after one that came to nothing.
    for _ in 0..2 {
        while telling.recv_timeout(Duration::from_millis(5)).is_err() {
            assert!(Instant::now() < end, "nobody was told");
            slot.notify();
        }
        let wakes = writer.stats().wakes;
        assert!(wakes > 0);
    }
    writer
        .publish(slot.id(), 0..FRAME, &FrameHeader::default(), &[])
        .expect("published");
    slot.notify(); // too late: means nothing
    assert_eq!(reading.join().expect("reader"), 1);
}
