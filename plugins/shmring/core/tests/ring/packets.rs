//! Rings of packets: what arrives, where readers begin, what slow ones miss, how the arena grows, who may do what.

use crate::support::*;
use proptest::prelude::*;
use shmring_core::packet::*;
use shmring_core::protocol::fuzz;
use shmring_core::{ConnectError, Reader, ReaderOptions, WaitError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

fn config(place: &Place) -> PacketWriterConfig {
    PacketWriterConfig {
        arena_bytes: 64 << 10,
        max_bytes: 256 << 10,
        ..PacketWriterConfig::new(&place.socket)
    }
}

fn writer(place: &Place) -> PacketWriter {
    let mut writer = PacketWriter::create(config(place)).expect("writer");
    writer.set_stream(b"caps").expect("stream");
    writer
}

/// Writes packet `number` of `len` bytes, all multiples of 8.
fn write(writer: &mut PacketWriter, number: u64, len: usize, key: bool) -> Written {
    let mut payload = vec![0; len];
    paint(&mut payload, number);
    let meta = PacketMeta {
        pts: Some(number),
        capture_ns: Some(number * 1000),
        key,
        ..PacketMeta::default()
    };
    writer.write(&meta, &payload)
}

fn packet(reader: &mut PacketReader) -> Packet {
    loop {
        match reader.next(Some(LONG)).expect("event") {
            PacketEvent::Packet(packet) => return packet,
            PacketEvent::Stream { bytes, .. } => assert_eq!(bytes, b"caps"),
            PacketEvent::WriterGone => panic!("the writer is gone"),
        }
    }
}

/// The next packet, checked byte by byte: its number as the writer counted.
fn number(reader: &mut PacketReader) -> u64 {
    let packet = packet(reader);
    let number = packet.meta.pts.expect("a time");
    if !packet.payload.is_empty() {
        assert_eq!(number_of(&packet.payload), Some(number), "torn");
    }
    number
}

fn connect(place: &Place, start: Start) -> PacketReader {
    PacketReader::connect(&place.socket, start).expect("reader")
}

#[test]
fn packets_of_any_size_arrive_with_everything_on_them() {
    let place = place();
    let mut writer = writer(&place);
    let mut reader = connect(&place, Start::Next);
    for (at, len) in [0, 1, 7, 8, 9, 4095, 60_000].into_iter().enumerate() {
        let payload: Vec<u8> = (0..len).map(|byte: u32| byte as u8).collect();
        let meta = PacketMeta {
            pts: Some(at as u64),
            dts: Some(1),
            duration: Some(2),
            capture_ns: Some(3),
            unix_ns: Some(u64::MAX - 1),
            key: at % 2 == 0,
            header: at == 1,
            discont: at == 3,
            eos: false,
        };
        assert_eq!(
            writer.write(&meta, &payload),
            Written::Published(at as u64 + 1)
        );
        let got = packet(&mut reader);
        assert_eq!((got.meta, got.payload), (meta, payload));
        assert_eq!(
            (got.number, got.skipped, got.stream_version),
            (at as u64 + 1, 0, 1)
        );
    }
    writer.write_eos();
    assert!(packet(&mut reader).meta.eos);
    drop(writer);
    assert_eq!(reader.next(Some(LONG)), Ok(PacketEvent::WriterGone));
    assert_eq!(reader.next(Some(LONG)), Err(WaitError::NotConnected));
}

#[test]
fn readers_begin_where_they_want() {
    let place = place();
    let mut writer = writer(&place);
    let mut early = connect(&place, Start::NewestKey);
    write(&mut writer, 1, 800, true);
    assert_eq!(number(&mut early), 1);
    for number in 2..=30 {
        write(&mut writer, number, 800, number % 10 == 1);
    }
    for (start, first) in [
        (Start::NewestKey, 21),
        (Start::OldestKey, 1),
        (Start::Capture(15_000), 11),
        (Start::Capture(1), 1),
        (Start::Capture(u64::MAX), 21),
        (Start::Next, 31),
    ] {
        let mut reader = connect(&place, start);
        write(&mut writer, 31, 800, false);
        let got = number(&mut reader);
        assert!(
            got == first || start == Start::Next && got >= first,
            "{start:?}: {got}"
        );
    }
}

#[test]
fn without_a_key_packet_a_reader_waits_for_one() {
    let place = place();
    let mut writer = writer(&place);
    write(&mut writer, 1, 80, false);
    let mut reader = connect(&place, Start::NewestKey);
    for at in 2..5 {
        write(&mut writer, at, 80, false);
    }
    write(&mut writer, 5, 80, true);
    assert_eq!(number(&mut reader), 5);
}

#[test]
fn a_slow_reader_goes_on_at_the_newest_key_packet_and_knows_what_it_missed() {
    let place = place();
    let mut writer = writer(&place);
    let mut reader = connect(&place, Start::Next);
    for number in 1..=1000 {
        write(&mut writer, number, 1000, number % 10 == 1);
    }
    let got = packet(&mut reader);
    assert_eq!((got.meta.pts, got.skipped), (Some(991), 990));
    for number_expected in 992..=1000 {
        assert_eq!(number(&mut reader), number_expected);
    }
    assert_eq!(reader.stats().skipped, 990);
}

#[test]
fn the_arena_grows_with_the_group_of_pictures_and_nobody_misses_a_packet() {
    let place = place();
    let mut writer = writer(&place);
    let mut reader = connect(&place, Start::Next);
    for at in 1..=200 {
        write(&mut writer, at, 1000, at == 1);
        assert_eq!(number(&mut reader), at);
    }
    assert!(reader.stats().generations >= 2, "{:?}", reader.stats());
    assert_eq!(writer.stats().arena_bytes, 256 << 10);
    // A late reader has the whole group, and one that lags through a growth misses nothing either.
    let mut late = connect(&place, Start::NewestKey);
    for at in 1..=200 {
        assert_eq!(number(&mut late), at);
    }
}

#[test]
fn a_lagging_reader_reads_the_old_ring_to_its_end() {
    let place = place();
    let mut writer = writer(&place);
    let mut reader = connect(&place, Start::Next);
    for at in 1..=150 {
        write(&mut writer, at, 1000, at == 1);
    }
    for at in 1..=150 {
        assert_eq!(number(&mut reader), at);
    }
}

#[test]
fn a_group_of_pictures_beyond_the_limit_makes_late_readers_wait() {
    let place = place();
    let mut writer = writer(&place);
    for at in 1..=400 {
        write(&mut writer, at, 1000, at == 1);
    }
    let stats = writer.stats();
    assert!(
        stats.gop_too_large && stats.gops_too_large == 1,
        "{stats:?}"
    );
    let mut late = connect(&place, Start::NewestKey);
    assert!(matches!(
        late.next(Some(LONG)),
        Ok(PacketEvent::Stream { .. })
    ));
    let nothing = late.next(Some(Duration::from_millis(20)));
    assert_eq!(nothing, Err(WaitError::Timeout));
    write(&mut writer, 401, 1000, true);
    assert_eq!(number(&mut late), 401);
    assert!(!writer.stats().gop_too_large);
}

#[test]
fn a_packet_above_a_quarter_of_the_limit_is_dropped_with_its_followers() {
    let place = place();
    let mut writer = writer(&place);
    let mut reader = connect(&place, Start::Next);
    write(&mut writer, 1, 1000, true);
    assert_eq!(
        write(&mut writer, 2, (64 << 10) + 8, true),
        Written::TooLarge
    );
    assert_eq!(write(&mut writer, 3, 1000, false), Written::TooLarge);
    write(&mut writer, 4, 1000, true);
    assert_eq!(number(&mut reader), 1);
    let next = packet(&mut reader);
    assert_eq!((next.meta.pts, next.meta.discont), (Some(4), true));
    assert_eq!(writer.stats().dropped_too_large, 2);
}

#[test]
fn a_peer_of_the_other_version_is_refused_by_name() {
    let place = place();
    let _writer = writer(&place);
    let error = Reader::connect(&place.socket, ReaderOptions::default()).err();
    let error = error.expect("refused").to_string();
    assert!(
        error.contains("version 2") && error.contains("encoded packets"),
        "{error}"
    );

    let slots = crate::support::place();
    let _slots = crate::support::writer(&slots, 4);
    let error = PacketReader::connect(&slots.socket, Start::Next).err();
    let error = error.expect("refused").to_string();
    assert!(
        error.contains("version 1") && error.contains("frames in slots"),
        "{error}"
    );
}

#[test]
fn a_reader_may_ask_for_a_key_frame() {
    let place = place();
    let asked = Arc::new(AtomicU32::new(0));
    let counted = asked.clone();
    let mut config = config(&place);
    config.on_key_request = Some(Box::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    }));
    let writer = PacketWriter::create(config).expect("writer");
    let reader = connect(&place, Start::NewestKey);
    for _ in 0..10 {
        reader.request_key();
    }
    eventually("the requests arrive", || writer.stats().key_requests == 10);
    // Those that follow at once are one.
    assert!((1..10).contains(&asked.load(Ordering::SeqCst)));
    assert_eq!(writer.stats().readers, 1);
}

