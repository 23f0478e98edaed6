//! What arrives equals what was sent.

mod support;

use gst::meta::ReferenceTimestampMeta;
use gst::prelude::*;
use gst_video::prelude::*;
use gst_video::{VideoFrameFlags, VideoMeta, VideoRegionOfInterestMeta};
use support::*;

fn pair(place: &Place, sink: &str, src: &str) -> (Pipeline, Pipeline) {
    let path = place.socket();
    let path = path.display();
    let writer = Pipeline::play(&format!(
        "appsrc name=in format=time is-live=true max-bytes=0 ! shmringsink name=ring socket-path={path} {sink}"
    ));
    let reader = Pipeline::play(&format!(
        "shmringsrc name=src socket-path={path} {src} ! appsink name=out sync=false max-buffers=0 enable-last-sample=false"
    ));
    (writer, reader)
}

fn video_caps(format: &str, width: i32, height: i32) -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .field("format", format)
        .field("width", width)
        .field("height", height)
        .field("framerate", gst::Fraction::new(25, 1))
        .build()
}

fn filled(size: usize, seed: u8) -> gst::Buffer {
    gst::Buffer::from_mut_slice(
        (0..size)
            .map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed))
            .collect::<Vec<_>>(),
    )
}

fn bytes(buffer: &gst::BufferRef) -> Vec<u8> {
    buffer.map_readable().unwrap().to_vec()
}

#[test]
fn a_frame_arrives_with_everything_on_it() {
    let place = Place::new();
    let (writer, reader) = pair(&place, "", "");
    let src = appsrc(&writer, "in");
    let caps: gst::Caps = "video/x-raw, format=I420, width=64, height=48, framerate=25/1, colorimetry=bt601, pixel-aspect-ratio=4/3, interlace-mode=interleaved, field-order=top-field-first".parse().unwrap();
    src.set_caps(Some(&caps));
    let lead = gst::ClockTime::from_mseconds(100);
    wait_until("both run for a while", || {
        [&writer, &reader]
            .iter()
            .all(|p| p.0.current_running_time().is_some_and(|t| t > lead))
    });
    let now = writer.0.current_running_time().unwrap();
    let mut buffer = filled(64 * 48 * 3 / 2 + 1000, 7);
    {
        let b = buffer.make_mut();
        b.set_pts(now);
        b.set_dts(now - gst::ClockTime::from_mseconds(80));
        b.set_duration(gst::ClockTime::from_mseconds(40));
        b.set_offset(1234);
        b.set_offset_end(1235);
        b.set_flags(
            gst::BufferFlags::MARKER | gst::BufferFlags::CORRUPTED | gst::BufferFlags::DROPPABLE,
        );
        b.set_flags(gst::BufferFlags::from_bits_retain(
            gst_video::VideoBufferFlags::TFF.bits(),
        ));
        // Not the strides of the caps.
        VideoMeta::add_full(
            b,
            VideoFrameFlags::TFF,
            gst_video::VideoFormat::I420,
            64,
            48,
            &[20, 3600, 4400],
            &[72, 32, 36],
        )
        .unwrap();
        let mut roi = VideoRegionOfInterestMeta::add(b, "person", (1, 2, 3, 4));
        roi.set_id(77);
        roi.add_param(
            gst::Structure::builder("detection")
                .field("confidence", 0.1f64 + 0.2)
                .field("label_id", 0i32)
                .build(),
        );
        roi.add_param(
            gst::Structure::builder("object_id")
                .field("id", 77i32)
                .build(),
        );
        detection_meta::set_looked_at(b, [detection::BBox::from_xywh(0.0, 0.25, 0.5, 0.5)]);
        let ntp = gst::Caps::builder("timestamp/x-ntp").build();
        ReferenceTimestampMeta::add(
            b,
            &ntp,
            gst::ClockTime::from_seconds(99),
            gst::ClockTime::from_nseconds(5),
        );
    }
    src.push_buffer(buffer.clone()).unwrap();
    let sample = pull(&reader, "out");
    let got = sample.buffer().unwrap();
    assert!(
        sample.caps().unwrap().is_strictly_equal(&caps),
        "{:?}",
        sample.caps()
    );
    // appsink does not tell upstream that it knows about video meta: the frame comes in the layout of its caps.
    let info = gst_video::VideoInfo::from_caps(&caps).unwrap();
    assert_eq!(got.size(), info.size());
    let from = gst_video::VideoFrameRef::from_buffer_ref_readable(&buffer, &info).unwrap();
    let to = gst_video::VideoFrameRef::from_buffer_ref_readable(got, &info).unwrap();
    for plane in 0..3 {
        let rows = |f: &gst_video::VideoFrameRef<&gst::BufferRef>| -> Vec<Vec<u8>> {
            let (w, h) = (f.comp_width(plane) as usize, f.comp_height(plane) as usize);
            let stride = f.plane_stride()[plane as usize] as usize;
            f.plane_data(plane)
                .unwrap()
                .chunks(stride)
                .take(h)
                .map(|r| r[..w].to_vec())
                .collect()
        };
        assert_eq!(rows(&from), rows(&to), "plane {plane}");
    }
    assert_eq!(
        (got.duration(), got.offset(), got.offset_end()),
        (buffer.duration(), 1234, 1235)
    );
    let (pts, dts) = (got.pts().unwrap(), got.dts().unwrap());
    assert_eq!(pts - dts, gst::ClockTime::from_mseconds(80));
    for flag in [
        gst::BufferFlags::MARKER,
        gst::BufferFlags::CORRUPTED,
        gst::BufferFlags::DROPPABLE,
    ] {
        assert!(got.flags().contains(flag), "{flag:?}");
    }
    let roi = got.meta::<VideoRegionOfInterestMeta>().unwrap();
    assert_eq!(
        (roi.roi_type(), roi.id(), roi.rect()),
        ("person", 77, (1, 2, 3, 4))
    );
    assert_eq!(
        roi.param("detection")
            .unwrap()
            .get::<f64>("confidence")
            .unwrap()
            .to_bits(),
        (0.1f64 + 0.2).to_bits()
    );
    assert_eq!(roi.param("object_id").unwrap().get::<i32>("id"), Ok(77));
    assert_eq!(
        detection_meta::looked_at(got),
        detection_meta::looked_at(&buffer)
    );
    let time = got.meta::<ReferenceTimestampMeta>().unwrap();
    assert_eq!(
        (time.timestamp(), time.duration()),
        (
            gst::ClockTime::from_seconds(99),
            Some(gst::ClockTime::from_nseconds(5))
        )
    );
    assert_eq!(count(&reader.stats("src"), "repacked"), 1);
}

