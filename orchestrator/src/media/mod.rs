//! What cameras' tasks made: the files in `data_dir/media`, their index in the store, and how many are kept.
//!
//! One thread (`keeper`) does all that changes: it takes finished files into the index, removes files, and looks every
//! minute and after each new file whether a limit asks for the oldest to go. A file that is being written has a temporary
//! name, is not in the index, and so is never removed. Whoever reads a file opens it through [`Media::open`], which
//! leads nowhere but into the folder.

mod index;
mod keeper;
mod place;
mod retention;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;
use watchpost_pipelines::tasks::MediaFile;

use crate::bus::Bus;
use crate::config::MediaConfig;
use crate::store::{MediaTotal, Store};
use watchpost_api::Media as MediaItem;

use keeper::{Keeper, Order};
use place::Place;

/// Files that wait for the index. When more come at once, the folder is looked through instead.
const WAITING: usize = 256;

/// The folder in `data_dir`.
pub const FOLDER: &str = "media";

/// What cameras' tasks made. Clones are the same; the thread ends with the last.
#[derive(Debug, Clone)]
pub struct Media {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

/// What the thread and everybody else see.
#[derive(Debug)]
struct Shared {
    place: Place,
    /// A file could not be told of: the folder has to be looked through.
    missed: AtomicBool,
    ending: AtomicBool,
    numbers: Mutex<Numbers>,
}

/// How many files there are, how many limits have removed, and how much room is left.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Numbers {
    /// What each camera has.
    pub kept: BTreeMap<String, MediaTotal>,
    /// What limits have removed of each camera since the start.
    pub removed: BTreeMap<String, MediaTotal>,
    /// Bytes that are free on the disk.
    pub free: Option<u64>,
}

/// Which file of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The file itself.
    File,
    /// Its small JPEG.
    Thumbnail,
}

impl Media {
    /// Looks through the folder and begins to keep it, both on a thread of its own.
    pub fn start(
        data_dir: &Path,
        config: &MediaConfig,
        store: Arc<Store>,
        bus: Bus,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            place: Place::new(data_dir.join(FOLDER)),
            missed: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            numbers: Mutex::default(),
        });
        let (orders, queue) = sync_channel(WAITING);
        let keeper = Keeper::new(shared.clone(), store, bus, config.clone());
        let thread = std::thread::Builder::new()
            .name("media".into())
            .spawn(move || keeper.run(&queue))?;
        let inner = Inner {
            orders: Some(orders),
            thread: Some(thread),
            shared,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Where the files are.
    pub fn path(&self) -> PathBuf {
        self.inner.shared.place.root().to_owned()
    }

    /// A camera's task has made a file. Never waits.
    pub fn add(&self, camera: &str, file: MediaFile) {
        let camera = camera.to_owned();
        self.tell(Order::Add { camera, file });
    }

    /// A camera has another name. Its files stay where they are: its worker may still be closing one there.
    pub fn renamed(&self, from: &str, to: &str) {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.tell(Order::Renamed { from, to });
    }

    /// Other limits from now on.
    pub fn configure(&self, config: &MediaConfig) {
        self.tell(Order::Configure(config.clone()));
    }

    /// Removes a file with all that belongs to it. Answers whether there was one.
    pub async fn remove(&self, id: i64) -> Result<bool, String> {
        const GONE: &str = "the media thread has ended";
        let orders = self.inner.orders.clone().ok_or(GONE)?;
        let (reply, answer) = oneshot::channel();
        let sent =
            tokio::task::spawn_blocking(move || orders.send(Order::Remove { id, reply }).is_ok());
        if !sent.await.unwrap_or(false) {
            return Err(GONE.into());
        }
        answer.await.map_err(|_| GONE)?
    }

    /// Opens a file. Links are not followed, and nothing outside the folder is opened, whatever the index says.
    pub fn open(&self, item: &MediaItem, part: Part) -> std::io::Result<File> {
        let name = match part {
            Part::File => &item.name,
            Part::Thumbnail => item
                .thumbnail
                .as_ref()
                .ok_or(std::io::ErrorKind::NotFound)?,
        };
        self.inner.shared.place.open(&item.folder, name)
    }

    /// What is counted.
    pub fn numbers(&self) -> Numbers {
        self.inner.shared.numbers().clone()
    }

    fn tell(&self, order: Order) {
        let Some(orders) = &self.inner.orders else {
            return;
        };
        match orders.try_send(order) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => self.inner.shared.missed.store(true, Ordering::Relaxed),
        }
    }
}

impl Shared {
    fn numbers(&self) -> std::sync::MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
#[cfg(test)]
mod tests;
