//! Crop to tensor against a slow and obvious computation, in every format, layout and type.

use detection::PixelBox;
use half::f16;
use regiondetect_core::regions::Placement;
use regiondetect_core::tensor::{
    ChannelOrder, ChromaSite, Colour, Cropper, Layout, Matrix, Picture, PixelFormat, Plane, Range,
    Shown, TensorMut, TensorSpec,
};

/// A picture kept as full planes of floats and in the bytes of a format.
struct Scene {
    format: PixelFormat,
    width: usize,
    height: usize,
    planes: Vec<(Vec<u8>, usize)>,
}

const PLANAR: [PixelFormat; 3] = [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Nv21];

impl Scene {
    /// Smooth colours, so that a shift by a pixel shows, with padding of junk behind each row.
    fn new(format: PixelFormat, width: usize, height: usize) -> Self {
        let y = |x: usize, y: usize| (40 + (x * 3 + y * 2) % 170) as u8;
        let u = |x: usize, y: usize| (60 + (x * 2 + y * 5) % 140) as u8;
        let v = |x: usize, y: usize| (200 - (x * 4 + y * 3) % 150) as u8;
        let plane = |row: usize, rows: usize, at: &dyn Fn(usize, usize) -> u8| {
            let stride = row + 13;
            let mut data = vec![0xee; stride * rows];
            for r in 0..rows {
                for c in 0..row {
                    data[r * stride + c] = at(c, r);
                }
            }
            (data, stride)
        };
        let (hw, hh) = (width.div_ceil(2), height.div_ceil(2));
        let planes = match format {
            PixelFormat::I420 => vec![
                plane(width, height, &y),
                plane(hw, hh, &u),
                plane(hw, hh, &v),
            ],
            PixelFormat::Nv12 => vec![
                plane(width, height, &y),
                plane(2 * hw, hh, &|c, r| {
                    if c % 2 == 0 { u(c / 2, r) } else { v(c / 2, r) }
                }),
            ],
            PixelFormat::Nv21 => vec![
                plane(width, height, &y),
                plane(2 * hw, hh, &|c, r| {
                    if c % 2 == 0 { v(c / 2, r) } else { u(c / 2, r) }
                }),
            ],
            PixelFormat::Yuy2 => vec![plane(4 * hw, height, &|c, r| match c % 4 {
                0 | 2 => y(c / 2, r),
                1 => u(c / 4, r),
                _ => v(c / 4, r),
            })],
            PixelFormat::Uyvy => vec![plane(4 * hw, height, &|c, r| match c % 4 {
                1 | 3 => y(c / 2, r),
                0 => u(c / 4, r),
                _ => v(c / 4, r),
            })],
            PixelFormat::Gray8 => vec![plane(width, height, &y)],
            PixelFormat::Rgb => vec![plane(3 * width, height, &|c, r| match c % 3 {
                0 => y(c / 3, r),
                1 => u(c / 3, r),
                _ => v(c / 3, r),
            })],
            PixelFormat::Bgr => vec![plane(3 * width, height, &|c, r| match c % 3 {
                2 => y(c / 3, r),
                1 => u(c / 3, r),
                _ => v(c / 3, r),
            })],
            PixelFormat::Rgbx => vec![plane(4 * width, height, &|c, r| match c % 4 {
                0 => y(c / 4, r),
                1 => u(c / 4, r),
                2 => v(c / 4, r),
                _ => 0x55,
            })],
            PixelFormat::Bgrx => vec![plane(4 * width, height, &|c, r| match c % 4 {
                2 => y(c / 4, r),
                1 => u(c / 4, r),
                0 => v(c / 4, r),
                _ => 0x55,
            })],
        };
        Self {
            format,
            width,
            height,
            planes,
        }
    }

