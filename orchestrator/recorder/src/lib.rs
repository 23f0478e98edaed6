//! The recorder's decisions, as pure functions and state machines that take the time as an argument:
//!
//! * [`policy`]: which span of a camera's stream is written, and for which reasons;
//! * [`review`]: which object activity becomes an alert or a detection in the review list (Frigate's rules);
//! * [`retention`]: which footage is kept, cut down or removed, by age and when space is short.
//!
//! All times are Unix times in milliseconds of the capture clock; spans are half-open. Nothing here reads a clock, a file
//! or a configuration.

pub mod policy;
pub mod retention;
pub mod review;
mod span;

pub use span::{Span, Spans};

/// Unix time in milliseconds.
pub type Time = i64;

/// A length of time in milliseconds.
pub type Length = i64;

/// Reasons to record and to keep, least valuable first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Everything is recorded.
    Continuous,
    /// Something moved.
    Motion,
    /// A review item of severity detection.
    Detections,
    /// A review item of severity alert.
    Alerts,
    /// An item or range that a user marked to keep.
    Kept,
}

impl Kind {
    /// All kinds, least valuable first.
    pub const ALL: [Self; 5] = [
        Self::Continuous,
        Self::Motion,
        Self::Detections,
        Self::Alerts,
        Self::Kept,
    ];

    /// The name in configuration, API and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Continuous => "continuous",
            Self::Motion => "motion",
            Self::Detections => "detections",
            Self::Alerts => "alerts",
            Self::Kept => "kept",
        }
    }
}

/// A set of kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Kinds(u8);

impl Kinds {
    /// Adds a kind.
    pub fn insert(&mut self, kind: Kind) {
        self.0 |= 1 << kind as u8;
    }

    /// True where the kind is in the set.
    pub fn contains(self, kind: Kind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }

    /// True for the empty set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The most valuable kind.
    pub fn most_valuable(self) -> Option<Kind> {
        Kind::ALL
            .into_iter()
            .rev()
            .find(|kind| self.contains(*kind))
    }

    /// The kinds, least valuable first.
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::ALL
            .into_iter()
            .filter(move |kind| self.contains(*kind))
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        let mut set = Self::default();
        kinds.into_iter().for_each(|kind| set.insert(kind));
        set
    }
}
