//! [`FrameSize`]: the one type for the size of a frame.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{BBox, PixelBox};

/// Size of a frame in pixels; written `[width, height]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "[u32; 2]", into = "[u32; 2]")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "[u32; 2]"))]
pub struct FrameSize {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

impl FrameSize {
    /// A frame of this size.
    #[inline]
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// The frame is no larger than `other` in either direction.
    #[inline]
    pub const fn fits_into(self, other: Self) -> bool {
        self.width <= other.width && self.height <= other.height
    }

    /// Width and height for arithmetic with boxes in whole pixels. Sizes beyond `i32` do not occur in video; they
    /// saturate.
    #[inline]
    pub fn sides(self) -> (i32, i32) {
        let side = |pixels: u32| i32::try_from(pixels).unwrap_or(i32::MAX);
        (side(self.width), side(self.height))
    }

    /// Width and height for arithmetic with [`BBox`].
    #[inline]
    pub const fn real(self) -> (f32, f32) {
        (self.width as f32, self.height as f32)
    }

    /// The whole frame as a box in pixels.
    #[inline]
    pub fn bounds(self) -> PixelBox {
        let (width, height) = self.sides();
        PixelBox::new(0, 0, width, height)
    }

    /// A box in pixels of this frame as fractions of it.
    #[inline]
    pub fn to_fractions(self, pixels: &BBox) -> BBox {
        let (width, height) = (self.width.max(1) as f32, self.height.max(1) as f32);
        pixels.scaled(1.0 / width, 1.0 / height)
    }

    /// A box in fractions of this frame in pixels.
    #[inline]
    pub fn to_pixels(self, fractions: &BBox) -> BBox {
        let (width, height) = self.real();
        fractions.scaled(width, height)
    }
}

impl From<[u32; 2]> for FrameSize {
    fn from([width, height]: [u32; 2]) -> Self {
        Self { width, height }
    }
}

impl From<FrameSize> for [u32; 2] {
    fn from(size: FrameSize) -> Self {
        [size.width, size.height]
    }
}

impl fmt::Display for FrameSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_and_fractions_convert_both_ways() {
        let frame = FrameSize::new(640, 360);
        let pixels = BBox::new(64.0, 36.0, 320.0, 360.0);
        let fractions = frame.to_fractions(&pixels);
        assert_eq!(fractions, BBox::new(0.1, 0.1, 0.5, 1.0));
        assert_eq!(frame.to_pixels(&fractions), pixels);
        assert_eq!(frame.to_string(), "640x360");
    }

    #[test]
    fn a_size_beyond_i32_saturates() {
        assert_eq!(FrameSize::new(u32::MAX, 2).sides(), (i32::MAX, 2));
    }
}
