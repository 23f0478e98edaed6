//! Peers that break the rules, on either side.

use crate::support::*;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use shmring_core::protocol::{MAGIC, wire};
use shmring_core::{ConnectError, Event, Policy, Reader, ReaderOptions};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::path::Path;
use zerocopy::IntoBytes;

fn socket() -> OwnedFd {
    rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .expect("socket")
}

fn dial(path: &Path) -> OwnedFd {
    let socket = socket();
    rustix::net::connect(&socket, &SocketAddrUnix::new(path).expect("path")).expect("connect");
    socket
}

/// A message and the descriptors that came with it.
type Answer = (Vec<u8>, Vec<OwnedFd>);

/// One answer of the other side; `None` when it has closed.
fn hear(socket: &OwnedFd) -> Option<Answer> {
    let mut bytes = [0; 256];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::empty(),
    )
    .ok()?;
    let fds = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights.collect::<Vec<_>>()),
            _ => None,
        })
        .flatten()
        .collect();
    (got.bytes > 0).then(|| (bytes[..got.bytes].to_vec(), fds))
}

fn greet(path: &Path, hello: &[u8]) -> (OwnedFd, Option<Answer>) {
    let socket = dial(path);
    rustix::net::send(&socket, hello, SendFlags::NOSIGNAL).expect("greeting");
    let answer = hear(&socket);
    (socket, answer)
}

fn status(answer: &[u8]) -> u32 {
    wire::parse_welcome(answer).expect("an answer").0.status
}

#[test]
fn a_writer_refuses_what_it_does_not_understand() {
    let place = place();
    let writer = writer(&place, 8);
    let good = wire::Hello::new(wire::ROLE_READER, 1, 1);
    let version = wire::Hello {
        protocol: 99,
        ..good
    };
    let role = wire::Hello { role: 7, ..good };
    let magic = wire::Hello { magic: 1, ..good };
    let mut longer = version.as_bytes().to_vec();
    longer.extend([0; 40]);
    for (hello, expected) in [
        (version.as_bytes(), wire::REFUSED_VERSION),
        (&longer, wire::REFUSED_VERSION),
        (role.as_bytes(), wire::REFUSED_GREETING),
        (magic.as_bytes(), wire::REFUSED_GREETING),
        (&[1, 2, 3], wire::REFUSED_GREETING),
        (&[0; 1000], wire::REFUSED_GREETING),
    ] {
        let (socket, answer) = greet(&place.socket, hello);
        let (bytes, fds) = answer.expect("told why not");
        assert_eq!(status(&bytes), expected);
        assert!(fds.is_empty());
        assert!(hear(&socket).is_none(), "and closed");
    }
    assert_eq!(writer.stats().refused, 6);
    assert!(writer.stats().readers.is_empty());
}

#[test]
fn half_open_handshakes_keep_nobody_out() {
    let place = place();
    let writer = writer(&place, 8);
    let idle: Vec<_> = (0..150).map(|_| dial(&place.socket)).collect();
    let mut reader = Reader::connect(&place.socket, ReaderOptions::default()).expect("reader");
    publish(&writer, 1);
    frame(&mut reader);
    // Those that never speak are thrown out, by number or by time.
    eventually("thrown out", || writer.stats().misbehaved >= 150);
    assert!(idle.iter().all(|socket| hear(socket).is_none()));
}

#[test]
fn a_thousand_connections_leave_the_healthy_reader_alone() {
    let place = place();
    let writer = writer(&place, 40);
    let options = ReaderOptions {
        policy: Policy::EveryFrame { max_lag: 30 },
        ..Default::default()
    };
    let mut healthy = Reader::connect(&place.socket, options).expect("reader");
    let path = place.socket.clone();
    let storm = std::thread::spawn(move || {
        // Each stays for a while, so that the ring is full for most of them.
        let hello = wire::Hello::new(wire::ROLE_READER, 1, 64);
        let mut there = std::collections::VecDeque::new();
        let mut refused = 0;
        for _ in 0..1000 {
            let (socket, answer) = greet(&path, hello.as_bytes());
            refused += u32::from(status(&answer.expect("an answer").0) != wire::ACCEPTED);
            there.push_back(socket);
            if there.len() > 50 {
                there.pop_front();
            }
        }
        refused
    });
    let mut number = 0;
    while !storm.is_finished() || number < 100 {
        number += 1;
        publish(&writer, number);
        let frame = frame(&mut healthy);
        assert_eq!((frame.number(), frame.skipped()), (number, 0));
    }
    assert!(storm.join().expect("storm") > 0);
    let stats = writer.stats();
    assert_eq!(stats.accepted + stats.refused, 1001);
    assert_eq!(stats.dropped_no_slot, 0);
    eventually("all are gone", || writer.stats().readers.len() == 1);
}

