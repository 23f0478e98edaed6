//! Writers that are killed, start again, or start twice: what readers see, and what is left behind.

use crate::support::*;
use shmring_core::{
    Backing, ConnectError, CreateError, Event, Purpose, Reader, ReaderOptions, Writer, WriterConfig,
};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

fn next_frame(reader: &mut Reader) -> shmring_core::Frame {
    loop {
        match reader.next(Some(LONG)).expect("event") {
            Event::Frame(frame) => return frame,
            Event::Stream { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

fn segments() -> Vec<String> {
    let own = format!("shmring-{}-", rustix::process::geteuid().as_raw());
    let mut names: Vec<_> = std::fs::read_dir("/dev/shm")
        .expect("/dev/shm")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(&own))
        .collect();
    names.sort();
    names
}

#[test]
fn readers_go_on_with_the_next_writer_when_one_is_killed() {
    let place = place();
    let mut writing = Role::start("write", &place.socket);
    assert_eq!(writing.hear().as_deref(), Some("writing"));
    let mut reader = Reader::connect(&place.socket, ReaderOptions::default()).expect("reader");
    let mut held = next_frame(&mut reader);
    for _ in 0..10 {
        held = next_frame(&mut reader);
    }
    let number = held.number();
    writing.kill();
    assert!(place.socket.exists(), "nobody was there to remove it");
    loop {
        match reader.next(Some(LONG)).expect("event") {
            Event::Frame(_) => {}
            Event::WriterGone => break,
            other => panic!("{other:?}"),
        }
    }
    let error = reader.reconnect(Some(Duration::from_millis(50)));
    assert!(matches!(error, Err(ConnectError::NoWriter { .. })));
    let waiting = std::thread::spawn(move || {
        reader.reconnect(Some(LONG)).expect("the next writer");
        let frame = next_frame(&mut reader);
        (frame.number(), number_of(frame.bytes()), reader.stats())
    });
    let mut writing = Role::start("write", &place.socket);
    assert_eq!(writing.hear().as_deref(), Some("writing"));
    let (new, painted, stats) = waiting.join().expect("reader");
    assert_eq!(painted, Some(new));
    assert_eq!(stats.connections, 2);
    assert_eq!(number_of(held.bytes()), Some(number), "still in its hands");
    writing.end();
    assert!(!place.socket.exists(), "ended in good order");
}

#[test]
fn what_a_killed_writer_leaves_is_reclaimed_by_the_next() {
    let before = segments();
    let place = place();
    let mut writing = Role::start("write-named", &place.socket);
    assert_eq!(writing.hear().as_deref(), Some("writing"));
    let mut reader = Reader::connect(&place.socket, ReaderOptions::default()).expect("reader");
    next_frame(&mut reader);
    writing.kill();
    let left: Vec<_> = segments()
        .into_iter()
        .filter(|name| !before.contains(name))
        .collect();
    assert_eq!(left.len(), 1, "the killed writer's segment");
    let mut config = config(&place, 5);
    config.backing = Backing::DevShm;
    let mut writer = Writer::create(config).expect("starts over the remains");
    let mut reader = Reader::connect(&place.socket, ReaderOptions::default()).expect("reader");
    publish(&writer, 1);
    drop(frame(&mut reader));
    writer.resize(6, FRAME as u64).expect("resized");
    publish(&writer, 2);
    assert!(matches!(
        reader.next(Some(LONG)),
        Ok(Event::NewGeneration { .. })
    ));
    frame(&mut reader);
    drop(writer);
    assert!(segments().iter().all(|name| before.contains(name)));
    let directory = place.socket.parent().expect("directory");
    assert_eq!(std::fs::read_dir(directory).expect("directory").count(), 0);
}

#[test]
fn a_path_that_somebody_listens_on_is_refused_and_left_alone() {
    let place = place();
    let first = writer(&place, 4);
    let error = Writer::create(config(&place, 4))
        .map(drop)
        .expect_err("in use");
    assert!(matches!(error, CreateError::InUse(_)), "{error}");
    let mut reader = Reader::connect(&place.socket, ReaderOptions::default()).expect("reader");
    publish(&first, 1);
    frame(&mut reader);
}

#[test]
fn a_file_that_is_no_socket_is_not_removed() {
    let place = place();
    std::fs::write(&place.socket, "precious").expect("file");
    let error = Writer::create(config(&place, 4))
        .map(drop)
        .expect_err("not a socket");
    assert!(matches!(error, CreateError::NotASocket(_)), "{error}");
    assert_eq!(
        std::fs::read_to_string(&place.socket).expect("file"),
        "precious"
    );
}

#[test]
fn of_many_writers_that_start_at_once_over_a_stale_socket_one_wins() {
    let place = place();
    let mut writing = Role::start("write", &place.socket);
    assert_eq!(writing.hear().as_deref(), Some("writing"));
    writing.kill();
    let barrier = std::sync::Arc::new(std::sync::Barrier::new(8));
    let starting: Vec<_> = (0..8)
        .map(|_| {
            let (config, barrier) = (config(&place, 4), barrier.clone());
            std::thread::spawn(move || {
                barrier.wait();
                Writer::create(config)
            })
        })
        .collect();
    let writers: Vec<_> = starting
        .into_iter()
        .filter_map(|thread| thread.join().expect("thread").ok())
        .collect();
    assert_eq!(writers.len(), 1);
    Reader::connect(&place.socket, ReaderOptions::default()).expect("the winner answers");
}

#[test]
fn the_socket_has_the_mode_and_group_asked_for() {
    let place = place();
    let group = rustix::process::getegid().as_raw();
    let config = WriterConfig {
        socket_mode: 0o620,
        socket_group: Some(group),
        ..config(&place, 4)
    };
    let _writer = Writer::create(config).expect("writer");
    let metadata = std::fs::metadata(&place.socket).expect("socket");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o620);
    assert_eq!(metadata.gid(), group);
    assert_eq!(shmring_core::group_id("root").expect("/etc/group"), Some(0));
    assert_eq!(shmring_core::group_id("77").expect("number"), Some(77));
    assert_eq!(
        shmring_core::group_id("no such group").expect("/etc/group"),
        None
    );
}

#[test]
fn impossible_rings_are_refused_by_name() {
    let place = place();
    let refuse = |config: WriterConfig| {
        Writer::create(config)
            .map(drop)
            .expect_err("impossible")
            .to_string()
    };
    let text = refuse(config(&place, 2));
    assert!(text.contains("2 slots"), "{text}");
    let text = refuse(config(&place, 65));
    assert!(text.contains("65 slots"), "{text}");
    let text = refuse(WriterConfig {
        slot_bytes: 0,
        ..config(&place, 4)
    });
    assert!(text.contains("0 bytes"), "{text}");
    let long = "x".repeat(200);
    let text = refuse(WriterConfig {
        socket_path: place.socket.with_file_name(long),
        ..config(&place, 4)
    });
    assert!(
        text.contains("103 bytes") || text.contains("look at"),
        "{text}"
    );
    assert!(!place.socket.exists());
}

#[test]
fn a_ring_larger_than_the_memory_is_refused_before_the_kernel_ends_anybody() {
    let readings = shmring_core::sizing::Readings::of_system();
    if readings.free_bytes(Backing::Memfd) > 1 << 38 {
        println!("skipped: this machine has room for the largest ring there can be");
        return;
    }
    // Should it be tried all the same, it ends this test and not the machine.
    let limit = rustix::process::Rlimit {
        current: Some(1 << 32),
        maximum: Some(1 << 32),
    };
    rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).expect("a limit");
    let place = place();
    for backing in [Backing::Memfd, Backing::DevShm] {
        let huge = WriterConfig {
            slot_bytes: 1 << 32,
            backing,
            ..config(&place, 64)
        };
        match Writer::create(huge).map(drop) {
            Err(CreateError::Memory { needed, free, .. }) => assert!(needed > free),
            other => panic!("{other:?}"),
        }
    }
    // A stream that becomes too large keeps the ring it has.
    let mut writer = writer(&place, 64);
    let mut reader = Reader::connect(&place.socket, ReaderOptions::default()).expect("reader");
    assert!(writer.resize(64, 1 << 32).is_err());
    publish(&writer, 1);
    assert_eq!(frame(&mut reader).header().pts, Some(1));
}

#[test]
fn a_restarted_writer_finds_its_slots_empty() {
    let place = place();
    drop(writer(&place, 4));
    let writer = writer(&place, 4);
    let mut reader = Reader::connect(&place.socket, ReaderOptions::default()).expect("reader");
    nothing(&mut reader);
    assert!(writer.acquire(Purpose::Copy).is_ok());
}

#[test]
fn a_reader_without_room_for_descriptors_is_told_so() {
    let place = place();
    let _writer = writer(&place, 8);
    let mut role = Role::start("few-files", &place.socket);
    let told: Vec<String> = std::iter::from_fn(|| role.hear()).collect();
    let (last, errors) = told.split_last().expect("it says something");
    assert_eq!(last, "connected", "{told:?}");
    // The socket, the event to cancel by, the ring and the control page: each has its turn to be the one too many.
    assert!(errors.len() >= 7, "{told:?}");
    for error in errors {
        assert!(error.contains("Too many open files"), "{error}");
    }
}
