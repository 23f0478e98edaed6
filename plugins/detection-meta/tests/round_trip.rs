//! What is written on buffers, in events and in messages reads back as it was, and other people's forms are understood.

use detection::{BBox, FrameSize, TrackChange};
use detection_meta::*;

const FRAME: FrameSize = FrameSize {
    width: 640,
    height: 360,
};

fn init() {
    gst::init().unwrap();
    register_metas();
}

fn person(object_id: Option<i32>) -> DetectionRoi<'static> {
    let bbox = BBox::new(0.25, 0.125, 0.5, 0.75);
    DetectionRoi {
        label: "person",
        label_id: 0,
        confidence: 0.875,
        bbox,
        object_id,
    }
}

#[test]
fn a_detection_reads_back_and_gets_its_id() {
    init();
    let mut buffer = gst::Buffer::new();
    let buffer = buffer.get_mut().unwrap();
    add_motion(buffer, FRAME, &BBox::new(0.0, 0.0, 0.5, 0.5));
    add_detection(buffer, FRAME, &person(None));
    add_detection(
        buffer,
        FRAME,
        &DetectionRoi {
            label: "car",
            label_id: 2,
            ..person(None)
        },
    );

    assign_object_ids(buffer, FRAME, |index, detection| {
        assert_eq!(detection.label, ["person", "car"][index]);
        (index == 0).then_some(41)
    });

    let read: Vec<_> = detections(buffer, FRAME).collect();
    assert_eq!(read[0], person(Some(41)));
    assert_eq!(read[1].object_id, None);
    assert_eq!(
        motion_boxes(buffer, FRAME).collect::<Vec<_>>(),
        [BBox::new(0.0, 0.0, 0.5, 0.5)]
    );
}

#[test]
fn roi_rectangles_are_pixels_and_carry_the_documented_structures() {
    init();
    let mut buffer = gst::Buffer::new();
    let buffer = buffer.get_mut().unwrap();
    add_detection(buffer, FRAME, &person(Some(7)));

    let roi = buffer
        .meta::<gst_video::VideoRegionOfInterestMeta>()
        .unwrap();
    assert_eq!(
        (roi.roi_type(), roi.rect()),
        ("person", (160, 45, 160, 225))
    );
    let detection = roi.param("detection").unwrap();
    assert_eq!(detection.get::<f64>("x_max"), Ok(0.5));
    assert_eq!(detection.get::<i32>("label_id"), Ok(0));
    assert_eq!(roi.param("object_id").unwrap().get::<i32>("id"), Ok(7));
    #[cfg(not(feature = "v1_24"))]
    assert_eq!(roi.id(), 7);
}

#[cfg(feature = "v1_24")]
#[test]
fn objects_and_tracking_entries_are_related() {
    use gst_analytics::prelude::*;
    use gst_analytics::*;
    init();
    let mut buffer = gst::Buffer::new();
    let buffer = buffer.get_mut().unwrap();
    add_detection(buffer, FRAME, &person(None));
    assign_object_ids(buffer, FRAME, |_, _| Some(41));

    let roi_id = buffer
        .meta::<gst_video::VideoRegionOfInterestMeta>()
        .unwrap()
        .id();
    let relations = buffer.meta::<AnalyticsRelationMeta>().unwrap();
    let object = relations.iter::<AnalyticsODMtd>().next().unwrap();
    let tracking = relations.iter::<AnalyticsTrackingMtd>().next().unwrap();
    assert_eq!(i32::try_from(object.id()), Ok(roi_id));
    assert_eq!(tracking.info().0, 41);
    assert_eq!(
        relations.relation(object.id(), tracking.id()),
        RelTypes::RELATE_TO
    );
}

#[test]
fn a_detection_without_coordinates_takes_the_rectangle() {
    init();
    let mut buffer = gst::Buffer::new();
    let buffer = buffer.get_mut().unwrap();
    gst_video::VideoRegionOfInterestMeta::add(buffer, "dog", (64, 36, 320, 180)).add_param(
        gst::Structure::builder("detection")
            .field("confidence", 0.5)
            .build(),
    );

    let read: Vec<_> = detections(buffer, FRAME).collect();
    assert_eq!(read.len(), 1);
    assert!(read[0].bbox.iou(&BBox::new(0.1, 0.1, 0.6, 0.6)) > 0.999);
    assert_eq!(read[0].label_id, -1);
}