#[test]
fn a_reader_that_scribbles_over_its_control_page_hurts_only_itself() {
    let place = place();
    let writer = writer(&place, 8);
    let mut healthy = Reader::connect(&place.socket, ReaderOptions::default()).expect("reader");
    let hello = wire::Hello::new(wire::ROLE_READER, 64, u32::MAX);
    let (_socket, answer) = greet(&place.socket, hello.as_bytes());
    let (bytes, fds) = answer.expect("an answer");
    let (welcome, _) = wire::parse_welcome(&bytes).expect("welcome");
    assert_eq!(
        welcome.granted, 2,
        "what the healthy reader's four leave of six"
    );
    let mut page = vec![0; 4096];
    let mut noise = 1_u64;
    for number in 1..=600 {
        for word in page.chunks_exact_mut(4) {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // Every word claims slots, in turn those that exist, all ones, and nonsense.
            let value = match number % 3 {
                0 => (noise >> 33) as u32 % 9,
                1 => u32::MAX,
                _ => (noise >> 33) as u32,
            };
            word.copy_from_slice(&value.to_ne_bytes());
        }
        rustix::io::pwrite(&fds[1], &page, 0).expect("scribble");
        publish(&writer, number);
        let frame = frame(&mut healthy);
        assert_eq!((frame.number(), frame.skipped()), (number, 0));
    }
    let stats = writer.stats();
    assert_eq!((stats.frames, stats.dropped_no_slot), (600, 0));
    assert!(stats.readers[1].leased <= 2);
}

#[test]
fn a_reader_cannot_write_to_the_ring_or_change_any_size() {
    let place = place();
    let _writer = writer(&place, 8);
    let hello = wire::Hello::new(wire::ROLE_READER, 1, 1);
    let (_socket, answer) = greet(&place.socket, hello.as_bytes());
    let fds = answer.expect("an answer").1;
    assert!(rustix::io::pwrite(&fds[0], b"x", 0).is_err());
    let hole = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
    assert!(rustix::fs::fallocate(&fds[0], hole, 0, 4096).is_err());
    for fd in &fds {
        assert!(rustix::fs::ftruncate(fd, 0).is_err());
        assert!(rustix::fs::ftruncate(fd, 1 << 30).is_err());
        assert!(rustix::fs::fcntl_add_seals(fd, SealFlags::WRITE).is_err());
    }
    let seals = rustix::fs::fcntl_get_seals(&fds[0]).expect("seals");
    assert!(
        seals.contains(
            SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL
        )
    );
}

/// Answers one greeting with these bytes and descriptors, then runs `after` and closes.
fn impostor(
    path: &Path,
    answer: &[u8],
    fds: &[&OwnedFd],
    reader: impl FnOnce() -> Result<Reader, ConnectError> + Send,
) -> Result<Reader, ConnectError> {
    let listener = socket();
    rustix::net::bind(&listener, &SocketAddrUnix::new(path).expect("path")).expect("bind");
    rustix::net::listen(&listener, 1).expect("listen");
    let result = std::thread::scope(|scope| {
        let reading = scope.spawn(reader);
        let socket = rustix::net::accept(&listener).expect("accept");
        hear(&socket);
        let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        }
        let bytes = [IoSlice::new(answer)];
        rustix::net::sendmsg(&socket, &bytes, &mut control, SendFlags::NOSIGNAL).expect("answer");
        reading.join().expect("reader")
    });
    std::fs::remove_file(path).expect("socket");
    result
}

