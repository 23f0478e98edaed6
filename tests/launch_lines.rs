//! The launch lines of the documentation: those of plugins/README.md and docs/libcamera.md run, those of docs/elements
//! at least parse.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use gst::prelude::*;
use testkit::libcamera::within;

const DEADLINE: Duration = Duration::from_secs(60);
const BUFFERS: u32 = 10;

fn init() {
    gst::init().unwrap();
    gstshmring::plugin_register_static().unwrap();
    gstregiondetect::plugin_register_static().unwrap();
    gstobjecttrack::plugin_register_static().unwrap();
    gsttestscene::plugin_register_static().unwrap();
    // The lines are for the project's root.
    std::env::set_current_dir(root()).unwrap();
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// What follows `gst-launch-1.0` and its options, line by line, continuation lines joined.
fn launch_lines(page: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(page).unwrap().replace("\\\n", " ");
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("gst-launch-1.0 "))
        .map(|line| {
            let words = line
                .split_whitespace()
                .skip_while(|word| word.starts_with('-'));
            words.collect::<Vec<_>>().join(" ")
        })
        .collect()
}

fn parse(line: &str) -> gst::Pipeline {
    // gst-launch-1.0 is given its line by a shell, which takes the quotes away.
    let line = line
        .replace("autovideosink", "fakesink sync=true")
        .replace('\'', "");
    let element = gst::parse::launch(&line).unwrap_or_else(|error| panic!("{error}\nin: {line}"));
    element
        .downcast::<gst::Pipeline>()
        .unwrap_or_else(|_| panic!("no pipeline: {line}"))
}

/// A running pipeline and the buffers that reached its sinks.
struct Running {
    pipeline: gst::Pipeline,
    seen: Arc<AtomicU32>,
    line: String,
}

impl Running {
    fn start(line: &str) -> Self {
        let pipeline = parse(line);
        let seen = Arc::new(AtomicU32::new(0));
        for sink in pipeline.iterate_sinks().into_iter().flatten() {
            let seen = seen.clone();
            let pad = sink.static_pad("sink").unwrap();
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                seen.fetch_add(1, Ordering::Relaxed);
                gst::PadProbeReturn::Ok
            });
        }
        pipeline.set_state(gst::State::Playing).unwrap();
        Self {
            pipeline,
            seen,
            line: line.to_owned(),
        }
    }

    fn wait_for_buffers(&self) {
        let end = Instant::now() + DEADLINE;
        let bus = self.pipeline.bus().unwrap();
        while self.seen.load(Ordering::Relaxed) < BUFFERS {
            let seen = self.seen.load(Ordering::Relaxed);
            assert!(Instant::now() < end, "only {seen} buffers: {}", self.line);
            let wait = gst::ClockTime::from_mseconds(20);
            if let Some(message) = bus.timed_pop_filtered(wait, &[gst::MessageType::Error])
                && let gst::MessageView::Error(error) = message.view()
            {
                panic!("{} ({:?})\nin: {}", error.error(), error.debug(), self.line);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

#[test]
fn each_line_of_the_map_runs() {
    init();
    let lines = launch_lines(&root().join("plugins/README.md"));
    let mut elements = vec![
        "shmringsink",
        "shmringsrc",
        "motiondetect",
        "regiondetect",
        "objecttrack",
        "watchposttestsrc",
    ];
    // A ring is read while its writer runs, so what was started is kept until the end.
    let mut running = Vec::new();
    for line in &lines {
        let pipeline = Running::start(line);
        pipeline.wait_for_buffers();
        running.push(pipeline);
        elements.retain(|element| !line.contains(element));
    }
    assert!(elements.is_empty(), "no launch line for {elements:?}");
}

#[test]
fn the_lines_of_the_element_pages_parse() {
    init();
    let folder = std::fs::read_dir(root().join("docs/elements")).unwrap();
    let mut pages: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    assert_eq!(pages.len(), 6, "a page per element: {pages:?}");
    for page in pages {
        let lines = launch_lines(&page);
        assert!(!lines.is_empty(), "{} has no launch line", page.display());
        for line in lines {
            parse(&line);
        }
    }
}

#[test]
fn the_lines_of_the_libcamera_page_run() {
    // On the newest version; those for an older one work there too.
    within(
        "version=0.7.1 cameras=imx708",
        "the_lines_of_the_libcamera_page_run",
        || {
            init();
            let lines = launch_lines(&root().join("docs/libcamera.md"));
            assert!(lines.len() >= 3, "{lines:?}");
            for line in lines {
                Running::start(&line).wait_for_buffers();
            }
        },
    );
}
