//! `watchpost worker capture|analysis`: what the supervisor starts.

use anyhow::Result;
use clap::ValueEnum;
use std::process::ExitCode;
use watchpost::worker::{analysis, capture};

/// Arguments of `worker`. Everything else comes on standard input, where `ps` does not show it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_enum)]
    kind: Kind,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// One camera's frames into its ring.
    Capture,
    /// Objects in the frames of all cameras.
    Analysis,
}

/// Works until its input ends.
pub fn run(args: &Args) -> Result<ExitCode> {
    match args.kind {
        Kind::Capture => capture::run(),
        Kind::Analysis => analysis::run(),
    }
}
