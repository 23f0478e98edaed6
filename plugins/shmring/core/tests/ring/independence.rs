//! Stopped, slow, killed readers in processes of their own: counted is what was published and what a healthy one got.

use crate::support::*;
use rustix::process::Signal;
use shmring_core::{ConnectError, Event, Policy, Reader, ReaderOptions, Writer};
use std::time::Duration;

/// A reader that must get every frame, with room for a hiccup of this machine of a third of a second.
fn healthy(place: &Place) -> Reader {
    let options = ReaderOptions {
        leases: 2,
        policy: Policy::EveryFrame { max_lag: 40 },
        ..Default::default()
    };
    Reader::connect(&place.socket, options).expect("healthy reader")
}

/// Publishes 120 frames at 120 per second; returns how many the healthy reader got.
fn feed(writer: &Writer, mut reader: Reader, meanwhile: impl FnOnce()) -> u64 {
    let first = writer.stats().frames + 1;
    let last = first + 119;
    let reading = std::thread::spawn(move || {
        let mut got = 0;
        loop {
            let frame = frame(&mut reader);
            got += u64::from(frame.number() >= first);
            if frame.number() == last {
                return got;
            }
        }
    });
    let mut meanwhile = Some(meanwhile);
    for number in first..=last {
        if number == first + 20 {
            meanwhile.take().expect("once")();
        }
        publish(writer, number);
        std::thread::sleep(Duration::from_micros(8300));
    }
    reading.join().expect("healthy reader")
}

#[test]
fn a_stopped_reader_disturbs_neither_writer_nor_healthy_reader() {
    let place = place();
    let writer = writer(&place, 60);
    let healthy = healthy(&place);
    let mut slow = Role::start("slow", &place.socket);
    assert_eq!(slow.hear().as_deref(), Some("reading"));
    let got = feed(&writer, healthy, || slow.signal(Signal::STOP));
    assert_eq!((writer.stats().frames, got), (120, 120));
    let stats = writer.stats();
    let report = stats
        .readers
        .iter()
        .find(|reader| reader.pid as u32 == slow.child.id())
        .expect("still there");
    assert!(report.lag >= 90, "it is stopped: {report:?}");
    assert!(report.leased <= report.granted);
    slow.signal(Signal::CONT);
    let said = slow.end().expect("result");
    assert!(said.ends_with(" 0"), "frames changed while stopped: {said}");
}

#[test]
fn a_killed_reader_disturbs_nobody_and_gives_everything_back() {
    let place = place();
    let writer = writer(&place, 60);
    publish(&writer, 1);
    let mut holder = Role::start("hold", &place.socket);
    let mut number = 1;
    // It takes one frame per publication until it holds all it may without copies.
    eventually("it holds three", || {
        number += 1;
        publish(&writer, number);
        writer
            .stats()
            .readers
            .first()
            .is_some_and(|reader| reader.leased == 3)
    });
    assert_eq!(holder.hear().as_deref(), Some("holding"));
    let healthy = healthy(&place);
    let before = writer.stats().frames;
    let got = feed(&writer, healthy, || holder.kill());
    assert_eq!((writer.stats().frames - before, got), (120, 120));
    eventually("the writer noticed", || writer.stats().readers.is_empty());
    // All leases can be granted again.
    let options = ReaderOptions::default;
    let readers: Vec<_> = (0..14)
        .map(|_| Reader::connect(&place.socket, options()).expect("reader"))
        .collect();
    assert_eq!(
        readers
            .iter()
            .map(|reader| reader.stats().granted)
            .sum::<u32>(),
        56
    );
}

#[test]
fn frames_in_the_hands_of_slow_readers_never_change() {
    let place = place();
    let writer = writer(&place, 12);
    let mut slow: Vec<_> = (0..2).map(|_| Role::start("slow", &place.socket)).collect();
    for role in &mut slow {
        assert_eq!(role.hear().as_deref(), Some("reading"));
    }
    // Flat out: the ring goes round hundreds of times while each holds its frames.
    let mut number = 0;
    let end = std::time::Instant::now() + Duration::from_millis(1500);
    while std::time::Instant::now() < end {
        number += 1;
        publish(&writer, number);
    }
    for role in slow {
        let said = role.end().expect("result");
        let (frames, changed) = said.split_once(' ').expect("two numbers");
        assert!(
            frames.parse::<u64>().expect("number") >= 10,
            "{said} of {number}"
        );
        assert_eq!(changed, "0", "{said}");
    }
    assert_eq!(writer.stats().frames, number);
    assert_eq!(writer.stats().dropped_no_slot, 0);
}

