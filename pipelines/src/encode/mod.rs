//! Encoded streams of a camera: what the camera encoded itself, or what is encoded of its raw pictures, shared by all
//! consumers (recordings, their pre-roll, live video).
//!
//! [`EncodedStream`] is one pipeline from a tap to access units with repaired timestamps (`timestamps`). It keeps the
//! newest seconds (`history`) and hands each packet to every consumer through a bounded queue of its
//! own ([`Consumer`]): a consumer that is too slow loses packets, which are counted, and continues at the next key
//! frame. [`OnDemand`] starts a stream with its first consumer and stops it when it was unused for a while.

mod chain;
mod consumer;
mod encoder;
mod history;
mod on_demand;
mod packet;
mod stream;
mod timestamps;

pub use chain::EncoderSetup;
pub use consumer::{Consumer, Received, Start};
pub use on_demand::{OnDemand, UNUSED};
pub use packet::Packet;
pub use stream::{EncodedStream, StreamStatus};
pub use timestamps::Repairs;
