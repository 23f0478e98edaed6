//! The event bus: every event is published here before anything is stored.
//!
//! Publishers (the supervisor, the media index) know no subscriber. Each subscriber has a bounded
//! queue; one that lags loses its own oldest events, which are counted, and nobody else waits. A late
//! subscriber gets the last state of every camera with its subscription, and the newest events are kept
//! for subscribers that resume after a number.
//!
//! Events are numbered. Where there is a store, the numbers continue those of the stored events, so that
//! a number means the same event in memory and on disk.

mod frames;
mod objects;
mod state;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use watchpost_api::{ConfigurationChange, Event, NumberedEvent};

pub use frames::Frames;
pub use objects::{ObjectEvents, Observation};
pub use state::State;

/// Events that wait for one subscriber at most.
const QUEUE: usize = 4096;
/// The newest events, kept for subscribers that resume. More than the store can be behind.
const RECENT: usize = 4096;

/// An event with its number. Subscribers share it.
#[derive(Debug)]
pub struct Published {
    /// Grows by one with each event.
    pub number: i64,
    /// The event.
    pub event: Event,
    json: OnceLock<String>,
}

impl Published {
    fn new(number: i64, event: Event) -> Self {
        Self {
            number,
            event,
            json: OnceLock::new(),
        }
    }

    /// The event with its number, for clients.
    pub fn numbered(&self) -> NumberedEvent {
        NumberedEvent {
            number: self.number,
            event: self.event.clone(),
        }
    }

    /// The event as JSON, serialised once for all subscribers.
    pub fn json(&self) -> &str {
        self.json.get_or_init(|| {
            // Keys are strings and floats are finite or null: this cannot fail.
            serde_json::to_string(&self.event).unwrap_or_default()
        })
    }
}

/// The bus. Clones are the same bus.
#[derive(Debug, Clone)]
pub struct Bus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    sender: broadcast::Sender<Arc<Published>>,
    /// Held for some pointer copies only, never across I/O, serialisation or a wait.
    inner: Mutex<Inner>,
    lost: Mutex<BTreeMap<&'static str, Arc<AtomicU64>>>,
    frames: Frames,
}

#[derive(Debug)]
struct Inner {
    newest: i64,
    recent: VecDeque<Arc<Published>>,
    state: Arc<State>,
}

/// What a subscriber receives.
#[derive(Debug, Clone)]
pub enum Received {
    /// The next event.
    Event(Arc<Published>),
    /// This many events were lost: the subscriber was too slow.
    Lost(u64),
}

/// A subscriber's end of the bus.
#[derive(Debug)]
pub struct Subscription {
    receiver: broadcast::Receiver<Arc<Published>>,
    lost: Arc<AtomicU64>,
    /// Number of the newest event that was received or lost.
    last: i64,
    /// Number of the newest event before the first this subscription receives.
    pub newest: i64,
    /// The last state at that moment.
    pub state: Arc<State>,
}

impl Bus {
    /// A bus whose first event gets the number after `newest`.
    pub fn new(newest: i64) -> Self {
        let (sender, _) = broadcast::channel(QUEUE);
        Self {
            shared: Arc::new(Shared {
                sender,
                inner: Mutex::new(Inner {
                    newest,
                    recent: VecDeque::new(),
                    state: Arc::default(),
                }),
                lost: Mutex::default(),
                frames: Frames::default(),
            }),
        }
    }

    /// Publishes an event. Never waits for a subscriber. Returns the event's number.
    pub fn publish(&self, event: Event) -> i64 {
        if let Event::Configuration(configuration) = &event {
            let gone = match configuration.change {
                ConfigurationChange::Removed => configuration.camera.as_deref(),
                ConfigurationChange::Renamed => configuration.from.as_deref(),
                ConfigurationChange::Added
                | ConfigurationChange::Changed
                | ConfigurationChange::Applied => None,
            };
            gone.into_iter().for_each(|name| self.frames().end(name));
        }
        let mut inner = self.inner();
        inner.newest += 1;
        let published = Arc::new(Published::new(inner.newest, event));
        Arc::make_mut(&mut inner.state).apply(&published);
        if inner.recent.len() == RECENT {
            inner.recent.pop_front();
        }
        inner.recent.push_back(published.clone());
        // Within the lock, so that numbers arrive in order. An error says that there is no subscriber.
        let _ = self.shared.sender.send(published);
        inner.newest
    }

    /// Subscribes from now on. `name` is the name its losses are counted under.
    pub fn subscribe(&self, name: &'static str) -> Subscription {
        let lost = self.lost_of(name);
        let inner = self.inner();
        Subscription {
            receiver: self.shared.sender.subscribe(),
            lost,
            last: inner.newest,
            newest: inner.newest,
            state: inner.state.clone(),
        }
    }

    /// The events after `number` that are still in memory, and whether these are all of them.
    pub fn recent(&self, number: i64) -> (Vec<Arc<Published>>, bool) {
        let inner = self.inner();
        let from = inner.recent.partition_point(|event| event.number <= number);
        let events: Vec<_> = inner.recent.range(from..).cloned().collect();
        let oldest = inner
            .recent
            .front()
            .map_or(inner.newest + 1, |event| event.number);
        (events, number + 1 >= oldest)
    }

    /// The last state.
    pub fn state(&self) -> Arc<State> {
        self.inner().state.clone()
    }

    /// What the analysis finds in each frame; too much for the queues of events.
    pub fn frames(&self) -> &Frames {
        &self.shared.frames
    }

    /// Events lost so far, by subscriber.
    pub fn lost(&self) -> BTreeMap<&'static str, u64> {
        let lost = self.shared.lost.lock();
        lost.unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|(name, count)| (*name, count.load(Ordering::Relaxed)))
            .collect()
    }

    fn lost_of(&self, name: &'static str) -> Arc<AtomicU64> {
        let lost = self.shared.lost.lock();
        let mut lost = lost.unwrap_or_else(PoisonError::into_inner);
        lost.entry(name).or_default().clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic within the lock is not possible after a half-made change.
        self.shared
            .inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// Waits for the next event. `None`: the bus is gone.
    pub async fn next(&mut self) -> Option<Received> {
        match self.receiver.recv().await {
            Ok(event) => Some(self.event(event)),
            Err(RecvError::Lagged(count)) => Some(self.count(count)),
            Err(RecvError::Closed) => None,
        }
    }

    /// The next event, if it has come already.
    pub fn try_next(&mut self) -> Option<Received> {
        match self.receiver.try_recv() {
            Ok(event) => Some(self.event(event)),
            Err(TryRecvError::Lagged(count)) => Some(self.count(count)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }

    /// Goes on after the last state, which it takes anew, as if it had subscribed now. For subscribers that
    /// lagged and for which the state says enough. Returns how many waiting events this skips; they count
    /// as lost.
    pub fn skip_to_state(&mut self, bus: &Bus) -> u64 {
        let inner = bus.inner();
        let skipped = u64::try_from(inner.newest - self.last).unwrap_or_default();
        self.receiver = bus.shared.sender.subscribe();
        self.last = inner.newest;
        self.newest = inner.newest;
        self.state = inner.state.clone();
        self.lost.fetch_add(skipped, Ordering::Relaxed);
        skipped
    }

    fn event(&mut self, event: Arc<Published>) -> Received {
        self.last = event.number;
        Received::Event(event)
    }

    fn count(&mut self, count: u64) -> Received {
        self.last += i64::try_from(count).unwrap_or_default();
        self.lost.fetch_add(count, Ordering::Relaxed);
        Received::Lost(count)
    }
}

#[cfg(test)]
pub(crate) mod tests;
