//! Why a camera cannot go on, as capture, analysis, the worker protocol and the supervisor say it.

use serde::{Deserialize, Serialize};

use crate::secret;

/// Decides what happens next to the camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The camera refused the credentials.
    Auth,
    /// The source cannot be reached, went away, or sends nothing usable.
    Source,
    /// The decoder failed; another one may work.
    Decode,
    /// The picture does not change although frames arrive.
    Frozen,
    /// Frames arrive at a rate that no camera has.
    Rate,
    /// Memory for the ring could not be allocated.
    Memory,
    /// A file was played to its end.
    Ended,
    /// Waiting does not help: an element is missing, or the configuration cannot work.
    Permanent,
}

/// A failure of one camera.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub struct Fault {
    /// Decides what happens next.
    pub kind: FaultKind,
    /// The cause in words, without credentials.
    pub reason: String,
    /// The decoder that failed, by the name of its factory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoder: Option<String>,
}

impl Fault {
    /// A fault of this kind. Credentials are removed from the reason.
    pub fn new(kind: FaultKind, reason: impl AsRef<str>) -> Self {
        Self {
            kind,
            reason: secret::hide(reason.as_ref()),
            decoder: None,
        }
    }

    /// Waiting does not help.
    pub fn permanent(reason: impl AsRef<str>) -> Self {
        Self::new(FaultKind::Permanent, reason)
    }

    /// The source gives nothing now; a later attempt may succeed.
    pub fn source(reason: impl AsRef<str>) -> Self {
        Self::new(FaultKind::Source, reason)
    }

    /// Whether a later attempt cannot succeed either.
    pub fn is_permanent(&self) -> bool {
        self.kind == FaultKind::Permanent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_no_password() {
        let fault = Fault::source("cannot open rtsp://u:geheim@h/1");
        assert_eq!(fault.reason, "cannot open rtsp://u:***@h/1");
        assert!(!fault.is_permanent());
        assert!(Fault::permanent("no decoder").is_permanent());
    }
}
