//! Time per frame of the tracker at 10, 40, 100 and 1000 objects, at the density of 50 in 1920x1080.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use detection::{BBox, Detection};
use objecttrack_core::{LookedAt, Params, Tracker};

const FRAMES: usize = 100;

struct Random(u64);

impl Random {
    fn share(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }

    fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.share()
    }
}

/// Straight paths that bounce off the edges; 2% noise, 5% misses.
fn frames(n: usize) -> Vec<Vec<Detection>> {
    let mut r = Random(n as u64);
    let side = (n.max(50) as f32 / 50.0).sqrt();
    let (width, height) = (1920.0 * side, 1080.0 * side);
    let mut objects: Vec<[f32; 6]> = (0..n)
        .map(|_| {
            let h = r.between(80.0, 160.0);
            let w = h * r.between(0.35, 0.6);
            let (x, y) = (r.between(0.0, width - w), r.between(0.0, height - h));
            [x, y, r.between(-4.0, 4.0), r.between(-4.0, 4.0), w, h]
        })
        .collect();
    (0..FRAMES)
        .map(|_| {
            let mut seen = Vec::new();
            for o in &mut objects {
                o[0] += o[2];
                o[1] += o[3];
                if o[0] < 0.0 || o[0] > width - o[4] {
                    o[2] = -o[2];
                }
                if o[1] < 0.0 || o[1] > height - o[5] {
                    o[3] = -o[3];
                }
                if r.share() < 0.05 {
                    continue;
                }
                let (dx, dy) = (r.between(-0.03, 0.03) * o[4], r.between(-0.03, 0.03) * o[5]);
                let bbox = BBox::from_xywh(
                    o[0] + dx,
                    o[1] + dy,
                    o[4] * r.between(0.97, 1.03),
                    o[5] * r.between(0.97, 1.03),
                );
                seen.push(Detection {
                    bbox,
                    label: 0,
                    score: r.between(0.7, 0.99),
                });
            }
            seen
        })
        .collect()
}

fn step(c: &mut Criterion) {
    let mut group = c.benchmark_group("step");
    group
        .measurement_time(Duration::from_secs(3))
        .sample_size(20);
    for n in [10, 40, 100, 1000] {
        let frames = frames(n);
        group.bench_function(BenchmarkId::from_parameter(n), |b| {
            b.iter_custom(|iterations| {
                let mut spent = Duration::ZERO;
                let mut tracker = Tracker::new(Params::default());
                for k in 0..iterations as usize {
                    let at = k % FRAMES;
                    if at == 0 {
                        tracker = Tracker::new(Params::default());
                    }
                    let start = Instant::now();
                    tracker.step(at as f64 / 25.0, &frames[at], LookedAt::Everything);
                    spent += start.elapsed();
                }
                spent
            });
        });
    }
    group.finish();
}

criterion_group!(benches, step);
criterion_main!(benches);
