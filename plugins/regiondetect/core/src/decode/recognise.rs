//! Tells model families apart.

use std::fmt;

use detection::Labels;

use super::boxes::{BoxForm, Boxes};
use super::grid::{self, STRIDES_3, STRIDES_4};
use super::nanodet::{self, NanoDet};
use super::rows::{self, Columns, Form, Rows};
use super::yolo::{Flat, Yolo};
use super::{Heads, InputSpec, Model, ModelError, ModelInfo, TensorInfo, TensorView, labels};

/// A family of models: what their outputs look like and how they were trained to be fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModelType {
    /// YOLOX.
    Yolox,
    /// YOLOv5 and others with three anchors per cell.
    Yolov5,
    /// YOLOv8, v9, v11 and later without anchors.
    Yolov8,
    /// Heads that do their own suppression (YOLOv10, YOLO26, exports with `nms`).
    EndToEnd,
    /// YOLO-NAS with flat predictions, as Frigate asks for.
    YoloNas,
    /// SSD with post-processing.
    Ssd,
    /// RT-DETR.
    RtDetr,
    /// D-FINE (and RT-DETR exported the same way).
    Dfine,
    /// RF-DETR.
    RfDetr,
    /// NanoDet and NanoDet-Plus.
    NanoDet,
}

impl ModelType {
    /// All families, in the order they are tried.
    pub const ALL: [Self; 10] = [
        Self::NanoDet,
        Self::Ssd,
        Self::Dfine,
        Self::RtDetr,
        Self::RfDetr,
        Self::EndToEnd,
        Self::YoloNas,
        Self::Yolov8,
        Self::Yolov5,
        Self::Yolox,
    ];

    /// The shapes its outputs have.
    pub fn shapes(self) -> &'static str {
        match self {
            Self::Yolox => "[N,cells,5+C], cells of strides 8, 16, 32",
            Self::Yolov5 => "[N,3*cells,5+C]",
            Self::Yolov8 => "[N,4+C,cells]",
            Self::EndToEnd => "[N,K,6] or [K,6]: x1,y1,x2,y2,score,class; [K,5] without class",
            Self::YoloNas => "[K,7]: image,x1,y1,x2,y2,score,class",
            Self::Ssd => "boxes [N,K,4], classes [N,K], scores [N,K], count [N]",
            Self::RtDetr => {
                "logits [N,K,C] and boxes [N,K,4], or in one [N,K,4+C] or [N,K,6] with score and class"
            }
            Self::Dfine => {
                "labels [N,K], boxes [N,K,4], scores [N,K] (or without N), or dets [N,K,5] and labels [N,K]"
            }
            Self::RfDetr => "dets [N,K,4] and labels [N,K,C]",
            Self::NanoDet => {
                "three class heads [N,cells,C] and three distribution heads [N,cells,32] of strides 8, 16, 32, or one \
                 [N,cells,C+32] of strides 8, 16, 32, 64"
            }
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Yolox => "yolox",
            Self::Yolov5 => "yolov5",
            Self::Yolov8 => "yolov8",
            Self::EndToEnd => "end2end",
            Self::YoloNas => "yolonas",
            Self::Ssd => "ssd",
            Self::RtDetr => "rtdetr",
            Self::Dfine => "dfine",
            Self::RfDetr => "rfdetr",
            Self::NanoDet => "nanodet",
        }
    }
}

