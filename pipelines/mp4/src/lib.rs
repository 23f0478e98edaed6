//! Fragmented MP4 as live video, the recorder, playback and exports need it, in plain Rust.
//!
//! * [`Movie`] describes the tracks and writes the initialisation segment and the MIME type.
//! * [`fragment()`] writes one fragment; [`fragment_header`] writes only the boxes in front of the sample data, for a
//!   server that sends the data from a file.
//! * [`Summary`] is the `uuid` box at the end of a recorded file: its sample tables and what the index keeps of it.
//! * [`scan`] reads a file of unknown origin up to its last complete fragment.
//! * [`Progressive`] is an ordinary MP4 file (`moov` in front) over samples of other files, without copying them.
//!
//! The crate performs no I/O of its own and does not depend on GStreamer. Everything it reads is untrusted: sizes and
//! counts are checked against the bytes that are there, and allocations are bounded by them.

mod avc;
mod bits;
mod fragment;
mod hevc;
mod movie;
mod nal;
mod progressive;
mod scan;
mod summary;

pub use avc::AvcParameterSets;
pub use fragment::{Run, Sample, fragment, fragment_header};
pub use hevc::HevcParameterSets;
pub use movie::{AudioTrack, Movie, VideoCodec, VideoTrack};
pub use nal::{NalUnits, length_prefixed_units, to_length_prefixed};
pub use progressive::{Piece, Progressive, ProgressivePart};
pub use scan::{ReadAt, Scan, VideoExtent, scan};
pub use summary::{GopActivity, SampleTable, Summary, TableSample};

/// Ticks per second of every video track.
pub const VIDEO_TIMESCALE: u32 = 90_000;

/// Number of the video track in every file and stream.
pub const VIDEO_TRACK: u32 = 1;

/// Number of the audio track in every file and stream that has one.
pub const AUDIO_TRACK: u32 = 2;

/// A stream that cannot be written as MP4, or bytes that are not the MP4 they should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A parameter set is shorter or other than its codec allows.
    #[error("{codec}: {what} (parameter set of {bytes} bytes)")]
    ParameterSet {
        /// `H.264`, `H.265` or `AV1`.
        codec: &'static str,
        /// What is wrong with it.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// The stream has no parameter sets yet, so no decoder could start.
    #[error("{codec} stream without {missing}")]
    MissingParameterSet {
        /// `H.264`, `H.265` or `AV1`.
        codec: &'static str,
        /// The kind of parameter set.
        missing: &'static str,
    },
    /// The audio configuration is not one MP4 can carry.
    #[error("audio: {0}")]
    Audio(&'static str),
    /// A fragment or file exceeds what its boxes can express.
    #[error("{0} exceeds the range of its MP4 field")]
    TooLarge(&'static str),
    /// A box could not be encoded or decoded.
    #[error("MP4 box: {0}")]
    Box(#[from] mp4_atom::Error),
    /// The summary box is damaged or of another version.
    #[error("summary box: {0}")]
    Summary(&'static str),
    /// A range of samples does not exist in the table it refers to.
    #[error("samples {first}..{end} do not exist in a table of {count}")]
    Range {
        /// First sample of the range.
        first: usize,
        /// End of the range.
        end: usize,
        /// Samples in the table.
        count: usize,
    },
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
