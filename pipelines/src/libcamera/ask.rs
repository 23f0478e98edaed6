//! Asks a camera what it offers. The caps query with which `libcamerasrc` negotiates has all formats and sizes of a
//! stream as its filter, so the element is set up for the streams in question and the query is refused: nothing is
//! configured, and the sensor is not started. Which streams go together is answered by whether the query comes at all.
//!
//! Some pipeline handlers tell a range of sizes and then adjust all but a few to another one. Such a range is found out
//! by a size that no camera lists, and the usual sizes in it are tried one by one.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use gst::prelude::*;

use super::build::{make, set};
use super::offer::{Offer, OfferedFormat, formats_of};
use super::plan::pad_name;
use super::{Abilities, Camera, Refusal, Version, cause, format};
use crate::camera::Size;
use crate::fault::FaultKind;
use crate::gst::error_words;

/// How long libcamera may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

const MAIN: &str = "video-recording";
const LORES: &str = "view-finder";
const RAW: &str = "raw";

/// What the element did with a question.
enum News {
    /// The camera offers this for the pad with this number.
    Offered(usize, gst::Caps),
    /// The pad's stream would be, or is, like this.
    Settled(gst::Caps),
    /// The element cannot go on.
    Failed(gst::Message),
}

/// How the caps query of a stream is answered.
#[derive(Clone)]
enum Answer {
    /// Whatever is offered.
    Any,
    /// These caps.
    Only(gst::Caps),
    /// Nothing, which ends the negotiation.
    Nothing,
}

/// A camera that is open for questions.
struct Open {
    source: gst::Element,
    bus: gst::Bus,
}

/// Asks what a camera offers. It must not be in use.
pub fn ask(camera: &Camera, abilities: &Abilities) -> Result<Offer, Refusal> {
    let open = Open::camera(camera)?;
    let has_raw = abilities.has_raw();
    let mut offer = Offer {
        why_no_raw: (!has_raw).then(|| abilities.needs("the raw stream", Version::RAW)),
        ..Offer::default()
    };
    let all = has_raw.then(|| open.offered(&[MAIN, LORES, RAW]));
    if let Some([main, lores, raw]) = all.transpose()?.flatten().as_deref() {
        offer.main = main.clone();
        offer.lores = lores.clone();
        offer.raw = bayer(raw);
        offer.raw_beside = !offer.raw.is_empty();
    } else {
        if let Some([main, lores]) = open.offered(&[MAIN, LORES])?.as_deref() {
            offer.main = main.clone();
            offer.lores = lores.clone();
        } else if let Some([main]) = open.offered(&[MAIN])?.as_deref() {
            offer.main = main.clone();
        }
        if has_raw && let Some([raw]) = open.offered(&[RAW])?.as_deref() {
            offer.raw = bayer(raw);
        }
    }
    if offer.main.is_empty() {
        return Err(Refusal {
            kind: FaultKind::Source,
            ..Refusal::new(
                "source.libcamera",
                format!(
                    "camera {} offers no format that Watchpost knows; `cam -c {} -I` lists what it has",
                    camera.id,
                    camera.index + 1
                ),
            )
        });
    }
    let same = offer.lores == offer.main;
    open.find_out(&mut offer)?;
    if same {
        offer.lores.clone_from(&offer.main);
    }
    Ok(offer)
}

/// Only these are raw: a handler that ignores roles offers its pictures.
fn bayer(formats: &[OfferedFormat]) -> Vec<OfferedFormat> {
    let raw = |one: &&OfferedFormat| format::bayer(&one.format).is_some();
    formats.iter().filter(raw).cloned().collect()
}

impl Open {
    fn camera(camera: &Camera) -> Result<Self, Refusal> {
        let source = make("libcamerasrc", "gstreamer1.0-libcamera")?;
        set(&source, "camera-name", &camera.id)?;
        let bus = gst::Bus::new();
        source.set_bus(Some(&bus));
        let open = Self { source, bus };
        if open.source.set_state(gst::State::Ready).is_err() {
            let message = open.bus.pop_filtered(&[gst::MessageType::Error]);
            return Err(refusal(message.as_ref()));
        }
        Ok(open)
    }

