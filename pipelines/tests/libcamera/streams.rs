//! What comes out of each stream.

use gstlibcameratest::{Environment, within, within_each};
use watchpost_pipelines::tasks::{MergedStream, Size, Stream, Transform, Use};

use crate::support::{KEPT, Running, merged, planned};

fn caps_of(sample: &gst::Sample) -> String {
    sample.caps().unwrap().to_string()
}

fn plane(sample: &gst::Sample) -> (gst_video::VideoInfo, Vec<u8>) {
    let info = gst_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
    let bytes = sample.buffer().unwrap().map_readable().unwrap().to_vec();
    (info, bytes)
}

/// Brightness in the middle of an eighth of the picture's corners: left above, right above, left below, right below.
fn corners(sample: &gst::Sample) -> [u8; 4] {
    let (info, bytes) = plane(sample);
    let (w, h, stride) = (
        info.width() as usize,
        info.height() as usize,
        info.stride()[0] as usize,
    );
    let at = |x: usize, y: usize| bytes[y * stride + x];
    [
        at(w / 16, h / 16),
        at(w - w / 16, h / 16),
        at(w / 16, h - h / 16),
        at(w - w / 16, h - h / 16),
    ]
}

#[test]
fn debian_12_gives_main_and_lores_at_once() {
    within(
        "version=0.0.3",
        "streams::debian_12_gives_main_and_lores_at_once",
        || {
            let merged = merged(&[Use::Live, Use::Photo, Use::Video, Use::Detect]);
            let plan = planned(&merged).unwrap();
            let running = Running::start(&plan.build().unwrap());
            let frames = running.frames();
            assert_eq!(
                frames.keys().copied().collect::<Vec<_>>(),
                [Stream::Main, Stream::Lores]
            );
            for (stream, size) in [(Stream::Main, (1280, 720)), (Stream::Lores, (640, 360))] {
                let caps = caps_of(&frames[&stream][0]);
                let (width, height) = size;
                for part in [
                    "format=(string)I420".to_owned(),
                    format!("width=(int){width}, height=(int){height}"),
                    "framerate=(fraction)30/1".to_owned(),
                    "colorimetry=(string)1:4:7:1".to_owned(),
                    "interlace-mode=(string)progressive".to_owned(),
                ] {
                    assert!(caps.contains(&part), "{caps} misses {part}");
                }
            }
            drop(running);
            let log = Environment::current().log();
            assert!(log.contains("| src video-recording video/x-raw"), "{log}");
            assert!(log.contains("| src_0 view-finder video/x-raw"), "{log}");
            assert!(
                log.contains("stop 1 /base/soc/i2c0mux/i2c@0/imx708@1a"),
                "{log}"
            );
        },
    );
}

#[test]
fn main_lores_and_raw_flow_at_once_with_their_content() {
    within(
        "version=0.7.1",
        "streams::main_lores_and_raw_flow_at_once_with_their_content",
        || {
            let merged = merged(&Use::ALL);
            let plan = planned(&merged).unwrap();
            let running = Running::start(&plan.build().unwrap());
            let frames = running.frames();
            let raw = &frames[&Stream::Raw][0];
            let caps = caps_of(raw);
            for part in [
                "video/x-bayer",
                "rggb10le",
                "width=(int)2304, height=(int)1296",
            ] {
                assert!(caps.contains(part), "{caps} misses {part}");
            }
            let bytes = raw.buffer().unwrap().map_readable().unwrap().to_vec();
            assert_eq!(bytes.len(), 2304 * 2 * 1296);
            let corner = u16::from_le_bytes([bytes[0], bytes[1]]);
            assert_eq!(corner, 1023, "the white square, in ten bits");
            assert!(
                bytes
                    .chunks(2)
                    .all(|pair| u16::from_le_bytes([pair[0], pair[1]]) < 1024)
            );

            // The same moment on every stream, and time goes on.
            let times = |stream| -> Vec<_> {
                frames[&stream]
                    .iter()
                    .map(|sample| sample.buffer().unwrap().pts().unwrap())
                    .collect()
            };
            let main = times(Stream::Main);
            assert_eq!(main, times(Stream::Lores));
            assert_eq!(main, times(Stream::Raw));
            assert!(main.windows(2).all(|pair| pair[0] < pair[1]), "{main:?}");
            // Something moves.
            let (_, first) = plane(&frames[&Stream::Lores][0]);
            let (_, last) = plane(&frames[&Stream::Lores][KEPT - 1]);
            assert_ne!(first, last);
        },
    );
}

#[test]
fn pictures_are_flipped_behind_the_camera() {
    within(
        "version=0.0.3",
        "streams::pictures_are_flipped_behind_the_camera",
        || {
            for (hflip, vflip, white) in [
                (false, false, 0),
                (true, false, 1),
                (false, true, 2),
                (true, true, 3),
            ] {
                let mut merged = merged(&[Use::Live]);
                merged.transform = Transform {
                    hflip: Some(hflip),
                    vflip: Some(vflip),
                };
                let running = Running::start(&planned(&merged).unwrap().build().unwrap());
                let corners = corners(&running.frames()[&Stream::Lores][0]);
                let brightest = (0..4).max_by_key(|&i| corners[i]);
                assert_eq!(brightest, Some(white), "{hflip} {vflip}: {corners:?}");
            }
        },
    );
}

#[test]
fn every_colour_space_and_format_is_agreed_on() {
    // The versions answer differently: see format.rs.
    within_each(
        &["version=0.0.3", "version=0.4.0"],
        "streams::every_colour_space_and_format_is_agreed_on",
        || {
            for colour_space in ["sYCC", "Smpte170m", "Rec709", "Rec2020"] {
                for format in ["YUV420", "NV12", "RGB888", "XRGB8888", "YUYV"] {
                    let mut merged = merged(&[Use::Live]);
                    merged.colour_space = Some(colour_space.into());
                    let stream = MergedStream {
                        size: Some(Size {
                            width: 64,
                            height: 48,
                        }),
                        format: Some(format.into()),
                    };
                    merged.streams.insert(Stream::Lores, stream);
                    let running = Running::start(&planned(&merged).unwrap().build().unwrap());
                    running.frames();
                }
            }
        },
    );
}
