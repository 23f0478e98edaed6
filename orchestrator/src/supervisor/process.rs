//! A worker process: started with pipes, listened to line by line, stopped in bounded steps, always waited for.

use crate::limits;
use crate::protocol::{AnalysisReport, CaptureReport, Report};
use rustix::process::{Pid, Signal, kill_process};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use watchpost_pipelines::secret::hide;

/// From "please stop" to SIGTERM: EOS has to pass through the pipeline.
const STOP_GRACE: Duration = Duration::from_millis(800);
/// From SIGTERM to SIGKILL.
const TERM_GRACE: Duration = Duration::from_millis(300);
/// From SIGKILL to giving up: only a process in uninterruptible sleep gets that far.
const KILL_GRACE: Duration = Duration::from_millis(1500);
/// Longest line a worker may write; more is a fault of the worker, not a reason to take all memory.
const MAX_LINE: u64 = 1 << 20;
/// Commands on their way to a worker. One that does not read them is replaced.
const PENDING_COMMANDS: usize = 256;

/// Names a worker. Each kind of worker has a type of its own, with the reports it sends.
pub trait WorkerId: Clone + std::fmt::Debug + Send + Sync + 'static {
    /// Its reports.
    type Report: Report;
    /// Its subcommand of `watchpost worker`.
    const SUBCOMMAND: &'static str;

    /// Its name in the log.
    fn name(&self) -> String;
}

/// The capture worker of a camera.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CaptureId(pub String);

impl WorkerId for CaptureId {
    type Report = CaptureReport;
    const SUBCOMMAND: &'static str = "capture";

    fn name(&self) -> String {
        format!("capture {}", self.0)
    }
}

/// An analysis worker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnalysisId {
    /// That of all cameras.
    Shared,
    /// That of one camera which took others down with it.
    Own(String),
}

impl WorkerId for AnalysisId {
    type Report = AnalysisReport;
    const SUBCOMMAND: &'static str = "analysis";

    fn name(&self) -> String {
        match self {
            Self::Shared => "analysis".into(),
            Self::Own(camera) => format!("analysis {camera}"),
        }
    }
}

/// An event of a worker's process.
#[derive(Debug)]
pub enum Notice<R> {
    /// A line it wrote.
    Report(R),
    /// It has ended, for this reason.
    Exited(String),
    /// Something else ended it with SIGKILL (the kernel short of memory, an administrator): not a fault of its work.
    Killed(String),
    /// It survived SIGKILL: it sleeps in the kernel. It is given up, and waited for in the background.
    Stuck(String),
}

impl<R: Report> Notice<R> {
    /// Whether nothing is started or stopped because of it.
    pub fn is_routine(&self) -> bool {
        matches!(self, Notice::Report(report) if report.is_routine())
    }
}

/// A notice with its sender. `run` tells the newest worker of this id from its predecessors.
#[derive(Debug)]
pub struct WorkerEvent<I: WorkerId> {
    /// The worker.
    pub id: I,
    /// Its run.
    pub run: u64,
    /// The event.
    pub notice: Notice<I::Report>,
}

/// The supervisor's end of a worker. Dropping it closes the worker's input, and the worker exits.
#[derive(Debug)]
pub struct Worker {
    pid: u32,
    run: u64,
    commands: mpsc::Sender<Order>,
}

#[derive(Debug)]
enum Order {
    Line(String),
    Stop(String),
    Kill,
}

impl Worker {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Which run of its role it is.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Sends a command; false when the worker has not read the last ones.
    pub fn send(&self, line: String) -> bool {
        self.commands.try_send(Order::Line(line)).is_ok()
    }

    /// Asks it to stop: the line, then the end of its input, then SIGTERM, then SIGKILL, each after a bounded wait.
    pub fn stop(&self, line: String) {
        if self.commands.try_send(Order::Stop(line)).is_err() {
            self.kill();
        }
    }

    /// Ends it without asking.
    pub fn kill(&self) {
        if self.commands.try_send(Order::Kill).is_err() {
            signal(self.pid, Signal::KILL);
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may be gone already; then there is nothing to end.
        let _ = kill_process(pid, signal);
    }
}

/// This program. After an upgrade its name leads to another one, or nowhere; what runs is still there.
fn own_program() -> std::io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(if program.exists() {
        program
    } else {
        "/proc/self/exe".into()
    })
}

