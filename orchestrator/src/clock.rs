//! Times of day as the API, the store and the workers' reports tell them: seconds since 1970.

use std::time::{SystemTime, UNIX_EPOCH};

/// 0 for what lies before 1970.
pub fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

/// Now.
pub fn now() -> f64 {
    seconds(SystemTime::now())
}
