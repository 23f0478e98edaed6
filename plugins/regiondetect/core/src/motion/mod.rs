//! Motion as Frigate finds it: the brightness, shrunk to about 100 rows, against a running average of itself.
//!
//! Two of Frigate's traps are avoided. A frame over the skip threshold still teaches the average, so a changed scene is
//! taken in within seconds instead of never; and [`Motion::calibrating`] ends in a scene that is always busy. The boxes are
//! Frigate's to the pixel in every case without a skip.

mod contour;
mod filter;
mod luma;

use detection::{FrameSize, PixelBox, Polygon};

pub use luma::{Luma, LumaLayout, PlaneError};

use crate::mask::shrunk_mask;
use contour::{Contour, Tracer};

/// While calibrating, and after a skip, this share of each frame goes into the average.
const LEARN: f32 = 0.2;
/// Calibration is over when less than this share of the picture changes, in at most [`CALM_BOXES`] places.
const CALM_SHARE: f64 = 0.05;
const CALM_BOXES: usize = 4;
/// Motion goes into the average only when it has been there for so many frames in a row.
const PATIENCE: u32 = 10;
/// Contrast is stretched between the means of so many frames' dark and bright ends.
const CONTRAST_FRAMES: usize = 50;
/// Neither calibration nor skipping goes on for more frames than this after its cause, nor starts again within as many.
const LONGEST: u32 = 50;
/// The shrunk picture is no higher than this.
const MAX_SHRUNK: usize = 1024;
/// Rows between asking for one and reading it: the frame comes from another core or from memory.
const AHEAD: usize = 2;
/// Frames larger than this in a direction are refused.
const MAX_SIDE: usize = 1 << 16;

/// Frigate's `motion` section.
#[derive(Debug, Clone, PartialEq)]
pub struct MotionSettings {
    /// A pixel whose brightness differs by more than this from the average has changed (1..=255).
    pub threshold: u8,
    /// Changed areas up to this size, in pixels of the shrunk picture, are no motion.
    pub contour_area: f64,
    /// Height of the shrunk picture in pixels.
    pub frame_height: u32,
    /// Share of each frame that goes into the average.
    pub frame_alpha: f32,
    /// When more than this share of the picture changes, the average is learned anew.
    pub lightning_threshold: f64,
    /// When more than this share of the picture changes, the frame is taken for a changed scene and has no motion.
    pub skip_motion_threshold: Option<f64>,
    /// Stretch the contrast first.
    pub improve_contrast: bool,
}

impl Default for MotionSettings {
    fn default() -> Self {
        Self {
            threshold: 30,
            contour_area: 10.0,
            frame_height: 100,
            frame_alpha: 0.01,
            lightning_threshold: 0.8,
            skip_motion_threshold: None,
            improve_contrast: true,
        }
    }
}

/// What was found in one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Motion<'a> {
    /// Boxes around what moves, in frame pixels, from left to right.
    pub boxes: &'a [PixelBox],
    /// The picture as a whole has just changed (start, light, another scene), so the boxes say little. Ends after at most
    /// 50 frames.
    pub calibrating: bool,
    /// Share of the picture that has changed, 0..=1.
    pub share: f64,
    /// The frame was over the skip threshold.
    pub skipped: bool,
}

/// Counted since the detector was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MotionStats {
    /// Frames seen.
    pub frames: u64,
    /// Frames with at least one box.
    pub with_motion: u64,
    /// Frames over the skip threshold.
    pub skipped: u64,
    /// Frames reported as calibrating.
    pub calibrating: u64,
    /// Times the average began to be learned anew, the start included.
    pub calibrations: u64,
}

/// Finds motion in frames of one size.
#[derive(Debug)]
pub struct MotionDetector {
    settings: MotionSettings,
    frame: FrameSize,
    mask: Vec<Polygon>,
    small: Small,
    average: Vec<f32>,
    contrast: [(u8, u8); CONTRAST_FRAMES],
    contrast_next: usize,
    /// The average learns quickly; Frigate's own "calibrating".
    learning: bool,
    /// Frames since the cause of the last calibration.
    since_cause: u32,
    /// The last frame changed as a whole.
    was_global: bool,
    skips: u32,
    frames_with_motion: u32,
    ptz_moving: bool,
    adopt: bool,
    tracer: Tracer,
    contours: Vec<Contour>,
    boxes: Vec<PixelBox>,
    stats: MotionStats,
}

/// The shrunk picture and where it comes from.
#[derive(Debug)]
struct Small {
    width: usize,
    columns: Vec<u32>,
    rows: Vec<u32>,
    /// 0 where masked, 255 elsewhere; empty without masks.
    mask: Vec<u8>,
    plane: Vec<u8>,
    scratch: Vec<u8>,
    changed: Vec<u8>,
    /// Frame pixels per shrunk pixel, in both directions.
    factor: f64,
}