impl fmt::Display for ModelType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Every name of a family that is accepted: ours, and those of Frigate and of the models' authors.
const NAMES: [(&str, &[ModelType]); 24] = [
    ("auto", &[]),
    ("yolox", &[ModelType::Yolox]),
    ("yolov5", &[ModelType::Yolov5]),
    ("yolov7", &[ModelType::Yolov5]),
    ("yolov8", &[ModelType::Yolov8]),
    ("yolov9", &[ModelType::Yolov8]),
    ("yolo11", &[ModelType::Yolov8]),
    ("yolov11", &[ModelType::Yolov8]),
    ("yolo12", &[ModelType::Yolov8]),
    ("yolo-generic", &[ModelType::Yolov8]),
    ("end2end", &[ModelType::EndToEnd]),
    ("end-to-end", &[ModelType::EndToEnd]),
    ("yolov10", &[ModelType::EndToEnd]),
    ("yolo26", &[ModelType::EndToEnd]),
    ("yolonas", &[ModelType::YoloNas]),
    ("ssd", &[ModelType::Ssd]),
    (
        "detr",
        &[ModelType::Dfine, ModelType::RfDetr, ModelType::RtDetr],
    ),
    ("rtdetr", &[ModelType::RtDetr]),
    ("rt-detr", &[ModelType::RtDetr]),
    ("dfine", &[ModelType::Dfine]),
    ("d-fine", &[ModelType::Dfine]),
    ("rfdetr", &[ModelType::RfDetr]),
    ("rf-detr", &[ModelType::RfDetr]),
    ("nanodet", &[ModelType::NanoDet]),
];

impl ModelType {
    /// The families a name stands for, more than one for `detr`; none for `auto` and the empty text.
    pub fn named(text: &str) -> Result<Vec<Self>, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let known = NAMES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text));
        match known {
            Some((_, families)) => Ok(families.to_vec()),
            None => Err(format!(
                "model-type {text:?} is not known; known are {}",
                Self::names().collect::<Vec<_>>().join(", ")
            )),
        }
    }

    /// Every name that [`Self::named`] accepts.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }
}

/// Everything known about a model's outputs when its family is asked for.
struct Evidence<'a> {
    outputs: &'a [TensorInfo],
    /// What a run on a grey picture gave; empty if there was none.
    probe: &'a [TensorView<'a>],
    /// Names of classes from the metadata.
    names: Option<&'a Labels>,
    input: &'a InputSpec,
    /// The family was named, which decides where the evidence leaves several.
    asked: bool,
    /// The metadata of Ultralytics says that the head is RT-DETR's.
    is_rtdetr: bool,
}

impl Model {
    /// Recognises a model from what its file says. `outputs` of `info` should have the dimensions of the probe run where
    /// the file leaves them open; `asked` are the families it may be of (empty: any); `probe` are the outputs of
    /// that run on a grey picture, and may be empty where there was none. `side` is the side of the input where the file leaves it open (then: metadata `imgsz`, else 640).
    pub fn recognise(
        info: &ModelInfo,
        asked: &[ModelType],
        side: Option<usize>,
        probe: &[TensorView],
    ) -> Result<Self, ModelError> {
        let input = InputSpec::of(info, side)?;
        let names = info
            .metadata
            .get("names")
            .and_then(|text| labels::names_from_metadata(text));
        let evidence = Evidence {
            outputs: &info.outputs,
            probe,
            names: names.as_ref(),
            input: &input,
            asked: asked.len() == 1,
            is_rtdetr: is_rtdetr(info),
        };
        let families = if asked.is_empty() {
            &ModelType::ALL
        } else {
            asked
        };
        let mut readings = row_readings(&evidence);
        readings.retain(|(family, _)| families.contains(family));
        if let [(first, a), (second, b), ..] = readings[..] {
            return Err(ModelError::ambiguous(info, (first, a), (second, b)));
        }
        let (model_type, heads) = families
            .iter()
            .find_map(|t| heads_as(*t, &evidence).map(|heads| (*t, heads)))
            .ok_or_else(|| ModelError::outputs(info, asked))?;
        let mut model = Self {
            model_type,
            input: input.colours_of(model_type),
            labels: Labels::new(Vec::new()),
            heads,
        };
        model.labels = names.unwrap_or_else(|| model.default_labels());
        Ok(model)
    }

