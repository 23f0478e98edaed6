//! Which of a camera's tasks: a task, and its number where it runs several times at once.

use std::borrow::Cow;
use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::task::Task;

/// Recordings of one camera at once.
const RECORDINGS: u8 = 8;

/// The key of a camera's task: the task's word (`photo`), and for further recordings their number (`video-2` to `video-8`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId {
    task: Task,
    /// From 1.
    number: u8,
}

impl TaskId {
    /// What it does.
    pub const fn task(self) -> Task {
        self.task
    }

    /// Whether it is one of those that every camera has, not a further recording.
    pub const fn is_first(self) -> bool {
        self.number == 1
    }

    /// Its number: 1 unless it is a further recording.
    pub const fn number(self) -> u8 {
        self.number
    }
}

impl From<Task> for TaskId {
    fn from(task: Task) -> Self {
        Self { task, number: 1 }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_first() {
            self.task.fmt(f)
        } else {
            f.pad(&format!("{}-{}", self.task, self.number))
        }
    }
}

impl FromStr for TaskId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((word, number)) = text.split_once('-') else {
            return text.parse::<Task>().map(Self::from);
        };
        let task: Task = word.parse().map_err(|_| unknown(text))?;
        if task != Task::Video {
            let known = Task::ALL.map(Task::as_str).join(", ");
            return Err(format!(
                "{text}: only recordings can run several times on a camera; expected one of {known}, video-2 to \
                 video-{RECORDINGS}"
            ));
        }
        let is_plain = number.bytes().all(|b| b.is_ascii_digit()) && !number.starts_with('0');
        let number: Result<u8, ParseIntError> = number.parse();
        match number {
            Ok(number @ 2..=RECORDINGS) if is_plain => Ok(Self { task, number }),
            _ => Err(format!(
                "{text}: a camera's recordings are {task} and {task}-2 to {task}-{RECORDINGS}"
            )),
        }
    }
}

/// No task has this word.
fn unknown(text: &str) -> String {
    match text.parse::<Task>() {
        Err(reason) => reason,
        Ok(task) => format!("there is no task {text:?}; expected {task}"),
    }
}

impl TryFrom<String> for TaskId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<TaskId> for String {
    fn from(id: TaskId) -> Self {
        id.to_string()
    }
}

impl JsonSchema for TaskId {
    fn schema_name() -> Cow<'static, str> {
        "TaskId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let tasks = Task::ALL.map(Task::as_str).join("|");
        json_schema!({
            "type": "string",
            "description": "The key of a camera's task: its word, and for further recordings their number (`video-2`).",
            "pattern": format!("^({tasks}|video-[2-{RECORDINGS}])$"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written() {
        for task in Task::ALL {
            let id: TaskId = task.as_str().parse().unwrap();
            assert_eq!(id, TaskId::from(task));
            assert!(id.is_first());
            assert_eq!(id.to_string(), task.as_str());
        }
        for number in 2..=8 {
            let text = format!("video-{number}");
            let id: TaskId = text.parse().unwrap();
            assert_eq!((id.task(), id.number()), (Task::Video, number));
            assert_eq!(id.to_string(), text);
            assert_eq!(serde_json::to_value(id).unwrap(), text);
            assert_eq!(serde_json::from_value::<TaskId>(text.into()).unwrap(), id);
        }
        assert_eq!(
            format!("{:<9}|", "video-2".parse::<TaskId>().unwrap()),
            "video-2  |"
        );
    }

    #[test]
    fn what_is_no_key_is_named_with_what_is_expected() {
        for (text, said) in [
            (
                "photo-2",
                "photo-2: only recordings can run several times on a camera; expected one of live, photo",
            ),
            ("detect-1", "only recordings can run several times"),
            (
                "video-0",
                "video-0: a camera's recordings are video and video-2 to video-8",
            ),
            ("video-1", "are video and video-2"),
            ("video-9", "video-2 to video-8"),
            ("video-02", "video-02: a camera's"),
            ("video-+2", "video-+2: a camera's"),
            ("video-300", "video-300: a camera's"),
            ("video-", "video-: a camera's"),
            ("dance", "there is no task \"dance\"; expected one of live"),
            (
                "dance-2",
                "there is no task \"dance-2\"; expected one of live",
            ),
        ] {
            let reason = text.parse::<TaskId>().unwrap_err();
            assert!(reason.contains(said), "{text}: {reason}");
            let read = serde_json::from_value::<TaskId>(text.into());
            assert_eq!(read.unwrap_err().to_string(), reason);
        }
    }
}
