use gst::meta::{CustomMeta, ReferenceTimestampMeta};
use gst::prelude::*;
use gst_video::{VideoFormat, VideoFrameFlags, VideoInfo, VideoMeta, VideoRegionOfInterestMeta};
use proptest::prelude::*;

use super::*;
use crate::raw;

fn init() {
    gst::init().expect("GStreamer starts");
    detection_meta::register_metas();
}

/// Encodes `buffer`, decodes into one of the same size.
fn over_the_wire(buffer: &gst::BufferRef, info: Option<&VideoInfo>) -> (gst::Buffer, Vec<u8>, u32) {
    let mut block = vec![1; 3];
    let (flags, dropped) = encode(&mut block, buffer, info);
    let mut out = gst::Buffer::with_size(buffer.size()).expect("memory");
    apply(flags, &block, out.make_mut(), info).expect("own metas can be read");
    (out, block, dropped)
}

fn i420(width: u32, height: u32) -> VideoInfo {
    VideoInfo::builder(VideoFormat::I420, width, height)
        .build()
        .expect("valid size")
}

#[test]
fn video_meta_that_repeats_the_caps_costs_no_bytes() {
    init();
    let info = i420(320, 240);
    let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
    VideoMeta::add_from_info(buffer.make_mut(), VideoFrameFlags::empty(), &info).unwrap();
    let (out, block, _) = over_the_wire(&buffer, Some(&info));
    assert_eq!(block.len(), 0);
    let meta = out.meta::<VideoMeta>().expect("it is there all the same");
    assert_eq!(
        (meta.offset(), meta.stride()),
        (info.offset(), info.stride())
    );
    assert_eq!(
        (meta.width(), meta.height(), meta.format()),
        (320, 240, VideoFormat::I420)
    );
}

#[test]
fn a_buffer_without_video_meta_stays_without() {
    init();
    let info = i420(320, 240);
    let buffer = gst::Buffer::with_size(info.size()).unwrap();
    let (out, block, _) = over_the_wire(&buffer, Some(&info));
    assert_eq!(block.len(), 0);
    assert!(out.meta::<VideoMeta>().is_none());
}

#[test]
fn unusual_strides_offsets_and_field_flags_arrive() {
    init();
    let info = i420(100, 50);
    let mut buffer = gst::Buffer::with_size(40_000).unwrap();
    let (offset, stride) = ([16, 10_000, 20_000], [128, 64, 80]);
    VideoMeta::add_full(
        buffer.make_mut(),
        VideoFrameFlags::TFF,
        VideoFormat::I420,
        100,
        50,
        &offset,
        &stride,
    )
    .unwrap();
    let (out, ..) = over_the_wire(&buffer, Some(&info));
    let meta = out.meta::<VideoMeta>().unwrap();
    assert_eq!((meta.offset(), meta.stride()), (&offset[..], &stride[..]));
    assert_eq!(meta.video_frame_flags(), VideoFrameFlags::TFF);
}

#[test]
fn every_raw_format_passes_the_plane_check() {
    init();
    for format in VideoFormat::iter_raw() {
        let Ok(info) = VideoInfo::builder(format, 322, 242).build() else {
            continue;
        };
        let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
        // Not what the caps say, so that a record is written: one field flag.
        VideoMeta::add_full(
            buffer.make_mut(),
            VideoFrameFlags::INTERLACED,
            format,
            322,
            242,
            info.offset(),
            info.stride(),
        )
        .unwrap();
        let mut block = Vec::new();
        let (flags, _) = encode(&mut block, &buffer, Some(&info));
        let mut out = gst::Buffer::with_size(info.size()).unwrap();
        let read = apply(flags, &block, out.make_mut(), Some(&info));
        assert_eq!(read, Ok(()), "{format}");
        assert_eq!(out.meta::<VideoMeta>().unwrap().format(), format);
    }
}

