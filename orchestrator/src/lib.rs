//! The parts of `watchpost`, apart from its command line.

pub mod config;
pub mod store;