    fn picture(&self, colour: Colour, site: ChromaSite) -> Picture<'_> {
        let planes: Vec<Plane> = self
            .planes
            .iter()
            .map(|(data, stride)| Plane {
                data,
                stride: *stride,
            })
            .collect();
        Picture::new(self.format, self.width, self.height, &planes, colour, site).unwrap()
    }

    /// One sample of a plane; `step` and `offset` pick a component of packed ones.
    fn at(&self, plane: usize, (step, offset): (usize, usize), x: usize, y: usize) -> f64 {
        let (data, stride) = &self.planes[plane];
        f64::from(data[y * stride + step * x + offset])
    }

    /// Bilinear sample of a component at a position in its own grid.
    fn sample(
        &self,
        component: (usize, (usize, usize)),
        size: (usize, usize),
        x: f64,
        y: f64,
    ) -> f64 {
        let (x, y) = (
            x.clamp(0.0, (size.0 - 1) as f64),
            y.clamp(0.0, (size.1 - 1) as f64),
        );
        let (x0, y0) = (x as usize, y as usize);
        let (x1, y1) = ((x0 + 1).min(size.0 - 1), (y0 + 1).min(size.1 - 1));
        let (fx, fy) = (x - x0 as f64, y - y0 as f64);
        let at = |x, y| self.at(component.0, component.1, x, y);
        (at(x0, y0) * (1.0 - fx) + at(x1, y0) * fx) * (1.0 - fy)
            + (at(x0, y1) * (1.0 - fx) + at(x1, y1) * fx) * fy
    }

    /// Red, green, blue at a position in luma pixels.
    fn rgb(&self, colour: Colour, site: ChromaSite, x: f64, y: f64) -> [f64; 3] {
        let (w, h) = (self.width, self.height);
        let (hw, hh) = (w.div_ceil(2), h.div_ceil(2));
        let cx = match site {
            ChromaSite::Left => x / 2.0,
            ChromaSite::Centre => (x + 0.5) / 2.0 - 0.5,
        };
        let cy = (y + 0.5) / 2.0 - 0.5;
        let full = |c| self.sample(c, (w, h), x, y);
        let half = |c| self.sample(c, (hw, hh), cx, cy);
        let side = |c| self.sample(c, (hw, h), cx, y);
        let (l, u, v) = match self.format {
            PixelFormat::I420 => (full((0, (1, 0))), half((1, (1, 0))), half((2, (1, 0)))),
            PixelFormat::Nv12 => (full((0, (1, 0))), half((1, (2, 0))), half((1, (2, 1)))),
            PixelFormat::Nv21 => (full((0, (1, 0))), half((1, (2, 1))), half((1, (2, 0)))),
            PixelFormat::Yuy2 => (full((0, (2, 0))), side((0, (4, 1))), side((0, (4, 3)))),
            PixelFormat::Uyvy => (full((0, (2, 1))), side((0, (4, 0))), side((0, (4, 2)))),
            PixelFormat::Gray8 => (full((0, (1, 0))), 128.0, 128.0),
            PixelFormat::Rgb => return [0, 1, 2].map(|c| full((0, (3, c)))),
            PixelFormat::Bgr => return [2, 1, 0].map(|c| full((0, (3, c)))),
            PixelFormat::Rgbx => return [0, 1, 2].map(|c| full((0, (4, c)))),
            PixelFormat::Bgrx => return [2, 1, 0].map(|c| full((0, (4, c)))),
        };
        let (kr, kb) = match colour.matrix {
            Matrix::Bt601 => (0.299, 0.114),
            Matrix::Bt709 => (0.2126, 0.0722),
        };
        let (l, s) = match colour.range {
            Range::Limited => ((l - 16.0) / 219.0 * 255.0, 255.0 / 224.0),
            Range::Full => (l, 1.0),
        };
        let (u, v) = ((u - 128.0) * s, (v - 128.0) * s);
        let (r, b) = (l + 2.0 * (1.0 - kr) * v, l + 2.0 * (1.0 - kb) * u);
        let g = (l - kr * r - kb * b) / (1.0 - kr - kb);
        [r, g, b].map(|c| c.clamp(0.0, 255.0))
    }
}

