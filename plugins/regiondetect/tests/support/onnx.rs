//! Writes tiny ONNX files, so that tests can meet any model they need: protobuf by hand, just the few messages of it.
//!
//! A made-up model has constant outputs. To make ONNX Runtime need its input (and to make the batch axis real) each output
//! is `constant + 0 * mean(input)`, where the mean keeps the batch axis.

use std::path::{Path, PathBuf};

/// ONNX's numbers for element types.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Type {
    F32 = 1,
    U8 = 2,
    I64 = 7,
    Bool = 9,
    F16 = 10,
}

/// One dimension: a number, or a name where it is open.
#[derive(Clone)]
pub enum Dim {
    Is(i64),
    Open(&'static str),
}

/// A constant output, for one image: `dims` and `data` without the batch axis.
#[derive(Clone)]
pub struct Constant {
    pub name: &'static str,
    pub dims: Vec<i64>,
    pub data: Vec<f32>,
}

/// A model with one picture as input and constant outputs.
#[derive(Clone)]
pub struct Tiny {
    pub input_type: Type,
    pub input: Vec<Dim>,
    pub outputs: Vec<Constant>,
    pub metadata: Vec<(&'static str, String)>,
    pub opset: i64,
    /// How much work a run is: so many times the input goes through `Abs`, which changes nothing.
    pub work: usize,
    /// A run does not end, unless the picture is black: a `Loop` runs as often as the picture is bright. Batch of one.
    pub hangs: bool,
}

impl Tiny {
    /// f32, NCHW, opset 13.
    pub fn new(batch: Dim, side: i64, outputs: Vec<Constant>) -> Self {
        Self {
            input_type: Type::F32,
            input: vec![batch, Dim::Is(3), Dim::Is(side), Dim::Is(side)],
            outputs,
            metadata: Vec::new(),
            opset: 13,
            work: 0,
            hangs: false,
        }
    }

    /// Writes the file.
    pub fn write(&self, directory: &Path, name: &str) -> PathBuf {
        let path = directory.join(name);
        std::fs::write(&path, self.bytes()).expect("a temporary directory can be written to");
        path
    }

    /// Writes the file as `name`, and the first output's constant beside it as `data`; the file names that `location`.
    pub fn with_external(&self, location: &str, directory: &Path, name: &str) -> PathBuf {
        let floats = &self.outputs[0].data;
        let data: Vec<u8> = floats.iter().flat_map(|v| v.to_le_bytes()).collect();
        std::fs::write(directory.join("data"), data).expect("it can be written");
        let path = directory.join(name);
        std::fs::write(&path, self.encoded(Some(location))).expect("it can be written");
        path
    }

    /// The file's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        self.encoded(None)
    }

    fn encoded(&self, mut external: Option<&str>) -> Vec<u8> {
        let mut graph = Message::default();
        let mut picture = String::from("images");
        if self.input_type != Type::F32 {
            graph.message(1, &cast("images", "picture", Type::F32));
            picture = String::from("picture");
        }
        for i in 0..self.work {
            let next = format!("work{i}");
            graph.message(1, &node("Abs", &[&picture], &next, &[]));
            picture = next;
        }
        // Mean over everything but the batch: [N,1,1,1], and nothing of it in the end.
        let axes = Attribute::Ints("axes", vec![1, 2, 3]);
        graph.message(1, &node("ReduceMean", &[&picture], "mean", &[axes]));
        if self.hangs {
            graph.message(
                1,
                &node("Reshape", &["mean", "scalar_shape"], "brightness", &[]),
            );
            graph.message(1, &node("Mul", &["brightness", "many"], "turns_f32", &[]));
            graph.message(1, &cast("turns_f32", "turns", Type::I64));
            let body = Attribute::Graph("body", loop_body());
            graph.message(1, &node("Loop", &["turns", "", "mean"], "turned", &[body]));
            graph.message(5, &tensor("scalar_shape", &[1], None, Some(&[1])));
            graph.message(5, &tensor("many", &[1], Some(&[1e15]), None));
        }
        let mean = if self.hangs { "turned" } else { "mean" };
        graph.message(1, &node("Mul", &[mean, "zero"], "nothing", &[]));
        for output in &self.outputs {
            // [N,1,1,1] -> [N,1,..,1] of the output's rank.
            let (flat, sum) = (format!("{}_flat", output.name), output.name);
            let shape = format!("{}_shape", output.name);
            graph.message(1, &node("Reshape", &["nothing", &shape], &flat, &[]));
            let constant = format!("{}_constant", output.name);
            graph.message(1, &node("Add", &[&flat, &constant], sum, &[]));
        }
        graph.bytes(2, b"tiny");
        graph.message(5, &tensor("zero", &[1], Some(&[0.0]), None));
        for output in &self.outputs {
            let mut shape = vec![-1];
            shape.extend(output.dims.iter().map(|_| 1));
            let shape_name = format!("{}_shape", output.name);
            graph.message(
                5,
                &tensor(&shape_name, &[shape.len() as i64], None, Some(&shape)),
            );
            let mut dims = vec![1];
            dims.extend(&output.dims);
            let name = format!("{}_constant", output.name);
            graph.message(
                5,
                &match external.take() {
                    Some(location) => external_tensor(&name, &dims, location),
                    None => tensor(&name, &dims, Some(&output.data), None),
                },
            );
        }
        graph.message(11, &value("images", self.input_type, &self.input));
        for output in &self.outputs {
            let mut dims = vec![self.input[0].clone()];
            dims.extend(output.dims.iter().map(|d| Dim::Is(*d)));
            graph.message(12, &value(output.name, Type::F32, &dims));
        }

        let mut model = Message::default();
        model.number(1, 8);
        model.message(7, &graph);
        let mut opset = Message::default();
        opset.bytes(1, b"");
        opset.number(2, self.opset);
        model.message(8, &opset);
        for (key, text) in &self.metadata {
            let mut entry = Message::default();
            entry.bytes(1, key.as_bytes());
            entry.bytes(2, text.as_bytes());
            model.message(14, &entry);
        }
        model.0
    }
}

/// Side of the made-up models' input.
pub const SIDE: i64 = 64;
/// Cells of strides 8, 16 and 32 in it.
pub const CELLS: i64 = 64 + 16 + 4;

/// An output that is `fill` but where it is `set`.
pub fn filled(name: &'static str, dims: &[i64], fill: f32, set: &[(usize, f32)]) -> Constant {
    let length = dims.iter().product::<i64>() as usize;
    let mut data = vec![fill; length];
    for (at, value) in set {
        data[*at] = *value;
    }
    Constant {
        name,
        dims: dims.to_vec(),
        data,
    }
}

/// YOLOX with a box of 16x32 at cell (3, 2) of the first level.
pub fn yolox(batch: Dim) -> Tiny {
    let at = (2 * 8 + 3) * 7;
    let set = [
        (at, 0.5),
        (at + 1, 0.5),
        (at + 2, 2.0_f32.ln()),
        (at + 3, 4.0_f32.ln()),
        (at + 4, 0.9),
        (at + 6, 0.9),
    ];
    let mut tiny = Tiny::new(batch, SIDE, vec![filled("output", &[CELLS, 7], 0.0, &set)]);
    tiny.metadata.push(("names", "{0: 'cat', 1: 'fox'}".into()));
    tiny
}

/// A protobuf message in the making.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u64, value: i64) {
        self.varint(field << 3);
        self.varint(value as u64);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u64, message: &Self) {
        self.bytes(field, &message.0);
    }
}

