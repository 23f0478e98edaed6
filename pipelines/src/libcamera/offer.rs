//! What a camera offers (formats, sizes, streams at once, raw or not), and what of it suits a wish.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::format;
use crate::camera::Size;

/// What a camera offers, as libcamera answered when the camera was started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Offer {
    /// Formats and sizes of the first stream.
    pub main: Vec<OfferedFormat>,
    /// Those of a second stream beside it; empty where the camera has one stream at a time.
    pub lores: Vec<OfferedFormat>,
    /// Those of the raw stream; empty where there is none.
    pub raw: Vec<OfferedFormat>,
    /// Whether the raw stream goes together with the others.
    pub raw_beside: bool,
    /// Why there is no raw stream, where it is not for the camera.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_no_raw: Option<String>,
    /// Colour spaces, where the camera was found to refuse some; empty: not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub colour_spaces: Vec<String>,
}

/// A format and the sizes it comes in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OfferedFormat {
    /// libcamera's name, or GStreamer's for a raw format.
    pub format: String,
    /// Single sizes, smallest first.
    pub sizes: Vec<Size>,
    /// Every size within limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<SizeRange>,
}

/// Sizes within limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SizeRange {
    /// The smallest.
    pub min: Size,
    /// The largest.
    pub max: Size,
    /// What width and height differ from the smallest by is a multiple of this.
    pub step: Size,
}

/// What is wished for where no size of main is set.
pub(crate) const MAIN_SIZE: Size = Size {
    width: 1280,
    height: 720,
};

/// libcamera's name of Motion JPEG.
pub(super) const MJPEG: &str = "MJPEG";

/// Above this, webcams send uncompressed pictures at a few frames a second only.
const WEBCAM_UNCOMPRESSED: Size = Size {
    width: 640,
    height: 480,
};

const fn area(size: Size) -> u64 {
    size.width as u64 * size.height as u64
}

impl SizeRange {
    fn has(&self, size: Size) -> bool {
        let within = |side: u32, min: u32, max: u32, step: u32| {
            (min..=max).contains(&side) && (side - min).is_multiple_of(step.max(1))
        };
        within(size.width, self.min.width, self.max.width, self.step.width)
            && within(
                size.height,
                self.min.height,
                self.max.height,
                self.step.height,
            )
    }

    /// The nearest size of the range that is not smaller, or its largest.
    fn at_least(&self, wish: Size) -> Size {
        let side = |wish: u32, min: u32, max: u32, step: u32| {
            // Even, since most formats need that.
            let step = if step.is_multiple_of(2) {
                step
            } else {
                step * 2
            }
            .max(1);
            let up = min + wish.saturating_sub(min).div_ceil(step) * step;
            up.min(max)
        };
        Size {
            width: side(wish.width, self.min.width, self.max.width, self.step.width),
            height: side(
                wish.height,
                self.min.height,
                self.max.height,
                self.step.height,
            ),
        }
    }
}

impl OfferedFormat {
    /// Whether this size is among those offered.
    pub(super) fn has(&self, size: Size) -> bool {
        self.sizes.contains(&size) || self.range.is_some_and(|range| range.has(size))
    }

    /// The nearest size that is at least as large; the largest where none is.
    fn nearest(&self, wish: Size) -> Option<Size> {
        if self.has(wish) {
            return Some(wish);
        }
        let all = self
            .sizes
            .iter()
            .copied()
            .chain(self.range.map(|range| range.at_least(wish)));
        all.clone()
            .filter(|size| wish.fits_into(*size))
            .min_by_key(|size| area(*size))
            .or_else(|| all.max_by_key(|size| area(*size)))
    }

    /// Place among the formats a camera offers at this size: what costs least to use comes first.
    fn rank(&self, size: Size) -> usize {
        const ORDER: [&str; 4] = ["YUV420", "NV12", "NV21", "YVU420"];
        const UNCOMPRESSED: [&str; 6] = ["YUYV", "UYVY", "YUV422", "NV16", "YVYU", "VYUY"];
        let place = |of: &[&str]| of.iter().position(|name| *name == self.format);
        if let Some(place) = place(&ORDER) {
            return place;
        }
        if self.format == MJPEG {
            return if size.fits_into(WEBCAM_UNCOMPRESSED) {
                20
            } else {
                4
            };
        }
        place(&UNCOMPRESSED).map_or(11, |place| 5 + place)
    }
}

