//! The properties of `motiondetect`.

use std::sync::LazyLock;

use detection::{Masks, PolygonError};
use gst::glib;
use gst::prelude::*;
use regiondetect_core::motion::MotionSettings;

/// Skip threshold that stands for "none".
const NO_SKIP: f64 = -1.0;

/// What the user has set.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub enabled: bool,
    pub motion: MotionSettings,
    pub mask_text: String,
    pub mask: Masks,
    pub ptz_moving: bool,
    pub motion_metas: bool,
    /// Milliseconds.
    pub off_delay: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            motion: MotionSettings::default(),
            mask_text: String::new(),
            mask: Masks::default(),
            ptz_moving: false,
            motion_metas: true,
            off_delay: 1000,
        }
    }
}

impl Settings {
    /// Sets a property; a mask that cannot be read leaves the old one.
    pub fn set(&mut self, name: &str, value: &glib::Value) -> Result<(), PolygonError> {
        fn get<'a, T: glib::value::FromValue<'a>>(value: &'a glib::Value) -> T {
            value
                .get()
                .unwrap_or_else(|_| unreachable!("GObject has checked the type"))
        }
        let motion = &mut self.motion;
        match name {
            "enabled" => self.enabled = get(value),
            "threshold" => motion.threshold = get::<u32>(value) as u8,
            "contour-area" => motion.contour_area = f64::from(get::<u32>(value)),
            "frame-height" => motion.frame_height = get(value),
            "frame-alpha" => motion.frame_alpha = get::<f64>(value) as f32,
            "lightning-threshold" => motion.lightning_threshold = get(value),
            "skip-motion-threshold" => {
                motion.skip_motion_threshold = Some(get(value)).filter(|v| *v >= 0.0);
            }
            "improve-contrast" => motion.improve_contrast = get(value),
            "mask" => {
                let text = get::<Option<String>>(value).unwrap_or_default();
                self.mask = text.parse()?;
                self.mask_text = text;
            }
            "ptz-moving" => self.ptz_moving = get(value),
            "motion-metas" => self.motion_metas = get(value),
            "off-delay" => self.off_delay = get(value),
            _ => unreachable!("GObject knows no other property"),
        }
        Ok(())
    }

    pub fn get(&self, name: &str) -> glib::Value {
        let motion = &self.motion;
        match name {
            "enabled" => self.enabled.to_value(),
            "threshold" => u32::from(motion.threshold).to_value(),
            "contour-area" => (motion.contour_area as u32).to_value(),
            "frame-height" => motion.frame_height.to_value(),
            "frame-alpha" => f64::from(motion.frame_alpha).to_value(),
            "lightning-threshold" => motion.lightning_threshold.to_value(),
            "skip-motion-threshold" => motion.skip_motion_threshold.unwrap_or(NO_SKIP).to_value(),
            "improve-contrast" => motion.improve_contrast.to_value(),
            "mask" => self.mask_text.to_value(),
            "ptz-moving" => self.ptz_moving.to_value(),
            "motion-metas" => self.motion_metas.to_value(),
            "off-delay" => self.off_delay.to_value(),
            _ => unreachable!("GObject knows no other property"),
        }
    }
}

/// A switch that can be changed while playing.
fn switch(name: &str, nick: &str, blurb: &str) -> glib::ParamSpec {
    glib::ParamSpecBoolean::builder(name)
        .nick(nick)
        .blurb(blurb)
        .default_value(default(name))
        .mutable_playing()
        .build()
}

fn whole(name: &str, nick: &str, blurb: &str, range: (u32, u32)) -> glib::ParamSpec {
    glib::ParamSpecUInt::builder(name)
        .nick(nick)
        .blurb(blurb)
        .minimum(range.0)
        .maximum(range.1)
        .default_value(default(name))
        .mutable_playing()
        .build()
}

fn share(name: &str, nick: &str, blurb: &str, minimum: f64) -> glib::ParamSpec {
    glib::ParamSpecDouble::builder(name)
        .nick(nick)
        .blurb(blurb)
        .minimum(minimum)
        .maximum(1.0)
        .default_value(default(name))
        .mutable_playing()
        .build()
}

fn default<T: for<'a> glib::value::FromValue<'a>>(name: &str) -> T {
    Settings::default()
        .get(name)
        .get()
        .unwrap_or_else(|_| unreachable!("{name} has its own type"))
}

pub(super) static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
    vec![
        switch("enabled", "Enabled", "Look for motion; off, buffers pass unchanged"),
        whole(
            "threshold",
            "Threshold",
            "Brightness difference to the average from which on a pixel has changed: lower is more sensitive",
            (1, 255),
        ),
        whole(
            "contour-area",
            "Contour area",
            "Changed areas up to this size, in pixels of the shrunk picture, are no motion: lower is more sensitive",
            (0, 100_000),
        ),
        whole(
            "frame-height",
            "Frame height",
            "Height in pixels the picture is shrunk to before motion is looked for",
            (16, 1024),
        ),
        share(
            "frame-alpha",
            "Frame alpha",
            "Share of each frame that goes into the average: higher takes up slow changes faster",
            0.0,
        ),
        share(
            "lightning-threshold",
            "Lightning threshold",
            "Share of the picture that has to change at once for the average to be learned anew (light, infrared)",
            0.0,
        ),
        share(
            "skip-motion-threshold",
            "Skip motion threshold",
            "Share of the picture that has to change at once for the frame to have no motion at all; -1: never",
            NO_SKIP,
        ),
        switch(
            "improve-contrast",
            "Improve contrast",
            "Stretch the contrast before looking: finds motion at night",
        ),
        glib::ParamSpecString::builder("mask")
            .nick("Mask")
            .blurb("Polygons where motion does not count: x1,y1,x2,y2,... in fractions of the frame or pixels, ';' between polygons; or Frigate's lists and maps of them as JSON")
            .default_value(Some(""))
            .mutable_playing()
            .build(),
        switch(
            "ptz-moving",
            "PTZ moving",
            "The camera is moving by itself now, so that everything in the picture changes",
        ),
        switch(
            "motion-metas",
            "Motion metas",
            "Put a ROI meta of type motion on the buffer for each motion box, and the state regiondetect reads",
        ),
        whole(
            "off-delay",
            "Off delay",
            "Milliseconds without motion until the message that motion has ended",
            (0, 3_600_000),
        ),
        glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb("Frames seen, with motion, skipped and calibrating (uint64), processing time in ns (uint64), share of the picture that changed last (double), active and calibrating now (boolean)")
            .read_only()
            .build(),
    ]
});
