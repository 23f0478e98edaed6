//! What a test source is told to show and when it is told to misbehave: [`Script`], read from one line of text, and
//! the pure time table drawn from it ([`Script::next`]).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::SceneKind;

/// A scene and what goes wrong in it. The text form is
///
/// ```text
/// SCENE[,OPTION=VALUE]...[,FAULT[=VALUE][@START][+LENGTH][/PERIOD]]...
/// ```
///
/// Spaces part items as well as commas do, which is handy inside YAML's `{test: walkers stall@5s+3s}`. Times are
/// numbers with `ms`, `s` (or nothing), `m` or `h`, counted from the start of the source. A fault without a start
/// begins at 0, one without a length lasts for ever, one with a period comes back.
///
/// | item | what happens |
/// |---|---|
/// | `seed=N` | another background, other people, other times; the same seed shows the same pictures |
/// | `objects=N` | how many figures (and, in `parking`, cars) take part, 0 to 24 |
/// | `noise=N` | sensor noise, standard deviation in grey levels, 0 to 30 (default 1.5) |
/// | `stall@5s+3s` | no frames for three seconds, then on with the time that is |
/// | `freeze@5s+3s` | the same picture again and again, timestamps go on |
/// | `fps=200@5s+3s` | frames come at another rate than the one agreed in caps |
/// | `garbage@5s+3s` | pictures of random bytes |
/// | `truncate@5s+3s` | buffers of half a frame |
/// | `size=320x240@5s+3s` | the camera switches its mode: new caps while running |
/// | `disconnect@5s` | the source fails with a read error |
/// | `auth@0s` | the source fails with "not authorized" |
/// | `eos@5s` | the stream ends |
/// | `exit=3@5s` | the process exits with this code (default 1) |
/// | `crash@5s` | the process dies by SIGABRT |
/// | `hang@5s` | the streaming thread blocks and cannot be unblocked, so the pipeline cannot be stopped either |
/// | `hang-on-stop+10s` | frames flow, but stopping takes ten seconds (without a length: never ends) |
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// What is shown.
    pub scene: SceneKind,
    /// Chooses background, figures and their times.
    pub seed: u64,
    /// How many figures take part; the scene's own number if `None`.
    pub objects: Option<usize>,
    /// Sensor noise: standard deviation in grey levels.
    pub noise: f32,
    /// What goes wrong, in the order written.
    pub faults: Vec<Fault>,
}

/// Most figures a scene can have.
pub const MAX_OBJECTS: usize = 24;
const MAX_NOISE: f32 = 30.0;

/// One scripted fault: what, and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Begins this long after the source started.
    pub at: Duration,
    /// Lasts this long; `None`: for ever.
    pub length: Option<Duration>,
    /// Comes back this often.
    pub period: Option<Duration>,
}

/// What can go wrong. The table at [`Script`] says what each looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FaultKind {
    /// No frames.
    Stall,
    /// The same picture, timestamps go on.
    Freeze,
    /// This many frames per second instead of those agreed.
    Fps(f64),
    /// Random bytes for pictures.
    Garbage,
    /// Buffers too short for a frame.
    Truncate,
    /// Another size, announced by caps.
    Size(u32, u32),
    /// Stopping takes as long as the fault is long.
    HangOnStop,
    /// The streaming thread blocks, deaf to everything.
    Hang,
    /// The stream comes to its end this way.
    End(Ending),
}

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Read error.
    Disconnect,
    /// Refused: not authorized.
    Auth,
    /// End of stream.
    Eos,
    /// The process exits with this code.
    Exit(u8),
    /// The process aborts.
    Crash,
}

/// The next frame as the script wants it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FramePlan {
    /// Its time since the source started.
    pub at: Duration,
    /// Until the next one, at the present rate.
    pub duration: Duration,
    /// The moment of the scene it shows (an earlier one in a frozen picture).
    pub shows: Duration,
    /// Show random bytes instead.
    pub garbage: bool,
    /// Send half of it only.
    pub truncated: bool,
    /// The size the camera has switched to.
    pub size: Option<(u32, u32)>,
}

