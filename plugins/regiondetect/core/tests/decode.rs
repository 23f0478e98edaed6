//! Each family of models on tensors whose answer is known.

use detection::{BBox, Detection};
use proptest::prelude::*;
use regiondetect_core::decode::{
    Batch, ElementType, Model, ModelError, ModelInfo, ModelType, Scratch, TensorInfo, TensorView,
};
use regiondetect_core::tensor::{ChannelOrder, Layout};

/// A tensor of a made-up model.
#[derive(Clone)]
struct Output {
    name: &'static str,
    dims: Vec<i64>,
    data: Vec<f32>,
}

impl Output {
    fn new(name: &'static str, dims: &[i64], fill: f32) -> Self {
        let length = dims.iter().product::<i64>() as usize;
        Self {
            name,
            dims: dims.to_vec(),
            data: vec![fill; length],
        }
    }

    /// Writes a row of the last dimension.
    fn row(&mut self, row: usize, values: &[f32]) {
        let columns = *self.dims.last().unwrap() as usize;
        self.data[row * columns..][..values.len()].copy_from_slice(values);
    }

    fn with(mut self, row: usize, values: &[f32]) -> Self {
        self.row(row, values);
        self
    }
}

fn info(side: i64, outputs: &[Output]) -> ModelInfo {
    let tensor = |name: &str, dims: &[i64]| TensorInfo {
        name: name.to_owned(),
        element: ElementType::F32,
        dims: dims.to_vec(),
    };
    ModelInfo {
        inputs: vec![tensor("images", &[1, 3, side, side])],
        outputs: outputs.iter().map(|o| tensor(o.name, &o.dims)).collect(),
        metadata: Default::default(),
    }
}

fn views(outputs: &[Output]) -> Vec<TensorView<'_>> {
    outputs
        .iter()
        .map(|o| TensorView {
            dims: &o.dims,
            data: &o.data,
        })
        .collect()
}

fn recognise(side: i64, outputs: &[Output]) -> Model {
    Model::recognise(&info(side, outputs), &[], None, &views(outputs))
        .unwrap_or_else(|e| panic!("{e}"))
}

fn decode(model: &Model, outputs: &[Output], image: usize) -> Vec<Detection> {
    let mut found = Vec::new();
    model
        .decode(
            &views(outputs),
            image,
            0.3,
            &mut Scratch::default(),
            &mut found,
        )
        .unwrap_or_else(|e| panic!("{e}"));
    found
}

#[track_caller]
fn assert_found(found: &[Detection], expected: &[(u16, f32, [f32; 4])]) {
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, (label, score, [x1, y1, x2, y2])) in found.iter().zip(expected) {
        assert_eq!(found.label, *label, "{found:?}");
        assert!(
            (found.score - score).abs() < 1e-3,
            "{found:?}, expected {score}"
        );
        let b = found.bbox;
        for (a, e) in [(b.x1, x1), (b.y1, y1), (b.x2, x2), (b.y2, y2)] {
            assert!(
                (a - e).abs() < 0.05,
                "{found:?}, expected {x1} {y1} {x2} {y2}"
            );
        }
    }
}

/// Cells of a square input.
fn cells(side: usize, strides: &[usize]) -> i64 {
    strides
        .iter()
        .map(|s| side.div_ceil(*s).pow(2))
        .sum::<usize>() as i64
}

const THREE: [usize; 3] = [8, 16, 32];

/// Objectness and `classes` scores with one class set.
fn scored(
    xywh: [f32; 4],
    objectness: Option<f32>,
    classes: usize,
    class: usize,
    score: f32,
) -> Vec<f32> {
    let mut row = xywh.to_vec();
    row.extend(objectness);
    let from = row.len();
    row.resize(from + classes, 0.01);
    row[from + class] = score;
    row
}

