//! The thread: orders from a bounded queue, a look at the limits every minute and after each file.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use watchpost_pipelines::tasks::MediaFile;

use super::retention::{Demand, FullDisk, SETTLE, demands};
use super::{Shared, index};
use crate::bus::Bus;
use crate::clock::now;
use crate::config::MediaConfig;
use crate::store::{self, MediaTotal, Store};
use watchpost_api::{Event, Media as MediaItem, MediaChange, MediaEvent};

/// How often limits are looked at when nothing comes.
const TICK: Duration = Duration::from_secs(60);
/// How often the folder is looked through: a worker that was given up may have made a file and not told.
const LOOK: Duration = Duration::from_secs(3600);
/// Files that go at a time.
const BATCH: usize = 64;
/// A worker closes its files within this time after its camera got another name.
const CLOSING: Duration = Duration::from_secs(120);
/// Folders of days are removed when they are this old: nothing comes into them any more.
const FOLDER_AGE: f64 = 2.0 * 86_400.0;

/// Something to do.
#[derive(Debug)]
pub enum Order {
    Add {
        camera: String,
        file: MediaFile,
    },
    Remove {
        id: i64,
        reply: oneshot::Sender<Result<bool, String>>,
    },
    Renamed {
        from: String,
        to: String,
    },
    Configure(MediaConfig),
}

/// What the thread knows.
pub struct Keeper {
    shared: Arc<Shared>,
    store: Arc<Store>,
    bus: Bus,
    config: MediaConfig,
    kept: BTreeMap<String, MediaTotal>,
    removed: BTreeMap<String, MediaTotal>,
    /// Files that cannot be removed: said once, and passed over.
    stuck: BTreeSet<i64>,
    full: FullDisk,
    began: Instant,
    /// The first file that came since then.
    first: Option<i64>,
    /// Cameras that have just got another name.
    renamed: BTreeMap<String, (String, Instant)>,
}

impl Keeper {
    pub fn new(shared: Arc<Shared>, store: Arc<Store>, bus: Bus, config: MediaConfig) -> Self {
        Self {
            shared,
            store,
            bus,
            config,
            kept: BTreeMap::new(),
            removed: BTreeMap::new(),
            stuck: BTreeSet::new(),
            full: FullDisk::default(),
            began: Instant::now(),
            first: None,
            renamed: BTreeMap::new(),
        }
    }

