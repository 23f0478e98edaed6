//! Motion per frame at 720p and 1080p, one core. Frigate: 0.38 to 0.49 ms at 720p.

use detection::FrameSize;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use regiondetect_core::motion::{Luma, LumaLayout, MotionDetector, MotionSettings};

#[path = "scene/mod.rs"]
mod scene;

fn motion(c: &mut Criterion) {
    let mut group = c.benchmark_group("motion");
    for (name, width, height) in [("720p", 1280, 720), ("1080p", 1920, 1080)] {
        let frames: Vec<_> = (0..16).map(|n| scene::frame(width, height, n)).collect();
        let size = FrameSize::new(width as u32, height as u32);
        for (layout, format, step) in [
            ("planar", LumaLayout::PLANE, 1),
            ("YUY2", LumaLayout::Bytes { step: 2, offset: 0 }, 2),
        ] {
            let Some(mut detector) = MotionDetector::new(MotionSettings::default(), size) else {
                continue;
            };
            let frames: Vec<Vec<u8>> = frames
                .iter()
                .map(|f| {
                    f.iter()
                        .flat_map(|v| std::iter::repeat_n(*v, step))
                        .collect()
                })
                .collect();
            let mut n = 0;
            group.bench_function(format!("{name} {layout}"), |b| {
                b.iter(|| {
                    n += 1;
                    let luma = Luma::new(&frames[n % 16], width * step, width, height, format);
                    black_box(
                        detector
                            .process(&luma.expect("the plane is large enough"))
                            .share,
                    )
                });
            });
        }
    }
}

criterion_group!(benches, motion);
criterion_main!(benches);
