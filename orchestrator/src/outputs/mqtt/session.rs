//! The work with one broker: from the configuration that names it until another one comes.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use detection::FrameSize;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use watchpost_api::{CameraState, Event, Status};

use super::client::{Broker, Connection, Incoming, NetworkBroker};
use super::commands::{self, Command};
use super::discovery::{Announced, Discovery};
use super::outbox::Outbox;
use super::retry::{Ended, Retry};
use super::state::State;
use super::topics::{self, Message};
use super::{Numbers, Sources};
use crate::bus::{Received, Subscription};
use crate::clock;
use crate::config::{Config, MqttConfig};
use crate::frigate;
use crate::reload::{ApplyOptions, Changes, Edit, Refusal};

/// Name of the subscription to the bus.
const SUBSCRIBER: &str = "mqtt";
/// Commands that wait for their turn.
const COMMANDS: usize = 16;
/// How long the broker may take to answer with what a former run retained.
const RETAINED_WAIT: Duration = Duration::from_secs(2);
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// No deadline.
const NEVER: Duration = Duration::from_secs(3600);

/// Why a session ended.
pub(super) enum End {
    /// Everything ends.
    Done,
    /// There is another configuration. What the broker still holds of this one.
    Changed(Vec<String>),
}

/// What a former run left at the broker.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Left {
    topics: Vec<String>,
    components: Announced,
}

/// The way to the broker.
enum Link {
    /// Until then.
    Waiting(Instant),
    /// Not accepted yet.
    Connecting(Connection),
    /// Since then.
    Connected(Connection, Instant),
}

pub(super) struct Session<'a> {
    sources: &'a Sources,
    numbers: &'a Numbers,
    config: MqttConfig,
    state: State,
    outbox: Outbox,
    discovery: Discovery,
    link: Link,
    retry: Retry,
    /// The last failure that was logged.
    failure: String,
    subscription: Subscription,
    commands: mpsc::Sender<Command>,
    next_stats: Instant,
    /// When the list of retained topics may be published; never while what a former run left is not known.
    may_list: Option<Instant>,
}

/// What woke the session up.
enum Wake {
    Done,
    Configuration(bool),
    Event(Option<Received>),
    Incoming(Option<Incoming>),
    /// There is room for a message.
    Room,
    Status(Option<Status>),
    Tick,
}

type Asked = Pin<Box<dyn Future<Output = Option<Status>> + Send>>;

impl<'a> Session<'a> {
    pub(super) fn new(
        sources: &'a Sources,
        config: &Config,
        stale: Vec<String>,
        numbers: &'a Numbers,
    ) -> Self {
        let (commands, received) = mpsc::channel(COMMANDS);
        tokio::spawn(execute(sources.changes.clone(), received));
        let now = Instant::now();
        let mut session = Self {
            sources,
            numbers,
            state: State::new(&config.mqtt.topic_prefix),
            outbox: Outbox::default(),
            discovery: Discovery::default(),
            link: Link::Waiting(now),
            retry: Retry::default(),
            failure: String::new(),
            subscription: sources.bus.subscribe(SUBSCRIBER),
            commands,
            next_stats: now,
            may_list: None,
            config: config.mqtt.clone(),
        };
        session.configure(config);
        session.rebuild();
        let kept: BTreeSet<String> = session.outbox.topics().cloned().collect();
        for topic in stale.iter().filter(|topic| !kept.contains(*topic)) {
            session.outbox.remove(topic);
        }
        session
    }

