//! The source itself: asks the script what comes next, waits for it, paints it or fails as told.

use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gst::glib;
use gst::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::base_src::CreateSuccess;
use gst_base::subclass::prelude::*;
use gst_video::prelude::*;

use crate::scene::{Ending, FramePlan, I420Mut, Next, Scene, SceneKind, Script, ScriptError};
use crate::source::{self, Speed, TestSourceError};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "watchposttestsrc",
        gst::DebugColorFlags::empty(),
        Some("Test scenes"),
    )
});

#[derive(Debug, Clone)]
pub struct Settings {
    pub script: Script,
    pub width: u32,
    pub height: u32,
    pub fps: gst::Fraction,
    pub speed: Speed,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            script: Script::new(SceneKind::Walkers),
            width: 640,
            height: 360,
            fps: gst::Fraction::new(5, 1),
            speed: Speed::Live,
        }
    }
}

impl Settings {
    fn rate(&self) -> f64 {
        f64::from(self.fps.numer()) / f64::from(self.fps.denom())
    }
}

struct State {
    scene: Scene,
    /// Running time of the first frame: where the script begins.
    begin: Option<gst::ClockTime>,
    /// Time of the last frame since then.
    previous: Option<Duration>,
    frames: u64,
    /// State of the generator of garbage.
    garbage: u64,
}

#[derive(Default)]
pub struct TestSource {
    settings: Mutex<Settings>,
    /// The error of the property `scene`, which starting reports.
    problem: Mutex<Option<ScriptError>>,
    /// Only the streaming thread holds it for long, and never while it waits.
    state: Mutex<Option<State>>,
    /// What caps are agreed on or about to be; apart from the state, since queries come at any time.
    info: Mutex<Option<gst_video::VideoInfo>>,
    flushing: Mutex<bool>,
    wake: Condvar,
}

/// A panic of another thread does not make these values wrong.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TestSource {
    pub fn configure(&self, settings: Settings) {
        let live = settings.speed == Speed::Live;
        *lock(&self.info) = video_info(settings.width, settings.height, settings.fps);
        *lock(&self.settings) = settings;
        let source = self.obj();
        source.set_format(gst::Format::Time);
        source.set_live(live);
    }

    fn running_time(&self) -> Option<gst::ClockTime> {
        self.obj().current_running_time()
    }

    /// Waits until `at` of the script, or for ever; fails when the source is to stop.
    fn wait_until(&self, at: Option<gst::ClockTime>) -> Result<(), gst::FlowError> {
        let mut flushing = lock(&self.flushing);
        while !*flushing {
            let Some(at) = at else {
                flushing = self
                    .wake
                    .wait(flushing)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let now = self.running_time().unwrap_or(at);
            if now >= at {
                return Ok(());
            }
            let timeout = Duration::from(at - now);
            flushing = self
                .wake
                .wait_timeout(flushing, timeout)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Err(gst::FlowError::Flushing)
    }

    fn end(&self, ending: Ending) -> gst::FlowError {
        match ending {
            Ending::Eos => return gst::FlowError::Eos,
            Ending::Disconnect => gst::element_imp_error!(
                self,
                gst::ResourceError::Read,
                ("test source: the camera closed the connection (scripted fault)")
            ),
            Ending::Auth => gst::element_imp_error!(
                self,
                gst::ResourceError::NotAuthorized,
                ("test source: the camera refused user and password (scripted fault)")
            ),
            Ending::Exit(code) => std::process::exit(code.into()),
            Ending::Crash => std::process::abort(),
        }
        gst::FlowError::Error
    }

    /// Takes up another size when the plan has one.
    fn follow_size(
        &self,
        settings: &Settings,
        plan: &FramePlan,
    ) -> Result<gst_video::VideoInfo, gst::FlowError> {
        let (width, height) = plan.size.unwrap_or((settings.width, settings.height));
        let mut info = lock(&self.info);
        if let Some(info) = info
            .as_ref()
            .filter(|info| (info.width(), info.height()) == (width, height))
        {
            return Ok(info.clone());
        }
        let new = video_info(width, height, settings.fps).ok_or(gst::FlowError::NotNegotiated)?;
        *info = Some(new.clone());
        drop(info);
        let scene = Scene::new(&settings.script, width, height);
        if let Some(state) = lock(&self.state).as_mut() {
            state.scene = scene;
        }
        gst::info!(CAT, imp = self, "switching to {width}x{height}");
        if self.obj().negotiate() {
            Ok(new)
        } else {
            Err(gst::FlowError::NotNegotiated)
        }
    }

    fn paint(
        &self,
        plan: &FramePlan,
        info: &gst_video::VideoInfo,
        buffer: &mut gst::BufferRef,
    ) -> Result<(), gst::FlowError> {
        let mut state = lock(&self.state);
        let state = state.as_mut().ok_or(gst::FlowError::Flushing)?;
        let mut frame =
            gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, info).map_err(|_| {
                gst::element_imp_error!(
                    self,
                    gst::ResourceError::Write,
                    ["test source: a buffer cannot be mapped"]
                );
                gst::FlowError::Error
            })?;
        let stride = |plane: usize| frame.plane_stride()[plane] as usize;
        let strides = [stride(0), stride(1), stride(2)];
        let [y, u, v, _] = frame.planes_data_mut();
        let (width, height) = (info.width() as usize, info.height() as usize);
        if plan.garbage {
            for plane in [y, u, v] {
                for chunk in plane.chunks_mut(8) {
                    // xorshift64
                    state.garbage ^= state.garbage << 13;
                    state.garbage ^= state.garbage >> 7;
                    state.garbage ^= state.garbage << 17;
                    chunk.copy_from_slice(&state.garbage.to_le_bytes()[..chunk.len()]);
                }
            }
        } else {
            state.scene.render(
                plan.shows,
                &mut I420Mut {
                    width,
                    height,
                    planes: [y, u, v],
                    strides,
                },
            );
        }
        Ok(())
    }

    fn new_buffer(&self, info: &gst_video::VideoInfo) -> Result<gst::Buffer, gst::FlowError> {
        match self.obj().buffer_pool() {
            Some(pool) => pool.acquire_buffer(None),
            None => gst::Buffer::with_size(info.size()).map_err(|_| gst::FlowError::Error),
        }
    }
}

