//! The shared-memory door: the only module that may use `unsafe`. Maps, and cells whose access the protocol orders.
#![allow(unsafe_code)]

#[cfg(not(loom))]
pub(crate) use mapped::{Map, Segment, SlotBytes, WriteMap};

/// Plain words in shared memory, written by the writer while it alone has the slot and read by a reader while it holds
/// a lease on it. In production the accesses are volatile, so that even a writer that breaks the protocol cannot make
/// a value change between check and use; under loom they are tracked, so that a race is an error.
#[cfg(not(loom))]
#[repr(transparent)]
pub struct Shared<T: Copy>(std::cell::UnsafeCell<T>);

#[cfg(loom)]
pub struct Shared<T: Copy>(loom::cell::UnsafeCell<T>);

// SAFETY: `T` is plain words; that reads and writes do not overlap is what the lease protocol is for (loom checks it),
// and an overlap caused by a hostile process can only yield wrong words, which are checked after reading.
unsafe impl<T: Copy + Send> Sync for Shared<T> {}

impl<T: Copy> Shared<T> {
    pub(crate) fn new(value: T) -> Self {
        #[cfg(not(loom))]
        return Self(std::cell::UnsafeCell::new(value));
        #[cfg(loom)]
        return Self(loom::cell::UnsafeCell::new(value));
    }

    pub(crate) fn read(&self) -> T {
        #[cfg(not(loom))]
        // SAFETY: the pointer is valid and aligned as long as `self` is; any bits are a `T` (plain words).
        return unsafe { self.0.get().read_volatile() };
        #[cfg(loom)]
        // SAFETY: loom hands out a valid pointer and panics if the access races.
        return self.0.with(|value| unsafe { *value });
    }

    pub(crate) fn write(&self, value: T) {
        #[cfg(not(loom))]
        // SAFETY: as for `read`; only the writer's side calls this, and its map is writable.
        unsafe {
            self.0.get().write_volatile(value)
        };
        #[cfg(loom)]
        // SAFETY: loom hands out a valid pointer and panics if the access races.
        self.0.with_mut(|place| unsafe { *place = value });
    }
}

#[cfg(not(loom))]
mod mapped {
    use crate::layout::{
        CONTROL_BYTES, Control, ENTRIES, Entry, Geometry, Head, MAX_SLOTS, STREAMS, SlotMeta, View,
    };
    use crate::packet::{PacketGeometry, PacketHead, PacketView};
    use crate::sync::{AtomicBool, AtomicU64, Ordering};
    use rustix::fd::{AsFd, OwnedFd};
    use rustix::fs::{FallocateFlags, MemfdFlags, OFlags, SealFlags};
    use rustix::mm::{MapFlags, ProtFlags};
    use std::io;
    use std::ptr::NonNull;
    use std::sync::Arc;

    /// Size of the pages that one entry of the last but one level of page tables covers, on x86-64 and most of arm64.
    const LARGE_PAGE: usize = 2 << 20;
    /// Finding room for large pages may take the kernel a while; a stream that changes its size should not notice.
    const MOST_FOR_PAGES: std::time::Duration = std::time::Duration::from_millis(200);

    /// A piece of memory with a descriptor: what is sent to readers.
    pub(crate) struct Segment {
        pub(crate) fd: OwnedFd,
    }

    impl Segment {
        /// An unnamed segment of `len` zero bytes, reserved now. Seal it when it is mapped.
        pub(crate) fn memfd(name: &str, len: u64) -> rustix::io::Result<Self> {
            let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
            let fd = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
                Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create(name, flags), // Linux < 6.3
                other => other,
            }?;
            reserve(&fd, len)?;
            Ok(Self { fd })
        }

        /// A named segment in /dev/shm, reserved now. It must not exist.
        pub(crate) fn named(path: &str, mode: u32, len: u64) -> rustix::io::Result<Self> {
            let fd = rustix::fs::open(
                path,
                OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW,
                rustix::fs::Mode::from_raw_mode(mode),
            )?;
            if let Err(error) = reserve(&fd, len) {
                let _ = rustix::fs::unlink(path);
                return Err(error);
            }
            Ok(Self { fd })
        }

