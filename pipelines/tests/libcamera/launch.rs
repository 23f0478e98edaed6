//! The builder's launch lines.

use gst::prelude::*;
use gstlibcameratest::{Environment, within};
use watchpost_pipelines::libcamera::{self, Abilities, Wanted};
use watchpost_pipelines::tasks::{ControlValue, Use};

use crate::support::{merged, planned, source};
use testkit::eventually;

#[test]
fn generated_launch_lines_run() {
    within(
        "version=0.7.1",
        "launch::generated_launch_lines_run",
        || {
            let mut merged = merged(&Use::ALL);
            merged.transform.hflip = Some(true);
            merged
                .controls
                .insert("AnalogueGain".into(), ControlValue::Integer(2));
            let line = planned(&merged).unwrap().launch_line("fakesink");
            let pipeline = gst::parse::launch(&line).unwrap_or_else(|e| panic!("{e}\nin: {line}"));
            pipeline.set_state(gst::State::Playing).unwrap();
            let environment = Environment::current();
            eventually(&format!("the camera starts: {line}"), || {
                environment.log().contains("start 1")
            });
            pipeline.set_state(gst::State::Null).unwrap();
            let log = environment.log();
            for part in [
                "src video-recording",
                "src_0 view-finder",
                "src_1 raw",
                "analogue-gain=2",
            ] {
                assert!(log.contains(part), "{log} misses {part}");
            }
        },
    );
}

#[test]
fn generated_launch_lines_parse_with_the_real_plugin() {
    gst::init().unwrap();
    let real = gst::ElementFactory::find("libcamerasrc")
        .and_then(|factory| factory.plugin())
        .is_some_and(|plugin| plugin.plugin_name() == "libcamera");
    if !real {
        eprintln!(
            "SKIPPED: libcamera's own plugin is not installed (Debian: gstreamer1.0-libcamera)"
        );
        return;
    }
    let abilities = Abilities::find().unwrap();
    let mut uses = vec![vec![Use::Live], vec![Use::Live, Use::Photo, Use::Video]];
    if abilities.has_raw() {
        uses.push(Use::ALL.to_vec());
    }
    for uses in uses {
        for hflip in [false, true] {
            let mut merged = merged(&uses);
            merged.transform.hflip = Some(hflip);
            let mut source = source();
            source.camera = "/base/soc/i2c0mux/i2c@1/imx708@1a".into();
            let wanted = Wanted {
                source: &source,
                merged: &merged,
                camera: None,
                framerate: gst::Fraction::new(30, 1),
                still: false,
            };
            let plan = libcamera::plan(&wanted, &abilities).unwrap();
            let line = plan.launch_line("fakesink");
            gst::parse::launch(&line).unwrap_or_else(|e| panic!("{e}\nin: {line}"));
            // And what is built of it links, pad for pad.
            plan.build().unwrap().add_to(&gst::Pipeline::new()).unwrap();
        }
    }
}
