//! Why a change was refused.

use crate::config::{ChangeError, Problems, WriteError};
use crate::supervisor::Gone;
use std::net::SocketAddr;

/// Why a change was refused. Nothing of it has been applied.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It cannot be made of the text.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The configuration would be wrong.
    #[error("{0}")]
    Wrong(Problems),
    /// The file cannot be written.
    #[error("{0}; ?persist=0 makes the change until the next start")]
    Write(#[from] WriteError),
    /// The file was changed meanwhile, and has mistakes.
    #[error("the configuration file has mistakes, which a change would overwrite: {0}")]
    FileWrong(Problems),
    /// The file cannot be read.
    #[error("the configuration file cannot be read: {0}")]
    Unreadable(std::io::Error),
    /// The file is being written.
    #[error("the configuration file is just being changed; try again in some seconds")]
    Unsettled,
    /// It names a local source.
    #[error(
        "camera {0}: {1} sources read what this program can read, so they are taken from the configuration file only, \
         unless http.allow_local_sources is set there"
    )]
    Local(String, &'static str),
    /// It names a local file.
    #[error(
        "{0}: a file elsewhere than beside the model is taken from the configuration file only, unless \
         http.allow_local_sources is set there"
    )]
    LocalFile(&'static str),
    /// It changes hooks.
    #[error("hooks: commands and webhooks are changed in the configuration file only")]
    Hooks,
    /// It would allow itself more.
    #[error("http.allow_local_sources is set in the configuration file only")]
    Permission,
    /// It names a file or a variable of the environment.
    #[error(
        "{0}: references (${{NAME}}, file:PATH) are taken from the configuration file only, where they stand there, unless \
         http.allow_local_sources is set there"
    )]
    Reference(String),
    /// It would listen where it cannot.
    #[error("http.listen {0}: {1}; it listens where it did, and nothing was changed")]
    Listen(SocketAddr, std::io::Error),
    /// Everything is ending.
    #[error(transparent)]
    Gone(#[from] Gone),
}
