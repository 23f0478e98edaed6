//! The element's properties: what they are, their defaults, and how they are set.

use gst::glib;
use gst::prelude::*;
use objecttrack_core::Params;

use crate::rules::RuleSettings;

/// What the user has set.
#[derive(Debug, Clone)]
pub struct Settings {
    pub classes: String,
    pub groups: String,
    pub filters: String,
    pub mask: String,
    pub zones: String,
    pub max_stationary: String,
    pub resting: String,
    pub stationary_threshold: gst::ClockTime,
    pub confirm_frames: u32,
    pub max_lost: gst::ClockTime,
    pub update_interval: gst::ClockTime,
    pub first_id: u32,
    pub appearance: bool,
    /// The texts above, read.
    pub rule_settings: RuleSettings,
    /// Counts changes, so that the streaming thread sees one without comparing texts.
    pub version: u64,
}

impl Default for Settings {
    fn default() -> Self {
        let params = Params::default();
        let seconds = gst::ClockTime::from_seconds_f64;
        Self {
            classes: String::new(),
            groups: "car,truck,bus".to_owned(),
            filters: String::new(),
            mask: String::new(),
            zones: String::new(),
            max_stationary: String::new(),
            resting: String::new(),
            stationary_threshold: seconds(params.default_label.stationary_after),
            confirm_frames: 0,
            max_lost: seconds(params.life),
            update_interval: gst::ClockTime::SECOND,
            first_id: 1,
            appearance: false,
            rule_settings: RuleSettings::default(),
            version: 1,
        }
    }
}

pub fn specs() -> Vec<glib::ParamSpec> {
    let d = Settings::default();
    let text =
        |name: &'static str, nick: &'static str, blurb: &'static str, default: &'static str| {
            glib::ParamSpecString::builder(name)
                .nick(nick)
                .blurb(blurb)
                .default_value(Some(default))
                .mutable_playing()
                .build()
        };
    let time =
        |name: &'static str, nick: &'static str, blurb: &'static str, default: gst::ClockTime| {
            glib::ParamSpecUInt64::builder(name)
                .nick(nick)
                .blurb(blurb)
                .maximum(86_400_000_000_000)
                .default_value(default.nseconds())
                .mutable_playing()
                .build()
        };
    vec![
        text("classes", "Classes", "Labels to track, with commas between them; empty: all", ""),
        text(
            "groups",
            "Label groups",
            "Labels a detector may confuse on one object, with commas between them and ; between groups; the most frequent one is reported",
            "car,truck,bus",
        ),
        text(
            "filters",
            "Filters",
            "What objects must be like, as JSON by label (\"*\": every other label), with Frigate's keys and defaults: min_area, max_area (pixels, or below 1 a share of the frame), min_ratio, max_ratio, min_score, threshold, mask",
            "",
        ),
        text(
            "mask",
            "Mask",
            "Where objects are ignored, judged by the middle of the box's lower edge: polygons x1,y1,x2,y2,... in shares of the frame or pixels, with ; between them, or Frigate's JSON forms",
            "",
        ),
        text(
            "zones",
            "Zones",
            "Named areas, as JSON with Frigate's keys and defaults: {name: {coordinates, objects, filters, inertia (frames, 3), loitering_time (seconds, 0), enabled}}",
            "",
        ),
        text(
            "max-stationary",
            "Longest rest",
            "How long stationary objects are kept, as JSON in seconds: {\"default\": s, \"objects\": {label: s}}; empty: as long as they stay",
            "",
        ),
        text(
            "resting",
            "Resting",
            "How labels rest, as JSON by label (\"*\": every other label): rest_iou, rest_after (s), wake_iou, rest_life (s), rest_life_max (s)",
            "",
        ),
        time(
            "stationary-threshold",
            "Stationary threshold",
            "Nanoseconds in one place before an object is reported as stationary",
            d.stationary_threshold,
        ),
        glib::ParamSpecUInt::builder("confirm-frames")
            .nick("Frames to confirm")
            .blurb("Detections before an object is confirmed (Frigate's min_initialized); 0: two, and at least 0.07 s")
            .maximum(1000)
            .default_value(d.confirm_frames)
            .mutable_playing()
            .build(),
        time(
            "max-lost",
            "Longest loss",
            "Nanoseconds a moving object may be looked for without being found before it ends (Frigate's max_disappeared)",
            d.max_lost,
        ),
        time("update-interval", "Update interval", "Least nanoseconds between two updates of one object", d.update_interval),
        glib::ParamSpecUInt::builder("first-id")
            .nick("First id")
            .blurb("Id of the first object after start; ids are never reused while the element lives")
            .minimum(1)
            .maximum(i32::MAX as u32)
            .default_value(d.first_id)
            .mutable_ready()
            .build(),
        glib::ParamSpecUInt::builder("next-id")
            .nick("Next id")
            .blurb("Id the next object will get")
            .read_only()
            .build(),
        glib::ParamSpecBoolean::builder("appearance")
            .nick("Check appearance")
            .blurb("Compare the picture of resting objects before believing that they moved or are gone (needs a luma plane: I420, NV12, GRAY8 and the like)")
            .default_value(d.appearance)
            .mutable_playing()
            .build(),
        glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb("frames, detections, filtered, restored, lost, tracks, started, ended, jumps (uint64), step-time-avg, step-time-max (ns)")
            .read_only()
            .build(),
    ]
}

