//! What the element knows while it runs: the tracker, what was told of its objects, and the rules in pixels of this stream.

use std::time::Instant;

use detection::{Detection, FrameSize};
use detection_meta::{Identity, TrackHint, TrackMessage, TracksEvent};
use gst_video::prelude::*;
use objecttrack_core::appearance::Luma;
use objecttrack_core::{Evidence, LookedAt, Report, Reporter, Rules, Tracker};

use super::annotate::{Added, Known, Outcome, clock_time, evidence_word, state_word};
use super::settings::Settings;
use crate::rules::{LabelTable, RuleSettings};

#[derive(Debug, Default, Clone, Copy)]
pub struct Stats {
    pub frames: u64,
    pub detections: u64,
    pub filtered: u64,
    /// Detections that an element before this one had lost: restored, or not.
    pub restored: u64,
    pub lost: u64,
    pub tracks: u64,
    pub started: u64,
    pub ended: u64,
    pub jumps: u64,
    pub step_ns: u64,
    pub step_max_ns: u64,
}

pub struct State {
    pub tracker: Tracker,
    pub reporter: Reporter,
    pub labels: LabelTable,
    pub rule_settings: RuleSettings,
    pub rules: Rules,
    pub update_interval: f64,
    pub version: u64,
    pub labels_done: usize,
    pub info: Option<gst_video::VideoInfo>,
    /// This frame's detections in pixels, and which of the buffer's detections each is.
    pub seen: Vec<Detection>,
    pub origin: Vec<usize>,
    pub last_pts: Option<gst::ClockTime>,
}

impl State {
    pub fn new(settings: &Settings, next_id: u32) -> Self {
        let mut params = settings.params();
        params.first_id = settings.first_id.max(next_id);
        Self {
            tracker: Tracker::new(params),
            reporter: Reporter::default(),
            labels: LabelTable::default(),
            rule_settings: settings.rule_settings.clone(),
            rules: Rules::default(),
            update_interval: 1.0,
            version: 0,
            labels_done: 0,
            info: None,
            seen: Vec::new(),
            origin: Vec::new(),
            last_pts: None,
        }
    }

    pub fn size(&self) -> (f32, f32) {
        self.frame_size().real()
    }

    /// The frame's size as the metadata wants it.
    pub fn frame_size(&self) -> FrameSize {
        self.info
            .as_ref()
            .map_or(FrameSize::new(1, 1), detection_meta::frame_size)
    }

    /// Takes over changed settings.
    pub fn take_settings(&mut self, settings: &Settings) {
        let zones = self.rules.zones.len();
        self.rule_settings = settings.rule_settings.clone();
        self.update_interval = settings.update_interval.seconds_f64();
        self.version = settings.version;
        let rules = self.rule_settings.rules(&mut self.labels);
        if zones > 0 && rules.zones != self.rules.zones {
            self.reporter.forget_zones();
        }
        self.rules = rules;
        let mut params = settings.params();
        self.rule_settings
            .label_params(&mut params, &self.labels, &self.rules);
        self.labels_done = self.labels.len();
        self.tracker.set_params(params);
    }

    /// Labels met for the first time get their parameters.
    fn take_labels(&mut self) {
        if self.labels_done == self.labels.len() {
            return;
        }
        let mut params = self.tracker.params().clone();
        self.rule_settings
            .label_params(&mut params, &self.labels, &self.rules);
        self.labels_done = self.labels.len();
        self.tracker.set_params(params);
    }

    fn message(&self, report: &Report) -> TrackMessage {
        let t = &report.track;
        let (w, h) = self.size();
        let names = |bits: u64| {
            self.rules
                .zones
                .iter()
                .enumerate()
                .filter(|(i, _)| bits >> i & 1 == 1)
                .map(|(_, z)| z.name.clone())
                .collect()
        };
        TrackMessage {
            change: report.kind,
            id: t.track.id as i32,
            label: self.labels.name(t.track.label).to_owned(),
            score: f64::from(report.score),
            bbox: t.track.bbox.clamped(w, h).scaled(1.0 / w, 1.0 / h),
            path_length: f64::from(t.path_length / w),
            first_seen: clock_time(t.first_seen),
            last_seen: clock_time(t.last_seen),
            zones: names(report.zones),
            entered: names(report.entered),
            left: names(report.left),
        }
    }

    fn hints(&self, pts: Option<gst::ClockTime>) -> TracksEvent {
        let (w, h) = self.size();
        let tracks = self
            .tracker
            .look_next()
            .map(|(id, label, bbox, stationary)| TrackHint {
                id: id as i32,
                label: self.labels.name(label).to_owned(),
                bbox: bbox.clamped(w, h).scaled(1.0 / w, 1.0 / h),
                stationary,
            })
            .filter(|t| t.bbox.is_valid())
            .collect();
        TracksEvent { pts, tracks }
    }

