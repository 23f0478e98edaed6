//! The inference engine: one per model and process, shared by every element that names the same model.
//!
//! The only place that knows ONNX Runtime (`ort`). An element opens an [`Engine`], takes a [`Client`] from it and runs
//! frames through that: it fills model inputs, the engine's workers run them, and the detections come back. Inputs are
//! few and go round among all clients in turn, one input each turn, so that a crowded camera cannot starve a quiet one,
//! and memory does not grow with the number of cameras. A client never has more than one frame in the engine.

mod error;
mod input;
mod library;
mod provider;
mod queue;
mod session;
mod worker;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use regiondetect_core::decode::{Batch, Model, ModelType, Sanity};

pub use error::{EngineError, RunError};
pub use provider::Provider;
pub use queue::{Client, EngineStats, FrameTimes};

use queue::Queue;
use session::Inference;

/// What an engine is opened with. Two elements share an engine if all of it is equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EngineOptions {
    /// The ONNX file.
    pub model: PathBuf,
    /// The library of ONNX Runtime, where it is not to be searched for.
    pub onnxruntime: Option<PathBuf>,
    /// The families it may be of; empty: any.
    pub model_type: Vec<ModelType>,
    /// Side of the input where the file leaves it open.
    pub side: Option<usize>,
    /// Where the model runs.
    pub provider: Provider,
    /// Most sessions; 0: as many as pay.
    pub sessions: usize,
    /// Threads of a session; 0: as many as pay.
    pub threads: usize,
}

/// A loaded model and its workers.
#[derive(Debug)]
pub struct Engine {
    model: Arc<Model>,
    /// The library of ONNX Runtime it runs in.
    library: PathBuf,
    queue: Arc<Queue>,
    /// What its sessions think of what the model gives.
    sanity: Arc<Mutex<Sanity>>,
}

/// Most sessions unless asked for: each costs the memory of the model once more.
const MAX_SESSIONS: usize = 8;
/// Images in one run of a model that takes as many as one likes. More only adds waiting.
const MAX_BATCH: usize = 4;

static ENGINES: LazyLock<Mutex<HashMap<EngineOptions, Weak<Engine>>>> =
    LazyLock::new(Mutex::default);

impl Engine {
    /// The engine for these options: the one that is there, or a new one. Loading takes as long as the model does.
    pub fn open(options: &EngineOptions) -> Result<Arc<Self>, EngineError> {
        let mut options = options.clone();
        // One file is one model, whatever way its path was written.
        options.model = model_file(&options.model).map_err(|error| EngineError::File {
            path: options.model.clone(),
            error,
        })?;
        // A process has one library, so that the one that was named makes no difference from here on.
        let library = library::runtime(options.onnxruntime.take().as_deref())?.path;
        // Held while loading, so that elements that start together load a model once.
        let mut engines = lock(&ENGINES);
        engines.retain(|_, engine| engine.strong_count() > 0);
        if let Some(engine) = engines.get(&options).and_then(Weak::upgrade) {
            return Ok(engine);
        }
        let engine = Arc::new(Self::load(&options, library)?);
        engines.insert(options, Arc::downgrade(&engine));
        Ok(engine)
    }

    fn load(options: &EngineOptions, library: PathBuf) -> Result<Self, EngineError> {
        let (sessions, threads) = layout(options);
        let sanity = Arc::default();
        let inference = Inference::open(options, threads, &sanity)?;
        let model = Arc::clone(inference.model());
        let (least, most) = match model.input.batch {
            Batch::Fixed(n) => (n, n),
            Batch::Dynamic => (1, MAX_BATCH),
        };
        // One input being filled for each that is being run; a whole batch at least.
        let inputs = (2 * sessions).max(most + 1).max(least);
        let opener = {
            let (options, sanity) = (options.clone(), Arc::clone(&sanity));
            move || Inference::open(&options, threads, &sanity)
        };
        let queue = Queue::new(&model, inputs, sessions, most);
        worker::start(&queue, inference, Box::new(opener));
        Ok(Self {
            model,
            library,
            queue,
            sanity,
        })
    }

    /// What there is to say to somebody who named another library of ONNX Runtime than the one in use.
    pub fn other_library(&self, named: Option<&Path>) -> Option<String> {
        let same = |a: &Path, b: &Path| {
            let real = |path: &Path| std::fs::canonicalize(path).ok();
            a == b || (real(a).is_some() && real(a) == real(b))
        };
        let named = named.filter(|named| !same(named, &self.library))?;
        Some(format!(
            "onnxruntime={} is not used: this process has loaded {} already, and one process has one ONNX Runtime",
            shown(named),
            shown(&self.library)
        ))
    }

    /// The model: its family, input and labels.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Why what the model gives cannot be detections; `None` while it can.
    pub fn implausible(&self) -> Option<&'static str> {
        lock(&self.sanity).implausible()
    }

    /// A place in the queue for one camera. Given up after `timeout` per frame.
    pub fn client(self: &Arc<Self>, timeout: Duration) -> Client {
        Client::new(Arc::clone(self), timeout)
    }

    /// What the engine has done so far, for all its clients together.
    pub fn stats(&self) -> EngineStats {
        self.queue.stats()
    }

    fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// The one way to write a model file's path. A link in place of the file itself stays: external data are beside the link.
fn model_file(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let path = std::fs::canonicalize(folder)?.join(name);
    // Reading a pipe waits for whoever writes to it, and all other models would wait with it.
    if !std::fs::metadata(&path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    Ok(path)
}

/// Sessions and threads of each. Measured with YOLOX-nano (docs/elements/regiondetect.md): one session per core with one
/// thread each gives the most inferences per second, since no thread ever waits for another. Sessions are made when work
/// first waits for one, so a quiet machine keeps one. Accelerators take one inference at a time anyway.
fn layout(options: &EngineOptions) -> (usize, usize) {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let sessions = match options.sessions {
        0 if options.provider.is_cpu() => cores.min(MAX_SESSIONS),
        0 => 1,
        n => n,
    };
    let threads = match options.threads {
        0 => (cores / sessions).max(1),
        n => n,
    };
    (sessions, threads)
}

/// A panic of another thread while it held the lock leaves counters and queues whole, so the data is used on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a model given as a path is, for messages.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