fn memory(len: u64, seals: SealFlags) -> OwnedFd {
    let fd = rustix::fs::memfd_create("x", MemfdFlags::ALLOW_SEALING).expect("memfd");
    rustix::fs::fallocate(&fd, rustix::fs::FallocateFlags::empty(), 0, len).expect("size");
    rustix::fs::fcntl_add_seals(&fd, seals).expect("seals");
    fd
}

#[test]
fn a_reader_refuses_a_writer_whose_ring_is_not_safe() {
    let place = place();
    let welcome = wire::Welcome {
        magic: MAGIC,
        protocol: shmring_core::PROTOCOL,
        status: wire::ACCEPTED,
        instance: 1,
        generation: 1,
        base: 0,
        slot_bytes: 4096,
        slots: 4,
        info_bytes: 64,
        stream_bytes: 64,
        granted: 1,
        granted_all: 1,
        readers: 1,
        named: 0,
        spare: 0,
    };
    let geometry = shmring_core::Geometry::new(4, 4096, 64, 64).expect("geometry");
    let len = geometry.total_bytes();
    let sealed = SealFlags::SHRINK | SealFlags::GROW;
    let good = memory(len, sealed);
    let control = memory(4096, sealed);
    let open = memory(len, SealFlags::empty());
    let short = memory(len - 4096, sealed);
    let connect = || Reader::connect(&place.socket, ReaderOptions::default());
    let try_with = |welcome: &wire::Welcome, fds: &[&OwnedFd]| {
        impostor(&place.socket, welcome.as_bytes(), fds, connect)
            .map(drop)
            .expect_err("refused")
            .to_string()
    };
    let tiny = memory(64, sealed);
    let sparse = rustix::fs::memfd_create("x", MemfdFlags::ALLOW_SEALING).expect("memfd");
    rustix::fs::ftruncate(&sparse, len).expect("size");
    rustix::fs::fcntl_add_seals(&sparse, sealed).expect("seals");
    for (fds, reason) in [
        (&[&open, &control][..], "not sealed"),
        (&[&good, &open], "not sealed"),
        (&[&short, &control], "shorter"),
        (&[&good, &tiny], "shorter"),
        (&[&sparse, &control], "has not been reserved"),
        (&[&good], "missing"),
        (&[], "missing"),
        // All in order but the memory, whose head is zeros.
        (&[&good, &control], "contradicts"),
    ] {
        let text = try_with(&welcome, fds);
        assert!(text.contains(reason), "{text} for {reason}");
    }
    let nonsense = wire::Welcome {
        slot_bytes: u64::MAX,
        ..welcome
    };
    let text = try_with(&nonsense, &[&good, &control]);
    assert!(text.contains("impossible"), "{text}");
    let nonsense = wire::Welcome {
        granted: 65,
        ..welcome
    };
    let text = try_with(&nonsense, &[&good, &control]);
    assert!(text.contains("leases"), "{text}");
    let newer = wire::Welcome {
        protocol: 2,
        ..welcome
    };
    let text = try_with(&newer, &[]);
    assert!(text.contains("version 2"), "{text}");
}

