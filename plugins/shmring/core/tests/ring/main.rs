//! The ring between real processes and in one: what arrives, who disturbs whom, what a crash leaves behind.
#![cfg(not(loom))]

mod arrival;
mod hostile;
mod independence;
mod packets;
mod properties;
mod restart;
mod sizing;
mod support;
