//! Encoded streams: what late readers get, whichever element wrote it, and what a reader may ask for.

mod support;

use gst::prelude::*;
use support::*;

const CAPS: &str =
    "video/x-h264, stream-format=byte-stream, alignment=au, width=64, height=64, framerate=25/1";

/// A writer that is fed by the test.
fn writer(place: &Place, more: &str) -> Pipeline {
    let writer = Pipeline::play(&format!(
        "appsrc name=in format=time is-live=true ! shmringsink name=ring socket-path={} {more}",
        place.socket().display()
    ));
    appsrc(&writer, "in").set_caps(Some(&CAPS.parse().unwrap()));
    writer
}

fn reader(place: &Place, more: &str) -> Pipeline {
    Pipeline::play(&format!(
        "shmringsrc name=src socket-path={} {more} ! appsink name=out sync=false max-buffers=0",
        place.socket().display()
    ))
}

/// Pushes packet `n`, now; each tenth is a key frame.
fn push(writer: &Pipeline, n: u64, len: usize) {
    let mut bytes = vec![n as u8; len];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    let mut buffer = gst::Buffer::from_slice(bytes);
    let b = buffer.make_mut();
    let now = writer.0.current_running_time();
    b.set_pts(now);
    b.set_dts(now);
    b.set_duration(gst::ClockTime::from_mseconds(40));
    if !n.is_multiple_of(10) {
        b.set_flags(gst::BufferFlags::DELTA_UNIT);
    }
    appsrc(writer, "in").push_buffer(buffer).unwrap();
}

fn number(buffer: &gst::BufferRef) -> u64 {
    let map = buffer.map_readable().unwrap();
    let n = u64::from_le_bytes(map[..8].try_into().unwrap());
    assert!(map[8..].iter().all(|byte| *byte == n as u8), "torn");
    n
}

fn wait_for_packets(writer: &Pipeline, n: u64) {
    wait_until("packets are published", || {
        count(&writer.stats("ring"), "frames") == n
    });
}

