//! Painting with smooth edges into I420 planes. Shapes are in luma pixels; the chroma planes are painted with the
//! same shapes at half their size.

/// A writable I420 picture: three planes and their strides in bytes.
#[derive(Debug)]
pub struct I420Mut<'a> {
    /// Width of the picture, even.
    pub width: usize,
    /// Height of the picture, even.
    pub height: usize,
    /// Y, U and V. The last row may be shorter than its stride.
    pub planes: [&'a mut [u8]; 3],
    /// Bytes from row to row.
    pub strides: [usize; 3],
}

impl I420Mut<'_> {
    /// Width and height of a plane.
    pub fn plane_size(&self, plane: usize) -> (usize, usize) {
        if plane == 0 {
            (self.width, self.height)
        } else {
            (self.width / 2, self.height / 2)
        }
    }

    /// One row of a plane.
    pub fn row(&mut self, plane: usize, y: usize) -> &mut [u8] {
        let (width, _) = self.plane_size(plane);
        &mut self.planes[plane][y * self.strides[plane]..][..width]
    }
}

/// A colour in BT.601 video range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Colour {
    pub y: f32,
    pub u: f32,
    pub v: f32,
}

impl Colour {
    pub fn rgb(r: f32, g: f32, b: f32) -> Self {
        Self {
            y: 16.0 + 0.257 * r + 0.504 * g + 0.098 * b,
            u: 128.0 - 0.148 * r - 0.291 * g + 0.439 * b,
            v: 128.0 + 0.439 * r - 0.368 * g - 0.071 * b,
        }
    }

    pub fn hex(rgb: u32) -> Self {
        Self::rgb(
            (rgb >> 16 & 255) as f32,
            (rgb >> 8 & 255) as f32,
            (rgb & 255) as f32,
        )
    }

    /// Lighter or darker by a factor; colour fades with the light.
    pub fn lit(self, factor: f32) -> Self {
        let fade = factor.min(1.3);
        Self {
            y: 16.0 + (self.y - 16.0) * factor,
            u: 128.0 + (self.u - 128.0) * fade,
            v: 128.0 + (self.v - 128.0) * fade,
        }
    }
}

/// What a shape is painted with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    pub colour: Colour,
    /// Grey levels between the left and the right edge of the shape: light falls from the left.
    pub shade: f32,
    /// Height of one dark and one light stripe in pixels, 0 for none.
    pub stripe: f32,
    /// How much covers what is behind, 0..=1.
    pub opacity: f32,
    /// Pixels over which the edge fades, at least 1.
    pub soft: f32,
}

impl Paint {
    pub fn plain(colour: Colour) -> Self {
        Self {
            colour,
            shade: 0.0,
            stripe: 0.0,
            opacity: 1.0,
            soft: 1.0,
        }
    }

    pub fn shaded(colour: Colour, shade: f32) -> Self {
        Self {
            shade,
            ..Self::plain(colour)
        }
    }
}

/// An extent in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Extent {
    pub x1: f32,
    pub y1: f32,
    pub x2: f32,
    pub y2: f32,
}

impl Extent {
    pub const EMPTY: Self = Self {
        x1: f32::MAX,
        y1: f32::MAX,
        x2: f32::MIN,
        y2: f32::MIN,
    };

    pub fn join(self, other: Self) -> Self {
        Self {
            x1: self.x1.min(other.x1),
            y1: self.y1.min(other.y1),
            x2: self.x2.max(other.x2),
            y2: self.y2.max(other.y2),
        }
    }
}

/// Something that can be painted.
pub(super) trait Shape {
    /// What it covers.
    fn extent(&self) -> Extent;
    /// Distance of a point to the edge, positive inside. Need not be exact far from the edge.
    fn depth(&self, x: f32, y: f32) -> f32;
}

/// A line with round ends of different thickness: limbs, heads (both ends alike), lamp posts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limb {
    pub a: (f32, f32),
    pub b: (f32, f32),
    pub ra: f32,
    pub rb: f32,
}

