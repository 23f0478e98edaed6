//! `watchpost task CAMERA [TASK ACTION]`: what cameras do beside detecting, asked of a running watchpost.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::ValueEnum;
use watchpost_api::{TaskChange, WantedState};
use watchpost_pipelines::tasks::{TaskId, TaskStatus};

use super::client::{self, Place};
use crate::table;

/// Arguments of `task`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The camera's key in the configuration.
    camera: String,
    /// live, photo, raw_photo, series, video or detect, for further recordings video-2 to video-8; without it the table of all.
    #[arg(requires = "action")]
    task: Option<TaskId>,
    /// What to do.
    action: Option<Action>,
    /// Parameters for `start`, as JSON: '{"interval": 60, "count": 10}'.
    parameters: Option<String>,
    /// The answer as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Action {
    Start,
    Pause,
    Resume,
    Stop,
}

/// Asks, and prints how the tasks are.
pub fn run(args: &Args) -> Result<ExitCode> {
    let address = args.place.address()?;
    let all = format!("/api/cameras/{}/tasks", args.camera);
    let (method, path, body) = match (args.task, args.action) {
        (Some(task), Some(action)) => {
            let path = format!("{all}/{task}");
            match action {
                Action::Start => (
                    "POST",
                    path,
                    Some(args.parameters.clone().unwrap_or_else(|| "{}".into())),
                ),
                Action::Pause => ("PATCH", path, Some(change(WantedState::Paused)?)),
                Action::Resume => ("PATCH", path, Some(change(WantedState::Active)?)),
                Action::Stop => ("DELETE", path, None),
            }
        }
        _ => ("GET", all, None),
    };
    let body = client::ask(address, method, &path, body.as_deref(), args.place.token())?;
    if args.json {
        println!("{}", body.trim());
        return Ok(ExitCode::SUCCESS);
    }
    let unreadable = || format!("the answer of {address} is not a watchpost's");
    let tasks: Vec<TaskStatus> = if method == "GET" {
        serde_json::from_str(&body).with_context(unreadable)?
    } else {
        vec![serde_json::from_str(&body).with_context(unreadable)?]
    };
    println!("TASK       STATE      FOR      FILES  DETAIL");
    for status in &tasks {
        println!("{}", line(status));
    }
    Ok(ExitCode::SUCCESS)
}

fn change(state: WantedState) -> Result<String> {
    Ok(serde_json::to_string(&TaskChange { state })?)
}

fn line(status: &TaskStatus) -> String {
    let since = table::since(status.since);
    let unavailable = status.unavailable.as_ref();
    let unavailable = unavailable.map(|reason| format!("not on this camera: {reason}"));
    let detail = status.detail.clone().or(unavailable).unwrap_or_default();
    format!(
        "{:<10} {:<10} {since:<8} {:<6} {}",
        status.id,
        status.state,
        status.files,
        table::plain(&detail)
    )
    .trim_end()
    .to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use watchpost_pipelines::tasks::{Task, TaskState};

    use super::*;

    #[test]
    fn a_detail_does_not_command_the_terminal() {
        let status = TaskStatus {
            id: Task::Series.into(),
            task: Task::Series,
            state: TaskState::Error,
            since: 0.0,
            detail: Some("454 \x1b[2JEVIL".into()),
            files: 0,
            parameters: None,
            unavailable: None,
        };
        assert!(line(&status).ends_with("454 \\u{1b}[2JEVIL"));
    }

    #[test]
    fn a_line_says_task_state_and_detail() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let status = TaskStatus {
            id: Task::Series.into(),
            task: Task::Series,
            state: TaskState::Waiting,
            since: now.as_secs_f64() - 150.0,
            detail: Some("first shot at 12:00".into()),
            files: 3,
            parameters: None,
            unavailable: None,
        };
        assert_eq!(
            line(&status),
            "series     waiting    2 min    3      first shot at 12:00"
        );
        let raw = TaskStatus {
            unavailable: Some("no raw stream".into()),
            ..TaskStatus::idle(Task::RawPhoto, now.as_secs_f64() - 150.0)
        };
        assert_eq!(
            line(&raw),
            "raw_photo  idle       2 min    0      not on this camera: no raw stream"
        );
    }
}
