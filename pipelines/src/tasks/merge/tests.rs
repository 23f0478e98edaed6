use super::*;

/// The default profiles after an edit.
fn edited(edit: impl FnOnce(&mut Profiles)) -> Profiles {
    let mut profiles = Profiles::default();
    for profile in [
        &mut profiles.live,
        &mut profiles.photo,
        &mut profiles.raw_photo,
        &mut profiles.video,
    ] {
        profile.colour_space = Some("sYCC".into());
        if profile.stream != Stream::Raw {
            profile.format = Some("YUV420".into());
        }
    }
    edit(&mut profiles);
    profiles
}

fn limits(shortest: i64, longest: i64) -> ControlValue {
    ControlValue::List(vec![
        ControlValue::Integer(shortest),
        ControlValue::Integer(longest),
    ])
}

const BIG: Size = Size {
    width: 2304,
    height: 1296,
};
const SMALL: Size = Size {
    width: 320,
    height: 180,
};

#[test]
fn out_of_the_box_everything_runs_together() {
    let merged = merge(&Profiles::default(), None, &Use::ALL).unwrap();
    assert_eq!(
        merged.streams.keys().copied().collect::<Vec<_>>(),
        [Stream::Main, Stream::Lores, Stream::Raw]
    );
    assert_eq!(merged.buffer_count, Some(6));
    assert_eq!(
        merged.controls[FRAME_DURATION],
        limits(33_333, 33_333),
        "photos do not slow the live picture down"
    );
}