/// Variables that workers need although a configuration may refer to them, such as `${HOME}`.
const INHERITED: [&str; 8] = [
    "HOME",
    "PATH",
    "USER",
    "LOGNAME",
    "LANG",
    "TZ",
    "TMPDIR",
    "WATCHPOST_LOG",
];
/// The same, by how their names begin.
const INHERITED_KINDS: [&str; 6] = ["GST_", "XDG_", "LD_", "LC_", "ORT_", "LIBCAMERA_"];

/// Environment variables to which a configuration refers: `${NAME}`. Workers are handed their values where they need
/// them, and do not inherit the others', since a capture worker parses what an untrusted device sends.
pub fn secrets(config: &str) -> Vec<String> {
    let names = config.split("${").skip(1).filter_map(|rest| {
        let (name, _) = rest.split_once('}')?;
        let is_name =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        is_name.then(|| name.to_owned())
    });
    names
        .filter(|name| {
            !INHERITED.contains(&name.as_str())
                && !INHERITED_KINDS.iter().any(|kind| name.starts_with(kind))
        })
        .collect()
}

/// Starts a worker: this program again, with `first` as the first line of its input and without the environment
/// variables `secrets`.
pub fn spawn<I: WorkerId>(
    id: I,
    run: u64,
    first: String,
    secrets: &[String],
    events: mpsc::Sender<WorkerEvent<I>>,
) -> std::io::Result<Worker> {
    let mut command = Command::new(own_program()?);
    command
        .args(["worker", I::SUBCOMMAND])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C in a terminal goes to the whole group; workers are stopped by the supervisor, in order.
        .process_group(0)
        // Many short-lived threads of codecs would otherwise each get an arena.
        .env("MALLOC_ARENA_MAX", "2")
        .kill_on_drop(true);
    for name in secrets {
        command.env_remove(name);
    }
    // Its greeting, at each start of a camera's worker, is no warning.
    const LIBCAMERA_LOG: &str = "LIBCAMERA_LOG_LEVELS";
    if std::env::var_os(LIBCAMERA_LOG).is_none() {
        command.env(LIBCAMERA_LOG, "*:WARN");
    }
    let child = command.spawn()?;
    let pid = child.id().unwrap_or_default();
    let (sender, orders) = mpsc::channel(PENDING_COMMANDS);
    tokio::spawn(look_after(child, pid, id, run, first, orders, events));
    Ok(Worker {
        pid,
        run,
        commands: sender,
    })
}

