//! The media index: files that cameras' tasks made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use watchpost_pipelines::tasks::Task;

/// A file that a task made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Media {
    /// Number of the file, over all cameras; newer ones are higher.
    pub id: i64,
    /// The camera, by the name it has now.
    pub camera: String,
    /// The task that made it.
    pub task: Task,
    /// The file's folder beneath `data_dir/media`: the name the camera had when it was made.
    pub folder: String,
    /// The file's name, relative to its folder.
    pub name: String,
    /// Its media type, such as `image/jpeg` or `video/mp4`.
    pub media_type: String,
    /// When its (first) picture was taken; seconds since 1970.
    pub time: f64,
    /// Seconds it lasts, for a recording.
    pub duration: Option<f64>,
    /// Bytes.
    pub size: u64,
    /// Width of the picture, where it is known.
    pub width: Option<u32>,
    /// Height of the picture, where it is known.
    pub height: Option<u32>,
    /// Name of the series it belongs to.
    pub series: Option<String>,
    /// Its number in the series.
    pub series_number: Option<u64>,
    /// The camera's configuration when it was made; null where it is not known.
    pub camera_config: serde_json::Value,
    /// Name of its thumbnail, relative to its folder.
    #[serde(skip)]
    pub thumbnail: Option<String>,
    /// Bytes of its thumbnail.
    #[serde(skip)]
    pub thumbnail_size: u64,
}

impl Media {
    /// Bytes it takes on the disk.
    pub fn on_disk(&self) -> u64 {
        self.size + self.thumbnail_size
    }
}

/// An entry of the list of media: a file, and where it is fetched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "MediaItem")]
pub struct MediaEntry {
    /// The file.
    #[serde(flatten)]
    pub media: Media,
    /// Where the file is fetched.
    pub url: String,
    /// Where a small JPEG of it is fetched, if there is one.
    pub thumbnail_url: Option<String>,
}

impl From<Media> for MediaEntry {
    fn from(media: Media) -> Self {
        let path = |what: &str| format!("/api/media/{}/{what}", media.id);
        Self {
            url: path("file"),
            thumbnail_url: media.thumbnail.as_ref().map(|_| path("thumbnail")),
            media,
        }
    }
}
