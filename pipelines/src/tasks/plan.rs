//! Which uses of a camera run side by side, by what kind of source it is: the rules of [`merge()`] where the camera itself has
//! to be configured, none where each task can have its own from the one stream there is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::merge::{Conflict, Merged, MergedStream, Use, merge};
use crate::camera::{CameraConfig, LibcameraSource, Source, V4l2Source};
use crate::camera::{ControlValue, FRAME_DURATION, Profile, Profiles, Size, Stream};

/// What a camera runs with as long as no task has it to itself: as many uses as go together, so that none of them has to
/// restart it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Standing {
    /// The uses that run side by side.
    pub uses: Vec<Use>,
    /// The configuration they share.
    pub configuration: Merged,
    /// The others, and why: each runs exclusively.
    pub exclusive: Vec<(Use, Vec<Conflict>)>,
}

/// One configuration for all these uses, or why there is none.
pub fn plan(camera: &CameraConfig, uses: &[Use]) -> Result<Merged, Vec<Conflict>> {
    match camera.primary_source() {
        Some(Source::Libcamera(source)) => libcamera(camera, source, uses),
        Some(Source::V4l2(source)) => v4l2(camera, source, uses),
        // Every task takes the decoded stream, and scales for itself.
        _ => Ok(Merged::default()),
    }
}

/// The configuration a camera starts with. `possible` says which uses it can have at all; detection and the live picture
/// come first, since they always run.
pub fn standing(camera: &CameraConfig, possible: &[Use]) -> Standing {
    const ORDER: [Use; 5] = [
        Use::Detect,
        Use::Live,
        Use::Photo,
        Use::Video,
        Use::RawPhoto,
    ];
    let mut standing = Standing {
        uses: Vec::new(),
        configuration: Merged::default(),
        exclusive: Vec::new(),
    };
    for one in ORDER.into_iter().filter(|one| possible.contains(one)) {
        let mut uses = standing.uses.clone();
        uses.push(one);
        match plan(camera, &uses) {
            Ok(configuration) => {
                standing.uses = uses;
                standing.configuration = configuration;
            }
            Err(conflicts) => standing.exclusive.push((one, conflicts)),
        }
    }
    standing
}

fn libcamera(
    camera: &CameraConfig,
    source: &LibcameraSource,
    uses: &[Use],
) -> Result<Merged, Vec<Conflict>> {
    let profiles = with_source(&camera.profiles, source);
    let mut merged = merge(&profiles, camera.detect.stream, uses)?;
    let lores = merged.streams.get(&Stream::Lores).and_then(|s| s.size);
    if let Some(main) = merged.streams.get_mut(&Stream::Main)
        && main.size.is_none()
    {
        let size = Size {
            width: source.width,
            height: source.height,
        };
        if let Some(lores) = lores.filter(|lores| !lores.fits_into(size)) {
            let on = |stream| {
                let of = |one: &Use| one.profile(&profiles, camera.detect.stream).stream == stream;
                uses.iter().copied().find(of).unwrap_or(Use::Live)
            };
            return Err(vec![Conflict {
                key: "size".into(),
                first: (
                    on(Stream::Main),
                    format!("main at the source's {size}, which lores may not exceed"),
                ),
                second: (on(Stream::Lores), format!("lores at {lores}")),
            }]);
        }
        main.size = Some(size);
    }
    Ok(merged)
}

/// What the source says takes the place of the profiles' defaults, and of nothing that was set.
fn with_source(profiles: &Profiles, source: &LibcameraSource) -> Profiles {
    let default = Profiles::default();
    let over = |profile: &Profile, default: &Profile, moving: bool| {
        let mut profile = profile.clone();
        if profile.format == default.format && profile.stream != Stream::Raw {
            profile.format = source.format.clone().or(profile.format);
        }
        let limits = profile.controls.get(FRAME_DURATION);
        if let Some(fps) = source.fps.filter(|_| moving)
            && limits == default.controls.get(FRAME_DURATION)
        {
            let duration = ControlValue::Integer((1e6 / fps).round() as i64);
            profile.controls.insert(
                FRAME_DURATION.into(),
                ControlValue::List(vec![duration.clone(), duration]),
            );
        }
        profile
    };
    Profiles {
        live: over(&profiles.live, &default.live, true),
        photo: over(&profiles.photo, &default.photo, false),
        raw_photo: profiles.raw_photo.clone(),
        video: over(&profiles.video, &default.video, true),
    }
}

