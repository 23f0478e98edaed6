//! A reader's half of the protocol: finding the next event, leasing its slot, waiting.

use crate::layout::{CLOSED, Control, Entry, Kind, LEASES, MOVED, NONE, RawHeader, View};
use crate::sync::{AtomicU64, Ordering, fence};
use std::time::Duration;

/// Which frames a reader wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// All of them in order, but the newest as soon as the reader is more than `max_lag` behind.
    EveryFrame {
        /// Frames it may be behind.
        max_lag: u64,
    },
    /// Always the newest; older ones not yet seen are skipped.
    Newest,
}

impl Default for Policy {
    fn default() -> Self {
        Self::EveryFrame { max_lag: 8 }
    }
}

/// When a sleeping reader wants to be woken: what its control page's `waiting` says while it sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// When there is something for it.
    Event = 1,
    /// Already when the writer's side finishes a frame, before it is published.
    Notice = 2,
}

/// The stream information that a reader without one waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamSeen {
    /// It has one; the next comes with a frame.
    Known,
    /// It has none. This is the version it has tried to read in vain, 0 for none.
    Tried(u64),
}

impl StreamSeen {
    fn nothing_new(self, ring: View<'_>) -> bool {
        match self {
            Self::Known => true,
            Self::Tried(version) => ring.head.stream_version.load(Ordering::Relaxed) == version,
        }
    }
}

/// A word that means nothing is no end: its writer is watched by the socket.
fn has_ended(ring: View<'_>) -> bool {
    matches!(ring.head.state.load(Ordering::Relaxed), CLOSED | MOVED)
}

/// Which of its leases a reader has in use. Shared with the frames, which give theirs back from any thread.
pub struct LeaseTable {
    used: AtomicU64,
    granted: u32,
}

impl LeaseTable {
    /// A table for so many leases, all free.
    pub fn new(granted: u32) -> Self {
        Self {
            used: AtomicU64::new(0),
            granted: granted.min(LEASES as u32),
        }
    }

    /// Leases granted.
    pub fn granted(&self) -> u32 {
        self.granted
    }

    /// Leases in use.
    pub fn held(&self) -> u32 {
        self.used.load(Ordering::Relaxed).count_ones()
    }

    fn take(&self) -> Option<u32> {
        let used = self.used.load(Ordering::Acquire); // PAIR lease-table
        let lease = used.trailing_ones();
        if lease >= self.granted {
            return None;
        }
        // Only the one consumer takes, so between load and this nobody else can have set the bit.
        self.used.fetch_or(1 << lease, Ordering::Relaxed);
        Some(lease)
    }

    /// Gives a lease back: the slot may be overwritten from here on.
    pub fn release(&self, control: &Control, lease: u32) {
        control.lease[lease as usize].store(0, Ordering::Release); // PAIR lease-release
        self.used.fetch_and(!(1 << lease), Ordering::Release); // PAIR lease-table
    }
}

/// What [`Consumer::poll`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Poll {
    /// A frame; its slot does not change until the lease is given back.
    Frame {
        /// Lease to give back.
        lease: u32,
        /// Slot it lies in.
        slot: u32,
        /// Its event number.
        seq: u64,
        /// Its header, not yet checked.
        header: RawHeader,
    },
    /// A frame that may be overwritten at any time, for a reader that has no leases: what was copied of its slot is
    /// whole if `is_still_there` says so afterwards.
    Unleased {
        /// Slot it lies in.
        slot: u32,
        /// Its event number.
        seq: u64,
        /// Its header, not yet checked.
        header: RawHeader,
    },
    /// Nothing for a while.
    Gap {
        /// Start.
        pts: Option<u64>,
        /// Length.
        duration: Option<u64>,
    },
    /// End of stream.
    Eos,
    /// Nothing new.
    Empty,
    /// All of this ring was seen and it goes on in another.
    Moved,
    /// All of this ring was seen and its writer is gone.
    Closed,
}

/// Whether a slot still holds this frame, so that what was read of it before is whole.
pub fn is_still_there(ring: View<'_>, slot: u32, seq: u64) -> bool {
    fence(Ordering::Acquire); // PAIR lease-claim
    ring.slots[slot as usize].seq.load(Ordering::Relaxed) == seq
}

/// A reader's place in a ring.
pub struct Consumer {
    cursor: u64,
    policy: Policy,
}

impl Consumer {
    /// Starts where the writer has put the reader when it took it in: what it has published since is kept for it.
    pub fn new(ring: View<'_>, control: &Control, policy: Policy) -> Self {
        let newest = ring.head.newest.load(Ordering::Acquire); // PAIR head-newest
        let cursor = control.cursor.load(Ordering::Relaxed).min(newest);
        Self { cursor, policy }
    }

    /// A reader without a ring, or right at its beginning.
    pub fn unconnected(policy: Policy) -> Self {
        Self { cursor: 0, policy }
    }

    /// Goes on in the next generation of a ring, whose first event follows the last of this one.
    pub fn follow(&mut self, base: u64) {
        self.cursor = base;
    }

    /// Changes the policy from the next event on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// The policy in force.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Number of the last event seen.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Whether nothing is left to take.
    pub fn is_up_to_date(&self, ring: View<'_>) -> bool {
        ring.head.newest.load(Ordering::Relaxed) <= self.cursor
    }

