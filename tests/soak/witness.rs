//! Those who watch the camera that is never touched: a reader of its ring, and somebody who asks what its analysis does.

use crate::support::Watchpost;
use shmring_core::{Event, Policy, Reader, ReaderOptions, WaitError};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Frames the reader may be behind: it has to get by with what this machine leaves it.
const LAG: u64 = 24;

/// What a reader of all frames has seen.
pub struct Frames {
    reader: Reader,
    seen: Seen,
}

/// The frames of one ring by their numbers.
#[derive(Debug, Default)]
pub struct Seen {
    read: u64,
    lost: u64,
    /// Ends of the writer, new generations, anything but frames.
    interruptions: Vec<String>,
    longest_wait: Duration,
}

impl Frames {
    pub fn connect(socket: &Path) -> Self {
        let options = ReaderOptions {
            policy: Policy::EveryFrame { max_lag: LAG },
            ..ReaderOptions::default()
        };
        let reader = Reader::connect(socket, options).expect("connect to the ring");
        Self {
            reader,
            seen: Seen::default(),
        }
    }

    pub fn read(self, stop: &AtomicBool) -> Seen {
        let Self {
            mut reader,
            mut seen,
        } = self;
        let mut last: Option<u64> = None;
        let mut at = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            match reader.next(Some(Duration::from_millis(500))) {
                Ok(Event::Frame(frame)) => {
                    seen.lost += last.map_or(0, |last| frame.number() - last - 1);
                    last = Some(frame.number());
                    seen.read += 1;
                    seen.longest_wait = seen.longest_wait.max(at.elapsed());
                    at = Instant::now();
                }
                Ok(Event::Stream { .. }) | Err(WaitError::Timeout) => {}
                Ok(other) => {
                    seen.interruptions.push(format!("{other:?}"));
                    if let Event::WriterGone = other {
                        break;
                    }
                }
                Err(error) => {
                    seen.interruptions.push(error.to_string());
                    break;
                }
            }
        }
        seen
    }
}

impl Seen {
    pub fn judge(&self, report: &mut String) -> Vec<String> {
        let _ = writeln!(
            report,
            "untouched camera, ring: {} frames read, {} lost, longest wait {:.2} s",
            self.read,
            self.lost,
            self.longest_wait.as_secs_f64(),
        );
        let mut wrong = Vec::new();
        if self.read < 10 {
            wrong.push(format!(
                "the untouched camera's reader saw only {} frames",
                self.read
            ));
        }
        if self.lost > 0 {
            wrong.push(format!(
                "the untouched camera's reader lost {} frames",
                self.lost
            ));
        }
        if !self.interruptions.is_empty() {
            wrong.push(format!(
                "the untouched camera's ring: {:?}",
                self.interruptions
            ));
        }
        wrong
    }
}

/// What the API said about the untouched camera.
#[derive(Debug, Default)]
pub struct Analysed {
    captures: BTreeSet<u64>,
    analyses: BTreeSet<u64>,
    generations: BTreeSet<u64>,
    not_streaming: BTreeSet<String>,
    dropped: u64,
    reconnects: u64,
    /// From one analysed frame to the next, the longest within one worker's life and the longest over the death of one.
    longest_gap: Duration,
    longest_restart: Duration,
    frames: u64,
    watched: Duration,
}

impl Analysed {
    pub fn watch(watchpost: &Watchpost, name: &str, stop: &AtomicBool) -> Self {
        let mut seen = Self::default();
        let began = Instant::now();
        let mut last: Option<(f64, Instant)> = None;
        let mut restarted = false;
        while !stop.load(Ordering::Relaxed) {
            let camera = watchpost.camera(name);
            seen.captures.extend(camera["capture_pid"].as_u64());
            if let Some(pid) = camera["analysis_pid"].as_u64() {
                restarted |= seen.analyses.insert(pid) && last.is_some();
            }
            seen.generations
                .extend(camera["ring"]["generation"].as_u64());
            if camera["state"] != "streaming" {
                seen.not_streaming
                    .insert(format!("{} {}", camera["state"], camera["reason"]));
            }
            let drops = camera["ring"]["dropped"].as_object();
            seen.dropped = drops.map_or(0, |d| d.values().filter_map(|v| v.as_u64()).sum());
            seen.reconnects = camera["reconnects_last_hour"].as_u64().unwrap_or(0)
                + camera["stalls_last_hour"].as_u64().unwrap_or(0);
            if let Some(frame) = camera["detection_frame"].as_f64()
                && last.is_none_or(|(before, _)| frame > before)
            {
                if let Some((_, at)) = last {
                    let longest = if restarted {
                        &mut seen.longest_restart
                    } else {
                        &mut seen.longest_gap
                    };
                    *longest = (*longest).max(at.elapsed());
                    restarted = false;
                }
                last = Some((frame, Instant::now()));
                seen.frames += 1;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        seen.watched = began.elapsed();
        seen
    }

    pub fn judge(&self, report: &mut String, kills: u32) -> Vec<String> {
        let _ = writeln!(
            report,
            "untouched camera, analysis: {} workers for {kills} kills, longest pause {:.2} s, over a kill {:.2} s",
            self.analyses.len(),
            self.longest_gap.as_secs_f64(),
            self.longest_restart.as_secs_f64(),
        );
        let mut wrong = Vec::new();
        let mut expect = |good: bool, text: String| {
            if !good {
                wrong.push(format!("untouched camera: {text}"));
            }
        };
        expect(
            self.captures.len() == 1,
            format!("capture workers {:?}", self.captures),
        );
        expect(
            self.generations.len() == 1,
            format!("generations {:?}", self.generations),
        );
        expect(
            self.not_streaming.is_empty(),
            format!("not streaming: {:?}", self.not_streaming),
        );
        expect(
            self.dropped == 0,
            format!("its ring dropped {} frames", self.dropped),
        );
        expect(
            self.reconnects == 0,
            format!("{} reconnects and stalls", self.reconnects),
        );
        expect(
            self.analyses.len() as u64 == u64::from(kills) + 1,
            format!(
                "{} analysis workers, {kills} were killed",
                self.analyses.len()
            ),
        );
        // A worker says once a second which frame it is at.
        let least = self.watched.as_secs() / 2;
        expect(
            self.frames >= least.max(1),
            format!(
                "only {} analysed frames were seen in {} s",
                self.frames,
                self.watched.as_secs()
            ),
        );
        wrong
    }
}
