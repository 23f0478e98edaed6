//! A frame in a reader's hands.

use crate::attach::Attachment;
use crate::header::{FrameHeader, Header};
use std::sync::{Arc, Mutex, PoisonError};

/// A frame in a reader's hands. It does not change until it is dropped, from whatever thread, even when the writer or
/// the [`crate::Reader`] is gone.
pub struct Frame {
    header: Header,
    seq: u64,
    skipped: u64,
    hold: Hold,
}

/// Copies in ordinary memory kept for reuse.
const SPARE_COPIES: usize = 4;

/// Buffers that copies were in.
pub(crate) type Spare = Arc<Mutex<Vec<Vec<u8>>>>;

/// What keeps a frame's bytes as they are.
pub(crate) enum Hold {
    Slot {
        attachment: Arc<Attachment>,
        lease: u32,
        slot: u32,
    },
    Copy {
        payload: Vec<u8>,
        info: Vec<u8>,
        spare: Spare,
    },
}

impl Frame {
    pub(crate) fn new(header: Header, seq: u64, skipped: u64, hold: Hold) -> Self {
        Self {
            header,
            seq,
            skipped,
            hold,
        }
    }

    /// The same frame in ordinary memory; its lease is given back.
    pub(crate) fn into_copy(self, spare: &Spare) -> Self {
        let reused = {
            let mut spare = spare.lock().unwrap_or_else(PoisonError::into_inner);
            spare.pop()
        };
        let mut payload = reused.unwrap_or_default();
        payload.clear();
        payload.extend_from_slice(self.bytes());
        let mut info = Vec::new();
        self.copy_info(&mut info);
        Self {
            header: self.header.clone(),
            hold: Hold::Copy {
                payload,
                info,
                spare: spare.clone(),
            },
            ..self
        }
    }

    /// Times, offsets and flags.
    pub fn header(&self) -> &FrameHeader {
        &self.header.frame
    }
    /// Number of the event.
    pub fn seq(&self) -> u64 {
        self.seq
    }
    /// Number of the frame since its writer started, from 1.
    pub fn number(&self) -> u64 {
        self.header.number
    }
    /// Frames between the last one received and this one that were not.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
    /// Version of the stream information it belongs to.
    pub fn stream_version(&self) -> u64 {
        self.header.stream_version
    }
    /// When it was published, CLOCK_MONOTONIC in ns.
    pub fn published_ns(&self) -> u64 {
        self.header.published_ns
    }
    /// Whether it is a copy in ordinary memory, because all leases but one were held.
    pub fn is_copy(&self) -> bool {
        matches!(self.hold, Hold::Copy { .. })
    }

    /// The payload.
    pub fn bytes(&self) -> &[u8] {
        match &self.hold {
            Hold::Slot {
                attachment, slot, ..
            } => attachment.map.bytes(
                attachment.geometry.slot_at(*slot) + self.header.range.start,
                self.header.range.len(),
            ),
            Hold::Copy { payload, .. } => payload,
        }
    }

    /// Length of the metadata bytes.
    pub fn info_len(&self) -> usize {
        self.header.info_len
    }

    /// Copies the metadata bytes into a buffer the caller reuses. A copy, because who parses bytes wants them to be
    /// the same at the second look, whoever wrote them.
    pub fn copy_info(&self, into: &mut Vec<u8>) {
        into.clear();
        match &self.hold {
            Hold::Slot {
                attachment, slot, ..
            } => into.extend_from_slice(
                attachment
                    .map
                    .bytes(attachment.geometry.info_at(*slot), self.header.info_len),
            ),
            Hold::Copy { info, .. } => into.extend_from_slice(info),
        }
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame")
            .field("seq", &self.seq)
            .field("skipped", &self.skipped)
            .field("copy", &self.is_copy())
            .field("header", &self.header)
            .finish()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        match self {
            Hold::Slot {
                attachment, lease, ..
            } => attachment.leases.release(attachment.control(), *lease),
            Hold::Copy { payload, spare, .. } => {
                let mut spare = spare.lock().unwrap_or_else(PoisonError::into_inner);
                if spare.len() < SPARE_COPIES {
                    spare.push(std::mem::take(payload));
                }
            }
        }
    }
}
