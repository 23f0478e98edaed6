//! What the plugin is told, in the environment variable [`VARIABLE`]: `key=value`, separated by spaces.
//!
//! | Key | Meaning | Default |
//! |---|---|---|
//! | `version` | the libcamera it stands in for | `0.0.3` |
//! | `cameras` | models, each with `:WIDTHxHEIGHT` of its sensor if it shall have another one, separated by commas | `imx708,imx219` |
//! | `shape` | what kind of cameras they are, see [`Shape`] | `pi` |
//! | `dir` | folder for locks, counters, the log, and the file `faults` | the folder for temporary files |
//! | `faults` | faults, separated by commas | none |
//!
//! A fault is `KIND`, `KIND@SECONDS` (so long after the start), `KIND#N` (only when the camera is opened for the Nth
//! time, counted over all processes) or `KIND/N` (every Nth time), or such with both. The file `faults` in `dir`
//! replaces those of the variable as long as it is there, also for a camera that runs.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

/// The environment variable.
pub const VARIABLE: &str = "WATCHPOST_TEST_LIBCAMERA";

/// What kind of cameras there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shape {
    /// `pi`: two processed streams of any size from an ISP and, from 0.7.0 on, a raw one; sYCC unless asked otherwise.
    #[default]
    Pi,
    /// `webcam`: one stream, YUYV or Motion JPEG in a few sizes.
    Webcam,
    /// `single`: a sensor with one stream, NV12 or RGB of any size.
    Single,
    /// `virtual`: as libcamera's virtual cameras are. Three streams, NV12 and Rec709 only, and of the range of sizes that
    /// is told only the sensor's and half of it; all else is adjusted to the sensor's. The first four frames come at once.
    Virtual,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "pi" => Self::Pi,
            "webcam" => Self::Webcam,
            "single" => Self::Single,
            "virtual" => Self::Virtual,
            _ => return Err(format!("{text} is no shape")),
        })
    }
}

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// `busy`: another process has the camera.
    Busy,
    /// `unplug`: no frames any more, and the camera is gone until [`crate::Environment::plug_in`].
    Unplug,
    /// `no-memory`: no memory for the buffers.
    NoMemory,
    /// `configure`: the driver refuses the configuration.
    Configure,
    /// `start`: the camera does not start.
    Start,
    /// `timeout`: the sensor stops sending. As with libcamera only standard error tells.
    Timeout,
    /// `starve`: no buffer comes back, so no frame comes out.
    Starve,
    /// `error`: the stream ends with an error.
    Error,
    /// `hang-stop`: stopping takes ten minutes, or the seconds given.
    HangStop,
}

impl FromStr for FaultKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "busy" => Self::Busy,
            "unplug" => Self::Unplug,
            "no-memory" => Self::NoMemory,
            "configure" => Self::Configure,
            "start" => Self::Start,
            "timeout" => Self::Timeout,
            "starve" => Self::Starve,
            "error" => Self::Error,
            "hang-stop" => Self::HangStop,
            _ => return Err(format!("{text} is no fault")),
        })
    }
}

/// One fault, and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// How long after the start.
    pub after: Duration,
    /// Only at this opening.
    pub only: Option<u64>,
    /// Only at every so manyth opening.
    pub every: Option<u64>,
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is no fault, expected KIND[@SECONDS][#N][/N]");
        let end = text.find(['@', '#', '/']).unwrap_or(text.len());
        let mut fault = Self {
            kind: text[..end].parse()?,
            after: Duration::ZERO,
            only: None,
            every: None,
        };
        let mut rest = &text[end..];
        while let Some(mark) = rest.chars().next() {
            let value = &rest[1..];
            let end = value.find(['@', '#', '/']).unwrap_or(value.len());
            let number = &value[..end];
            match mark {
                '@' => {
                    let seconds: f64 = number.parse().map_err(|_| wrong())?;
                    fault.after = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
                }
                '#' => fault.only = Some(number.parse().map_err(|_| wrong())?),
                _ => fault.every = Some(number.parse().map_err(|_| wrong())?),
            }
            rest = &value[end..];
        }
        Ok(fault)
    }
}

impl Fault {
    fn counts(&self, kind: FaultKind, opening: u64) -> bool {
        self.kind == kind
            && self.only.is_none_or(|only| only == opening)
            && self
                .every
                .is_none_or(|every| every > 0 && opening.is_multiple_of(every))
    }
}

