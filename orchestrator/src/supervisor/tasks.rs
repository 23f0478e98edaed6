//! What is asked of cameras beside detecting. The capture worker does it and says how it goes; here is what was heard, what
//! has to be asked again of a worker that takes over from a dead one, and detection, which is a task like the others to whoever asks.

use super::Supervisor;
use super::camera::Camera;
use super::status::AnalysisPhase;
use crate::clock::{now, seconds};
use crate::protocol::{CaptureCommand, TaskRequest, line};
use crate::store::TaskRow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Instant, SystemTime};
use tokio::sync::oneshot;
use watchpost_pipelines::tasks::{MediaFile, Parameters, Task, TaskId, TaskState, TaskStatus};

/// Requests that wait for a worker's answer; more are refused.
const PENDING: usize = 64;

/// Why a request about a task was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskRefusal {
    /// There is no such camera.
    #[error("there is no camera {0:?}")]
    NoCamera(String),
    /// The camera does not run.
    #[error("{0}")]
    NotRunning(String),
    /// The camera cannot do that, or not now.
    #[error("{0}")]
    Refused(String),
}

/// Whoever waits for an answer.
type Reply = oneshot::Sender<Result<TaskStatus, TaskRefusal>>;

/// The tasks of one camera.
#[derive(Debug, Default)]
pub struct Board {
    /// How each is, as the worker told; a task of which nothing was heard is idle.
    known: BTreeMap<TaskId, TaskStatus>,
    pending: BTreeMap<u64, (TaskRequest, Reply)>,
    /// Those that rest by request; a task also rests while another has the camera.
    paused: BTreeSet<TaskId>,
    /// What was asked again of a worker that has just started, until it answers.
    again: BTreeMap<u64, TaskId>,
    next: u64,
    /// Whether detection was started or stopped as a task since the configuration said something.
    pub detect: Option<bool>,
    /// Since when that is so.
    detect_since: Option<SystemTime>,
    /// A task has the camera to itself: no frame comes into the ring, and none is missed.
    pub exclusive: bool,
    /// Tasks that this camera cannot do by what it offers, and why.
    pub unavailable: BTreeMap<Task, String>,
}

impl Board {
    /// The worker has answered. Comes back with how a task is that does not go on, since the worker refused it.
    #[must_use]
    pub fn answer(&mut self, id: u64, answer: Result<TaskStatus, String>) -> Option<TaskStatus> {
        if let Some((request, reply)) = self.pending.remove(&id) {
            if answer.is_ok() {
                match request {
                    TaskRequest::Pause(task) => self.paused.insert(task),
                    request => self.paused.remove(&request.id()),
                };
            }
            // Whoever asked may have gone away meanwhile.
            let _ = reply.send(answer.map_err(TaskRefusal::Refused));
            return None;
        }
        let task = self.again.remove(&id)?;
        let reason = answer.err()?;
        let known = self.known.get(&task)?;
        let is_over =
            matches!(&known.parameters, Some(Parameters::Video(video)) if video.is_over());
        Some(TaskStatus {
            state: if is_over {
                TaskState::Idle
            } else {
                TaskState::Error
            },
            detail: Some(reason),
            since: now(),
            ..known.clone()
        })
    }

    /// How a task is now. How far it has come is told once a second, and is in its status only.
    fn take(&mut self, status: TaskStatus) -> News {
        let before = self.known.insert(status.id, status.clone());
        let (state, detail) = before
            .as_ref()
            .map_or((TaskState::Idle, &None), |b| (b.state, &b.detail));
        let at_work = matches!(status.state, TaskState::Active | TaskState::Exclusive);
        let is_as_before =
            |b: &TaskStatus| b.state == status.state && b.parameters == status.parameters;
        News {
            is_kept: !before.as_ref().is_some_and(is_as_before),
            is_told: state != status.state || (*detail != status.detail && !at_work),
        }
    }

    /// Those that are under way or have failed.
    pub fn shown(&self) -> Vec<TaskStatus> {
        let shown = self.known.values();
        let shown = shown.filter(|status| status.state != TaskState::Idle);
        shown.cloned().collect()
    }

    /// Takes up what goes on from before.
    pub fn restore(&mut self, rows: Vec<TaskRow>) {
        for row in rows {
            let is_known = self
                .known
                .get(&row.id)
                .is_some_and(|known| known.state.is_under_way());
            if is_known {
                continue;
            }
            if row.state == TaskState::Paused {
                self.paused.insert(row.id);
            }
            let status = TaskStatus {
                state: TaskState::Waiting,
                detail: Some(self.between_workers(row.id).into()),
                parameters: Some(row.parameters),
                ..TaskStatus::idle(row.id, now())
            };
            self.known.insert(row.id, status);
        }
    }

