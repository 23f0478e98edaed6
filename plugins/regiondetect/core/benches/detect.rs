//! What is around the model: decoding its outputs, and one frame's whole way without inference.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use detection::{BBox, Detection, FrameSize, PixelBox};
use regiondetect_core::decode::{ElementType, Model, ModelInfo, Scratch, TensorInfo, TensorView};
use regiondetect_core::grid::RegionGrid;
use regiondetect_core::motion::{Luma, LumaLayout, MotionDetector, MotionSettings};
use regiondetect_core::reduce::{Candidate, Overlap, Reducer};
use regiondetect_core::regions::{Look, PlanSettings, Planner, WatchedTrack};
use regiondetect_core::tensor::{
    ChromaSite, Colour, Cropper, Picture, PixelFormat, Plane, TensorMut,
};

/// Outputs of a made-up model: background, and a cluster of rows for each of 20 objects.
struct Made {
    names: Vec<&'static str>,
    dims: Vec<Vec<i64>>,
    data: Vec<Vec<f32>>,
}

impl Made {
    fn new(outputs: &[(&'static str, &[i64], f32)]) -> Self {
        let length = |dims: &[i64]| dims.iter().product::<i64>() as usize;
        Self {
            names: outputs.iter().map(|o| o.0).collect(),
            dims: outputs.iter().map(|o| o.1.to_vec()).collect(),
            data: outputs.iter().map(|o| vec![o.2; length(o.1)]).collect(),
        }
    }

    fn views(&self) -> Vec<TensorView<'_>> {
        let outputs = self.dims.iter().zip(&self.data);
        outputs
            .map(|(dims, data)| TensorView { dims, data })
            .collect()
    }

    fn model(&self, side: i64) -> Model {
        let info = |name: &str, dims: &[i64]| TensorInfo {
            name: name.into(),
            element: ElementType::F32,
            dims: dims.to_vec(),
        };
        let info = ModelInfo {
            inputs: vec![info("images", &[1, 3, side, side])],
            outputs: self
                .names
                .iter()
                .zip(&self.dims)
                .map(|(n, d)| info(n, d))
                .collect(),
            metadata: Default::default(),
        };
        Model::recognise(&info, &[], None, &self.views()).expect("a family we know")
    }
}

/// YOLOX at 416 with `objects` clusters of 5 neighbouring cells.
fn yolox(objects: usize) -> Made {
    let mut made = Made::new(&[("output", &[1, 3549, 85], 0.001)]);
    for object in 0..objects {
        for cell in 0..5 {
            let row = (object * 173 + cell) % 2704;
            made.data[0][row * 85..][..6].copy_from_slice(&[
                0.5 - cell as f32,
                0.5,
                1.5,
                2.0,
                0.9,
                0.9,
            ]);
        }
    }
    made
}

fn yolov8(objects: usize) -> Made {
    let cells = 8400;
    let mut made = Made::new(&[("output0", &[1, 84, cells], 0.001)]);
    for object in 0..objects {
        for cell in 0..5 {
            let at = object * 400 + cell;
            let values = [
                (0, 30.0 * object as f32),
                (1, 300.0),
                (2, 25.0),
                (3, 60.0),
                (4, 0.9),
            ];
            for (channel, value) in values {
                made.data[0][channel * cells as usize + at] = value;
            }
        }
    }
    made
}

fn nanodet() -> Made {
    let heads: [(&'static str, &[i64], f32); 6] = [
        ("cls_8", &[1, 2704, 80], 0.01),
        ("cls_16", &[1, 676, 80], 0.01),
        ("cls_32", &[1, 169, 80], 0.01),
        ("dis_8", &[1, 2704, 32], 0.1),
        ("dis_16", &[1, 676, 32], 0.1),
        ("dis_32", &[1, 169, 32], 0.1),
    ];
    let mut made = Made::new(&heads);
    for row in (0..2000).step_by(100) {
        made.data[0][row * 80] = 0.8;
    }
    made
}

fn decode(c: &mut Criterion) {
    let end_to_end = Made::new(&[("output0", &[1, 300, 6], 0.5)]);
    let ssd = Made::new(&[
        ("detection_boxes", &[1, 100, 4], 0.5),
        ("detection_classes", &[1, 100], 1.0),
        ("detection_scores", &[1, 100], 0.6),
        ("num_detections", &[1], 20.0),
    ]);
    let detr = Made::new(&[
        ("logits", &[1, 300, 80], -5.0),
        ("pred_boxes", &[1, 300, 4], 0.5),
    ]);
    let mut group = c.benchmark_group("decode_and_nms");
    for (name, side, made) in [
        ("yolox 416, 20 objects", 416, yolox(20)),
        ("yolov8 640, 20 objects", 640, yolov8(20)),
        ("nanodet 416, 20 objects", 416, nanodet()),
        ("end to end 300", 640, end_to_end),
        ("ssd 100", 300, ssd),
        ("detr 300", 640, detr),
    ] {
        let model = made.model(side);
        let (mut scratch, mut found) = (Scratch::default(), Vec::new());
        let views = made.views();
        group.bench_function(name, |b| {
            b.iter(|| model.decode(black_box(&views), 0, 0.4, &mut scratch, &mut found));
        });
    }
    group.finish();
}

/// A 720p frame with one thing that moves and is tracked: motion, plan, crop, decode, reduce, learn.
fn whole_path(c: &mut Criterion) {
    const WIDTH: usize = 1280;
    const HEIGHT: usize = 720;
    let (frame, size) = (FrameSize::new(WIDTH as u32, HEIGHT as u32), WIDTH * HEIGHT);
    let mut luma = vec![90_u8; size];
    for (i, byte) in luma.iter_mut().enumerate() {
        *byte = byte.wrapping_add((i % 7) as u8);
    }
    let chroma = vec![128_u8; size / 2];
    let made = yolox(1);
    let model = made.model(416);
    let views = made.views();
    let mut motion = MotionDetector::new(MotionSettings::default(), frame).expect("a sane size");
    let mut planner = Planner::new(PlanSettings::new(frame, 416));
    let mut grid = RegionGrid::new();
    let (mut cropper, mut reducer) = (Cropper::default(), Reducer::new());
    let (mut scratch, mut decoded) = (Scratch::default(), Vec::new());
    let (mut candidates, mut kept, mut boxes) = (Vec::new(), Vec::new(), Vec::new());
    let mut results: Vec<Detection> = Vec::new();
    let mut tensor = vec![0.0; model.input.tensor.len()];
    let mut time = 0_u64;
    c.bench_function("whole_path_without_inference/one person", |b| {
        b.iter(|| {
            time += 200_000_000;
            let x = 200 + (time / 200_000_000 % 600) as usize;
            for row in 300..500 {
                luma[row * WIDTH + x..][..60].fill(200);
            }
            let picture_luma =
                Luma::new(&luma, WIDTH, WIDTH, HEIGHT, LumaLayout::PLANE).expect("a whole plane");
            let found = motion.process(&picture_luma);
            boxes.clear();
            boxes.extend(found.boxes.iter().map(|b| b.to_bbox()));
            let track = WatchedTrack {
                id: 1,
                bbox: BBox::from_xywh(x as f32, 300.0, 60.0, 200.0),
                stationary: false,
            };
            let look = Look {
                time,
                motion: Some(&boxes),
                calibrating: found.calibrating,
                tracks: Some(&[track]),
            };
            let plan = planner.plan(&look, &grid);
            let (u, v) = chroma.split_at(size / 4);
            let half = WIDTH / 2;
            let planes = [
                Plane {
                    data: &luma,
                    stride: WIDTH,
                },
                Plane {
                    data: u,
                    stride: half,
                },
                Plane {
                    data: v,
                    stride: half,
                },
            ];
            let picture = Picture::new(
                PixelFormat::I420,
                WIDTH,
                HEIGHT,
                &planes,
                Colour::default(),
                ChromaSite::default(),
            )
            .expect("whole planes");
            candidates.clear();
            results.clear();
            for input in plan.inputs() {
                let out = TensorMut::F32(&mut tensor);
                cropper.fill(&picture, plan.placements(input), &model.input.tensor, out);
                let decoded_all = model.decode(&views, 0, 0.4, &mut scratch, &mut decoded);
                decoded_all.expect("the outputs of this model");
                for d in &decoded {
                    if let Some(placement) = plan.placement_of(input, &d.bbox) {
                        let b = placement.to_frame(&d.bbox);
                        let pixels =
                            PixelBox::new(b.x1 as i32, b.y1 as i32, b.x2 as i32, b.y2 as i32);
                        candidates.push(Candidate::new(d.label, d.score, pixels, placement.source));
                        results.push(Detection { bbox: b, ..*d });
                    }
                }
            }
            reducer.reduce(frame, &candidates, |_| Overlap::of("person"), &mut kept);
            planner.report(&results, &mut grid);
            for row in 300..500 {
                luma[row * WIDTH + x..][..60].fill(90);
            }
        });
    });
}

criterion_group!(benches, decode, whole_path);
criterion_main!(benches);
