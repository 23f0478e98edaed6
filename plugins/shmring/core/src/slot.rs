//! A slot in the hands of the writer's side.

use crate::shm::SlotBytes;
use crate::writer::{Core, Inner};
use std::sync::Arc;

/// A slot in the hands of the writer's side. Dropping it without publishing frees it; after publishing, the slot is
/// reused only when this is dropped as well (upstream may keep reading what it has sent).
pub struct WriteSlot {
    // In this order: the bytes are given back before the producer may lend them again.
    bytes: SlotBytes,
    hold: Hold,
}

struct Hold {
    generation: u64,
    slot: u32,
    core: Arc<Core>,
}

/// Names a slot of one generation, for [`crate::Writer::publish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotId {
    pub(crate) generation: u64,
    pub(crate) slot: u32,
}

impl WriteSlot {
    pub(crate) fn new(bytes: SlotBytes, generation: u64, slot: u32, core: Arc<Core>) -> Self {
        Self {
            bytes,
            hold: Hold {
                generation,
                slot,
                core,
            },
        }
    }

    /// Names this slot.
    pub fn id(&self) -> SlotId {
        SlotId {
            generation: self.hold.generation,
            slot: self.hold.slot,
        }
    }

    /// The slot's payload area. Its content is whatever was there before. Once published it must not be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.bytes_mut()
    }

    /// Tells readers that asked for it that the slot is about to be published, so that they are awake when it is.
    /// Only a hint: it may come several times, or in vain.
    pub fn notify(&self) {
        let mut inner = self.hold.core.lock();
        if inner.generation.number == self.hold.generation {
            let Inner {
                producer, links, ..
            } = &mut *inner;
            if producer.is_writable(self.hold.slot) {
                producer.notify(links, self.hold.core.spare_processors);
            }
        }
    }

    /// The slot's payload area.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.bytes()
    }
}

impl AsRef<[u8]> for WriteSlot {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl AsMut<[u8]> for WriteSlot {
    fn as_mut(&mut self) -> &mut [u8] {
        self.bytes_mut()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut inner = self.core.lock();
        // A slot of an older generation belongs to nobody any more: its memory goes with the last handle.
        if inner.generation.number == self.generation {
            inner.producer.release(self.slot);
        }
    }
}
