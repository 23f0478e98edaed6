//! From YUV to RGB: the numbers of BT.601 and BT.709, limited and full range.

/// Which primaries the luma was weighted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Matrix {
    /// BT.601: standard definition, and what most cameras' JPEG-minded firmware says.
    #[default]
    Bt601,
    /// BT.709: high definition.
    Bt709,
}

/// Which codes are black and white.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Range {
    /// 16..=235 for luma, 16..=240 for chroma.
    #[default]
    Limited,
    /// 0..=255.
    Full,
}

/// How a YUV picture's numbers mean colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Colour {
    /// Weighting of the luma.
    pub matrix: Matrix,
    /// Codes of black and white.
    pub range: Range,
}

/// `rgb = y * luma + (u - 128, v - 128) * chroma + offset`, all in 0..=255.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coefficients {
    /// Factor of y for all three.
    pub luma: f32,
    /// Factors of v in red and green.
    pub v: [f32; 2],
    /// Factors of u in green and blue.
    pub u: [f32; 2],
    /// Luma code of black.
    pub black: f32,
}

impl Colour {
    pub(super) fn coefficients(self) -> Coefficients {
        let (kr, kb) = match self.matrix {
            Matrix::Bt601 => (0.299_f32, 0.114_f32),
            Matrix::Bt709 => (0.2126, 0.0722),
        };
        let kg = 1.0 - kr - kb;
        let (luma, chroma, black) = match self.range {
            Range::Limited => (255.0 / 219.0, 255.0 / 224.0, 16.0),
            Range::Full => (1.0, 1.0, 0.0),
        };
        let (red, blue) = (2.0 * (1.0 - kr) * chroma, 2.0 * (1.0 - kb) * chroma);
        Coefficients {
            luma,
            v: [red, -red * kr / kg],
            u: [-blue * kb / kg, blue],
            black,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rgb(colour: Colour, y: f32, u: f32, v: f32) -> [f32; 3] {
        let c = colour.coefficients();
        let (y, u, v) = ((y - c.black) * c.luma, u - 128.0, v - 128.0);
        [y + c.v[0] * v, y + c.u[0] * u + c.v[1] * v, y + c.u[1] * u]
    }

    #[test]
    fn pure_red_of_each_standard_comes_out_red() {
        for (matrix, range, yuv) in [
            (Matrix::Bt601, Range::Limited, [81.0, 90.0, 240.0]),
            (Matrix::Bt601, Range::Full, [76.0, 85.0, 255.0]),
            (Matrix::Bt709, Range::Limited, [63.0, 102.0, 240.0]),
            (Matrix::Bt709, Range::Full, [54.0, 99.0, 255.0]),
        ] {
            let [r, g, b] = rgb(Colour { matrix, range }, yuv[0], yuv[1], yuv[2]);
            assert!((r - 255.0).abs() < 2.5, "{matrix:?} {range:?}: red {r}");
            assert!(
                g.abs() < 2.5 && b.abs() < 2.5,
                "{matrix:?} {range:?}: {g} {b}"
            );
        }
    }
}
