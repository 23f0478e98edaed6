use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex};

use detection_meta::{Restored, TrackMessage, Warnings};
use gst::glib;
use gst::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::base_transform::{
    BaseTransformMode, InputBuffer, PrepareOutputBufferSuccess,
};
use gst_base::subclass::prelude::*;

use super::annotate::annotate;
use super::settings::{Settings, specs};
use super::state::{State, Stats};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "objecttrack",
        gst::DebugColorFlags::empty(),
        Some("Object tracker"),
    )
});

/// The element's insides.
#[derive(Default)]
pub struct ObjectTrack {
    settings: Mutex<Settings>,
    state: Mutex<Option<State>>,
    stats: Mutex<Stats>,
    warnings: Warnings,
    /// Survives stop and start: ids are unique for the life of the element.
    next_id: AtomicU32,
}

impl ObjectTrack {
    fn post(&self, messages: Vec<TrackMessage>) {
        for m in messages {
            gst::debug!(
                CAT,
                imp = self,
                "{} {} {} {:?}",
                m.label,
                m.id,
                m.change.as_str(),
                m.bbox
            );
            let message = gst::message::Element::builder(m.to_structure())
                .src(&*self.obj())
                .build();
            // Nobody listening is no fault.
            let _ = self.obj().post_message(message);
        }
    }

    /// Counts what elements between the detector and this one have lost, and warns once.
    fn report_losses(&self, found: Restored) {
        if found == Restored::default() {
            return;
        }
        let is_first = {
            let mut stats = self.lock_stats();
            stats.restored += found.restored as u64;
            let before = stats.lost;
            stats.lost += (found.lost + found.bare) as u64;
            before == 0 && stats.lost > 0
        };
        gst::debug!(CAT, imp = self, "{found:?}");
        if is_first {
            let what = if found.lost > 0 {
                "detections"
            } else {
                "regions without a detection structure"
            };
            gst::element_imp_warning!(
                self,
                gst::StreamError::Failed,
                (
                    "{} {what} cannot be tracked: an element between the detector and this one drops or crops them; \
                     convert, scale and crop before the detector (counted in stats as lost)",
                    found.lost + found.bare
                )
            );
        }
    }

    fn end_all(&self, why: &str) {
        let messages = match self.lock_state().as_mut() {
            Some(state) => {
                let messages = state.end_all();
                self.next_id
                    .store(state.tracker.next_id(), Ordering::Relaxed);
                messages
            }
            None => return,
        };
        gst::info!(CAT, imp = self, "{why}: {} objects end", messages.len());
        self.lock_stats().ended += messages.len() as u64;
        self.post(messages);
    }

    fn lock_state(&self) -> std::sync::MutexGuard<'_, Option<State>> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn lock_stats(&self) -> std::sync::MutexGuard<'_, Stats> {
        self.stats
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn lock_settings(&self) -> std::sync::MutexGuard<'_, Settings> {
        self.settings
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[glib::object_subclass]
impl ObjectSubclass for ObjectTrack {
    const NAME: &'static str = "WatchpostObjectTrack";
    type Type = super::ObjectTrack;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for ObjectTrack {
    fn properties() -> &'static [glib::ParamSpec] {
        static SPECS: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(specs);
        &SPECS
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let result = self.lock_settings().set(pspec.name(), value);
        match result {
            Ok(()) => gst::info!(CAT, imp = self, "{} is now {value:?}", pspec.name()),
            Err(problem) => {
                let text = format!("property {}: {problem}; it stays as it was", pspec.name());
                self.warnings.tell(self.obj().upcast_ref(), text);
            }
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "next-id" => {
                let running = self.lock_state().as_ref().map(|s| s.tracker.next_id());
                let first = self.lock_settings().first_id;
                running
                    .unwrap_or_else(|| self.next_id.load(Ordering::Relaxed).max(first))
                    .to_value()
            }
            "stats" => {
                let s = *self.lock_stats();
                gst::Structure::builder("stats")
                    .field("frames", s.frames)
                    .field("detections", s.detections)
                    .field("filtered", s.filtered)
                    .field("restored", s.restored)
                    .field("lost", s.lost)
                    .field("tracks", s.tracks)
                    .field("started", s.started)
                    .field("ended", s.ended)
                    .field("jumps", s.jumps)
                    .field("step-time-avg", s.step_ns / s.frames.max(1))
                    .field("step-time-max", s.step_max_ns)
                    .build()
                    .to_value()
            }
            name => self
                .lock_settings()
                .get(name)
                .unwrap_or_else(|| pspec.default_value().clone()),
        }
    }
}

impl GstObjectImpl for ObjectTrack {}

impl ElementImpl for ObjectTrack {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Object tracker",
                "Filter/Analyzer/Video",
                "Gives detected objects an identity that lasts",
                "The Watchpost project",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = gst::Caps::builder("video/x-raw").any_features().build();
            [
                ("sink", gst::PadDirection::Sink),
                ("src", gst::PadDirection::Src),
            ]
            .map(|(name, direction)| {
                gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps)
                    .expect("a pad template of fixed name and valid caps")
            })
            .to_vec()
        });
        &TEMPLATES
    }
}