/// A V4L2 device has one stream of one size. The small one is scaled from it; only a second size of main is another
/// configuration.
fn v4l2(camera: &CameraConfig, source: &V4l2Source, uses: &[Use]) -> Result<Merged, Vec<Conflict>> {
    let device = source
        .width
        .zip(source.height)
        .map(|(width, height)| Size { width, height });
    let mut wanted: Option<(Use, Size)> = None;
    let mut conflicts = Vec::new();
    for &one in uses {
        if one == Use::RawPhoto {
            continue;
        }
        let profile = one.profile(&camera.profiles, camera.detect.stream);
        // Detection and live scale for themselves, so the device's own size suits them.
        let size = match profile.stream {
            Stream::Main => profile.size.or(device),
            Stream::Lores | Stream::Raw => device,
        };
        match (wanted, size) {
            (None, Some(size)) => wanted = Some((one, size)),
            (Some((first, known)), Some(size)) if known != size => conflicts.push(Conflict {
                key: "size".into(),
                first: (first, known.to_string()),
                second: (one, size.to_string()),
            }),
            _ => {}
        }
    }
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    let stream = MergedStream {
        size: wanted.map(|(_, size)| size),
        format: None,
    };
    Ok(Merged {
        streams: [(Stream::Main, stream)].into(),
        ..Merged::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn camera(config: serde_json::Value) -> CameraConfig {
        serde_json::from_value(config).unwrap()
    }

    #[test]
    fn a_libcamera_camera_runs_all_uses_side_by_side_out_of_the_box() {
        let camera = camera(json!({"source": {"libcamera": ""}}));
        let standing = standing(&camera, &Use::ALL);
        assert_eq!(standing.uses.len(), 5);
        assert!(standing.exclusive.is_empty());
        let main = &standing.configuration.streams[&Stream::Main];
        assert_eq!(main.size, Some([1280, 720].into()));
    }

    #[test]
    fn what_the_source_says_takes_the_place_of_defaults_only() {
        let fifteen = ControlValue::List(vec![ControlValue::Integer(66_667); 2]);
        let slow = camera(json!({"source": {"libcamera": {"fps": 15, "format": "NV12"}}}));
        let merged = plan(&slow, &Use::ALL).unwrap();
        assert_eq!(merged.controls[FRAME_DURATION], fifteen);
        assert_eq!(
            merged.streams[&Stream::Lores].format.as_deref(),
            Some("NV12")
        );
        let own = camera(json!({
            "source": {"libcamera": {"fps": 15}},
            "profiles": {"live": {"controls": {"FrameDurationLimits": [50_000, 100_000]}}},
        }));
        assert_eq!(
            plan(&own, &[Use::Live, Use::Video]).unwrap().controls[FRAME_DURATION],
            fifteen
        );
    }

    #[test]
    fn a_photo_of_another_size_has_a_libcamera_camera_to_itself() {
        let camera = camera(json!({
            "source": {"libcamera": ""},
            "profiles": {"photo": {"size": [2304, 1296]}, "video": {"size": [1920, 1080]}},
        }));
        let standing = standing(&camera, &Use::ALL);
        assert_eq!(
            standing.uses,
            [Use::Detect, Use::Live, Use::Photo, Use::RawPhoto]
        );
        let (one, conflicts) = &standing.exclusive[0];
        assert_eq!(*one, Use::Video);
        assert_eq!(
            conflicts[0].to_string(),
            "size: photo wants 2304x1296, video wants 1920x1080"
        );
    }

    #[test]
    fn lores_may_not_exceed_the_size_the_source_gives_main() {
        let camera = camera(json!({
            "source": {"libcamera": {"width": 640, "height": 480}},
            "profiles": {"live": {"size": [800, 600]}},
        }));
        let conflicts = plan(&camera, &[Use::Live, Use::Video]).unwrap_err();
        assert_eq!(
            conflicts[0].to_string(),
            "size: video wants main at the source's 640x480, which lores may not exceed, live wants lores at 800x600"
        );
    }

    #[test]
    fn a_v4l2_device_is_exclusive_only_for_a_second_size() {
        let camera = camera(json!({
            "source": {"v4l2": {"device": "/dev/video0", "width": 1280, "height": 720}},
            "profiles": {"photo": {"size": [1920, 1080]}, "live": {"size": [320, 180]}},
        }));
        let standing = standing(&camera, &Use::ALL);
        assert_eq!(standing.exclusive.len(), 1);
        assert_eq!(
            standing.exclusive[0].1[0].to_string(),
            "size: detect wants 1280x720, photo wants 1920x1080"
        );
        let alone = plan(&camera, &[Use::Photo]).unwrap();
        assert_eq!(alone.streams[&Stream::Main].size, Some([1920, 1080].into()));
    }

    #[test]
    fn every_other_source_serves_all_uses_at_once() {
        for source in [json!({"test": "walkers"}), json!({"rtsp": "rtsp://h/1"})] {
            let camera = camera(json!({
                "source": source,
                "profiles": {"photo": {"size": [1920, 1080]}, "video": {"size": [640, 480]}},
            }));
            assert!(standing(&camera, &Use::ALL).exclusive.is_empty());
        }
    }
}
