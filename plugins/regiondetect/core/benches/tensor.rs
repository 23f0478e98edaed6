//! Crop to tensor at the sizes regions have, from a 1920x1080 picture to a 416x416 input.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use detection::PixelBox;
use regiondetect_core::regions::Placement;
use regiondetect_core::tensor::{
    ChannelOrder, ChromaSite, Colour, Cropper, Layout, Picture, PixelFormat, Plane, TensorMut,
    TensorSpec,
};

#[path = "scene/mod.rs"]
mod scene;

const WIDTH: usize = 1920;
const HEIGHT: usize = 1080;

fn crop_to_tensor(c: &mut Criterion) {
    let (luma, chroma) = (
        scene::noise(WIDTH * HEIGHT),
        scene::noise(WIDTH * HEIGHT / 2),
    );
    let spec = TensorSpec {
        width: 416,
        height: 416,
        layout: Layout::Nchw,
        order: ChannelOrder::Bgr,
        scale: [1.0; 3],
        bias: [0.0; 3],
        padding: 114,
    };
    let mut floats = vec![0.0; spec.len()];
    let mut bytes = vec![0; spec.len()];
    let mut cropper = Cropper::default();
    let mut group = c.benchmark_group("crop_to_tensor");
    for format in [PixelFormat::I420, PixelFormat::Nv12] {
        let (u, v) = chroma.split_at(chroma.len() / 2);
        let half = WIDTH / 2;
        let planes = [
            Plane {
                data: &luma,
                stride: WIDTH,
            },
            match format {
                PixelFormat::Nv12 => Plane {
                    data: &chroma,
                    stride: WIDTH,
                },
                _ => Plane {
                    data: u,
                    stride: half,
                },
            },
            Plane {
                data: v,
                stride: half,
            },
        ];
        let picture = Picture::new(
            format,
            WIDTH,
            HEIGHT,
            &planes,
            Colour::default(),
            ChromaSite::default(),
        )
        .expect("planes of the right size");
        for side in [320, 416, 640, 1080] {
            let placement = Placement {
                source: PixelBox::new(201.min(1920 - side), 0, 201.min(1920 - side) + side, side),
                dest: PixelBox::new(0, 0, 416, 416),
            };
            let name = |kind: &str| BenchmarkId::new(format!("{format:?} {kind}"), side);
            group.bench_function(name("f32 planes"), |b| {
                b.iter(|| {
                    let out = TensorMut::F32(black_box(&mut floats));
                    cropper.fill(&picture, &[placement], &spec, out);
                });
            });
            let pixels = TensorSpec {
                layout: Layout::Nhwc,
                ..spec
            };
            group.bench_function(name("u8 pixels"), |b| {
                b.iter(|| {
                    let out = TensorMut::U8(black_box(&mut bytes));
                    cropper.fill(&picture, &[placement], &pixels, out);
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, crop_to_tensor);
criterion_main!(benches);
