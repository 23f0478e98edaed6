//! `watchpost status`: the table of a running watchpost, once.

use super::client::{self, Place};
use anyhow::{Context, Result};
use std::process::ExitCode;
use watchpost_api::Status;

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Everything, as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Prints the table, or the JSON.
pub fn run(args: &Args) -> Result<ExitCode> {
    let address = args.place.address()?;
    let body = client::get(address, "/api/status", args.place.token())?;
    if args.json {
        println!("{}", body.trim());
        return Ok(ExitCode::SUCCESS);
    }
    let status: Status = serde_json::from_str(&body)
        .with_context(|| format!("the answer of {address} is not a watchpost's"))?;
    for line in crate::table::render(&status, false) {
        println!("{line}");
    }
    if let Some(error) = &status.config_error {
        let error = crate::table::plain_lines(error);
        println!("the configuration file has mistakes, the last good one is at work:\n{error}");
    }
    Ok(ExitCode::SUCCESS)
}