fn spec(width: usize, height: usize) -> TensorSpec {
    TensorSpec {
        width,
        height,
        layout: Layout::Nchw,
        order: ChannelOrder::Rgb,
        scale: [1.0; 3],
        bias: [0.0; 3],
        padding: 114,
    }
}

fn square(x: i32, y: i32, side: i32, to: i32) -> Placement {
    Placement {
        source: PixelBox::new(x, y, x + side, y + side),
        dest: PixelBox::new(0, 0, to, to),
    }
}

/// The value of channel `c` at (x, y) in the tensor.
fn value(spec: &TensorSpec, data: &[f32], c: usize, x: usize, y: usize) -> f64 {
    let at = match spec.layout {
        Layout::Nchw => (c * spec.height + y) * spec.width + x,
        Layout::Nhwc => (y * spec.width + x) * 3 + c,
    };
    f64::from(data[at])
}

/// Compares a whole tensor with the obvious computation.
fn check(scene: &Scene, colour: Colour, site: ChromaSite, placement: Placement, spec: TensorSpec) {
    let mut data = vec![f32::NAN; spec.len()];
    let picture = scene.picture(colour, site);
    Cropper::default().fill(&picture, &[placement], &spec, TensorMut::F32(&mut data));
    let Placement { source, dest } = placement;
    let step = f64::from(source.width()) / f64::from(dest.width());
    for y in 0..spec.height {
        for x in 0..spec.width {
            let sx = f64::from(source.x1) + (x as f64 - f64::from(dest.x1) + 0.5) * step;
            let sy = f64::from(source.y1) + (y as f64 - f64::from(dest.y1) + 0.5) * step;
            let inside =
                (0.0..scene.width as f64).contains(&sx) && (0.0..scene.height as f64).contains(&sy);
            let covered = (dest.x1..dest.x2).contains(&(x as i32))
                && (dest.y1..dest.y2).contains(&(y as i32));
            let mut expected = match inside && covered {
                true => scene.rgb(colour, site, sx - 0.5, sy - 0.5),
                false => [f64::from(spec.padding); 3],
            };
            if spec.order == ChannelOrder::Bgr {
                expected.reverse();
            }
            for c in 0..3 {
                let found = value(&spec, &data, c, x, y);
                let expected = expected[c] * f64::from(spec.scale[c]) + f64::from(spec.bias[c]);
                let tolerance = 2.5 * f64::from(spec.scale[c].abs());
                assert!(
                    (found - expected).abs() <= tolerance,
                    "{:?} {colour:?} {placement:?} ({x},{y}) channel {c}: {found}, expected {expected}",
                    scene.format
                );
            }
        }
    }
}

const ALL: [PixelFormat; 10] = [
    PixelFormat::I420,
    PixelFormat::Nv12,
    PixelFormat::Nv21,
    PixelFormat::Yuy2,
    PixelFormat::Uyvy,
    PixelFormat::Gray8,
    PixelFormat::Rgb,
    PixelFormat::Bgr,
    PixelFormat::Rgbx,
    PixelFormat::Bgrx,
];

#[test]
fn every_format_gives_the_colours_of_the_obvious_computation() {
    for format in ALL {
        for (w, h) in [(64, 48), (63, 47)] {
            let scene = Scene::new(format, w, h);
            for (x, y, side) in [
                (0, 0, 32),
                (11, 7, 30),
                (20, 5, 43),
                (-9, -6, 60),
                (40, 30, 32),
            ] {
                check(
                    &scene,
                    Colour::default(),
                    ChromaSite::Left,
                    square(x, y, side, 40),
                    spec(40, 40),
                );
            }
        }
    }
}

#[test]
fn colours_follow_matrix_range_and_chroma_site() {
    let scene = Scene::new(PixelFormat::I420, 64, 48);
    for matrix in [Matrix::Bt601, Matrix::Bt709] {
        for range in [Range::Limited, Range::Full] {
            for site in [ChromaSite::Left, ChromaSite::Centre] {
                check(
                    &scene,
                    Colour { matrix, range },
                    site,
                    square(3, 5, 37, 50),
                    spec(50, 50),
                );
            }
        }
    }
}

