//! Brightness of a frame, wherever its format keeps it.

use crate::tensor::will_read;

/// Where a format keeps brightness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LumaLayout {
    /// One byte per pixel, `step` bytes apart, the first at `offset`: step 1 for GRAY8 and the Y plane of I420 or NV12, step
    /// 2 for YUY2 (offset 0) and UYVY (offset 1).
    Bytes {
        /// Bytes from one pixel to the next.
        step: usize,
        /// First byte.
        offset: usize,
    },
    /// Packed RGB, `step` bytes per pixel with red, green and blue at these bytes; brightness is computed as BT.601 does.
    Rgb {
        /// Bytes from one pixel to the next.
        step: usize,
        /// Byte of red.
        red: usize,
        /// Byte of green.
        green: usize,
        /// Byte of blue.
        blue: usize,
    },
}

impl LumaLayout {
    /// A plane of one byte per pixel.
    pub const PLANE: Self = Self::Bytes { step: 1, offset: 0 };

    fn step(self) -> usize {
        match self {
            Self::Bytes { step, .. } | Self::Rgb { step, .. } => step,
        }
    }

    /// Bytes of a pixel that are read, counted from its start.
    fn reach(self) -> usize {
        match self {
            Self::Bytes { offset, .. } => offset + 1,
            Self::Rgb {
                red, green, blue, ..
            } => red.max(green).max(blue) + 1,
        }
    }
}

/// A frame's plane with its brightness.
#[derive(Debug, Clone, Copy)]
pub struct Luma<'a> {
    data: &'a [u8],
    stride: usize,
    width: usize,
    height: usize,
    layout: LumaLayout,
}

/// A plane is too short for what it is said to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "picture of {width}x{height} with a stride of {stride} bytes needs {needed} bytes, the plane has {found}"
)]
pub struct PlaneError {
    width: usize,
    height: usize,
    stride: usize,
    needed: usize,
    found: usize,
}

impl<'a> Luma<'a> {
    /// `height` rows of `width` pixels, `stride` bytes apart.
    pub fn new(
        data: &'a [u8],
        stride: usize,
        width: usize,
        height: usize,
        layout: LumaLayout,
    ) -> Result<Self, PlaneError> {
        let row = width
            .saturating_sub(1)
            .saturating_mul(layout.step())
            .saturating_add(layout.reach());
        let needed = height
            .saturating_sub(1)
            .saturating_mul(stride)
            .saturating_add(row);
        if width == 0 || height == 0 || needed > data.len() {
            return Err(PlaneError {
                width,
                height,
                stride,
                needed,
                found: data.len(),
            });
        }
        Ok(Self {
            data,
            stride,
            width,
            height,
            layout,
        })
    }

    /// Pixels across and down.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// A row will be read soon.
    pub(super) fn ask_for(&self, y: usize) {
        let row = &self.data[(y * self.stride).min(self.data.len())..];
        will_read(&row[..row.len().min(self.width * self.layout.step())]);
    }

    /// Brightness at these columns of a row. Columns must be inside the picture.
    pub(super) fn sample(&self, y: usize, columns: &[u32], out: &mut [u8]) {
        let row = &self.data[y * self.stride..];
        match self.layout {
            LumaLayout::Bytes { step: 1, offset: 0 } => {
                for (out, x) in out.iter_mut().zip(columns) {
                    *out = row[*x as usize];
                }
            }
            LumaLayout::Bytes { step, offset } => {
                for (out, x) in out.iter_mut().zip(columns) {
                    *out = row[*x as usize * step + offset];
                }
            }
            LumaLayout::Rgb {
                step,
                red,
                green,
                blue,
            } => {
                for (out, x) in out.iter_mut().zip(columns) {
                    let pixel = &row[*x as usize * step..];
                    let at = |i: usize| u32::from(pixel[i]);
                    let y = 66 * at(red) + 129 * at(green) + 25 * at(blue) + 128;
                    *out = (y >> 8) as u8 + 16;
                }
            }
        }
    }
}
