//! Which configuration key is which element property.

use gst::glib;
use gst::prelude::*;

use crate::camera::{CameraConfig, DetectConfig, Masks, MotionConfig, ObjectsConfig};

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
    set("contour-area", f64::from(*contour_area).to_value());
    set("frame-height", frame_height.to_value());
    set("frame-alpha", frame_alpha.to_value());
    set("lightning-threshold", lightning_threshold.to_value());
    set(
        "skip-motion-threshold",
        skip_motion_threshold.unwrap_or(0.0).to_value(),
    );
    set("improve-contrast", improve_contrast.to_value());
    set("mask", polygons(mask, camera.detect_size()).to_value());
}

fn detect(camera: &CameraConfig, all: &mut Vec<Property>) {
    let DetectConfig {
        enabled,
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

fn track(_camera: &CameraConfig, first_id: Option<u32>, all: &mut Vec<Property>) {
    if let Some(first_id) = first_id {
        all.push(Property::new(Stage::Track, "first-id", first_id));
    }
}

/// Polygons as text: `x1,y1,x2,y2,...`, in shares of the picture, with `;` between them.
fn polygons(masks: &Masks, size: Option<(u32, u32)>) -> String {
    masks
        .polygons(size)
        .iter()
        .map(|points| {
            points
                .iter()
                .map(|(x, y)| format!("{x},{y}"))
                .collect::<Vec<_>>()
                .join(",")
        })
        .collect::<Vec<_>>()
        .join(";")
}
