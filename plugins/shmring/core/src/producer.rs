//! The writer's half of the protocol: which slot may be written next, and how a frame becomes visible.
//!
//! No memory mapping, no sockets: it works on a [`View`] and on control pages wherever they live.

use crate::consumer::Call;
use crate::layout::{Control, Entry, Kind, LEASES, MAX_SLOTS, NONE, RawHeader, View};
use crate::sync::{Ordering, fence};
use std::ops::Deref;

/// What the writer knows of one reader.
pub struct Link<C> {
    /// Its control page.
    pub control: C,
    /// Leases it was granted; more are not believed.
    pub granted: u32,
    /// Frames it asked to find again when it lags; 0 for a reader of the newest frame only.
    pub history: u32,
}

/// Who asks for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be handed upstream and written in place. Refused while that could leave no slot for a copy.
    Pool,
    /// To copy a frame into. Takes, if nothing else is free, the oldest frame nobody holds.
    Copy,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    /// A handle to it exists on the writer's side.
    held: bool,
    /// The held handle is one for upstream.
    pool: bool,
    /// Event number of the frame in it, 0 for none.
    seq: u64,
    /// Frame number of that frame.
    number: u64,
    /// It was in somebody's hands when last looked at.
    busy: bool,
    /// Grows with the time it became free: the most recently freed slot is likeliest to be in cache.
    freed: u64,
}

/// The writer's state of a ring.
pub struct Producer {
    slots: Vec<Slot>,
    next_seq: u64,
    frames: u64,
    stamp: u64,
    /// Slots kept back for readers to come, so that upstream's pool does not shut the first one out.
    spare_grant: u32,
    wakes: u64,
}

impl Producer {
    /// A ring of `slots` empty slots that goes on after event `last_seq` and frame `frames`.
    pub fn new(slots: usize, last_seq: u64, frames: u64, spare_grant: u32) -> Self {
        assert!(slots <= MAX_SLOTS as usize);
        let mut all = vec![Slot::default(); slots];
        for (slot, freed) in all.iter_mut().zip((0..slots as u64).rev()) {
            slot.freed = freed;
        }
        Self {
            slots: all,
            next_seq: last_seq + 1,
            frames,
            stamp: slots as u64,
            spare_grant,
            wakes: 0,
        }
    }

    /// Number of the newest event.
    pub fn last_seq(&self) -> u64 {
        self.next_seq - 1
    }
    /// Frames published since the writer started.
    pub fn frames(&self) -> u64 {
        self.frames
    }
    /// Times a sleeping reader was woken, each a system call.
    pub fn wakes(&self) -> u64 {
        self.wakes
    }

    /// How many leases to grant a new reader that asks for `wanted`: never so many that all readers together could
    /// hold more than all slots but two.
    pub fn grant<C>(&self, links: &[Link<C>], wanted: u32) -> u32 {
        let granted: u32 = links.iter().map(|link| link.granted).sum();
        let most = (self.slots.len() as u32)
            .saturating_sub(2)
            .min(LEASES as u32);
        most.saturating_sub(granted).min(wanted)
    }

    /// Where a new reader begins: right before the newest frame, so that it comes at once.
    pub fn beginning(&self, ring: View<'_>) -> u64 {
        match ring.head.newest_frame.load(Ordering::Relaxed) {
            0 => self.last_seq(),
            frame => frame - 1,
        }
    }

    /// Slots that readers hold, as bits. Words beyond a reader's grant are not read, values beyond the ring ignored.
    fn leased<C: Deref<Target = Control>>(&self, links: &[Link<C>]) -> u64 {
        let mut bits = 0;
        for link in links {
            for lease in &link.control.lease[..(link.granted as usize).min(LEASES)] {
                let slot = lease.load(Ordering::Acquire); // PAIR lease-release
                if slot != 0 && slot as usize <= self.slots.len() {
                    bits |= 1 << (slot - 1);
                }
            }
        }
        bits
    }