#[test]
fn an_event_loop_can_wait_for_packets_and_for_the_end() {
    let place = place();
    let mut writer = writer(&place);
    let mut reader = connect(&place, Start::Next);
    while reader.try_next().expect("connected").is_some() {}
    let is_ready = |reader: &PacketReader| {
        let ready = reader.ready().expect("connected");
        let mut fds = [rustix::event::PollFd::new(
            &ready,
            rustix::event::PollFlags::IN,
        )];
        let now = rustix::event::Timespec::default();
        rustix::event::poll(&mut fds, Some(&now)).expect("poll") == 1
    };
    assert!(!is_ready(&reader));
    write(&mut writer, 1, 80, true);
    assert!(is_ready(&reader));
    assert!(matches!(
        reader.try_next(),
        Ok(Some(PacketEvent::Packet(_)))
    ));
    assert_eq!(reader.try_next(), Ok(None));
    assert!(!is_ready(&reader));
    drop(writer);
    assert!(is_ready(&reader));
    assert_eq!(reader.try_next(), Ok(Some(PacketEvent::WriterGone)));
}

#[test]
fn memory_on_demand_comes_with_the_first_reader_and_goes_after_the_last() {
    let place = place();
    let mut writer = PacketWriter::create(PacketWriterConfig {
        on_demand: true,
        ..config(&place)
    })
    .expect("writer");
    assert_eq!(write(&mut writer, 1, 80, true), Written::NoReader);
    assert_eq!(writer.stats().ring_bytes, 0);
    let mut reader = connect(&place, Start::NewestKey);
    assert!(matches!(
        write(&mut writer, 2, 80, true),
        Written::Published(_)
    ));
    assert_eq!(packet(&mut reader).meta.pts, Some(2));
    assert!(!writer.release(), "it is being read");
    drop(reader);
    eventually("the reader is gone", || writer.readers() == 0);
    assert!(writer.release());
    let mut reader = connect(&place, Start::NewestKey);
    write(&mut writer, 3, 80, true);
    assert_eq!(packet(&mut reader).meta.pts, Some(3));
}