impl BaseTransformImpl for ObjectTrack {
    const MODE: BaseTransformMode = BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let state = State::new(&self.lock_settings(), self.next_id.load(Ordering::Relaxed));
        *self.lock_state() = Some(state);
        *self.lock_stats() = Stats::default();
        self.warnings.tell_kept(self.obj().upcast_ref());
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        self.end_all("stopped");
        *self.lock_state() = None;
        Ok(())
    }

    fn set_caps(&self, incaps: &gst::Caps, _outcaps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let info = gst_video::VideoInfo::from_caps(incaps)
            .map_err(|e| gst::loggable_error!(CAT, "caps {incaps}: {e}"))?;
        let mut guard = self.lock_state();
        let Some(state) = guard.as_mut() else {
            return Err(gst::loggable_error!(CAT, "caps before start"));
        };
        if let Some(old) = &state.info {
            state.tracker.rescale(
                info.width() as f32 / old.width() as f32,
                info.height() as f32 / old.height() as f32,
            );
        }
        gst::debug!(CAT, imp = self, "{}x{}", info.width(), info.height());
        state.info = Some(info);
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
            gst::EventView::Eos(_) => self.end_all("end of stream"),
            gst::EventView::FlushStop(_) => self.end_all("flush"),
            _ => {}
        }
        self.parent_sink_event(event)
    }

    fn prepare_output_buffer(
        &self,
        inbuf: InputBuffer,
    ) -> Result<PrepareOutputBufferSuccess, gst::FlowError> {
        // Only metadata is written: a shared buffer is copied, its memory is not.
        match inbuf {
            InputBuffer::Writable(_) => Ok(PrepareOutputBufferSuccess::InputBuffer),
            InputBuffer::Readable(buffer) => Ok(PrepareOutputBufferSuccess::Buffer(buffer.copy())),
        }
    }

    fn transform_ip(
        &self,
        buffer: &mut gst::BufferRef,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let changed = {
            let version = self.lock_state().as_ref().map(|s| s.version);
            let settings = self.lock_settings();
            (version != Some(settings.version)).then(|| settings.clone())
        };
        if let Some(frame) = self.lock_state().as_ref().map(State::frame_size) {
            self.report_losses(detection_meta::restore_detections(buffer, frame));
            #[cfg(feature = "v1_24")]
            detection_meta::adopt_analytics_objects(buffer, frame);
        }
        let (outcome, frame) = {
            let mut guard = self.lock_state();
            let state = guard.as_mut().ok_or(gst::FlowError::Flushing)?;
            if state.info.is_none() {
                return Err(gst::FlowError::NotNegotiated);
            }
            if let Some(settings) = &changed {
                state.take_settings(settings);
            }
            let mut stats = *self.lock_stats();
            let outcome = state.step(buffer, &mut stats);
            *self.lock_stats() = stats;
            (outcome, state.frame_size())
        };
        annotate(buffer, frame, &outcome);
        self.post(outcome.messages);
        if let Some(event) = outcome.event {
            // Unhandled is normal: not every detector listens.
            let _ = self.obj().sink_pad().push_event(event.to_event());
        }
        Ok(gst::FlowSuccess::Ok)
    }
}
