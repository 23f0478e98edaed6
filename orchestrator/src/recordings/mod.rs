//! Continuous and event recordings: the index of the segments that the capture workers write, and how long they are
//! kept.
//!
//! One thread changes the index (`recordings.db` in `data_dir`) and removes files. The index is made of the files: what
//! a lost index or a killed worker left is found again by a scan.

mod index;
mod keeper;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use watchpost_pipelines::camera::RecordConfig;
use watchpost_pipelines::record::RecordEvent;
use watchpost_recorder::review::Item;

use index::Index;
pub use index::{Gap, SegmentRow};
use keeper::{Keeper, Order};

/// Reports that wait for the disk. A camera sends about one a second.
const WAITING: usize = 4096;

/// What cameras are configured to record and keep.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// By camera.
    pub cameras: BTreeMap<String, RecordConfig>,
    /// For footage of cameras that are gone.
    pub others: RecordConfig,
    /// Bytes that stay free on each disk.
    pub min_free: u64,
}

/// Figures of one camera.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// Bytes of its footage.
    pub bytes: u64,
    /// Segments.
    pub segments: u64,
    /// Start of the oldest, milliseconds since 1970.
    pub oldest: Option<i64>,
    /// Gaps since the start, by reason.
    pub gaps: BTreeMap<String, u64>,
    /// Bytes that were removed since the start, by rule.
    pub removed: BTreeMap<&'static str, u64>,
    /// Why nothing can be written now.
    pub trouble: Option<String>,
}

/// The recordings. Clones are the same.
#[derive(Debug, Clone)]
pub struct Recordings {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    orders: SyncSender<Order>,
    reader: Mutex<Index>,
    figures: Arc<Mutex<BTreeMap<String, Figures>>>,
    /// Paths that have been written to. The supervisor asks, and must not wait for the database.
    known: Mutex<BTreeSet<PathBuf>>,
    data_dir: PathBuf,
}

impl Recordings {
    /// Opens the index, and begins to bring it up to date on a thread of its own.
    pub fn start(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join("recordings.db");
        let index = Index::open(&path)?;
        let reader = Index::open(&path)?;
        let known = index.paths()?.into_iter().collect();
        let figures = Arc::default();
        let (orders, queue) = sync_channel(WAITING);
        let keeper = Keeper::new(index, data_dir.to_owned(), Arc::clone(&figures));
        std::thread::Builder::new()
            .name("recordings".into())
            .spawn(move || keeper.run(&queue))?;
        let inner = Inner {
            orders,
            reader: Mutex::new(reader),
            figures,
            known: Mutex::new(known),
            data_dir: data_dir.to_owned(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The folder of footage where the configuration names none.
    pub fn data_dir(&self) -> &Path {
        &self.inner.data_dir
    }

    /// Other rules from now on.
    pub fn configure(&self, rules: Rules) {
        self.tell(Order::Rules(Box::new(rules)));
    }

    /// A recorder has reported.
    pub fn event(&self, camera: &str, event: RecordEvent) {
        if let RecordEvent::Segment(segment) = &event
            && !self.is_known(&segment.path)
        {
            self.known().insert(segment.path.clone());
        }
        self.tell(Order::Event(camera.to_owned(), event));
    }

    /// A camera's worker has ended: its segment is completed here where it was not.
    pub fn worker_ended(&self, camera: &str) {
        self.tell(Order::Ended(camera.to_owned()));
    }

    /// Nothing is wanted of a camera: what is not there is no gap.
    pub fn paused(&self, camera: &str) {
        self.tell(Order::Paused(camera.to_owned()));
    }

    /// A review item began, changed or ended. With its span its footage is kept.
    pub fn item(&self, camera: &str, item: &Item) {
        self.tell(Order::Item(camera.to_owned(), Box::new(item.clone())));
    }

    /// True where a path has been written to.
    pub fn is_known(&self, path: &Path) -> bool {
        self.known().contains(path)
    }

    /// The segments of a camera that overlap a span, oldest first.
    pub fn segments(
        &self,
        camera: &str,
        after: i64,
        before: i64,
    ) -> anyhow::Result<Vec<SegmentRow>> {
        Ok(self.reader().segments(camera, after, before)?)
    }

    /// The gaps of a camera that overlap a span.
    pub fn gaps(&self, camera: &str, after: i64, before: i64) -> anyhow::Result<Vec<Gap>> {
        Ok(self.reader().gaps(camera, after, before)?)
    }

    /// Figures by camera.
    pub fn figures(&self) -> BTreeMap<String, Figures> {
        let figures = self.inner.figures.lock();
        figures.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeSet<PathBuf>> {
        let known = self.inner.known.lock();
        known.unwrap_or_else(PoisonError::into_inner)
    }

    fn reader(&self) -> std::sync::MutexGuard<'_, Index> {
        let reader = self.inner.reader.lock();
        reader.unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, order: Order) {
        match self.inner.orders.try_send(order) {
            Ok(()) => {}
            // The files are there; the next scan takes them into the index.
            Err(TrySendError::Full(_)) => {
                tracing::error!(
                    "recordings: {WAITING} reports wait for the disk already; one was dropped"
                );
            }
            Err(TrySendError::Disconnected(_)) => {
                tracing::error!("recordings: the index is closed")
            }
        }
    }
}

/// The folder that footage of a kind is written below.
pub fn path_of(config: &RecordConfig, kind: watchpost_recorder::Kind, data_dir: &Path) -> PathBuf {
    use watchpost_recorder::Kind;
    let own = match kind {
        Kind::Continuous => &config.continuous.path,
        Kind::Motion => &config.motion.path,
        Kind::Detections => &config.detections.path,
        Kind::Alerts | Kind::Kept => &config.alerts.path,
    };
    let path = own.as_ref().or(config.path.as_ref());
    path.map_or_else(|| data_dir.to_owned(), PathBuf::clone)
}
