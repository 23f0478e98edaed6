//! `watchpost`: builds, supervises and changes per-camera pipelines.

mod cli;
mod logging;
mod table;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("watchpost: {error:#}");
            ExitCode::FAILURE
        }
    }
}
