//! No reader can hurt the writer or another reader, whatever happens to it. Readers are processes here, since a thread cannot be
//! stopped or killed as a process can.

mod support;

use std::time::{Duration, Instant};

use gst::prelude::*;
use rustix::process::Signal;
use support::*;

/// What a child does; see `support::child_main`. Not a test of its own.
#[test]
fn child_process() {
    child_main();
}

/// 100 frames per second into a ring with much room, so that a busy machine does not make a healthy reader lag too far.
fn writer(place: &Place, more: &str) -> Pipeline {
    Pipeline::play(&format!(
        "videotestsrc is-live=true pattern=snow ! video/x-raw,format=GRAY8,width=320,height=240,framerate=100/1 \
         ! shmringsink name=ring slots=64 socket-path={} {more}",
        place.socket().display()
    ))
}

fn reader(place: &Place, mode: &str, more: &str) -> Process {
    Process::start(
        mode,
        &format!(
            "shmringsrc name=src max-lag=40 socket-path={} {more} ! fakesink name=out sync=false enable-last-sample=false",
            place.socket().display()
        ),
    )
}

fn frames(writer: &Pipeline) -> u64 {
    count(&writer.stats("ring"), "frames")
}

#[track_caller]
fn wait_for_frames(p: &Process, n: usize) {
    wait_until("the reader gets frames", || p.frames().len() >= n);
}

/// Lets the writer publish `n` more frames and waits until the reader has the last of them; says how many of them it got.
#[track_caller]
fn received_of(writer: &Pipeline, healthy: &Process, n: u64) -> u64 {
    let first = healthy.frames().last().expect("it has begun")[0];
    let before = frames(writer);
    wait_until("the writer goes on", || frames(writer) >= before + n);
    wait_until("the healthy reader goes on", || {
        healthy.frames().last().is_some_and(|f| f[0] >= first + n)
    });
    healthy
        .frames()
        .iter()
        .filter(|f| f[0] > first && f[0] <= first + n)
        .count() as u64
}

#[test]
fn a_stopped_reader_costs_nobody_a_frame() {
    let place = Place::new();
    let writer = writer(&place, "");
    let healthy = reader(&place, "read", "");
    let stopped = reader(&place, "read", "");
    wait_for_frames(&healthy, 20);
    wait_for_frames(&stopped, 20);
    stopped.signal(Signal::STOP);
    assert_eq!(received_of(&writer, &healthy, 300), 300);
    let at_stop = stopped.frames().len();
    stopped.signal(Signal::CONT);
    // It goes on with the newest frame, and says that some are missing.
    wait_until("it goes on", || stopped.frames().len() > at_stop + 20);
    let after = stopped.frames();
    let jump = after
        .windows(2)
        .find(|w| w[1][0] > w[0][0] + 100)
        .expect("it missed frames");
    assert_eq!(jump[1][1], 1, "DISCONT after a jump: {jump:?}");
    let stats = writer.stats("ring");
    assert_eq!(count(&stats, "dropped-no-slot"), 0, "{stats}");
}

#[test]
fn a_killed_reader_costs_nobody_a_frame_and_gives_its_slots_back() {
    let place = Place::new();
    let writer = writer(&place, "");
    let healthy = reader(&place, "read", "");
    wait_for_frames(&healthy, 20);
    for _ in 0..3 {
        let mut victim = reader(&place, "hold=3", "");
        wait_for_frames(&victim, 20);
        victim.kill();
        assert_eq!(received_of(&writer, &healthy, 50), 50);
    }
    wait_for_readers(&writer, 1);
    assert_eq!(count(&writer.stats("ring"), "dropped-no-slot"), 0);
}

