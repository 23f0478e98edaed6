//! Every topic that is published, with what it means: the publishing code and `docs/ref/mqtt.md` use this table.

/// A kind of topic. Levels in capitals stand for names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Topic {
    /// Below the prefix.
    pub(super) pattern: &'static str,
    /// Whether the broker keeps the last message for clients that come later.
    pub(super) retained: bool,
    /// What is sent.
    pub(super) payload: &'static str,
    /// When it is sent.
    pub(super) when: &'static str,
}

/// A message to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// The whole topic.
    pub(super) topic: String,
    /// The payload.
    pub(super) payload: Vec<u8>,
    /// Whether the broker keeps it.
    pub(super) retain: bool,
}

impl Topic {
    /// The topic with these names in place of the levels in capitals, in their order.
    pub(super) fn with(&self, prefix: &str, names: &[&str]) -> String {
        let mut topic = prefix.to_owned();
        let mut names = names.iter();
        for level in self.pattern.split('/') {
            let stands_for_name = level.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            topic.push('/');
            topic.push_str(match stands_for_name {
                true => names.next().copied().unwrap_or(level),
                false => level,
            });
        }
        topic
    }

    /// A message on it.
    pub(super) fn message(
        &self,
        prefix: &str,
        names: &[&str],
        payload: impl Into<Vec<u8>>,
    ) -> Message {
        Message {
            topic: self.with(prefix, names),
            payload: payload.into(),
            retain: self.retained,
        }
    }
}

macro_rules! topics {
    ($($name:ident: $pattern:literal, $retained:literal, $payload:literal, $when:literal;)*) => {
        $(
            pub(super) const $name: Topic = Topic {
                pattern: $pattern,
                retained: $retained,
                payload: $payload,
                when: $when,
            };
        )*
        /// All of them, in the order of the documentation.
        #[cfg(test)]
        pub(super) const ALL: &[Topic] = &[$($name),*];
    };
}

topics! {
    AVAILABLE: "available", true, "`online`, `stopped` (clean stop) or `offline` (last will)",
        "on every connect after the states, and at the end";
    STATS: "stats", false, "JSON: frame rates, processes, uptime, in Frigate's form", "every `stats_interval` seconds";
    EVENTS: "events", false, "JSON `{type: new, update or end, before, after}`, see below",
        "an object is confirmed, changes, is gone";
    RETAINED: "retained/CLIENT_ID", true,
        "JSON: the retained topics and Home Assistant components of this client",
        "when they change; what is not wanted any more is removed by it at the next connect";
    MOTION: "CAM/motion", true, "`ON` or `OFF`", "on the first motion; `motion.mqtt_off_delay` seconds after the last";
    STATUS_DETECT: "CAM/status/detect", true,
        "`online` (frames arrive), `offline`, or `disabled` (camera or detection switched off)", "on change";
    COUNT: "CAM/LABEL", true, "whole number: confirmed objects of the label, resting ones included", "on change";
    ACTIVE: "CAM/LABEL/active", true, "whole number: those that do not rest", "on change";
    COUNT_ALL: "CAM/all", true, "whole number: the sum over the labels", "on change";
    ACTIVE_ALL: "CAM/all/active", true, "whole number: the sum over the labels", "on change";
    ZONE_COUNT: "ZONE/LABEL", true,
        "whole number: objects of the label in the zones of this name at all cameras", "on change";
    ZONE_ACTIVE: "ZONE/LABEL/active", true, "whole number: those that do not rest", "on change";
    ZONE_COUNT_ALL: "ZONE/all", true, "whole number: the sum over the labels", "on change";
    ZONE_ACTIVE_ALL: "ZONE/all/active", true, "whole number: the sum over the labels", "on change";
    SWITCH: "CAM/SWITCH/state", true,
        "the state of a switch or number, see the table of commands", "on change of the configuration";
    OBJECT_EVENT: "CAM/object_event", false, "JSON `{event_type: new, update or end, id, label, ...}`",
        "with each message on `events`, for Home Assistant's event entity";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_take_the_place_of_capitals() {
        assert_eq!(
            ACTIVE.with("watchpost", &["front", "person"]),
            "watchpost/front/person/active"
        );
        assert_eq!(COUNT_ALL.with("a/b", &["front"]), "a/b/front/all");
        assert_eq!(RETAINED.with("w", &["id"]), "w/retained/id");
    }

    #[test]
    fn each_pattern_is_there_once() {
        for (index, topic) in ALL.iter().enumerate() {
            assert!(
                ALL[..index]
                    .iter()
                    .all(|other| other.pattern != topic.pattern)
            );
        }
    }
}
