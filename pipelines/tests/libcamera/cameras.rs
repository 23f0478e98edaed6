//! Which camera is meant, and cameras that come and go.

use gstlibcameratest::{Environment, within};
use watchpost_pipelines::camera::LibcameraSource;
use watchpost_pipelines::fault::FaultKind;
use watchpost_pipelines::libcamera::{self, cameras, resolve};
use watchpost_pipelines::tasks::Use;

use crate::support::{Running, merged, planned};
use testkit::eventually;

#[test]
fn cameras_are_listed_and_chosen() {
    within(
        "version=0.0.3 cameras=imx708,imx219,imx219",
        "cameras::cameras_are_listed_and_chosen",
        || {
            gst::init().unwrap();
            let cameras = cameras();
            let list: Vec<_> = cameras
                .iter()
                .map(|camera| (camera.index, camera.model.as_str(), camera.id.as_str()))
                .collect();
            assert_eq!(
                list,
                [
                    (0, "imx708", "/base/soc/i2c0mux/i2c@0/imx708@1a"),
                    (1, "imx219", "/base/soc/i2c0mux/i2c@1/imx219@1a"),
                    (2, "imx219", "/base/soc/i2c0mux/i2c@2/imx219@1a"),
                ]
            );
            let ambiguous = resolve("imx219", &cameras).unwrap_err();
            assert!(ambiguous.reason.contains("may be several"), "{ambiguous}");

            // Two at once, each its own camera.
            let mut running = Vec::new();
            for choice in ["imx708", "2"] {
                let source = LibcameraSource::from(choice.to_owned());
                let merged = merged(&[Use::Live]);
                let rate = gst::Fraction::new(30, 1);
                let built = libcamera::build(&source, &merged, rate, false).unwrap();
                running.push(Running::start(&built));
            }
            for running in &running {
                running.frames();
            }
            let log = Environment::current().log();
            assert!(
                log.contains("start 1 /base/soc/i2c0mux/i2c@0/imx708@1a"),
                "{log}"
            );
            assert!(
                log.contains("start 1 /base/soc/i2c0mux/i2c@2/imx219@1a"),
                "{log}"
            );
        },
    );
}

#[test]
fn an_unplugged_camera_is_missed_by_name_and_comes_back() {
    within(
        "version=0.0.3 cameras=imx708",
        "cameras::an_unplugged_camera_is_missed_by_name_and_comes_back",
        || {
            gst::init().unwrap();
            let environment = Environment::current();
            let live = merged(&[Use::Live]);
            let built = planned(&live).unwrap().build().unwrap();
            let running = Running::start(&built);
            running.frames();
            environment.set_faults("unplug");
            eventually("the camera is not listed", || cameras().is_empty());
            let refusal = planned(&live).unwrap_err();
            assert_eq!(refusal.kind, FaultKind::Source, "{refusal}");
            drop(running);
            environment.clear_faults();
            environment.plug_in(0);
            Running::start(&planned(&live).unwrap().build().unwrap()).frames();
        },
    );
}
