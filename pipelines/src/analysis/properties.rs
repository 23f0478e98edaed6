//! Which configuration key is which element property.

use std::collections::BTreeMap;

use gst::glib;
use gst::prelude::*;

use crate::camera::{
    CameraConfig, DetectConfig, MaxFrames, MotionConfig, ObjectFilter, ObjectsConfig,
    StationaryConfig,
};

/// Which element a property belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// `motiondetect`.
    Motion,
    /// `regiondetect`.
    Detect,
    /// `objecttrack`.
    Track,
}

/// A property of one of the elements and what it is to be.
#[derive(Debug, Clone)]
pub struct Property {
    /// Which element.
    pub stage: Stage,
    /// Which property.
    pub name: &'static str,
    /// Its value; a number is converted to the property's own type.
    pub value: glib::Value,
}

impl Property {
    pub(super) fn new(stage: Stage, name: &'static str, value: impl ToValue) -> Self {
        Self {
            stage,
            name,
            value: value.to_value(),
        }
    }
}

impl PartialEq for Property {
    fn eq(&self, other: &Self) -> bool {
        // Values are compared as GStreamer writes them: GObject has no equality.
        self.stage == other.stage
            && self.name == other.name
            && format!("{:?}", self.value) == format!("{:?}", other.value)
    }
}

/// Every property a camera's configuration decides, with its value.
pub fn properties(camera: &CameraConfig, first_id: Option<u32>) -> Vec<Property> {
    let mut all = Vec::new();
    motion(camera, &mut all);
    detect(camera, &mut all);
    track(camera, first_id, &mut all);
    all
}

fn motion(camera: &CameraConfig, all: &mut Vec<Property>) {
    let MotionConfig {
        enabled,
        threshold,
        contour_area,
        frame_height,
        frame_alpha,
        lightning_threshold,
        skip_motion_threshold,
        improve_contrast,
        mask,
        delta_alpha: _,
        mqtt_off_delay: _,
    } = &camera.motion;
    let mut set = |name, value: glib::Value| all.push(Property::new(Stage::Motion, name, value));
    set("enabled", enabled.to_value());
    set("threshold", threshold.to_value());
    set("contour-area", contour_area.to_value());
    set("frame-height", frame_height.to_value());
    set("frame-alpha", frame_alpha.to_value());
    set("lightning-threshold", lightning_threshold.to_value());
    set(
        "skip-motion-threshold",
        skip_motion_threshold.unwrap_or(-1.0).to_value(),
    );
    set("improve-contrast", improve_contrast.to_value());
    set("mask", mask.to_property(camera.detect_size()).to_value());
}

fn detect(camera: &CameraConfig, all: &mut Vec<Property>) {
    let DetectConfig {
        enabled,
        stream: _,
        width: _,
        height: _,
        fps,
        min_initialized: _,
        max_disappeared: _,
        stationary: _,
        annotation_offset: _,
    } = &camera.detect;
    let ObjectsConfig { track, .. } = &camera.objects;
    let mut set = |name, value: glib::Value| all.push(Property::new(Stage::Detect, name, value));
    // No label to look for: nothing to do. An empty list of classes would mean all of them.
    set("enabled", (*enabled && !track.is_empty()).to_value());
    set("classes", track.join(",").to_value());
    let interval = f64::from(camera.detect.stationary_interval()) / fps;
    set("stationary-interval", ((interval * 1e9) as u64).to_value());
}

fn track(camera: &CameraConfig, first_id: Option<u32>, all: &mut Vec<Property>) {
    let DetectConfig {
        enabled: _,
        stream: _,
        width: _,
        height: _,
        fps,
        min_initialized: _,
        max_disappeared: _,
        stationary:
            StationaryConfig {
                interval: _,
                threshold: _,
                max_frames,
                classifier,
            },
        annotation_offset: _,
    } = &camera.detect;
    let ObjectsConfig {
        track,
        filters,
        mask,
    } = &camera.objects;
    let mut set = |name, value: glib::Value| all.push(Property::new(Stage::Track, name, value));
    // Frames become time here: the tracker's patience does not depend on how many frames it gets.
    let nanoseconds = |frames: u32| ((f64::from(frames) / fps * 1e9) as u64).to_value();
    set("classes", track.join(",").to_value());
    set("confirm-frames", camera.detect.min_initialized().to_value());
    set("max-lost", nanoseconds(camera.detect.max_disappeared()));
    set(
        "stationary-threshold",
        nanoseconds(camera.detect.stationary_threshold()),
    );
    set(
        "max-stationary",
        max_stationary(max_frames, *fps).to_value(),
    );
    set("appearance", classifier.unwrap_or(false).to_value());
    // Frigate's filter defaults hold for every tracked label, also for those without a filter of their own.
    let filters: BTreeMap<&str, ObjectFilter> = track
        .iter()
        .map(|label| {
            (
                label.as_str(),
                filters.get(label).cloned().unwrap_or_default(),
            )
        })
        .collect();
    set("filters", json(&filters).to_value());
    set("mask", mask.to_property(camera.detect_size()).to_value());
    set("zones", json(&camera.zones).to_value());
    if let Some(first_id) = first_id {
        set("first-id", first_id.max(1).to_value());
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("keys are text and numbers are finite")
}

fn max_stationary(frames: &MaxFrames, fps: f64) -> String {
    let seconds = |frames: &u32| f64::from(*frames) / fps;
    let MaxFrames { default, objects } = frames;
    let objects: BTreeMap<&str, f64> = objects
        .iter()
        .map(|(label, frames)| (label.as_str(), seconds(frames)))
        .collect();
    json(&serde_json::json!({"default": default.as_ref().map(seconds), "objects": objects}))
}
