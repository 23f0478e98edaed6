//! The one door to atomics, fences and the futex: the kernel's and the processor's in production, loom's under
//! `--cfg loom`, so that what is model-checked is the code that runs.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use std::time::Duration;

/// A 32-bit word in shared memory that a reader sleeps on.
#[cfg(not(loom))]
#[repr(transparent)]
pub struct Futex(AtomicU32);

#[cfg(not(loom))]
impl Futex {
    /// A word at zero.
    pub const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// The word's value; pass it to [`Futex::wait`].
    pub fn value(&self) -> u32 {
        self.0.load(Ordering::Acquire) // PAIR wake-word
    }

    /// Changes the word and wakes who sleeps on it.
    pub fn wake(&self) {
        use rustix::thread::futex;
        self.0.fetch_add(1, Ordering::Release); // PAIR wake-word
        // No error is possible for a mapped, aligned word; a failed wake would only delay the reader by one wait slice.
        let _ = futex::wake(&self.0, futex::Flags::empty(), u32::MAX >> 1);
    }

    /// Sleeps while the word is `seen`, at most for `limit`. May return early for no reason.
    pub fn wait(&self, seen: u32, limit: Option<Duration>) {
        use rustix::thread::futex;
        let limit = limit.map(|limit| futex::Timespec {
            tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        let _ = futex::wait(&self.0, futex::Flags::empty(), seen, limit.as_ref());
    }
}

/// The same for loom: the kernel's re-check of the word under its bucket lock is a mutex here.
#[cfg(loom)]
pub struct Futex {
    word: AtomicU32,
    lock: loom::sync::Mutex<()>,
    sleepers: loom::sync::Condvar,
}

#[cfg(loom)]
impl Futex {
    /// A word at zero.
    pub fn new() -> Self {
        Self {
            word: AtomicU32::new(0),
            lock: loom::sync::Mutex::new(()),
            sleepers: loom::sync::Condvar::new(),
        }
    }

    /// The word's value; pass it to [`Futex::wait`].
    pub fn value(&self) -> u32 {
        self.word.load(Ordering::Acquire) // PAIR wake-word
    }

    /// Changes the word and wakes who sleeps on it.
    pub fn wake(&self) {
        self.word.fetch_add(1, Ordering::Release); // PAIR wake-word
        let _bucket = self.lock.lock().unwrap();
        self.sleepers.notify_all();
    }

    /// Sleeps while the word is `seen`; a limit means nothing to loom, so a lost wake-up is a deadlock it reports.
    pub fn wait(&self, seen: u32, _limit: Option<Duration>) {
        let bucket = self.lock.lock().unwrap();
        if self.word.load(Ordering::Relaxed) == seen {
            let _bucket = self.sleepers.wait(bucket).unwrap();
        }
    }
}

impl Default for Futex {
    fn default() -> Self {
        Self::new()
    }
}