#[test]
fn readers_that_hold_all_they_may_leave_the_writer_two_slots() {
    let place = place();
    let writer = writer(&place, 6);
    publish(&writer, 1);
    let mut reader = Reader::connect(&place.socket, ReaderOptions::default()).expect("reader");
    let mut held = vec![frame(&mut reader)];
    for number in 2..200 {
        publish(&writer, number);
        held.push(frame(&mut reader));
    }
    assert_eq!(writer.stats().dropped_no_slot, 0);
    assert_eq!(held.iter().filter(|frame| !frame.is_copy()).count(), 3);
}

#[test]
fn a_full_ring_refuses_with_the_numbers() {
    let place = place();
    let writer = writer(&place, 8);
    let first = Reader::connect(&place.socket, ReaderOptions::default()).expect("reader");
    let second = Reader::connect(&place.socket, ReaderOptions::default()).expect("reader");
    assert_eq!((first.stats().granted, second.stats().granted), (4, 2));
    let without_copies = ReaderOptions {
        copies: false,
        ..ReaderOptions::default()
    };
    let error = Reader::connect(&place.socket, without_copies.clone())
        .map(drop)
        .expect_err("full");
    assert!(matches!(
        error,
        ConnectError::RingFull {
            slots: 8,
            granted: 6,
            readers: 2
        }
    ));
    let text = error.to_string();
    assert!(
        text.contains("ring full") && text.contains('6') && text.contains('8'),
        "{text}"
    );
    assert_eq!(writer.stats().refused, 1);
    // Frames keep a reader's place in the ring, not the reader alone.
    publish(&writer, 1);
    let mut first = first;
    let frame = frame(&mut first);
    drop(first);
    assert_eq!(writer.stats().readers.len(), 2);
    drop(frame);
    eventually("room again", || {
        Reader::connect(&place.socket, without_copies.clone()).is_ok()
    });
}

#[test]
fn readers_for_whom_no_lease_is_left_read_by_copying() {
    let place = place();
    let writer = writer(&place, 16);
    let greedy = ReaderOptions {
        leases: 62,
        ..ReaderOptions::default()
    };
    let mut readers: Vec<_> = (0..60)
        .map(|_| Reader::connect(&place.socket, greedy.clone()).expect("reader"))
        .collect();
    let granted: Vec<_> = readers
        .iter()
        .map(|reader| reader.stats().granted)
        .collect();
    assert_eq!(granted[..4], [4, 4, 4, 2]);
    assert!(granted[4..].iter().all(|granted| *granted == 0));
    for number in 1..=200 {
        publish(&writer, number);
        for reader in &mut readers {
            let frame = frame(reader);
            assert_eq!((frame.number(), frame.skipped()), (number, 0));
            assert_eq!(number_of(frame.bytes()), Some(number), "torn");
        }
    }
    assert!(readers[59].stats().copies == 200 && readers[0].stats().copies == 0);
    assert_eq!(writer.stats().dropped_no_slot, 0);
}

#[test]
fn what_a_copying_reader_gets_is_whole_while_the_writer_runs_flat_out() {
    let place = place();
    let writer = writer(&place, 3);
    let mut leased = Reader::connect(&place.socket, ReaderOptions::default()).expect("reader");
    let mut copying = Reader::connect(&place.socket, ReaderOptions::default()).expect("reader");
    assert_eq!((leased.stats().granted, copying.stats().granted), (1, 0));
    let reading = std::thread::spawn(move || {
        let mut read = 0;
        while let Ok(event) = copying.next(Some(LONG)) {
            match event {
                Event::Frame(frame) => {
                    let number = number_of(frame.bytes());
                    assert_eq!(number, frame.header().pts, "torn");
                    read += 1;
                }
                Event::WriterGone => break,
                _ => {}
            }
        }
        read
    });
    for number in 1..=3000 {
        publish(&writer, number);
        if number % 100 == 0 {
            frame(&mut leased);
        }
    }
    drop(writer);
    assert!(reading.join().expect("reader") > 0);
}

#[test]
fn readers_get_their_events_while_others_come_and_go() {
    let place = place();
    let writer = writer(&place, 60);
    let healthy = healthy(&place);
    let path = place.socket.clone();
    let mut coming = None;
    let got = feed(&writer, healthy, || {
        coming = Some(std::thread::spawn(move || {
            for _ in 0..200 {
                let mut reader = Reader::connect(&path, ReaderOptions::default()).expect("reader");
                assert!(matches!(reader.next(Some(LONG)), Ok(Event::Frame(_))));
            }
        }));
    });
    assert_eq!(got, 120);
    coming.expect("started").join().expect("coming and going");
}
