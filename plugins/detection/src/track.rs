//! What a detector reports and what a tracker makes of it.

use serde::{Deserialize, Serialize};

use crate::{BBox, LabelId};

/// One object a model found in one frame.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Where, in the holder's unit.
    pub bbox: BBox,
    /// Class number in the model's labels.
    pub label: LabelId,
    /// Confidence, 0..=1.
    pub score: f32,
}

/// Where a track is in its life: `tentative -> active <-> stationary -> lost -> ended`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackState {
    /// Seen, but not often enough to be believed; never reported.
    Tentative,
    /// Confirmed, and not resting.
    Active,
    /// Confirmed, and has stayed put for the stationary threshold.
    Stationary,
    /// Looked for and not found; may come back under the same id.
    Lost,
    /// Gone for good.
    Ended,
}

/// What happened to a track, as the `change` field of a `watchpost-track` message says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackChange {
    /// Confirmed for the first time.
    Started,
    /// Still there (at most once a second).
    Updated,
    /// Came to rest.
    Stationary,
    /// Left its rest.
    Moving,
    /// No longer found where it should be.
    Lost,
    /// Gone for good.
    Ended,
}

impl TrackChange {
    /// The word used in messages and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Updated => "updated",
            Self::Stationary => "stationary",
            Self::Moving => "moving",
            Self::Lost => "lost",
            Self::Ended => "ended",
        }
    }

    /// The change such a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Self::Started,
            Self::Updated,
            Self::Stationary,
            Self::Moving,
            Self::Lost,
            Self::Ended,
        ]
        .into_iter()
        .find(|change| change.as_str() == word)
    }
}

/// One object's identity at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// Unique for the life of the tracker; fits an int32, since readers of `object_id` keep it in one.
    pub id: u32,
    /// Class number in the model's labels.
    pub label: LabelId,
    /// Where it is, in the holder's unit.
    pub bbox: BBox,
    /// Confidence of the newest matched detection.
    pub score: f32,
    /// Where it is in its life.
    pub state: TrackState,
    /// Matched by a detection in this very frame (otherwise resting or coasting).
    pub observed: bool,
}
