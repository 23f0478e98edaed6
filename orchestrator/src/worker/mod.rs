//! Worker processes: `watchpost` started by itself, one per camera for capture and one for the analysis of all.

pub mod analysis;
pub mod capture;
mod exclusive;
mod feeds;
mod link;
mod messages;
mod objects;
mod packets;
mod picture;
mod recording;
mod room;
mod running;
mod scene;
mod tasks;
