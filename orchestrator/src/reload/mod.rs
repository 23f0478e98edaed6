//! Owns the configuration file and the configuration at work.
//!
//! Changes come from the file, from SIGHUP and from HTTP, one after the other through one queue. Each is checked as a whole
//! and planned once; the supervisor gets the plan and executes it.

mod debounce;
mod folder;
mod manager;
mod refusal;
mod restrict;

use crate::config::{ChangeError, Document, Wanted};
use crate::supervisor::Gone;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use watchpost_api::Action;

pub use manager::ConfigManager;
pub use refusal::Refusal;

/// A change that is requested over HTTP. Secrets may be given as they were shown (`***`): then they stay.
#[derive(Debug, Clone)]
pub enum Edit {
    /// Add or replace a camera.
    Put(String, Value),
    /// Change some keys of a camera (JSON merge patch).
    Patch(String, Value),
    /// Remove a camera.
    Remove(String),
    /// The whole configuration.
    All(Value),
}

impl Edit {
    /// What the document becomes.
    fn wanted(&self, document: &Document) -> Result<Wanted, ChangeError> {
        match self.clone() {
            Edit::Put(name, camera) => document.put_camera(&name, camera),
            Edit::Patch(name, patch) => document.patch_camera(&name, patch),
            Edit::Remove(name) => document.remove_camera(&name),
            Edit::All(wanted) => document.put_all(wanted),
        }
    }

    /// The camera it is about, if one.
    fn camera(&self) -> Option<&String> {
        match self {
            Edit::Put(name, _) | Edit::Patch(name, _) | Edit::Remove(name) => Some(name),
            Edit::All(_) => None,
        }
    }
}

/// How a change is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplyOptions {
    /// Only say what would happen.
    pub dry_run: bool,
    /// Write it into the file; otherwise it lasts until the next start.
    pub persist: bool,
}

#[derive(Debug)]
enum Request {
    Show(oneshot::Sender<Result<Value, ChangeError>>),
    Change(
        Edit,
        ApplyOptions,
        oneshot::Sender<Result<Vec<Action>, Refusal>>,
    ),
}

/// The way to the queue.
#[derive(Debug, Clone)]
pub struct Changes {
    requests: mpsc::Sender<Request>,
}

impl Changes {
    /// The configuration at work, references unresolved, secrets hidden.
    pub async fn shown(&self) -> Result<Value, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Show(reply)).await?;
        Ok(answer.await.map_err(|_| Gone)??)
    }

    /// Makes a change, and answers with what it means for each camera.
    pub async fn change(&self, edit: Edit, options: ApplyOptions) -> Result<Vec<Action>, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Change(edit, options, reply)).await?;
        answer.await.map_err(|_| Gone)?
    }

    async fn send(&self, request: Request) -> Result<(), Gone> {
        self.requests.send(request).await.map_err(|_| Gone)
    }
}
