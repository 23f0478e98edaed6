//! Frigate's dialect: Watchpost's data in the forms that Frigate's clients read. No I/O; [`crate::http`] answers the
//! requests, [`crate::outputs`] publishes the messages.

mod config;
mod event;
mod id;
mod stats;
mod summary;
mod token;

pub(crate) use config::{config, labels};
pub(crate) use event::event;
pub(crate) use id::{number_of, of_event};
pub(crate) use stats::stats;
pub(crate) use summary::{Start, TimeZone, summary};
pub(crate) use token::{Signer, User};

/// Clients choose by it what they ask for: the newest release without functions that Watchpost does not have.
pub(crate) const VERSION: &str = concat!("0.16.4-watchpost.", env!("CARGO_PKG_VERSION"));
