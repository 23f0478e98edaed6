//! `watchpost schema`: what editors check and complete a configuration by, and the schema of events.

use anyhow::Result;
use std::process::ExitCode;

/// Arguments of `schema`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The schema of the events that event streams send, instead of the configuration's.
    #[arg(long)]
    events: bool,
}

/// Prints it.
pub fn run(args: &Args) -> Result<ExitCode> {
    let schema = if args.events {
        watchpost_api::event_schema()
    } else {
        watchpost::config::schema().clone()
    };
    println!("{}", serde_json::to_string_pretty(&schema)?);
    Ok(ExitCode::SUCCESS)
}