fn video_info(width: u32, height: u32, fps: gst::Fraction) -> Option<gst_video::VideoInfo> {
    gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, width, height)
        .fps(fps)
        .par(gst::Fraction::new(1, 1))
        .colorimetry(&gst_video::VideoColorimetry::new(
            gst_video::VideoColorRange::Range16_235,
            gst_video::VideoColorMatrix::Bt601,
            gst_video::VideoTransferFunction::Bt601,
            gst_video::VideoColorPrimaries::Smpte170m,
        ))
        .build()
        .ok()
}

#[glib::object_subclass]
impl ObjectSubclass for TestSource {
    const NAME: &'static str = "WatchpostTestSource";
    type Type = source::TestSource;
    type ParentType = gst_base::PushSrc;
}

impl ObjectImpl for TestSource {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let settings = Settings::default();
            let side = |name, blurb, default| {
                glib::ParamSpecUInt::builder(name)
                    .blurb(blurb)
                    .minimum(16)
                    .maximum(source::MAX_SIZE)
                    .default_value(default)
                    .mutable_ready()
                    .build()
            };
            vec![
                glib::ParamSpecString::builder("scene")
                    .blurb("Scene, options and scripted faults, as in docs/test-scenes.md")
                    .default_value("walkers")
                    .mutable_ready()
                    .build(),
                side("width", "Width of the frames, an even number", settings.width),
                side("height", "Height of the frames, an even number", settings.height),
                gst::ParamSpecFraction::builder("framerate")
                    .blurb("Frames per second")
                    .minimum(gst::Fraction::new(1, 3600))
                    .maximum(gst::Fraction::new(i32::MAX, 1))
                    .default_value(settings.fps)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecBoolean::builder("is-live")
                    .blurb("Send each frame at its time, as a camera does; otherwise as fast as frames are taken")
                    .default_value(true)
                    .mutable_ready()
                    .build(),
            ]
        });
        PROPERTIES.as_ref()
    }

    fn constructed(&self) {
        self.parent_constructed();
        self.configure(Settings::default());
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        const TYPE: &str = "GObject checks the type";
        let mut settings = lock(&self.settings).clone();
        match pspec.name() {
            "scene" => {
                let text = value.get::<Option<String>>().expect(TYPE);
                let script = text.as_deref().unwrap_or("walkers").parse();
                *lock(&self.problem) = script.as_ref().err().cloned();
                settings.script = script.unwrap_or(settings.script);
            }
            "width" => settings.width = value.get().expect(TYPE),
            "height" => settings.height = value.get().expect(TYPE),
            "framerate" => settings.fps = value.get().expect(TYPE),
            "is-live" => {
                settings.speed = match value.get().expect(TYPE) {
                    true => Speed::Live,
                    false => Speed::Unlimited,
                }
            }
            other => unreachable!("no property {other}"),
        }
        self.configure(settings);
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        let settings = lock(&self.settings);
        match pspec.name() {
            "scene" => settings.script.to_string().to_value(),
            "width" => settings.width.to_value(),
            "height" => settings.height.to_value(),
            "framerate" => settings.fps.to_value(),
            "is-live" => (settings.speed == Speed::Live).to_value(),
            other => unreachable!("no property {other}"),
        }
    }
}
impl GstObjectImpl for TestSource {}

