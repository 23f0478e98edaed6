//! Where to look next: the upstream event `watchpost-tracks` from the tracker to the detector.

use detection::BBox;

/// Name of the custom upstream event's structure.
pub const TRACKS_EVENT: &str = "watchpost-tracks";

/// The tracker's view after one frame. It may arrive late, since a queue may lie between.
#[derive(Debug, Clone, PartialEq)]
pub struct TracksEvent {
    /// Timestamp of the frame the tracks belong to.
    pub pts: Option<gst::ClockTime>,
    /// Every live track, with its box as predicted for the next frame.
    pub tracks: Vec<TrackHint>,
}

/// One track the detector may want to look at.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackHint {
    /// Id of the track.
    pub id: i32,
    /// Name of its class.
    pub label: String,
    /// Where it is expected, in fractions of the frame.
    pub bbox: BBox,
    /// It rests: to be looked at every `interval` frames only.
    pub stationary: bool,
}

impl TracksEvent {
    /// The event as it travels upstream: {pts uint64, tracks: GstArray of structures {id int, label string,
    /// x, y, w, h double, stationary boolean}}.
    pub fn to_event(&self) -> gst::Event {
        let tracks = gst::Array::new(self.tracks.iter().map(|track| {
            gst::Structure::builder("track")
                .field("id", track.id)
                .field("label", track.label.as_str())
                .field("x", f64::from(track.bbox.x1))
                .field("y", f64::from(track.bbox.y1))
                .field("w", f64::from(track.bbox.width()))
                .field("h", f64::from(track.bbox.height()))
                .field("stationary", track.stationary)
                .build()
        }));
        let pts = self.pts.map_or(u64::MAX, gst::ClockTime::nseconds);
        gst::event::CustomUpstream::new(
            gst::Structure::builder(TRACKS_EVENT)
                .field("pts", pts)
                .field("tracks", tracks)
                .build(),
        )
    }

    /// Reads such an event; `None` for every other one. Tracks that are incomplete or not finite are passed over.
    pub fn parse(event: &gst::EventRef) -> Option<Self> {
        let structure = event.structure().filter(|s| s.name() == TRACKS_EVENT)?;
        let pts = structure
            .get::<u64>("pts")
            .ok()
            .filter(|pts| *pts != u64::MAX);
        let tracks = structure.get::<gst::ArrayRef>("tracks").ok()?;
        Some(Self {
            pts: pts.map(gst::ClockTime::from_nseconds),
            tracks: tracks
                .iter()
                .filter_map(|value| TrackHint::parse(value.get::<gst::Structure>().ok()?.as_ref()))
                .collect(),
        })
    }
}

impl TrackHint {
    fn parse(structure: &gst::StructureRef) -> Option<Self> {
        let number = |name: &str| structure.get::<f64>(name).ok().map(|v| v as f32);
        let bbox = BBox::from_xywh(number("x")?, number("y")?, number("w")?, number("h")?);
        bbox.is_valid().then_some(())?;
        Some(Self {
            id: structure.get("id").ok()?,
            label: structure.get("label").ok()?,
            bbox,
            stationary: structure.get("stationary").unwrap_or(false),
        })
    }
}