#[test]
fn strides_arrive_where_downstream_knows_video_meta() {
    let place = Place::new();
    let path = place.socket();
    let writer = Pipeline::play(&format!(
        "appsrc name=in format=time is-live=true ! shmringsink name=ring socket-path={}",
        path.display()
    ));
    // videoconvert answers the allocation query with video meta.
    let reader = Pipeline::play(&format!(
        "shmringsrc name=src socket-path={} ! identity name=probe ! videoconvert ! video/x-raw,format=GRAY8 ! appsink name=out sync=false",
        path.display()
    ));
    let metas = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let to = metas.clone();
    reader
        .by_name("probe")
        .static_pad("sink")
        .unwrap()
        .add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let m = info.buffer().unwrap().meta::<VideoMeta>().unwrap();
            to.lock()
                .unwrap()
                .push((m.offset().to_vec(), m.stride().to_vec()));
            gst::PadProbeReturn::Ok
        });
    let src = appsrc(&writer, "in");
    src.set_caps(Some(&video_caps("I420", 64, 48)));
    let mut buffer = filled(64 * 48 * 3 / 2 + 1000, 9);
    VideoMeta::add_full(
        buffer.make_mut(),
        VideoFrameFlags::empty(),
        gst_video::VideoFormat::I420,
        64,
        48,
        &[20, 3600, 4400],
        &[72, 32, 36],
    )
    .unwrap();
    src.push_buffer(buffer.clone()).unwrap();
    let sample = pull(&reader, "out");
    assert_eq!(
        metas.lock().unwrap()[0],
        (vec![20, 3600, 4400], vec![72, 32, 36])
    );
    assert_eq!(count(&reader.stats("src"), "repacked"), 0);
    // The second row of luma lies 72 bytes after the first.
    let (got, sent) = (bytes(sample.buffer().unwrap()), bytes(&buffer));
    assert_eq!(got[64..128], sent[20 + 72..20 + 72 + 64]);
}