impl ElementImpl for TestSource {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Watchpost test camera",
                "Source/Video",
                "Scenes with moving people and cars, and scripted faults",
                "The Watchpost authors",
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = gst_video::VideoCapsBuilder::new()
                .format(gst_video::VideoFormat::I420)
                .build();
            vec![
                gst::PadTemplate::new(
                    "src",
                    gst::PadDirection::Src,
                    gst::PadPresence::Always,
                    &caps,
                )
                .expect("direction and presence are right"),
            ]
        });
        TEMPLATES.as_ref()
    }
}

impl BaseSrcImpl for TestSource {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        if let Some(problem) = lock(&self.problem).clone() {
            let error = TestSourceError::Script(problem);
            return Err(gst::error_msg!(gst::ResourceError::Settings, ("{error}")));
        }
        source::check(settings.width, settings.height, settings.fps)
            .map_err(|error| gst::error_msg!(gst::ResourceError::Settings, ("{error}")))?;
        *lock(&self.info) = video_info(settings.width, settings.height, settings.fps);
        let scene = Scene::new(&settings.script, settings.width, settings.height);
        let garbage = settings.script.seed | 1;
        *lock(&self.state) = Some(State {
            scene,
            begin: None,
            previous: None,
            frames: 0,
            garbage,
        });
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        let played = lock(&self.state)
            .take()
            .and_then(|state| state.previous)
            .unwrap_or_default();
        match lock(&self.settings).script.hang_on_stop(played) {
            Some(Some(length)) => std::thread::sleep(length),
            Some(None) => loop {
                std::thread::park();
            },
            None => {}
        }
        Ok(())
    }

    fn is_seekable(&self) -> bool {
        false
    }

    fn unlock(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.flushing) = true;
        self.wake.notify_all();
        Ok(())
    }

    fn unlock_stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.flushing) = false;
        Ok(())
    }

    fn caps(&self, filter: Option<&gst::Caps>) -> Option<gst::Caps> {
        let caps = lock(&self.info).as_ref()?.to_caps().ok()?;
        Some(filter.map_or_else(
            || caps.clone(),
            |filter| filter.intersect_with_mode(&caps, gst::CapsIntersectMode::First),
        ))
    }

    fn decide_allocation(
        &self,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        let info = lock(&self.info)
            .clone()
            .ok_or_else(|| gst::loggable_error!(CAT, "no caps yet"))?;
        let caps = info
            .to_caps()
            .map_err(|error| gst::loggable_error!(CAT, "{error}"))?;
        // Frames are painted straight into the buffers of whoever offers some (shmringsink: its slots); otherwise
        // into a pool of ours, so that no frame is allocated twice.
        let offered = query.allocation_pools().next();
        let (pool, size, min, max) = offered.clone().unwrap_or((None, 0, 0, 0));
        let pool = pool.unwrap_or_else(|| gst_video::VideoBufferPool::new().upcast());
        let size = size.max(info.size() as u32);
        let mut config = pool.config();
        config.set_params(Some(&caps), size, min, max);
        if query
            .find_allocation_meta::<gst_video::VideoMeta>()
            .is_some()
        {
            config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META);
        }
        pool.set_config(config)
            .map_err(|error| gst::loggable_error!(CAT, "{error}"))?;
        match offered {
            Some(_) => query.set_nth_allocation_pool(0, Some(&pool), size, min, max),
            None => query.add_allocation_pool(Some(&pool), size, min, max),
        }
        self.parent_decide_allocation(query)
    }

    fn query(&self, query: &mut gst::QueryRef) -> bool {
        if let gst::QueryViewMut::Latency(query) = query.view_mut() {
            let settings = lock(&self.settings);
            // As of a real camera: a picture is complete one frame after it began.
            let latency = match settings.speed {
                Speed::Live => gst::ClockTime::from_seconds_f64(1.0 / settings.rate()),
                Speed::Unlimited => gst::ClockTime::ZERO,
            };
            query.set(settings.speed == Speed::Live, latency, gst::ClockTime::NONE);
            return true;
        }
        BaseSrcImplExt::parent_query(self, query)
    }

    fn times(&self, buffer: &gst::BufferRef) -> (Option<gst::ClockTime>, Option<gst::ClockTime>) {
        match self.obj().is_live() {
            // Tells the base class to wait for the clock.
            true => (buffer.pts(), buffer.pts().opt_add(buffer.duration())),
            false => (None, None),
        }
    }
}

