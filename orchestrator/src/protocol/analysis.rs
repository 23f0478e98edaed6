//! Commands and reports of an analysis worker.

use super::{LogLine, Report};
use detection::{BBox, TrackChange};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::PathBuf;
use watchpost_api::Object;
use watchpost_pipelines::fault::Fault;
use watchpost_pipelines::spec::AnalysisSpec;

/// A command to an analysis worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum AnalysisCommand {
    /// The file in which cameras mark that they are at work; the first line.
    Marks {
        /// Its path.
        path: PathBuf,
    },
    /// Attach to a camera's ring and analyse it.
    Add {
        /// The camera.
        spec: Box<AnalysisSpec>,
        /// Its position in the file of marks.
        mark: u32,
    },
    /// Apply what can change while it runs (masks, thresholds, zones, objects).
    Update {
        /// The camera.
        spec: Box<AnalysisSpec>,
    },
    /// Detach from a camera's ring.
    Remove {
        /// Its name.
        camera: String,
    },
    /// The camera is being moved (PTZ) or has come to rest: the motion background is of no use meanwhile.
    Moving {
        /// Its name.
        camera: String,
        /// Whether it moves.
        moving: bool,
    },
    /// Act on a camera's region grid.
    Grid {
        /// Its name.
        camera: String,
        /// The action.
        action: GridAction,
    },
    /// Detach from all rings and exit.
    Stop,
}

/// An action on a region grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GridAction {
    /// Forget what was learned.
    Reset,
    /// Use it, but learn nothing.
    Freeze,
    /// Learn again.
    Thaw,
}

/// The objects of a frame as JSON that nobody has looked into: they come with every frame, and are asked for now and then.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnreadObjects(Box<RawValue>);

impl UnreadObjects {
    /// To be sent.
    pub fn of(objects: &[Object]) -> Self {
        let text = serde_json::value::to_raw_value(objects);
        Self(text.expect("objects have string keys only"))
    }

    /// What is in it; an error where it is none of ours.
    pub fn read(&self) -> serde_json::Result<Vec<Object>> {
        serde_json::from_str(self.0.get())
    }
}

impl PartialEq for UnreadObjects {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

/// Figures of one camera in the analysis worker, once a second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AnalysisStats {
    /// Frames per second that were analysed.
    pub process_fps: f64,
    /// Inferences per second.
    pub detection_fps: f64,
    /// Frames per second that were passed over.
    pub skipped_fps: f64,
    /// Frames analysed so far, without those that passed because the engine did not answer in time.
    #[serde(default)]
    pub answered: u64,
    /// Frames passed over so far, by reason.
    #[serde(default)]
    pub skipped: BTreeMap<String, u64>,
    /// Capture time of the newest frame analysed, seconds since 1970.
    pub detection_frame: Option<f64>,
    /// Seconds from a frame's capture to the end of its analysis (mean of the last second).
    pub age: Option<f64>,
    /// Milliseconds of one inference (mean of the last second).
    pub inference_ms: Option<f64>,
    /// Milliseconds an inference waited for its turn (mean of the last second).
    pub queue_ms: Option<f64>,
}

/// A report of an analysis worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnalysisReport {
    /// The worker's loop runs and takes commands; once a second.
    Heartbeat,
    /// About one camera.
    Camera {
        /// Its name.
        camera: String,
        /// The report.
        report: CameraReport,
    },
    /// The worker itself cannot go on.
    Fault(Fault),
    /// A line for the log.
    Log(LogLine),
}

/// A report about one camera in an analysis worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CameraReport {
    /// Its pipeline runs.
    Attached,
    /// Its pipeline is gone.
    Detached,
    /// It cannot be analysed; its capture goes on.
    Fault(Fault),
    /// Figures, once a second.
    Stats(AnalysisStats),
    /// All objects after a frame. Sent for every frame that is analysed.
    Objects {
        /// Capture time of that frame, seconds since 1970.
        frame: f64,
        /// Width and height of that frame, which the boxes are in.
        size: (u32, u32),
        /// The objects.
        objects: UnreadObjects,
    },
    /// A track changed.
    Track(TrackReport),
    /// The region grid has changed.
    Grid {
        /// The grid, as regiondetect exports it.
        json: String,
        /// Whether it is frozen.
        frozen: bool,
    },
    /// Motion began or ended.
    Motion {
        /// Whether there is motion now.
        active: bool,
        /// Time of the change, seconds since 1970.
        at: f64,
    },
}

/// A change of a track.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrackReport {
    /// The change.
    pub change: TrackChange,
    /// The object after it.
    pub object: Object,
    /// Its box in fractions of the frame.
    pub bbox: BBox,
    /// Length of its path, in fractions of the frame's width.
    pub path_length: f64,
    /// Zones it has just entered.
    #[serde(default)]
    pub entered: Vec<String>,
    /// Zones it has just left.
    #[serde(default)]
    pub left: Vec<String>,
}

impl Report for AnalysisReport {
    fn is_routine(&self) -> bool {
        match self {
            Self::Heartbeat | Self::Fault(_) => false,
            Self::Log(_) => true,
            Self::Camera { report, .. } => match report {
                CameraReport::Attached | CameraReport::Detached | CameraReport::Fault(_) => false,
                CameraReport::Stats(_)
                | CameraReport::Objects { .. }
                | CameraReport::Track(_)
                | CameraReport::Grid { .. }
                | CameraReport::Motion { .. } => true,
            },
        }
    }

    fn log(line: LogLine) -> Self {
        Self::Log(line)
    }

    fn starved(reason: String) -> Self {
        Self::Fault(Fault::source(reason))
    }
}

#[cfg(test)]
mod tests {
    use watchpost_api::ObjectState;

    use super::super::line;
    use super::*;

    #[test]
    fn objects_look_like_the_api() {
        let object = Object {
            id: 7,
            label: "person".into(),
            score: 0.5,
            bbox: [1, 2, 3, 4],
            state: ObjectState::Stationary,
            first_seen: 1.5,
            last_seen: 2.5,
            zones: vec![],
        };
        let unread = UnreadObjects::of(std::slice::from_ref(&object));
        let line = line(&AnalysisReport::Camera {
            camera: "c".into(),
            report: CameraReport::Objects {
                frame: 1.0,
                size: (640, 360),
                objects: unread,
            },
        });
        let AnalysisReport::Camera {
            report: CameraReport::Objects { objects, .. },
            ..
        } = serde_json::from_str(&line).unwrap()
        else {
            panic!("{line}");
        };
        assert_eq!(objects.read().unwrap(), std::slice::from_ref(&object));
        let json = serde_json::to_value(&object).unwrap();
        assert_eq!(json["box"], serde_json::json!([1, 2, 3, 4]));
        assert_eq!(json["state"], "stationary");
    }
}