impl Shape for Limb {
    fn extent(&self) -> Extent {
        let Self { a, b, ra, rb } = *self;
        Extent {
            x1: (a.0 - ra).min(b.0 - rb),
            y1: (a.1 - ra).min(b.1 - rb),
            x2: (a.0 + ra).max(b.0 + rb),
            y2: (a.1 + ra).max(b.1 + rb),
        }
    }

    fn depth(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = (self.b.0 - self.a.0, self.b.1 - self.a.1);
        let (px, py) = (x - self.a.0, y - self.a.1);
        let per_length = 1.0 / (dx * dx + dy * dy).max(1e-6);
        let along = ((px * dx + py * dy) * per_length).clamp(0.0, 1.0);
        let (ex, ey) = (px - along * dx, py - along * dy);
        self.ra + (self.rb - self.ra) * along - (ex * ex + ey * ey).sqrt()
    }
}

/// An ellipse with level axes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ellipse {
    pub centre: (f32, f32),
    pub rx: f32,
    pub ry: f32,
}

impl Shape for Ellipse {
    fn extent(&self) -> Extent {
        let ((x, y), rx, ry) = (self.centre, self.rx, self.ry);
        Extent {
            x1: x - rx,
            y1: y - ry,
            x2: x + rx,
            y2: y + ry,
        }
    }

    fn depth(&self, x: f32, y: f32) -> f32 {
        let (nx, ny) = ((x - self.centre.0) / self.rx, (y - self.centre.1) / self.ry);
        (1.0 - (nx * nx + ny * ny).sqrt()) * self.rx.min(self.ry)
    }
}

/// A convex polygon, corners clockwise on the screen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Convex<const N: usize> {
    corners: [(f32, f32); N],
    /// Per edge: the inward normal and its offset.
    edges: [(f32, f32, f32); N],
}

impl<const N: usize> Convex<N> {
    pub fn new(corners: [(f32, f32); N]) -> Self {
        let mut edges = [(0.0, 0.0, 0.0); N];
        for (i, edge) in edges.iter_mut().enumerate() {
            let (a, b) = (corners[i], corners[(i + 1) % N]);
            let (dx, dy) = (b.0 - a.0, b.1 - a.1);
            let length = (dx * dx + dy * dy).sqrt().max(1e-6);
            let (nx, ny) = (-dy / length, dx / length);
            *edge = (nx, ny, -(nx * a.0 + ny * a.1));
        }
        Self { corners, edges }
    }
}