#[test]
fn every_raw_format_arrives_in_any_size() {
    let place = Place::new();
    let (writer, reader) = pair(&place, "", "");
    let src = appsrc(&writer, "in");
    let mut sent = 0;
    for format in gst_video::VideoFormat::iter_raw() {
        for (width, height) in [(66, 34), (3, 5), (1, 1)] {
            let caps = video_caps(format.to_str(), width, height);
            let Ok(info) = gst_video::VideoInfo::from_caps(&caps) else {
                continue;
            };
            src.set_caps(Some(&caps));
            let buffer = filled(info.size(), sent as u8);
            src.push_buffer(buffer.clone()).unwrap();
            let sample = pull(&reader, "out");
            let got = gst_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
            assert_eq!(got, info);
            assert_eq!(bytes(sample.buffer().unwrap()), bytes(&buffer), "{format}");
            sent += 1;
        }
    }
    assert!(sent > 240, "only {sent} frames were tried");
}

#[test]
fn caps_change_while_running_and_larger_frames_move_to_a_larger_ring() {
    let place = Place::new();
    let (writer, reader) = pair(&place, "", "policy=every-frame");
    let src = appsrc(&writer, "in");
    let mut slot_bytes = Vec::new();
    for (round, (w, h)) in [(64, 48), (640, 480), (320, 240), (1280, 720), (64, 48)]
        .into_iter()
        .enumerate()
    {
        let caps = video_caps("I420", w, h);
        src.set_caps(Some(&caps));
        for n in 0..3 {
            let buffer = filled((w * h * 3 / 2) as usize, (round * 3 + n) as u8);
            src.push_buffer(buffer.clone()).unwrap();
            let sample = pull(&reader, "out");
            let s = sample.caps().unwrap().structure(0).unwrap();
            assert_eq!(
                (s.get::<i32>("width"), s.get::<i32>("height")),
                (Ok(w), Ok(h))
            );
            assert_eq!(bytes(sample.buffer().unwrap()), bytes(&buffer));
        }
        slot_bytes.push(count(&writer.stats("ring"), "slot-bytes"));
    }
    assert!(
        slot_bytes[1] > slot_bytes[0] && slot_bytes[3] > slot_bytes[1],
        "{slot_bytes:?}"
    );
    assert_eq!(
        slot_bytes[2], slot_bytes[1],
        "smaller frames fit into the slots there are"
    );
    let stats = reader.stats("src");
    assert_eq!(
        (
            count(&stats, "received"),
            count(&stats, "skipped"),
            count(&stats, "connections")
        ),
        (15, 0, 1),
        "{stats}"
    );
}

#[test]
fn an_encoded_stream_of_varying_sizes_arrives_byte_by_byte() {
    let place = Place::new();
    let (writer, reader) = pair(&place, "", "");
    let src = appsrc(&writer, "in");
    let caps = gst::Caps::builder("video/x-h264")
        .field("stream-format", "avc")
        .field("alignment", "au")
        .field(
            "codec_data",
            gst::Buffer::from_slice([1u8, 100, 0, 31, 255]),
        )
        .build();
    src.set_caps(Some(&caps));
    let entered = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let to = entered.clone();
    writer
        .by_name("ring")
        .static_pad("sink")
        .unwrap()
        .add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let b = info.buffer().unwrap();
            to.lock()
                .unwrap()
                .push((b.pts().is_some(), b.dts().is_some()));
            gst::PadProbeReturn::Ok
        });
    for (n, size) in [10usize, 50_000, 1, 2_000_000, 700, 5_000_000]
        .into_iter()
        .enumerate()
    {
        let mut buffer = filled(size, n as u8);
        if n > 0 {
            buffer.make_mut().set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        buffer
            .make_mut()
            .set_dts(gst::ClockTime::from_mseconds(n as u64));
        src.push_buffer(buffer.clone()).unwrap();
        let sample = pull(&reader, "out");
        assert!(
            sample.caps().unwrap().is_strictly_equal(&caps),
            "{:?}",
            sample.caps()
        );
        let got = sample.buffer().unwrap();
        assert!(bytes(got) == bytes(&buffer), "buffer {n}");
        assert_eq!(got.flags().contains(gst::BufferFlags::DELTA_UNIT), n > 0);
        // appsrc may have added one of the two.
        let times = (got.pts().is_some(), got.dts().is_some());
        assert_eq!(times, entered.lock().unwrap()[n], "buffer {n}");
    }
}

