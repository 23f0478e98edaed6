//! Encoded live video for any number of viewers: one reader per watched stream muxes once, viewers share the fragments.
//!
//! The first viewer connects to the camera's packet ring, which makes the capture worker connect and encode as far as
//! that is needed; ten seconds after the last viewer the connection ends. Each viewer has a position of its own: one that
//! lags loses fragments up to the newest key frame and affects no other.

mod mux;
mod name;
mod reader;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::run_dir;

pub(crate) use mux::{Fragment, Initialisation, StreamInformation};
pub(crate) use name::StreamName;

/// Viewers of encoded video that a camera may have at a time.
const MAX_VIEWERS: usize = 100;
/// Fragments a viewer may fall behind.
const LAG: usize = 128;
/// Bytes that are kept of the newest group of pictures. Beyond that new viewers wait for the next key frame.
const WINDOW_BYTES: usize = 32 << 20;

/// A viewer cannot be admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// The camera has its most viewers.
    #[error("the camera has {MAX_VIEWERS} viewers already")]
    Full,
    /// A thread could not be started.
    #[error("the system admits no further thread")]
    NoThread,
}

/// The encoded live streams of all cameras. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct EncodedLive {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    run_dir: PathBuf,
    done: CancellationToken,
    hubs: Mutex<BTreeMap<(String, StreamName), Arc<Hub>>>,
}