impl Convex<4> {
    pub fn rect(x1: f32, y1: f32, x2: f32, y2: f32) -> Self {
        Self::new([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
    }
}

impl<const N: usize> Shape for Convex<N> {
    fn extent(&self) -> Extent {
        self.corners.iter().fold(Extent::EMPTY, |extent, &(x, y)| {
            extent.join(Extent {
                x1: x,
                y1: y,
                x2: x,
                y2: y,
            })
        })
    }

    fn depth(&self, x: f32, y: f32) -> f32 {
        self.edges.iter().fold(f32::MAX, |least, (nx, ny, offset)| {
            least.min(nx * x + ny * y + offset)
        })
    }
}

/// Paints `shape` into all three planes.
pub(super) fn fill(picture: &mut I420Mut<'_>, shape: &impl Shape, paint: &Paint) {
    let extent = shape.extent();
    let values = [paint.colour.y, paint.colour.u, paint.colour.v];
    for (plane, value) in values.into_iter().enumerate() {
        let scale = if plane == 0 { 1.0 } else { 2.0 };
        let (width, height) = picture.plane_size(plane);
        let (first_x, end_x) = span(extent.x1, extent.x2, scale, paint.soft, width);
        let (first_y, end_y) = span(extent.y1, extent.y2, scale, paint.soft, height);
        let stripes = plane == 0 && paint.stripe > 0.0;
        let slope = if plane == 0 {
            -paint.shade / (extent.x2 - extent.x1).max(1.0)
        } else {
            0.0
        };
        let middle = (extent.x1 + extent.x2) / 2.0;
        let sharpness = 1.0 / (scale * paint.soft);
        // A hard edge is smoothed to both sides, a soft one fades inwards.
        let bias = if paint.soft > 1.0 { 0.0 } else { 0.5 };
        for y in first_y..end_y {
            let py = (y as f32 + 0.5) * scale;
            let mut base = value;
            if stripes && ((py - extent.y1) / paint.stripe).fract() > 0.5 {
                base -= 38.0;
            }
            let row = picture.row(plane, y);
            for (x, pixel) in (first_x..end_x).zip(&mut row[first_x..end_x]) {
                let px = (x as f32 + 0.5) * scale;
                // No branch: a row is painted several pixels at a time.
                let cover =
                    (shape.depth(px, py) * sharpness + bias).clamp(0.0, 1.0) * paint.opacity;
                let behind = f32::from(*pixel);
                *pixel = (behind + (base + slope * (px - middle) - behind) * cover + 0.5) as u8;
            }
        }
    }
}

/// Pixels of a plane that lie between two luma coordinates, the fading edge included.
fn span(low: f32, high: f32, scale: f32, soft: f32, size: usize) -> (usize, usize) {
    let margin = if soft > 1.0 { 0.0 } else { 0.5 };
    let first = ((low - margin) / scale).floor().max(0.0) as usize;
    let end = ((high + margin) / scale + 1.0)
        .ceil()
        .clamp(0.0, size as f32) as usize;
    (first.min(end), end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn painted(shape: &impl Shape) -> (Vec<u8>, Vec<u8>) {
        let (mut y, mut u, mut v) = (vec![16; 64 * 64], vec![128; 32 * 32], vec![128; 32 * 32]);
        let mut picture = I420Mut {
            width: 64,
            height: 64,
            planes: [&mut y, &mut u, &mut v],
            strides: [64, 32, 32],
        };
        fill(
            &mut picture,
            shape,
            &Paint::plain(Colour {
                y: 216.0,
                u: 28.0,
                v: 228.0,
            }),
        );
        (y, u)
    }

    /// Area in luma pixels, from how far each pixel went towards the paint.
    fn areas((y, u): (Vec<u8>, Vec<u8>)) -> (f32, f32) {
        let luma: f32 = y.iter().map(|&p| (f32::from(p) - 16.0) / 200.0).sum();
        let chroma: f32 = u.iter().map(|&p| (128.0 - f32::from(p)) / 100.0).sum();
        (luma, chroma * 4.0)
    }

    #[test]
    fn shapes_cover_their_area_in_every_plane() {
        let cases: [(&str, f32, (f32, f32)); 3] = [
            (
                "circle",
                100.0 * std::f32::consts::PI,
                areas(painted(&Ellipse {
                    centre: (30.0, 31.5),
                    rx: 10.0,
                    ry: 10.0,
                })),
            ),
            (
                "rectangle",
                200.0,
                areas(painted(&Convex::rect(10.0, 12.0, 30.0, 22.0))),
            ),
            (
                "limb",
                16.0 * std::f32::consts::PI + 8.0 * 20.0,
                areas(painted(&Limb {
                    a: (20.0, 20.0),
                    b: (40.0, 20.0),
                    ra: 4.0,
                    rb: 4.0,
                })),
            ),
        ];
        for (name, expected, (luma, chroma)) in cases {
            assert!(
                (luma - expected).abs() < expected * 0.05,
                "{name}: {luma} of {expected}"
            );
            assert!(
                (chroma - expected).abs() < expected * 0.1,
                "{name}: {chroma} of {expected}"
            );
        }
    }

    #[test]
    fn what_lies_outside_the_picture_is_left_out() {
        for x in [-200.0, -3.0, 62.0, 500.0] {
            painted(&Ellipse {
                centre: (x, x),
                rx: 9.0,
                ry: 5.0,
            });
            painted(&Convex::rect(x, -40.0, x + 30.0, 400.0));
            painted(&Limb {
                a: (x, 5.0),
                b: (5.0, x),
                ra: 3.0,
                rb: 1.0,
            });
        }
    }
}