#[test]
fn colour_is_where_it_belongs_at_any_row_offset() {
    // A picture whose colour changes with every row: one row off is far outside the tolerance.
    let (w, h) = (32, 96);
    let luma = vec![120; w * h];
    let chroma = |k: usize| -> Vec<u8> {
        (0..w / 2 * (h / 2))
            .map(|i| ((i / (w / 2)) * k % 200 + 20) as u8)
            .collect()
    };
    let (u, v) = (chroma(31), chroma(57));
    let planes = [
        Plane {
            data: &luma,
            stride: w,
        },
        Plane {
            data: &u,
            stride: w / 2,
        },
        Plane {
            data: &v,
            stride: w / 2,
        },
    ];
    let scene = Scene {
        format: PixelFormat::I420,
        width: w,
        height: h,
        planes: planes.iter().map(|p| (p.data.to_vec(), p.stride)).collect(),
    };
    for y in 40..48 {
        check(
            &scene,
            Colour::default(),
            ChromaSite::Left,
            square(0, y, 32, 32),
            spec(32, 32),
        );
    }
}

#[test]
fn layouts_orders_and_scales_hold_for_every_kind_of_format() {
    for format in [PixelFormat::Nv12, PixelFormat::Rgb] {
        let scene = Scene::new(format, 64, 48);
        for layout in [Layout::Nchw, Layout::Nhwc] {
            for order in [ChannelOrder::Rgb, ChannelOrder::Bgr] {
                let spec = TensorSpec {
                    layout,
                    order,
                    scale: [1.0 / 57.0, 1.0 / 58.0, 0.02],
                    bias: [-2.0, -1.5, 0.25],
                    ..spec(40, 40)
                };
                check(
                    &scene,
                    Colour::default(),
                    ChromaSite::Left,
                    square(-5, 9, 50, 40),
                    spec,
                );
            }
        }
    }
}

#[test]
fn bytes_and_half_floats_hold_what_floats_hold() {
    let scene = Scene::new(PixelFormat::I420, 64, 48);
    let picture = scene.picture(Colour::default(), ChromaSite::Left);
    let placement = [square(-7, 3, 50, 40)];
    for layout in [Layout::Nchw, Layout::Nhwc] {
        let spec = TensorSpec {
            layout,
            ..spec(40, 40)
        };
        let mut cropper = Cropper::default();
        let mut floats = vec![0.0; spec.len()];
        let mut halves = vec![f16::NAN; spec.len()];
        let mut bytes = vec![0_u8; spec.len()];
        cropper.fill(&picture, &placement, &spec, TensorMut::F32(&mut floats));
        cropper.fill(&picture, &placement, &spec, TensorMut::F16(&mut halves));
        cropper.fill(&picture, &placement, &spec, TensorMut::U8(&mut bytes));
        for ((float, half), byte) in floats.iter().zip(&halves).zip(&bytes) {
            assert!((float - half.to_f32()).abs() < 0.1);
            assert_eq!(float.round() as u8, *byte);
        }
    }
}

#[test]
fn several_squares_share_an_input_without_touching_each_other() {
    let scene = Scene::new(PixelFormat::I420, 64, 48);
    let colour = Colour::default();
    let picture = scene.picture(colour, ChromaSite::Left);
    let spec = spec(64, 64);
    let quarter = |x: i32, y: i32, source: (i32, i32)| Placement {
        source: PixelBox::new(source.0, source.1, source.0 + 20, source.1 + 20),
        dest: PixelBox::new(x, y, x + 30, y + 30),
    };
    let placements = [
        quarter(0, 0, (1, 1)),
        quarter(32, 0, (30, 5)),
        quarter(0, 32, (8, 25)),
    ];
    let mut data = vec![f32::NAN; spec.len()];
    Cropper::default().fill(&picture, &placements, &spec, TensorMut::F32(&mut data));
    for placement in placements {
        let PixelBox { x1, y1, .. } = placement.dest;
        for d in [0, 7, 29] {
            let s = |from: i32| f64::from(from) + (f64::from(d) + 0.5) * 20.0 / 30.0 - 0.5;
            let expected = scene.rgb(
                colour,
                ChromaSite::Left,
                s(placement.source.x1),
                s(placement.source.y1),
            );
            for (c, expected) in expected.into_iter().enumerate() {
                let found = value(&spec, &data, c, (x1 + d) as usize, (y1 + d) as usize);
                assert!((found - expected).abs() < 2.5, "{placement:?} {d}");
            }
        }
    }
    for (x, y) in [(31, 10), (10, 31), (50, 50), (63, 0)] {
        assert_eq!(value(&spec, &data, 0, x, y), 114.0, "({x},{y}) is padding");
    }
}

