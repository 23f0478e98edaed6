//! What a writer may make this process remember. GLib never forgets a name it has seen (labels, names of structures and of fields),
//! so a writer that sends a new one with each frame would use up the reader's memory.

use std::sync::atomic::{AtomicU32, Ordering};

use super::WireError;

/// Longest name, in bytes; labels of detectors have some ten.
pub(super) const MAX_BYTES: usize = 255;
/// Names that all writers together may add to those this process knows: with the longest, 4 MiB.
const MAX_NEW: u32 = 16_384;

/// How many more may be added.
pub(super) static NEW: AtomicU32 = AtomicU32::new(MAX_NEW);

/// Whether a name may be kept for ever: one that is known already always, a new one while `left` lasts.
pub(super) fn admit(name: &str, left: &AtomicU32) -> Result<(), WireError> {
    if name.len() > MAX_BYTES || name.contains(|c: char| c.is_control()) {
        return Err(WireError::Text);
    }
    if glib::Quark::try_from_str(name).is_some() {
        return Ok(());
    }
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
        .map_err(|_| WireError::Names)?;
    // Known from here on, so that it is counted once, whatever becomes of the record.
    glib::Quark::from_str(name);
    Ok(())
}