    pub(super) async fn run(
        mut self,
        config: &mut watch::Receiver<Arc<Config>>,
        done: &CancellationToken,
    ) -> End {
        let supervisor = self.sources.supervisor.clone();
        let ask = || -> Asked {
            let supervisor = supervisor.clone();
            Box::pin(async move { supervisor.status().await.ok() })
        };
        let mut status: Option<Asked> = Some(ask());
        loop {
            let deadline = self.deadline();
            let connected = matches!(self.link, Link::Connected(..));
            let sends = connected && !self.outbox.is_empty();
            let wake = {
                let (incoming, outgoing) = match &mut self.link {
                    Link::Waiting(_) => (None, None),
                    Link::Connecting(connection) | Link::Connected(connection, _) => {
                        (Some(&mut connection.incoming), Some(&connection.outgoing))
                    }
                };
                tokio::select! {
                    () = done.cancelled() => Wake::Done,
                    changed = config.changed() => Wake::Configuration(changed.is_ok()),
                    received = self.subscription.next() => Wake::Event(received),
                    incoming = next(incoming) => Wake::Incoming(incoming),
                    () = room(outgoing.filter(|_| sends)) => Wake::Room,
                    answer = answered(&mut status) => Wake::Status(answer),
                    () = tokio::time::sleep_until(deadline.into()) => Wake::Tick,
                }
            };
            let now = Instant::now();
            match wake {
                Wake::Done | Wake::Configuration(false) => {
                    self.farewell().await;
                    return End::Done;
                }
                Wake::Configuration(true) => {
                    let current = config.borrow_and_update().clone();
                    if current.mqtt != self.config {
                        let stale = self.stale(&current.mqtt);
                        self.farewell().await;
                        return End::Changed(stale);
                    }
                    self.configure(&current);
                }
                Wake::Event(None) => {
                    self.farewell().await;
                    return End::Done;
                }
                Wake::Event(Some(Received::Lost(count))) => {
                    self.numbers.dropped.fetch_add(count, Ordering::Relaxed);
                    self.rebuild();
                }
                Wake::Event(Some(Received::Event(event))) => {
                    if let Event::Camera(camera) = &event.event
                        && camera.state == CameraState::Streaming
                        && status.is_none()
                    {
                        status = Some(ask());
                    }
                    self.state.take(&event.event, &mut self.outbox, now);
                }
                Wake::Incoming(incoming) => self.incoming(incoming, now),
                Wake::Room => self.send(),
                Wake::Status(answer) => self.measured(answer, now),
                Wake::Tick => {
                    self.state.tick(&mut self.outbox, now);
                    if matches!(self.link, Link::Waiting(until) if until <= now) {
                        self.connect(now);
                    }
                    if self.next_stats <= now && status.is_none() {
                        status = Some(ask());
                    }
                    if self.may_list.is_some_and(|at| at <= now) {
                        self.may_list = None;
                        self.list();
                    }
                }
            }
            let dropped = self.outbox.take_dropped();
            self.numbers.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
    }

    fn deadline(&self) -> Instant {
        let now = Instant::now();
        let connect = match self.link {
            Link::Waiting(until) => Some(until),
            Link::Connecting(_) | Link::Connected(..) => None,
        };
        let stats = matches!(self.link, Link::Connected(..)).then_some(self.next_stats);
        let times = [connect, stats, self.state.deadline(), self.may_list];
        times.into_iter().flatten().min().unwrap_or(now + NEVER)
    }

    fn configure(&mut self, config: &Config) {
        self.state.configure(&config.cameras, &mut self.outbox);
        self.discovery
            .publish(&self.config, &self.state, &mut self.outbox);
        self.list_if_known();
    }

    fn rebuild(&mut self) {
        let events = self.sources.bus.state().events();
        let events = events.iter().map(|published| &published.event);
        self.state.rebuild(events, &mut self.outbox, Instant::now());
    }

    fn connect(&mut self, now: Instant) {
        let will = topics::AVAILABLE.message(&self.config.topic_prefix, &[], "offline");
        let filters = vec![
            self.list_topic(),
            commands::filter(&self.config.topic_prefix),
            format!("{}/status", self.config.discovery.prefix),
        ];
        match NetworkBroker(&self.config).connect(will, filters) {
            Ok(connection) => self.link = Link::Connecting(connection),
            Err(why) => self.failed(Ended::Refused, &why, now),
        }
    }

    fn incoming(&mut self, incoming: Option<Incoming>, now: Instant) {
        let incoming = incoming.unwrap_or(Incoming::Ended {
            refused: false,
            why: "the connection ended".to_owned(),
        });
        match incoming {
            Incoming::Connected => {
                let link = std::mem::replace(&mut self.link, Link::Waiting(now));
                if let Link::Connecting(connection) | Link::Connected(connection, _) = link {
                    self.link = Link::Connected(connection, now);
                }
                tracing::info!("mqtt: connected to {}", self.address());
                self.failure.clear();
                self.numbers.connected.store(true, Ordering::Relaxed);
                self.outbox.connected(now);
                self.next_stats = now;
                self.may_list = Some(now + RETAINED_WAIT);
                let available = topics::AVAILABLE.with(&self.config.topic_prefix, &[]);
                self.outbox.announce(available, b"online".to_vec());
            }
            Incoming::Message(message) => self.message(&message, now),
            Incoming::Ended { refused, why } => {
                let ended = match &self.link {
                    Link::Connected(_, since) => {
                        Ended::Closed(now.saturating_duration_since(*since))
                    }
                    _ if refused => Ended::Refused,
                    _ => Ended::Unreachable,
                };
                self.failed(ended, &why, now);
            }
        }
    }

    fn failed(&mut self, ended: Ended, why: &str, now: Instant) {
        self.numbers.connected.store(false, Ordering::Relaxed);
        self.may_list = None;
        let wait = self.retry.wait(ended);
        self.link = Link::Waiting(now + wait);
        let address = self.address();
        let text = match ended {
            _ if self.retry.is_contested() && matches!(ended, Ended::Closed(_)) => format!(
                "mqtt: {address} closes each connection soon ({why}); is there another client with the id `{}`? Give \
                 each Watchpost its own `mqtt.client_id`. The next attempt is in {} s",
                self.config.client_id,
                wait.as_secs()
            ),
            Ended::Refused => format!(
                "mqtt: {address}: {why}; check `mqtt.user`, `mqtt.password` and the certificates"
            ),
            Ended::Unreachable => {
                format!(
                    "mqtt: {address}: {why}; check `mqtt.host` and `mqtt.port`. It is tried again"
                )
            }
            Ended::Closed(_) => format!("mqtt: the connection to {address} ended: {why}"),
        };
        if text != self.failure {
            tracing::warn!("{text}");
            self.failure = text;
        }
    }

    fn message(&mut self, message: &Message, now: Instant) {
        if message.topic == self.list_topic() {
            // Ours comes back too, not as a retained one.
            if message.retain {
                self.take_left(&message.payload);
            }
            return;
        }
        if message.topic == format!("{}/status", self.config.discovery.prefix) {
            // Home Assistant has started: it lacks only what is not retained.
            if message.payload == b"online" && !message.retain {
                self.next_stats = now;
            }
            return;
        }
        if message.retain {
            tracing::warn!(
                "mqtt: the retained command on {} is ignored; remove it at the broker",
                message.topic
            );
            return;
        }
        let camera = |name: &str| self.state.camera(name);
        let prefix = &self.config.topic_prefix;
        let command = commands::parse(prefix, &message.topic, &message.payload, camera);
        let refused = command.and_then(|command| {
            let queued = self.commands.try_send(command);
            queued.map_err(|_| "too many commands wait already".to_owned())
        });
        if let Err(why) = refused {
            tracing::warn!("mqtt: the command on {} is refused: {why}", message.topic);
        }
    }

    /// Removes what a former run left and is not wanted any more.
    fn take_left(&mut self, payload: &[u8]) {
        match serde_json::from_slice::<Left>(payload) {
            Ok(left) => {
                self.discovery.was_announced(left.components);
                self.discovery
                    .publish(&self.config, &self.state, &mut self.outbox);
                let held: BTreeSet<String> = self.outbox.topics().cloned().collect();
                for topic in left.topics.iter().filter(|topic| !held.contains(*topic)) {
                    self.outbox.remove(topic);
                }
            }
            Err(error) => tracing::warn!("mqtt: {} is not readable: {error}", self.list_topic()),
        }
        self.may_list = None;
        self.list();
    }

    fn list_if_known(&mut self) {
        if matches!(self.link, Link::Connected(..)) && self.may_list.is_none() {
            self.list();
        }
    }

    /// Publishes what this client holds at the broker.
    fn list(&mut self) {
        let own = self.list_topic();
        let left = Left {
            topics: self
                .outbox
                .topics()
                .filter(|topic| **topic != own)
                .cloned()
                .collect(),
            components: self.discovery.announced().clone(),
        };
        let json = serde_json::to_vec(&left).unwrap_or_default();
        self.outbox.set(&own, &json);
    }

    fn list_topic(&self) -> String {
        topics::RETAINED.with(&self.config.topic_prefix, &[&self.config.client_id])
    }

    fn send(&mut self) {
        let Link::Connected(connection, _) = &self.link else {
            return;
        };
        while let Ok(room) = connection.outgoing.try_reserve() {
            let Some(message) = self.outbox.pop() else {
                return;
            };
            room.send(message);
            self.numbers.sent.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn measured(&mut self, status: Option<Status>, now: Instant) {
        let Some(status) = status else {
            self.next_stats = now + Duration::from_secs(5);
            return;
        };
        for camera in &status.cameras {
            if let Some(ring) = &camera.ring {
                let size = FrameSize::new(ring.width, ring.height);
                self.state.measured(&camera.name, size);
            }
        }
        if self.next_stats <= now && matches!(self.link, Link::Connected(..)) {
            self.next_stats = now + Duration::from_secs(self.config.stats_interval.into());
            let stats = frigate::stats(&status, clock::now()).to_string();
            let message = topics::STATS.message(&self.config.topic_prefix, &[], stats);
            self.outbox.push(message, now);
        }
    }

    /// The topics that a session with this configuration has to remove, where it has the same broker.
    fn stale(&self, next: &MqttConfig) -> Vec<String> {
        let place = |config: &MqttConfig| {
            (
                config.topic_prefix.clone(),
                config.client_id.clone(),
                config.discovery.clone(),
            )
        };
        let same_broker = (&next.host, next.port) == (&self.config.host, self.config.port);
        if !same_broker || place(next) == place(&self.config) {
            return Vec::new();
        }
        let mut topics: Vec<String> = self.outbox.topics().cloned().collect();
        if next.topic_prefix != self.config.topic_prefix {
            topics.push(topics::AVAILABLE.with(&self.config.topic_prefix, &[]));
        }
        topics
    }

    /// Says that this is a stop in order.
    async fn farewell(mut self) {
        let link = std::mem::replace(&mut self.link, Link::Waiting(Instant::now()));
        let Link::Connected(connection, _) = link else {
            return;
        };
        let deadline = tokio::time::Instant::now() + FAREWELL;
        let available = topics::AVAILABLE.with(&self.config.topic_prefix, &[]);
        self.outbox.announce(available, b"stopped".to_vec());
        while let Some(message) = self.outbox.pop() {
            let sent = tokio::time::timeout_at(deadline, connection.outgoing.send(message)).await;
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
        connection.close(FAREWELL).await;
        self.numbers.connected.store(false, Ordering::Relaxed);
    }

    fn address(&self) -> String {
        let host = self.config.host.as_deref().unwrap_or_default();
        format!("{host}:{}", self.config.port)
    }
}

async fn next(incoming: Option<&mut mpsc::Receiver<Incoming>>) -> Option<Incoming> {
    match incoming {
        Some(incoming) => incoming.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits for room for a message. Where the connection has ended that is never: its end is reported.
async fn room(outgoing: Option<&mpsc::Sender<Message>>) {
    match outgoing {
        Some(outgoing) if outgoing.reserve().await.is_ok() => {}
        _ => std::future::pending().await,
    }
}

async fn answered(status: &mut Option<Asked>) -> Option<Status> {
    match status {
        Some(asked) => {
            let answer = asked.await;
            *status = None;
            answer
        }
        None => std::future::pending().await,
    }
}

/// Executes commands one after the other.
async fn execute(changes: Changes, mut commands: mpsc::Receiver<Command>) {
    while let Some(Command { camera, patch }) = commands.recv().await {
        let text = patch.to_string();
        let edit = || Edit::Patch(camera.clone(), patch.clone());
        let how = |persist| ApplyOptions {
            dry_run: false,
            persist,
        };
        let mut done = changes.change(edit(), how(true)).await;
        if let Err(Refusal::Write(error)) = &done {
            tracing::warn!("mqtt: {error}; the command counts until the next start");
            done = changes.change(edit(), how(false)).await;
        }
        match done {
            Ok(_) => tracing::info!(camera, "mqtt: changed {text}"),
            Err(error) => tracing::warn!(camera, "mqtt: {text} is refused: {error}"),
        }
    }
}
