//! A camera that needs no hardware: the pictures of a [`scene`](crate::scene) with live timestamps and, where its
//! script says so, everything that goes wrong with real cameras.
//!
//! ```no_run
//! # gst::init().unwrap();
//! let camera = gsttestscene::source::make("walkers,stall@5s+3s", 640, 360, gst::Fraction::new(5, 1))?;
//! # Ok::<(), gsttestscene::source::TestSourceError>(())
//! ```
//!
//! A launch line names the element `watchposttestsrc`.

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::imp;
use crate::scene::{Script, ScriptError};

glib::wrapper! {
    /// The element behind [`make`]: a push source of I420 pictures.
    pub struct TestSource(ObjectSubclass<imp::TestSource>)
        @extends gst_base::PushSrc, gst_base::BaseSrc, gst::Element, gst::Object;
}

/// Largest width and height a test source renders.
pub const MAX_SIZE: u32 = 8192;

/// Why there is no test source.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TestSourceError {
    /// The text is no script.
    #[error("test source: {0}")]
    Script(#[from] ScriptError),
    /// The size cannot be rendered.
    #[error(
        "test source: size {0}x{1} is not possible; width and height are even numbers from 16 to {MAX_SIZE}"
    )]
    Size(u32, u32),
    /// The rate is no rate.
    #[error(
        "test source: {0} frames per second are not possible; a rate is above 0 and at most 1000"
    )]
    Rate(gst::Fraction),
}

/// At which speed frames come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speed {
    /// Like a camera: each at its time, left out when nobody took it in time.
    Live,
    /// As fast as they are taken, none left out; waiting times of the script pass at once.
    Unlimited,
}

/// A live source for `spec` (see [`Script`] for its words), of `width` x `height` pixels at `fps`.
pub fn make(
    spec: &str,
    width: u32,
    height: u32,
    fps: gst::Fraction,
) -> Result<gst::Element, TestSourceError> {
    let script: Script = spec.parse()?;
    Ok(make_from(script, width, height, fps, Speed::Live)?.upcast())
}

/// A source for a script already read.
pub fn make_from(
    script: Script,
    width: u32,
    height: u32,
    fps: gst::Fraction,
    speed: Speed,
) -> Result<TestSource, TestSourceError> {
    check(width, height, fps)?;
    let source: TestSource = glib::Object::new();
    source.imp().configure(imp::Settings {
        script,
        width,
        height,
        fps,
        speed,
    });
    Ok(source)
}

/// Refuses a size or a rate that cannot be rendered.
pub(crate) fn check(width: u32, height: u32, fps: gst::Fraction) -> Result<(), TestSourceError> {
    let possible = |side: u32| (16..=MAX_SIZE).contains(&side) && side.is_multiple_of(2);
    if !possible(width) || !possible(height) {
        return Err(TestSourceError::Size(width, height));
    }
    let rate = f64::from(fps.numer()) / f64::from(fps.denom());
    // Slower than a frame an hour is a mistake too.
    if !(1.0 / 3600.0..=1000.0).contains(&rate) {
        return Err(TestSourceError::Rate(fps));
    }
    Ok(())
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "watchposttestsrc",
        gst::Rank::NONE,
        TestSource::static_type(),
    )
}
