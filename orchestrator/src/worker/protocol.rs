//! What supervisor and workers say to each other: JSON lines, commands on the worker's standard input and reports on its
//! standard output. The first line to a capture worker is its `CaptureSpec` of the pipelines crate. End of file on the input
//! means that the parent is gone, and the worker exits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::PathBuf;
use watchpost_pipelines::spec::AnalysisSpec;
use watchpost_pipelines::tasks::{MediaFile, Parameters, Task, TaskStatus};

/// What a capture worker can be told after its specification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum CaptureCommand {
    /// A task is to be started, paused, resumed or stopped; answered with [`Report::TaskAnswer`].
    Task {
        /// Comes back with the answer.
        id: u64,
        /// What.
        request: TaskRequest,
    },
    /// Send EOS, let it drain, exit.
    Stop,
}

/// What can be asked of a camera's task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskRequest {
    /// Start it.
    Start(Parameters),
    /// Let it rest.
    Pause(Task),
    /// Go on.
    Resume(Task),
    /// End it.
    Stop(Task),
}

impl TaskRequest {
    /// The task it is about.
    pub fn task(&self) -> Task {
        match self {
            Self::Start(parameters) => parameters.task(),
            Self::Pause(task) | Self::Resume(task) | Self::Stop(task) => *task,
        }
    }
}

/// What the analysis worker can be told.
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
        /// Its place in the file of marks.
        mark: u32,
    },
    /// Take over what can change while it runs (masks, thresholds, zones, objects).
    Update {
        /// The camera.
        spec: Box<AnalysisSpec>,
    },
    /// Let go of a camera.
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
    /// Something is to be done to a camera's region grid.
    Grid {
        /// Its name.
        camera: String,
        /// What.
        action: GridAction,
    },
    /// Let go of all cameras and exit.
    Stop,
}

/// What can be done to a region grid.
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

/// What is wrong with a camera, as far as it decides what happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The camera refused the credentials.
    Auth,
    /// It cannot be reached, went away, or sends nothing usable.
    Source,
    /// The decoder failed.
    Decode,
    /// The picture does not change although frames arrive.
    Frozen,
    /// Frames arrive at a rate no camera has.
    Rate,
    /// The ring's memory could not be had.
    Memory,
    /// A file was played to its end.
    Ended,
    /// Waiting will not help: a missing element, a configuration that cannot work.
    Permanent,
}

/// How loud a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Needs a human.
    Error,
    /// Healed itself, or will.
    Warn,
    /// A change of state.
    Info,
    /// For whoever looks for a fault.
    Debug,
}

/// Where an object is in its life, as the API says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ObjectState {
    /// It moves, or has not rested for long.
    Active,
    /// It rests.
    Stationary,
    /// Not found where it should be; may come back.
    Lost,
}

/// A tracked object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Object {
    /// Unique per camera.
    pub id: i32,
    /// Its class.
    pub label: String,
    /// Confidence, 0..=1.
    pub score: f64,
    /// x1, y1, x2, y2 in pixels of the detect stream.
    #[serde(rename = "box")]
    pub bbox: [i32; 4],
    /// Where it is in its life.
    pub state: ObjectState,
    /// Seconds since 1970.
    pub first_seen: f64,
    /// Seconds since 1970.
    pub last_seen: f64,
    /// Zones it is in.
    #[serde(default)]
    pub zones: Vec<String>,
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

/// Figures of one capture worker, once a second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CaptureStats {
    /// Frames per second that came from the camera.
    pub source_fps: f64,
    /// Frames per second that went into the ring.
    pub camera_fps: f64,
    /// Frames written to the ring so far.
    pub written: u64,
    /// Frames the ring could not take, by reason.
    #[serde(default)]
    pub dropped: BTreeMap<String, u64>,
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