impl fmt::Display for OfferedFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format)?;
        // A range comes with the usual sizes in it, which say nothing more.
        if let Some(SizeRange { min, max, .. }) = self.range {
            return write!(f, " {min} to {max}");
        }
        for (i, size) in self.sizes.iter().enumerate() {
            write!(f, "{}{size}", if i > 0 { ", " } else { " " })?;
        }
        Ok(())
    }
}

/// All of them in one line.
pub fn list_formats(formats: &[OfferedFormat]) -> String {
    let all: Vec<_> = formats.iter().map(ToString::to_string).collect();
    all.join("; ")
}

/// Why nothing of an offer is what was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotOffered {
    Format,
    Size,
}

/// Format and size of a stream: what is set, or what of the offer suits best where it is not.
pub(crate) fn choose(
    offered: &[OfferedFormat],
    format: Option<&str>,
    size: Option<Size>,
    wish: Size,
) -> Result<(String, Size), NotOffered> {
    let named = |one: &&OfferedFormat| {
        format.is_none_or(|name| {
            format::processed("format", name)
                .map_or(name, |known| known.libcamera)
                .eq_ignore_ascii_case(&one.format)
        })
    };
    let mut formats: Vec<&OfferedFormat> = offered.iter().filter(named).collect();
    if formats.is_empty() {
        return Err(NotOffered::Format);
    }
    let wish = size.unwrap_or(wish);
    formats.sort_by_key(|one| one.rank(wish));
    if size.is_some() {
        let found = formats.iter().find(|one| one.has(wish));
        return found
            .map(|one| (one.format.clone(), wish))
            .ok_or(NotOffered::Size);
    }
    let nearest = formats
        .iter()
        .filter_map(|one| Some((one.format.clone(), one.nearest(wish)?)));
    nearest
        .clone()
        .find(|(_, size)| wish.fits_into(*size))
        .or_else(|| nearest.max_by_key(|(_, size)| area(*size)))
        .ok_or(NotOffered::Size)
}

/// Reads the formats and sizes of caps that libcamera, or a V4L2 device, offers.
pub(crate) fn formats_of(caps: &gst::CapsRef) -> Vec<OfferedFormat> {
    let mut formats: Vec<OfferedFormat> = Vec::new();
    for structure in caps.iter() {
        let name = structure.get::<&str>("format");
        let format = match (structure.name().as_str(), name) {
            ("image/jpeg", _) => MJPEG.to_owned(),
            ("video/x-bayer", Ok(name)) => name.to_owned(),
            ("video/x-raw", Ok(name)) => match format::processed("format", name) {
                Ok(known) => known.libcamera.to_owned(),
                Err(_) => continue,
            },
            _ => continue,
        };
        let at = formats.iter().position(|one| one.format == format);
        let at = at.unwrap_or_else(|| {
            formats.push(OfferedFormat {
                format,
                sizes: Vec::new(),
                range: None,
            });
            formats.len() - 1
        });
        let one = &mut formats[at];
        let (Some(width), Some(height)) = (side(structure, "width"), side(structure, "height"))
        else {
            continue;
        };
        let of = |of: fn(&Side) -> u32| Size {
            width: of(&width),
            height: of(&height),
        };
        if width.min == width.max && height.min == height.max {
            one.sizes.push(of(|side| side.min));
        } else {
            one.range = Some(SizeRange {
                min: of(|side| side.min),
                max: of(|side| side.max),
                step: of(|side| side.step),
            });
        }
    }
    for one in &mut formats {
        one.sizes.sort_by_key(|size| (area(*size), size.width));
        one.sizes.dedup();
    }
    formats
}

struct Side {
    min: u32,
    max: u32,
    step: u32,
}