#[test]
fn yolox_boxes_are_offsets_within_their_cells() {
    let cells = cells(416, &THREE);
    // Cell (5, 3) of the first level, and cell (2, 1) of the last.
    let first = 3 * 52 + 5;
    let last = 52 * 52 + 26 * 26 + 13 + 2;
    let output = Output::new("output", &[1, cells, 85], 0.0)
        .with(
            first,
            &scored(
                [0.5, 0.25, 3.0_f32.ln(), 6.0_f32.ln()],
                Some(0.9),
                80,
                2,
                0.8,
            ),
        )
        .with(
            last,
            &scored(
                [0.0, 0.0, 1.0_f32.ln(), 2.0_f32.ln()],
                Some(0.5),
                80,
                0,
                0.8,
            ),
        );
    let model = recognise(416, std::slice::from_ref(&output));
    assert_eq!(model.model_type(), ModelType::Yolox);
    assert_eq!(model.input.tensor.order, ChannelOrder::Bgr);
    assert_eq!(model.input.tensor.scale, [1.0; 3]);
    assert_eq!(model.labels.name(2), "car");
    assert_found(
        &decode(&model, &[output], 0),
        &[
            (
                2,
                0.72,
                [44.0 - 12.0, 26.0 - 24.0, 44.0 + 12.0, 26.0 + 24.0],
            ),
            (0, 0.40, [64.0 - 16.0, 0.0, 64.0 + 16.0, 64.0]),
        ],
    );
}

#[test]
fn yolox_exported_with_decoding_gives_pixels() {
    let cells = cells(416, &THREE);
    let mut output = Output::new("output", &[1, cells, 8], 0.0);
    for cell in 0..cells as usize {
        output.row(cell, &[(cell % 52) as f32 * 8.0, 200.0, 10.0, 10.0, 0.0]);
    }
    output.row(
        77,
        &scored([100.0, 50.0, 40.0, 20.0], Some(1.0), 3, 1, 0.75),
    );
    let model = recognise(416, std::slice::from_ref(&output));
    assert_eq!(model.model_type(), ModelType::Yolox);
    assert_eq!(model.labels.name(1), "class 1");
    assert_found(
        &decode(&model, &[output], 0),
        &[(1, 0.75, [80.0, 40.0, 120.0, 60.0])],
    );
}

#[test]
fn yolov5_has_three_anchors_for_each_cell() {
    let output = Output::new("output0", &[1, 3 * cells(640, &THREE), 85], 0.0)
        .with(
            12_345,
            &scored([320.0, 240.0, 64.0, 128.0], Some(0.8), 80, 16, 0.9),
        )
        // The same dog a little off, and a person in the same place.
        .with(
            12_346,
            &scored([322.0, 240.0, 64.0, 128.0], Some(0.7), 80, 16, 0.9),
        )
        .with(
            12_347,
            &scored([322.0, 240.0, 64.0, 128.0], Some(0.6), 80, 0, 0.9),
        );
    let model = recognise(640, std::slice::from_ref(&output));
    assert_eq!(model.model_type(), ModelType::Yolov5);
    assert_eq!(model.input.tensor.order, ChannelOrder::Rgb);
    assert!((model.input.tensor.scale[0] - 1.0 / 255.0).abs() < 1e-9);
    assert_found(
        &decode(&model, &[output], 0),
        &[
            (16, 0.72, [288.0, 176.0, 352.0, 304.0]),
            (0, 0.54, [290.0, 176.0, 354.0, 304.0]),
        ],
    );
}

#[test]
fn yolov8_lies_in_columns() {
    let cells = cells(640, &THREE) as usize;
    let mut output = Output::new("output0", &[1, 84, cells as i64], 0.0);
    for (channel, value) in [
        (0, 100.0),
        (1, 200.0),
        (2, 50.0),
        (3, 80.0),
        (4 + 7, 0.66),
        (4 + 2, 0.4),
    ] {
        output.data[channel * cells + 8000] = value;
    }
    let model = recognise(640, std::slice::from_ref(&output));
    assert_eq!(model.model_type(), ModelType::Yolov8);
    assert_found(
        &decode(&model, &[output], 0),
        &[(7, 0.66, [75.0, 160.0, 125.0, 240.0])],
    );
}

