//! What the tests of this crate share: pipelines in this process, pipelines in child processes, waiting with a deadline.

#![allow(dead_code)] // each test binary uses its part

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Once};

use gst::prelude::*;

pub use testkit::{PATIENCE as DEADLINE, eventually as wait_until};

pub fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        gst::init().expect("GStreamer starts");
        gstshmring::plugin_register_static().expect("the plugin registers");
    });
}

/// A directory for sockets, removed at the end.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        Self(
            tempfile::Builder::new()
                .prefix("shmring")
                .tempdir_in("/tmp")
                .expect("a temporary directory"),
        )
    }

    pub fn socket(&self) -> PathBuf {
        self.0.path().join("ring.sock")
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// A pipeline that is stopped when it goes out of scope.
pub struct Pipeline(pub gst::Pipeline);

impl Pipeline {
    #[track_caller]
    pub fn new(launch: &str) -> Self {
        init();
        let pipeline = gst::parse::launch(launch).unwrap_or_else(|err| panic!("{launch}: {err}"));
        Self(
            pipeline
                .downcast()
                .expect("a launch line of several elements is a pipeline"),
        )
    }

    #[track_caller]
    pub fn play(launch: &str) -> Self {
        let p = Self::new(launch);
        p.0.set_state(gst::State::Playing)
            .unwrap_or_else(|err| panic!("{launch}: {err}: {:?}", p.error()));
        p
    }

    pub fn by_name(&self, name: &str) -> gst::Element {
        self.0
            .by_name(name)
            .unwrap_or_else(|| panic!("no element {name}"))
    }

    /// The first error on the bus, if there is one.
    pub fn error(&self) -> Option<String> {
        let message = self.0.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        match message.view() {
            gst::MessageView::Error(e) => Some(format!("{} ({:?})", e.error(), e.debug())),
            _ => None,
        }
    }

    /// Waits for a message of one of these types.
    #[track_caller]
    pub fn wait_for(&self, types: &[gst::MessageType]) -> gst::Message {
        let bus = self.0.bus().expect("pipelines have a bus");
        let limit = gst::ClockTime::from_seconds(DEADLINE.as_secs());
        bus.timed_pop_filtered(limit, types)
            .unwrap_or_else(|| panic!("none of {types:?} within {DEADLINE:?}"))
    }

    /// Waits for an error; what it says.
    #[track_caller]
    pub fn wait_for_error(&self) -> String {
        let message = self.wait_for(&[gst::MessageType::Error]);
        let gst::MessageView::Error(error) = message.view() else {
            unreachable!()
        };
        error.error().to_string()
    }

    pub fn stats(&self, name: &str) -> gst::Structure {
        self.by_name(name).property("stats")
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        let _ = self.0.set_state(gst::State::Null);
    }
}

/// Waits until so many readers are there, so that nothing that is sent next can be missed.
pub fn wait_for_readers(writer: &Pipeline, n: usize) {
    wait_until("readers connect", || {
        writer
            .stats("ring")
            .get::<gst::Array>("readers")
            .is_ok_and(|r| r.len() == n)
    });
}

/// A value of a statistics structure.
#[track_caller]
pub fn count(stats: &gst::Structure, field: &str) -> u64 {
    stats
        .get::<u64>(field)
        .unwrap_or_else(|err| panic!("{field}: {err}: {stats}"))
}

/// Takes samples from an appsink of that name.
pub fn pull(p: &Pipeline, name: &str) -> gst::Sample {
    let sink = p
        .by_name(name)
        .downcast::<gst_app::AppSink>()
        .expect("an appsink");
    sink.try_pull_sample(gst::ClockTime::from_seconds(DEADLINE.as_secs()))
        .unwrap_or_else(|| panic!("no sample; error on the bus: {:?}", p.error()))
}

pub fn appsrc(p: &Pipeline, name: &str) -> gst_app::AppSrc {
    p.by_name(name).downcast().expect("an appsrc")
}

/// What a child wrote, line by line.
pub type Lines = Arc<Mutex<Vec<String>>>;

/// A process that runs a launch line and says each frame it gets; see [`child_main`].
pub struct Process {
    pub child: Child,
    pub lines: Lines,
}

impl Process {
    /// Starts this test binary again, in the role of a child. `mode` is read or hold or write.
    pub fn start(mode: &str, launch: &str) -> Self {
        let exe = std::env::current_exe().expect("a test has an executable");
        let mut child = Command::new(exe)
            .args([
                "child_process",
                "--exact",
                "--nocapture",
                "--test-threads=1",
            ])
            .env("SHMRING_CHILD", mode)
            .env("SHMRING_LAUNCH", launch)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child starts");
        let lines = Lines::default();
        let to = lines.clone();
        let out = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                to.lock().unwrap().push(line);
            }
        });
        Self { child, lines }
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid()).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("the child takes signals");
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("the child can be killed");
        self.child.wait().expect("the child can be waited for");
    }

    /// Frames as [offset, discont, pts] of the lines the child has written so far.
    pub fn frames(&self) -> Vec<[u64; 3]> {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter_map(|l| parse_frame(l)).collect()
    }

    pub fn said(&self, what: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|l| l.contains(what))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse_frame(line: &str) -> Option<[u64; 3]> {
    // The test harness may write on the same line before us.
    let at = line.find("FRAME ")?;
    let mut numbers = line[at + 6..].split(' ').map(|n| n.parse::<u64>().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

/// What a child does: runs the launch line until standard input closes. Elements named `out` report each buffer; in mode `hold`
/// they keep them and check at the end of their time that they have not changed.
pub fn child_main() {
    let (Ok(mode), Ok(launch)) = (
        std::env::var("SHMRING_CHILD"),
        std::env::var("SHMRING_LAUNCH"),
    ) else {
        return; // not a child: the test passes
    };
    let p = Pipeline::play(&launch);
    if let Some(out) = p.0.by_name("out") {
        let pad = out.static_pad("sink").expect("a sink");
        let held = Mutex::new(std::collections::VecDeque::new());
        let keep = mode
            .strip_prefix("hold=")
            .map_or(0, |n| n.parse::<usize>().expect("a number"));
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let Some(buffer) = info.buffer() else {
                return gst::PadProbeReturn::Ok;
            };
            if keep > 0 {
                let mut held = held.lock().unwrap();
                held.push_back((buffer.clone(), checksum(buffer)));
                if held.len() > keep {
                    let (buffer, before) = held.pop_front().expect("not empty");
                    if checksum(&buffer) != before {
                        say(&format!("CHANGED {}", buffer.offset()));
                    }
                }
            }
            let discont = u64::from(buffer.flags().contains(gst::BufferFlags::DISCONT));
            say(&format!(
                "FRAME {} {discont} {}",
                buffer.offset(),
                buffer.pts().map_or(0, |t| t.nseconds())
            ));
            gst::PadProbeReturn::Ok
        });
    }
    say("READY");
    let bus = p.0.bus().expect("a bus");
    std::thread::spawn(move || {
        for message in bus.iter_timed(gst::ClockTime::NONE) {
            match message.view() {
                gst::MessageView::Error(e) => say(&format!("ERROR {}", e.error())),
                gst::MessageView::Eos(_) => say("EOS"),
                _ => {}
            }
        }
    });
    let mut line = String::new();
    while std::io::stdin().read_line(&mut line).is_ok_and(|n| n > 0) {}
}

fn say(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

pub fn checksum(buffer: &gst::BufferRef) -> u64 {
    let map = buffer.map_readable().expect("readable");
    map.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3)
    })
}
