//! Planning per frame for 1, 5, 20 and 40 tracks that move, with a motion box on each. Frigate: 4 us for one box, 190 to 340 us for 40.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use detection::{BBox, Detection, FrameSize};
use regiondetect_core::grid::RegionGrid;
use regiondetect_core::regions::{Look, PlanSettings, Planner, WatchedTrack};

/// People spread over the picture, at a place that depends on `n`.
fn people(count: usize, n: usize) -> Vec<WatchedTrack> {
    (0..count)
        .map(|i| {
            let x = (i * 389 + n * 6) % 1200;
            let y = (i * 211) % 560;
            let height = 70.0 + (i * 37 % 60) as f32;
            WatchedTrack {
                id: i as i32,
                bbox: BBox::from_xywh(x as f32, y as f32, height * 0.4, height),
                stationary: false,
            }
        })
        .collect()
}

fn plan(c: &mut Criterion) {
    let mut group = c.benchmark_group("plan");
    for count in [1, 5, 20, 40] {
        let mut planner = Planner::new(PlanSettings::new(FrameSize::new(1280, 720), 416));
        let mut grid = RegionGrid::new();
        let frames: Vec<_> = (0..32).map(|n| people(count, n)).collect();
        let motion: Vec<Vec<BBox>> = frames
            .iter()
            .map(|tracks| tracks.iter().map(|t| t.bbox.grown(0.1)).collect())
            .collect();
        let found: Vec<Vec<Detection>> = frames
            .iter()
            .map(|tracks| {
                let detection = |t: &WatchedTrack| Detection {
                    bbox: t.bbox,
                    label: 0,
                    score: 0.8,
                };
                tracks.iter().map(detection).collect()
            })
            .collect();
        let look = |n: usize| Look {
            time: n as u64 * 200_000_000,
            motion: Some(&motion[n % 32]),
            calibrating: false,
            tracks: Some(&frames[n % 32]),
        };
        let mut n = 0;
        group.bench_function(format!("{count} boxes"), |b| {
            b.iter(|| {
                n += 1;
                black_box(planner.plan(&look(n), &grid).inputs().len())
            });
        });
        group.bench_function(format!("{count} boxes and what was found"), |b| {
            b.iter(|| {
                n += 1;
                let inputs = planner.plan(&look(n), &grid).inputs().len();
                planner.report(&found[n % 32], &mut grid);
                black_box(inputs)
            });
        });
    }
}

criterion_group!(benches, plan);
criterion_main!(benches);
