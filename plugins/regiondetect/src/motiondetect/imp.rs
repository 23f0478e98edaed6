//! The element around [`regiondetect_core::motion`].

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use detection_meta::{MotionMessage, MotionState, Warnings, add_motion, frame_size};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::subclass::prelude::*;
use gst_video::prelude::*;
use regiondetect_core::motion::{Luma, LumaLayout, MotionDetector, MotionStats};

use super::settings::{PROPERTIES, Settings};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "motiondetect",
        gst::DebugColorFlags::empty(),
        Some("Motion detector"),
    )
});

const FORMATS: [gst_video::VideoFormat; 13] = [
    gst_video::VideoFormat::I420,
    gst_video::VideoFormat::Nv12,
    gst_video::VideoFormat::Yv12,
    gst_video::VideoFormat::Nv21,
    gst_video::VideoFormat::Yuy2,
    gst_video::VideoFormat::Uyvy,
    gst_video::VideoFormat::Gray8,
    gst_video::VideoFormat::Rgb,
    gst_video::VideoFormat::Bgr,
    gst_video::VideoFormat::Rgbx,
    gst_video::VideoFormat::Bgrx,
    gst_video::VideoFormat::Rgba,
    gst_video::VideoFormat::Bgra,
];

/// Where a format keeps its brightness, in its first plane.
fn luma_layout(format: gst_video::VideoFormat) -> LumaLayout {
    use gst_video::VideoFormat as F;
    let rgb = |step, red, blue| LumaLayout::Rgb {
        step,
        red,
        green: 1,
        blue,
    };
    match format {
        F::Yuy2 => LumaLayout::Bytes { step: 2, offset: 0 },
        F::Uyvy => LumaLayout::Bytes { step: 2, offset: 1 },
        F::Rgb => rgb(3, 0, 2),
        F::Bgr => rgb(3, 2, 0),
        F::Rgbx | F::Rgba => rgb(4, 0, 2),
        F::Bgrx | F::Bgra => rgb(4, 2, 0),
        _ => LumaLayout::PLANE,
    }
}