/// What a source does next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Next {
    /// Send this frame, at its time.
    Frame(FramePlan),
    /// Nothing, for ever.
    Silence,
    /// Block at this time, deaf, this long (`None`: for ever).
    Hang {
        /// When.
        at: Duration,
        /// How long.
        length: Option<Duration>,
    },
    /// End the stream at this time.
    End {
        /// When.
        at: Duration,
        /// How.
        ending: Ending,
    },
}

/// Why a text is no [`Script`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// No scene of that name.
    #[error("no scene is called \"{0}\"; there are {names}", names = SceneKind::names())]
    UnknownScene(String),
    /// Neither an option nor a fault.
    #[error(
        "\"{0}\" is neither an option nor a fault; there are seed, objects, noise, stall, freeze, fps, garbage, \
         truncate, size, disconnect, auth, eos, exit, crash, hang and hang-on-stop"
    )]
    UnknownItem(String),
    /// An item is known, but what it says is not understood.
    #[error("\"{item}\": {problem}")]
    BadItem {
        /// The item as written.
        item: String,
        /// What is wrong and what is expected.
        problem: String,
    },
}

impl Script {
    /// `scene` with seed 1 and no fault.
    pub fn new(scene: SceneKind) -> Self {
        Self {
            scene,
            seed: 1,
            objects: None,
            noise: 1.5,
            faults: Vec::new(),
        }
    }

    /// What follows the frame at `previous` (`None`: the first is wanted), for a source that agreed on `fps`. A live
    /// source says in `earliest` what time it is: frames it can no longer send in time are left out.
    pub fn next(&self, previous: Option<Duration>, earliest: Duration, fps: f64) -> Next {
        let mut at = match previous {
            None => Duration::ZERO,
            Some(previous) => after(previous, self.fps_at(previous, fps)),
        };
        if at < earliest {
            let rate = self.fps_at(earliest, fps);
            at = on_grid(earliest, rate).max(at);
        }
        // Stalls may follow each other, hence as many rounds as there are faults.
        let mut silent = false;
        for _ in 0..=self.faults.len() {
            let Some((_, end)) = self.active(at, |kind| kind == FaultKind::Stall) else {
                break;
            };
            match end {
                Some(end) => at = end,
                None => {
                    silent = true;
                    break;
                }
            }
        }
        if let Some(stop) = self.first_stop(previous, if silent { Duration::MAX } else { at }) {
            return stop;
        }
        if silent {
            return Next::Silence;
        }
        let rate = self.fps_at(at, fps);
        Next::Frame(FramePlan {
            at,
            duration: Duration::from_secs_f64(1.0 / rate),
            shows: self
                .active(at, |kind| kind == FaultKind::Freeze)
                .map_or(at, |(begin, _)| begin),
            garbage: self.active(at, |kind| kind == FaultKind::Garbage).is_some(),
            truncated: self
                .active(at, |kind| kind == FaultKind::Truncate)
                .is_some(),
            size: self.faults.iter().rev().find_map(|fault| match fault.kind {
                FaultKind::Size(width, height) if fault.active(at).is_some() => {
                    Some((width, height))
                }
                _ => None,
            }),
        })
    }

    /// How long stopping takes: `None` as long as usual, `Some(None)` for ever.
    pub fn hang_on_stop(&self, at: Duration) -> Option<Option<Duration>> {
        self.faults
            .iter()
            .find(|fault| fault.kind == FaultKind::HangOnStop && fault.at <= at)
            .map(|fault| fault.length)
    }

    fn fps_at(&self, at: Duration, agreed: f64) -> f64 {
        self.faults
            .iter()
            .rev()
            .find_map(|fault| match fault.kind {
                FaultKind::Fps(fps) if fault.active(at).is_some() => Some(fps),
                _ => None,
            })
            .unwrap_or(agreed)
    }

    /// Begin and end of the occurrence active at `at` of the first fault that `wanted` picks.
    fn active(
        &self,
        at: Duration,
        wanted: impl Fn(FaultKind) -> bool,
    ) -> Option<(Duration, Option<Duration>)> {
        self.faults
            .iter()
            .filter(|fault| wanted(fault.kind))
            .find_map(|fault| fault.active(at))
    }

