//! Which encoder makes H.264 of raw pictures: hardware where it opens, else software with a warning about its cost.

use gst::prelude::*;

use crate::camera::Size;

/// How an encoder is told its bitrate, and what else it needs for a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `bitrate` in kbit/s, key frames by `key-int-max`, no B-frames.
    Va,
    /// As [`Kind::Va`] with the names of the older plugin.
    Vaapi,
    /// Through `extra-controls`; profile and level only by caps.
    V4l2,
    X264,
    OpenH264,
}

/// Hardware first.
const ENCODERS: [(&str, Kind); 6] = [
    ("vah264enc", Kind::Va),
    ("vah264lpenc", Kind::Va),
    ("vaapih264enc", Kind::Vaapi),
    ("v4l2h264enc", Kind::V4l2),
    ("x264enc", Kind::X264),
    ("openh264enc", Kind::OpenH264),
];

/// Bits per pixel of a picture. 1080p at 30 frames a second gets 6.2 Mbit/s of it, 640x360 0.7.
const BITS_PER_PIXEL: f64 = 0.1;
/// Frames per second where the camera does not say.
const USUAL_FPS: f64 = 30.0;

/// What turns raw pictures (`video/x-raw`, [`Encoder::input`]) into H.264.
pub(crate) struct Encoder {
    /// Elements to link one after the other.
    pub elements: Vec<gst::Element>,
    /// Caps its pictures must have.
    pub input: gst::Caps,
    /// The encoder's factory.
    pub name: &'static str,
    /// For people, where the processor has to do it.
    pub warning: Option<String>,
}

/// Kilobits per second for a picture where none are configured.
pub(crate) fn usual_bitrate(size: Size, fps: f64) -> u32 {
    let pixels = f64::from(size.width) * f64::from(size.height);
    ((pixels * fps * BITS_PER_PIXEL / 1000.0) as u32).clamp(200, 50_000)
}

/// H.264's level for a size and rate, as caps name it: by macroblocks per frame and second.
fn level(size: Size, fps: f64) -> &'static str {
    let blocks = u64::from(size.width.div_ceil(16)) * u64::from(size.height.div_ceil(16));
    let rate = (blocks as f64 * fps).ceil() as u64;
    match (blocks, rate) {
        (..=8192, ..=245_760) => "4",
        (..=8704, ..=522_240) => "4.2",
        (..=22_080, ..=589_824) => "5",
        (..=36_864, ..=2_073_600) => "5.2",
        _ => "6.2",
    }
}

/// Chooses an encoder and sets it up for a recording: no B-frames, a key frame each second. One that cannot be opened is
/// passed over.
pub(crate) fn encoder(
    size: Size,
    fps: Option<f64>,
    bitrate: Option<u32>,
) -> Result<Encoder, String> {
    choose(&ENCODERS, size, fps, bitrate)
}