struct State {
    info: gst_video::VideoInfo,
    detector: MotionDetector,
    /// Settings have changed since the last frame, or this is the first.
    stale: bool,
    /// Motion that has been announced, and when there last was some.
    active: bool,
    last_motion: Option<gst::ClockTime>,
    /// The last frame could not be read, and that has been told.
    unreadable: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Snapshot {
    motion: MotionStats,
    share: f64,
    active: bool,
    calibrating: bool,
    processing_ns: u64,
}

/// Locks, in this order where two are held: state, settings.
#[derive(Default)]
pub struct MotionDetect {
    settings: Mutex<Settings>,
    state: Mutex<Option<State>>,
    stats: Mutex<Snapshot>,
    warnings: Warnings,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panic elsewhere left behind is whole: every change is a plain assignment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MotionDetect {
    /// Looks at one frame. The message to post, if motion began or ended.
    fn look(&self, buffer: &mut gst::BufferRef) -> Result<Option<MotionMessage>, gst::FlowError> {
        let began = Instant::now();
        let mut guard = lock(&self.state);
        let Some(state) = guard.as_mut() else {
            gst::element_imp_error!(
                self,
                gst::CoreError::Negotiation,
                ("Frame before caps: motiondetect needs raw video caps first")
            );
            return Err(gst::FlowError::NotNegotiated);
        };
        let (enabled, motion_metas, off_delay) = {
            let settings = lock(&self.settings);
            if std::mem::take(&mut state.stale) {
                state.detector.set_settings(settings.motion.clone());
                let polygons = settings.mask.polygons().cloned().collect();
                state.detector.set_mask(polygons);
                state.detector.set_ptz_moving(settings.ptz_moving);
            }
            (settings.enabled, settings.motion_metas, settings.off_delay)
        };
        let pts = buffer.pts();
        if !enabled {
            // What will have happened when it is enabled again is no motion.
            state.detector.reset();
            return Ok(state.announce(false, pts, 0));
        }
        let size = frame_size(&state.info);
        let (calibrating, share, moving) = match state.process(buffer) {
            Ok(found) => found,
            Err(why) => {
                let is_first = !std::mem::replace(&mut state.unreadable, true);
                drop(guard);
                if is_first {
                    gst::element_imp_warning!(
                        self,
                        gst::StreamError::Format,
                        ("Frame cannot be read: {why}; it passes as it is, as will others like it")
                    );
                }
                return Ok(None);
            }
        };
        state.unreadable = false;
        if motion_metas {
            detection_meta::set_motion_state(buffer, MotionState { calibrating });
            for b in state.detector.boxes() {
                add_motion(buffer, size, &size.to_fractions(&b.to_bbox()));
            }
        }
        let message = state.announce(moving, pts, off_delay);
        let mut stats = lock(&self.stats);
        *stats = Snapshot {
            motion: state.detector.stats(),
            share,
            active: state.active,
            calibrating,
            processing_ns: stats.processing_ns + began.elapsed().as_nanos() as u64,
        };
        gst::trace!(CAT, imp = self, "{:?}: {stats:?}", pts);
        Ok(message)
    }

    fn post(&self, message: MotionMessage) {
        gst::info!(CAT, imp = self, "motion active: {}", message.active);
        let message = gst::message::Element::builder(message.to_structure())
            .src(&*self.obj())
            .build();
        // Without a bus there is nobody to tell.
        let _ = self.obj().post_message(message);
    }

    /// Motion is over because the stream is.
    fn finish(&self) {
        let message = lock(&self.state)
            .as_mut()
            .and_then(|state| state.announce(false, state.last_motion, 0));
        if let Some(message) = message {
            self.post(message);
        }
    }
}

impl State {
    /// Looks for motion: whether it is still calibrating, the share of the picture that moves, and whether that is motion. Or
    /// why the frame cannot be read: one that is broken must not end the stream.
    fn process(&mut self, buffer: &gst::BufferRef) -> Result<(bool, f64, bool), String> {
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &self.info)
            .map_err(|_| "it does not have the bytes its caps announce")?;
        let plane = frame.plane_data(0).map_err(|_| "it has no first plane")?;
        let stride =
            usize::try_from(frame.plane_stride()[0]).map_err(|_| "its stride is negative")?;
        let (width, height) = (self.info.width() as usize, self.info.height() as usize);
        let luma = Luma::new(plane, stride, width, height, luma_layout(frame.format()))
            .map_err(|error| error.to_string())?;
        let motion = self.detector.process(&luma);
        let moving = !motion.boxes.is_empty() && !motion.calibrating;
        Ok((motion.calibrating, motion.share, moving))
    }