impl PushSrcImpl for TestSource {
    fn create(
        &self,
        _buffer: Option<&mut gst::BufferRef>,
    ) -> Result<CreateSuccess, gst::FlowError> {
        let settings = lock(&self.settings).clone();
        let live = settings.speed == Speed::Live;
        loop {
            let now = if live {
                self.running_time().unwrap_or_default()
            } else {
                gst::ClockTime::ZERO
            };
            let (begin, next) = {
                let mut state = lock(&self.state);
                let state = state.as_mut().ok_or(gst::FlowError::Flushing)?;
                let begin = *state.begin.get_or_insert(now);
                let earliest = Duration::from(now.saturating_sub(begin));
                let frame = Duration::from_secs_f64(1.0 / settings.rate());
                // One frame late is still in time: the painting has taken some of it.
                let earliest = if live {
                    earliest.saturating_sub(frame)
                } else {
                    Duration::ZERO
                };
                (
                    begin,
                    settings
                        .script
                        .next(state.previous, earliest, settings.rate()),
                )
            };
            let clock_time =
                |at: Duration| begin + gst::ClockTime::from_nseconds(at.as_nanos() as u64);
            match next {
                Next::Frame(plan) => {
                    let info = self.follow_size(&settings, &plan)?;
                    let mut buffer = self.new_buffer(&info)?;
                    let writable = buffer.get_mut().ok_or(gst::FlowError::Error)?;
                    self.paint(&plan, &info, writable)?;
                    let mut state = lock(&self.state);
                    let state = state.as_mut().ok_or(gst::FlowError::Flushing)?;
                    state.previous = Some(plan.at);
                    writable.set_pts(clock_time(plan.at));
                    writable.set_duration(gst::ClockTime::from_nseconds(
                        plan.duration.as_nanos() as u64
                    ));
                    writable.set_offset(state.frames);
                    writable.set_offset_end(state.frames + 1);
                    state.frames += 1;
                    if plan.truncated {
                        writable.set_size(info.size() / 2);
                    }
                    return Ok(CreateSuccess::NewBuffer(buffer));
                }
                Next::Silence => self.wait_until(None)?,
                Next::End { at, ending } => {
                    if live {
                        self.wait_until(Some(clock_time(at)))?;
                    }
                    gst::info!(CAT, imp = self, "scripted end: {ending:?}");
                    return Err(self.end(ending));
                }
                Next::Hang { at, length } => {
                    if live {
                        self.wait_until(Some(clock_time(at)))?;
                    }
                    gst::info!(CAT, imp = self, "scripted hang");
                    match length {
                        Some(length) => std::thread::sleep(length),
                        None => loop {
                            std::thread::park();
                        },
                    }
                    if let Some(state) = lock(&self.state).as_mut() {
                        state.previous = Some(at);
                    }
                }
            }
        }
    }
}