/// Reads, writes and waits until the process is gone.
async fn look_after<I: WorkerId>(
    mut child: Child,
    pid: u32,
    id: I,
    run: u64,
    first: String,
    mut orders: mpsc::Receiver<Order>,
    events: mpsc::Sender<WorkerEvent<I>>,
) {
    let tell = |notice| {
        let (id, events) = (id.clone(), events.clone());
        async move {
            // Nobody listens only when the supervisor itself is ending.
            let _ = events.send(WorkerEvent { id, run, notice }).await;
        }
    };
    let stdin = child.stdin.take();
    let (lines, written) = mpsc::channel::<String>(PENDING_COMMANDS);
    let _ = lines.try_send(first);
    let mut lines = Some(lines);
    tokio::spawn(write_lines(stdin, written));

    let reports = child.stdout.take().map(|out| {
        let (id, events) = (id.clone(), events.clone());
        tokio::spawn(async move {
            read_lines(
                out,
                |line| {
                    let notice = match serde_json::from_str::<I::Report>(line) {
                        Ok(report) => Notice::Report(report),
                        Err(error) => {
                            tracing::warn!(worker = id.name(), "unreadable report: {error}");
                            return None;
                        }
                    };
                    Some(WorkerEvent {
                        id: id.clone(),
                        run,
                        notice,
                    })
                },
                Some(events),
            )
            .await;
        })
    });
    let complaints = child.stderr.take().map(|err| {
        let (id, events) = (id.clone(), events.clone());
        let name = id.name();
        tokio::spawn(async move {
            let mut limit = LineLimit::new();
            let mut told = false;
            read_lines(
                err,
                |line| {
                    limit.log(&name, line);
                    // GStreamer goes on without the thread, and waits for ever.
                    let is_new = !limits::advice_on(line).is_empty() && !told;
                    told |= is_new;
                    is_new.then(|| WorkerEvent {
                        id: id.clone(),
                        run,
                        notice: Notice::Report(I::Report::starved(
                            "cannot start a thread: Resource temporarily unavailable".into(),
                        )),
                    })
                },
                Some(events),
            )
            .await;
        })
    });

    let mut stage = Stage::Running;
    let status = loop {
        let deadline = stage.deadline();
        tokio::select! {
            status = child.wait() => break Some(status),
            order = orders.recv(), if matches!(stage, Stage::Running) => match order {
                Some(Order::Line(line)) => {
                    if lines.as_ref().is_some_and(|l| l.try_send(line).is_err()) {
                        tracing::warn!(worker = id.name(), pid, "does not read its commands; replacing it");
                        signal(pid, Signal::KILL);
                        stage = Stage::Killed(Instant::now() + KILL_GRACE);
                    }
                }
                Some(Order::Stop(line)) => {
                    if let Some(lines) = lines.take() {
                        let _ = lines.try_send(line);
                    }
                    stage = Stage::Asked(Instant::now() + STOP_GRACE);
                }
                Some(Order::Kill) => {
                    signal(pid, Signal::KILL);
                    stage = Stage::Killed(Instant::now() + KILL_GRACE);
                }
                None => {
                    lines = None;
                    stage = Stage::Asked(Instant::now() + STOP_GRACE);
                }
            },
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => match stage {
                Stage::Asked(_) => {
                    tracing::debug!(worker = id.name(), pid, "did not stop when asked; sending SIGTERM");
                    signal(pid, Signal::TERM);
                    stage = Stage::Terminated(Instant::now() + TERM_GRACE);
                }
                Stage::Terminated(_) => {
                    tracing::warn!(worker = id.name(), pid, "did not stop on SIGTERM; sending SIGKILL");
                    signal(pid, Signal::KILL);
                    stage = Stage::Killed(Instant::now() + KILL_GRACE);
                }
                Stage::Killed(_) | Stage::Running => break None,
            },
        }
    };
    let Some(status) = status else {
        let why = match process_state(pid) {
            Some('D') => {
                "it is in uninterruptible sleep in the kernel (a driver or a network file system hangs)"
            }
            _ => "it did not end on SIGKILL",
        };
        tell(Notice::Stuck(format!("{} worker: {why}", id.name()))).await;
        let status = child.wait().await;
        tracing::info!(worker = id.name(), pid, ?status, "the stuck worker is gone");
        return;
    };
    // What it said last (a fault, most likely) has to arrive before the news of its end. A grandchild could keep a
    // pipe open, so the wait is bounded.
    for said in [reports, complaints].into_iter().flatten() {
        let _ = tokio::time::timeout(Duration::from_millis(500), said).await;
    }
    let by_us = matches!(stage, Stage::Killed(_));
    let notice = match status {
        Ok(status) if is_killed(status) && !by_us => Notice::Killed(describe(status)),
        Ok(status) => Notice::Exited(describe(status)),
        Err(error) => Notice::Exited(format!("cannot be waited for: {error}")),
    };
    tell(notice).await;
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Running,
    Asked(Instant),
    Terminated(Instant),
    Killed(Instant),
}

impl Stage {
    fn deadline(self) -> Option<Instant> {
        match self {
            Stage::Running => None,
            Stage::Asked(at) | Stage::Terminated(at) | Stage::Killed(at) => Some(at),
        }
    }
}

fn is_killed(status: std::process::ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(Signal::KILL.as_raw())
}

/// How a process ended, in words.
fn describe(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(0), _) => "the worker exited".into(),
        (Some(code), _) => format!("the worker exited with code {code}"),
        (None, Some(signal)) => {
            let name = match signal {
                4 => " (illegal instruction)",
                6 => " (abort)",
                7 => " (bus error)",
                9 => " (killed)",
                11 => " (segmentation fault)",
                15 => " (terminated)",
                _ => "",
            };
            format!("the worker died of signal {signal}{name}")
        }
        (None, None) => "the worker is gone".into(),
    }
}