impl Small {
    fn new(frame: FrameSize, height: u32, mask: &[Polygon]) -> Self {
        let (from_width, from_height) = (frame.width as usize, frame.height as usize);
        let height = (height as usize).clamp(1, MAX_SHRUNK);
        let width = (height * from_width / from_height).clamp(1, 16 * MAX_SHRUNK);
        let pixels = width * height;
        let shrunk = FrameSize::new(width as u32, height as u32);
        Self {
            width,
            columns: filter::nearest(from_width, width),
            rows: filter::nearest(from_height, height),
            mask: if mask.is_empty() {
                Vec::new()
            } else {
                shrunk_mask(mask, frame, shrunk)
            },
            plane: vec![0; pixels],
            scratch: vec![0; pixels],
            changed: vec![0; pixels],
            factor: from_height as f64 / height as f64,
        }
    }
}

impl MotionDetector {
    /// A detector for frames of this size. `None` for an empty or absurdly large one.
    pub fn new(settings: MotionSettings, frame: FrameSize) -> Option<Self> {
        let side = |v: u32| usize::try_from(v).is_ok_and(|v| (1..=MAX_SIDE).contains(&v));
        if !side(frame.width) || !side(frame.height) {
            return None;
        }
        let small = Small::new(frame, settings.frame_height, &[]);
        Some(Self {
            average: vec![0.0; small.plane.len()],
            small,
            settings,
            frame,
            mask: Vec::new(),
            contrast: [(0, 255); CONTRAST_FRAMES],
            contrast_next: 0,
            learning: true,
            since_cause: 0,
            was_global: true,
            skips: 0,
            frames_with_motion: 0,
            ptz_moving: false,
            adopt: false,
            tracer: Tracer::default(),
            contours: Vec::new(),
            boxes: Vec::new(),
            stats: MotionStats {
                calibrations: 1,
                ..MotionStats::default()
            },
        })
    }

    /// The settings in use.
    pub fn settings(&self) -> &MotionSettings {
        &self.settings
    }

    /// Other settings from the next frame on. Another `frame_height` takes the next frame as its average.
    pub fn set_settings(&mut self, settings: MotionSettings) {
        let resized = settings.frame_height != self.settings.frame_height;
        self.settings = settings;
        if resized {
            self.resize();
        }
    }

    /// Other masks from the next frame on, which becomes the average: what was masked until now is no motion.
    pub fn set_mask(&mut self, mask: Vec<Polygon>) {
        if mask != self.mask {
            self.mask = mask;
            self.resize();
        }
    }

    /// A PTZ camera began or ended to move. While it moves all but the picture's edge counts as motion; the frame after
    /// becomes the average.
    pub fn set_ptz_moving(&mut self, moving: bool) {
        if self.ptz_moving && !moving {
            self.adopt = true;
        }
        self.ptz_moving = moving;
    }

    /// Begins anew with the next frame as the average, instead of learning it from black as Frigate does: at the start,
    /// after a gap or a seek.
    pub fn reset(&mut self) {
        self.adopt = true;
    }

    /// The average learns quickly: Frigate's own "calibrating", without an end in a busy scene.
    pub fn is_learning(&self) -> bool {
        self.learning
    }

    /// Counted since the detector was made.
    pub fn stats(&self) -> MotionStats {
        self.stats
    }

    /// Mean of the running average.
    pub fn average_mean(&self) -> f64 {
        let sum: f64 = self.average.iter().map(|v| f64::from(*v)).sum();
        sum / self.average.len() as f64
    }

    /// The boxes of the last frame.
    pub fn boxes(&self) -> &[PixelBox] {
        &self.boxes
    }