    /// Slots whose frames a reader may still want: the newest, and for a reader of every frame those of its history
    /// it has not seen.
    fn kept<C: Deref<Target = Control>>(&self, links: &[Link<C>]) -> u64 {
        let mut bits = 0;
        for (index, slot) in self.slots.iter().enumerate() {
            let wanted = |link: &Link<C>| {
                slot.number + u64::from(link.history) > self.frames
                    && slot.seq > link.control.cursor.load(Ordering::Relaxed)
            };
            if slot.seq != 0 && (slot.number == self.frames || links.iter().any(wanted)) {
                bits |= 1 << index;
            }
        }
        bits
    }

    /// Leases a reader holds now.
    pub fn leases_of<C: Deref<Target = Control>>(link: &Link<C>) -> u32 {
        let words = &link.control.lease[..(link.granted as usize).min(LEASES)];
        words
            .iter()
            .filter(|lease| lease.load(Ordering::Relaxed) != 0)
            .count() as u32
    }

    /// Takes a slot to write to. `None`: every slot is in somebody's hands, or (for a pool) would soon be.
    pub fn acquire<C: Deref<Target = Control>>(
        &mut self,
        ring: View<'_>,
        links: &[Link<C>],
        purpose: Purpose,
    ) -> Option<u32> {
        if purpose == Purpose::Pool {
            let granted: u32 = links.iter().map(|link| link.granted).sum();
            let own = self.slots.len() as u32 - granted.max(self.spare_grant);
            let pooled = self.slots.iter().filter(|slot| slot.pool).count() as u32;
            // One slot stays for a copy: what upstream does not write in place.
            if pooled + 1 >= own {
                return None;
            }
        }
        let mut leased = self.leased(links);
        let kept = self.kept(links);
        loop {
            let index = self.choose(leased, kept, purpose)?;
            let slot = &mut self.slots[index];
            let meta = &ring.slots[index];
            // Take the frame back before looking at the leases once more: whoever claims it from here on sees that it
            // is gone, and whoever claimed it before is seen.
            meta.seq.store(0, Ordering::Relaxed);
            fence(Ordering::SeqCst); // PAIR lease-claim
            if slot.seq != 0 {
                leased = self.leased(links);
                let slot = &mut self.slots[index];
                if leased >> index & 1 == 1 {
                    slot.busy = true;
                    meta.seq.store(slot.seq, Ordering::Release); // untouched, so it may be found again
                    continue;
                }
            }
            self.slots[index] = Slot {
                held: true,
                pool: purpose == Purpose::Pool,
                freed: self.slots[index].freed,
                ..Slot::default()
            };
            return Some(index as u32);
        }
    }

