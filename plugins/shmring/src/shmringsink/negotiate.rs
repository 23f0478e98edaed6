//! Which caps the sink takes, and what it offers upstream for them.

use gst::subclass::prelude::*;
use gst_video::{VideoInfo, VideoMeta};

use super::imp::{CAT, ShmRingSink};
use super::packets::takes_packets;
use super::pool::{SlotAllocator, SlotPool};
use super::ring::slot_bytes_for;

/// Formats that most programs read, offered first: an element that makes any format takes the first one.
const USUAL_FORMATS: [&str; 6] = ["I420", "NV12", "YUY2", "RGB", "BGR", "GRAY8"];

/// Whether buffers of these features are not plain system memory.
fn is_foreign(features: &gst::CapsFeaturesRef) -> bool {
    features
        .iter()
        .any(|f| f.starts_with("memory:") && *f != *gst::CAPS_FEATURE_MEMORY_SYSTEM_MEMORY)
}

/// Planar audio has its planes described by a GstAudioMeta, which does not travel.
fn is_planar(s: &gst::StructureRef) -> bool {
    s.name() == "audio/x-raw" && s.get::<&str>("layout") == Ok("non-interleaved")
}

/// Why a stream of these caps cannot be shared.
pub(super) fn refusal(caps: &gst::CapsRef) -> Option<String> {
    if caps.features(0).is_some_and(is_foreign) {
        Some(format!(
            "only system memory can be shared, not {caps}; put an element such as gldownload or vapostproc before \
             this one"
        ))
    } else if caps.structure(0).is_some_and(is_planar) {
        Some(format!(
            "planar audio cannot be shared, {caps}; put audioconvert ! audio/x-raw,layout=interleaved before this \
             element"
        ))
    } else {
        None
    }
}

/// The part of `filter` that can be shared. Without a filter there is no way to write it down as caps: ANY.
pub(super) fn acceptable(filter: Option<&gst::CapsRef>) -> gst::Caps {
    let Some(filter) = filter.filter(|filter| !filter.is_any()) else {
        return gst::Caps::new_any();
    };
    let mut usual = gst::Caps::new_empty();
    let mut rest = gst::Caps::new_empty();
    for (structure, features) in filter.iter_with_features() {
        let features = match features.is_any() {
            true => gst::CAPS_FEATURES_MEMORY_SYSTEM_MEMORY.clone(),
            false => features.to_owned(),
        };
        if is_foreign(&features) {
            continue;
        }
        let mut structure = structure.to_owned();
        if structure.name() == "audio/x-raw" {
            let interleaved = gst::Caps::builder("audio/x-raw")
                .field("layout", "interleaved")
                .build();
            let one: gst::Caps = std::iter::once(structure).collect();
            let Some(s) = one
                .intersect(&interleaved)
                .structure(0)
                .map(|s| s.to_owned())
            else {
                continue;
            };
            structure = s;
        }
        if structure.name() == "video/x-raw" && structure.get::<gst::List>("format").is_ok() {
            let formats = gst::Caps::builder("video/x-raw")
                .field("format", gst::List::new(USUAL_FORMATS))
                .build();
            let one: gst::Caps = std::iter::once(structure.clone()).collect();
            let common = formats.intersect_with_mode(&one, gst::CapsIntersectMode::First);
            if let Some(s) = common.structure(0) {
                usual
                    .make_mut()
                    .append_structure_full(s.to_owned(), Some(features.clone()));
            }
        }
        rest.make_mut()
            .append_structure_full(structure, Some(features));
    }
    usual.make_mut().append(rest);
    usual
}

impl ShmRingSink {
    /// Posts an error for caps that cannot be shared; once, however often upstream sends them.
    pub(super) fn explain_refusal(&self, caps: &gst::CapsRef) {
        let Some(reason) = refusal(caps) else {
            return;
        };
        let mut guard = self.state.lock().unwrap();
        let Some(state) = guard.as_mut() else {
            return;
        };
        if state.refused.as_deref() != Some(caps) {
            state.refused = Some(caps.to_owned());
            drop(guard);
            gst::element_imp_error!(self, gst::StreamError::WrongType, ("{reason}"));
        }
    }