    /// Works until nobody can give orders any more.
    pub fn run(mut self, orders: &Receiver<Order>) {
        self.look_through(false);
        let mut looked = Instant::now();
        loop {
            if self.shared.ending.load(Ordering::Relaxed) {
                return;
            }
            self.tidy();
            let wait = if self.full.settled(Instant::now()) {
                TICK
            } else {
                SETTLE
            };
            match orders.recv_timeout(wait) {
                Ok(order) => self.obey(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // What waits already is done before the limits are looked at again.
            while let Ok(order) = orders.try_recv() {
                self.obey(order);
            }
            let missed = self.shared.missed.swap(false, Ordering::Relaxed);
            if missed {
                tracing::warn!(
                    "media: more files came at once than could be noted; their folder is looked through"
                );
            }
            if missed || looked.elapsed() >= LOOK {
                self.look_through(true);
                looked = Instant::now();
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Add { camera, file } => {
                let name = file.name.clone();
                if let Err(error) = self.add(&camera, file) {
                    tracing::error!(
                        camera,
                        file = name,
                        "media: {error}; it is found when the folder is looked through"
                    );
                }
            }
            Order::Remove { id, reply } => {
                let removed = self.remove(id).map_err(|error| error.to_string());
                // Whoever asked may have gone away meanwhile.
                let _ = reply.send(removed);
            }
            Order::Renamed { from, to } => {
                self.renamed.remove(&to);
                self.renamed
                    .insert(from.clone(), (to.clone(), Instant::now()));
                if let Some(removed) = self.removed.remove(&from) {
                    count(&mut self.removed, &to, removed);
                }
                self.recount();
            }
            Order::Configure(config) => self.config = config,
        }
    }

    fn add(&mut self, worker: &str, mut file: MediaFile) -> Result<(), Problem> {
        // The worker of a camera that has just been renamed still closes what it wrote.
        let camera = match self.renamed.get(worker) {
            Some((now, since)) if since.elapsed() < CLOSING => now,
            _ => worker,
        };
        file.bytes = self.shared.place.size(worker, &file.name)?;
        let camera = camera.to_owned();
        let (item, is_new) = index::add(&self.shared.place, &self.store, &camera, worker, file)?;
        news(&self.bus, MediaChange::Added, item.clone());
        self.first.get_or_insert(item.id);
        if is_new {
            count(&mut self.kept, &camera, one(&item));
        } else {
            self.recount(); // it was found in the folder before it was told of
        }
        Ok(())
    }

    fn remove(&mut self, id: i64) -> Result<bool, Problem> {
        let Some(item) = self.store.media_item(id)? else {
            return Ok(false);
        };
        self.remove_files(&item)?;
        uncount(&mut self.kept, &item);
        self.store.remove_media(vec![item.clone()])?;
        self.store.flush()?;
        news(&self.bus, MediaChange::Removed, item);
        self.publish();
        Ok(true)
    }

    /// The file last: as long as it is there, what belongs to it is found again.
    fn remove_files(&self, item: &MediaItem) -> io::Result<()> {
        let place = &self.shared.place;
        if let Some(thumbnail) = &item.thumbnail {
            place.remove(&item.folder, thumbnail)?;
        }
        place.remove(&item.folder, &index::description_of(&item.name))?;
        place.remove(&item.folder, &item.name)?;
        if item.time < now() - FOLDER_AGE {
            place.remove_empty_folder_of(&item.folder, &item.name);
            if let Some(thumbnail) = &item.thumbnail {
                place.remove_empty_folder_of(&item.folder, thumbnail);
            }
        }
        Ok(())
    }

    /// Brings the index up to what is in the folder.
    fn look_through(&mut self, is_news: bool) {
        let ending = || self.shared.ending.load(Ordering::Relaxed);
        let found = index::look_through(
            &self.shared.place,
            &self.store,
            &|change, item| news(&self.bus, change, item),
            is_news,
            &ending,
        );
        match found {
            Ok(found) if found != index::Found::default() => tracing::info!(
                "media: {} files were not in the index, {} are gone, {} recordings were cut off and end there",
                found.added,
                found.gone,
                found.adopted
            ),
            Ok(_) => {}
            Err(error) => tracing::error!("media: the folder could not be looked through: {error}"),
        }
        self.recount();
    }

    fn recount(&mut self) {
        match self.store.flush().and_then(|()| self.store.media_totals()) {
            Ok(totals) => self.kept = totals,
            Err(error) => tracing::error!("media: {error}"),
        }
        self.publish();
    }

    fn publish(&self) {
        let mut numbers = self.shared.numbers();
        numbers.kept.clone_from(&self.kept);
        numbers.removed.clone_from(&self.removed);
        numbers.free = self.shared.place.free();
    }

    /// Removes the oldest until every limit is kept.
    fn tidy(&mut self) {
        let instant = Instant::now();
        let kept = self.kept.values().map(|total| total.bytes).sum();
        let free = self.shared.place.free();
        let counts = free.filter(|_| self.full.settled(instant));
        for demand in demands(&self.config, kept, counts, now()) {
            let removed = self.fulfil(demand).unwrap_or_else(|error| {
                tracing::error!("media: {error}");
                MediaTotal::default()
            });
            if let (Demand::Bytes(_), Some(free)) = (demand, counts)
                && free < self.config.min_free.0
                && let Some(text) = self
                    .full
                    .short(free, self.config.min_free, removed, instant)
            {
                tracing::warn!("{text}");
            }
        }
        if free.is_none_or(|free| free >= self.config.min_free.0)
            && let Some(text) = self.full.enough(instant)
        {
            tracing::info!("{text}");
        }
        self.publish();
    }

    /// From this number on files are younger than `days`, whatever their time says: on a computer without a clock of its own it
    /// may have been taken before somebody told it the time.
    fn young_from(&self) -> Option<i64> {
        let days = self.config.days?;
        let young = self.began.elapsed().as_secs_f64() < days * 86_400.0;
        self.first.filter(|_| young)
    }

    fn fulfil(&mut self, demand: Demand) -> Result<MediaTotal, Problem> {
        let (before, before_id) = match demand {
            Demand::Before(time) => (Some(time), self.young_from()),
            Demand::Bytes(_) => (None, None),
        };
        let mut removed = MediaTotal::default();
        let enough =
            |removed: &MediaTotal| matches!(demand, Demand::Bytes(bytes) if removed.bytes >= bytes);
        loop {
            let oldest = self
                .store
                .oldest_media(before, before_id, BATCH + self.stuck.len())?;
            let mut gone = Vec::new();
            for item in oldest {
                if self.stuck.contains(&item.id) {
                    continue;
                }
                if enough(&removed) || self.shared.ending.load(Ordering::Relaxed) {
                    break;
                }
                if let Err(error) = self.remove_files(&item) {
                    let file = format!("{}/{}", item.folder, item.name);
                    tracing::error!(file, "media: cannot be removed: {error}");
                    self.stuck.insert(item.id);
                    continue;
                }
                removed.files += 1;
                removed.bytes += item.on_disk();
                count(&mut self.removed, &item.camera, one(&item));
                uncount(&mut self.kept, &item);
                gone.push(item);
            }
            if gone.is_empty() {
                return Ok(removed);
            }
            self.store.remove_media(gone.clone())?;
            // The next look must not see them again.
            self.store.flush()?;
            for item in gone {
                news(&self.bus, MediaChange::Removed, item);
            }
        }
    }
}

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    File(#[from] io::Error),
}

/// Publishes a change of the index.
fn news(bus: &Bus, change: MediaChange, media: MediaItem) {
    bus.publish(Event::Media(Box::new(MediaEvent { change, media })));
}

fn one(item: &MediaItem) -> MediaTotal {
    MediaTotal {
        files: 1,
        bytes: item.on_disk(),
    }
}

fn count(totals: &mut BTreeMap<String, MediaTotal>, camera: &str, more: MediaTotal) {
    let total = totals.entry(camera.to_owned()).or_default();
    total.files += more.files;
    total.bytes += more.bytes;
}

fn uncount(totals: &mut BTreeMap<String, MediaTotal>, item: &MediaItem) {
    if let Some(total) = totals.get_mut(&item.camera) {
        total.files = total.files.saturating_sub(1);
        total.bytes = total.bytes.saturating_sub(item.on_disk());
        if total.files == 0 {
            totals.remove(&item.camera);
        }
    }
}