    /// COCO in the numbering the outputs suggest, else plain numbers.
    fn default_labels(&self) -> Labels {
        let zero_based_91 =
            || Labels::new(labels::coco91().iter().skip(1).map(str::to_owned).collect());
        match (self.model_type, self.classes()) {
            (ModelType::Ssd, _) => match &self.heads {
                Heads::Boxes(boxes) if boxes.counts_from_zero() => zero_based_91(),
                _ => labels::coco91(),
            },
            (_, Some(80) | None) => Labels::coco80(),
            (_, Some(91)) => labels::coco91(),
            (_, Some(90)) => zero_based_91(),
            (_, Some(classes)) => Labels::new((0..classes).map(|n| format!("class {n}")).collect()),
        }
    }
}

/// The heads, if the outputs can be those of this family.
fn heads_as(family: ModelType, evidence: &Evidence) -> Option<Heads> {
    match family {
        ModelType::NanoDet => nanodet(evidence).map(Heads::NanoDet),
        ModelType::Ssd => ssd(evidence).map(Heads::Boxes),
        ModelType::Dfine => boxes_labels_scores(evidence)
            .or_else(|| scored_boxes(evidence))
            .map(Heads::Boxes),
        ModelType::RtDetr => {
            rows_of(family, evidence).or_else(|| queries(evidence, family).map(Heads::Boxes))
        }
        ModelType::RfDetr => queries(evidence, family).map(Heads::Boxes),
        ModelType::EndToEnd => rows_of(family, evidence),
        ModelType::YoloNas => flat(evidence).map(Heads::Yolo),
        ModelType::Yolov8 => yolov8(evidence).map(Heads::Yolo),
        ModelType::Yolov5 => yolov5(evidence).map(Heads::Yolo),
        ModelType::Yolox => yolox(evidence).map(Heads::Yolo),
    }
}

/// The two dimensions after the batch, both positive.
fn matrix(output: &TensorInfo) -> Option<[usize; 2]> {
    match *output.dims.as_slice() {
        [_, a, b] if a > 0 && b > 0 => Some([usize::try_from(a).ok()?, usize::try_from(b).ok()?]),
        _ => None,
    }
}

/// The first output, where others may follow that are masks or feature maps.
fn first_matrix(evidence: &Evidence) -> Option<[usize; 2]> {
    let (first, rest) = evidence.outputs.split_first()?;
    rest.iter()
        .all(|o| o.dims.len() != 3)
        .then(|| matrix(first))?
}

fn levels(evidence: &Evidence, strides: &[usize]) -> Vec<grid::Level> {
    let tensor = &evidence.input.tensor;
    grid::levels(tensor.width, tensor.height, strides)
}

fn yolox(evidence: &Evidence) -> Option<Yolo> {
    let [rows, columns] = first_matrix(evidence)?;
    let levels = levels(evidence, STRIDES_3);
    if rows != grid::cells(&levels) || columns < 6 {
        return None;
    }
    // Exports with `decode_in_inference` give centres in pixels; all others offsets within a cell, which are small.
    let largest = evidence.probe.first().map_or(0.0, |probe| {
        let centres = probe.data.iter().step_by(columns);
        centres
            .copied()
            .filter(|v| v.is_finite())
            .fold(0.0, f32::max)
    });
    let decoded = largest > evidence.input.tensor.width as f32 / 2.0;
    Some(Yolo::Objectness {
        rows,
        columns,
        classes: columns - 5,
        levels: if decoded { Vec::new() } else { levels },
    })
}

fn yolov5(evidence: &Evidence) -> Option<Yolo> {
    let [rows, columns] = first_matrix(evidence)?;
    // Rows that fit no grid contradict the family, named or not.
    if columns < 6 || !is_grid(evidence, rows, 3) {
        return None;
    }
    let classes = evidence
        .names
        .map_or(columns - 5, |names| names.len().min(columns - 5));
    Some(Yolo::Objectness {
        rows,
        columns,
        classes,
        levels: Vec::new(),
    })
}