    /// What streams with these roles offer together; none where they do not go together.
    fn offered(&self, roles: &[&str]) -> Result<Option<Vec<Vec<OfferedFormat>>>, Refusal> {
        let mut answers = vec![Answer::Any; roles.len()];
        if let Some(last) = answers.last_mut() {
            *last = Answer::Nothing;
        }
        let mut offers = vec![None; roles.len()];
        let (news, _streams) = self.start(roles, &answers)?;
        let end = Instant::now() + PATIENCE;
        while offers.iter().any(Option::is_none) {
            match news.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(News::Offered(at, caps)) => offers[at] = Some(formats_of(&caps)),
                Ok(News::Settled(_)) => {}
                // The streams do not go together, or have nothing that GStreamer knows.
                Ok(News::Failed(_)) => return Ok(None),
                Err(_) => return Err(silent()),
            }
        }
        Ok(offers.into_iter().collect())
    }

    /// Replaces ranges of sizes that the camera does not mean.
    fn find_out(&self, offer: &mut Offer) -> Result<(), Refusal> {
        for index in 0..offer.main.len() {
            let one = &offer.main[index];
            let Some(range) = one.range.filter(|range| {
                // Real scalers have a step. What has none may be a list with its gaps left out.
                range.step == Size::from([1, 1])
            }) else {
                continue;
            };
            let odd_one = Size {
                width: (range.min.width + 34).min(range.max.width) & !1,
                height: (range.min.height + 34).min(range.max.height) & !1,
            };
            let Some(caps) = caps_of(one, odd_one, None) else {
                continue;
            };
            let settled = self.settled(&caps)?;
            let Some(adjusted) = settled.filter(|settled| size_of(settled) != Some(odd_one)) else {
                continue;
            };
            let mut sizes: Vec<Size> = size_of(&adjusted).into_iter().collect();
            for &size in &one.sizes {
                let caps = caps_of(one, size, None).filter(|_| !sizes.contains(&size));
                if let Some(caps) = caps
                    && self.settled(&caps)?.as_ref().and_then(size_of) == Some(size)
                {
                    sizes.push(size);
                }
            }
            sizes.sort_by_key(|size| (u64::from(size.width) * u64::from(size.height), size.width));
            for (name, colorimetry) in format::COLOUR_SPACES {
                let caps = caps_of(one, sizes[0], Some(colorimetry));
                if let Some(caps) = caps
                    && let Some(settled) = self.settled(&caps)?
                    && colorimetry_of(&settled).as_deref() == Some(colorimetry)
                    && !offer.colour_spaces.iter().any(|known| known == name)
                {
                    offer.colour_spaces.push(name.to_owned());
                }
            }
            offer.main[index].sizes = sizes;
            offer.main[index].range = None;
        }
        Ok(())
    }

    /// What the camera makes of these caps for its one stream.
    fn settled(&self, caps: &gst::Caps) -> Result<Option<gst::Caps>, Refusal> {
        let (news, _streams) = self.start(&[MAIN], &[Answer::Only(caps.clone())])?;
        let end = Instant::now() + PATIENCE;
        loop {
            match news.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(News::Settled(caps)) => return Ok(Some(caps)),
                Ok(News::Offered(..)) => {}
                Ok(News::Failed(_)) => return Ok(None),
                Err(_) => return Err(silent()),
            }
        }
    }

    /// Sets the element up for these streams. It is back in READY when the guard is dropped.
    fn start(
        &self,
        roles: &[&str],
        answers: &[Answer],
    ) -> Result<(Receiver<News>, Streams<'_>), Refusal> {
        let (sender, news) = channel();
        let mut streams = Streams {
            open: self,
            pads: Vec::new(),
        };
        for (index, (role, answer)) in roles.iter().zip(answers).enumerate() {
            let name = pad_name(index);
            let pad = match index {
                0 => self.source.static_pad(&name),
                _ => self.source.request_pad_simple(&name),
            };
            let pad = pad.ok_or_else(|| {
                Refusal::new("stream", format!("libcamerasrc gives no pad {name}"))
            })?;
            set(&pad, "stream-role", role)?;
            let sink = questioner(index, answer.clone(), sender.clone());
            let linked = sink.set_active(true).is_ok()
                && pad.link_full(&sink, gst::PadLinkCheck::empty()).is_ok();
            streams.pads.push((pad, sink));
            if !linked {
                return Err(Refusal::new(
                    "stream",
                    format!("libcamerasrc's pad {name} cannot be linked"),
                ));
            }
        }
        self.bus.set_sync_handler(move |_, message| {
            if message.type_() == gst::MessageType::Error {
                let _ = sender.send(News::Failed(message.clone()));
            }
            gst::BusSyncReply::Drop
        });
        // Streams are agreed on before the element plays, and it queues no request until then.
        if self.source.set_state(gst::State::Paused).is_err() {
            let failed = news.try_iter().find_map(|one| match one {
                News::Failed(message) => Some(message),
                _ => None,
            });
            return Err(refusal(failed.as_ref()));
        }
        Ok((news, streams))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = self.source.set_state(gst::State::Null);
    }
}