    /// Takes the next event, if there is one. Bounded work, whatever the shared memory says.
    pub fn poll(&mut self, ring: View<'_>, control: &Control, leases: &LeaseTable) -> Poll {
        let state = ring.head.state.load(Ordering::Acquire); // PAIR head-state
        for _ in 0..2 * ring.entries.len() {
            let newest = ring.head.newest.load(Ordering::Acquire); // PAIR head-newest
            if newest <= self.cursor {
                return match state {
                    MOVED => Poll::Moved,
                    CLOSED => Poll::Closed,
                    _ => Poll::Empty,
                };
            }
            // Older events are out of the index.
            self.cursor = self
                .cursor
                .max(newest.saturating_sub(ring.entries.len() as u64));
            let jump = match self.policy {
                Policy::Newest => true,
                Policy::EveryFrame { max_lag } => newest - self.cursor > max_lag.max(1),
            };
            if jump {
                self.cursor = self.newest_frame(ring, newest) - 1;
            }
            let seq = self.cursor + 1;
            let found = self.take(ring, control, leases, seq);
            if matches!(found, Some(Poll::Empty)) {
                return Poll::Empty; // no lease left: keep the place
            }
            self.cursor = seq;
            control.cursor.store(seq, Ordering::Relaxed);
            if let Some(found) = found {
                return found;
            }
        }
        Poll::Empty
    }

    /// The newest frame not yet seen, else the next event.
    fn newest_frame(&self, ring: View<'_>, newest: u64) -> u64 {
        let mut seq = newest;
        while seq > self.cursor + 1 {
            let word = ring.entry(seq).word.load(Ordering::Relaxed);
            if let Some(Kind::Frame(_)) = Entry::unpack(word, seq, ring.slots.len()) {
                break;
            }
            seq -= 1;
        }
        seq
    }

    /// Event `seq`; `None` if it was overwritten.
    fn take(
        &self,
        ring: View<'_>,
        control: &Control,
        leases: &LeaseTable,
        seq: u64,
    ) -> Option<Poll> {
        let entry = ring.entry(seq);
        let word = entry.word.load(Ordering::Acquire); // PAIR gap-seqlock
        match Entry::unpack(word, seq, ring.slots.len())? {
            Kind::Eos => Some(Poll::Eos),
            Kind::Gap => {
                let some = |value| (value != NONE).then_some(value);
                let pts = some(entry.a.load(Ordering::Relaxed));
                let duration = some(entry.b.load(Ordering::Relaxed));
                fence(Ordering::Acquire); // PAIR gap-seqlock
                (entry.word.load(Ordering::Relaxed) == word).then_some(Poll::Gap { pts, duration })
            }
            Kind::Frame(slot) if leases.granted() == 0 => {
                let meta = &ring.slots[slot as usize];
                let header =
                    (meta.seq.load(Ordering::Acquire) == seq).then(|| meta.header.read())?; // PAIR slot-publish
                Some(Poll::Unleased { slot, seq, header })
            }
            Kind::Frame(slot) => {
                let Some(lease) = leases.take() else {
                    return Some(Poll::Empty);
                };
                let meta = &ring.slots[slot as usize];
                // Release, so that a writer that reads this value also sees the lease of another slot end that used
                // the word before.
                control.lease[lease as usize].store(slot + 1, Ordering::Release); // PAIR lease-release
                fence(Ordering::SeqCst); // PAIR lease-claim
                if meta.seq.load(Ordering::Acquire) != seq {
                    // PAIR slot-publish
                    leases.release(control, lease);
                    return None;
                }
                Some(Poll::Frame {
                    lease,
                    slot,
                    seq,
                    header: meta.header.read(),
                })
            }
        }
    }

    /// Sleeps until the writer has something to say, `woken` is true (set it, then wake the control page), or the
    /// limit passes. May return early for no reason. With [`Call::Notice`] the writer may wake it before it has
    /// something to say: then the answer is true, if that is what happened.
    pub fn wait(
        &self,
        ring: View<'_>,
        control: &Control,
        stream: StreamSeen,
        call: Call,
        woken: impl Fn() -> bool,
        limit: Option<Duration>,
    ) -> bool {
        let seen = control.wake.value();
        if woken() {
            return false;
        }
        control.waiting.store(call as u32, Ordering::Relaxed);
        fence(Ordering::SeqCst); // PAIR wake-up
        let nothing_new =
            || ring.head.newest.load(Ordering::Relaxed) <= self.cursor && !has_ended(ring);
        if nothing_new() && stream.nothing_new(ring) {
            control.wake.wait(seen, limit);
        }
        control.waiting.store(0, Ordering::Relaxed);
        call == Call::Notice && control.wake.value() != seen && nothing_new()
    }

    /// Waits awake until `over`, for what the writer has said is coming. Whether it came.
    pub fn linger(&self, ring: View<'_>, mut over: impl FnMut() -> bool) -> bool {
        loop {
            for _ in 0..32 {
                if !self.is_up_to_date(ring) {
                    return true;
                }
                std::hint::spin_loop();
            }
            if over() || has_ended(ring) {
                return !self.is_up_to_date(ring);
            }
        }
    }
}
