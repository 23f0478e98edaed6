//! Which uses of a camera run side by side, by what kind of source it is: the rules of [`merge()`] where the camera itself has
//! to be configured, none where each task can have its own from the one stream there is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::merge::{Conflict, Merged, MergedStream, Use, merge};
use crate::camera::{CameraConfig, LibcameraSource, Source, V4l2Source};
use crate::camera::{ControlValue, FRAME_DURATION, Profile, Profiles, Size, Stream};
use crate::libcamera::{self, MAIN_SIZE, NotOffered, Offer, OfferedFormat, choose, list_formats};

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
    /// Those that this camera cannot serve, and why.
    pub unavailable: Vec<(Use, String)>,
}

/// One configuration for all these uses, or why there is none. `offer` is what the camera offers, where it was asked: what
/// is not set follows it.
pub fn plan(
    camera: &CameraConfig,
    uses: &[Use],
    offer: Option<&Offer>,
) -> Result<Merged, Vec<Conflict>> {
    match camera.primary_source() {
        Some(Source::Libcamera(source)) => libcamera(camera, source, uses, offer),
        Some(Source::V4l2(source)) => v4l2(camera, source, uses),
        // Every task takes the decoded stream, and scales for itself.
        _ => Ok(Merged::default()),
    }
}

/// The configuration a camera starts with: of the uses that it can serve at all ([`why_not`]), as many as go together.
/// Detection and the live picture come first, since they always run.
pub fn standing(camera: &CameraConfig, offer: Option<&Offer>) -> Standing {
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
        unavailable: Vec::new(),
    };
    for one in ORDER {
        if let Some(reason) = why_not(camera, one, offer) {
            standing.unavailable.push((one, reason));
            continue;
        }
        let mut uses = standing.uses.clone();
        uses.push(one);
        match plan(camera, &uses, offer) {
            Ok(configuration) => {
                standing.uses = uses;
                standing.configuration = configuration;
            }
            Err(conflicts) => standing.exclusive.push((one, conflicts)),
        }
    }
    standing
}

/// Why a camera cannot serve this use at all, by what it offers: no such stream, or something set that it does not offer.
pub fn why_not(camera: &CameraConfig, one: Use, offer: Option<&Offer>) -> Option<String> {
    let (Some(Source::Libcamera(source)), Some(offer)) = (camera.primary_source(), offer) else {
        return None;
    };
    let set = one.profile(&camera.profiles, camera.detect.stream);
    let section = match one {
        Use::Detect if set == camera.profiles.live => Use::Live,
        one => one,
    };
    let key = |name: &str| format!("profiles.{section}.{name}");
    if set.stream == Stream::Raw {
        let fits = |one: &&OfferedFormat| {
            set.format
                .as_deref()
                .is_none_or(|name| libcamera::is_same_raw(name, &one.format))
        };
        if offer.raw.is_empty() {
            let why = offer.why_no_raw.clone();
            return Some(why.unwrap_or_else(|| "no raw stream".into()));
        }
        return match set.format.as_deref() {
            Some(name) if !offer.raw.iter().any(|one| fits(&one)) => {
                Some(not_offered(&key("format"), name, &offer.raw))
            }
            _ => None,
        };
    }
    let scaled = is_scaled(&set, offer);
    let offered = match set.stream {
        Stream::Lores if !scaled => &offer.lores,
        _ => &offer.main,
    };
    let (format_key, format) = match (&set.format, &source.format) {
        (Some(format), _) => (key("format"), Some(format)),
        (None, format) => ("source.libcamera.format".to_owned(), format.as_ref()),
    };
    let (size_key, size) = match (asked_size(&set, one).filter(|_| !scaled), source.size()) {
        (Some(size), _) => (key("size"), Some(size)),
        (None, Some(size)) if set.stream == Stream::Main || scaled => {
            ("source.libcamera.width and height".to_owned(), Some(size))
        }
        _ => (String::new(), None),
    };
    if let (Some(space), false) = (&set.colour_space, offer.colour_spaces.is_empty())
        && !offer
            .colour_spaces
            .iter()
            .any(|known| known.eq_ignore_ascii_case(space))
    {
        return Some(format!(
            "{}: {space} is not offered by this camera, which offers {}",
            key("colour_space"),
            offer.colour_spaces.join(", ")
        ));
    }
    match choose(offered, format.map(String::as_str), size, MAIN_SIZE) {
        Ok(_) => None,
        Err(NotOffered::Format) => Some(not_offered(
            &format_key,
            format.map_or("", String::as_str),
            offered,
        )),
        Err(NotOffered::Size) => {
            let size = size.map(|size| size.to_string()).unwrap_or_default();
            Some(not_offered(&size_key, &size, offered))
        }
    }
}

fn not_offered(key: &str, value: &str, offered: &[OfferedFormat]) -> String {
    format!(
        "{key}: {value} is not offered by this camera, which offers {}",
        list_formats(offered)
    )
}

/// Whether pictures of this profile are scaled from main, since the camera has one stream at a time.
fn is_scaled(profile: &Profile, offer: &Offer) -> bool {
    profile.stream == Stream::Lores && offer.lores.is_empty()
}

/// The size that is set; that of the live profile's default is a wish only.
fn asked_size(profile: &Profile, one: Use) -> Option<Size> {
    let wish = Profiles::default().live.size;
    let may_be_wish = matches!(one, Use::Live | Use::Detect) && profile.stream == Stream::Lores;
    profile
        .size
        .filter(|size| !may_be_wish || Some(*size) != wish)
}