/// The pads of a question.
struct Streams<'a> {
    open: &'a Open,
    pads: Vec<(gst::Pad, gst::Pad)>,
}

impl Drop for Streams<'_> {
    fn drop(&mut self) {
        let _ = self.open.source.set_state(gst::State::Ready);
        self.open.bus.unset_sync_handler();
        for (index, (pad, sink)) in self.pads.drain(..).enumerate() {
            let _ = pad.unlink(&sink);
            let _ = sink.set_active(false);
            if index > 0 {
                self.open.source.release_request_pad(&pad);
            }
        }
    }
}

/// A pad that reports what it is asked, and answers as it was told to.
fn questioner(index: usize, answer: Answer, sender: Sender<News>) -> gst::Pad {
    let settled = sender.clone();
    gst::Pad::builder(gst::PadDirection::Sink)
        .query_function(move |pad, parent, query| match query.view_mut() {
            gst::QueryViewMut::Caps(query) => {
                let filter = query.filter_owned().unwrap_or_else(gst::Caps::new_any);
                let result = match &answer {
                    Answer::Any => filter.clone(),
                    Answer::Only(caps) => filter.intersect(caps),
                    Answer::Nothing => gst::Caps::new_empty(),
                };
                let _ = sender.send(News::Offered(index, filter));
                query.set_result(&result);
                true
            }
            // Only asked for caps that the camera has adjusted. Refused, since they are all that matters.
            gst::QueryViewMut::AcceptCaps(query) => {
                let _ = sender.send(News::Settled(query.caps_owned()));
                query.set_result(false);
                true
            }
            _ => gst::Pad::query_default(pad, parent, query),
        })
        .event_function(move |_, _, event| {
            if let gst::EventView::Caps(caps) = event.view() {
                let _ = settled.send(News::Settled(caps.caps_owned()));
            }
            true
        })
        .chain_function(|_, _, _| Ok(gst::FlowSuccess::Ok))
        .build()
}

fn caps_of(format: &OfferedFormat, size: Size, colorimetry: Option<&str>) -> Option<gst::Caps> {
    let known = format::processed("format", &format.format).ok()?;
    let mut caps = gst::Caps::builder("video/x-raw")
        .field("format", known.gst)
        .field("width", i32::try_from(size.width).ok()?)
        .field("height", i32::try_from(size.height).ok()?);
    if let Some(colorimetry) = colorimetry {
        caps = caps.field("colorimetry", colorimetry);
    }
    Some(caps.build())
}

fn size_of(caps: &gst::Caps) -> Option<Size> {
    let structure = caps.structure(0)?;
    let side = |name| u32::try_from(structure.get::<i32>(name).ok()?).ok();
    Some(Size {
        width: side("width")?,
        height: side("height")?,
    })
}

fn colorimetry_of(caps: &gst::Caps) -> Option<String> {
    caps.structure(0)?.get("colorimetry").ok()
}

fn silent() -> Refusal {
    Refusal {
        kind: FaultKind::Source,
        ..Refusal::new(
            "source.libcamera",
            "libcamera does not answer what the camera offers; its log (LIBCAMERA_LOG_LEVELS=*:DEBUG) says why",
        )
    }
}

/// Why a camera cannot be opened.
fn refusal(message: Option<&gst::Message>) -> Refusal {
    let text = match message.map(|message| message.view()) {
        Some(gst::MessageView::Error(error)) => {
            let debug = error.debug();
            let all = format!("{} {}", error.error(), debug.as_deref().unwrap_or_default());
            let words = error_words(error);
            match cause(&all) {
                Some((kind, advice)) => Some((kind, format!("{words}; {advice}"))),
                None => Some((FaultKind::Source, words)),
            }
        }
        _ => None,
    };
    let (kind, reason) = text.unwrap_or((FaultKind::Source, "the camera cannot be opened".into()));
    Refusal {
        kind,
        ..Refusal::new("source.libcamera", reason)
    }
}