/// Every rule with an edit that breaks it: who then conflicts with whom, over which key, with which values. Every pair of
/// uses that is not in the row must still merge.
#[test]
fn each_rule_names_profile_key_and_both_values() {
    type Edit = fn(&mut Profiles);
    type Row = (&'static str, Edit, &'static [(Use, Use)], &'static str);
    use Use::{Detect, Live, Photo, RawPhoto, Video};
    let table: &[Row] = &[
        ("nothing", |_| (), &[], ""),
        (
            "transform",
            |p| {
                p.live.transform.hflip = Some(true);
                p.video.transform.hflip = Some(false);
            },
            &[(Live, Video), (Video, Detect)],
            "transform.hflip: live wants true, video wants false",
        ),
        (
            "one flip only",
            |p| p.live.transform.vflip = Some(true),
            &[],
            "",
        ),
        (
            "colour space",
            |p| p.photo.colour_space = Some("Rec709".into()),
            &[
                (Live, Photo),
                (Photo, RawPhoto),
                (Photo, Video),
                (Photo, Detect),
            ],
            "colour_space: live wants sYCC, photo wants Rec709",
        ),
        (
            "unset colour space",
            |p| p.photo.colour_space = None,
            &[],
            "",
        ),
        (
            "queue",
            |p| {
                p.photo.queue = Some(false);
                p.raw_photo.queue = Some(true);
            },
            &[(Photo, RawPhoto)],
            "queue: photo wants false, raw_photo wants true",
        ),
        (
            "size of one stream",
            |p| {
                p.photo.size = Some(BIG);
                p.video.size = Some(Size {
                    width: 1920,
                    height: 1080,
                });
            },
            &[(Photo, Video)],
            "size: photo wants 2304x1296, video wants 1920x1080",
        ),
        (
            "size unset by the other",
            |p| p.photo.size = Some(BIG),
            &[],
            "",
        ),
        (
            "format of one stream",
            |p| p.video.format = Some("RGB888".into()),
            &[(Photo, Video)],
            "format: photo wants YUV420, video wants RGB888",
        ),
        (
            "lores larger than main",
            |p| p.video.size = Some(SMALL),
            &[(Live, Video), (Video, Detect)],
            "size: video wants main at 320x180, which lores may not exceed, live wants lores at 640x360",
        ),
        (
            "sensor mode",
            |p| {
                p.live.sensor_mode = Some(0);
                p.raw_photo.sensor_mode = Some(2);
            },
            &[(Live, RawPhoto), (RawPhoto, Detect)],
            "sensor_mode: live wants 0, raw_photo wants 2",
        ),
        (
            "sensor mode of one",
            |p| p.raw_photo.sensor_mode = Some(2),
            &[],
            "",
        ),
        (
            "control",
            |p| {
                p.live
                    .controls
                    .insert("AeEnable".into(), ControlValue::Bool(true));
                p.photo
                    .controls
                    .insert("AeEnable".into(), ControlValue::Bool(false));
            },
            &[(Live, Photo), (Photo, Detect)],
            "controls.AeEnable: live wants true, photo wants false",
        ),
        (
            "frame duration apart",
            |p| {
                p.photo
                    .controls
                    .insert(FRAME_DURATION.into(), limits(100_000, 200_000));
            },
            &[(Live, Photo), (Photo, Video), (Photo, Detect)],
            "controls.FrameDurationLimits: live wants [33333, 33333], photo wants [100000, 200000]",
        ),
        (
            "another buffer count",
            |p| p.photo.buffer_count = Some(12),
            &[],
            "",
        ),
    ];
    for (rule, edit, conflicting, text) in table {
        let profiles = edited(edit);
        for (i, &a) in Use::ALL.iter().enumerate() {
            for &b in &Use::ALL[i + 1..] {
                let merged = merge(&profiles, None, &[a, b]);
                assert_eq!(
                    merged.is_err(),
                    conflicting.contains(&(a, b)),
                    "{rule}: {a} with {b} gives {merged:?}"
                );
            }
        }
        match merge(&profiles, None, &Use::ALL) {
            Ok(_) => assert!(conflicting.is_empty(), "{rule}"),
            Err(conflicts) => assert_eq!(conflicts[0].to_string(), *text, "{rule}"),
        }
    }
}

#[test]
fn raw_is_for_raw_photos_and_they_are_for_raw() {
    let live_on_raw = edited(|p| p.live.stream = Stream::Raw);
    let conflicts = merge(&live_on_raw, None, &[Use::Live]).unwrap_err();
    assert_eq!(
        conflicts[0].to_string(),
        "stream: raw_photo wants raw for itself, live wants raw"
    );
    let raw_on_main = edited(|p| p.raw_photo.stream = Stream::Main);
    let conflicts = merge(&raw_on_main, None, &[Use::RawPhoto]).unwrap_err();
    assert_eq!(
        conflicts[0].to_string(),
        "stream: raw_photo wants raw only, raw_photo wants main"
    );
}

#[test]
fn a_set_value_is_never_overwritten_by_an_unset_one() {
    let profiles = edited(|p| {
        p.live.queue = Some(false);
        p.photo.size = Some(BIG);
    });
    for order in [
        [Use::Live, Use::Photo, Use::Video],
        [Use::Video, Use::Photo, Use::Live],
    ] {
        let merged = merge(&profiles, None, &order).unwrap();
        assert_eq!(
            (merged.queue, merged.streams[&Stream::Main].size),
            (Some(false), Some(BIG))
        );
    }
}

#[test]
fn frame_durations_narrow_to_what_all_allow() {
    let profiles = edited(|p| {
        p.live
            .controls
            .insert(FRAME_DURATION.into(), limits(20_000, 50_000));
        p.video
            .controls
            .insert(FRAME_DURATION.into(), limits(40_000, 90_000));
    });
    let merged = merge(&profiles, None, &[Use::Live, Use::Photo, Use::Video]).unwrap();
    assert_eq!(merged.controls[FRAME_DURATION], limits(40_000, 50_000));
}

#[test]
fn detection_follows_the_live_stream_or_the_one_it_names() {
    let by_live = merge(&Profiles::default(), None, &[Use::Detect]).unwrap();
    assert_eq!(
        by_live.streams[&Stream::Lores].size,
        Some(Size {
            width: 640,
            height: 360
        })
    );
    let by_main = merge(
        &edited(|_| ()),
        Some(Stream::Main),
        &[Use::Detect, Use::Video],
    )
    .unwrap();
    assert_eq!(
        by_main.streams.keys().copied().collect::<Vec<_>>(),
        [Stream::Main]
    );
    assert_eq!(
        by_main.streams[&Stream::Main].format.as_deref(),
        Some("YUV420")
    );
}

#[test]
fn all_conflicts_are_named_not_only_the_first() {
    let profiles = edited(|p| {
        p.photo.colour_space = Some("Rec709".into());
        p.photo.queue = Some(true);
        p.live.queue = Some(false);
    });
    let conflicts = merge(&profiles, None, &[Use::Live, Use::Photo]).unwrap_err();
    assert_eq!(
        conflicts.iter().map(|c| c.key.as_str()).collect::<Vec<_>>(),
        ["colour_space", "queue"]
    );
}