#[test]
fn slow_readers_that_hold_all_they_may_see_frames_that_never_change() {
    let place = Place::new();
    let writer = writer(&place, "max-lease=8");
    let healthy = reader(&place, "read", "");
    wait_for_frames(&healthy, 20);
    let holders: Vec<_> = (0..3).map(|_| reader(&place, "hold=12", "")).collect();
    for p in &holders {
        wait_for_frames(p, 40);
    }
    assert_eq!(received_of(&writer, &healthy, 100), 100);
    for p in &holders {
        wait_for_frames(p, 100);
        assert!(!p.said("CHANGED"), "{:?}", p.lines.lock().unwrap());
    }
    let stats = writer.stats("ring");
    assert_eq!(count(&stats, "dropped-no-slot"), 0, "{stats}");
    let copies: u64 = stats
        .get::<gst::Array>("readers")
        .unwrap()
        .iter()
        .map(|r| {
            r.get::<gst::Structure>()
                .unwrap()
                .get::<u64>("copies")
                .unwrap()
        })
        .sum();
    assert!(
        copies > 0,
        "those who hold 12 with 8 leases get copies: {stats}"
    );
}

#[test]
fn readers_for_whom_no_slot_is_left_get_copies() {
    let place = Place::new();
    let writer = Pipeline::play(&format!(
        "videotestsrc is-live=true ! video/x-raw,format=GRAY8,width=64,height=64,framerate=50/1 ! shmringsink name=ring slots=6 max-lease=4 socket-path={}",
        place.socket().display()
    ));
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let reader = Pipeline::play(&format!(
                "shmringsrc name=src socket-path={} ! appsink name=out sync=false max-buffers=1 drop=true",
                place.socket().display()
            ));
            pull(&reader, "out");
            reader
        })
        .collect();
    for reader in &readers {
        pull(reader, "out");
    }
    let last = readers.last().unwrap().stats("src");
    assert_eq!(last.get::<u32>("granted"), Ok(0));
    assert!(count(&last, "copies") > 0, "{last}");
    assert_eq!(count(&writer.stats("ring"), "refused"), 0);
    assert_eq!(count(&writer.stats("ring"), "dropped-no-slot"), 0);
}

#[test]
fn readers_survive_a_killed_writer_and_go_on_with_the_next() {
    let place = Place::new();
    let launch = |n: u32| {
        format!(
            "videotestsrc is-live=true ! video/x-raw,format=GRAY8,width={n},height={n},framerate=50/1 ! shmringsink name=ring socket-path={}",
            place.socket().display()
        )
    };
    let reader = Pipeline::play(&format!(
        "shmringsrc name=src socket-path={} ! appsink name=out sync=false enable-last-sample=false",
        place.socket().display()
    ));
    let mut held = Vec::new();
    for (round, size) in [64i32, 64, 160].into_iter().enumerate() {
        let mut writer = Process::start("write", &launch(size as u32));
        let end = Instant::now() + DEADLINE;
        // Frames of the writer before may still be queued; the first of the new one has DISCONT.
        let first = loop {
            assert!(Instant::now() < end, "no frame of writer {round}");
            let sample = pull(&reader, "out");
            if sample
                .buffer()
                .unwrap()
                .flags()
                .contains(gst::BufferFlags::DISCONT)
            {
                break sample;
            }
        };
        let s = first.caps().unwrap().structure(0).unwrap();
        assert_eq!(s.get::<i32>("width"), Ok(size));
        for _ in 0..10 {
            pull(&reader, "out");
        }
        // Still readable when its writer is dead.
        held.push((checksum(first.buffer().unwrap()), first));
        writer.kill();
    }
    for (sum, sample) in &held {
        assert_eq!(checksum(sample.buffer().unwrap()), *sum);
    }
    assert_eq!(count(&reader.stats("src"), "connections"), 3);
    assert!(reader.error().is_none());
    // The socket the last one left behind is the next one's; no writer leaves anything else.
    let left: Vec<_> = std::fs::read_dir(place.path())
        .unwrap()
        .map(|f| f.unwrap().file_name())
        .collect();
    assert!(left.len() <= 1, "{left:?}");
}