    /// The first ending or hang after `previous`, not later than `until`.
    fn first_stop(&self, previous: Option<Duration>, until: Duration) -> Option<Next> {
        self.faults
            .iter()
            .filter(|fault| matches!(fault.kind, FaultKind::End(_) | FaultKind::Hang))
            .filter(|fault| {
                previous.is_none_or(|previous| fault.at > previous) && fault.at <= until
            })
            .min_by_key(|fault| fault.at)
            .map(|fault| match fault.kind {
                FaultKind::End(ending) => Next::End {
                    at: fault.at,
                    ending,
                },
                _ => Next::Hang {
                    at: fault.at,
                    length: fault.length,
                },
            })
    }
}

impl Fault {
    /// Begin and end of the occurrence that is active at `at`.
    fn active(&self, at: Duration) -> Option<(Duration, Option<Duration>)> {
        let mut begin = self.at;
        let since = at.checked_sub(begin)?;
        if let Some(period) = self.period {
            // The parser sees to periods longer than lengths, hence longer than zero.
            let rounds = since.as_nanos() / period.as_nanos().max(1);
            begin += Duration::from_nanos((rounds * period.as_nanos()) as u64);
        }
        match self.length {
            None => Some((begin, None)),
            Some(length) if at < begin + length => Some((begin, Some(begin + length))),
            Some(_) => None,
        }
    }
}

/// The frame after the one at `previous`: on the grid of `fps`, counted from 0, so that rounding never adds up.
fn after(previous: Duration, fps: f64) -> Duration {
    Duration::from_secs_f64(((previous.as_secs_f64() * fps + 0.5).floor() + 1.0) / fps)
}

/// The first moment of the grid of `fps` not before `earliest`.
fn on_grid(earliest: Duration, fps: f64) -> Duration {
    // The little less is for products that come out a hair above a whole number.
    Duration::from_secs_f64((earliest.as_secs_f64() * fps - 1e-6).ceil().max(0.0) / fps)
}

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let mut items = text
            .split([',', ' ', '\t', '\n'])
            .filter(|item| !item.is_empty());
        let name = items.next().unwrap_or("");
        let scene =
            SceneKind::from_name(name).ok_or_else(|| ScriptError::UnknownScene(name.to_owned()))?;
        let mut script = Self::new(scene);
        for item in items {
            script.read_item(item)?;
        }
        Ok(script)
    }
}

impl Script {
    fn read_item(&mut self, item: &str) -> Result<(), ScriptError> {
        let bad = |problem: &str| ScriptError::BadItem {
            item: item.to_owned(),
            problem: problem.to_owned(),
        };
        match item.split_once('=') {
            Some(("seed", value)) => {
                self.seed = value
                    .parse()
                    .map_err(|_| bad("a seed is a whole number, 0 or more"))?;
            }
            Some(("objects", value)) => {
                let number = value.parse().ok().filter(|number| *number <= MAX_OBJECTS);
                self.objects = Some(number.ok_or_else(|| bad("the number of objects is 0 to 24"))?);
            }
            Some(("noise", value)) => {
                let noise = value
                    .parse()
                    .ok()
                    .filter(|noise| (0.0..=MAX_NOISE).contains(noise));
                self.noise =
                    noise.ok_or_else(|| bad("noise is a number of grey levels, 0 to 30"))?;
            }
            _ => self.faults.push(read_fault(item)?),
        }
        Ok(())
    }
}