    /// Keeps track of whether there is motion; the message when that changes.
    fn announce(
        &mut self,
        moving: bool,
        pts: Option<gst::ClockTime>,
        off_delay: u32,
    ) -> Option<MotionMessage> {
        if moving {
            self.last_motion = pts;
        }
        let quiet_for = match (pts, self.last_motion) {
            (Some(pts), Some(last)) => pts.saturating_sub(last),
            _ => gst::ClockTime::MAX,
        };
        let delay = gst::ClockTime::from_mseconds(u64::from(off_delay));
        let active = moving || (self.active && quiet_for < delay);
        if active == self.active {
            return None;
        }
        self.active = active;
        Some(MotionMessage { active, pts })
    }
}

#[glib::object_subclass]
impl ObjectSubclass for MotionDetect {
    const NAME: &'static str = "GstWatchpostMotionDetect";
    type Type = super::MotionDetect;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for MotionDetect {
    fn properties() -> &'static [glib::ParamSpec] {
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let result = lock(&self.settings).set(pspec.name(), value);
        if let Err(error) = result {
            let text = format!("Property mask not changed: {error}");
            self.warnings.tell(self.obj().upcast_ref(), text);
            return;
        }
        gst::debug!(CAT, imp = self, "{} is now {value:?}", pspec.name());
        if let Some(state) = lock(&self.state).as_mut() {
            state.stale = true;
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() != "stats" {
            return lock(&self.settings).get(pspec.name());
        }
        let stats = *lock(&self.stats);
        gst::Structure::builder("motiondetect-stats")
            .field("frames", stats.motion.frames)
            .field("frames-with-motion", stats.motion.with_motion)
            .field("frames-skipped", stats.motion.skipped)
            .field("frames-calibrating", stats.motion.calibrating)
            .field("calibrations", stats.motion.calibrations)
            .field("processing-time", stats.processing_ns)
            .field("share", stats.share)
            .field("active", stats.active)
            .field("calibrating", stats.calibrating)
            .build()
            .to_value()
    }
}

impl GstObjectImpl for MotionDetect {}

impl ElementImpl for MotionDetect {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Motion detector",
                "Filter/Analyzer/Video",
                "Marks where the picture changes, as Frigate's motion section describes it",
                "The Watchpost project",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = gst_video::VideoCapsBuilder::new()
                .format_list(FORMATS)
                .build();
            [
                ("sink", gst::PadDirection::Sink),
                ("src", gst::PadDirection::Src),
            ]
            .map(|(name, direction)| {
                gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps)
                    .expect("name, direction and caps are constants that fit")
            })
            .into()
        });
        &TEMPLATES
    }
}

impl BaseTransformImpl for MotionDetect {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        detection_meta::register_metas();
        *lock(&self.stats) = Snapshot::default();
        self.warnings.tell_kept(self.obj().upcast_ref());
        gst::info!(CAT, imp = self, "started");
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        self.finish();
        *lock(&self.state) = None;
        gst::info!(CAT, imp = self, "stopped");
        Ok(())
    }

    fn set_caps(&self, incaps: &gst::Caps, _outcaps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let info = gst_video::VideoInfo::from_caps(incaps)
            .map_err(|_| gst::loggable_error!(CAT, "caps are not raw video: {incaps}"))?;
        gst::debug!(CAT, imp = self, "caps {incaps}");
        let mut state = lock(&self.state);
        let same = state
            .as_ref()
            .is_some_and(|state| frame_size(&state.info) == frame_size(&info));
        if same && let Some(state) = state.as_mut() {
            // What has been learned holds for another format or rate too.
            state.info = info;
            return Ok(());
        }
        let frame = frame_size(&info);
        let settings = lock(&self.settings).motion.clone();
        let mut detector = MotionDetector::new(settings, frame)
            .ok_or_else(|| gst::loggable_error!(CAT, "frames of {frame} cannot be handled"))?;
        detector.reset();
        let (active, last_motion) = state
            .as_ref()
            .map_or((false, None), |state| (state.active, state.last_motion));
        *state = Some(State {
            info,
            detector,
            stale: true,
            active,
            last_motion,
            unreadable: false,
        });
        Ok(())
    }

    /// Buffers pass as they are: upstream may send what downstream takes, strides included, and write straight into its memory.
    fn propose_allocation(
        &self,
        _decide_query: Option<&gst::query::Allocation>,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        // Without an answer from there, the answer is that it takes nothing in particular.
        let _ = self.parent_propose_allocation(None, query);
        Ok(())
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::Eos(_) => self.finish(),
            gst::EventView::FlushStop(_) => {
                if let Some(state) = lock(&self.state).as_mut() {
                    state.detector.reset();
                }
            }
            _ => {}
        }
        self.parent_sink_event(event)
    }

    fn transform_ip(
        &self,
        buffer: &mut gst::BufferRef,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        if let Some(message) = self.look(buffer)? {
            self.post(message);
        }
        Ok(gst::FlowSuccess::Ok)
    }
}
