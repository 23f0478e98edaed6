//! Analysis pipelines with the real elements.

use std::sync::Once;

use gst::prelude::*;
use watchpost_pipelines::analysis::{self, Analysis};
use watchpost_pipelines::camera::{CameraConfig, Source};
use watchpost_pipelines::model::ModelConfig;
use watchpost_pipelines::spec::AnalysisSpec;

fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().unwrap();
        gstshmring::plugin_register_static().unwrap();
        gstregiondetect::plugin_register_static().unwrap();
        gstobjecttrack::plugin_register_static().unwrap();
    });
}

fn camera(yaml_as_json: &str) -> CameraConfig {
    serde_json::from_str(yaml_as_json).unwrap()
}

fn spec(camera: CameraConfig, model: bool) -> AnalysisSpec {
    AnalysisSpec {
        name: "front".into(),
        camera,
        socket_path: "/tmp/none.sock".into(),
        model: model.then(|| ModelConfig {
            path: "/tmp/none.onnx".into(),
            kind: Some("yolox".into()),
            labels: None,
            provider: Some("cpu".into()),
        }),
        first_id: Some(7001),
        region_grid: None,
    }
}

const FULL: &str = r#"{
    "source": {"test": "walkers"},
    "detect": {"fps": 10, "width": 640, "height": 360, "min_initialized": 4, "max_disappeared": 30,
               "stationary": {"interval": 200, "threshold": 80, "classifier": true,
                              "max_frames": {"default": 3000, "objects": {"person": 1000}}}},
    "motion": {"threshold": 40, "contour_area": 20, "frame_height": 180, "frame_alpha": 0.02,
               "lightning_threshold": 0.7, "skip_motion_threshold": 0.9, "improve_contrast": false,
               "mask": {"tree": {"coordinates": "0,0,64,0,64,36"}, "off": {"enabled": false, "coordinates": "0,0,1,0,1,1"}}},
    "objects": {"track": ["person", "car"], "mask": "0,0,0.1,0,0.1,0.1",
                "filters": {"person": {"min_area": 500, "min_score": 0.6, "threshold": 0.8, "mask": "0,0,0.2,0,0.2,0.2"}}},
    "zones": {"door": {"friendly_name": "Door", "coordinates": "0.1,0.1,0.9,0.1,0.9,0.9", "inertia": 5, "loitering_time": 2,
                       "objects": ["person"], "filters": {"person": {"min_area": 0.01}}}}
}"#;

fn property<T: for<'a> gst::glib::value::FromValue<'a> + 'static>(
    element: &gst::Element,
    name: &str,
) -> T {
    element.property(name)
}

fn warnings(analysis: &Analysis) -> Vec<String> {
    let bus = analysis.pipeline().bus().unwrap();
    std::iter::from_fn(|| bus.pop_filtered(&[gst::MessageType::Warning, gst::MessageType::Error]))
        .map(|message| format!("{message:?}"))
        .collect()
}

#[test]
fn frames_are_not_copied_for_their_strides() {
    init();
    let source = gst::ElementFactory::make("videotestsrc").build().unwrap();
    let analysis = analysis::build_from(&spec(camera(FULL), false), source).unwrap();
    analysis.pipeline().set_state(gst::State::Playing).unwrap();
    let sample = analysis.sink().pull_sample().unwrap();
    let mut query = gst::query::Allocation::new(Some(&sample.caps().unwrap().to_owned()), true);
    let pad = analysis.source().static_pad("src").unwrap();
    assert!(pad.peer_query(&mut query));
    assert!(
        query
            .find_allocation_meta::<gst_video::VideoMeta>()
            .is_some()
    );
    analysis.pipeline().set_state(gst::State::Null).unwrap();
}