    /// The worker is gone; answers with what that has changed. What is kept stays as it is: nobody asked the tasks to end.
    fn interrupted(&mut self, goes_on: bool, reason: &str) -> Vec<TaskStatus> {
        let under_way = self.known.values().filter(|s| s.state.is_under_way());
        let mut changed: Vec<TaskStatus> = under_way.cloned().collect();
        for status in &mut changed {
            (status.state, status.detail) = match (goes_on, status.task.lasts()) {
                (true, true) => {
                    let detail = self.between_workers(status.id);
                    (TaskState::Waiting, Some(detail.into()))
                }
                (true, false) => (
                    TaskState::Error,
                    Some(format!("the camera ended: {reason}")),
                ),
                (false, _) => (TaskState::Idle, None),
            };
            status.since = now();
            self.known.insert(status.id, status.clone());
        }
        changed
    }

    /// What the status of a task that lasts says while its worker is being replaced.
    fn between_workers(&self, id: TaskId) -> &'static str {
        if self.paused.contains(&id) {
            "paused; the camera is being restarted"
        } else {
            "the camera is being restarted"
        }
    }

    /// What a worker that has just started must be asked again: the tasks that last.
    pub fn wanted(&mut self) -> Vec<CaptureCommand> {
        let lasting = |status: &&TaskStatus| status.state.is_under_way() && status.task.lasts();
        let mut requests = Vec::new();
        for status in self.known.values().filter(lasting) {
            let Some(parameters) = status.parameters.clone() else {
                continue;
            };
            requests.push(TaskRequest::Start {
                id: status.id,
                parameters,
            });
            if self.paused.contains(&status.id) {
                requests.push(TaskRequest::Pause(status.id));
            }
        }
        self.again.clear();
        let command = |request| {
            self.next += 1;
            if let TaskRequest::Start { id, .. } = &request {
                self.again.insert(self.next, *id);
            }
            CaptureCommand::Task {
                id: self.next,
                request,
            }
        };
        requests.into_iter().map(command).collect()
    }
}

/// What follows from a task's new status.
#[derive(Debug, PartialEq, Eq)]
struct News {
    /// It is written down, so that the task goes on after a restart as it is now.
    is_kept: bool,
    /// It is an event.
    is_told: bool,
}

impl Camera {
    /// How all its tasks are: each of [`Task::ALL`], then the further recordings that were heard of.
    pub fn task_statuses(&self) -> Vec<TaskStatus> {
        let known = &self.board.known;
        let further = known.keys().copied().filter(|id| !id.is_first());
        Task::ALL
            .into_iter()
            .map(TaskId::from)
            .chain(further)
            .map(|id| match id.task() {
                Task::Detect => self.detect_status(),
                _ => known
                    .get(&id)
                    .cloned()
                    .unwrap_or_else(|| TaskStatus::idle(id, seconds(self.health.since()))),
            })
            .map(|status| TaskStatus {
                unavailable: self.board.unavailable.get(&status.task).cloned(),
                ..status
            })
            .collect()
    }

    fn detect_status(&self) -> TaskStatus {
        let since = self.board.detect_since.unwrap_or(self.health.since());
        let status = self.status(None, None, Instant::now());
        let (state, detail) = match status.analysis.state {
            AnalysisPhase::Off
                if self.board.detect == Some(false) && self.config.detect.enabled =>
            {
                (TaskState::Paused, Some("until it is started again".into()))
            }
            AnalysisPhase::Off => (TaskState::Idle, None),
            AnalysisPhase::Waiting | AnalysisPhase::Running if self.board.exclusive => (
                TaskState::Paused,
                Some("another task has the camera to itself".into()),
            ),
            AnalysisPhase::Waiting => (TaskState::Waiting, status.reason),
            AnalysisPhase::Running => (TaskState::Active, None),
            AnalysisPhase::Failed => (TaskState::Error, status.analysis.reason),
        };
        TaskStatus {
            state,
            detail,
            ..TaskStatus::idle(Task::Detect, seconds(since))
        }
    }
}

