//! Names of formats and colours, libcamera's and GStreamer's.

use super::Refusal;
use crate::nearest::nearest;

/// How a format keeps its colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    /// Red, green, blue (or grey): no subsampling.
    Rgb,
    /// One colour sample per pixel.
    Full,
    /// One colour sample for two pixels of a row: the width must be even.
    HalfWidth,
    /// One colour sample for two by two pixels: both must be even.
    Quarter,
}

/// A processed format.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Format {
    /// libcamera's name.
    pub libcamera: &'static str,
    /// GStreamer's name.
    pub gst: &'static str,
    pub colours: Colours,
}

const fn format(libcamera: &'static str, gst: &'static str, colours: Colours) -> Format {
    Format {
        libcamera,
        gst,
        colours,
    }
}

/// What `libcamerasrc` maps. libcamera names RGB formats by the bits of a word and GStreamer by the bytes in memory, so
/// libcamera's RGB888 is GStreamer's BGR.
const FORMATS: [Format; 24] = [
    format("YUV420", "I420", Colours::Quarter),
    format("YVU420", "YV12", Colours::Quarter),
    format("NV12", "NV12", Colours::Quarter),
    format("NV21", "NV21", Colours::Quarter),
    format("YUV422", "Y42B", Colours::HalfWidth),
    format("NV16", "NV16", Colours::HalfWidth),
    format("NV61", "NV61", Colours::HalfWidth),
    format("YUYV", "YUY2", Colours::HalfWidth),
    format("YVYU", "YVYU", Colours::HalfWidth),
    format("UYVY", "UYVY", Colours::HalfWidth),
    format("VYUY", "VYUY", Colours::HalfWidth),
    format("YUV444", "Y444", Colours::Full),
    format("NV24", "NV24", Colours::Full),
    format("RGB888", "BGR", Colours::Rgb),
    format("BGR888", "RGB", Colours::Rgb),
    format("XRGB8888", "BGRx", Colours::Rgb),
    format("XBGR8888", "RGBx", Colours::Rgb),
    format("RGBX8888", "xBGR", Colours::Rgb),
    format("BGRX8888", "xRGB", Colours::Rgb),
    format("ARGB8888", "BGRA", Colours::Rgb),
    format("ABGR8888", "RGBA", Colours::Rgb),
    format("RGBA8888", "ABGR", Colours::Rgb),
    format("BGRA8888", "ARGB", Colours::Rgb),
    format("R8", "GRAY8", Colours::Full),
];

/// A processed format by either name.
pub(super) fn processed(key: &str, name: &str) -> Result<&'static Format, Refusal> {
    let by = |of: fn(&Format) -> &str| {
        FORMATS
            .iter()
            .find(|known| of(known).eq_ignore_ascii_case(name))
    };
    by(|f| f.libcamera)
        .or_else(|| by(|f| f.gst))
        .ok_or_else(|| {
            if bayer(name).is_some() {
                return Refusal::new(
                    key,
                    format!("{key}: {name} is a raw format, which only the raw stream can have"),
                );
            }
            let known: Vec<&str> = FORMATS.iter().map(|known| known.libcamera).collect();
            let advice = nearest(name, &known).map_or_else(
                || format!("expected one of {}", known.join(", ")),
                |near| format!("did you mean {near}?"),
            );
            Refusal::new(key, format!("{key}: format {name} is not known, {advice}"))
        })
}

/// A raw format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bayer {
    /// GStreamer's name.
    pub gst: String,
    /// What follows libcamera's name of the unpacked format, `CSI2P` for instance.
    pub packing: Option<String>,
    pub bits: u32,
}

const ORDERS: [&str; 4] = ["bggr", "gbrg", "grbg", "rggb"];
const BITS: [u32; 5] = [8, 10, 12, 14, 16];

/// GStreamer's name of a raw format.
fn bayer_name(order: &str, bits: u32) -> String {
    match bits {
        8 => order.to_owned(),
        _ => format!("{order}{bits}le"),
    }
}

/// A raw format by libcamera's name (`SRGGB10_CSI2P`) or GStreamer's (`rggb10le`).
pub(super) fn bayer(name: &str) -> Option<Bayer> {
    let lower = name.to_ascii_lowercase();
    let (plain, packing) = match lower.split_once('_') {
        Some((plain, packing)) => (plain, Some(packing.to_ascii_uppercase())),
        None => (lower.as_str(), None),
    };
    for order in ORDERS {
        for bits in BITS {
            let gst = bayer_name(order, bits);
            let same = plain == format!("s{order}{bits}") || (packing.is_none() && plain == gst);
            if same {
                return Some(Bayer { gst, packing, bits });
            }
        }
    }
    None
}

/// All raw formats by GStreamer's names, those that lose nothing first; 8 bits come last. With `bits`, those of that
/// depth.
pub(super) fn all_bayer(bits: Option<u32>) -> Vec<String> {
    let depths = bits.map_or_else(|| vec![12, 10, 14, 16, 8], |bits| vec![bits]);
    depths
        .into_iter()
        .flat_map(|bits| ORDERS.map(|order| bayer_name(order, bits)))
        .collect()
}

