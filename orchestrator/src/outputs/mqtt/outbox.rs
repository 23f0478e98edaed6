//! What waits for the broker: of each state only the newest, of the messages a bounded number.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::topics::Message;

/// Messages that wait at most. Of states there is one for each topic.
const MESSAGES: usize = 256;
/// A message older than this when a connection is made is not news any more.
const NEWS: Duration = Duration::from_secs(30);

/// Retained states and passing messages on their way to the broker. No I/O.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// What each retained topic is to hold. An empty payload removes the topic, and the entry goes when it is sent.
    states: BTreeMap<String, Vec<u8>>,
    /// Topics whose state has to be sent.
    unsent: BTreeSet<String>,
    available: Option<Message>,
    messages: VecDeque<(Instant, Message)>,
    dropped: u64,
}

impl Outbox {
    /// Sets the state of a topic. Nothing has to be sent where it is the same.
    pub(super) fn set(&mut self, topic: &str, payload: &[u8]) {
        if self.states.get(topic).is_none_or(|known| known != payload) {
            self.states.insert(topic.to_owned(), payload.to_owned());
            self.unsent.insert(topic.to_owned());
        }
    }

    /// Removes a topic at the broker.
    pub(super) fn remove(&mut self, topic: &str) {
        self.set(topic, b"");
    }

    /// The retained topics that hold something.
    pub(super) fn topics(&self) -> impl Iterator<Item = &String> {
        let held = self
            .states
            .iter()
            .filter(|(_, payload)| !payload.is_empty());
        held.map(|(topic, _)| topic)
    }

    /// Sets the topic that says whether this client is there. It is sent after every state.
    pub(super) fn announce(&mut self, topic: String, payload: Vec<u8>) {
        self.available = Some(Message {
            topic,
            payload,
            retain: true,
        });
    }

    /// Queues a passing message. Of too many the oldest goes, and is counted.
    pub(super) fn push(&mut self, message: Message, now: Instant) {
        if self.messages.len() >= MESSAGES {
            self.messages.pop_front();
            self.dropped += 1;
        }
        self.messages.push_back((now, message));
    }

    /// A connection was made: every state is sent again. Messages that are no news are dropped and counted.
    pub(super) fn connected(&mut self, now: Instant) {
        self.unsent.extend(self.states.keys().cloned());
        let before = self.messages.len();
        self.messages
            .retain(|(came, _)| now.saturating_duration_since(*came) <= NEWS);
        self.dropped += (before - self.messages.len()) as u64;
    }

    /// Whether something is to be sent.
    pub(super) fn is_empty(&self) -> bool {
        self.unsent.is_empty() && self.available.is_none() && self.messages.is_empty()
    }

    /// The next to send. States come first.
    pub(super) fn pop(&mut self) -> Option<Message> {
        if let Some(topic) = self.unsent.pop_first() {
            let payload = match self.states.get(&topic) {
                Some(payload) if payload.is_empty() => self.states.remove(&topic)?,
                payload => payload?.clone(),
            };
            return Some(Message {
                topic,
                payload,
                retain: true,
            });
        }
        let message = || self.messages.pop_front().map(|(_, message)| message);
        self.available.take().or_else(message)
    }

    /// Messages dropped since this was asked last.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: usize) -> Message {
        Message {
            topic: "w/events".to_owned(),
            payload: number.to_string().into_bytes(),
            retain: false,
        }
    }

    fn all(outbox: &mut Outbox) -> Vec<(String, String)> {
        let text = |m: Message| (m.topic, String::from_utf8(m.payload).unwrap());
        std::iter::from_fn(|| outbox.pop()).map(text).collect()
    }

    #[test]
    fn of_a_state_only_the_newest_is_sent_and_all_again_on_connect() {
        let mut outbox = Outbox::default();
        outbox.set("w/a", b"1");
        outbox.set("w/a", b"2");
        outbox.set("w/b", b"1");
        let both = [("w/a".into(), "2".into()), ("w/b".into(), "1".into())];
        assert_eq!(all(&mut outbox), both);
        outbox.set("w/a", b"2");
        assert!(outbox.is_empty(), "it is the same");
        outbox.connected(Instant::now());
        outbox.announce("w/available".to_owned(), b"online".to_vec());
        let mut sent = all(&mut outbox);
        assert_eq!(sent.pop(), Some(("w/available".into(), "online".into())));
        assert_eq!(sent, both);
    }

    #[test]
    fn a_removed_topic_is_emptied_once() {
        let mut outbox = Outbox::default();
        outbox.set("w/a", b"1");
        all(&mut outbox);
        outbox.remove("w/a");
        assert_eq!(outbox.topics().count(), 0);
        // Not lost where the connection is.
        outbox.connected(Instant::now());
        assert_eq!(all(&mut outbox), [("w/a".into(), String::new())]);
        outbox.connected(Instant::now());
        assert!(outbox.is_empty());
    }

    #[test]
    fn messages_are_bounded_and_the_lost_are_counted() {
        let mut outbox = Outbox::default();
        let start = Instant::now();
        for number in 0..MESSAGES + 3 {
            outbox.push(event(number), start);
        }
        assert_eq!(outbox.take_dropped(), 3);
        assert_eq!(outbox.pop(), Some(event(3)), "the oldest went");
        outbox.push(event(999), start + NEWS);
        outbox.connected(start + NEWS + Duration::from_secs(1));
        assert_eq!(outbox.take_dropped(), MESSAGES as u64 - 1);
        assert_eq!(outbox.pop(), Some(event(999)));
        assert!(outbox.is_empty());
    }
}
