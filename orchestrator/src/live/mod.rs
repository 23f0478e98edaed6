//! The live picture for any number of viewers: one reader of the camera's ring of JPEGs, as long as somebody looks.
//!
//! The first viewer has the task `live` started and a thread read its ring; the newest picture is handed on to each viewer,
//! who may miss pictures but never holds up another viewer, the reader, or the ring. Some seconds after the last viewer the
//! task is stopped. A camera that restarts or gives way to another task keeps its viewers; one that is removed does not.

pub(crate) mod encoded;
mod hub;
mod ring;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::body::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use watchpost_pipelines::tasks::Task;
use watchpost_pipelines::tasks::task::{NoParameters, Parameters};

use crate::protocol::TaskRequest;
use crate::supervisor::{Gone, Handle, TaskRefusal};

use encoded::EncodedLive;
use hub::{Hub, Show};

/// Viewers a camera may have at a time.
pub const MAX_VIEWERS: usize = 16;
/// How long after the last viewer the task goes on, for one who comes back.
const LINGER: Duration = Duration::from_secs(10);

/// Who makes live pictures when asked.
pub trait Maker: Clone + Send + Sync + 'static {
    /// Begins; also where it has begun already.
    fn start(&self, camera: &str) -> impl Future<Output = Result<(), NoPicture>> + Send;
    /// Ends.
    fn stop(&self, camera: &str) -> impl Future<Output = ()> + Send;
    /// What the camera does, in words.
    fn state(&self, camera: &str) -> impl Future<Output = Result<String, NoPicture>> + Send;
}

/// Why there is no picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPicture {
    /// There is no such camera (any more).
    #[error("there is no camera {0:?}")]
    NoCamera(String),
    /// It has none to give.
    #[error("{0}")]
    Reason(String),
    /// Enough look already.
    #[error("{MAX_VIEWERS} viewers look at camera {0} already")]
    TooMany(String),
}

/// A picture.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The JPEG.
    pub jpeg: Bytes,
    /// When it came.
    pub time: SystemTime,
    came: Instant,
}

impl Picture {
    fn new(jpeg: Bytes) -> Self {
        Self {
            jpeg,
            time: SystemTime::now(),
            came: Instant::now(),
        }
    }
}

/// The live pictures of all cameras. Clones are the same.
#[derive(Debug, Clone)]
pub struct Live<M = Handle> {
    inner: Arc<Inner<M>>,
}

#[derive(Debug)]
struct Inner<M> {
    maker: M,
    run_dir: PathBuf,
    linger: Duration,
    done: CancellationToken,
    encoded: EncodedLive,
    hubs: Mutex<BTreeMap<String, Arc<Hub>>>,
}

impl<M: Maker> Live<M> {
    /// Nothing is read before somebody looks; everything ends with `done`.
    pub fn new(maker: M, run_dir: &Path, done: CancellationToken) -> Self {
        Self::lingering(maker, run_dir, done, LINGER)
    }

    fn lingering(maker: M, run_dir: &Path, done: CancellationToken, linger: Duration) -> Self {
        Self {
            inner: Arc::new(Inner {
                maker,
                run_dir: run_dir.to_owned(),
                linger,
                encoded: EncodedLive::new(run_dir, done.clone()),
                done,
                hubs: Mutex::default(),
            }),
        }
    }

    /// One more who looks at a camera.
    pub fn look(&self, camera: &str) -> Result<Viewer, NoPicture> {
        let mut hubs = self.inner.hubs();
        let hub = hubs.entry(camera.to_owned()).or_insert_with(|| {
            let hub = Arc::new(Hub::new(camera));
            tokio::spawn(hub::run(hub.clone(), self.inner.clone()));
            hub
        });
        if *hub.viewers.borrow() >= MAX_VIEWERS {
            return Err(NoPicture::TooMany(camera.to_owned()));
        }
        hub.viewers.send_modify(|viewers| *viewers += 1);
        Ok(Viewer {
            show: hub.show.subscribe(),
            hub: hub.clone(),
        })
    }

    /// How many look at each camera.
    pub fn viewers(&self) -> BTreeMap<String, usize> {
        let hubs = self.inner.hubs();
        hubs.iter()
            .map(|(camera, hub)| (camera.clone(), *hub.viewers.borrow()))
            .collect()
    }

    /// The encoded streams.
    pub(crate) fn encoded(&self) -> &EncodedLive {
        &self.inner.encoded
    }

    /// What a camera does, in words.
    pub async fn state(&self, camera: &str) -> Result<String, NoPicture> {
        self.inner.maker.state(camera).await
    }
}

impl<M> Inner<M> {
    fn hubs(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Hub>>> {
        self.hubs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who looks; dropping it is looking away.
#[derive(Debug)]
pub struct Viewer {
    hub: Arc<Hub>,
    show: watch::Receiver<Show>,
}

impl Viewer {
    /// A picture that is no older than `age`: the newest, or the next.
    pub async fn fresh(&mut self, age: Duration) -> Result<Picture, NoPicture> {
        loop {
            match &*self.show.borrow_and_update() {
                Show::Picture(picture) if picture.came.elapsed() <= age => {
                    return Ok(picture.clone());
                }
                Show::Ended(why) => return Err(why.clone()),
                Show::Picture(_) | Show::Nothing => {}
            }
            self.changed().await?;
        }
    }

    /// The next picture.
    pub async fn next(&mut self) -> Result<Picture, NoPicture> {
        loop {
            self.changed().await?;
            match &*self.show.borrow_and_update() {
                Show::Picture(picture) => return Ok(picture.clone()),
                Show::Ended(why) => return Err(why.clone()),
                Show::Nothing => {}
            }
        }
    }

    async fn changed(&mut self) -> Result<(), NoPicture> {
        let ended = || NoPicture::Reason("the live picture has ended".into());
        self.show.changed().await.map_err(|_| ended())
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.hub.viewers.send_modify(|viewers| *viewers -= 1);
    }
}

impl Maker for Handle {
    async fn start(&self, camera: &str) -> Result<(), NoPicture> {
        let request = TaskRequest::Start {
            id: Task::Live.into(),
            parameters: Parameters::Live(NoParameters::default()),
        };
        match self.task(camera, request).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(TaskRefusal::NoCamera(name))) => Err(NoPicture::NoCamera(name)),
            Ok(Err(refusal)) => Err(NoPicture::Reason(refusal.to_string())),
            Err(gone) => Err(gone.into()),
        }
    }

    async fn stop(&self, camera: &str) {
        if let Ok(Err(refusal)) = self
            .task(camera, TaskRequest::Stop(Task::Live.into()))
            .await
        {
            tracing::debug!(camera, "live: {refusal}");
        }
    }

    async fn state(&self, camera: &str) -> Result<String, NoPicture> {
        let cameras = self.status().await?.cameras;
        let found = cameras.into_iter().find(|known| known.name == camera);
        let status = found.ok_or_else(|| NoPicture::NoCamera(camera.to_owned()))?;
        // Its live picture may come from a source of its own.
        let live = status.tasks.iter().find(|task| task.task == Task::Live);
        let reason = status
            .reason
            .or_else(|| live?.detail.clone())
            .map_or(String::new(), |r| format!(": {r}"));
        Ok(format!(
            "camera {camera} is {}{reason}",
            status.state.name()
        ))
    }
}

impl From<Gone> for NoPicture {
    fn from(gone: Gone) -> Self {
        Self::Reason(gone.to_string())
    }
}
