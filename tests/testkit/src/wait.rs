//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// Limit of every wait. Generous, because machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Time from the first check of a condition to the second. It doubles up to [`LONGEST_PAUSE`], so that short waits end at
/// once and long ones leave the processor to what they wait for.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(32);

/// Waits until `condition` holds; panics with `what` after [`PATIENCE`].
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    find(what, || condition().then_some(()));
}

/// Waits until `search` finds something; panics with `what` after [`PATIENCE`].
#[track_caller]
pub fn find<T>(what: &str, search: impl FnMut() -> Option<T>) -> T {
    find_within(PATIENCE, search).unwrap_or_else(|| panic!("not within {PATIENCE:?}: {what}"))
}

/// Waits until `search` finds something, at most for `limit`. The caller says what is missing.
pub fn find_within<T>(limit: Duration, mut search: impl FnMut() -> Option<T>) -> Option<T> {
    let (deadline, mut pause) = (Instant::now() + limit, FIRST_PAUSE);
    loop {
        // The last search begins after the deadline, so that a search that takes long is not cut short.
        let last = Instant::now() >= deadline;
        let found = search();
        if found.is_some() || last {
            return found;
        }
        std::thread::sleep(pause);
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_checked_until_it_holds() {
        let mut checks = 0;
        eventually("three checks", || {
            checks += 1;
            checks == 3
        });
        assert_eq!(checks, 3);
    }

    #[test]
    fn a_wait_ends_at_its_limit_and_searches_at_least_once() {
        let mut searches = 0;
        let found = find_within(Duration::ZERO, || {
            searches += 1;
            None::<()>
        });
        assert_eq!((found, searches), (None, 1));
        assert_eq!(find_within(Duration::ZERO, || Some(7)), Some(7));
    }
}