#[test]
fn a_plane_outside_the_frame_is_refused() {
    init();
    let info = i420(100, 50);
    for (offset, stride) in [
        ([0, 6400, 7900], [128, 64, 64]),
        ([0, 100, 200], [99, 64, 64]),
        ([0, 100, usize::MAX], [128, 64, 64]),
        ([0, 100, 200], [i32::MAX, 64, 64]),
        ([0, 100, 200], [-128, 64, 64]),
    ] {
        let mut buffer = gst::Buffer::with_size(8000).unwrap();
        VideoMeta::add_full(
            buffer.make_mut(),
            VideoFrameFlags::empty(),
            VideoFormat::I420,
            100,
            50,
            &offset,
            &stride,
        )
        .unwrap();
        let mut block = Vec::new();
        let (flags, _) = encode(&mut block, &buffer, Some(&info));
        let mut out = gst::Buffer::with_size(8000).unwrap();
        assert_eq!(
            apply(flags, &block, out.make_mut(), Some(&info)),
            Err(WireError::Plane),
            "{offset:?} {stride:?}"
        );
        assert!(out.meta::<VideoMeta>().is_none());
    }
    // A smaller frame than the caps promise.
    let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
    VideoMeta::add_from_info(buffer.make_mut(), VideoFrameFlags::empty(), &info).unwrap();
    let mut block = Vec::new();
    let (flags, _) = encode(&mut block, &buffer, Some(&info));
    let mut out = gst::Buffer::with_size(info.size() - 1).unwrap();
    assert_eq!(
        apply(flags, &block, out.make_mut(), Some(&info)),
        Err(WireError::Plane)
    );
}

#[test]
fn layouts_that_cannot_be_computed_are_refused_where_they_differ_from_the_usual_one() {
    init();
    let mut tried = 0;
    for format in VideoFormat::iter_raw() {
        let Ok(info) = VideoInfo::builder(format, 1280, 64).build() else {
            continue;
        };
        let finfo = info.format_info();
        let tiled = finfo.tile_mode() != gst_video::VideoTileMode::Unknown;
        if !tiled && !finfo.is_complex() {
            continue;
        }
        let n = info.n_planes() as usize;
        let lies: [(usize, i32); 4] = [
            (0, i32::MAX),
            (0, 1),
            (info.size() - 64, 1),
            (info.size() - 1, info.stride()[0]),
        ];
        for (offset, stride) in lies {
            let mut offsets = info.offset().to_vec();
            let mut strides = info.stride().to_vec();
            (offsets[0], strides[0]) = (offset, stride);
            let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
            let added = VideoMeta::add_full(
                buffer.make_mut(),
                VideoFrameFlags::empty(),
                format,
                1280,
                64,
                &offsets[..n],
                &strides[..n],
            );
            if added.is_err() {
                continue;
            }
            drop(added);
            tried += 1;
            let mut block = Vec::new();
            let (flags, _) = encode(&mut block, &buffer, Some(&info));
            let mut out = gst::Buffer::with_size(info.size()).unwrap();
            let read = apply(flags, &block, out.make_mut(), Some(&info));
            assert_eq!(read, Err(WireError::Plane), "{format} {offset} {stride}");
        }
    }
    assert!(tried > 20, "{tried} lies were tried");
}