    /// Finds motion in the next frame. A frame of another size has none; make another detector for it.
    pub fn process(&mut self, luma: &Luma) -> Motion<'_> {
        self.boxes.clear();
        let size = (self.frame.width as usize, self.frame.height as usize);
        if luma.size() != size {
            return self.result(0.0, false);
        }
        self.stats.frames += 1;
        if self.ptz_moving {
            let at = |dim: u32, share: f64| (f64::from(dim) * share) as i32;
            let (w, h) = (self.frame.width, self.frame.height);
            self.boxes.push(PixelBox::new(
                at(w, 0.1),
                at(h, 0.1),
                at(w, 0.9),
                at(h, 0.9),
            ));
            self.stats.with_motion += 1;
            return self.result(0.64, false);
        }
        self.shrink(luma);
        if std::mem::take(&mut self.adopt) {
            for (average, pixel) in self.average.iter_mut().zip(&self.small.plane) {
                *average = f32::from(*pixel);
            }
            self.learning = false;
            self.frames_with_motion = 0;
            return self.result(0.0, false);
        }
        let share = self.compare();
        if self.over_skip(share) {
            self.boxes.clear();
            self.stats.skipped += 1;
            self.begin_calibration(true);
            filter::accumulate(&mut self.average, &self.small.plane, LEARN);
            return self.result(share, true);
        }
        if share < CALM_SHARE && self.boxes.len() <= CALM_BOXES {
            self.learning = false;
        }
        self.begin_calibration(share > self.settings.lightning_threshold);
        self.learn();
        self.stats.with_motion += u64::from(!self.boxes.is_empty());
        self.result(share, false)
    }

    fn resize(&mut self) {
        self.small = Small::new(self.frame, self.settings.frame_height, &self.mask);
        self.average.clear();
        self.average.resize(self.small.plane.len(), 0.0);
        self.adopt = true;
    }

    /// Brings the frame into `small.plane`: shrunk, stretched, masked and blurred.
    fn shrink(&mut self, luma: &Luma) {
        let small = &mut self.small;
        for (n, (row, y)) in small
            .plane
            .chunks_exact_mut(small.width)
            .zip(&small.rows)
            .enumerate()
        {
            if let Some(ahead) = small.rows.get(n + AHEAD) {
                luma.ask_for(*ahead as usize);
            }
            luma.sample(*y as usize, &small.columns, row);
        }
        if self.settings.improve_contrast {
            let histogram = filter::histogram(&small.plane);
            let low = filter::quantile(&histogram, 0.04);
            let high = filter::quantile(&histogram, 0.96);
            if low < high {
                if self.adopt {
                    // A window that came to this scene slowly would look like motion.
                    self.contrast.fill((low, high));
                }
                self.contrast[self.contrast_next] = (low, high);
                self.contrast_next = (self.contrast_next + 1) % CONTRAST_FRAMES;
                let mean = |of: fn(&(u8, u8)) -> u8| {
                    let sum: u32 = self.contrast.iter().map(|pair| u32::from(of(pair))).sum();
                    f64::from(sum) / CONTRAST_FRAMES as f64
                };
                filter::stretch(&mut small.plane, mean(|p| p.0), mean(|p| p.1));
            }
        }
        for (pixel, mask) in small.plane.iter_mut().zip(&small.mask) {
            *pixel &= mask;
        }
        filter::blur(&mut small.plane, small.width, &mut small.scratch);
    }

    /// Fills `boxes`; the share of the picture that has changed.
    fn compare(&mut self) -> f64 {
        let small = &mut self.small;
        filter::changed(
            &small.plane,
            &self.average,
            self.settings.threshold,
            &mut small.changed,
        );
        filter::dilate(&mut small.changed, small.width, &mut small.scratch);
        self.contours.clear();
        self.tracer
            .trace(&small.changed, small.width, &mut self.contours);
        let mut area = 0.0;
        for contour in &self.contours {
            area += contour.area;
            if contour.area > self.settings.contour_area {
                let scaled = |v: i32| (f64::from(v) * small.factor) as i32;
                self.boxes.push(PixelBox::new(
                    scaled(contour.x1),
                    scaled(contour.y1),
                    scaled(contour.x2),
                    scaled(contour.y2),
                ));
            }
        }
        self.boxes.sort_unstable();
        area / small.plane.len() as f64
    }

    /// The frame is to be skipped. A scene that is over the threshold for good is not skipped for good.
    fn over_skip(&mut self, share: f64) -> bool {
        let over = self
            .settings
            .skip_motion_threshold
            .is_some_and(|threshold| share > threshold);
        self.skips = if over {
            self.skips.saturating_add(1)
        } else {
            0
        };
        over && self.skips <= LONGEST
    }

    /// The average is learned anew while `global` change lasts; calibration is reported for a while from when it began.
    fn begin_calibration(&mut self, global: bool) {
        self.since_cause = self.since_cause.saturating_add(1);
        if global && !self.was_global && (!self.learning || self.since_cause > 2 * LONGEST) {
            self.since_cause = 0;
            self.stats.calibrations += 1;
        }
        self.was_global = global;
        self.learning |= global;
    }

    fn learn(&mut self) {
        if self.boxes.is_empty() {
            self.frames_with_motion = 0;
        } else {
            self.frames_with_motion += 1;
            if self.frames_with_motion < PATIENCE {
                return;
            }
        }
        let alpha = if self.learning {
            LEARN
        } else {
            self.settings.frame_alpha
        };
        filter::accumulate(&mut self.average, &self.small.plane, alpha);
    }

    fn result(&mut self, share: f64, skipped: bool) -> Motion<'_> {
        let calibrating = self.ptz_moving || (self.learning && self.since_cause < LONGEST);
        self.stats.calibrating += u64::from(calibrating);
        Motion {
            boxes: &self.boxes,
            calibrating,
            share: share.clamp(0.0, 1.0),
            skipped,
        }
    }
}