impl Supervisor {
    /// Passes a request on to the camera's worker, which answers by a report.
    pub(super) fn ask_task(&mut self, name: &str, request: TaskRequest, reply: Reply) {
        let Some(camera) = self.cameras.get_mut(name) else {
            let _ = reply.send(Err(TaskRefusal::NoCamera(name.to_owned())));
            return;
        };
        if request.id().task() == Task::Detect {
            let on = matches!(request, TaskRequest::Start { .. } | TaskRequest::Resume(_));
            camera.board.detect = Some(on);
            camera.board.detect_since = Some(SystemTime::now());
            let status = camera.detect_status();
            self.note_task(name, &status);
            let _ = reply.send(Ok(status));
            return;
        }
        let worker = self.workers.capture(name);
        if worker.is_none()
            && let TaskRequest::Stop(id) = request
        {
            let status = TaskStatus::idle(id, now());
            self.task_changed(name, status.clone());
            let _ = reply.send(Ok(status));
            return;
        }
        let Some(worker) = worker else {
            let state = camera.health.state().name();
            let why = camera
                .health
                .reason()
                .map_or(String::new(), |r| format!(": {r}"));
            let _ = reply.send(Err(TaskRefusal::NotRunning(format!(
                "camera {name} does not run ({state}{why})"
            ))));
            return;
        };
        if camera.board.pending.len() >= PENDING {
            let text =
                format!("camera {name} has {PENDING} requests to answer already; ask again later");
            let _ = reply.send(Err(TaskRefusal::NotRunning(text)));
            return;
        }
        camera.board.next += 1;
        let id = camera.board.next;
        camera.board.pending.insert(id, (request.clone(), reply));
        if !worker.send(line(&CaptureCommand::Task { id, request })) {
            let text = format!("the capture worker of camera {name} takes no commands");
            let _ = camera.board.answer(id, Err(text));
        }
    }

    /// A task's state has changed.
    pub(super) fn task_changed(&mut self, name: &str, status: TaskStatus) {
        let Some(camera) = self.cameras.get_mut(name) else {
            return;
        };
        let news = camera.board.take(status.clone());
        if news.is_kept {
            self.keep_task(name, status.id);
        }
        if news.is_told {
            self.note_task(name, &status);
        }
    }

    /// The worker has answered a request.
    pub(super) fn task_answered(
        &mut self,
        name: &str,
        id: u64,
        answer: Result<TaskStatus, String>,
    ) {
        let Some(camera) = self.cameras.get_mut(name) else {
            return;
        };
        let asked = camera.board.pending.get(&id);
        let asked = asked.map(|(request, _)| request.id());
        if let Some(status) = camera.board.answer(id, answer) {
            self.task_changed(name, status);
        }
        // Whether it rests by request may be different now.
        if let Some(id) = asked {
            self.keep_task(name, id);
        }
    }

    /// Writes down how a task is to go on after a restart.
    fn keep_task(&mut self, name: &str, id: TaskId) {
        let Some(board) = self.cameras.get(name).map(|camera| &camera.board) else {
            return;
        };
        if let Some(status) = board.known.get(&id) {
            let paused = board.paused.contains(&id);
            self.history.keep_task(name, status, paused);
        }
    }

    fn note_task(&mut self, name: &str, status: &TaskStatus) {
        let (task, state) = (status.id.to_string(), status.state);
        let detail = status.detail.as_ref();
        let said = detail.map_or(state.to_string(), |detail| format!("{state}: {detail}"));
        if state == TaskState::Error {
            tracing::error!(camera = name, task, "{said}");
        } else {
            tracing::info!(camera = name, task, "{said}");
        }
        self.history.task(name, status);
    }

    /// A task has made a file.
    pub(super) fn file_made(&mut self, name: &str, file: MediaFile) {
        tracing::info!(
            camera = name,
            task = file.task.as_str(),
            file = file.name,
            "made"
        );
        self.history.file(name, file);
    }