#[test]
fn a_named_segment_of_a_killed_writer_is_removed_by_the_next() {
    let place = Place::new();
    let launch = format!(
        "videotestsrc is-live=true ! video/x-raw,format=GRAY8,width=64,height=64,framerate=50/1 ! shmringsink name=ring backing=dev-shm socket-path={}",
        place.socket().display()
    );
    let mut writer = Process::start("write", &launch);
    let mut path = None;
    // Other tests have segments there too.
    wait_until("the ring is there", || {
        path = segment_path(&writer);
        path.is_some()
    });
    let path = path.unwrap();
    let segments = || {
        let all = std::fs::read_dir("/dev/shm").unwrap();
        all.filter_map(|f| f.ok()?.file_name().into_string().ok())
            .filter(|n| n.starts_with(&path))
            .count()
    };
    writer.kill();
    assert_eq!(segments(), 1, "a killed writer cannot clean up");
    let next = Pipeline::play(&launch);
    wait_until("the next one runs", || {
        count(&next.stats("ring"), "frames") > 3
    });
    assert_eq!(segments(), 1, "the leftover is gone");
    let reader = Pipeline::play(&format!(
        "shmringsrc socket-path={} ! appsink name=out sync=false",
        place.socket().display()
    ));
    pull(&reader, "out");
    drop(next);
    assert_eq!(segments(), 0);
}

/// Of the segment that a writer has mapped, what comes before the number of its generation.
fn segment_path(writer: &Process) -> Option<String> {
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", writer.pid())).ok()?;
    let (_, name) = maps.lines().find_map(|map| map.split_once("/dev/shm/"))?;
    let (path, _) = name.rsplit_once('-')?;
    Some(format!("{path}-"))
}

#[test]
fn without_reconnect_the_end_of_the_writer_is_the_end() {
    let place = Place::new();
    let mut writer = Process::start(
        "write",
        &format!(
            "videotestsrc is-live=true ! video/x-raw,format=GRAY8,width=64,height=64,framerate=50/1 ! shmringsink name=ring socket-path={}",
            place.socket().display()
        ),
    );
    wait_until("the ring is there", || place.socket().exists());
    let reader = Pipeline::play(&format!(
        "shmringsrc reconnect=never socket-path={} ! appsink name=out sync=false wait-on-eos=false",
        place.socket().display()
    ));
    pull(&reader, "out");
    writer.kill();
    reader.wait_for(&[gst::MessageType::Eos]);
}

#[test]
fn always_reconnecting_outlives_the_end_of_the_stream() {
    let place = Place::new();
    let reader = Pipeline::play(&format!(
        "shmringsrc name=src reconnect=always socket-path={} ! appsink name=out sync=false",
        place.socket().display()
    ));
    for _ in 0..2 {
        let writer = Pipeline::play(&format!(
            "videotestsrc num-buffers=3 is-live=true ! video/x-raw,format=GRAY8,width=64,height=64,framerate=50/1 ! shmringsink name=ring socket-path={}",
            place.socket().display()
        ));
        writer.wait_for(&[gst::MessageType::Eos]);
        let first = pull(&reader, "out");
        assert!(
            first
                .buffer()
                .unwrap()
                .flags()
                .contains(gst::BufferFlags::DISCONT)
        );
        drop(writer);
        // What was published before the end is read before the reader notices that the writer has gone.
        wait_until("the writer is missed", || {
            !reader.stats("src").get::<bool>("connected").unwrap()
        });
        let out = reader
            .by_name("out")
            .downcast::<gst_app::AppSink>()
            .unwrap();
        while out.try_pull_sample(gst::ClockTime::ZERO).is_some() {}
    }
    assert!(
        reader
            .0
            .bus()
            .unwrap()
            .pop_filtered(&[gst::MessageType::Eos, gst::MessageType::Error])
            .is_none()
    );
}

#[test]
fn two_writers_of_one_path_are_told_apart() {
    let place = Place::new();
    let first = writer(&place, "");
    wait_until("the first runs", || frames(&first) > 3);
    let second = Pipeline::new(&format!(
        "videotestsrc ! video/x-raw,format=GRAY8,width=64,height=64 ! shmringsink socket-path={}",
        place.socket().display()
    ));
    let _ = second.0.set_state(gst::State::Playing);
    let text = second.wait_for_error();
    assert!(text.contains("in use"), "{text}");
    let before = frames(&first);
    std::thread::sleep(Duration::from_millis(50));
    wait_until("the first is not disturbed", || frames(&first) > before + 5);
}