fn choose(
    candidates: &[(&'static str, Kind)],
    size: Size,
    fps: Option<f64>,
    bitrate: Option<u32>,
) -> Result<Encoder, String> {
    let fps = fps.filter(|fps| *fps > 0.0).unwrap_or(USUAL_FPS);
    let bitrate = bitrate.unwrap_or_else(|| usual_bitrate(size, fps));
    let mut tried = Vec::new();
    for &(name, kind) in candidates {
        let Ok(encoder) = gst::ElementFactory::make(name).build() else {
            tried.push(format!("{name} (not installed)"));
            continue;
        };
        set_up(&encoder, kind, bitrate, fps);
        // READY opens the device: an encoder without its hardware is found out here.
        let opens = encoder.set_state(gst::State::Ready).is_ok();
        let _ = encoder.set_state(gst::State::Null);
        if !opens {
            tried.push(format!("{name} (does not open)"));
            continue;
        }
        let software = matches!(kind, Kind::X264 | Kind::OpenH264);
        let warning = software.then(|| {
            format!(
                "{size} is encoded by the processor ({name}) since no hardware encoder is usable: {}; a smaller size or \
                 fewer frames per second cost less",
                tried.join(", ")
            )
        });
        let filter = crate::tasks::pipe::element("capsfilter")?;
        filter.set_property("caps", output(kind, size, fps));
        return Ok(Encoder {
            elements: vec![encoder, filter],
            input: input(kind),
            name,
            warning,
        });
    }
    Err(format!(
        "no H.264 encoder; tried {} (Debian: gstreamer1.0-plugins-ugly has x264enc)",
        tried.join(", ")
    ))
}

/// 4:2:0 only: what every player and decoder takes.
fn input(kind: Kind) -> gst::Caps {
    let formats: &[&str] = match kind {
        Kind::Va | Kind::Vaapi => &["NV12"],
        Kind::V4l2 => &["I420", "NV12"],
        Kind::X264 => &["I420", "NV12"],
        Kind::OpenH264 => &["I420"],
    };
    gst::Caps::builder("video/x-raw")
        .field("format", gst::List::new(formats.iter().copied()))
        .build()
}

fn output(kind: Kind, size: Size, fps: f64) -> gst::Caps {
    let caps = gst::Caps::builder("video/x-h264");
    match kind {
        // Its level is 1.0 (128x96) unless caps say otherwise, and the error then blames the source.
        Kind::V4l2 => caps
            .field("profile", "main")
            .field("level", level(size, fps)),
        Kind::OpenH264 => caps,
        Kind::Va | Kind::Vaapi | Kind::X264 => caps.field(
            "profile",
            gst::List::new(["high", "main", "constrained-baseline", "baseline"]),
        ),
    }
    .build()
}

fn set_up(encoder: &gst::Element, kind: Kind, bitrate: u32, fps: f64) {
    let key_frames = (fps.ceil() as u32).clamp(1, 600);
    // Versions differ in what they have: what is not there keeps its default.
    let set = |property: &str, value: &str| {
        if encoder.find_property(property).is_some() {
            encoder.set_property_from_str(property, value);
        }
    };
    match kind {
        Kind::Va => {
            set("bitrate", &bitrate.to_string());
            set("rate-control", "cbr");
            set("key-int-max", &key_frames.to_string());
            set("b-frames", "0");
        }
        Kind::Vaapi => {
            set("bitrate", &bitrate.to_string());
            set("rate-control", "cbr");
            set("keyframe-period", &key_frames.to_string());
            set("max-bframes", "0");
        }
        Kind::V4l2 => {
            let bits = u64::from(bitrate) * 1000;
            let controls = format!(
                "controls,video_bitrate={bits},video_b_frames=0,h264_i_frame_period={key_frames},\
                 repeat_sequence_header=1"
            );
            set("extra-controls", &controls);
        }
        Kind::X264 => {
            set("speed-preset", "ultrafast");
            set("tune", "zerolatency");
            set("bitrate", &bitrate.to_string());
            // Room for one key frame's burst within the rate.
            set("vbv-buf-capacity", "1000");
            set("key-int-max", &key_frames.to_string());
            set("bframes", "0");
        }
        Kind::OpenH264 => {
            set("bitrate", &(u64::from(bitrate) * 1000).to_string());
            set("rate-control", "bitrate");
            set("complexity", "low");
            set("gop-size", &key_frames.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL_HD: Size = Size {
        width: 1920,
        height: 1080,
    };

    #[test]
    fn an_encoder_that_does_not_open_is_passed_over_and_software_says_what_it_costs() {
        gst::init().unwrap();
        let candidates = [
            ("nosuchh264enc", Kind::V4l2),
            ("x264enc", Kind::X264),
            ("openh264enc", Kind::OpenH264),
        ];
        let chosen = choose(&candidates, FULL_HD, Some(25.0), None).unwrap();
        assert_eq!(chosen.name, "x264enc");
        let warning = chosen.warning.unwrap();
        assert!(warning.contains("1920x1080"), "{warning}");
        assert!(
            warning.contains("nosuchh264enc (not installed)"),
            "{warning}"
        );
        let encoder = &chosen.elements[0];
        assert_eq!(encoder.property::<u32>("key-int-max"), 25);
        assert_eq!(encoder.property::<u32>("bframes"), 0);
        assert_eq!(encoder.property::<u32>("bitrate"), 5184);
        let error = choose(&candidates[..1], FULL_HD, None, None).err().unwrap();
        assert!(error.contains("nosuchh264enc"), "{error}");
    }

    #[test]
    fn level_and_bitrate_follow_the_picture() {
        gst::init().unwrap();
        for (width, height, fps, expected) in [
            (1920, 1080, 30.0, "4"),
            (1920, 1080, 60.0, "4.2"),
            (640, 480, 90.0, "4"),
            (2592, 1944, 15.0, "5"),
            (3840, 2160, 30.0, "5.2"),
        ] {
            assert_eq!(
                level(Size { width, height }, fps),
                expected,
                "{width} {fps}"
            );
        }
        let hardware = output(Kind::V4l2, FULL_HD, 30.0);
        assert_eq!(hardware.structure(0).unwrap().get::<&str>("level"), Ok("4"));
        assert_eq!(usual_bitrate(FULL_HD, 30.0), 6220);
        let small = Size {
            width: 64,
            height: 64,
        };
        assert_eq!(usual_bitrate(small, 5.0), 200);
    }
}
