//! What the camera and what is downstream agree on.

use std::str::FromStr;

use gst::prelude::*;

use super::pad::{LibcameraPad, Role};
use crate::camera::Camera;
use crate::picture::Picture;
use crate::script::{Script, Shape};

/// A stream that is agreed on.
pub struct Stream {
    pub pad: LibcameraPad,
    pub caps: gst::Caps,
    pub picture: Picture,
    pub pool: gst::BufferPool,
}

/// Why there is none.
pub enum Refused {
    /// More streams than the camera has.
    Roles,
    /// The camera and downstream have nothing in common, or the streams do not go together.
    NotNegotiated,
    /// No buffers.
    NoMemory,
}

const FORMATS: [&str; 10] = [
    "NV12", "NV21", "I420", "YV12", "Y42B", "YUY2", "UYVY", "RGB", "BGR", "BGRx",
];

/// Sizes libcamera lists for a range that has them, of its own list.
const USUAL: [(i32, i32); 9] = [
    (320, 180),
    (320, 240),
    (640, 360),
    (640, 480),
    (800, 600),
    (1280, 720),
    (1280, 960),
    (1600, 1200),
    (1920, 1080),
];

/// Sizes that a camera in the shape of a virtual one has; the largest comes last.
fn virtual_sizes(camera: &Camera) -> [(i32, i32); 2] {
    let (width, height) = (camera.sensor.0 as i32, camera.sensor.1 as i32);
    [((width / 2) & !1, (height / 2) & !1), (width, height)]
}

/// What libcamera offers for a role.
pub fn offered(camera: &Camera, role: Role) -> gst::Caps {
    let mut caps = gst::Caps::new_empty();
    {
        let caps = caps.get_mut().expect("just made");
        let single = |name: &str, format: Option<&str>, (width, height): (i32, i32)| {
            let mut structure = gst::Structure::builder(name)
                .field("width", width)
                .field("height", height);
            if let Some(format) = format {
                structure = structure.field("format", format);
            }
            structure.build()
        };
        let shape = Script::get().shape;
        if shape == Shape::Virtual {
            let [small, large] = virtual_sizes(camera);
            let within = |size: &&(i32, i32)| {
                (small.0..=large.0).contains(&size.0) && (small.1..=large.1).contains(&size.1)
            };
            for size in USUAL.iter().filter(within) {
                caps.append_structure(single("video/x-raw", Some("NV12"), *size));
            }
            caps.append_structure(
                gst::Structure::builder("video/x-raw")
                    .field("format", "NV12")
                    .field("width", gst::IntRange::new(small.0, large.0))
                    .field("height", gst::IntRange::new(small.1, large.1))
                    .build(),
            );
        } else if shape == Shape::Webcam {
            let sensor = (camera.sensor.0 as i32, camera.sensor.1 as i32);
            for size in [(320, 240), (640, 480), (1280, 720)] {
                caps.append_structure(single("video/x-raw", Some("YUY2"), size));
            }
            for size in [(640, 480), (1280, 720), sensor] {
                caps.append_structure(single("image/jpeg", None, size));
            }
        } else if role == Role::Raw {
            for format in ["rggb10le", "rggb"] {
                for (width, height) in camera.modes() {
                    caps.append_structure(
                        gst::Structure::builder("video/x-bayer")
                            .field("format", format)
                            .field("width", width as i32)
                            .field("height", height as i32)
                            .build(),
                    );
                }
            }
        } else {
            let (width, height) = camera.sensor;
            let side = |side: u32| gst::IntRange::with_step(32, (side & !1) as i32, 2);
            let formats = match shape {
                Shape::Single => &["NV12", "BGRx"][..],
                _ => &FORMATS,
            };
            for format in formats {
                caps.append_structure(
                    gst::Structure::builder("video/x-raw")
                        .field("format", format)
                        .field("width", side(width))
                        .field("height", side(height))
                        .build(),
                );
            }
        }
    }
    caps
}

/// Size libcamera starts from for a role.
fn usual(camera: &Camera, role: Role) -> (i32, i32) {
    let (width, height) = camera.sensor;
    let within = |w: u32, h: u32| (w.min(width) as i32, h.min(height) as i32);
    match role {
        Role::Raw | Role::StillCapture => within(width, height),
        Role::VideoRecording => within(1920, 1080),
        Role::Viewfinder => within(800, 600),
    }
}

/// Buffers libcamera has for a role.
fn buffers(role: Role) -> u32 {
    match role {
        Role::StillCapture => 1,
        Role::Raw => 2,
        Role::VideoRecording | Role::Viewfinder => 4,
    }
}

/// One structure with a fixed size, the nearest to the usual one.
fn chosen(mut caps: gst::Caps, (width, height): (i32, i32)) -> Option<gst::Structure> {
    let caps = caps.make_mut();
    let mut best: Option<(i64, gst::Structure)> = None;
    for structure in caps.iter() {
        let mut structure = structure.to_owned();
        structure.fixate_field_nearest_int("width", width);
        structure.fixate_field_nearest_int("height", height);
        structure.fixate();
        let side = |name: &str| structure.get::<i32>(name).ok().map(i64::from);
        let off =
            (side("width")? - i64::from(width)).abs() + (side("height")? - i64::from(height)).abs();
        if best.as_ref().is_none_or(|(least, _)| off < *least) {
            best = Some((off, structure));
        }
    }
    best.map(|(_, structure)| structure)
}

