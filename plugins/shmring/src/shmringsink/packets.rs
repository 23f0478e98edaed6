//! Packet mode: encoded streams go into a ring of packets, which late readers enter at a key frame.

use gst::prelude::*;
use gst::subclass::prelude::*;
use shmring_core::packet::{PacketMeta, PacketWriter, PacketWriterConfig, Written};

use super::Mode;
use super::imp::{CAT, ShmRingSink, State};
use crate::time;

/// Encoded formats whose packets differ much in size, and depend on one another or are small.
const PACKETS: [&str; 16] = [
    "video/x-h264",
    "video/x-h265",
    "video/x-h266",
    "video/x-av1",
    "video/x-vp8",
    "video/x-vp9",
    "video/mpeg",
    "video/x-theora",
    "audio/mpeg",
    "audio/x-opus",
    "audio/x-vorbis",
    "audio/x-ac3",
    "audio/x-eac3",
    "audio/x-alaw",
    "audio/x-mulaw",
    "audio/x-adpcm",
];

/// Whether a stream of these caps goes into a ring of packets.
pub(super) fn takes_packets(mode: Mode, caps: &gst::CapsRef) -> bool {
    let name = caps.structure(0).map(|s| s.name().as_str());
    match mode {
        Mode::Slots => false,
        Mode::Packets => true,
        Mode::Auto => name.is_some_and(|name| PACKETS.contains(&name)),
    }
}

impl ShmRingSink {
    /// Makes the ring of packets, unless it is there.
    pub(super) fn ensure_packets(&self, state: &mut State) -> Result<(), gst::ErrorMessage> {
        if state.packets.is_some() {
            return self.send_packet_stream(state);
        }
        let info_len = self.stream_info(state).len();
        let common = self.writer_config(1, info_len)?;
        let max_bytes = self.settings.lock().unwrap().max_bytes;
        let sink = self.obj().downgrade();
        let mut config = PacketWriterConfig {
            max_bytes,
            stream_bytes: common.stream_bytes,
            socket_mode: common.socket_mode,
            socket_group: common.socket_group,
            on_key_request: Some(Box::new(move || {
                if let Some(sink) = sink.upgrade() {
                    let event = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true);
                    sink.imp().sinkpad.push_event(event.build());
                }
            })),
            ..PacketWriterConfig::new(common.socket_path)
        };
        config.arena_bytes = config.arena_bytes.min(max_bytes);
        let writer = PacketWriter::create(config)
            .map_err(|err| gst::error_msg!(gst::ResourceError::OpenWrite, ("{err}")))?;
        gst::info!(CAT, imp = self, "listening with a ring of packets");
        state.packets = Some(writer);
        self.send_packet_stream(state)
    }

    pub(super) fn send_packet_stream(&self, state: &mut State) -> Result<(), gst::ErrorMessage> {
        let info = self.stream_info(state);
        let Some(writer) = &mut state.packets else {
            return Ok(());
        };
        writer.set_stream(&info).map(drop).map_err(|err| {
            gst::error_msg!(
                gst::StreamError::Format,
                ("caps are too long to be sent: {err}")
            )
        })
    }

    pub(super) fn publish_packet(
        &self,
        state: &mut State,
        buffer: &gst::Buffer,
    ) -> Result<(), gst::ErrorMessage> {
        let flags = buffer.flags();
        let (pts, dts) = (buffer.pts(), buffer.dts());
        let capture_ns = pts.or(dts).map(|t| Self::monotonic(state, t));
        let unix_offset = *state.unix_offset.get_or_insert_with(time::unix_offset);
        let meta = PacketMeta {
            pts: pts.map(|t| t.nseconds()),
            dts: dts.map(|t| t.nseconds()),
            duration: buffer.duration().map(|t| t.nseconds()),
            capture_ns,
            unix_ns: capture_ns.map(|t| t.saturating_add_signed(unix_offset)),
            key: !flags.contains(gst::BufferFlags::DELTA_UNIT),
            header: flags.contains(gst::BufferFlags::HEADER),
            discont: flags.contains(gst::BufferFlags::DISCONT)
                || std::mem::take(&mut state.discont),
            eos: false,
        };
        state.position = pts.or(dts);
        let map = match buffer.map_readable() {
            Ok(map) => map,
            Err(_) => {
                state.discont = true;
                state.counters.dropped_unreadable += 1;
                self.warn(state, "packet dropped: its memory cannot be read");
                return Ok(());
            }
        };
        let Some(writer) = &mut state.packets else {
            return Ok(());
        };
        state.counters.copied += 1;
        if writer.write(&meta, &map) == Written::TooLarge {
            let max = self.settings.lock().unwrap().max_bytes;
            let text = format!(
                "packets dropped until the next key frame: one of {} bytes is above a quarter of max-bytes ({max}), or \
                 there is no memory",
                map.len()
            );
            self.warn(state, &text);
        }
        Ok(())
    }

    pub(super) fn packet_stats(
        stats: gst::structure::Builder,
        writer: &PacketWriter,
    ) -> gst::structure::Builder {
        let s = writer.stats();
        let readers = (0..s.readers).map(|_| gst::Structure::new_empty("reader").to_send_value());
        stats
            .field("mode", "packets")
            .field("frames", s.packets)
            .field("bytes", s.bytes)
            .field("dropped-too-large", s.dropped_too_large)
            .field("gops-too-large", s.gops_too_large)
            .field("gop-too-large", s.gop_too_large)
            .field("key-requests", s.key_requests)
            .field("accepted", s.accepted)
            .field("refused", s.refused)
            .field("misbehaved", s.misbehaved)
            .field("arena-bytes", s.arena_bytes)
            .field("ring-bytes", s.ring_bytes)
            .field("readers", gst::Array::new(readers))
    }
}