fn yolov8(evidence: &Evidence) -> Option<Yolo> {
    let [a, b] = first_matrix(evidence)?;
    let fits = |cells| is_grid(evidence, cells, 1);
    let with_names = |columns: usize| {
        let classes = columns - 4;
        evidence
            .names
            .map_or(classes, |names| names.len().min(classes))
    };
    if a >= 5 && fits(b) {
        return Some(Yolo::Columns {
            channels: a,
            cells: b,
            classes: with_names(a),
        });
    }
    // Transposed, it is told from YOLOX by the number of names only.
    let transposed = evidence.asked || evidence.names.is_some_and(|names| b == names.len() + 4);
    (b >= 5 && fits(a) && transposed).then(|| Yolo::Rows {
        rows: a,
        columns: b,
        classes: with_names(b),
    })
}

/// A row for each of `anchors` boxes per cell, for the strides that heads have.
fn is_grid(evidence: &Evidence, rows: usize, anchors: usize) -> bool {
    const STRIDES: [&[usize]; 5] = [
        STRIDES_3,
        STRIDES_4,
        &[16, 32],
        &[4, 8, 16, 32],
        &[4, 8, 16, 32, 64],
    ];
    STRIDES
        .iter()
        .any(|strides| rows == anchors * grid::cells(&levels(evidence, strides)))
}

/// Rows and columns of a matrix whose rows may be none: suppression in the model found nothing in the probe.
fn rows_and_columns(output: &TensorInfo) -> Option<[usize; 2]> {
    match *output.dims.as_slice() {
        [_, rows, columns] | [rows, columns] if columns > 0 => Some([
            usize::try_from(rows.max(0)).ok()?,
            usize::try_from(columns).ok()?,
        ]),
        _ => None,
    }
}

/// Whether the metadata of Ultralytics name RT-DETR: its head, or the file that it was made from.
fn is_rtdetr(info: &ModelInfo) -> bool {
    ["head", "description"].iter().any(|key| {
        let text = info.metadata.get(*key);
        text.is_some_and(|text| {
            text.to_ascii_lowercase()
                .replace('-', "")
                .contains("rtdetr")
        })
    })
}

/// Everything that one matrix with a row per object can be, judged by its shape, the metadata and the numbers of the
/// probe run.
fn row_readings(evidence: &Evidence) -> Vec<(ModelType, Rows)> {
    let Some((first, rest)) = evidence.outputs.split_first() else {
        return Vec::new();
    };
    let Some([rows, width]) = rows_and_columns(first) else {
        return Vec::new();
    };
    // Others may be masks or feature maps, or a count; a list of labels belongs to another family.
    let is_other_family = |o: &TensorInfo| o.dims.len() == 3 || o.name.contains("label");
    if rest.iter().any(is_other_family)
        || [1, 3]
            .iter()
            .any(|anchors| is_grid(evidence, rows, *anchors))
        || is_grid(evidence, width, 1)
    {
        return Vec::new();
    }
    let is_single = first.dims.len() == 2;
    let layout = |form, columns| Rows { form, columns };
    let end_to_end = |form, columns| (ModelType::EndToEnd, layout(form, columns));
    let rt_detr = |columns| (ModelType::RtDetr, layout(Form::CentreFractions, columns));
    let mut readings = match width {
        5 => vec![
            end_to_end(Form::CornerPixels, Columns::BoxScores(1)),
            rt_detr(Columns::BoxScores(1)),
        ],
        6 => vec![
            end_to_end(Form::CornerPixels, Columns::BoxScoreClass),
            end_to_end(Form::CornerFractions, Columns::BoxScoreClass),
            rt_detr(Columns::BoxScoreClass),
            rt_detr(Columns::BoxScores(2)),
        ],
        // Flat predictions have 7 columns and no batch.
        _ if width > 6 && !is_single => vec![rt_detr(Columns::BoxScores(width - 4))],
        _ => Vec::new(),
    };
    // Where it has found something and its name is another, Paddle's order is told by the numbers.
    let is_paddle = first.name.contains("multiclass_nms");
    let data = evidence.probe.first().map_or(&[][..], |probe| probe.data);
    if width == 6 && (is_paddle || is_single && !rows::is_empty(data)) {
        readings.push(end_to_end(Form::CornerPixels, Columns::ClassScoreBox));
    }
    if is_paddle {
        readings.retain(|(_, rows)| rows.columns == Columns::ClassScoreBox);
    }
    if rows::is_empty(data) {
        // Only suppression gives nothing at all, and it gives corners in pixels.
        readings.retain(|(_, rows)| rows.form == Form::CornerPixels && !evidence.is_rtdetr);
        return readings;
    }
    let last_are_whole = data
        .chunks_exact(width)
        .all(|row| row[width - 1].fract() == 0.0);
    readings.retain(|(family, rows)| {
        let fractions = rows::are_fractions(data, *rows);
        let fits_form = match rows.form {
            Form::CornerPixels => !fractions,
            Form::CornerFractions | Form::CentreFractions => fractions,
        };
        // Scores are not whole numbers as a rule, class numbers always are.
        let fits_class = rows.columns != Columns::BoxScores(2) || !last_are_whole;
        let fits_metadata = !evidence.is_rtdetr || *family == ModelType::RtDetr;
        fits_form && fits_class && fits_metadata && rows.allows(data)
    });
    readings
}