#[test]
fn detections_keep_every_bit() {
    init();
    let mut buffer = gst::Buffer::with_size(64).unwrap();
    let tenth = 0.1f64 + 0.2; // has no short decimal form
    for (n, label) in ["person", "car", "motion"].into_iter().enumerate() {
        let mut roi =
            VideoRegionOfInterestMeta::add(buffer.make_mut(), label, (1, 2, 30, 40 + n as u32));
        roi.set_id(17 + n as i32);
        roi.set_parent_id(-1);
        roi.add_param(
            gst::Structure::builder("detection")
                .field("label_id", 3i32)
                .field("confidence", tenth)
                .field("x_min", f64::MIN_POSITIVE)
                .field("flag", true)
                .field("text", "a \"quoted\" text; ü")
                .field("nothing", None::<&str>)
                .field("ratio", gst::Fraction::new(30000, 1001))
                .field("big", u64::MAX)
                .field("small", i64::MIN)
                .field("u", u32::MAX)
                .field("f", f32::MIN_POSITIVE)
                .field("list", gst::List::new([1i32, 2]))
                .field(
                    "nested",
                    gst::Structure::builder("inner").field("a", 1.5f64).build(),
                )
                .field(
                    "array",
                    gst::Array::new([gst::Array::new([tenth, -0.0]).to_send_value()]),
                )
                .build(),
        );
        roi.add_param(
            gst::Structure::builder("object_id")
                .field("id", 42i32)
                .build(),
        );
    }
    let (out, _, dropped) = over_the_wire(&buffer, None);
    assert_eq!(dropped, 0);
    let all = |b: &gst::BufferRef| {
        b.iter_meta::<VideoRegionOfInterestMeta>()
            .map(|m| {
                let params: Vec<_> = m.params().map(|p| p.to_owned()).collect();
                (
                    m.roi_type().to_string(),
                    m.rect(),
                    m.id(),
                    m.parent_id(),
                    params,
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(all(&out), all(&buffer));
    let roi = out.iter_meta::<VideoRegionOfInterestMeta>().next().unwrap();
    let confidence: f64 = roi.param("detection").unwrap().get("confidence").unwrap();
    assert_eq!(confidence.to_bits(), tenth.to_bits());
}

#[test]
fn variants_arrive() {
    init();
    let mut buffer = gst::Buffer::with_size(64).unwrap();
    let tensor = (vec![1u8, 2, 255], "name", 0.5f64).to_variant();
    VideoRegionOfInterestMeta::add(buffer.make_mut(), "person", (0, 0, 1, 1)).add_param(
        gst::Structure::builder("tensor")
            .field("data", &tensor)
            .build(),
    );
    let (out, _, dropped) = over_the_wire(&buffer, None);
    assert_eq!(dropped, 0);
    let roi = out.meta::<VideoRegionOfInterestMeta>().unwrap();
    assert_eq!(
        roi.param("tensor")
            .unwrap()
            .get::<glib::Variant>("data")
            .unwrap(),
        tensor
    );
}

#[test]
fn looked_at_regions_and_capture_times_arrive() {
    init();
    let mut buffer = gst::Buffer::with_size(64).unwrap();
    let regions = [
        detection::BBox::from_xywh(0.25, 0.5, 0.125, 0.25),
        detection::BBox::from_xywh(0.0, 0.0, 1.0, 1.0),
    ];
    detection_meta::set_looked_at(buffer.make_mut(), regions);
    let ntp = gst::Caps::builder("timestamp/x-ntp").build();
    ReferenceTimestampMeta::add(
        buffer.make_mut(),
        &ntp,
        gst::ClockTime::from_nseconds(12345),
        gst::ClockTime::NONE,
    );
    gst_video::VideoCropMeta::add(buffer.make_mut(), (1, 2, 3, 4));
    let (out, _, dropped) = over_the_wire(&buffer, None);
    assert_eq!(dropped, 0);
    assert_eq!(detection_meta::looked_at(&out), Some(regions.to_vec()));
    assert_eq!(
        CustomMeta::from_buffer(&out, detection_meta::REGIONS_META)
            .unwrap()
            .structure(),
        CustomMeta::from_buffer(&buffer, detection_meta::REGIONS_META)
            .unwrap()
            .structure()
    );
    let meta = out.meta::<ReferenceTimestampMeta>().unwrap();
    assert_eq!(
        (meta.reference(), meta.timestamp(), meta.duration()),
        (ntp.as_ref(), gst::ClockTime::from_nseconds(12345), None)
    );
    assert_eq!(
        out.meta::<gst_video::VideoCropMeta>().unwrap().rect(),
        (1, 2, 3, 4)
    );
}

#[test]
fn empty_region_list_is_not_the_same_as_none() {
    init();
    let mut buffer = gst::Buffer::with_size(64).unwrap();
    assert_eq!(
        detection_meta::looked_at(&over_the_wire(&buffer, None).0),
        None
    );
    detection_meta::set_looked_at(buffer.make_mut(), []);
    assert_eq!(
        detection_meta::looked_at(&over_the_wire(&buffer, None).0),
        Some(vec![])
    );
}

#[test]
fn what_cannot_leave_the_process_is_counted() {
    init();
    let mut buffer = gst::Buffer::with_size(64).unwrap();
    let mut roi = VideoRegionOfInterestMeta::add(buffer.make_mut(), "person", (0, 0, 1, 1));
    roi.add_param(
        gst::Structure::builder("mixed")
            .field("object", gst::Bus::new())
            .field("number", 4i32)
            .build(),
    );
    let (out, _, dropped) = over_the_wire(&buffer, None);
    assert_eq!(dropped, 1);
    let roi = out.meta::<VideoRegionOfInterestMeta>().unwrap();
    assert_eq!(roi.param("mixed").unwrap().get::<i32>("number"), Ok(4));
    assert_eq!(roi.param("mixed").unwrap().n_fields(), 1);
}

#[test]
fn video_flags_survive_and_local_ones_do_not() {
    init();
    let mut from = gst::Buffer::new();
    raw::add_buffer_flags(from.make_mut(), u32::MAX);
    let flags = encode_flags(&from);
    assert_eq!(flags, u64::from(!LOCAL_FLAGS));
    let mut buffer = gst::Buffer::new();
    apply(!DEFAULT_VIDEO_META, &[], buffer.make_mut(), None).unwrap();
    let tff = gst_video::VideoBufferFlags::TFF.bits();
    assert_eq!(raw::buffer_flags(&buffer) & tff, tff);
    assert!(!buffer.flags().contains(gst::BufferFlags::TAG_MEMORY));
}

#[test]
fn stream_info_of_another_version_is_named() {
    init();
    let info = StreamInfo {
        caps: "video/x-raw, format=I420, width=320, height=240, framerate=30/1"
            .parse()
            .unwrap(),
        min_latency: gst::ClockTime::from_mseconds(40),
    };
    let mut bytes = info.encode();
    assert_eq!(StreamInfo::decode(&bytes), Ok(info));
    bytes[0] = 9;
    assert_eq!(StreamInfo::decode(&bytes), Err(WireError::Version(9)));
}

#[test]
fn new_names_are_limited_known_ones_are_not() {
    init();
    let left = std::sync::atomic::AtomicU32::new(2);
    for name in ["name-limit-1", "name-limit-2", "name-limit-1"] {
        assert_eq!(names::admit(name, &left), Ok(()));
    }
    assert_eq!(names::admit("name-limit-3", &left), Err(WireError::Names));
    assert_eq!(names::admit("name-limit-2", &left), Ok(()));
    assert!(glib::Quark::try_from_str("name-limit-3").is_none());
}

#[test]
fn an_overlong_label_is_refused_and_not_remembered() {
    init();
    let long = "x".repeat(names::MAX_BYTES + 1);
    let mut buffer = gst::Buffer::with_size(16).unwrap();
    let mut out = Vec::new();
    Put(&mut out).record(2, |out| {
        out.str(&long)?;
        (0..6).for_each(|_| out.u32(1));
        Some(())
    });
    let result = apply(0, &out, buffer.make_mut(), None);
    assert_eq!(result, Err(WireError::Text));
    assert!(glib::Quark::try_from_str(&long).is_none());
}

/// As [`init`]. The caps of a time stamp travel as text, and GStreamer complains about text of no sense; that is no fault here,
/// although complaints end a test otherwise.
fn init_with_complaints() {
    init();
    glib::log_set_always_fatal(glib::LogLevels::LEVEL_ERROR);
}

#[test]
fn an_array_of_two_kinds_is_refused_before_gstreamer_sees_it() {
    init();
    let s = gst::Structure::builder("n")
        .field("a", gst::Array::new([1i32, 2]))
        .build();
    let mut out = Vec::new();
    value::put_structure(&mut Put(&mut out), &s, &mut 0).unwrap();
    let int = [2u8, 2, 0, 0, 0];
    let at = out.windows(5).position(|bytes| bytes == int).unwrap();
    // The second number becomes an unsigned one.
    out[at] = 3;
    assert!(value::get_structure(&mut Get(&out)).is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..600)) {
        init_with_complaints();
        fuzz(&data);
    }

    /// One byte of a real block changed: reaches much further than random bytes.
    #[test]
    fn a_damaged_block_never_panics(at in any::<prop::sample::Index>(), value in any::<u8>(), cut in any::<prop::sample::Index>()) {
        init_with_complaints();
        let mut buffer = gst::Buffer::with_size(4096).unwrap();
        VideoMeta::add_full(buffer.make_mut(), VideoFrameFlags::TFF, VideoFormat::I420, 32, 32, &[0, 1024, 1280], &[32, 16, 16]).unwrap();
        VideoRegionOfInterestMeta::add(buffer.make_mut(), "person", (1, 2, 3, 4)).add_param(
            gst::Structure::builder("detection").field("x", 0.5f64).field("t", "text").field("v", (1u8, "x").to_variant())
                .field("a", gst::Array::new([1i32, 2])).build());
        detection_meta::set_looked_at(buffer.make_mut(), [detection::BBox::from_xywh(0.25, 0.5, 0.125, 0.25)]);
        let ntp = gst::Caps::builder("timestamp/x-ntp").build();
        ReferenceTimestampMeta::add(buffer.make_mut(), &ntp, gst::ClockTime::SECOND, gst::ClockTime::NONE);
        let mut block = Vec::new();
        encode(&mut block, &buffer, None);
        let i = at.index(block.len());
        block[i] = value;
        fuzz(&block);
        block.truncate(cut.index(block.len()));
        fuzz(&block);
    }

    #[test]
    fn numbers_come_back_bit_by_bit(x in any::<u64>(), y in any::<u32>()) {
        init();
        let s = gst::Structure::builder("n").field("d", f64::from_bits(x)).field("f", f32::from_bits(y)).field("i", x as i64).build();
        let mut out = Vec::new();
        let mut dropped = 0;
        value::put_structure(&mut Put(&mut out), &s, &mut dropped).unwrap();
        let back = value::get_structure(&mut Get(&out)).unwrap();
        prop_assert_eq!(back.get::<f64>("d").unwrap().to_bits(), x);
        prop_assert_eq!(back.get::<f32>("f").unwrap().to_bits(), y);
        prop_assert_eq!(back.get::<i64>("i").unwrap(), x as i64);
    }
}