#[test]
fn a_reader_survives_a_writer_that_fills_its_ring_with_noise() {
    let place = place();
    let geometry = shmring_core::Geometry::new(4, 4096, 64, 64).expect("geometry");
    let welcome = wire::Welcome {
        magic: MAGIC,
        protocol: shmring_core::PROTOCOL,
        status: wire::ACCEPTED,
        instance: 1,
        generation: 1,
        base: 0,
        slot_bytes: 4096,
        slots: 4,
        info_bytes: 64,
        stream_bytes: 64,
        granted: 2,
        granted_all: 2,
        readers: 1,
        named: 0,
        spare: 0,
    };
    let sealed = SealFlags::SHRINK | SealFlags::GROW;
    let ring = memory(geometry.total_bytes(), sealed);
    let control = memory(4096, sealed);
    // A head that agrees with the handshake; everything behind it is noise, written while the reader reads.
    let mut head = vec![0; 40];
    head[..8].copy_from_slice(&MAGIC.to_ne_bytes());
    head[8..12].copy_from_slice(&shmring_core::PROTOCOL.to_ne_bytes());
    head[12..16].copy_from_slice(&4_u32.to_ne_bytes());
    head[16..24].copy_from_slice(&4096_u64.to_ne_bytes());
    head[32..40].copy_from_slice(&1_u64.to_ne_bytes());
    rustix::io::pwrite(&ring, &head, 0).expect("head");
    let connect = || Reader::connect(&place.socket, ReaderOptions::default());
    let mut reader = impostor(
        &place.socket,
        welcome.as_bytes(),
        &[&ring, &control],
        connect,
    )
    .expect("reader");
    let mut noise = 7_u64;
    let mut events = 0;
    for round in 0..2000_u64 {
        let mut bytes = vec![0; geometry.total_bytes() as usize - 64];
        for word in bytes.chunks_exact_mut(8) {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // Mostly words that almost make sense: numbers near the present, small kinds and slots.
            let value = match noise >> 62 {
                0 => noise,
                1 => (round % 64) << 16 | 1 << 8 | noise >> 40 & 7,
                2 => round % 64,
                _ => noise >> 50,
            };
            word.copy_from_slice(&value.to_ne_bytes());
        }
        rustix::io::pwrite(&ring, &bytes, 64).expect("noise");
        for _ in 0..4 {
            match reader.next(Some(std::time::Duration::ZERO)) {
                Ok(Event::WriterGone) => return,
                Ok(Event::Frame(frame)) => {
                    assert!(frame.bytes().len() <= 4096);
                    frame.copy_info(&mut Vec::new());
                    events += 1;
                }
                Ok(_) => events += 1,
                Err(_) => break,
            }
        }
    }
    assert!(events > 0, "the noise was never near enough to sense");
}

#[test]
fn a_ring_whose_head_is_nonsense_costs_no_time_and_its_end_is_noticed() {
    // Offset and value of a word of the head: a state that does not exist; stream information that is not there.
    for (at, value) in [(104, 3_u64), (96, 5)] {
        let place = place();
        let geometry = shmring_core::Geometry::new(4, 4096, 64, 64).expect("geometry");
        let welcome = wire::Welcome {
            magic: MAGIC,
            protocol: shmring_core::PROTOCOL,
            status: wire::ACCEPTED,
            instance: 1,
            generation: 1,
            base: 0,
            slot_bytes: 4096,
            slots: 4,
            info_bytes: 64,
            stream_bytes: 64,
            granted: 1,
            granted_all: 1,
            readers: 1,
            named: 0,
            spare: 0,
        };
        let sealed = SealFlags::SHRINK | SealFlags::GROW;
        let ring = memory(geometry.total_bytes(), sealed);
        let control = memory(4096, sealed);
        let mut head = vec![0; 112];
        head[..8].copy_from_slice(&MAGIC.to_ne_bytes());
        head[8..12].copy_from_slice(&shmring_core::PROTOCOL.to_ne_bytes());
        head[12..16].copy_from_slice(&4_u32.to_ne_bytes());
        head[16..24].copy_from_slice(&4096_u64.to_ne_bytes());
        head[32..40].copy_from_slice(&1_u64.to_ne_bytes());
        head[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        rustix::io::pwrite(&ring, &head, 0).expect("head");
        let connect = || {
            let mut reader = Reader::connect(&place.socket, ReaderOptions::default())?;
            let before = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            let limit = std::time::Duration::from_millis(300);
            assert!(reader.next(Some(limit)).is_err(), "there is nothing");
            let after = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            let used = (after.tv_sec - before.tv_sec) * 1000
                + (after.tv_nsec - before.tv_nsec) / 1_000_000;
            assert!(used < 100, "{used} ms of processor time in 300 ms");
            Ok(reader)
        };
        let fds = [&ring, &control];
        let mut reader =
            impostor(&place.socket, welcome.as_bytes(), &fds, connect).expect("reader");
        assert!(matches!(reader.next(Some(LONG)), Ok(Event::WriterGone)));
    }
}

#[test]
fn a_path_that_is_not_a_socket_is_refused() {
    let place = place();
    std::fs::write(&place.socket, "x").expect("a file");
    let error = Reader::connect(&place.socket, ReaderOptions::default()).err();
    assert!(
        matches!(error, Some(ConnectError::NotASocket(_))),
        "{error:?}"
    );
}