fn read_fault(item: &str) -> Result<Fault, ScriptError> {
    let bad = |problem: String| ScriptError::BadItem {
        item: item.to_owned(),
        problem,
    };
    // Cut from the right: /PERIOD, +LENGTH, @START, =VALUE.
    let cut = |text: &mut &str, mark: char| -> Result<Option<Duration>, ScriptError> {
        let Some((rest, time)) = text.split_once(mark) else {
            return Ok(None);
        };
        *text = rest;
        let time = read_time(time).ok_or_else(|| {
            bad(format!("\"{time}\" after {mark} is no time; a time is a number with ms, s, m or h, such as 2.5s"))
        })?;
        Ok(Some(time))
    };
    let mut rest = item;
    let period = cut(&mut rest, '/')?;
    let length = cut(&mut rest, '+')?;
    let start = cut(&mut rest, '@')?;
    let (name, value) = match rest.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (rest, None),
    };
    let kind = match name {
        "stall" => FaultKind::Stall,
        "freeze" => FaultKind::Freeze,
        "garbage" => FaultKind::Garbage,
        "truncate" => FaultKind::Truncate,
        "hang" => FaultKind::Hang,
        "hang-on-stop" => FaultKind::HangOnStop,
        "disconnect" => FaultKind::End(Ending::Disconnect),
        "auth" => FaultKind::End(Ending::Auth),
        "eos" => FaultKind::End(Ending::Eos),
        "crash" => FaultKind::End(Ending::Crash),
        "exit" => {
            let code = value
                .unwrap_or("1")
                .parse()
                .map_err(|_| bad("an exit code is 0 to 255".into()))?;
            FaultKind::End(Ending::Exit(code))
        }
        "fps" => {
            let fps = value
                .and_then(|value| value.parse().ok())
                .filter(|fps| (0.01..=1000.0).contains(fps));
            FaultKind::Fps(
                fps.ok_or_else(
                    || bad("a rate is wanted, 0.01 to 1000, such as fps=200@5s".into()),
                )?,
            )
        }
        "size" => {
            let size = value.and_then(read_size);
            let (width, height) = size.ok_or_else(|| {
                bad("even width and height, 16 to 4096, are wanted, such as size=320x240@5s".into())
            })?;
            FaultKind::Size(width, height)
        }
        _ => return Err(ScriptError::UnknownItem(item.to_owned())),
    };
    let takes_value = matches!(
        kind,
        FaultKind::Fps(_) | FaultKind::Size(..) | FaultKind::End(Ending::Exit(_))
    );
    if value.is_some() && !takes_value {
        return Err(bad(format!("{name} takes no value")));
    }
    if matches!(kind, FaultKind::End(_)) && length.is_some() {
        return Err(bad(format!(
            "{name} happens at one moment; leave out the length after +"
        )));
    }
    let repeats = !matches!(
        kind,
        FaultKind::End(_) | FaultKind::Hang | FaultKind::HangOnStop
    );
    match (period, length) {
        (Some(_), _) if !repeats => {
            return Err(bad(format!(
                "{name} cannot come back; leave out the period after /"
            )));
        }
        (Some(period), Some(length)) if length < period => {}
        (Some(_), _) => {
            return Err(bad(
                "a fault that comes back needs a length shorter than its period".into(),
            ));
        }
        (None, _) => {}
    }
    Ok(Fault {
        kind,
        at: start.unwrap_or_default(),
        length,
        period,
    })
}

fn read_time(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits.parse().ok()?;
    let seconds = match &text[digits.len()..] {
        "ms" => number / 1000.0,
        "s" | "" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return None,
    };
    // Ten years: nothing here can overflow.
    (0.0..=315_360_000.0)
        .contains(&seconds)
        .then(|| Duration::from_secs_f64(seconds))
}

