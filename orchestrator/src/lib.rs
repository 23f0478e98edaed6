//! The parts of `watchpost`, apart from its command line.

pub mod bus;
pub mod clock;
pub mod data_dir;
mod frigate;
pub mod http;
pub mod limits;
pub mod live;
pub mod lock;
pub mod media;
pub mod outputs;
pub mod protocol;
pub mod recordings;
pub mod reload;
pub mod run_dir;
pub mod store;
pub mod supervisor;
pub mod systemd;
pub mod worker;

pub use watchpost_config as config;