#[test]
fn yolov8_with_masks_reads_only_the_classes_it_has_names_for() {
    let cells = cells(640, &THREE) as usize;
    let mut output = Output::new("output0", &[1, 4 + 2 + 32, cells as i64], 0.0);
    for (channel, value) in [
        (0, 100.0),
        (1, 200.0),
        (2, 50.0),
        (3, 80.0),
        (5, 0.5),
        (20, 0.99),
    ] {
        output.data[channel * cells] = value;
    }
    let outputs = [output, Output::new("output1", &[1, 32, 160, 160], 0.0)];
    let mut info = info(640, &outputs);
    info.metadata
        .insert("names".into(), "{0: 'cat', 1: 'fox'}".into());
    let model = Model::recognise(&info, &[], None, &views(&outputs)).unwrap();
    assert_eq!(model.labels.name(1), "fox");
    assert_found(
        &decode(&model, &outputs, 0),
        &[(1, 0.5, [75.0, 160.0, 125.0, 240.0])],
    );
}

#[test]
fn end_to_end_rows_are_corners_score_and_class() {
    let output = Output::new("output0", &[1, 300, 6], 0.0)
        .with(0, &[10.0, 20.0, 110.0, 220.0, 0.9, 3.0])
        .with(1, &[12.0, 20.0, 110.0, 220.0, 0.8, 3.0])
        .with(2, &[-50.0, 600.0, 40.0, 900.0, 0.7, 0.0]);
    let model = recognise(640, std::slice::from_ref(&output));
    assert_eq!(model.model_type(), ModelType::EndToEnd);
    assert_found(
        &decode(&model, &[output], 0),
        &[
            (3, 0.9, [10.0, 20.0, 110.0, 220.0]),
            (3, 0.8, [12.0, 20.0, 110.0, 220.0]),
            (0, 0.7, [0.0, 600.0, 40.0, 640.0]),
        ],
    );
}

#[test]
fn flat_predictions_carry_the_image_they_belong_to() {
    let rows = Output::new("graph2_flat_predictions", &[3, 7], 0.0)
        .with(0, &[0.0, 10.0, 20.0, 30.0, 40.0, 0.9, 5.0])
        .with(1, &[1.0, 50.0, 20.0, 70.0, 40.0, 0.8, 6.0])
        .with(2, &[0.0, 90.0, 20.0, 99.0, 40.0, 0.1, 6.0]);
    let model = recognise(320, std::slice::from_ref(&rows));
    assert_eq!(model.model_type(), ModelType::YoloNas);
    let outputs = [rows];
    assert_found(
        &decode(&model, &outputs, 0),
        &[(5, 0.9, [10.0, 20.0, 30.0, 40.0])],
    );
    assert_found(
        &decode(&model, &outputs, 1),
        &[(6, 0.8, [50.0, 20.0, 70.0, 40.0])],
    );
}