/// Colorimetry of a raw stream: libcamera's `ColorSpace::Raw`.
pub(super) const RAW_COLORIMETRY: &str = "1:1:1:0";

/// Colour spaces of YUV formats, and the caps' colorimetry of each.
pub(super) const COLOUR_SPACES: [(&str, &str); 4] = [
    ("sYCC", "1:4:7:1"),
    ("Smpte170m", "2:4:5:4"),
    ("Rec709", "bt709"),
    ("Rec2020", "2:6:5:7"),
];

/// The caps' colorimetry of a colour space, as `libcamerasrc` spells it when it answers: with another spelling of the
/// same thing the caps would not fit. Smpte170m is therefore not `bt601`, whose transfer function older versions
/// answer with that of bt709; RGB keeps primaries and transfer function, has no matrix and the full range.
pub(super) fn colorimetry(name: &str, rgb: bool) -> Result<&'static str, Refusal> {
    const AS_RGB: [&str; 4] = ["sRGB", "1:1:5:4", "1:1:5:1", "1:1:5:7"];
    COLOUR_SPACES
        .iter()
        .zip(AS_RGB)
        .find(|((known, _), _)| known.eq_ignore_ascii_case(name))
        .map(|((_, yuv), as_rgb)| if rgb { as_rgb } else { *yuv })
        .ok_or_else(|| {
            let known = COLOUR_SPACES.map(|(known, _)| known).join(", ");
            Refusal::new(
                "colour_space",
                format!("colour_space {name} is not known, expected one of {known}"),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    #[test]
    fn every_format_is_one_gstreamer_knows_with_the_subsampling_it_is_given() {
        gst::init().unwrap();
        for format in &FORMATS {
            let known = gst_video::VideoFormat::from_string(format.gst);
            let info = gst_video::VideoFormatInfo::from_format(known);
            assert_ne!(known, gst_video::VideoFormat::Unknown, "{format:?}");
            assert_eq!(info.is_rgb(), format.colours == Colours::Rgb, "{format:?}");
            let halves = (
                info.w_sub().iter().any(|sub| *sub > 0),
                info.h_sub().iter().any(|sub| *sub > 0),
            );
            let expected = match format.colours {
                Colours::Rgb | Colours::Full => (false, false),
                Colours::HalfWidth => (true, false),
                Colours::Quarter => (true, true),
            };
            assert_eq!(halves, expected, "{format:?}");
            assert_eq!(processed("f", format.libcamera).unwrap(), format);
        }
    }

    #[test]
    fn rgb_of_libcamera_is_bgr_in_memory() {
        assert_eq!(processed("format", "RGB888").unwrap().gst, "BGR");
        assert_eq!(processed("format", "XRGB8888").unwrap().gst, "BGRx");
        assert_eq!(processed("format", "I420").unwrap().libcamera, "YUV420");
    }

    #[test]
    fn unknown_formats_are_refused_by_name() {
        for (name, said) in [
            ("YUV402", "did you mean YUV420?"),
            ("SRGGB10", "a raw format"),
            ("jpeg2000", "expected one of YUV420, "),
        ] {
            let refusal = processed("main.format", name).unwrap_err();
            assert!(refusal.reason.contains(said), "{refusal}");
            assert!(refusal.reason.starts_with("main.format: "), "{refusal}");
        }
    }

    #[test]
    fn raw_formats_have_gstreamers_names() {
        for (name, gst, packing) in [
            ("SRGGB10_CSI2P", "rggb10le", Some("CSI2P")),
            ("SRGGB10", "rggb10le", None),
            ("SBGGR8", "bggr", None),
            ("SGRBG12", "grbg12le", None),
            ("rggb16le", "rggb16le", None),
            ("gbrg", "gbrg", None),
        ] {
            let bayer = bayer(name).unwrap();
            assert_eq!(
                (bayer.gst.as_str(), bayer.packing.as_deref()),
                (gst, packing)
            );
        }
        for name in ["SRGGB11", "RGGB10", "rggb10le_x", "", "S"] {
            assert_eq!(bayer(name), None, "{name}");
        }
        assert_eq!(all_bayer(None).len(), 20);
        assert_eq!(all_bayer(Some(8)), ORDERS);
    }

    #[test]
    fn colorimetry_is_spelt_as_gstreamer_spells_it_back() {
        gst::init().unwrap();
        for name in ["sYCC", "smpte170m", "Rec709", "rec2020"] {
            for rgb in [false, true] {
                let text = colorimetry(name, rgb).unwrap();
                let parsed = gst_video::VideoColorimetry::from_str(text).unwrap();
                assert_eq!(parsed.to_string(), text, "{name}");
                let matrix = parsed.matrix() == gst_video::VideoColorMatrix::Rgb;
                assert_eq!(matrix, rgb, "{name}");
            }
        }
        let refusal = colorimetry("Rec601", false).unwrap_err();
        assert!(refusal.reason.contains("expected one of sYCC"), "{refusal}");
    }
}