#[test]
fn numbers_in_single_precision_count_too() {
    init();
    let mut buffer = gst::Buffer::new();
    let buffer = buffer.get_mut().unwrap();
    let rectangle = (0, 0, 640, 360);
    let mut roi = gst_video::VideoRegionOfInterestMeta::add(buffer, "person", rectangle);
    let detection = gst::Structure::builder("detection");
    roi.add_param(
        detection
            .field("confidence", 0.25f32)
            .field("x_min", 0.5f32)
            .build(),
    );
    let read = detections(buffer, FRAME).next().unwrap();
    assert_eq!(read.confidence, 0.25);
    assert_eq!(read.bbox, BBox::new(0.5, 0.0, 1.0, 1.0));
}

#[test]
fn rectangles_lie_inside_the_frame() {
    init();
    for (x1, y1, x2, y2) in [
        (0.9999, 0.9999, 1.0, 1.0),
        (-0.5, -0.5, 0.0, 0.0),
        (0.2, 0.5, 1.5, 3.0),
        (1.2, 0.5, 1.5, 0.5),
    ] {
        let mut buffer = gst::Buffer::new();
        let buffer = buffer.get_mut().unwrap();
        add_motion(buffer, FRAME, &BBox::new(x1, y1, x2, y2));
        let roi = buffer
            .meta::<gst_video::VideoRegionOfInterestMeta>()
            .unwrap();
        let (x, y, w, h) = roi.rect();
        assert!(w >= 1 && h >= 1, "{:?}", roi.rect());
        assert!(x + w <= 640 && y + h <= 360, "{:?}", roi.rect());
    }
}

#[test]
fn nothing_looked_at_is_not_the_whole_frame() {
    init();
    let mut buffer = gst::Buffer::new();
    let buffer = buffer.get_mut().unwrap();
    assert_eq!(looked_at(buffer), None);
    set_looked_at(buffer, []);
    assert_eq!(looked_at(buffer), Some(vec![]));
    let regions = [
        BBox::new(0.0, 0.0, 0.5, 0.75),
        BBox::new(0.5, 0.25, 1.0, 1.0),
    ];
    set_looked_at(buffer, regions);
    assert_eq!(looked_at(buffer), Some(regions.to_vec()));
    assert_eq!(
        looked_at(&buffer.copy()),
        Some(regions.to_vec()),
        "a copied buffer keeps them"
    );
}

#[test]
fn the_tracks_event_reads_back() {
    init();
    let event = TracksEvent {
        pts: Some(gst::ClockTime::from_mseconds(1200)),
        tracks: vec![TrackHint {
            id: 3,
            label: "car".into(),
            bbox: BBox::new(0.25, 0.25, 0.5, 0.5),
            stationary: true,
        }],
    };
    assert_eq!(TracksEvent::parse(&event.to_event()), Some(event));
    assert_eq!(TracksEvent::parse(&gst::event::FlushStart::new()), None);
}

#[test]
fn messages_read_back() {
    init();
    let motion = MotionMessage {
        active: true,
        pts: None,
    };
    assert_eq!(MotionMessage::parse(&motion.to_structure()), Some(motion));
    let track = TrackMessage {
        change: TrackChange::Stationary,
        id: 9,
        label: "person".into(),
        score: 0.75,
        bbox: BBox::new(0.25, 0.25, 0.5, 0.5),
        path_length: 1.5,
        first_seen: Some(gst::ClockTime::from_seconds(1)),
        last_seen: None,
        zones: vec!["yard".into()],
        entered: vec![],
        left: vec!["street".into()],
    };
    assert_eq!(
        TrackMessage::parse(&track.to_structure()),
        Some(track.clone())
    );
    assert_eq!(MotionMessage::parse(&track.to_structure()), None);
}

fn strip_rois(buffer: &mut gst::BufferRef) {
    buffer.foreach_meta_mut(|meta| {
        use gst::MetaAPI;
        use std::ops::ControlFlow::Continue;
        let is_roi = meta.api() == gst_video::VideoRegionOfInterestMeta::meta_api();
        Continue(match is_roi {
            true => gst::buffer::BufferMetaForeachAction::Remove,
            false => gst::buffer::BufferMetaForeachAction::Keep,
        })
    });
}