/// What a worker reports: one line of JSON, `{"kind": {...}}`, since a `kind` among the keys would have to be looked for
/// before the rest is read, and there are hundreds of lines per second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// Capture: the ring exists and can be attached to; again when its frames change their size.
    RingReady {
        /// Width of its frames.
        width: u32,
        /// Height of its frames.
        height: u32,
    },
    /// Capture: the frames are larger than what was granted; nothing was put into memory, and the worker is about to exit.
    TooLarge {
        /// Bytes of a frame.
        bytes: u64,
    },
    /// Capture: which decoder is at work.
    Decoder {
        /// Name of its element.
        name: String,
    },
    /// Capture: a decoder failed and is to be passed over from now on.
    DecoderFailed {
        /// Name of its element.
        name: String,
    },
    /// Capture: the worker cannot go on and is about to exit.
    Fault {
        /// What follows from it.
        kind: FaultKind,
        /// For people, without credentials.
        reason: String,
    },
    /// Capture: figures.
    Capture(CaptureStats),
    /// Capture: what came of a request about a task.
    TaskAnswer {
        /// Of the request.
        id: u64,
        /// How the task is now, or why the request was refused.
        answer: Result<TaskStatus, String>,
    },
    /// Capture: a task's state changed.
    Task(TaskStatus),
    /// Capture: a task has made a file.
    File(MediaFile),
    /// Capture: a task has the camera to itself, so that no frame comes into the ring; false when the ring is served again.
    Exclusive {
        /// Whether that is so.
        active: bool,
    },
    /// Analysis: commands are taken.
    Ready,
    /// Analysis: a camera's pipeline runs.
    Attached {
        /// Which camera.
        camera: String,
    },
    /// Analysis: a camera's pipeline is gone.
    Detached {
        /// Which camera.
        camera: String,
    },
    /// Analysis: one camera cannot be analysed; its capture goes on.
    AnalysisFault {
        /// Which camera.
        camera: String,
        /// For people.
        reason: String,
        /// Whether trying again can help.
        permanent: bool,
    },
    /// Analysis: figures of a camera.
    Analysis {
        /// Which camera.
        camera: String,
        /// Its figures.
        stats: AnalysisStats,
    },
    /// Analysis: all objects of a camera after a frame. Sent for every frame that has any, and once when there are none.
    Objects {
        /// Which camera.
        camera: String,
        /// Capture time of that frame, seconds since 1970.
        frame: f64,
        /// The objects.
        objects: UnreadObjects,
    },
    /// Analysis: a track changed.
    Track {
        /// Which camera.
        camera: String,
        /// started, updated, stationary, moving, lost or ended.
        change: String,
        /// The object after the change.
        object: Object,
        /// Where it is: x1, y1, x2, y2 in fractions of the frame.
        place: [f32; 4],
        /// Way it has gone, in fractions of the frame's width.
        path_length: f64,
        /// Zones it has just come into.
        #[serde(default)]
        entered: Vec<String>,
        /// Zones it has just left.
        #[serde(default)]
        left: Vec<String>,
    },
    /// Analysis: a camera's region grid has changed.
    Grid {
        /// Which camera.
        camera: String,
        /// The grid, as regiondetect exports it.
        json: String,
        /// Whether it is frozen.
        frozen: bool,
    },
    /// Analysis: motion began or ended.
    Motion {
        /// Which camera.
        camera: String,
        /// Whether there is motion now.
        active: bool,
        /// When, seconds since 1970.
        at: f64,
    },
    /// Either: a line for the log.
    Log {
        /// How loud.
        level: Level,
        /// Which camera it is about, if one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        camera: Option<String>,
        /// The text, without credentials.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_one_line_of_json_named_by_its_kind() {
        let report = Report::Fault {
            kind: FaultKind::Auth,
            reason: "401\nUnauthorized".into(),
        };
        let line = serde_json::to_string(&report).unwrap();
        assert_eq!(
            line,
            r#"{"fault":{"kind":"auth","reason":"401\nUnauthorized"}}"#
        );
        assert_eq!(serde_json::from_str::<Report>(&line).unwrap(), report);
    }

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
        let report = Report::Objects {
            camera: "c".into(),
            frame: 1.0,
            objects: unread,
        };
        let line = serde_json::to_string(&report).unwrap();
        let Report::Objects { objects, .. } = serde_json::from_str(&line).unwrap() else {
            panic!("{line}");
        };
        assert_eq!(objects.read().unwrap(), std::slice::from_ref(&object));
        let json = serde_json::to_value(&object).unwrap();
        assert_eq!(json["box"], serde_json::json!([1, 2, 3, 4]));
        assert_eq!(json["state"], "stationary");
    }
}
