//! Crop to tensor in one pass: squares of a camera picture, straight from its YUV planes to the layout a model wants.
//!
//! Nothing is converted that the model does not see: the planes are sampled bilinearly at the model's resolution, and
//! only those samples become colours. Luma and chroma are sampled each at their own true position, so that a crop at an
//! odd row has its colours where they belong. Several squares may share one input
//! ([`Placement`](crate::regions::Placement)).

mod colour;
mod crop;
mod kernels;
mod picture;
mod taps;

pub(crate) use kernels::will_read;

pub use colour::{Colour, Matrix, Range};
pub use crop::{Cropper, Shown};
pub use picture::{ChromaSite, Picture, PictureError, PixelFormat, Plane};

/// Where a tensor's channels lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Planes: all of the first channel, then all of the second.
    Nchw,
    /// Pixels: the channels of one pixel side by side.
    Nhwc,
}

/// Order of a tensor's channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelOrder {
    /// Red first.
    Rgb,
    /// Blue first.
    Bgr,
}

/// What one image of a model's input looks like. A value in the tensor is `colour (0..=255) * scale + bias`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TensorSpec {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// Where the channels lie.
    pub layout: Layout,
    /// Their order.
    pub order: ChannelOrder,
    /// Factor per channel, in the tensor's order.
    pub scale: [f32; 3],
    /// Summand per channel, in the tensor's order.
    pub bias: [f32; 3],
    /// Grey (0..=255) of what no picture covers.
    pub padding: u8,
}

impl TensorSpec {
    /// Values in one image.
    pub fn len(&self) -> usize {
        3 * self.width * self.height
    }

    /// The image has no pixel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Memory of one image, in the element type of the model's input.
#[derive(Debug)]
pub enum TensorMut<'a> {
    /// 32-bit floats.
    F32(&'a mut [f32]),
    /// 16-bit floats.
    F16(&'a mut [half::f16]),
    /// Bytes; values are rounded and cut to 0..=255.
    U8(&'a mut [u8]),
}

impl TensorMut<'_> {
    /// Values there is room for.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::F16(data) => data.len(),
            Self::U8(data) => data.len(),
        }
    }

    /// There is no room at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