    /// The most recently freed slot, else the oldest frame nobody holds.
    fn choose(&mut self, leased: u64, kept: u64, purpose: Purpose) -> Option<usize> {
        // Index and stamp of the free slot, index and frame number of the oldest frame.
        let mut free: Option<(usize, u64)> = None;
        let mut oldest: Option<(usize, u64)> = None;
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.held || leased >> index & 1 == 1 {
                slot.busy = true;
                continue;
            }
            if kept >> index & 1 == 1 {
                slot.busy = true;
                // A pool never takes the newest frame from those who come late; a copy is about to replace it.
                let allowed = purpose == Purpose::Copy || slot.number != self.frames;
                if allowed && oldest.is_none_or(|(_, number)| slot.number < number) {
                    oldest = Some((index, slot.number));
                }
                continue;
            }
            if std::mem::take(&mut slot.busy) {
                self.stamp += 1;
                slot.freed = self.stamp;
            }
            if free.is_none_or(|(_, freed)| slot.freed > freed) {
                free = Some((index, slot.freed));
            }
        }
        free.or(oldest).map(|(index, _)| index)
    }

    /// Slots the writer's side holds.
    pub fn held(&self) -> u32 {
        self.slots.iter().filter(|slot| slot.held).count() as u32
    }

    /// Whether the slot is held and has not been published since it was acquired.
    pub fn is_writable(&self, slot: u32) -> bool {
        self.slots
            .get(slot as usize)
            .is_some_and(|slot| slot.held && slot.seq == 0)
    }

    /// The number the next frame will have.
    pub fn next_number(&self) -> u64 {
        self.frames + 1
    }

    /// Makes the frame in a writable slot visible and wakes who waits. Returns its event number.
    pub fn publish<C: Deref<Target = Control>>(
        &mut self,
        ring: View<'_>,
        links: &[Link<C>],
        slot: u32,
        header: RawHeader,
        now_ns: u64,
    ) -> u64 {
        debug_assert!(self.is_writable(slot));
        let meta = &ring.slots[slot as usize];
        let seq = self.next_seq;
        self.frames += 1;
        meta.header.write(header);
        meta.seq.store(seq, Ordering::Release); // PAIR slot-publish
        ring.entry(seq)
            .word
            .store(Entry::pack(seq, Kind::Frame(slot)), Ordering::Release);
        let slot = &mut self.slots[slot as usize];
        slot.seq = seq;
        slot.number = self.frames;
        ring.head.newest_ns.store(now_ns, Ordering::Relaxed);
        ring.head.frames.store(self.frames, Ordering::Relaxed);
        ring.head.newest_frame.store(seq, Ordering::Relaxed);
        self.announce(ring, links);
        seq
    }

    /// Publishes an event without a frame: a gap with its times, or the end of the stream.
    pub fn publish_event<C: Deref<Target = Control>>(
        &mut self,
        ring: View<'_>,
        links: &[Link<C>],
        kind: Kind,
        times: (Option<u64>, Option<u64>),
    ) -> u64 {
        debug_assert!(!matches!(kind, Kind::Frame(_)));
        let seq = self.next_seq;
        let entry = ring.entry(seq);
        entry.word.store(0, Ordering::Relaxed);
        fence(Ordering::Release); // PAIR gap-seqlock
        entry.a.store(times.0.unwrap_or(NONE), Ordering::Relaxed);
        entry.b.store(times.1.unwrap_or(NONE), Ordering::Relaxed);
        entry.word.store(Entry::pack(seq, kind), Ordering::Release); // PAIR gap-seqlock
        self.announce(ring, links);
        seq
    }

    fn announce<C: Deref<Target = Control>>(&mut self, ring: View<'_>, links: &[Link<C>]) {
        ring.head.newest.store(self.next_seq, Ordering::Release); // PAIR head-newest
        self.next_seq += 1;
        self.wake(links);
    }

    /// Wakes every reader that sleeps or is about to. Call after whatever they should see was stored.
    pub fn wake<C: Deref<Target = Control>>(&mut self, links: &[Link<C>]) {
        fence(Ordering::SeqCst); // PAIR wake-up
        for link in links {
            let waiting = &link.control.waiting;
            // Taken back here, so that a reader that is not scheduled for a while costs one system call, not one per frame.
            if waiting.load(Ordering::Relaxed) != 0 {
                waiting.store(0, Ordering::Relaxed);
                link.control.wake.wake();
                self.wakes += 1;
            }
        }
    }

    /// Wakes readers that sleep and want to know when a frame is about to be published: each then waits awake on a
    /// processor of its own. Nobody, if more sleep than there are `processors`: they would be in each other's way.
    pub fn notify<C: Deref<Target = Control>>(&mut self, links: &[Link<C>], processors: usize) {
        let waiting = |link: &Link<C>| link.control.waiting.load(Ordering::Relaxed);
        if links.iter().filter(|link| waiting(link) != 0).count() > processors {
            return;
        }
        for link in links {
            if waiting(link) == Call::Notice as u32 {
                link.control.waiting.store(0, Ordering::Relaxed);
                link.control.wake.wake();
                self.wakes += 1;
            }
        }
    }

    /// The writer's side lets go of a slot. Without a frame in it, it is free; with one, it is free when no reader
    /// holds it and none may still want it.
    pub fn release(&mut self, slot: u32) {
        if let Some(slot) = self.slots.get_mut(slot as usize) {
            slot.held = false;
            slot.pool = false;
        }
    }
}