#[test]
fn timestamps_keep_their_distance_to_the_clock() {
    let place = Place::new();
    let (writer, reader) = pair(&place, "", "");
    let src = appsrc(&writer, "in");
    src.set_caps(Some(&video_caps("GRAY8", 16, 16)));
    let ages: Vec<i64> = [0u64, 40, 700, 3]
        .into_iter()
        .map(|age_ms| {
            let mut buffer = filled(256, 1);
            let now = writer.0.current_running_time().unwrap();
            // The two pipelines started at different times, so equal running times would be wrong.
            buffer.make_mut().set_pts(now);
            src.push_buffer(buffer).unwrap();
            let got = pull(&reader, "out");
            let clock = reader.0.clock().unwrap();
            let read = clock.time() - reader.0.base_time().unwrap();
            let pts = got.buffer().unwrap().pts().unwrap();
            let abs = reader.0.base_time().unwrap() + pts;
            let sent_abs = writer.0.base_time().unwrap() + now;
            assert_eq!(abs, sent_abs, "the same moment in both processes");
            assert!(pts <= read);
            std::thread::sleep(std::time::Duration::from_millis(age_ms / 10));
            (read - pts).nseconds() as i64
        })
        .collect();
    assert!(ages.iter().all(|a| *a >= 0), "{ages:?}");
}

#[test]
fn times_beyond_all_measure_arrive_as_none() {
    let place = Place::new();
    let path = place.socket();
    // The reader is there first: what the writer calls the beginning is later for it.
    let reader = Pipeline::play(&format!(
        "shmringsrc name=src max-lag=62 socket-path={} ! appsink name=out sync=false",
        path.display()
    ));
    let running = || reader.0.current_running_time();
    wait_until("the reader's clock runs", || {
        running() > Some(gst::ClockTime::ZERO)
    });
    let writer = Pipeline::play(&format!(
        "appsrc name=in format=time is-live=true ! shmringsink socket-path={}",
        path.display()
    ));
    let src = appsrc(&writer, "in");
    let caps = "video/x-raw,format=GRAY8,width=16,height=16,framerate=1/2147483647";
    src.set_caps(Some(&caps.parse().unwrap()));
    let mut buffer = filled(256, 1);
    let b = buffer.make_mut();
    b.set_pts(gst::ClockTime::ZERO);
    b.set_dts(gst::ClockTime::from_nseconds(u64::MAX - 1));
    src.push_buffer(buffer).unwrap();
    let sample = pull(&reader, "out");
    let got = sample.buffer().unwrap();
    assert!(got.pts() > Some(gst::ClockTime::ZERO));
    assert_eq!(got.dts(), None);
    let mut query = gst::query::Latency::new();
    assert!(reader.by_name("src").query(&mut query));
    let (live, _, max) = query.result();
    assert_eq!((live, max), (true, None));
}

#[test]
fn a_source_that_is_not_live_starts_at_zero() {
    let place = Place::new();
    let (writer, reader) = pair(&place, "", "is-live=false");
    wait_until("the ring is there", || {
        let src = appsrc(&writer, "in");
        src.set_caps(Some(&video_caps("GRAY8", 16, 16)));
        let mut buffer = filled(256, 1);
        buffer.make_mut().set_pts(gst::ClockTime::from_seconds(10));
        src.push_buffer(buffer).unwrap();
        place.socket().exists()
    });
    wait_for_readers(&writer, 1);
    let first = pull(&reader, "out").buffer().unwrap().pts().unwrap();
    assert_eq!(first, gst::ClockTime::ZERO);
    let mut buffer = filled(256, 1);
    buffer
        .make_mut()
        .set_pts(gst::ClockTime::from_mseconds(10_040));
    appsrc(&writer, "in").push_buffer(buffer).unwrap();
    wait_until("the second frame", || {
        pull(&reader, "out").buffer().unwrap().pts() == Some(gst::ClockTime::from_mseconds(40))
    });
}