impl Settings {
    /// Sets one property. An unusable text leaves everything as it was and says why.
    pub fn set(&mut self, name: &str, value: &glib::Value) -> Result<(), String> {
        let text = || {
            value
                .get::<Option<String>>()
                .ok()
                .flatten()
                .unwrap_or_default()
        };
        let time = || gst::ClockTime::from_nseconds(value.get::<u64>().unwrap_or_default());
        match name {
            "classes" => {
                self.classes = text();
                self.rule_settings.set_classes(&self.classes);
            }
            "groups" => {
                self.groups = text();
                self.rule_settings.set_groups(&self.groups);
            }
            "filters" => {
                self.rule_settings.set_filters(&text())?;
                self.filters = text();
            }
            "mask" => {
                self.rule_settings.set_mask(&text())?;
                self.mask = text();
            }
            "zones" => {
                self.rule_settings.set_zones(&text())?;
                self.zones = text();
            }
            "max-stationary" => {
                self.rule_settings.set_max_stationary(&text())?;
                self.max_stationary = text();
            }
            "resting" => {
                self.rule_settings.set_resting(&text())?;
                self.resting = text();
            }
            "stationary-threshold" => self.stationary_threshold = time(),
            "confirm-frames" => self.confirm_frames = value.get().unwrap_or_default(),
            "max-lost" => self.max_lost = time(),
            "update-interval" => self.update_interval = time(),
            "first-id" => self.first_id = value.get().unwrap_or(1),
            "appearance" => self.appearance = value.get().unwrap_or_default(),
            other => return Err(format!("no property {other}")),
        }
        self.version += 1;
        Ok(())
    }

    /// Reads one property; `None` for those that are not settings.
    pub fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "classes" => self.classes.to_value(),
            "groups" => self.groups.to_value(),
            "filters" => self.filters.to_value(),
            "mask" => self.mask.to_value(),
            "zones" => self.zones.to_value(),
            "max-stationary" => self.max_stationary.to_value(),
            "resting" => self.resting.to_value(),
            "stationary-threshold" => self.stationary_threshold.nseconds().to_value(),
            "confirm-frames" => self.confirm_frames.to_value(),
            "max-lost" => self.max_lost.nseconds().to_value(),
            "update-interval" => self.update_interval.nseconds().to_value(),
            "first-id" => self.first_id.to_value(),
            "appearance" => self.appearance.to_value(),
            _ => return None,
        })
    }

    /// The tracker's parameters, but for those that depend on labels.
    pub fn params(&self) -> Params {
        let mut p = Params::default();
        p.default_label.stationary_after = self.stationary_threshold.seconds_f64();
        p.default_label.rest_after = p
            .default_label
            .rest_after
            .min(p.default_label.stationary_after);
        if self.confirm_frames > 0 {
            p.confirm_hits = self.confirm_frames;
            p.confirm_after = 0.0;
        }
        p.life = self.max_lost.seconds_f64();
        p.blind_life = p.blind_life.max(p.life);
        p.first_id = self.first_id;
        p.appearance = self.appearance;
        p
    }
}