#[test]
fn squares_outside_the_picture_and_without_size_are_padding() {
    let scene = Scene::new(PixelFormat::Nv12, 64, 48);
    let picture = scene.picture(Colour::default(), ChromaSite::Left);
    let spec = spec(32, 32);
    let odd = [
        square(100, 0, 32, 32),
        square(-200, 0, 32, 32),
        square(0, 48, 10, 32),
        square(5, 5, 0, 32),
        square(5, 5, -8, 32),
        square(0, 0, 32, 0),
        Placement {
            source: PixelBox::new(i32::MIN, i32::MIN, i32::MIN + 4, i32::MIN + 4),
            dest: PixelBox::new(i32::MIN, 0, i32::MAX, 32),
        },
        Placement {
            source: PixelBox::new(0, 0, 32, 32),
            dest: PixelBox::new(500, 500, 532, 532),
        },
    ];
    for placement in odd {
        let mut data = vec![f32::NAN; spec.len()];
        Cropper::default().fill(&picture, &[placement], &spec, TensorMut::F32(&mut data));
        assert!(data.iter().all(|v| *v == 114.0), "{placement:?}");
    }
}

#[test]
fn a_picture_of_one_pixel_fills_any_input() {
    for format in PLANAR {
        let scene = Scene::new(format, 1, 1);
        check(
            &scene,
            Colour::default(),
            ChromaSite::Left,
            square(0, 0, 1, 16),
            spec(16, 16),
        );
    }
}

/// Squares and parts of an input that move from frame to frame, as a walk through the picture makes them.
#[test]
fn memory_that_was_filled_before_holds_what_new_memory_would() {
    let scene = Scene::new(PixelFormat::I420, 64, 48);
    let picture = scene.picture(Colour::default(), ChromaSite::Left);
    for layout in [Layout::Nchw, Layout::Nhwc] {
        let spec = TensorSpec {
            layout,
            ..spec(40, 32)
        };
        let quarter = |x, y, side, to_x, to_y| Placement {
            source: PixelBox::new(x, y, x + side, y + side),
            dest: PixelBox::new(to_x, to_y, to_x + 16, to_y + 16),
        };
        let frames = [
            vec![square(-20, -8, 60, 32)],
            vec![square(-12, -8, 60, 32)],
            vec![square(20, 10, 60, 32)],
            vec![],
            vec![quarter(-4, 3, 20, 0, 0), quarter(50, 30, 20, 17, 16)],
            vec![quarter(50, 30, 20, 20, 3), quarter(-40, 3, 20, 0, 0)],
            vec![square(0, 0, 32, 32), quarter(0, 0, 16, 24, 16)],
            vec![square(-100, 0, 32, 32)],
            vec![square(-12, 20, 60, 30)],
        ];
        let mut cropper = Cropper::default();
        let (mut data, mut shown) = (vec![f32::NAN; spec.len()], Shown::default());
        for (n, placements) in frames.iter().enumerate() {
            let out = TensorMut::F32(&mut data);
            cropper.refill(&picture, placements, &spec, out, &mut shown);
            let mut fresh = vec![f32::NAN; spec.len()];
            cropper.fill(&picture, placements, &spec, TensorMut::F32(&mut fresh));
            assert!(data == fresh, "frame {n}, {layout:?}");
        }
    }
}