/// The letter the kernel shows for a process: R, S, D, Z ...
pub fn process_state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything, so look behind its end.
    stat.rsplit_once(") ")?.1.chars().next()
}

async fn write_lines(stdin: Option<tokio::process::ChildStdin>, mut lines: mpsc::Receiver<String>) {
    let Some(mut stdin) = stdin else { return };
    while let Some(mut line) = lines.recv().await {
        line.push('\n');
        if stdin.write_all(line.as_bytes()).await.is_err() {
            return; // The worker is gone; whoever waits for it knows.
        }
    }
}

/// Calls `take` with every line until the end of the stream and sends what it makes of it.
async fn read_lines<T>(
    stream: impl AsyncRead + Unpin,
    mut take: impl FnMut(&str) -> Option<T>,
    events: Option<mpsc::Sender<T>>,
) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader)
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)
            .await
        {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if text.is_empty() {
            continue;
        }
        if let (Some(made), Some(events)) = (take(text), &events)
            && events.send(made).await.is_err()
        {
            return;
        }
    }
}

/// Passes on what libraries write to standard error, but never a flood of it.
struct LineLimit {
    window: std::time::Instant,
    count: u32,
}

impl LineLimit {
    /// Lines let through in each window.
    const LINES: u32 = 10;
    const WINDOW: Duration = Duration::from_secs(10);

    fn new() -> Self {
        Self {
            window: std::time::Instant::now(),
            count: 0,
        }
    }

    fn log(&mut self, worker: &str, line: &str) {
        if self.window.elapsed() >= Self::WINDOW {
            if self.count > Self::LINES {
                let hidden = self.count - Self::LINES;
                tracing::warn!(worker, "{hidden} more lines on standard error");
            }
            *self = Self::new();
        }
        self.count += 1;
        if self.count <= Self::LINES {
            tracing::warn!(worker, "{}", hide(&without_colours(line)));
        }
    }
}

/// A line without the codes that colour it on a terminal: libcamera writes them whatever it writes to.
fn without_colours(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // Numbers, then the one letter that says what they are for.
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        let mut rest = rest.chars();
        rest.next();
        out.push_str(rest.as_str());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_process_is_told_in_words() {
        use std::os::unix::process::ExitStatusExt;
        use std::process::ExitStatus;
        assert_eq!(
            describe(ExitStatus::from_raw(9)),
            "the worker died of signal 9 (killed)"
        );
        assert_eq!(
            describe(ExitStatus::from_raw(3 << 8)),
            "the worker exited with code 3"
        );
    }

    #[test]
    fn variables_of_the_configuration_are_secrets_unless_workers_need_them() {
        let text = "password: \"${CAM_PW}\"\nurl: rtsp://${USER}:${PW2}@h\nmodel: ${HOME}/m.onnx\n# ${GST_DEBUG} ${} ${x";
        assert_eq!(secrets(text), ["CAM_PW", "PW2"]);
    }

    #[test]
    fn the_state_of_a_process_is_read_behind_its_name() {
        assert!(matches!(process_state(std::process::id()), Some('R' | 'S')));
        assert_eq!(process_state(u32::MAX), None);
    }

    #[test]
    fn lines_of_libraries_lose_their_colours() {
        for (line, plain) in [
            (
                "[1:2.3] [7] \x1b[1;33m WARN \x1b[1;37mIPAManager \x1b[0mNo IPA found",
                "[1:2.3] [7]  WARN IPAManager No IPA found",
            ),
            ("\x1b[0mä\x1b[\x1b[1;", "ä"),
            ("plain", "plain"),
        ] {
            assert_eq!(without_colours(line), plain);
        }
    }

    #[tokio::test]
    async fn an_endless_line_does_not_take_all_memory() {
        let text = vec![b'x'; 3 * MAX_LINE as usize];
        let mut lengths = Vec::new();
        read_lines::<()>(
            &text[..],
            |line| {
                lengths.push(line.len());
                None
            },
            None,
        )
        .await;
        assert_eq!(lengths, vec![MAX_LINE as usize; 3]);
    }
}