#[test]
fn a_late_reader_gets_caps_and_the_newest_frame_at_once() {
    let place = Place::new();
    let (writer, first) = pair(&place, "", "");
    let src = appsrc(&writer, "in");
    src.set_caps(Some(&video_caps("GRAY8", 16, 16)));
    for n in 0..10 {
        let mut buffer = filled(256, n);
        buffer.make_mut().set_offset(n.into());
        src.push_buffer(buffer).unwrap();
        pull(&first, "out");
    }
    let late = Pipeline::play(&format!(
        "shmringsrc socket-path={} ! appsink name=out sync=false",
        place.socket().display()
    ));
    let sample = pull(&late, "out");
    assert_eq!(sample.buffer().unwrap().offset(), 9);
    assert!(
        sample
            .buffer()
            .unwrap()
            .flags()
            .contains(gst::BufferFlags::DISCONT)
    );
    assert_eq!(sample.caps().unwrap(), &video_caps("GRAY8", 16, 16));
}

#[test]
fn gaps_and_the_end_arrive() {
    let place = Place::new();
    let (writer, reader) = pair(&place, "", "");
    let src = appsrc(&writer, "in");
    src.set_caps(Some(&video_caps("GRAY8", 16, 16)));
    let gaps = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let to = gaps.clone();
    reader.by_name("out").static_pad("sink").unwrap().add_probe(
        gst::PadProbeType::EVENT_DOWNSTREAM,
        move |_, info| {
            if let Some(gst::EventView::Gap(gap)) = info.event().map(|e| e.view()) {
                to.lock().unwrap().push(gap.get());
            }
            gst::PadProbeReturn::Ok
        },
    );
    let now = writer.0.current_running_time().unwrap();
    let mut buffer = filled(256, 1);
    buffer.make_mut().set_pts(now);
    src.push_buffer(buffer).unwrap();
    pull(&reader, "out");
    let at = now + gst::ClockTime::from_mseconds(40);
    let gap = gst::event::Gap::builder(at)
        .duration(gst::ClockTime::from_mseconds(80))
        .build();
    assert!(src.send_event(gap));
    wait_until("the gap", || gaps.lock().unwrap().len() == 1);
    let (time, duration) = gaps.lock().unwrap()[0];
    assert_eq!(
        reader.0.base_time().unwrap() + time,
        writer.0.base_time().unwrap() + at
    );
    assert_eq!(duration, Some(gst::ClockTime::from_mseconds(80)));
    src.end_of_stream().unwrap();
    reader.wait_for(&[gst::MessageType::Eos]);
}

#[test]
fn what_cannot_be_shared_is_refused_with_what_to_do() {
    for (caps, said) in [
        (
            "video/x-raw(memory:GLMemory), format=RGBA, width=16, height=16",
            "gldownload",
        ),
        (
            "audio/x-raw, format=F32LE, rate=8000, channels=2, layout=non-interleaved",
            "audioconvert",
        ),
    ] {
        let place = Place::new();
        init();
        let writer = Pipeline::play(&format!(
            "appsrc name=in format=time ! shmringsink socket-path={}",
            place.socket().display()
        ));
        let src = appsrc(&writer, "in");
        src.set_caps(Some(&caps.parse().unwrap()));
        let _ = src.push_buffer(filled(1024, 0));
        let text = writer.wait_for_error();
        assert!(text.contains(said), "{caps}: {text}");
    }
}

#[test]
fn a_reader_of_what_its_downstream_does_not_take_says_what_the_writer_sends() {
    let place = Place::new();
    let _writer = Pipeline::play(&format!(
        "videotestsrc is-live=true ! video/x-raw,format=AYUV64,width=16,height=16 ! shmringsink socket-path={}",
        place.socket().display()
    ));
    let reader = Pipeline::play(&format!(
        "shmringsrc socket-path={} ! video/x-raw,format=I420 ! fakesink name=sink",
        place.socket().display()
    ));
    let text = reader.wait_for_error();
    assert!(
        text.contains("AYUV64") && text.contains("videoconvert"),
        "{text}"
    );
}