#[test]
fn a_killed_writer_is_noticed_at_once_and_the_next_one_followed() {
    let place = place();
    let mut writing = Role::start("write-packets", &place.socket);
    assert_eq!(writing.hear().as_deref(), Some("writing"));
    let mut reader = connect(&place, Start::NewestKey);
    let mut last = number(&mut reader);
    for _ in 0..50 {
        let next = number(&mut reader);
        assert_eq!(next, last + 1);
        last = next;
    }
    writing.kill();
    while reader.next(Some(LONG)).expect("event") != PacketEvent::WriterGone {}
    let mut again = Role::start("write-packets", &place.socket);
    assert_eq!(again.hear().as_deref(), Some("writing"));
    reader.reconnect(Some(LONG)).expect("the next writer");
    assert_eq!(number(&mut reader) % 10, 1, "begins at a key packet");
    assert_eq!(reader.stats().connections, 2);
}

#[test]
fn a_reader_that_breaks_the_rules_hurts_only_itself() {
    use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketType, send, socket};
    let place = place();
    let mut writer = writer(&place);
    let mut healthy = connect(&place, Start::Next);
    let address = SocketAddrUnix::new(&place.socket).expect("path");
    for greeting in [&b"nonsense"[..], &[0; 32], &[255; 200]] {
        let kind = SocketType::SEQPACKET;
        let socket = socket(AddressFamily::UNIX, kind, None).expect("socket");
        rustix::net::connect(&socket, &address).expect("connect");
        send(&socket, greeting, SendFlags::NOSIGNAL).expect("greeting");
    }
    eventually("refused", || writer.stats().refused == 3);
    for at in 1..=100 {
        write(&mut writer, at, 800, at == 1);
        assert_eq!(number(&mut healthy), at);
    }
}