fn rows_of(family: ModelType, evidence: &Evidence) -> Option<Heads> {
    let readings = row_readings(evidence);
    let reading = readings.iter().find(|(of, _)| *of == family);
    reading.map(|(_, rows)| Heads::Rows(*rows))
}

/// MMDeploy: boxes with their score, and labels.
fn scored_boxes(evidence: &Evidence) -> Option<Boxes> {
    if evidence.outputs.len() != 2 {
        return None;
    }
    let boxes = evidence
        .outputs
        .iter()
        .position(|o| rows_and_columns(o).is_some_and(|[_, width]| width == 5))?;
    let labels = 1 - boxes;
    let is_list = evidence.outputs[labels].dims.len() + 1 == evidence.outputs[boxes].dims.len();
    (is_list && evidence.outputs[labels].name.contains("label"))
        .then_some(Boxes::Scored { boxes, labels })
}

fn flat(evidence: &Evidence) -> Option<Yolo> {
    let [output] = evidence.outputs else {
        return None;
    };
    match *output.dims.as_slice() {
        [_, 7] => Some(Yolo::Flat(
            if output.name.contains("flat") || evidence.asked {
                Flat::ScoreThenClass
            } else {
                Flat::ClassThenScore
            },
        )),
        _ => None,
    }
}

fn ssd(evidence: &Evidence) -> Option<Boxes> {
    if evidence.outputs.len() != 4 {
        return None;
    }
    let rank = |output: &TensorInfo| output.dims.len();
    let named = |word: &str| evidence.outputs.iter().position(|o| o.name.contains(word));
    let (boxes, classes, scores, count, from_zero) = match (
        named("boxes"),
        named("classes"),
        named("scores"),
        named("num_det"),
    ) {
        (Some(boxes), Some(classes), Some(scores), Some(count)) => {
            (boxes, classes, scores, count, false)
        }
        // TensorFlow Lite's order: boxes, classes, scores, count.
        _ if rank(&evidence.outputs[0]) == 3 && rank(&evidence.outputs[3]) <= 2 => {
            (0, 1, 2, 3, true)
        }
        _ => return None,
    };
    let [rows, four] = matrix(&evidence.outputs[boxes])?;
    let per_row = |i: usize| {
        evidence.outputs[i].dims.len() == 2 && evidence.outputs[i].dims[1] == rows as i64
    };
    (four == 4 && per_row(classes) && per_row(scores)).then_some(Boxes::Listed {
        boxes,
        labels: classes,
        scores,
        count: Some(count),
        form: BoxForm::TopLeftFractions,
        from_zero,
    })
}