    /// The worker is gone. What lasts is asked of the next one; what was asked of this one is answered.
    pub(super) fn tasks_interrupted(&mut self, name: &str, reason: &str) {
        let Some(camera) = self.cameras.get_mut(name) else {
            return;
        };
        camera.board.exclusive = false;
        let ids: Vec<u64> = camera.board.pending.keys().copied().collect();
        for id in ids {
            let _ = camera
                .board
                .answer(id, Err(format!("the capture worker is gone: {reason}")));
        }
        let goes_on = camera.leaving.is_none() && camera.config.enabled;
        for status in camera.board.interrupted(goes_on, reason) {
            self.note_task(name, &status);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(json: serde_json::Value) -> Option<Parameters> {
        Some(serde_json::from_value(json).unwrap())
    }

    fn recording(state: TaskState, detail: &str) -> TaskStatus {
        TaskStatus {
            state,
            detail: Some(detail.into()),
            parameters: parameters(serde_json::json!({"task": "video"})),
            ..TaskStatus::idle(Task::Video, 0.0)
        }
    }

    #[test]
    fn progress_is_neither_written_down_nor_an_event() {
        let mut board = Board::default();
        let change = News {
            is_kept: true,
            is_told: true,
        };
        assert_eq!(board.take(recording(TaskState::Active, "0 s")), change);
        for seconds in 1..10 {
            let news = board.take(recording(TaskState::Active, &format!("{seconds} s")));
            assert!(!news.is_kept && !news.is_told, "{news:?}");
        }
        assert_eq!(board.shown()[0].detail.as_deref(), Some("9 s"));
        assert_eq!(board.take(recording(TaskState::Paused, "9 s")), change);
        // Why it rests is told, but is not needed to go on with it.
        let news = board.take(recording(TaskState::Paused, "another task has the camera"));
        assert!(!news.is_kept && news.is_told, "{news:?}");
    }

    #[test]
    fn what_a_new_worker_refuses_does_not_wait_for_ever() {
        let mut board = Board::default();
        let mut over = recording(TaskState::Waiting, "");
        board.paused.insert(Task::Video.into());
        over.parameters = parameters(serde_json::json!({"task": "video", "until": 1.0}));
        board.take(over);
        board.take(TaskStatus {
            state: TaskState::Waiting,
            parameters: parameters(serde_json::json!({"task": "series", "interval": 1.0})),
            ..TaskStatus::idle(Task::Series, 0.0)
        });
        let asked = board.wanted();
        assert_eq!(asked.len(), 3, "two starts, and one is paused: {asked:?}");
        for command in asked {
            let CaptureCommand::Task { id, request } = command else {
                panic!("{command:?}");
            };
            let refused = board.answer(id, Err("no".into()));
            match request {
                TaskRequest::Start {
                    parameters: Parameters::Video(_),
                    ..
                } => {
                    assert_eq!(refused.unwrap().state, TaskState::Idle);
                }
                TaskRequest::Start { .. } => {
                    let status = refused.unwrap();
                    assert_eq!(status.state, TaskState::Error);
                    assert_eq!(status.detail.as_deref(), Some("no"));
                }
                _ => assert_eq!(refused, None),
            }
        }
    }

    #[test]
    fn each_recording_of_a_camera_goes_on_by_itself() {
        let mut board = Board::default();
        let second: TaskId = "video-2".parse().unwrap();
        let first = recording(TaskState::Active, "");
        let further = TaskStatus {
            id: second,
            parameters: parameters(serde_json::json!({"task": "video", "until": 9e9})),
            ..first.clone()
        };
        board.take(first.clone());
        board.take(further.clone());
        board.paused.insert(second);
        let asked: Vec<TaskRequest> = board
            .wanted()
            .into_iter()
            .map(|command| match command {
                CaptureCommand::Task { request, .. } => request,
                other => panic!("{other:?}"),
            })
            .collect();
        let start = |status: &TaskStatus| TaskRequest::Start {
            id: status.id,
            parameters: status.parameters.clone().unwrap(),
        };
        let expected = [start(&first), start(&further), TaskRequest::Pause(second)];
        assert_eq!(asked, expected);
        // One that a new worker refuses does not end the other.
        let refused = board.answer(2, Err("no".into())).unwrap();
        assert_eq!((refused.id, refused.state), (second, TaskState::Error));
        board.take(refused);
        assert_eq!(board.known[&first.id], first);
    }

    #[test]
    fn only_what_was_paused_by_request_stays_so_however_many_workers_die() {
        let mut board = Board::default();
        board.take(recording(TaskState::Paused, "another task has the camera"));
        let pauses = |board: &mut Board| {
            let asked = board.wanted();
            asked.iter().any(|command| {
                matches!(
                    command,
                    CaptureCommand::Task {
                        request: TaskRequest::Pause(_),
                        ..
                    }
                )
            })
        };
        board.interrupted(true, "killed");
        assert!(!pauses(&mut board));

        let (reply, _answer) = oneshot::channel();
        board
            .pending
            .insert(7, (TaskRequest::Pause(Task::Video.into()), reply));
        let paused = recording(TaskState::Paused, "");
        board.take(paused.clone());
        assert_eq!(board.answer(7, Ok(paused)), None);
        for _ in 0..3 {
            // It ends before it has said anything.
            let changed = board.interrupted(true, "no camera");
            assert_eq!(changed[0].state, TaskState::Waiting);
            let detail = changed[0].detail.as_deref().unwrap();
            assert!(detail.starts_with("paused"), "{detail}");
            assert!(pauses(&mut board));
        }

        let (reply, _answer) = oneshot::channel();
        board
            .pending
            .insert(8, (TaskRequest::Resume(Task::Video.into()), reply));
        assert_eq!(board.answer(8, Ok(recording(TaskState::Active, ""))), None);
        board.interrupted(true, "killed");
        assert!(!pauses(&mut board));
    }

    #[test]
    fn the_place_a_series_has_come_to_is_written_down() {
        let at = |next: u64| TaskStatus {
            state: TaskState::Active,
            parameters: parameters(serde_json::json!({
                "task": "series", "interval": 1.0,
                "position": {"origin": 0.0, "next": next, "taken": next, "missed": 0},
            })),
            ..TaskStatus::idle(Task::Series, 0.0)
        };
        let mut board = Board::default();
        board.take(at(1));
        assert!(!board.take(at(1)).is_kept);
        let news = board.take(at(2));
        assert!(news.is_kept && !news.is_told, "{news:?}");
    }
}