    /// Every object ends.
    pub fn end_all(&mut self) -> Vec<TrackMessage> {
        let now = self.tracker.now();
        self.tracker.end_all();
        let reports: Vec<Report> = self.reporter.end_all(now, self.tracker.changes()).to_vec();
        reports.iter().map(|r| self.message(r)).collect()
    }

    pub fn step(&mut self, buffer: &gst::BufferRef, stats: &mut Stats) -> Outcome {
        let (w, h) = self.size();
        let frame = self.frame_size();
        self.seen.clear();
        self.origin.clear();
        for (i, d) in detection_meta::detections(buffer, frame).enumerate() {
            stats.detections += 1;
            let label = if self.rule_settings.tracks(d.label) {
                self.labels.id(d.label)
            } else {
                None
            };
            let admitted = label
                .map(|label| Detection {
                    bbox: d.bbox.scaled(w, h),
                    label,
                    score: d.confidence as f32,
                })
                .filter(|d| self.rules.admits(d, frame));
            match admitted {
                Some(d) => {
                    self.seen.push(d);
                    self.origin.push(i);
                }
                None => stats.filtered += 1,
            }
        }
        self.take_labels();
        let regions = if buffer.flags().contains(gst::BufferFlags::GAP) {
            Some(Vec::new())
        } else {
            detection_meta::looked_at(buffer)
                .map(|all| all.iter().map(|r| r.scaled(w, h)).collect::<Vec<_>>())
        };
        let looked = regions
            .as_deref()
            .map_or(LookedAt::Everything, LookedAt::Regions);
        let pts = buffer.pts();
        if let (Some(last), Some(now)) = (self.last_pts, pts)
            && now < last
        {
            stats.jumps += 1;
        }
        self.last_pts = pts.or(self.last_pts);
        let time = pts.map_or(f64::NAN, |t| t.seconds_f64());
        let started = Instant::now();
        {
            let mapped = self.map_luma(buffer);
            let luma = mapped.as_ref().and_then(luma_of);
            self.tracker
                .step_with_picture(time, &self.seen, looked, luma.as_ref());
        }
        let took = started.elapsed().as_nanos() as u64;
        stats.frames += 1;
        stats.step_ns += took;
        stats.step_max_ns = stats.step_max_ns.max(took);
        self.outcome(pts, stats)
    }

    /// The luma plane, where it is wanted and there is one.
    fn map_luma<'a>(
        &self,
        buffer: &'a gst::BufferRef,
    ) -> Option<gst_video::VideoFrameRef<&'a gst::BufferRef>> {
        let info = self
            .info
            .as_ref()
            .filter(|_| self.tracker.params().appearance)?;
        let format = info.format_info();
        ((format.is_yuv() || format.is_gray())
            && format.depth().first() == Some(&8)
            && format.pixel_stride().first() == Some(&1))
        .then_some(())?;
        gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, info).ok()
    }

    fn outcome(&mut self, pts: Option<gst::ClockTime>, stats: &mut Stats) -> Outcome {
        let frame = self.frame_size();
        let now = self.tracker.now();
        let reports = self.reporter.report(
            now,
            self.update_interval,
            self.tracker.tracks(),
            self.tracker.changes(),
            &self.rules,
            frame,
        );
        let reports: Vec<Report> = reports.to_vec();
        stats.tracks = self.tracker.tracks().len() as u64;
        for r in &reports {
            stats.started += u64::from(r.kind == detection::TrackChange::Started);
            stats.ended += u64::from(r.kind == detection::TrackChange::Ended);
        }
        let mut outcome = Outcome {
            event: Some(self.hints(pts)),
            ..Outcome::default()
        };
        outcome
            .messages
            .extend(reports.iter().map(|r| self.message(r)));
        let (w, h) = frame.real();
        for t in self.tracker.tracks() {
            if !t.shown || !self.reporter.is_believed(t.track.id) {
                continue;
            }
            let known = Known {
                identity: Identity {
                    id: t.track.id as i32,
                    first_seen: clock_time(t.first_seen),
                    last_seen: clock_time(t.last_seen),
                    is_lost: t.evidence == Evidence::Coasting,
                },
                state: state_word(t.track.state),
                evidence: evidence_word(t.evidence),
            };
            match t.detection.and_then(|i| self.origin.get(i)) {
                Some(i) => outcome.known.push((*i, known)),
                None => outcome.added.push(Added {
                    label: self.labels.name(t.track.label).to_owned(),
                    label_id: -1,
                    confidence: f64::from(t.track.score),
                    bbox: t.track.bbox.clamped(w, h).scaled(1.0 / w, 1.0 / h),
                    known,
                }),
            }
        }
        outcome.known.sort_unstable_by_key(|k| k.0);
        outcome
    }
}

fn luma_of<'a>(frame: &'a gst_video::VideoFrameRef<&gst::BufferRef>) -> Option<Luma<'a>> {
    Some(Luma {
        data: frame.comp_data(0).ok()?,
        stride: usize::try_from(*frame.plane_stride().first()?).ok()?,
        width: frame.width() as usize,
        height: frame.height() as usize,
    })
}