    pub(super) fn set_caps(&self, caps: &gst::CapsRef) -> Result<(), ()> {
        gst::debug!(CAT, imp = self, "caps {caps}");
        let mut guard = self.state.lock().unwrap();
        let Some(state) = guard.as_mut() else {
            return Err(());
        };
        let caps = caps.to_owned();
        state.video = (caps.structure(0).is_some_and(|s| s.name() == "video/x-raw"))
            .then(|| VideoInfo::from_caps(&caps).ok())
            .flatten();
        state.caps = Some(caps);
        // Frames name the stream information they belong to, so those of the old caps stay readable.
        let mode = self.settings.lock().unwrap().mode;
        let made = if state
            .caps
            .as_deref()
            .is_some_and(|caps| takes_packets(mode, caps))
        {
            state.ring = None; // its readers find the other one at the same path
            self.ensure_packets(state)
        } else {
            state.packets = None;
            match &state.video {
                Some(info) => self.ensure_room(state, slot_bytes_for(info)),
                None => Ok(()),
            }
            .and_then(|()| self.send_stream_info(state))
        };
        drop(guard);
        made.map_err(|err| self.post_error_message(err))
    }

    pub(super) fn propose_allocation(&self, query: &mut gst::query::Allocation) {
        query.add_allocation_meta::<VideoMeta>(None);
        let (caps, need_pool) = query.get_owned();
        let guard = self.state.lock().unwrap();
        let Some(state) = guard.as_ref() else {
            return;
        };
        if need_pool
            && caps.is_some()
            && caps == state.caps
            && let (Some(info), Some(_)) = (&state.video, &state.ring)
        {
            let pool = SlotPool::new(&state.slots);
            query.add_allocation_pool(Some(&pool), info.size() as u32, 0, 0);
        }
        let allocator = SlotAllocator::new(&state.slots);
        query.add_allocation_param(Some(&allocator), gst::AllocationParams::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(filter: &str) -> String {
        gst::init().unwrap();
        let filter: gst::Caps = filter.parse().unwrap();
        acceptable(Some(&filter)).to_string()
    }

    #[test]
    fn caps_queries_leave_out_what_cannot_be_shared() {
        assert_eq!(
            accepted("video/x-raw(memory:GLMemory), format=RGBA"),
            "EMPTY"
        );
        assert_eq!(
            accepted("video/x-raw(memory:DMABuf); video/x-raw"),
            "video/x-raw"
        );
        let overlay = "video/x-raw(memory:SystemMemory, meta:GstVideoOverlayComposition)";
        assert_eq!(accepted(overlay), overlay);
        assert_eq!(
            accepted("audio/x-raw, layout={ non-interleaved, interleaved }"),
            "audio/x-raw, layout=(string)interleaved"
        );
        assert_eq!(accepted("audio/x-raw, layout=non-interleaved"), "EMPTY");
        assert_eq!(accepted("ANY"), "ANY");
        assert_eq!(accepted("video/x-raw(ANY)"), "video/x-raw");
    }

    #[test]
    fn usual_formats_come_first_and_others_are_still_taken() {
        let caps = accepted("video/x-raw, format={ ABGR64_LE, I420, NV12 }");
        let caps: gst::Caps = caps.parse().unwrap();
        let first = caps.structure(0).unwrap().value("format").unwrap();
        assert!(format!("{first:?}").contains("I420") && !format!("{first:?}").contains("ABGR64"));
        let other: gst::Caps = "video/x-raw, format=ABGR64_LE".parse().unwrap();
        assert!(other.is_subset(&caps));
    }

    #[test]
    fn what_a_query_leaves_out_is_refused_with_a_remedy() {
        gst::init().unwrap();
        for (caps, remedy) in [
            (
                "video/x-raw(memory:GLMemory), format=RGBA",
                Some("gldownload"),
            ),
            (
                "video/x-raw(memory:GLMemory, meta:GstVideoOverlayComposition)",
                Some("gldownload"),
            ),
            ("audio/x-raw, layout=non-interleaved", Some("audioconvert")),
            (
                "video/x-raw(memory:SystemMemory, meta:GstVideoOverlayComposition)",
                None,
            ),
            ("video/x-raw(meta:GstVideoOverlayComposition)", None),
        ] {
            let caps: gst::Caps = caps.parse().unwrap();
            let text = refusal(&caps);
            assert_eq!(text.is_some(), remedy.is_some(), "{caps}");
            assert!(text.is_none_or(|text| text.contains(remedy.unwrap())));
        }
    }
}
