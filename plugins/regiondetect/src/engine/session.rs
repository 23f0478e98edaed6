//! One session of ONNX Runtime with its model: takes inputs, gives detections.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use detection::Detection;
use half::f16;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session, SessionInputValue, SessionOutputs};
use ort::value::{Outlet, TensorElementType, TensorRef, ValueType};
use regiondetect_core::decode::{
    Batch, ElementType, InputSpec, Model, ModelInfo, Sanity, Scratch, TensorInfo, TensorView,
};
use regiondetect_core::tensor::Layout;

use super::input::{Data, Input};
use super::library::{self, Runtime};
use super::provider::Provider;
use super::{EngineError, EngineOptions, FrameTimes, lock};

/// A session, and what it needs to make detections of its outputs.
pub(super) struct Inference {
    session: Session,
    model: Arc<Model>,
    /// Where images are put side by side for a run of several.
    batch: Option<Input>,
    converted: Vec<Vec<f32>>,
    scratch: Scratch,
    /// Shared by all sessions of the engine.
    sanity: Arc<Mutex<Sanity>>,
}

impl Inference {
    /// Loads the model and recognises it by a run on an empty picture.
    pub fn open(
        options: &EngineOptions,
        threads: usize,
        sanity: &Arc<Mutex<Sanity>>,
    ) -> Result<Self, EngineError> {
        let runtime = library::runtime(options.onnxruntime.as_deref())?;
        let path = &options.model;
        let mut session = create(&runtime, path, options.provider, threads)?;
        let unsupported = |error| EngineError::Unsupported {
            path: path.clone(),
            error,
        };
        let mut info = describe(&session);
        let input = InputSpec::of(&info, options.side).map_err(unsupported)?;

        let images = match input.batch {
            Batch::Fixed(n) => n,
            Batch::Dynamic => 1,
        };
        let mut converted = vec![Vec::new(); info.outputs.len()];
        let empty = Input::new(&input, images);
        let probe = |message: String| EngineError::Probe {
            path: path.clone(),
            message,
        };
        let outputs = run(&mut session, &input, &empty, images).map_err(probe)?;
        let views = views(&outputs, &mut converted).map_err(probe)?;
        for (info, view) in info.outputs.iter_mut().zip(&views) {
            info.dims = view.dims.to_vec();
        }
        let model = Model::recognise(&info, &options.model_type, options.side, &views)
            .map_err(unsupported)?;
        drop(views);
        drop(outputs);
        Ok(Self {
            session,
            model: Arc::new(model),
            batch: None,
            converted,
            scratch: Scratch::default(),
            sanity: Arc::clone(sanity),
        })
    }

    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Runs up to a batch of inputs; `found` gets the detections of each. Returns what it took.
    pub fn run<'a>(
        &mut self,
        inputs: impl ExactSizeIterator<Item = &'a Input> + Clone,
        mut found: impl FnMut(usize, &mut dyn FnMut(f32, &mut Vec<Detection>) -> Result<(), String>),
    ) -> Result<FrameTimes, String> {
        let count = inputs.len();
        let images = match self.model.input.batch {
            Batch::Fixed(n) => n,
            Batch::Dynamic => count,
        };
        let single = inputs.clone().next().filter(|_| images == 1);
        let input = match single {
            Some(input) => input,
            None => {
                let spec = &self.model.input;
                // Made for the largest batch so far; a shorter one uses the start of it.
                let needed = spec.tensor.len() * images;
                if self.batch.as_ref().is_none_or(|b| b.len() < needed) {
                    self.batch = None;
                }
                let batch = (self.batch).get_or_insert_with(|| Input::new(spec, images));
                for (image, input) in inputs.enumerate() {
                    batch.copy_image(image, input);
                }
                batch
            }
        };
        let start = Instant::now();
        let outputs = run(&mut self.session, &self.model.input, input, images)?;
        let inference = start.elapsed();
        let views = views(&outputs, &mut self.converted)?;
        for image in 0..count {
            found(image, &mut |min_score, out| {
                self.model
                    .decode(&views, image, min_score, &mut self.scratch, out)
                    .map_err(|error| error.to_string())?;
                lock(&self.sanity).note(self.scratch.tally());
                Ok(())
            });
        }
        Ok(FrameTimes {
            inference,
            decode: start.elapsed() - inference,
            ..FrameTimes::default()
        })
    }
}

fn create(
    runtime: &Runtime,
    path: &Path,
    provider: Provider,
    threads: usize,
) -> Result<Session, EngineError> {
    let load = |message: String| EngineError::Load {
        path: path.to_owned(),
        runtime: runtime.version.clone(),
        message,
    };
    let unavailable = |message: String| EngineError::Provider {
        asked: provider.to_string(),
        message,
        library: runtime.path.display().to_string(),
        available: Provider::available(),
    };
    let mut builder = options(runtime, threads).map_err(|error| load(error.to_string()))?;
    if let Some(dispatch) = provider.dispatch() {
        if !provider.is_available() {
            return Err(unavailable(String::from(
                "this build of ONNX Runtime does not have it",
            )));
        }
        builder = builder
            .with_execution_providers([dispatch])
            .map_err(|error| unavailable(error.to_string()))?;
    }
    builder
        .commit_from_file(path)
        .map_err(|error| load(error.to_string()))
}