fn read_size(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.split_once('x')?;
    let side = |text: &str| {
        text.parse()
            .ok()
            .filter(|side| (16..=4096).contains(side) && side % 2 == 0)
    };
    Some((side(width)?, side(height)?))
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},seed={}", self.scene.name(), self.seed)?;
        if let Some(objects) = self.objects {
            write!(f, ",objects={objects}")?;
        }
        write!(f, ",noise={}", self.noise)?;
        self.faults
            .iter()
            .try_for_each(|fault| write!(f, ",{fault}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FaultKind::Stall => write!(f, "stall")?,
            FaultKind::Freeze => write!(f, "freeze")?,
            FaultKind::Fps(fps) => write!(f, "fps={fps}")?,
            FaultKind::Garbage => write!(f, "garbage")?,
            FaultKind::Truncate => write!(f, "truncate")?,
            FaultKind::Size(width, height) => write!(f, "size={width}x{height}")?,
            FaultKind::HangOnStop => write!(f, "hang-on-stop")?,
            FaultKind::Hang => write!(f, "hang")?,
            FaultKind::End(Ending::Disconnect) => write!(f, "disconnect")?,
            FaultKind::End(Ending::Auth) => write!(f, "auth")?,
            FaultKind::End(Ending::Eos) => write!(f, "eos")?,
            FaultKind::End(Ending::Exit(code)) => write!(f, "exit={code}")?,
            FaultKind::End(Ending::Crash) => write!(f, "crash")?,
        }
        write!(f, "@{}s", self.at.as_secs_f64())?;
        if let Some(length) = self.length {
            write!(f, "+{}s", length.as_secs_f64())?;
        }
        if let Some(period) = self.period {
            write!(f, "/{}s", period.as_secs_f64())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> Script {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Times of the frames up to `until`, played without skipping.
    fn play(script: &Script, fps: f64, until: Duration) -> Vec<FramePlan> {
        let mut plans = Vec::new();
        let mut previous = None;
        while let Next::Frame(plan) = script.next(previous, Duration::ZERO, fps) {
            if plan.at >= until {
                break;
            }
            previous = Some(plan.at);
            plans.push(plan);
        }
        plans
    }

    #[test]
    fn everything_in_a_line_is_read() {
        let read = script("walkers,seed=7,objects=3 noise=0,stall@5s+3s,fps=200@1m+500ms/2m");
        assert_eq!(
            (read.scene, read.seed, read.objects, read.noise),
            (SceneKind::Walkers, 7, Some(3), 0.0)
        );
        assert_eq!(
            read.faults,
            [
                Fault {
                    kind: FaultKind::Stall,
                    at: ms(5_000),
                    length: Some(ms(3_000)),
                    period: None
                },
                Fault {
                    kind: FaultKind::Fps(200.0),
                    at: ms(60_000),
                    length: Some(ms(500)),
                    period: Some(ms(120_000))
                },
            ]
        );
    }

    #[test]
    fn a_script_written_out_reads_as_the_same() {
        for text in [
            "walkers",
            "parking,seed=3,objects=0,noise=2.5",
            "still,stall@1s+2s/5s,freeze@1,garbage,truncate@3m,size=320x240@4s+1s",
            "empty,disconnect@5,auth,eos@1h,exit=3@2s,exit,crash@1s,hang@2s,hang-on-stop+10s",
        ] {
            let read = script(text);
            assert_eq!(script(&read.to_string()), read, "{text}");
        }
    }

    #[test]
    fn errors_name_the_item_and_what_is_expected() {
        for (text, expected) in [
            ("", "no scene is called \"\"; there are walkers"),
            ("walker", "no scene is called \"walker\""),
            ("walkers,stal@5s", "\"stal@5s\" is neither"),
            ("walkers,stall@soon", "\"soon\" after @ is no time"),
            ("walkers,stall@-5s", "\"-5s\" after @ is no time"),
            ("walkers,stall@5s+3x", "\"3x\" after + is no time"),
            ("walkers,stall@5s/2s", "needs a length"),
            ("walkers,stall@5s+3s/2s", "shorter than its period"),
            ("walkers,stall=3", "stall takes no value"),
            ("walkers,fps@5s", "a rate is wanted"),
            ("walkers,fps=0@5s", "a rate is wanted"),
            ("walkers,size=321x240", "even width and height"),
            ("walkers,exit=256", "0 to 255"),
            ("walkers,eos@5s+1s", "leave out the length"),
            ("walkers,crash@5s/9s", "leave out the period"),
            ("walkers,objects=25", "0 to 24"),
            ("walkers,noise=nan", "0 to 30"),
            ("walkers,seed=-1", "whole number"),
        ] {
            let error = text.parse::<Script>().expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn frames_keep_to_the_grid_however_odd_the_rate() {
        let fps = 30_000.0 / 1001.0;
        let plans = play(&script("still"), fps, Duration::from_secs(60));
        assert_eq!(plans.len(), 1799);
        let last = plans.last().unwrap().at.as_secs_f64();
        assert!((last - 1798.0 / fps).abs() < 1e-6, "{last}");
    }

    #[test]
    fn a_stall_leaves_a_gap_and_nothing_else() {
        let times: Vec<_> = play(&script("still,stall@1s+3s"), 10.0, ms(5_000))
            .iter()
            .map(|plan| plan.at)
            .collect();
        assert_eq!(times.len(), 20);
        assert_eq!(
            (times[9], times[10], times[11]),
            (ms(900), ms(4_000), ms(4_100))
        );
    }

    #[test]
    fn a_stall_that_comes_back_comes_back() {
        let plans = play(&script("still,stall@1s+1s/2s"), 10.0, ms(6_000));
        assert_eq!(
            plans
                .iter()
                .map(|plan| plan.at.as_secs())
                .collect::<std::collections::BTreeSet<_>>(),
            [0, 2, 4].into()
        );
        assert_eq!(plans.len(), 30);
    }

    #[test]
    fn an_endless_stall_is_silence_until_something_ends_it() {
        let read = script("still,stall@1s");
        assert_eq!(
            read.next(Some(ms(900)), Duration::ZERO, 10.0),
            Next::Silence
        );
        let read = script("still,stall@1s,disconnect@4s");
        let end = Next::End {
            at: ms(4_000),
            ending: Ending::Disconnect,
        };
        assert_eq!(read.next(Some(ms(900)), Duration::ZERO, 10.0), end);
    }

    #[test]
    fn a_frozen_picture_has_new_timestamps() {
        let plans = play(&script("still,freeze@1s+1s"), 10.0, ms(2_500));
        assert_eq!(plans.len(), 25);
        assert!(plans[10..20].iter().all(|plan| plan.shows == ms(1_000)));
        assert_eq!(
            (plans[9].shows, plans[19].at, plans[20].shows),
            (ms(900), ms(1_900), ms(2_000))
        );
    }

    #[test]
    fn another_rate_lasts_as_long_as_it_is_told() {
        let plans = play(&script("still,fps=100@1s+1s"), 10.0, ms(3_000));
        let in_second = |second| {
            plans
                .iter()
                .filter(|plan| plan.at.as_secs() == second)
                .count()
        };
        assert_eq!((in_second(0), in_second(1), in_second(2)), (10, 100, 10));
        assert_eq!(plans[50].duration, ms(10));
    }

    #[test]
    fn a_late_live_source_leaves_frames_out() {
        let Next::Frame(plan) = script("still").next(Some(ms(100)), ms(1_030), 10.0) else {
            panic!("a frame")
        };
        assert_eq!(plan.at, ms(1_100));
    }

    #[test]
    fn the_stream_ends_at_its_time_even_when_frames_were_left_out() {
        let read = script("still,eos@1s");
        let end = Next::End {
            at: ms(1_000),
            ending: Ending::Eos,
        };
        assert_eq!(read.next(Some(ms(900)), Duration::ZERO, 10.0), end);
        assert_eq!(read.next(Some(ms(900)), ms(7_000), 10.0), end);
        assert_eq!(play(&read, 10.0, ms(9_000)).len(), 10);
        let auth = Next::End {
            at: Duration::ZERO,
            ending: Ending::Auth,
        };
        assert_eq!(script("still,auth").next(None, Duration::ZERO, 10.0), auth);
    }

    #[test]
    fn stopping_hangs_only_when_told() {
        assert_eq!(script("still").hang_on_stop(ms(9_000)), None);
        assert_eq!(script("still,hang-on-stop").hang_on_stop(ms(0)), Some(None));
        assert_eq!(
            script("still,hang-on-stop@5s+10s").hang_on_stop(ms(4_000)),
            None
        );
        assert_eq!(
            script("still,hang-on-stop@5s+10s").hang_on_stop(ms(6_000)),
            Some(Some(ms(10_000)))
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,80}", tail in "[a-z=@+/0-9.,]{0,40}") {
            let _ = text.parse::<Script>();
            if let Ok(script) = format!("still,{tail}").parse::<Script>() {
                let _ = script.next(Some(Duration::from_secs(3)), Duration::ZERO, 5.0);
            }
        }
    }
}