#[test]
fn every_key_reaches_its_element() {
    init();
    let analysis = analysis::build(&spec(camera(FULL), true)).unwrap();
    assert_eq!(warnings(&analysis), Vec::<String>::new());

    let motion = analysis.motion();
    assert_eq!(property::<u32>(motion, "threshold"), 40);
    assert_eq!(property::<u32>(motion, "contour-area"), 20);
    assert_eq!(property::<u32>(motion, "frame-height"), 180);
    assert!((property::<f64>(motion, "frame-alpha") - 0.02).abs() < 1e-6);
    assert_eq!(property::<f64>(motion, "lightning-threshold"), 0.7);
    assert_eq!(property::<f64>(motion, "skip-motion-threshold"), 0.9);
    assert!(!property::<bool>(motion, "improve-contrast"));
    assert_eq!(property::<String>(motion, "mask"), "0,0,0.1,0,0.1,0.1");

    let detect = analysis.detect().unwrap();
    assert!(property::<bool>(detect, "enabled"));
    assert_eq!(property::<String>(detect, "classes"), "person,car");
    assert_eq!(property::<String>(detect, "model-type"), "yolox");
    assert_eq!(
        property::<u64>(detect, "stationary-interval"),
        20_000_000_000
    );

    let track = analysis.track().unwrap();
    assert_eq!(property::<u32>(track, "confirm-frames"), 4);
    assert_eq!(property::<u64>(track, "max-lost"), 3_000_000_000);
    assert_eq!(
        property::<u64>(track, "stationary-threshold"),
        8_000_000_000
    );
    assert_eq!(property::<u32>(track, "first-id"), 7001);
    assert!(property::<bool>(track, "appearance"));
    let json = |name: &str| -> serde_json::Value {
        serde_json::from_str(&property::<String>(track, name)).unwrap()
    };
    assert_eq!(
        json("max-stationary"),
        serde_json::json!({"default": 300.0, "objects": {"person": 100.0}})
    );
    assert_eq!(json("filters")["person"]["min_score"], 0.6);
    assert_eq!(
        json("filters")["car"]["threshold"],
        0.7,
        "Frigate's defaults hold for every tracked label"
    );
    assert_eq!(json("zones")["door"]["inertia"], 5);
    assert_eq!(property::<String>(track, "mask"), "0,0,0.1,0,0.1,0.1");
}

#[test]
fn defaults_reach_the_elements_too() {
    init();
    let plain = CameraConfig::from_source(Source::Test("walkers".to_owned().into()));
    let analysis = analysis::build(&spec(plain, true)).unwrap();
    assert_eq!(warnings(&analysis), Vec::<String>::new());
    assert_eq!(
        property::<f64>(analysis.motion(), "skip-motion-threshold"),
        -1.0
    );
    let track = analysis.track().unwrap();
    assert_eq!(property::<u64>(track, "max-lost"), 5_000_000_000);
    assert_eq!(
        property::<u64>(track, "stationary-threshold"),
        10_000_000_000
    );
}

#[test]
fn a_changed_key_reaches_the_running_element_and_only_that() {
    init();
    let old = camera(FULL);
    let analysis = analysis::build(&spec(old.clone(), true)).unwrap();
    // Set behind the configuration's back: an update that touched everything would undo it.
    analysis.motion().set_property("threshold", 99u32);
    let mut new = old.clone();
    new.motion.mask = serde_json::from_str(r#""0.5,0.5,1,0.5,1,1""#).unwrap();
    new.objects.track = vec![];
    analysis.update(&old, &new).unwrap();
    assert_eq!(property::<u32>(analysis.motion(), "threshold"), 99);
    assert_eq!(
        property::<String>(analysis.motion(), "mask"),
        "0.5,0.5,1,0.5,1,1"
    );
    assert!(
        !property::<bool>(analysis.detect().unwrap(), "enabled"),
        "nothing to look for"
    );
    analysis.set_moving(true).unwrap();
    assert!(property::<bool>(analysis.motion(), "ptz-moving"));
    assert_eq!(warnings(&analysis), Vec::<String>::new());
}

#[test]
fn without_a_model_only_motion_is_looked_for() {
    init();
    let analysis = analysis::build(&spec(camera(FULL), false)).unwrap();
    assert!(analysis.detect().is_none() && analysis.track().is_none());
    analysis
        .update(&camera(FULL), &CameraConfig::default())
        .unwrap();
}
