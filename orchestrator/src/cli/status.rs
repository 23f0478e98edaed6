//! `watchpost status`: the table of a running watchpost, once.

use super::client;
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use watchpost::config;
use watchpost::supervisor::status::Status;

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address of its HTTP interface; without it the one of the configuration file, else 127.0.0.1:8480.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Its configuration file.
    #[arg(short, long)]
    config: Option<PathBuf>,
    /// Everything, as JSON.
    #[arg(long)]
    json: bool,
    /// Token, where it listens off loopback.
    #[arg(long, env = "WATCHPOST_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// Prints the table, or the JSON.
pub fn run(args: &Args) -> Result<ExitCode> {
    let address = match (args.listen, &args.config) {
        (Some(address), _) => address,
        (None, Some(file)) => config::load(file)?.config.http.listen,
        (None, None) => config::HttpConfig::default().listen,
    };
    let body = client::get(address, "/api/status", args.token.as_deref())?;
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
        println!("the configuration file has mistakes, the last good one is at work:\n{error}");
    }
    Ok(ExitCode::SUCCESS)
}