/// The arena and its memory pattern stay on: measured with YOLOX-nano, sessions without the arena fault in 20 MiB more
/// while they run and take 4 to 10% more CPU.
fn options(runtime: &Runtime, threads: usize) -> ort::Result<SessionBuilder> {
    Ok(Session::builder(&runtime.environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(threads)?
        .with_inter_threads(1)?
        // Threads that spin while they wait for work take the cores from decoders.
        .with_intra_op_spinning(false)?)
}

fn describe(session: &Session) -> ModelInfo {
    let mut info = ModelInfo {
        inputs: session.inputs().iter().map(tensor_info).collect(),
        outputs: session.outputs().iter().map(tensor_info).collect(),
        ..ModelInfo::default()
    };
    if let Ok(metadata) = session.metadata() {
        for key in metadata.custom_keys().unwrap_or_default() {
            if let Some(value) = metadata.custom(&key) {
                info.metadata.insert(key, value);
            }
        }
    }
    info
}

fn tensor_info(outlet: &Outlet) -> TensorInfo {
    let (element, dims) = match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => {
            let element = match ty {
                TensorElementType::Float32 => ElementType::F32,
                TensorElementType::Float16 => ElementType::F16,
                TensorElementType::Uint8 => ElementType::U8,
                TensorElementType::Int32 => ElementType::I32,
                TensorElementType::Int64 => ElementType::I64,
                other => ElementType::Other(other.to_string()),
            };
            (element, shape.to_vec())
        }
        _ => (ElementType::Other(String::from("not a tensor")), Vec::new()),
    };
    TensorInfo {
        name: outlet.name().to_owned(),
        element,
        dims,
    }
}

fn run<'s>(
    session: &'s mut Session,
    spec: &InputSpec,
    input: &Input,
    images: usize,
) -> Result<SessionOutputs<'s>, String> {
    let tensor = &spec.tensor;
    let shape = match tensor.layout {
        Layout::Nchw => [images, 3, tensor.height, tensor.width],
        Layout::Nhwc => [images, tensor.height, tensor.width, 3],
    };
    let length = images * tensor.len();
    let picture: SessionInputValue = match &input.data {
        Data::F32(data) => TensorRef::from_array_view((shape, &data[..length])).map(Into::into),
        Data::F16(data) => TensorRef::from_array_view((shape, &data[..length])).map(Into::into),
        Data::U8(data) => TensorRef::from_array_view((shape, &data[..length])).map(Into::into),
    }
    .map_err(|error| error.to_string())?;
    let result = match &spec.sizes {
        None => session.run([picture]),
        Some(side) => {
            let sizes = [tensor.width as i64, tensor.height as i64].repeat(images);
            let sizes = TensorRef::from_array_view(([images, 2], &sizes[..]))
                .map_err(|error| error.to_string())?;
            // Boxes then come in pixels of the input.
            if side.index == 0 {
                session.run([sizes.into(), picture])
            } else {
                session.run([picture, sizes.into()])
            }
        }
    };
    result.map_err(|error| error.to_string())
}

/// All outputs as floats. What is not f32 is converted into `converted`.
fn views<'a>(
    outputs: &'a SessionOutputs,
    converted: &'a mut [Vec<f32>],
) -> Result<Vec<TensorView<'a>>, String> {
    let mut views = Vec::with_capacity(outputs.len());
    for (index, converted) in (0..outputs.len()).zip(converted) {
        let value = &outputs[index];
        let message = |error: ort::Error| error.to_string();
        let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
            return Err(String::from("an output is not a tensor"));
        };
        converted.clear();
        let dims = match ty {
            TensorElementType::Float32 => {
                let (shape, data) = value.try_extract_tensor::<f32>().map_err(message)?;
                views.push(TensorView { dims: shape, data });
                continue;
            }
            TensorElementType::Float16 => {
                let (shape, data) = value.try_extract_tensor::<f16>().map_err(message)?;
                converted.extend(data.iter().map(|v| v.to_f32()));
                shape
            }
            TensorElementType::Int64 => {
                let (shape, data) = value.try_extract_tensor::<i64>().map_err(message)?;
                converted.extend(data.iter().map(|v| *v as f32));
                shape
            }
            TensorElementType::Int32 => {
                let (shape, data) = value.try_extract_tensor::<i32>().map_err(message)?;
                converted.extend(data.iter().map(|v| *v as f32));
                shape
            }
            TensorElementType::Uint8 => {
                let (shape, data) = value.try_extract_tensor::<u8>().map_err(message)?;
                converted.extend(data.iter().map(|v| f32::from(*v)));
                shape
            }
            // Of a kind no decoder reads: it still has a shape to tell of.
            _ => shape,
        };
        views.push(TensorView {
            dims,
            data: converted,
        });
    }
    Ok(views)
}