enum Attribute {
    Int(&'static str, i64),
    Ints(&'static str, Vec<i64>),
    Graph(&'static str, Message),
}

/// The body of a `Loop` that goes on, with one value that stays as it is.
fn loop_body() -> Message {
    let mut body = Message::default();
    body.message(1, &node("Identity", &["goes_on"], "goes_on_out", &[]));
    body.message(1, &node("Abs", &["kept"], "kept_out", &[]));
    body.bytes(2, b"body");
    let one = [Dim::Is(1), Dim::Is(1), Dim::Is(1), Dim::Is(1)];
    body.message(11, &value("turn", Type::I64, &[]));
    body.message(11, &value("goes_on", Type::Bool, &[]));
    body.message(11, &value("kept", Type::F32, &one));
    body.message(12, &value("goes_on_out", Type::Bool, &[]));
    body.message(12, &value("kept_out", Type::F32, &one));
    body
}

fn node(kind: &str, inputs: &[&str], output: &str, attributes: &[Attribute]) -> Message {
    let mut node = Message::default();
    for input in inputs {
        node.bytes(1, input.as_bytes());
    }
    node.bytes(2, output.as_bytes());
    node.bytes(4, kind.as_bytes());
    for attribute in attributes {
        let mut message = Message::default();
        match attribute {
            Attribute::Int(name, value) => {
                message.bytes(1, name.as_bytes());
                message.number(3, *value);
                message.number(20, 2);
            }
            Attribute::Ints(name, values) => {
                message.bytes(1, name.as_bytes());
                values.iter().for_each(|v| message.number(8, *v));
                message.number(20, 7);
            }
            Attribute::Graph(name, graph) => {
                message.bytes(1, name.as_bytes());
                message.message(6, graph);
                message.number(20, 5);
            }
        }
        node.message(5, &message);
    }
    node
}

fn cast(from: &str, to: &str, element: Type) -> Message {
    node("Cast", &[from], to, &[Attribute::Int("to", element as i64)])
}

fn tensor(name: &str, dims: &[i64], floats: Option<&[f32]>, ints: Option<&[i64]>) -> Message {
    let mut tensor = Message::default();
    dims.iter().for_each(|d| tensor.number(1, *d));
    let (kind, raw): (Type, Vec<u8>) = match (floats, ints) {
        (Some(values), _) => (
            Type::F32,
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ),
        (_, values) => (
            Type::I64,
            values
                .unwrap_or(&[])
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect(),
        ),
    };
    tensor.number(2, kind as i64);
    tensor.bytes(8, name.as_bytes());
    tensor.bytes(9, &raw);
    tensor
}

/// Floats that lie in another file.
fn external_tensor(name: &str, dims: &[i64], location: &str) -> Message {
    let mut tensor = Message::default();
    dims.iter().for_each(|d| tensor.number(1, *d));
    tensor.number(2, Type::F32 as i64);
    tensor.bytes(8, name.as_bytes());
    let mut entry = Message::default();
    entry.bytes(1, b"location");
    entry.bytes(2, location.as_bytes());
    tensor.message(13, &entry);
    tensor.number(14, 1);
    tensor
}

fn value(name: &str, element: Type, dims: &[Dim]) -> Message {
    let mut shape = Message::default();
    for dim in dims {
        let mut message = Message::default();
        match dim {
            Dim::Is(size) => message.number(1, *size),
            Dim::Open(name) => message.bytes(2, name.as_bytes()),
        }
        shape.message(1, &message);
    }
    let mut tensor = Message::default();
    tensor.number(1, element as i64);
    tensor.message(2, &shape);
    let mut kind = Message::default();
    kind.message(1, &tensor);
    let mut value = Message::default();
    value.bytes(1, name.as_bytes());
    value.message(2, &kind);
    value
}