#[test]
fn ssd_gives_fractions_and_says_how_many_count() {
    let ssd = |boxes: &'static str,
               classes: &'static str,
               scores: &'static str,
               count: &'static str,
               base: f32| {
        [
            Output::new(boxes, &[1, 10, 4], 0.0)
                .with(0, &[0.1, 0.2, 0.5, 0.4])
                .with(1, &[0.5, 0.5, 1.0, 1.0])
                .with(2, &[0.0, 0.0, 1.0, 1.0]),
            Output::new(classes, &[1, 10], base),
            Output {
                data: vec![0.9, 0.6, 0.8, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
                ..Output::new(scores, &[1, 10], 0.0)
            },
            Output::new(count, &[1], 2.0),
        ]
    };
    let expected = |label| {
        [
            (label, 0.9, [60.0, 30.0, 120.0, 150.0]),
            (label, 0.6, [150.0, 150.0, 300.0, 300.0]),
        ]
    };
    let named = ssd(
        "detection_boxes:0",
        "detection_classes:0",
        "detection_scores:0",
        "num_detections:0",
        3.0,
    );
    let model = recognise(300, &named);
    assert_eq!(
        (model.model_type(), model.labels.name(3)),
        (ModelType::Ssd, "car")
    );
    assert_found(&decode(&model, &named, 0), &expected(3));

    let lite = ssd(
        "TFLite_PP",
        "TFLite_PP:1",
        "TFLite_PP:2",
        "TFLite_PP:3",
        2.0,
    );
    let model = recognise(300, &lite);
    assert_eq!(
        (model.model_type(), model.labels.name(2)),
        (ModelType::Ssd, "car")
    );
    assert_found(&decode(&model, &lite, 0), &expected(2));

    let mut broken = named.to_vec();
    for count in [f32::NAN, f32::INFINITY, -3.0, 1e9] {
        broken[3].data[0] = count;
        decode(&model, &broken, 0);
    }
}

#[test]
fn detr_like_queries_are_fractions_and_logits() {
    let logit = |p: f32| (p / (1.0 - p)).ln();
    let boxes = |name| Output::new(name, &[1, 300, 4], 0.0).with(7, &[0.5, 0.25, 0.2, 0.1]);
    let rt = [
        Output::new("logits", &[1, 300, 80], -9.0).with(7, &[-9.0, logit(0.8)]),
        boxes("pred_boxes"),
    ];
    let model = recognise(640, &rt);
    assert_eq!(model.model_type(), ModelType::RtDetr);
    assert_found(
        &decode(&model, &rt, 0),
        &[(1, 0.8, [256.0, 128.0, 384.0, 192.0])],
    );

    let rf = [
        boxes("dets"),
        Output::new("labels", &[1, 300, 91], -9.0).with(7, &[-9.0, -9.0, -9.0, logit(0.7)]),
    ];
    let model = recognise(560, &rf);
    assert_eq!(
        (model.model_type(), model.labels.name(3)),
        (ModelType::RfDetr, "car")
    );
    assert!((model.input.tensor.bias[0] + 123.675 / 58.395).abs() < 1e-4);
    assert_found(
        &decode(&model, &rf, 0),
        &[(3, 0.7, [224.0, 112.0, 336.0, 168.0])],
    );
}

#[test]
fn dfine_lists_labels_boxes_and_scores_in_the_size_it_was_told() {
    let outputs = [
        Output::new("labels", &[1, 300], 2.0),
        Output::new("boxes", &[1, 300, 4], 0.0).with(4, &[10.0, 20.0, 30.0, 60.0]),
        Output {
            data: (0..300).map(|i| if i == 4 { 0.95 } else { 0.01 }).collect(),
            ..Output::new("scores", &[1, 300], 0.0)
        },
    ];
    let mut info = info(640, &outputs);
    info.inputs.push(TensorInfo {
        name: "orig_target_sizes".into(),
        element: ElementType::I64,
        dims: vec![1, 2],
    });
    let model = Model::recognise(&info, &[], None, &views(&outputs)).unwrap();
    assert_eq!(model.model_type(), ModelType::Dfine);
    assert_eq!(model.input.sizes.as_ref().map(|s| s.index), Some(1));
    assert_found(
        &decode(&model, &outputs, 0),
        &[(2, 0.95, [10.0, 20.0, 30.0, 60.0])],
    );
}

/// A distribution with all its weight on one distance.
fn bins(distances: [usize; 4]) -> Vec<f32> {
    let mut bins = vec![-50.0; 32];
    for (side, distance) in distances.into_iter().enumerate() {
        bins[side * 8 + distance] = 50.0;
    }
    bins
}

fn nanodet(classes: i64, background: f32, class: (usize, f32)) -> Vec<Output> {
    let sides: [i64; 3] = [40, 20, 10];
    let mut outputs: Vec<Output> = [
        "cls_pred_stride_8",
        "cls_pred_stride_16",
        "cls_pred_stride_32",
    ]
    .into_iter()
    .zip(sides)
    .map(|(name, side)| Output::new(name, &[1, side * side, classes], background))
    .collect();
    outputs.extend(
        [
            "dis_pred_stride_8",
            "dis_pred_stride_16",
            "dis_pred_stride_32",
        ]
        .into_iter()
        .zip(sides)
        .map(|(name, side)| Output::new(name, &[1, side * side, 32], 0.0)),
    );
    // Cell (4, 2) of the middle level.
    let cell = 2 * 20 + 4;
    outputs[1].data[cell * classes as usize + class.0] = class.1;
    outputs[4].row(cell, &bins([1, 2, 3, 4]));
    outputs
}

#[test]
fn nanodet_measures_from_the_middle_of_its_cells() {
    let expected = [(5, 0.8, [72.0 - 16.0, 40.0 - 32.0, 72.0 + 48.0, 40.0 + 64.0])];
    // With scores as they are, with logits, with 32 classes (told apart by name), and in any order.
    let plain = nanodet(80, 0.01, (5, 0.8));
    let model = recognise(320, &plain);
    assert_eq!(model.model_type(), ModelType::NanoDet);
    assert_eq!(model.input.tensor.order, ChannelOrder::Bgr);
    assert_found(&decode(&model, &plain, 0), &expected);

    let logits = nanodet(80, -6.0, (5, (0.8_f32 / 0.2).ln()));
    assert_found(&decode(&recognise(320, &logits), &logits, 0), &expected);

    let same = nanodet(32, 0.01, (5, 0.8));
    assert_found(&decode(&recognise(320, &same), &same, 0), &expected);

    let mut mixed = nanodet(80, 0.01, (5, 0.8));
    mixed.reverse();
    mixed.swap(0, 4);
    assert_found(&decode(&recognise(320, &mixed), &mixed, 0), &expected);
}

#[test]
fn nanodet_plus_measures_from_the_corner_of_its_cells() {
    let rows = cells(416, &[8, 16, 32, 64]);
    let mut values = vec![0.01; 112];
    values[9] = 0.7;
    values[80..].copy_from_slice(&bins([2, 2, 2, 2]));
    let output = Output::new("output", &[1, rows, 112], 0.0).with(52 + 3, &values);
    let model = recognise(416, std::slice::from_ref(&output));
    assert_eq!(model.model_type(), ModelType::NanoDet);
    assert_found(
        &decode(&model, &[output], 0),
        &[(9, 0.7, [8.0, 0.0, 40.0, 24.0])],
    );
}

#[test]
fn each_image_of_a_batch_gets_its_own() {
    let cells = cells(320, &THREE);
    let row = |x: f32| scored([0.0, 0.0, x.ln(), x.ln()], Some(0.9), 2, 1, 0.9);
    let mut output = Output::new("output", &[3, cells, 7], 0.0);
    for (image, cell) in [(0, 40 * 20 + 20), (2, 40 * 10 + 10)] {
        output.row(image * cells as usize + cell, &row(2.0));
    }
    let mut info = info(320, std::slice::from_ref(&output));
    info.inputs[0].dims[0] = -1;
    let outputs = [output];
    let model = Model::recognise(&info, &[], None, &views(&outputs)).unwrap();
    assert_eq!(model.input.batch, Batch::Dynamic);
    assert_found(
        &decode(&model, &outputs, 0),
        &[(1, 0.81, [152.0, 152.0, 168.0, 168.0])],
    );
    assert_found(&decode(&model, &outputs, 1), &[]);
    assert_found(
        &decode(&model, &outputs, 2),
        &[(1, 0.81, [72.0, 72.0, 88.0, 88.0])],
    );
    let mut found = Vec::new();
    let beyond = model.decode(
        &views(&outputs),
        3,
        0.3,
        &mut Scratch::default(),
        &mut found,
    );
    assert!(beyond.is_err());
}

#[test]
fn numbers_that_are_none_vanish() {
    let cells = cells(320, &THREE);
    let nan = f32::NAN;
    let inf = f32::INFINITY;
    let output = Output::new("output", &[1, cells, 7], nan)
        .with(0, &[0.5, 0.5, 0.0, 0.0, nan, 0.9, 0.9])
        .with(1, &[0.5, 0.5, 0.0, 0.0, 0.9, nan, nan])
        .with(2, &[nan, 0.5, 0.0, 0.0, 0.9, 0.9, 0.1])
        .with(3, &[0.5, 0.5, 0.0, -inf, 0.9, 0.9, 0.1])
        .with(4, &[0.5, 0.5, 1.0, 1.0, inf, inf, 0.1])
        .with(5, &[0.5, 0.5, 0.0, 500.0, 0.9, 0.9, 0.1]);
    let mut model = recognise(320, &[Output::new("output", &[1, cells, 7], 0.0)]);
    model.labels = detection::Labels::coco80();
    for found in decode(&model, &[output], 0) {
        assert!((0.0..=1.0).contains(&found.score) && found.bbox.is_valid());
        assert!(BBox::new(0.0, 0.0, 320.0, 320.0).contains(&found.bbox));
    }
}

#[test]
fn shapes_that_fit_nothing_are_told_with_what_would() {
    let outputs = [Output::new("out", &[1, 1000], 0.0)];
    let error = Model::recognise(&info(224, &outputs), &[], None, &views(&outputs)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("out f32[1,1000]"), "{text}");
    for family in ModelType::ALL {
        assert!(
            text.contains(&format!("{family} ({}", family.shapes())),
            "{text}"
        );
    }
    let asked = Model::recognise(
        &info(224, &outputs),
        &[ModelType::Yolox],
        None,
        &views(&outputs),
    );
    assert!(
        asked
            .unwrap_err()
            .to_string()
            .contains("model-type=yolox was asked for")
    );
}

#[test]
fn inputs_that_take_no_picture_are_refused() {
    let output = [Output::new("output", &[1, cells(320, &THREE), 85], 0.0)];
    let with_input = |element: ElementType, dims: &[i64]| {
        let mut info = info(320, &output);
        info.inputs[0].element = element;
        info.inputs[0].dims = dims.to_vec();
        Model::recognise(&info, &[], None, &views(&output))
    };
    for (element, dims) in [
        (ElementType::F32, vec![1, 4, 320, 320]),
        (ElementType::F32, vec![1, 3, 320]),
        (ElementType::I64, vec![1, 3, 320, 320]),
        (ElementType::F32, vec![1, 3, 0, 320]),
        (ElementType::F32, vec![0, 3, 320, 320]),
        (ElementType::F32, vec![1, 3, 1 << 40, 320]),
    ] {
        let error = with_input(element.clone(), &dims).unwrap_err();
        assert!(
            matches!(error, ModelError::Input { .. }),
            "{element} {dims:?}: {error}"
        );
    }
    let bytes = with_input(ElementType::U8, &[1, 320, 320, 3]).unwrap();
    assert_eq!(bytes.input.tensor.layout, Layout::Nhwc);
    assert_eq!(bytes.input.tensor.scale, [1.0; 3]);
}

#[test]
fn open_sides_come_from_the_user_or_the_metadata() {
    let output = [Output::new("output", &[1, cells(480, &THREE), 85], 0.0)];
    let mut info = info(-1, &output);
    info.metadata.insert("imgsz".into(), "[480, 480]".into());
    let model = Model::recognise(&info, &[], None, &views(&output)).unwrap();
    assert_eq!(
        (model.input.tensor.width, model.input.tensor.height),
        (480, 480)
    );
    assert!(Model::recognise(&info, &[], Some(320), &views(&output)).is_err());
}

#[test]
fn families_are_known_by_our_names_and_frigates() {
    for family in ModelType::ALL {
        assert_eq!(ModelType::named(&family.to_string()), Ok(vec![family]));
    }
    for (name, family) in [
        ("yolo-generic", ModelType::Yolov8),
        ("YOLOX", ModelType::Yolox),
        ("dfine", ModelType::Dfine),
        ("rfdetr", ModelType::RfDetr),
        ("yolonas", ModelType::YoloNas),
        ("ssd", ModelType::Ssd),
    ] {
        assert_eq!(ModelType::named(name), Ok(vec![family]));
    }
    assert_eq!(ModelType::named("auto"), Ok(vec![]));
    assert_eq!(ModelType::named("detr").map(|f| f.len()), Ok(3));
    assert!(ModelType::named("yolo").unwrap_err().contains("yolox"));
}

/// A matrix whose first rows are these.
fn matrix(name: &'static str, dims: &[i64], rows: &[&[f32]]) -> Output {
    let mut output = Output::new(name, dims, 0.0);
    for (index, row) in rows.iter().enumerate() {
        output.row(index, row);
    }
    output
}

fn refusal(output: &Output, asked: &[ModelType]) -> String {
    let outputs = std::slice::from_ref(output);
    Model::recognise(&info(640, outputs), asked, None, &views(outputs))
        .expect_err("it is refused")
        .to_string()
}

#[test]
fn a_single_class_yolov5_is_not_taken_for_end_to_end() {
    let rows = 3 * cells(640, &THREE);
    let output = matrix(
        "output0",
        &[1, rows, 6],
        &[&[100.0, 200.0, 50.0, 80.0, 0.9, 1.0]],
    );
    let model = recognise(640, std::slice::from_ref(&output));
    assert_eq!(model.model_type(), ModelType::Yolov5);
    assert_found(
        &decode(&model, &[output], 0),
        &[(0, 0.9, [75.0, 160.0, 125.0, 240.0])],
    );
}

#[test]
fn rt_detr_in_one_matrix_is_told_by_metadata_and_by_numbers() {
    // Score and class.
    let mut rows = vec![[0.1, 0.2, 0.05, 0.1, 0.02, 3.0]; 300];
    rows[0] = [0.5, 0.25, 0.2, 0.1, 0.9, 1.0];
    let rows: Vec<&[f32]> = rows.iter().map(|row| &row[..]).collect();
    let six = matrix("output0", &[1, 300, 6], &rows);
    let expected = [(1, 0.9, [256.0, 128.0, 384.0, 192.0])];
    let model = recognise(640, std::slice::from_ref(&six));
    assert_eq!(model.model_type(), ModelType::RtDetr);
    assert_found(&decode(&model, std::slice::from_ref(&six), 0), &expected);

    // These numbers could be corners too, but the metadata say what they are.
    let both = [0.4, 0.3, 0.6, 0.5, 0.9, 1.0];
    let both = matrix("output0", &[1, 300, 6], &[&both[..]; 300]);
    for (key, value) in [
        ("head", "RTDETRDecoder"),
        ("description", "Ultralytics rtdetr-l model"),
    ] {
        let mut info = info(640, std::slice::from_ref(&both));
        info.metadata.insert(key.into(), value.into());
        let probe = std::slice::from_ref(&both);
        let model = Model::recognise(&info, &[], None, &views(probe)).unwrap();
        assert_eq!(model.model_type(), ModelType::RtDetr);
    }

    // A score for each of two classes.
    let two = matrix(
        "output0",
        &[1, 300, 6],
        &[
            &[0.5, 0.25, 0.2, 0.1, 0.1, 0.9],
            &[0.1, 0.2, 0.05, 0.1, 0.01, 0.02],
        ],
    );
    let model = recognise(640, std::slice::from_ref(&two));
    assert_eq!(
        (model.model_type(), model.classes()),
        (ModelType::RtDetr, Some(2))
    );
    assert_found(&decode(&model, &[two], 0), &expected);
}

#[test]
fn two_readings_are_refused_with_both_named_and_the_user_decides() {
    let both = matrix(
        "output0",
        &[1, 300, 6],
        &[&[0.4, 0.3, 0.6, 0.5, 0.9, 1.0][..]; 300],
    );
    let text = refusal(&both, &[]);
    for part in [
        "output0 f32[1,300,6]",
        "end2end (",
        "rtdetr (",
        "model-type",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let outputs = std::slice::from_ref(&both);
    for family in [ModelType::EndToEnd, ModelType::RtDetr] {
        let model = Model::recognise(&info(640, outputs), &[family], None, &views(outputs));
        assert_eq!(model.unwrap().model_type(), family);
    }
}

#[test]
fn a_model_type_that_contradicts_the_shapes_is_refused() {
    let end_to_end = matrix(
        "output0",
        &[1, 300, 6],
        &[&[10.0, 20.0, 110.0, 220.0, 0.9, 3.0]],
    );
    let grid = Output::new("output0", &[1, cells(640, &THREE), 85], 0.0);
    let columns = Output::new("output0", &[1, 84, cells(640, &THREE)], 0.0);
    use ModelType::{EndToEnd, RtDetr, Yolov5, Yolov8, Yolox};
    for (output, contradicting) in [
        (&end_to_end, &[Yolox, Yolov5, Yolov8, RtDetr][..]),
        (&grid, &[EndToEnd, RtDetr, Yolov5]),
        (&columns, &[EndToEnd, RtDetr, Yolov5, Yolox]),
    ] {
        for family in contradicting {
            let text = refusal(output, &[*family]);
            let asked = format!("model-type={family} was asked for");
            assert!(text.contains(&asked), "{text}");
        }
    }
}

#[test]
fn models_with_suppression_give_as_many_rows_as_they_find() {
    let row = [10.0, 20.0, 110.0, 220.0, 0.9, 3.0];
    let expected = [(3, 0.9, [10.0, 20.0, 110.0, 220.0])];
    for (empty, full, expected) in [
        (vec![1, 0, 6], vec![1, 2, 6], &expected),
        (vec![0, 6], vec![2, 6], &expected),
        (
            vec![0, 5],
            vec![2, 5],
            &[(0, 0.9, [10.0, 20.0, 110.0, 220.0])],
        ),
    ] {
        let none = Output::new("output0", &empty, 0.0);
        let model = recognise(640, std::slice::from_ref(&none));
        assert_eq!(model.model_type(), ModelType::EndToEnd, "{empty:?}");
        assert_found(&decode(&model, &[none], 0), &[]);
        let some = matrix("output0", &full, &[&row[..*full.last().unwrap() as usize]]);
        assert_found(&decode(&model, &[some], 0), expected);
    }
}

#[test]
fn lists_of_other_toolkits_are_read_without_rows_and_with() {
    let corners = [10.0, 20.0, 110.0, 220.0];
    let listed = |n: i64, batch: &[i64]| {
        let dims = |more: &[i64]| [batch, &[n], more].concat();
        let n = n.min(1) as usize;
        [
            matrix("labels", &dims(&[]), &[&[3.0][..]; 1][..n]),
            matrix("boxes", &dims(&[4]), &[&corners[..]; 1][..n]),
            matrix("scores", &dims(&[]), &[&[0.9][..]; 1][..n]),
        ]
    };
    for batch in [&[1][..], &[]] {
        let model = recognise(640, &listed(0, batch));
        assert_eq!(model.model_type(), ModelType::Dfine);
        assert_found(&decode(&model, &listed(0, batch), 0), &[]);
        assert_found(&decode(&model, &listed(2, batch), 0), &[(3, 0.9, corners)]);
    }
    let mmdeploy = |n: i64| {
        let rows = &[&[10.0, 20.0, 110.0, 220.0, 0.9][..]][..n.min(1) as usize];
        [
            matrix("dets", &[1, n, 5], rows),
            matrix("labels", &[1, n], &[&[3.0][..]][..n.min(1) as usize]),
        ]
    };
    let model = recognise(640, &mmdeploy(0));
    assert_found(&decode(&model, &mmdeploy(0), 0), &[]);
    assert_found(&decode(&model, &mmdeploy(2), 0), &[(3, 0.9, corners)]);

    let paddle = |n: i64| {
        let rows = &[&[3.0, 0.9, 10.0, 20.0, 110.0, 220.0][..]][..n.min(1) as usize];
        [
            matrix("multiclass_nms3_0.tmp_0", &[n, 6], rows),
            Output::new("multiclass_nms3_0.tmp_2", &[1], n as f32),
        ]
    };
    let model = recognise(640, &paddle(0));
    assert_found(&decode(&model, &paddle(0), 0), &[]);
    assert_found(&decode(&model, &paddle(2), 0), &[(3, 0.9, corners)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_shapes_and_numbers_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        regiondetect_core::decode::fuzz(&bytes);
    }

    #[test]
    fn a_tensor_of_another_length_is_an_error(length in 0_usize..9000, columns in -2_i64..90, rank in 1_usize..5) {
        let output = Output::new("output", &[1, cells(320, &THREE), 7], 0.0);
        let model = recognise(320, std::slice::from_ref(&output));
        let mut dims = vec![1, cells(320, &THREE), columns, 1];
        dims.truncate(rank);
        let data = vec![0.9; length];
        let view = [TensorView { dims: &dims, data: &data }];
        let mut found = Vec::new();
        let result = model.decode(&view, 0, 0.3, &mut Scratch::default(), &mut found);
        let fits = dims == [1, cells(320, &THREE), 7] && length >= 7 * cells(320, &THREE) as usize;
        prop_assert_eq!(result.is_ok(), fits);
    }
}

#[test]
fn every_listed_name_is_known_and_every_family_has_one() {
    let mut families = Vec::new();
    for name in ModelType::names() {
        families.extend(ModelType::named(&name.to_uppercase()).unwrap());
    }
    assert!(
        ModelType::ALL
            .iter()
            .all(|family| families.contains(family))
    );
    assert!(ModelType::names().any(|name| name == "yolo-generic"));
    let error = ModelType::named("yolo99").unwrap_err();
    assert!(
        error.contains("yolo99") && error.contains("yolov9"),
        "{error}"
    );
}