/// What a virtual camera makes of a configuration that it does not have.
fn adjust(camera: &Camera, structure: &mut gst::Structure) -> bool {
    let sizes = virtual_sizes(camera);
    let size = (structure.get("width"), structure.get("height"));
    let known = sizes
        .iter()
        .any(|(width, height)| size == (Ok(*width), Ok(*height)));
    if !known {
        structure.set("width", sizes[1].0);
        structure.set("height", sizes[1].1);
    }
    let own_colours = structure
        .get::<&str>("colorimetry")
        .is_ok_and(|c| c != "bt709");
    if own_colours {
        structure.set("colorimetry", "bt709");
    }
    !known || own_colours
}

/// The colorimetry libcamera answers with: RGB has no matrix and the full range, and until 0.4.0 each transfer function
/// of the family of BT.709 comes back as that one.
fn answered(colorimetry: &str, format: &str) -> Option<String> {
    use gst_video::{VideoColorMatrix, VideoColorRange, VideoColorimetry, VideoTransferFunction};
    let asked = VideoColorimetry::from_str(colorimetry).ok()?;
    let rgb = ["RGB", "BGR", "BGRx"].contains(&format);
    let transfer = match asked.transfer() {
        VideoTransferFunction::Bt601
        | VideoTransferFunction::Bt202010
        | VideoTransferFunction::Bt202012
            if !Script::get().since(0, 4, 0) =>
        {
            VideoTransferFunction::Bt709
        }
        transfer => transfer,
    };
    let (range, matrix) = if rgb {
        (VideoColorRange::Range0_255, VideoColorMatrix::Rgb)
    } else {
        (asked.range(), asked.matrix())
    };
    Some(VideoColorimetry::new(range, matrix, transfer, asked.primaries()).to_string())
}

/// Agrees on all streams. One frame rate for all of them: that of the last pad, which is 30 where it says nothing.
pub fn streams(
    camera: &Camera,
    pads: &[LibcameraPad],
) -> Result<(Vec<Stream>, gst::Fraction), Refused> {
    let raw = pads.iter().filter(|pad| pad.role() == Role::Raw).count();
    // A webcam's handler does not look at the roles, only at their number.
    let (most_raw, most) = match Script::get().shape {
        Shape::Pi => (1, 2),
        Shape::Webcam => (1, 1 - raw.min(1)),
        Shape::Single => (0, 1),
        Shape::Virtual => (0, 3),
    };
    if raw > most_raw || pads.len() - raw > most {
        return Err(Refused::Roles);
    }
    let mut structures = Vec::new();
    let mut adjusted = false;
    let mut framerate = gst::Fraction::new(30, 1);
    for pad in pads {
        let filter = offered(camera, pad.role());
        let caps = pad.peer_query_caps(Some(&filter));
        let mut structure =
            chosen(caps, usual(camera, pad.role())).ok_or(Refused::NotNegotiated)?;
        if Script::get().shape == Shape::Virtual && adjust(camera, &mut structure) {
            adjusted = true;
        }
        framerate = structure
            .get::<gst::Fraction>("framerate")
            .unwrap_or(gst::Fraction::new(30, 1));
        structures.push(structure);
    }
    // The second processed stream is the first one made smaller.
    let sizes: Vec<(i32, i32)> = structures
        .iter()
        .filter(|structure| structure.name() == "video/x-raw")
        .filter_map(|s| Some((s.get("width").ok()?, s.get("height").ok()?)))
        .collect();
    if let [first, second] = sizes[..] {
        let within = |a: (i32, i32), b: (i32, i32)| a.0 <= b.0 && a.1 <= b.1;
        if !within(first, second) && !within(second, first) {
            return Err(Refused::NotNegotiated);
        }
    }
    let framerate = framerate.clamp(gst::Fraction::new(1, 1000), gst::Fraction::new(120, 1));
    let mut streams = Vec::new();
    for (pad, structure) in pads.iter().zip(structures) {
        let caps = agreed(&structure, framerate).ok_or(Refused::NotNegotiated)?;
        if adjusted && pad.is_linked() {
            let mut accept = gst::query::AcceptCaps::new(&caps);
            if !pad.peer_query(&mut accept) || !accept.result() {
                return Err(Refused::NotNegotiated);
            }
        }
        let picture = Picture::new(&caps).ok_or(Refused::NotNegotiated)?;
        let pool = gst::BufferPool::new();
        let mut config = pool.config();
        let buffers = buffers(pad.role());
        config.set_params(Some(&caps), picture.size() as u32, buffers, buffers);
        let ready = pool.set_config(config).and_then(|()| pool.set_active(true));
        ready.map_err(|_| Refused::NoMemory)?;
        streams.push(Stream {
            pad: pad.clone(),
            caps,
            picture,
            pool,
        });
    }
    Ok((streams, framerate))
}

/// The caps that are sent: format, size, frame rate and colorimetry, nothing else.
fn agreed(structure: &gst::Structure, framerate: gst::Fraction) -> Option<gst::Caps> {
    let format: Option<String> = structure.get("format").ok();
    let mut caps = gst::Caps::builder(structure.name().as_str())
        .field_if_some("format", format.as_ref())
        .field("width", structure.get::<i32>("width").ok()?)
        .field("height", structure.get::<i32>("height").ok()?)
        .field("framerate", framerate);
    if structure.name() == "video/x-bayer" {
        caps = caps.field("colorimetry", "1:1:1:0");
    } else if let Ok(colorimetry) = structure.get::<&str>("colorimetry") {
        caps = caps.field("colorimetry", answered(colorimetry, &format?)?);
    } else {
        let own = match Script::get().shape {
            Shape::Virtual => "bt709",
            _ => "1:4:7:1",
        };
        let own = format.map_or_else(|| Some(own.to_owned()), |format| answered(own, &format));
        caps = caps.field("colorimetry", own?);
    }
    Some(caps.build())
}