fn boxes_labels_scores(evidence: &Evidence) -> Option<Boxes> {
    if evidence.outputs.len() != 3 {
        return None;
    }
    let named = |word: &str| evidence.outputs.iter().position(|o| o.name.contains(word));
    let (boxes, labels, scores) = (named("boxes")?, named("labels")?, named("scores")?);
    let [_, four] = rows_and_columns(&evidence.outputs[boxes])?;
    // As many as boxes, also where suppression in the model gives another number in each run.
    let shape = &evidence.outputs[boxes].dims;
    let per_row = |i: usize| evidence.outputs[i].dims[..] == shape[..shape.len() - 1];
    // The SSD of ONNX's model zoo names them `bboxes`, and gives fractions.
    let form = if evidence.outputs[boxes].name.contains("bboxes") {
        BoxForm::CornerFractions
    } else {
        BoxForm::CornerPixels
    };
    (four == 4 && per_row(labels) && per_row(scores)).then_some(Boxes::Listed {
        boxes,
        labels,
        scores,
        count: None,
        form,
        from_zero: true,
    })
}

fn queries(evidence: &Evidence, family: ModelType) -> Option<Boxes> {
    let matrices: Vec<_> = evidence.outputs.iter().map(matrix).collect();
    let boxes = matrices
        .iter()
        .position(|m| m.is_some_and(|[_, c]| c == 4))?;
    let [rows, _] = matrices[boxes]?;
    let logits = (0..matrices.len())
        .find(|i| *i != boxes && matrices[*i].is_some_and(|[r, _]| r == rows))?;
    let [_, classes] = matrices[logits]?;
    let is_rf = evidence.outputs[boxes].name.contains("det");
    let fits = evidence.asked || is_rf == (family == ModelType::RfDetr);
    (fits && (2..=3).contains(&evidence.outputs.len())).then_some(Boxes::Queries {
        rows,
        classes,
        boxes,
        logits,
    })
}

fn nanodet(evidence: &Evidence) -> Option<NanoDet> {
    let logits = |outputs: &[usize], classes: usize, columns: usize| {
        // Class scores that leave 0..=1 have not been through a sigmoid yet.
        outputs.iter().any(|i| {
            evidence.probe.get(*i).is_some_and(|probe| {
                let rows = probe.data.chunks(columns.max(1));
                rows.flat_map(|row| row.iter().take(classes))
                    .any(|v| !(0.0..=1.0).contains(v))
            })
        })
    };
    if let [_] = evidence.outputs {
        let [rows, columns] = matrix(&evidence.outputs[0])?;
        let levels = levels(evidence, STRIDES_4);
        let fits = rows == grid::cells(&levels) && columns > nanodet::BINS;
        return fits.then(|| {
            let classes = columns - nanodet::BINS;
            NanoDet::single(levels, classes, logits(&[0], classes, columns))
        });
    }
    let levels = levels(evidence, STRIDES_3);
    if evidence.outputs.len() != 2 * levels.len() {
        return None;
    }
    // By their shapes; at 32 classes both kinds look alike, and only the names tell.
    let mut class_heads = Vec::new();
    let mut box_heads = Vec::new();
    let mut classes = None;
    for level in &levels {
        let of_level =
            |i: &usize| matrix(&evidence.outputs[*i]).is_some_and(|[r, _]| r == level.cells());
        let heads: Vec<usize> = (0..evidence.outputs.len()).filter(of_level).collect();
        let [first, second] = heads[..] else {
            return None;
        };
        let width = |i: usize| matrix(&evidence.outputs[i]).map_or(0, |[_, c]| c);
        let is_box = |i: usize| {
            let name = &evidence.outputs[i].name;
            name.contains("dis") || name.contains("reg") || name.contains("box")
        };
        let swap = width(second) != nanodet::BINS
            || (width(first) == nanodet::BINS && is_box(first) && !is_box(second));
        let (class, bins) = if swap {
            (second, first)
        } else {
            (first, second)
        };
        if width(bins) != nanodet::BINS || *classes.get_or_insert(width(class)) != width(class) {
            return None;
        }
        class_heads.push(class);
        box_heads.push(bins);
    }
    let classes = classes?;
    let logits = logits(&class_heads, classes, classes);
    Some(NanoDet::heads(
        levels,
        classes,
        logits,
        class_heads,
        box_heads,
    ))
}