#[test]
fn detections_whose_metas_are_gone_come_back_in_a_frame_of_the_same_size_only() {
    init();
    let mut buffer = gst::Buffer::new();
    let buffer = buffer.get_mut().unwrap();
    add_detection(buffer, FRAME, &person(Some(7)));
    keep_detections(buffer, FRAME);
    assert_eq!(restore_detections(buffer, FRAME), Restored::default());
    strip_rois(buffer);
    let cropped = FrameSize::new(320, 360);
    let lost = Restored {
        lost: 1,
        ..Restored::default()
    };
    assert_eq!(restore_detections(buffer, cropped), lost);
    assert_eq!(detections(buffer, cropped).count(), 0);
    assert_eq!(restore_detections(buffer, FRAME).restored, 1);
    assert_eq!(
        detections(buffer, FRAME).collect::<Vec<_>>(),
        [person(Some(7))]
    );
    assert_eq!(restore_detections(buffer, FRAME), Restored::default());
}

#[test]
fn a_motion_box_has_no_id_of_an_analytics_entry() {
    init();
    let mut buffer = gst::Buffer::new();
    let buffer = buffer.get_mut().unwrap();
    add_motion(buffer, FRAME, &BBox::new(0.0, 0.0, 0.5, 0.5));
    let roi = buffer
        .meta::<gst_video::VideoRegionOfInterestMeta>()
        .unwrap();
    assert_eq!(roi.id(), -1);
}

#[test]
fn a_motion_state_reads_back_and_is_replaced() {
    init();
    let mut buffer = gst::Buffer::new();
    let buffer = buffer.get_mut().unwrap();
    assert_eq!(motion_state(buffer), None);
    for calibrating in [true, false] {
        set_motion_state(buffer, MotionState { calibrating });
        assert_eq!(motion_state(buffer), Some(MotionState { calibrating }));
    }
}

#[cfg(feature = "v1_24")]
#[test]
fn a_tracking_entry_has_the_times_and_the_state_of_its_track() {
    use gst_analytics::prelude::*;
    use gst_analytics::*;
    init();
    let mut buffer = gst::Buffer::new();
    let buffer = buffer.get_mut().unwrap();
    buffer.set_pts(gst::ClockTime::from_seconds(9));
    add_motion(buffer, FRAME, &BBox::new(0.0, 0.0, 0.5, 0.5));
    let identity = Identity {
        id: 41,
        first_seen: Some(gst::ClockTime::from_seconds(3)),
        last_seen: Some(gst::ClockTime::from_seconds(8)),
        is_lost: true,
    };
    add_tracked(buffer, FRAME, &person(Some(41)), identity);
    let relations = buffer.meta::<AnalyticsRelationMeta>().unwrap();
    let tracking = relations.iter::<AnalyticsTrackingMtd>().next().unwrap();
    let expected = (
        41,
        gst::ClockTime::from_seconds(3),
        gst::ClockTime::from_seconds(8),
        true,
    );
    assert_eq!(tracking.info(), expected);
}

#[cfg(feature = "v1_24")]
#[test]
fn an_object_behind_a_motion_box_is_adopted_and_one_with_a_bare_roi_is_completed() {
    use gst_analytics::prelude::*;
    use gst_analytics::*;
    init();
    let mut buffer = gst::Buffer::new();
    let buffer = buffer.get_mut().unwrap();
    add_motion(buffer, FRAME, &BBox::new(0.0, 0.0, 0.5, 0.5));
    let ids: Vec<u32> = {
        let mut relations = AnalyticsRelationMeta::add(buffer);
        [("person", 10), ("car", 200)]
            .map(|(label, x)| {
                let label = gst::glib::Quark::from_str(label);
                relations
                    .add_od_mtd(label, x, 10, 50, 80, 0.8)
                    .unwrap()
                    .id()
            })
            .to_vec()
    };
    // What a converter leaves of a detection: the rectangle and the id.
    gst_video::VideoRegionOfInterestMeta::add(buffer, "car", (200, 10, 50, 80))
        .set_id(ids[1] as i32);
    adopt_analytics_objects(buffer, FRAME);
    let labels: Vec<_> = detections(buffer, FRAME).map(|d| d.label).collect();
    assert_eq!(labels.len(), 2, "{labels:?}");
    assert!(
        labels.contains(&"person") && labels.contains(&"car"),
        "{labels:?}"
    );
}
