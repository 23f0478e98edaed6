//! The two kinds of ring behind one interface: which one a path has is known when its writer answers.

use std::time::Duration;

use gst::prelude::*;
use gst::subclass::prelude::*;
use shmring_core::packet::{PACKET_PROTOCOL, Packet, PacketEvent};
use shmring_core::{ConnectError, Event, Frame, PROTOCOL, WaitError, WireError};

use super::imp::{ShmRingSrc, State};
use crate::report;

/// What a ring of either kind has next.
pub(super) enum Next {
    Frame(Frame),
    Packet(Packet),
    Stream(Vec<u8>),
    Gap {
        pts: Option<u64>,
        duration: Option<u64>,
    },
    Eos,
    WriterGone,
    NewGeneration(u64),
    Coming,
}

/// The protocol version that a writer named when it refused.
fn other_version(error: &ConnectError) -> Option<u32> {
    match error {
        ConnectError::Wire(WireError::Version { theirs, .. }) => Some(*theirs),
        _ => None,
    }
}

impl State {
    pub fn is_connected(&self) -> bool {
        self.reader.is_connected() || self.packets.is_connected()
    }

    /// Connects to the writer that there is now or, with a limit, within that time.
    pub fn connect(&mut self, limit: Option<Duration>) -> Result<(), ConnectError> {
        // The kind that it was last; the writer says so if it is the other one.
        for _ in 0..2 {
            let result = match (self.reads_packets, limit) {
                (false, None) => self.reader.try_connect(),
                (false, limit) => self.reader.reconnect(limit),
                (true, None) => self.packets.try_connect(),
                (true, limit) => self.packets.reconnect(limit),
            };
            match result {
                Err(error)
                    if other_version(&error) == Some(PACKET_PROTOCOL) && !self.reads_packets =>
                {
                    self.reads_packets = true;
                }
                Err(error) if other_version(&error) == Some(PROTOCOL) && self.reads_packets => {
                    self.reads_packets = false;
                }
                result => return result,
            }
        }
        self.reader.try_connect()
    }

    pub fn next_event(&mut self, limit: Option<Duration>) -> Result<Next, WaitError> {
        if self.packets.is_connected() {
            return Ok(match self.packets.next(limit)? {
                PacketEvent::Packet(packet) if packet.meta.eos => Next::Eos,
                PacketEvent::Packet(packet) => Next::Packet(packet),
                PacketEvent::Stream { bytes, .. } => Next::Stream(bytes),
                PacketEvent::WriterGone => Next::WriterGone,
            });
        }
        Ok(match self.reader.next(limit)? {
            Event::Frame(frame) => Next::Frame(frame),
            Event::Stream { bytes, .. } => Next::Stream(bytes),
            Event::Gap { pts, duration } => Next::Gap { pts, duration },
            Event::Eos => Next::Eos,
            Event::WriterGone => Next::WriterGone,
            Event::NewGeneration { geometry } => Next::NewGeneration(geometry.slot_bytes()),
            Event::Coming => Next::Coming,
        })
    }
}

impl ShmRingSrc {
    pub(super) fn packet_buffer(&self, state: &mut State, packet: Packet) -> gst::Buffer {
        let meta = packet.meta;
        let discont = std::mem::take(&mut state.discont) || packet.skipped > 0 || meta.discont;
        let at = meta
            .capture_ns
            .map(|capture| self.running_time(state, capture));
        let size = packet.payload.len() as u64;
        let mut buffer = gst::Buffer::from_mut_slice(packet.payload);
        {
            let b = buffer.make_mut();
            if let Some(at) = at {
                let (pts, dts) = state.stamp(at, meta.pts, meta.dts);
                b.set_pts(pts);
                b.set_dts(dts);
            } else if self.do_timestamp.load(std::sync::atomic::Ordering::Relaxed) {
                b.set_dts(self.obj().current_running_time());
            }
            b.set_duration(meta.duration.and_then(|d| gst::ClockTime::try_from(d).ok()));
            for (is_set, flag) in [
                (!meta.key, gst::BufferFlags::DELTA_UNIT),
                (meta.header, gst::BufferFlags::HEADER),
                (discont, gst::BufferFlags::DISCONT),
            ] {
                if is_set {
                    b.set_flags(flag);
                }
            }
        }
        state.pushed = true;
        let stats = {
            let read = state.packets.stats();
            let mut shared = self.shared.lock().unwrap();
            let s = &mut shared.stats;
            (s.received, s.skipped, s.invalid) = (read.received, read.skipped, read.invalid);
            (s.age_ns, s.max_age_ns) = (read.age_ns, read.max_age_ns);
            s.connections = read.connections;
            s.copies = read.received;
            shared.bytes += size;
            *shared
        };
        let interval = self
            .stats_interval
            .load(std::sync::atomic::Ordering::Relaxed);
        if state.reported.is_due(interval) {
            report::post(self.obj().upcast_ref(), Self::stats(&stats));
        }
        buffer
    }
}
