//! One access unit of an encoded stream.

use crate::capture::StreamId;

/// One access unit. Clones share the data.
#[derive(Debug, Clone)]
pub struct Packet {
    /// The stream of the camera it belongs to.
    pub stream: StreamId,
    /// Rises with each change of codec or picture size and with each step of the source's clock. Packets of different
    /// versions cannot be in one file.
    pub version: u32,
    /// The data: length-prefixed NAL units with the parameter sets in band at each key frame.
    pub buffer: gst::Buffer,
    /// Format of the data.
    pub caps: gst::Caps,
    /// Presentation time, a running time of the camera's pipeline.
    pub pts: gst::ClockTime,
    /// Decoding time, on the same clock. Rises strictly, and never exceeds `pts`.
    pub dts: gst::ClockTime,
    /// Time of capture in nanoseconds of CLOCK_MONOTONIC.
    pub captured: u64,
    /// Decoding can begin here.
    pub is_key: bool,
}

/// The properties of a format that begin a new version when they change. Other parameter sets of the same size do not:
/// they are in band.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format {
    pub media_type: String,
    width: Option<i32>,
    height: Option<i32>,
}

impl Format {
    pub fn of(caps: &gst::CapsRef) -> Option<Self> {
        let structure = caps.structure(0)?;
        Some(Self {
            media_type: structure.name().to_string(),
            width: structure.get("width").ok(),
            height: structure.get("height").ok(),
        })
    }

    /// Width and height.
    pub fn size(&self) -> Option<(u32, u32)> {
        let (width, height) = self.width.zip(self.height)?;
        Some((u32::try_from(width).ok()?, u32::try_from(height).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codec_and_size_make_a_version_and_parameter_sets_do_not() {
        gst::init().unwrap();
        let format = |caps: &str| Format::of(&caps.parse::<gst::Caps>().unwrap()).unwrap();
        let first = format("video/x-h264,width=640,height=360,codec_data=(buffer)01640028");
        let other_sets = format("video/x-h264,width=640,height=360,codec_data=(buffer)0164002a");
        assert_eq!(first, other_sets);
        assert_ne!(first, format("video/x-h265,width=640,height=360"));
        assert_ne!(first, format("video/x-h264,width=640,height=480"));
    }
}