impl EncodedLive {
    /// Connects to nothing before the first viewer; ends with `done`.
    pub(crate) fn new(run_dir: &Path, done: CancellationToken) -> Self {
        let inner = Inner {
            run_dir: run_dir.to_owned(),
            done,
            hubs: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Adds a viewer.
    pub(crate) fn watch(&self, camera: &str, stream: StreamName) -> Result<Viewer, Refused> {
        let mut hubs = lock(&self.inner.hubs);
        let of_camera = hubs.iter().filter(|((name, _), _)| name == camera);
        let viewers: usize = of_camera
            .map(|(_, hub)| hub.viewers.load(Ordering::Relaxed))
            .sum();
        if viewers >= MAX_VIEWERS {
            return Err(Refused::Full);
        }
        let key = (camera.to_owned(), stream);
        let hub = match hubs.get(&key) {
            Some(hub) => hub.clone(),
            None => {
                let hub = Arc::new(Hub::new());
                let socket = run_dir::encoded_socket(&self.inner.run_dir, camera, stream);
                reader::start(self.inner.clone(), key.clone(), socket, hub.clone())
                    .map_err(|_| Refused::NoThread)?;
                hubs.insert(key, hub.clone());
                hub
            }
        };
        hub.viewers.fetch_add(1, Ordering::Relaxed);
        Ok(Viewer::new(hub))
    }

    /// Viewers of each camera.
    pub(crate) fn viewers(&self) -> BTreeMap<String, usize> {
        let mut viewers = BTreeMap::new();
        for ((camera, _), hub) in lock(&self.inner.hubs).iter() {
            *viewers.entry(camera.clone()).or_default() += hub.viewers.load(Ordering::Relaxed);
        }
        viewers
    }
}

impl Inner {
    /// Removes a hub that has no viewers. Returns false where one came meanwhile.
    fn release(&self, key: &(String, StreamName), hub: &Hub) -> bool {
        let mut hubs = lock(&self.hubs);
        let unused = hub.viewers.load(Ordering::Relaxed) == 0;
        if unused {
            hubs.remove(key);
        }
        unused
    }
}

/// One watched stream.
#[derive(Debug)]
struct Hub {
    viewers: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    initialisation: Option<Arc<Initialisation>>,
    /// Fragments since the newest key frame.
    window: Vec<Fragment>,
    window_bytes: usize,
    sender: broadcast::Sender<Output>,
}

#[derive(Debug, Clone)]
enum Output {
    Initialisation(Arc<Initialisation>),
    Fragment(Fragment),
    /// Nothing comes until the camera is back.
    Interrupted(Arc<str>),
}

impl Hub {
    fn new() -> Self {
        let state = State {
            initialisation: None,
            window: Vec::new(),
            window_bytes: 0,
            sender: broadcast::Sender::new(LAG),
        };
        Self {
            viewers: AtomicUsize::new(0),
            state: Mutex::new(state),
        }
    }

    /// A new stream version begins.
    fn initialise(&self, initialisation: Initialisation) {
        let initialisation = Arc::new(initialisation);
        let mut state = lock(&self.state);
        state.initialisation = Some(initialisation.clone());
        state.window.clear();
        state.window_bytes = 0;
        let _ = state.sender.send(Output::Initialisation(initialisation));
    }

    fn push(&self, fragment: Fragment) {
        let mut state = lock(&self.state);
        if fragment.key {
            state.window.clear();
            state.window_bytes = 0;
        }
        if fragment.key || !state.window.is_empty() {
            state.window_bytes += fragment.bytes.len();
            if state.window_bytes <= WINDOW_BYTES {
                state.window.push(fragment.clone());
            } else {
                state.window.clear();
            }
        }
        let _ = state.sender.send(Output::Fragment(fragment));
    }

    /// The camera is away; viewers stay.
    fn interrupt(&self, reason: &str) {
        let mut state = lock(&self.state);
        state.window.clear();
        state.window_bytes = 0;
        let _ = state.sender.send(Output::Interrupted(reason.into()));
    }
}

/// What a viewer receives next.
#[derive(Debug)]
pub(crate) enum Item {
    /// A stream version begins: the initialisation segment.
    Initialisation(Arc<Initialisation>),
    /// The next frame.
    Fragment(Fragment),
    /// The viewer lagged; it goes on at the newest key frame.
    Dropped(u64),
    /// The camera is away.
    Interrupted(Arc<str>),
}

/// One viewer. Dropping it ends the watching.
#[derive(Debug)]
pub(crate) struct Viewer {
    hub: Arc<Hub>,
    receiver: broadcast::Receiver<Output>,
    /// Items in front of those of the receiver.
    ready: VecDeque<Item>,
    /// Version of the initialisation segment that was handed out last.
    version: Option<u64>,
    /// Fragments are left out up to the next key frame.
    waits_for_key: bool,
}

impl Viewer {
    fn new(hub: Arc<Hub>) -> Self {
        let (receiver, snapshot, initialisation) = Self::join(&hub);
        let mut viewer = Self {
            hub,
            receiver,
            ready: VecDeque::new(),
            version: None,
            waits_for_key: true,
        };
        viewer.begin(initialisation, snapshot);
        viewer
    }

    /// Joins at the newest key frame: what is kept since then, and everything after it.
    fn join(
        hub: &Hub,
    ) -> (
        broadcast::Receiver<Output>,
        Vec<Fragment>,
        Option<Arc<Initialisation>>,
    ) {
        let state = lock(&hub.state);
        (
            state.sender.subscribe(),
            state.window.clone(),
            state.initialisation.clone(),
        )
    }

    fn begin(&mut self, initialisation: Option<Arc<Initialisation>>, window: Vec<Fragment>) {
        self.waits_for_key = window.is_empty();
        if let Some(initialisation) = initialisation
            && self.version != Some(initialisation.version)
        {
            self.version = Some(initialisation.version);
            self.ready.push_back(Item::Initialisation(initialisation));
        }
        self.ready.extend(window.into_iter().map(Item::Fragment));
    }

    /// The next item; `None` when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            match self.receiver.recv().await {
                Ok(Output::Initialisation(initialisation)) => {
                    self.version = Some(initialisation.version);
                    self.waits_for_key = true;
                    return Some(Item::Initialisation(initialisation));
                }
                Ok(Output::Fragment(fragment)) => {
                    if self.waits_for_key && !fragment.key {
                        continue;
                    }
                    self.waits_for_key = false;
                    return Some(Item::Fragment(fragment));
                }
                Ok(Output::Interrupted(reason)) => return Some(Item::Interrupted(reason)),
                Err(broadcast::error::RecvError::Lagged(lost)) => {
                    let (receiver, window, initialisation) = Self::join(&self.hub);
                    self.receiver = receiver;
                    self.begin(initialisation, window);
                    return Some(Item::Dropped(lost));
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.hub.viewers.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Bytes;

    fn initialisation(version: u64) -> Initialisation {
        Initialisation {
            mime: String::new(),
            version,
            width: 2,
            height: 2,
            epoch: 0.0,
            segment: Bytes::new(),
        }
    }

    fn fragment(number: u8, key: bool) -> Fragment {
        Fragment {
            key,
            bytes: vec![number].into(),
        }
    }

    fn number(item: Option<Item>) -> u8 {
        match item {
            Some(Item::Fragment(fragment)) => fragment.bytes[0],
            other => panic!("expected a fragment, got {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_late_viewer_starts_at_the_newest_key_frame() {
        let hub = Arc::new(Hub::new());
        hub.initialise(initialisation(1));
        for (number, key) in [(0, true), (1, false), (2, true), (3, false)] {
            hub.push(fragment(number, key));
        }
        let mut viewer = Viewer::new(hub.clone());
        assert!(matches!(viewer.next().await, Some(Item::Initialisation(_))));
        hub.push(fragment(4, false));
        for expected in 2..5 {
            assert_eq!(number(viewer.next().await), expected);
        }
    }

    #[tokio::test]
    async fn a_slow_viewer_skips_to_the_newest_key_frame() {
        let hub = Arc::new(Hub::new());
        hub.initialise(initialisation(1));
        hub.push(fragment(0, true));
        let mut viewer = Viewer::new(hub.clone());
        assert!(matches!(viewer.next().await, Some(Item::Initialisation(_))));
        assert_eq!(number(viewer.next().await), 0);
        for _ in 0..LAG {
            hub.push(fragment(1, false));
        }
        hub.push(fragment(7, true));
        hub.push(fragment(8, false));
        assert!(matches!(viewer.next().await, Some(Item::Dropped(2))));
        assert_eq!(number(viewer.next().await), 7);
        assert_eq!(number(viewer.next().await), 8);
    }

    #[tokio::test]
    async fn a_new_version_reaches_viewers_before_its_frames() {
        let hub = Arc::new(Hub::new());
        let mut viewer = Viewer::new(hub.clone());
        hub.initialise(initialisation(1));
        hub.push(fragment(0, false));
        hub.push(fragment(1, true));
        hub.interrupt("away");
        hub.initialise(initialisation(2));
        assert!(matches!(viewer.next().await, Some(Item::Initialisation(_))));
        assert_eq!(number(viewer.next().await), 1);
        assert!(matches!(viewer.next().await, Some(Item::Interrupted(_))));
        let Some(Item::Initialisation(next)) = viewer.next().await else {
            panic!()
        };
        assert_eq!(next.version, 2);
    }

    #[test]
    fn a_camera_admits_so_many_viewers() {
        let folder = tempfile::tempdir().unwrap();
        let live = EncodedLive::new(folder.path(), CancellationToken::new());
        let viewers: Vec<_> = (0..MAX_VIEWERS)
            .map(|_| live.watch("front", StreamName::Main).unwrap())
            .collect();
        assert_eq!(
            live.watch("front", StreamName::Sub).unwrap_err(),
            Refused::Full
        );
        live.watch("back", StreamName::Main).unwrap();
        drop(viewers);
        live.watch("front", StreamName::Sub).unwrap();
    }
}
