//! A camera picture as planes with strides, checked once so that nothing after it can read outside.

use super::Colour;

/// How a picture's bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PixelFormat {
    /// Planes Y, U, V; chroma halved both ways.
    I420,
    /// Plane Y, plane of U V pairs; chroma halved both ways.
    Nv12,
    /// Plane Y, plane of V U pairs; chroma halved both ways.
    Nv21,
    /// One plane Y U Y V; chroma halved across.
    Yuy2,
    /// One plane U Y V Y; chroma halved across.
    Uyvy,
    /// Plane Y alone.
    Gray8,
    /// One plane R G B.
    Rgb,
    /// One plane B G R.
    Bgr,
    /// One plane R G B and a byte that is ignored (also RGBA).
    Rgbx,
    /// One plane B G R and a byte that is ignored (also BGRA).
    Bgrx,
}

impl PixelFormat {
    /// Planes of the format.
    pub fn planes(self) -> usize {
        match self {
            Self::I420 => 3,
            Self::Nv12 | Self::Nv21 => 2,
            _ => 1,
        }
    }

    /// Bytes a row of plane `plane` needs for `width` pixels, and rows for `height`.
    #[inline]
    fn extent(self, plane: usize, width: usize, height: usize) -> (usize, usize) {
        let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
        match (self, plane) {
            (Self::I420, 1 | 2) => (half_width, half_height),
            (Self::Nv12 | Self::Nv21, 1) => (2 * half_width, half_height),
            (Self::Yuy2 | Self::Uyvy, _) => (4 * half_width, height),
            (Self::Rgb | Self::Bgr, _) => (3 * width, height),
            (Self::Rgbx | Self::Bgrx, _) => (4 * width, height),
            _ => (width, height),
        }
    }
}

/// One plane of a picture.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plane<'a> {
    /// Its bytes.
    pub data: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
}

/// Where chroma samples lie between the luma samples across. Down they lie in the middle in every stream a camera sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChromaSite {
    /// Over the left one of the two luma samples (MPEG-2, H.264, H.265).
    #[default]
    Left,
    /// In the middle (JPEG, MPEG-1).
    Centre,
}

/// A picture whose planes hold what its size promises.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    format: PixelFormat,
    width: usize,
    height: usize,
    planes: [Plane<'a>; 3],
    colour: Colour,
    site: ChromaSite,
}

/// A plane is too small for the picture it should hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// No pixel at all, or more than any sensor has.
    #[error("a picture of {width}x{height} pixels: each side has to be within 1..=32768")]
    Size {
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
    },
    /// Fewer planes than the format has.
    #[error("{format:?} has {expected} planes, got {found}")]
    Planes {
        /// The format.
        format: PixelFormat,
        /// Planes it has.
        expected: usize,
        /// Planes given.
        found: usize,
    },
    /// A plane's stride or length does not fit its size.
    #[error(
        "plane {plane} of a {width}x{height} {format:?} picture has {found} bytes with stride {stride}, \
         {rows} rows of {row} bytes are needed"
    )]
    Plane {
        /// The format.
        format: PixelFormat,
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
        /// Number of the plane.
        plane: usize,
        /// Bytes it has.
        found: usize,
        /// Its stride.
        stride: usize,
        /// Bytes a row needs.
        row: usize,
        /// Rows needed.
        rows: usize,
    },
}

impl<'a> Picture<'a> {
    /// A picture from its planes; refused if one of them is too small.
    pub fn new(
        format: PixelFormat,
        width: usize,
        height: usize,
        planes: &[Plane<'a>],
        colour: Colour,
        site: ChromaSite,
    ) -> Result<Self, PictureError> {
        if !(1..=32768).contains(&width) || !(1..=32768).contains(&height) {
            return Err(PictureError::Size { width, height });
        }
        if planes.len() < format.planes() {
            return Err(PictureError::Planes {
                format,
                expected: format.planes(),
                found: planes.len(),
            });
        }
        let mut kept = [Plane::default(); 3];
        for (index, plane) in planes.iter().take(format.planes()).enumerate() {
            let (row, rows) = format.extent(index, width, height);
            let needed = plane
                .stride
                .checked_mul(rows - 1)
                .and_then(|bytes| bytes.checked_add(row));
            if plane.stride < row || needed.is_none_or(|needed| needed > plane.data.len()) {
                return Err(PictureError::Plane {
                    format,
                    width,
                    height,
                    plane: index,
                    found: plane.data.len(),
                    stride: plane.stride,
                    row,
                    rows,
                });
            }
            kept[index] = *plane;
        }
        Ok(Self {
            format,
            width,
            height,
            planes: kept,
            colour,
            site,
        })
    }

    /// How the bytes lie.
    pub fn format(&self) -> PixelFormat {
        self.format
    }

    /// Pixels across.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pixels down.
    pub fn height(&self) -> usize {
        self.height
    }

    /// What the numbers mean.
    pub fn colour(&self) -> Colour {
        self.colour
    }

    /// Where chroma lies.
    pub fn site(&self) -> ChromaSite {
        self.site
    }

    /// The bytes of row `row` of plane `plane`.
    #[inline]
    pub(super) fn row(&self, plane: usize, row: usize) -> &'a [u8] {
        let (bytes, _) = self.format.extent(plane, self.width, self.height);
        let Plane { data, stride } = self.planes[plane];
        &data[row * stride..][..bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_that_are_too_small_are_refused_with_their_numbers() {
        let data = [0; 16 * 8];
        let plane = |len: usize, stride| Plane {
            data: &data[..len],
            stride,
        };
        let ok = [plane(16 * 8, 16), plane(8 * 4, 8), plane(8 * 4, 8)];
        let make = |planes: &[Plane<'_>], w, h| {
            Picture::new(
                PixelFormat::I420,
                w,
                h,
                planes,
                Colour::default(),
                ChromaSite::Left,
            )
            .map(|p| p.width())
        };
        assert_eq!(make(&ok, 16, 8), Ok(16));
        assert_eq!(make(&ok, 15, 7), Ok(15));
        assert!(make(&ok[..2], 16, 8).is_err());
        assert!(make(&ok, 18, 8).is_err());
        assert!(make(&ok, 16, 9).is_err());
        assert!(make(&ok, 0, 8).is_err());
        let error = make(&[plane(127, 16), ok[1], ok[2]], 16, 8).unwrap_err();
        assert!(
            error.to_string().contains("127 bytes with stride 16"),
            "{error}"
        );
        let overflow = [plane(128, usize::MAX), ok[1], ok[2]];
        assert!(make(&overflow, 16, 8).is_err());
    }
}