/// Reads a list of faults.
pub fn faults(text: &str) -> Result<Vec<Fault>, String> {
    text.split([',', '\n'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::parse)
        .collect()
}

/// All of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// Version as it was written.
    pub version_text: String,
    /// Version to compare.
    pub version: (u32, u32, u32),
    /// Model, width and height of each camera's sensor.
    pub cameras: Vec<(String, u32, u32)>,
    /// What kind of cameras they are.
    pub shape: Shape,
    /// Where locks, counters, log and `faults` are.
    pub dir: PathBuf,
    faults: Vec<Fault>,
}

impl FromStr for Script {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut script = Self {
            version_text: String::new(),
            version: (0, 0, 0),
            cameras: Vec::new(),
            shape: Shape::default(),
            dir: std::env::temp_dir(),
            faults: Vec::new(),
        };
        let mut version = "0.0.3";
        let mut cameras = "imx708,imx219";
        for part in text.split_whitespace() {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| format!("{VARIABLE}: {part} is not key=value"))?;
            match key {
                "version" => version = value,
                "cameras" => cameras = value,
                "shape" => script.shape = value.parse()?,
                "dir" => script.dir = value.into(),
                "faults" => script.faults = faults(value)?,
                _ => return Err(format!("{VARIABLE}: {key} is not known")),
            }
        }
        let mut numbers = version.split('.').map(|part| part.parse().ok());
        let mut number = || numbers.next().flatten();
        script.version = match (number(), number(), number()) {
            (Some(major), Some(minor), Some(patch)) => (major, minor, patch),
            _ => return Err(format!("{VARIABLE}: {version} is no version")),
        };
        version.clone_into(&mut script.version_text);
        for camera in cameras.split(',').filter(|camera| !camera.is_empty()) {
            let (model, size) = camera.split_once(':').unwrap_or((camera, ""));
            let size = match size {
                "" if model == "imx708" => Some((2304, 1296)),
                "" => Some((1640, 1232)),
                _ => size
                    .split_once('x')
                    .and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?))),
            };
            let (width, height) =
                size.ok_or_else(|| format!("{VARIABLE}: {camera} is no camera"))?;
            script.cameras.push((model.to_owned(), width, height));
        }
        Ok(script)
    }
}

impl Script {
    /// The script of this process. A wrong one ends it: a test that does not test what it says is worse.
    pub fn get() -> &'static Self {
        static SCRIPT: OnceLock<Script> = OnceLock::new();
        SCRIPT.get_or_init(|| {
            std::env::var(VARIABLE)
                .unwrap_or_default()
                .parse()
                .unwrap_or_else(|error| panic!("{error}"))
        })
    }

    /// Whether this release is there or a later one.
    pub fn since(&self, major: u32, minor: u32, patch: u32) -> bool {
        self.version >= (major, minor, patch)
    }

    /// How long after the start a fault comes, if it comes at this opening.
    pub fn fault(&self, kind: FaultKind, opening: u64) -> Option<Duration> {
        let find = |faults: &[Fault]| {
            faults
                .iter()
                .find(|fault| fault.counts(kind, opening))
                .map(|fault| fault.after)
        };
        match std::fs::read_to_string(self.dir.join("faults")) {
            Ok(text) => find(&faults(&text).unwrap_or_else(|error| panic!("{error}"))),
            Err(_) => find(&self.faults),
        }
    }

    /// Whether a fault is there now, so long after the start.
    pub fn is_due(&self, kind: FaultKind, opening: u64, since_start: Duration) -> bool {
        self.fault(kind, opening)
            .is_some_and(|after| since_start >= after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read() {
        let script: Script =
            "version=0.7.1 cameras=imx477:2028x1520,ov5647 faults=busy#2,timeout@1.5/3"
                .parse()
                .unwrap();
        assert!(script.since(0, 7, 0) && !script.since(0, 7, 2));
        assert_eq!(
            script.cameras,
            [
                ("imx477".to_owned(), 2028, 1520),
                ("ov5647".to_owned(), 1640, 1232)
            ]
        );
        assert_eq!(script.fault(FaultKind::Busy, 1), None);
        assert_eq!(script.fault(FaultKind::Busy, 2), Some(Duration::ZERO));
        let second = Duration::from_secs(1);
        assert!(!script.is_due(FaultKind::Timeout, 3, second));
        assert!(script.is_due(FaultKind::Timeout, 6, 2 * second));
        assert!(!script.is_due(FaultKind::Timeout, 5, 2 * second));
    }

    #[test]
    fn wrong_scripts_are_refused() {
        for text in [
            "version=new",
            "cameras=a:b",
            "faults=flood",
            "faults=busy@-1",
            "faults=busy#x",
            "colour=red",
            "shape=round",
            "busy",
        ] {
            assert!(text.parse::<Script>().is_err(), "{text}");
        }
    }
}