#[test]
fn a_socket_path_that_can_never_be_one_is_not_waited_for() {
    let place = Place::new();
    let path = place.path().join("a".repeat(110));
    let reader = Pipeline::play(&format!(
        "shmringsrc socket-path={} ! fakesink",
        path.display()
    ));
    let text = reader.wait_for_error();
    assert!(text.contains("too long"), "{text}");
}

#[test]
fn a_frame_whose_memory_cannot_be_read_is_dropped_and_counted() {
    let place = Place::new();
    let (writer, reader) = pair(&place, "", "");
    let src = appsrc(&writer, "in");
    let unreadable = filled(1024, 7);
    // Whoever maps memory for writing alone, which the bindings do not do, keeps readers out.
    #[allow(unsafe_code)]
    // SAFETY: the memory is the buffer's, the map is the call's own; it is never undone, so the memory is never freed.
    unsafe {
        let memory = unreadable.peek_memory(0).as_mut_ptr();
        let mut map = std::mem::zeroed();
        let mapped = gst::ffi::gst_memory_map(memory, &mut map, gst::ffi::GST_MAP_WRITE);
        assert_ne!(mapped, gst::glib::ffi::GFALSE);
        gst::ffi::gst_mini_object_ref(memory.cast());
    }
    src.push_buffer(unreadable).unwrap();
    let whole = filled(1024, 8);
    src.push_buffer(whole.clone()).unwrap();
    let sample = pull(&reader, "out");
    assert_eq!(bytes(sample.buffer().unwrap()), bytes(&whole));
    let stats = writer.stats("ring");
    assert_eq!(
        (count(&stats, "frames"), count(&stats, "dropped-unreadable")),
        (1, 1),
        "{stats}"
    );
}

#[test]
fn caps_longer_than_a_ring_has_room_for_are_refused_with_both_sizes() {
    let place = Place::new();
    let (writer, reader) = pair(&place, "", "");
    let src = appsrc(&writer, "in");
    let caps = |bytes: usize| {
        gst::Caps::builder("audio/x-test")
            .field("streamheader", gst::Buffer::from_slice(vec![7u8; bytes]))
            .build()
    };
    src.set_caps(Some(&caps(400 << 10)));
    src.push_buffer(filled(10, 1)).unwrap();
    assert!(pull(&reader, "out").caps() == Some(caps(400 << 10).as_ref()));
    src.set_caps(Some(&caps(600 << 10)));
    let _ = src.push_buffer(filled(10, 2));
    let text = writer.wait_for_error();
    assert!(
        text.contains("caps are too long") && text.contains("1048576 bytes"),
        "{text}"
    );
}

#[test]
fn a_crowd_of_detections_moves_to_a_ring_with_more_room_for_metadata() {
    let place = Place::new();
    let (writer, reader) = pair(&place, "", "");
    let src = appsrc(&writer, "in");
    src.set_caps(Some(&video_caps("GRAY8", 16, 16)));
    for n in [1usize, 2000, 3] {
        let mut buffer = filled(256, 1);
        for i in 0..n {
            let mut roi =
                VideoRegionOfInterestMeta::add(buffer.make_mut(), "person", (i as u32, 0, 1, 1));
            roi.add_param(
                gst::Structure::builder("detection")
                    .field("confidence", 0.5f64)
                    .build(),
            );
        }
        src.push_buffer(buffer).unwrap();
        let sample = pull(&reader, "out");
        let got = sample
            .buffer()
            .unwrap()
            .iter_meta::<VideoRegionOfInterestMeta>();
        assert_eq!(
            got.map(|m| m.rect().0).collect::<Vec<_>>(),
            (0..n as u32).collect::<Vec<_>>()
        );
    }
    assert_eq!(count(&writer.stats("ring"), "metas-dropped"), 0);
    assert_eq!(count(&reader.stats("src"), "skipped"), 0);
}