fn side(structure: &gst::StructureRef, name: &str) -> Option<Side> {
    if let Ok(one) = structure.get::<i32>(name) {
        let one = u32::try_from(one).ok()?;
        return Some(Side {
            min: one,
            max: one,
            step: 1,
        });
    }
    let range = structure.get::<gst::IntRange<i32>>(name).ok()?;
    Some(Side {
        min: u32::try_from(range.min()).ok()?,
        max: u32::try_from(range.max()).ok()?,
        step: u32::try_from(range.step()).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(format: &str, sizes: &[[u32; 2]]) -> OfferedFormat {
        OfferedFormat {
            format: format.into(),
            sizes: sizes.iter().map(|size| (*size).into()).collect(),
            range: None,
        }
    }

    fn chosen(offered: &[OfferedFormat], wish: [u32; 2]) -> (String, Size) {
        choose(offered, None, None, wish.into()).unwrap()
    }

    #[test]
    fn the_nearest_size_that_is_at_least_as_large_is_chosen() {
        let nv12 = [offered("NV12", &[[320, 180], [1280, 960], [1920, 1080]])];
        for (wish, size) in [
            ([640, 360], [1280, 960]),
            ([1280, 720], [1280, 960]),
            ([1280, 961], [1920, 1080]),
            ([320, 180], [320, 180]),
            ([4000, 3000], [1920, 1080]),
        ] {
            assert_eq!(
                chosen(&nv12, wish),
                ("NV12".into(), size.into()),
                "{wish:?}"
            );
        }
        let range = SizeRange {
            min: [64, 64].into(),
            max: [2304, 1296].into(),
            step: [2, 2].into(),
        };
        let isp = [OfferedFormat {
            range: Some(range),
            ..offered("YUV420", &[])
        }];
        assert_eq!(chosen(&isp, [1280, 720]).1, [1280, 720].into());
        assert_eq!(chosen(&isp, [641, 361]).1, [642, 362].into());
        assert_eq!(chosen(&isp, [4000, 10]).1, [2304, 64].into());
    }

    #[test]
    fn webcams_send_jpeg_where_uncompressed_pictures_are_slow() {
        let webcam = [
            offered("YUYV", &[[640, 480], [1280, 720]]),
            offered(MJPEG, &[[640, 480], [1280, 720], [1920, 1080]]),
        ];
        assert_eq!(chosen(&webcam, [640, 360]).0, "YUYV");
        assert_eq!(chosen(&webcam, [1280, 720]).0, MJPEG);
        assert_eq!(
            chosen(&webcam, [1920, 1080]),
            (MJPEG.into(), [1920, 1080].into())
        );
    }

    #[test]
    fn what_is_set_is_taken_or_refused() {
        let webcam = [
            offered("YUYV", &[[640, 480]]),
            offered(MJPEG, &[[640, 480], [1280, 720]]),
        ];
        let wish = Size::from([1280, 720]);
        let set = |format: Option<&str>, size: Option<[u32; 2]>| {
            choose(&webcam, format, size.map(Into::into), wish)
        };
        assert_eq!(
            set(Some("YUY2"), None),
            Ok(("YUYV".into(), [640, 480].into()))
        );
        assert_eq!(set(None, Some([640, 480])).unwrap().0, "YUYV");
        assert_eq!(set(Some("NV12"), None), Err(NotOffered::Format));
        assert_eq!(set(None, Some([800, 600])), Err(NotOffered::Size));
        assert_eq!(set(Some("YUYV"), Some([1280, 720])), Err(NotOffered::Size));
        assert_eq!(
            list_formats(&webcam),
            "YUYV 640x480; MJPEG 640x480, 1280x720"
        );
    }

    #[test]
    fn caps_of_libcamera_are_read() {
        gst::init().unwrap();
        let caps: gst::Caps = "image/jpeg, width=640, height=480; \
            video/x-raw, format=NV12, width=640, height=360; \
            video/x-raw, format=NV12, width=[320, 1920, 2], height=[180, 1080, 2]; \
            video/x-bayer, format=rggb10le, width=1920, height=1080; \
            video/x-raw, format=P010_10LE, width=640, height=360"
            .parse()
            .unwrap();
        let formats = formats_of(&caps);
        let names: Vec<_> = formats.iter().map(|one| one.format.as_str()).collect();
        assert_eq!(names, [MJPEG, "NV12", "rggb10le"]);
        assert_eq!(formats[1].sizes, [[640, 360].into()]);
        assert!(formats[1].has([322, 182].into()) && !formats[1].has([321, 182].into()));
        assert_eq!(formats[1].to_string(), "NV12 320x180 to 1920x1080");
    }
}