#[test]
fn cancelling_ends_a_wait() {
    let place = place();
    let _writer = writer(&place);
    let mut reader = connect(&place, Start::Next);
    let canceller = reader.canceller();
    let waiting = std::thread::spawn(move || {
        while reader.next(Some(LONG)).is_ok() {}
        reader.next(Some(LONG))
    });
    canceller.cancel();
    assert_eq!(waiting.join().expect("reader"), Err(WaitError::Cancelled));
}

#[test]
fn a_path_without_a_writer_is_named() {
    let place = place();
    let error = PacketReader::connect(&place.socket, Start::Next).err();
    assert!(
        matches!(error, Some(ConnectError::NoWriter { .. })),
        "{error:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is written, a reader that keeps up gets each published packet, whole and in order; one that does not gets
    /// whole packets in increasing order, and begins again at key packets.
    #[test]
    fn any_sequence_of_packets_arrives(
        steps in proptest::collection::vec((0_usize..3000, any::<bool>(), 0_u8..8), 1..150),
    ) {
        let place = place();
        let mut writer = writer(&place);
        let (mut fast, mut slow) = (connect(&place, Start::Next), connect(&place, Start::Next));
        let (mut at, mut last, mut counted) = (0, 0, 0);
        for (words, key, lag) in steps {
            at += 1;
            let published = write(&mut writer, at, words * 8, key);
            if matches!(published, Written::Published(_)) {
                prop_assert_eq!(number(&mut fast), at);
            }
            if lag == 0 {
                while let Ok(Some(event)) = slow.try_next() {
                    let PacketEvent::Packet(packet) = event else { continue };
                    let number = packet.meta.pts.expect("a time");
                    prop_assert!(number > last);
                    if !packet.payload.is_empty() {
                        prop_assert_eq!(number_of(&packet.payload), Some(number));
                    }
                    prop_assert!(packet.skipped == 0 || packet.meta.key);
                    counted += packet.skipped + 1;
                    prop_assert_eq!(counted, packet.number);
                    last = number;
                }
            }
        }
        prop_assert_eq!(fast.stats().skipped, 0);
    }

    #[test]
    fn nonsense_in_a_ring_of_packets_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
        fuzz::packets(&bytes);
    }

    /// Words that almost make sense: small numbers, positions and lengths.
    #[test]
    fn almost_sense_in_a_ring_of_packets_is_survived(words in proptest::collection::vec(0_u64..80, 0..1100)) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        fuzz::packets(&bytes);
    }
}
