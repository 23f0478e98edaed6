//! What holds for a run of frames: their caps and the latency of the pipeline that made them.

use std::str::FromStr;

use super::{Get, Put, WIRE_VERSION, WireError};

/// Sent whenever it changes; each frame belongs to the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// Caps of the frames.
    pub caps: gst::Caps,
    /// How long after its timestamp a frame reaches the sink at the earliest, by the writer's latency query.
    pub min_latency: gst::ClockTime,
}

impl StreamInfo {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        let mut put = Put(&mut out);
        put.u16(WIRE_VERSION);
        put.u64(self.min_latency.nseconds());
        // Caps of more than 4 GiB do not exist.
        let _ = put.blob(self.caps.to_string().as_bytes());
        out
    }

    /// From bytes that may be anything.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut from = Get(bytes);
        let version = from.u16()?;
        if version != WIRE_VERSION {
            return Err(WireError::Version(version));
        }
        let min_latency = gst::ClockTime::try_from(from.u64()?).map_err(|_| WireError::Value)?;
        let caps = std::str::from_utf8(from.blob()?).map_err(|_| WireError::Text)?;
        if caps.contains('\0') {
            return Err(WireError::Text);
        }
        let caps = gst::Caps::from_str(caps).map_err(|_| WireError::Value)?;
        if !caps.is_fixed() {
            return Err(WireError::Value);
        }
        Ok(Self { caps, min_latency })
    }
}
