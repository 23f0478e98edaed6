//! `watchpost plan OLD NEW`: what a changed file would do.

use anyhow::Result;
use std::path::PathBuf;
use std::process::ExitCode;
use watchpost::config;
use watchpost_api::Action;

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration at work.
    old: PathBuf,
    /// The one that would take its place.
    new: PathBuf,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Prints one line for each camera that would notice.
pub fn run(args: &Args) -> Result<ExitCode> {
    let (old, new) = (config::load(&args.old)?, config::load(&args.new)?);
    let mut good = true;
    for problem in new.problems() {
        eprintln!("{problem}");
        good = false;
    }
    let actions = config::plan(&old.config, &new.config);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&actions)?);
    } else if actions.is_empty() {
        println!("nothing would happen");
    } else {
        for action in &actions {
            println!("{}", describe(action));
        }
    }
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn describe(action: &Action) -> String {
    match action {
        Action::Start { camera } => format!("{camera}: starts"),
        Action::Stop {
            camera,
            removed: true,
        } => format!("{camera}: stops and is removed"),
        Action::Stop {
            camera,
            removed: false,
        } => format!("{camera}: stops"),
        Action::Rename { from, camera } => format!("{camera}: takes over from {from}"),
        Action::Restart { camera, keys } => format!("{camera}: restarts ({})", keys.join(", ")),
        Action::Update { camera, keys } => {
            format!("{camera}: changes while it runs ({})", keys.join(", "))
        }
        Action::RestartAnalysis => "the analysis of all cameras restarts (model)".into(),
        Action::Http { keys } => format!("the HTTP interface takes over {}", keys.join(", ")),
        Action::Events => "another time for which object events are kept, at once (events)".into(),
        Action::Mqtt => "the connection to the MQTT broker is made again".to_owned(),
        Action::Hooks => "the hooks start as they are configured now (hooks)".into(),
        Action::Media => "other limits for the files that are kept, at once (media)".into(),
        Action::NeedsNewStart { key } => format!("{key}: takes effect at the next start"),
    }
}