fn libcamera(
    camera: &CameraConfig,
    source: &LibcameraSource,
    uses: &[Use],
    offer: Option<&Offer>,
) -> Result<Merged, Vec<Conflict>> {
    let mut profiles = with_source(&camera.profiles, source);
    let mut detect = camera.detect.stream;
    if let Some(offer) = offer {
        on_offer(&mut profiles, &mut detect, source, offer);
    }
    let mut merged = merge(&profiles, detect, uses)?;
    let lores = merged.streams.get(&Stream::Lores).and_then(|s| s.size);
    if let Some(main) = merged.streams.get_mut(&Stream::Main)
        && main.size.is_none()
        && (offer.is_none() || source.size().is_some())
    {
        let size = source.size().unwrap_or(MAIN_SIZE);
        if let Some(lores) = lores.filter(|lores| !lores.fits_into(size)) {
            let on = |stream| {
                let of = |one: &Use| one.profile(&profiles, detect).stream == stream;
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
    if let Some(offer) = offer {
        settle(&mut merged, offer);
    }
    Ok(merged)
}

/// Profiles for a camera with this offer. Without a second stream, or where that would only be main again, what asks
/// for lores takes main, from which it is scaled.
fn on_offer(
    profiles: &mut Profiles,
    detect: &mut Option<Stream>,
    source: &LibcameraSource,
    offer: &Offer,
) {
    let is_set = asked_size(&profiles.live, Use::Live).is_some();
    if !is_set && profiles.live.stream == Stream::Lores {
        profiles.live.size = None;
    }
    let main = profiles
        .video
        .size
        .or(profiles.photo.size)
        .or(source.size());
    let main = choose(&offer.main, None, main, MAIN_SIZE);
    let is_small = |main: Size| {
        let lores = choose(
            &offer.lores,
            profiles.live.format.as_deref(),
            None,
            small(main),
        );
        lores.is_ok_and(|(_, lores)| lores != main && lores.fits_into(main))
    };
    let beside = !offer.lores.is_empty() && (is_set || main.is_ok_and(|(_, main)| is_small(main)));
    if beside {
        return;
    }
    for profile in [&mut profiles.live, &mut profiles.photo, &mut profiles.video] {
        if profile.stream == Stream::Lores {
            profile.stream = Stream::Main;
            profile.size = None;
        }
    }
    if *detect == Some(Stream::Lores) {
        *detect = Some(Stream::Main);
    }
}

/// What is wished for where no size of lores is set: the live profile's default, or less where main is smaller.
fn small(main: Size) -> Size {
    let wish = Profiles::default().live.size.unwrap_or(main);
    Size {
        width: wish.width.min(main.width),
        height: wish.height.min(main.height),
    }
}

/// Gives each stream what of the offer suits it best, where nothing is set.
fn settle(merged: &mut Merged, offer: &Offer) {
    let mut main_size = None;
    for (stream, asked) in &mut merged.streams {
        let (offered, wish) = match stream {
            Stream::Main => (&offer.main, MAIN_SIZE),
            Stream::Lores => (&offer.lores, small(main_size.unwrap_or(MAIN_SIZE))),
            Stream::Raw => continue,
        };
        if let Ok((format, size)) = choose(offered, asked.format.as_deref(), asked.size, wish) {
            asked.format = Some(format);
            asked.size = Some(size);
        }
        if *stream == Stream::Main {
            main_size = asked.size;
        }
    }
}

/// What the source says takes the place of the profiles' defaults, and of nothing that was set.
fn with_source(profiles: &Profiles, source: &LibcameraSource) -> Profiles {
    let default = Profiles::default();
    let over = |profile: &Profile, default: &Profile, moving: bool| {
        let mut profile = profile.clone();
        if profile.format.is_none() && profile.stream != Stream::Raw {
            profile.format.clone_from(&source.format);
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
        let standing = standing(&camera, None);
        assert_eq!(standing.uses.len(), 5);
        assert!(standing.exclusive.is_empty());
        let main = &standing.configuration.streams[&Stream::Main];
        assert_eq!(main.size, Some([1280, 720].into()));
    }

    #[test]
    fn what_the_source_says_takes_the_place_of_defaults_only() {
        let fifteen = ControlValue::List(vec![ControlValue::Integer(66_667); 2]);
        let slow = camera(json!({"source": {"libcamera": {"fps": 15, "format": "NV12"}}}));
        let merged = plan(&slow, &Use::ALL, None).unwrap();
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
            plan(&own, &[Use::Live, Use::Video], None).unwrap().controls[FRAME_DURATION],
            fifteen
        );
    }

    #[test]
    fn a_photo_of_another_size_has_a_libcamera_camera_to_itself() {
        let camera = camera(json!({
            "source": {"libcamera": ""},
            "profiles": {"photo": {"size": [2304, 1296]}, "video": {"size": [1920, 1080]}},
        }));
        let standing = standing(&camera, None);
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
        let conflicts = plan(&camera, &[Use::Live, Use::Video], None).unwrap_err();
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
        let standing = standing(&camera, None);
        assert_eq!(standing.exclusive.len(), 1);
        assert_eq!(
            standing.exclusive[0].1[0].to_string(),
            "size: detect wants 1280x720, photo wants 1920x1080"
        );
        let alone = plan(&camera, &[Use::Photo], None).unwrap();
        assert_eq!(alone.streams[&Stream::Main].size, Some([1920, 1080].into()));
    }

    #[test]
    fn every_other_source_serves_all_uses_at_once() {
        for source in [json!({"test": "walkers"}), json!({"rtsp": "rtsp://h/1"})] {
            let camera = camera(json!({
                "source": source,
                "profiles": {"photo": {"size": [1920, 1080]}, "video": {"size": [640, 480]}},
            }));
            assert!(standing(&camera, None).exclusive.is_empty());
        }
    }
}