        /// From here on nobody can change its size, and, if `write` says so, map it for writing.
        pub(crate) fn seal(&self, write: bool) -> rustix::io::Result<()> {
            let mut seals = SealFlags::SHRINK | SealFlags::GROW;
            if write {
                seals |= SealFlags::FUTURE_WRITE;
            }
            rustix::fs::fcntl_add_seals(&self.fd, seals | SealFlags::SEAL)
        }
    }

    fn reserve(fd: &OwnedFd, len: u64) -> rustix::io::Result<()> {
        rustix::fs::ftruncate(fd, len)?;
        rustix::fs::fallocate(fd, FallocateFlags::empty(), 0, len)
    }

    /// A map of a whole segment. Reads only; what may be written goes through [`WriteMap`] or atomics.
    pub(crate) struct Map {
        start: NonNull<u8>,
        len: usize,
    }

    // SAFETY: the map is plain memory that any thread may read; writes go through atomics, `Shared` or the slices of
    // `WriteMap::slot_mut`, whose exclusiveness the caller owes.
    unsafe impl Send for Map {}
    // SAFETY: as above.
    unsafe impl Sync for Map {}

    impl Map {
        /// Maps `len` bytes, which the segment must have and keep (sealed, or trusted), with all pages in place.
        pub(crate) fn new(fd: impl AsFd, len: usize, writable: bool) -> io::Result<Self> {
            let map = Self::reserve(len)?;
            let mut protection = ProtFlags::READ;
            if writable {
                protection |= ProtFlags::WRITE;
            }
            let flags = MapFlags::SHARED | MapFlags::FIXED | MapFlags::POPULATE;
            // SAFETY: in place of a reservation that nobody else knows, of the same length.
            unsafe { rustix::mm::mmap(map.start.as_ptr().cast(), len, protection, flags, fd, 0) }?;
            Ok(map)
        }

        /// Addresses for `len` bytes, beginning where a large page may.
        fn reserve(len: usize) -> io::Result<Self> {
            let spare = if len >= LARGE_PAGE { LARGE_PAGE } else { 0 };
            let whole = len.checked_add(spare).ok_or(io::ErrorKind::OutOfMemory)?;
            // SAFETY: new addresses of the kernel's choice; no existing memory is affected.
            let start = unsafe {
                rustix::mm::mmap_anonymous(
                    std::ptr::null_mut(),
                    whole,
                    ProtFlags::empty(),
                    MapFlags::PRIVATE | MapFlags::NORESERVE,
                )
            }?;
            let start = start.cast::<u8>();
            let before = start.align_offset(LARGE_PAGE).min(spare);
            let map = start.wrapping_add(before);
            let up = |len: usize| len.next_multiple_of(rustix::param::page_size());
            let end = map.wrapping_add(up(len));
            let after = up(whole) - before - up(len);
            for (at, len) in [(start, before), (end, after)] {
                if len > 0 {
                    // SAFETY: the ends of the reservation just made, which nobody has seen.
                    unsafe { rustix::mm::munmap(at.cast(), len) }?;
                }
            }
            let start = NonNull::new(map).ok_or(io::ErrorKind::OutOfMemory)?;
            Ok(Self { start, len })
        }

        /// Asks for large pages instead of small ones, from the beginning, for as long as the kernel gives them and
        /// time is left: they save most of the page table walks of whoever goes through a frame. For a segment that
        /// nobody else has yet. Readers' maps have the same pages.
        fn enlarge_pages(&self) {
            let begun = std::time::Instant::now();
            for at in (0..self.len / LARGE_PAGE).map(|page| page * LARGE_PAGE) {
                let place = self.start.as_ptr().wrapping_add(at).cast();
                // SAFETY: inside the map; the pages' content stays what it was.
                let done = unsafe { libc::madvise(place, LARGE_PAGE, libc::MADV_COLLAPSE) };
                if done != 0 || begun.elapsed() > MOST_FOR_PAGES {
                    break;
                }
            }
            // In place again, which they are not after that. Where this is not known, the first touch does it.
            // SAFETY: inside the map, of pages that are reserved.
            let _ = unsafe {
                rustix::mm::madvise(
                    self.start.as_ptr().cast(),
                    self.len,
                    rustix::mm::Advice::LinuxPopulateWrite,
                )
            };
        }

        pub(crate) fn start(&self) -> *mut u8 {
            self.start.as_ptr()
        }

        /// The bytes at a place. Panics outside the map.
        pub(crate) fn bytes(&self, at: usize, len: usize) -> &[u8] {
            assert!(at.checked_add(len).is_some_and(|end| end <= self.len));
            // SAFETY: inside the map (asserted), which lives as long as `self`. That nobody writes there meanwhile is
            // what the caller's lease or write handle stands for; a hostile writer changes pixels at most, since no
            // decision is taken on these bytes here.
            unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(at), len) }
        }

        fn structures<T>(&self, at: usize, count: usize) -> &[T] {
            let place = self.start.as_ptr().wrapping_add(at);
            assert!(
                count
                    .checked_mul(size_of::<T>())
                    .and_then(|len| at.checked_add(len))
                    .is_some_and(|end| end <= self.len)
            );
            assert!(place.cast::<T>().is_aligned());
            // SAFETY: inside the map and aligned (asserted). Called only with `T` made of atomics, `Shared` words and
            // constants nobody reads, for which any bits are valid and concurrent change is defined.
            unsafe { std::slice::from_raw_parts(place.cast(), count) }
        }

        /// The first page.
        pub(crate) fn head(&self) -> &Head {
            &self.structures(0, 1)[0]
        }

        /// The control structures of a ring of this geometry.
        pub(crate) fn view(&self, geometry: &Geometry) -> View<'_> {
            View {
                head: self.head(),
                entries: self.structures::<Entry>(geometry.entries_at(), ENTRIES),
                slots: self.structures::<SlotMeta>(geometry.slots_at(), geometry.slots() as usize),
                streams: self.structures::<AtomicU64>(
                    geometry.streams_at(),
                    STREAMS * geometry.stream_words(),
                ),
            }
        }

        /// Copies bytes that may be written to meanwhile. Panics outside the map.
        pub(crate) fn copy_shared(&self, at: usize, len: usize, into: &mut Vec<u8>) {
            let before = at % 8;
            let words = self.structures::<AtomicU64>(at - before, (before + len).div_ceil(8));
            into.clear();
            into.reserve(words.len() * 8);
            for word in words {
                into.extend_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
            }
            into.drain(..before);
            into.truncate(len);
        }

        /// The first page of a ring of packets.
        pub(crate) fn packet_head(&self) -> &PacketHead {
            &self.structures(0, 1)[0]
        }

        /// A ring of packets of this geometry.
        pub(crate) fn packet_view(&self, geometry: &PacketGeometry) -> PacketView<'_> {
            PacketView {
                head: self.packet_head(),
                entries: self.structures(geometry.entries_at(), geometry.entries() as usize),
                streams: self.structures(geometry.streams_at(), geometry.stream_words()),
                arena: self.structures(geometry.arena_at(), geometry.arena_bytes() as usize / 8),
            }
        }

        /// The map as a reader's control page.
        pub(crate) fn control(&self) -> &Control {
            debug_assert!(self.len >= CONTROL_BYTES);
            &self.structures(0, 1)[0]
        }
    }

    impl Drop for Map {
        fn drop(&mut self) {
            // SAFETY: the map was made by `new` with this address and length, and no reference outlives `self`.
            let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
        }
    }

    /// A writer's map of its ring. Lends each slot's payload area to one holder at a time.
    pub(crate) struct WriteMap {
        map: Map,
        geometry: Geometry,
        lent: [AtomicBool; MAX_SLOTS as usize],
    }

    impl WriteMap {
        pub(crate) fn new(fd: impl AsFd, geometry: Geometry) -> io::Result<Self> {
            let map = Map::new(fd, geometry.total_bytes() as usize, true)?;
            map.enlarge_pages();
            Ok(Self {
                map,
                geometry,
                lent: [const { AtomicBool::new(false) }; MAX_SLOTS as usize],
            })
        }

        pub(crate) fn geometry(&self) -> &Geometry {
            &self.geometry
        }

        /// A slot's payload area, unless it is lent already. The protocol sees to it that no reader has a lease on it.
        pub(crate) fn lend(self: &Arc<Self>, slot: u32) -> Option<SlotBytes> {
            assert!(slot < self.geometry.slots());
            let was_lent = self.lent[slot as usize].swap(true, Ordering::Acquire); // PAIR slot-lent
            (!was_lent).then(|| SlotBytes {
                map: self.clone(),
                slot,
            })
        }

        /// Writes a slot's metadata bytes. Only for a slot that is lent and not published.
        pub(crate) fn put_info(&self, slot: u32, info: &[u8]) {
            assert!(
                slot < self.geometry.slots() && info.len() <= self.geometry.info_bytes() as usize
            );
            // SAFETY: inside the slot's metadata area (asserted) of the writable map. The writer publishes under its
            // lock, and no reader holds a lease on a slot that is not published.
            unsafe {
                let place = self.map.start().add(self.geometry.info_at(slot));
                place.copy_from_nonoverlapping(info.as_ptr(), info.len());
            }
        }
    }

    impl std::ops::Deref for WriteMap {
        type Target = Map;
        fn deref(&self) -> &Map {
            &self.map
        }
    }

    /// The payload area of one slot, in one holder's hands.
    pub(crate) struct SlotBytes {
        map: Arc<WriteMap>,
        slot: u32,
    }

    impl SlotBytes {
        pub(crate) fn bytes(&self) -> &[u8] {
            let geometry = &self.map.geometry;
            self.map
                .bytes(geometry.slot_at(self.slot), geometry.slot_bytes() as usize)
        }

        pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
            let geometry = &self.map.geometry;
            let place = self.map.start().wrapping_add(geometry.slot_at(self.slot));
            // SAFETY: the slot's payload area, inside the writable map by construction of the geometry, which lives as
            // long as `self.map`. `lend` gives each slot to one holder only, and the protocol lends no slot on which
            // a reader has a lease.
            unsafe { std::slice::from_raw_parts_mut(place, geometry.slot_bytes() as usize) }
        }
    }

    impl Drop for SlotBytes {
        fn drop(&mut self) {
            self.map.lent[self.slot as usize].store(false, Ordering::Release); // PAIR slot-lent
        }
    }
}