#[test]
fn a_late_reader_begins_at_the_newest_key_frame_with_increasing_times() {
    let place = Place::new();
    let writer = writer(&place, "");
    for n in 0..25 {
        push(&writer, n, 1000 + n as usize * 100);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    wait_for_packets(&writer, 25);
    let reader = reader(&place, "");
    let mut last = None;
    for n in 20..30 {
        if n >= 25 {
            push(&writer, n, 500);
        }
        let sample = pull(&reader, "out");
        let buffer = sample.buffer().unwrap();
        assert_eq!(number(buffer), n);
        assert_eq!(
            buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            n != 20
        );
        assert_eq!(buffer.flags().contains(gst::BufferFlags::DISCONT), n == 20);
        let (pts, dts) = (buffer.pts(), buffer.dts());
        assert!(pts.is_some() && pts > last, "{n}: {pts:?} after {last:?}");
        assert_eq!(pts, dts);
        last = pts;
        assert_eq!(sample.caps().unwrap(), &CAPS.parse::<gst::Caps>().unwrap());
    }
    appsrc(&writer, "in").end_of_stream().unwrap();
    reader.wait_for(&[gst::MessageType::Eos]);
}

#[test]
fn a_reader_begins_where_it_is_told_to() {
    let place = Place::new();
    let writer = writer(&place, "");
    for n in 0..25 {
        push(&writer, n, 1000);
    }
    wait_for_packets(&writer, 25);
    for (start, first) in [
        ("start=oldest-key", 0),
        ("start=newest-key", 20),
        ("start=time start-time=1", 0),
    ] {
        let reader = reader(&place, start);
        assert_eq!(
            number(pull(&reader, "out").buffer().unwrap()),
            first,
            "{start}"
        );
    }
}

#[test]
fn a_packet_of_any_size_passes_up_to_a_quarter_of_the_limit() {
    let place = Place::new();
    let writer = writer(&place, "max-bytes=8388608");
    let reader = reader(&place, "");
    let sizes = [8, 100_000, 2 << 20];
    for (n, len) in sizes.into_iter().enumerate() {
        push(&writer, n as u64, len);
        let sample = pull(&reader, "out");
        assert_eq!(number(sample.buffer().unwrap()), n as u64);
        assert_eq!(sample.buffer().unwrap().size(), len);
    }
    push(&writer, 10, (2 << 20) + 8);
    push(&writer, 11, 8);
    push(&writer, 20, 8);
    let sample = pull(&reader, "out");
    assert_eq!(number(sample.buffer().unwrap()), 20);
    assert!(
        sample
            .buffer()
            .unwrap()
            .flags()
            .contains(gst::BufferFlags::DISCONT)
    );
    assert_eq!(count(&writer.stats("ring"), "dropped-too-large"), 2);
}

#[test]
fn the_mode_follows_the_caps_and_can_be_chosen() {
    for (caps, more, is_packets) in [
        (CAPS, "", true),
        (
            "audio/x-opus, rate=48000, channels=1, channel-mapping-family=0",
            "",
            true,
        ),
        ("image/jpeg, width=64, height=64", "", false),
        (CAPS, "mode=slots", false),
        ("image/jpeg, width=64, height=64", "mode=packets", true),
    ] {
        let place = Place::new();
        let writer = writer(&place, more);
        appsrc(&writer, "in").set_caps(Some(&caps.parse().unwrap()));
        push(&writer, 0, 64);
        wait_for_packets(&writer, 1);
        let mode = writer.stats("ring").get::<String>("mode").ok();
        assert_eq!(
            mode.as_deref() == Some("packets"),
            is_packets,
            "{caps} {more}"
        );
        // The source reads either.
        let reader = reader(&place, "");
        assert_eq!(number(pull(&reader, "out").buffer().unwrap()), 0);
    }
}

#[test]
fn a_request_for_a_key_frame_reaches_the_encoder() {
    let place = Place::new();
    let writer = writer(&place, "");
    let (asked, asks) = std::sync::mpsc::channel();
    writer.by_name("in").static_pad("src").unwrap().add_probe(
        gst::PadProbeType::EVENT_UPSTREAM,
        move |_, info| {
            if info
                .event()
                .is_some_and(|e| gst_video::ForceKeyUnitEvent::is(e))
            {
                asked.send(()).unwrap();
            }
            gst::PadProbeReturn::Ok
        },
    );
    let reader = reader(&place, "");
    push(&writer, 0, 64);
    pull(&reader, "out");
    let event = gst_video::UpstreamForceKeyUnitEvent::builder().build();
    assert!(
        reader
            .by_name("out")
            .static_pad("sink")
            .unwrap()
            .push_event(event)
    );
    asks.recv_timeout(DEADLINE).expect("the request arrives");
}

#[test]
fn readers_follow_when_a_stream_changes_between_frames_and_packets() {
    let place = Place::new();
    let writer = writer(&place, "");
    let reader = reader(&place, "reconnect=always");
    push(&writer, 0, 64);
    assert_eq!(number(pull(&reader, "out").buffer().unwrap()), 0);
    let raw = "video/x-raw, format=GRAY8, width=16, height=16, framerate=25/1";
    appsrc(&writer, "in").set_caps(Some(&raw.parse().unwrap()));
    push(&writer, 1, 256);
    // A reader that connects once more before the ring of packets is gone begins with its newest key frame again.
    let sample = loop {
        let sample = pull(&reader, "out");
        if number(sample.buffer().unwrap()) > 0 {
            break sample;
        }
    };
    assert_eq!(number(sample.buffer().unwrap()), 1);
    assert_eq!(
        sample.caps().unwrap().structure(0).unwrap().name(),
        "video/x-raw"
    );
}

/// The launch lines of docs/elements/shmringsink.md: a writer of H.264, a late reader that decodes and one that records.
#[test]
fn third_parties_can_write_decode_and_record() {
    init();
    let needed = ["x264enc", "h264parse", "avdec_h264", "mp4mux"];
    if let Some(missing) = needed
        .iter()
        .find(|name| gst::ElementFactory::find(name).is_none())
    {
        eprintln!("{missing} is not installed: not tried");
        return;
    }
    let place = Place::new();
    let path = place.socket();
    let writer = Pipeline::play(&format!(
        "videotestsrc is-live=true ! video/x-raw,format=I420,width=64,height=64,framerate=25/1 \
         ! x264enc tune=zerolatency key-int-max=25 ! h264parse config-interval=-1 \
         ! shmringsink name=ring socket-path={}",
        path.display()
    ));
    wait_until("a second has been written", || {
        count(&writer.stats("ring"), "frames") > 30
    });
    let decoder = Pipeline::play(&format!(
        "shmringsrc socket-path={} ! h264parse ! avdec_h264 ! videoconvert \
         ! video/x-raw,format=I420 ! appsink name=out sync=false",
        path.display()
    ));
    let mut last = None;
    for _ in 0..20 {
        let pts = pull(&decoder, "out").buffer().unwrap().pts();
        assert!(pts > last, "{pts:?} after {last:?}");
        last = pts;
    }
    let file = place.path().join("recorded.mp4");
    let recorder = Pipeline::play(&format!(
        "shmringsrc socket-path={} num-buffers=40 ! h264parse ! mp4mux ! filesink location={}",
        path.display(),
        file.display()
    ));
    recorder.wait_for(&[gst::MessageType::Eos]);
    let played = Pipeline::play(&format!(
        "filesrc location={} ! qtdemux ! h264parse ! avdec_h264 ! fakesink name=out sync=false",
        file.display()
    ));
    played.wait_for(&[gst::MessageType::Eos]);
    let stats = played.by_name("out").property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("rendered"), Ok(40));
}
