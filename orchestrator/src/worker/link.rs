//! A worker's end of the pipes: lines come in through a thread, reports go out one line each, several in one piece where they
//! are made together.

use crate::protocol::{Level, LogLine, Report};
use anyhow::{Context, Result};
use std::io::{BufRead, Write};
use std::marker::PhantomData;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use watchpost_pipelines::secret::hide;

/// Inputs waiting for the worker's loop.
const INPUTS: usize = 64;
/// From the end of the input to giving up on an orderly end: whatever hangs, the process goes.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// What wakes a worker's loop.
#[derive(Debug)]
pub enum Input {
    /// A line from the supervisor.
    Line(String),
    /// Something happened in a pipeline: a message waits on a bus, or a frame was analysed.
    Wake,
    /// The supervisor is gone, or has said all.
    End,
}

/// Wakes the loop from any thread, without ever waiting.
#[derive(Debug, Clone)]
pub struct Waker(SyncSender<Input>);

impl Waker {
    /// For the loop that takes these inputs.
    pub fn to(inputs: SyncSender<Input>) -> Self {
        Self(inputs)
    }

    /// A full queue is fine: then the loop is about to look anyway.
    pub fn wake(&self) {
        let _ = self.0.try_send(Input::Wake);
    }
}

/// Starts logging, by this kind of reports, and reading; answers with the loop's inputs.
pub fn start<R: Report>() -> Result<(Receiver<Input>, Waker)> {
    let filter =
        EnvFilter::try_from_env("WATCHPOST_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_level(false)
        .with_ansi(false)
        .without_time()
        .with_writer(LogReports::<R>(PhantomData))
        .init();
    let (sender, inputs) = sync_channel(INPUTS);
    let waker = Waker::to(sender.clone());
    std::thread::Builder::new()
        .name("input".into())
        .spawn(move || read(&sender))
        .context("cannot start a thread")?;
    Ok((inputs, waker))
}

fn read(inputs: &SyncSender<Input>) {
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        if inputs.send(Input::Line(line)).is_err() {
            return;
        }
    }
    // A loop that hangs takes no input, and shall not keep this thread from ending the process.
    let _ = inputs.try_send(Input::End);
    std::thread::sleep(LAST_GRACE);
    std::process::exit(1);
}

/// What is on its way to the supervisor.
static OUT: Mutex<Out> = Mutex::new(Out {
    lines: Vec::new(),
    held: false,
});

struct Out {
    lines: Vec<u8>,
    held: bool,
}

impl Out {
    fn lock() -> MutexGuard<'static, Self> {
        OUT.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&mut self, report: &impl Report, urgent: bool) {
        serde_json::to_writer(&mut self.lines, report)
            .expect("the protocol's types have string keys only");
        self.lines.push(b'\n');
        if urgent || !self.held {
            self.send();
        }
    }

    /// Without a supervisor there is nobody to work for.
    fn send(&mut self) {
        let mut out = std::io::stdout().lock();
        let sent = out.write_all(&self.lines).and_then(|()| out.flush());
        if sent.is_err() {
            std::process::exit(1);
        }
        self.lines.clear();
    }
}

/// Sends a report.
pub fn report(report: &impl Report) {
    Out::lock().add(report, false);
}

/// While it lives reports wait, and then go out in one piece: each piece wakes the supervisor.
pub struct Together(());

impl Together {
    /// From now on.
    pub fn begin() -> Self {
        Out::lock().held = true;
        Self(())
    }
}

impl Drop for Together {
    fn drop(&mut self) {
        let mut out = Out::lock();
        out.held = false;
        if !out.lines.is_empty() {
            out.send();
        }
    }
}

/// Log lines as reports, so that the supervisor knows how loud they are.
struct LogReports<R>(PhantomData<fn() -> R>);

impl<'a, R: Report> MakeWriter<'a> for LogReports<R> {
    type Writer = LogReport<R>;

    fn make_writer(&'a self) -> LogReport<R> {
        LogReport(Level::Info, PhantomData)
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> LogReport<R> {
        let level = match *meta.level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            _ => Level::Debug,
        };
        LogReport(level, PhantomData)
    }
}

struct LogReport<R>(Level, PhantomData<fn() -> R>);

impl<R: Report> Write for LogReport<R> {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        let message = String::from_utf8_lossy(text);
        let line = LogLine {
            level: self.0,
            message: hide(message.trim()),
        };
        // A log line does not wait for the other reports: what collects them may hang.
        Out::lock().add(&R::log(line), true);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
