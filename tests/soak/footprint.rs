//! What a running watchpost uses, as the kernel tells it.

use crate::MEMORY_KIB;
use crate::support::{Watchpost, children};
use std::collections::BTreeSet;
use std::fmt;

/// A figure and how much of it is too much.
pub struct What {
    pub name: String,
    memory: bool,
    /// Compared with the middle of the run: the process is no older.
    pub since_middle: bool,
}

impl What {
    /// How much more than before is allowed.
    pub fn allowed(&self, before: u64) -> u64 {
        if self.memory {
            MEMORY_KIB.max(before / 20)
        } else {
            0
        }
    }
}

/// A measured value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level(pub u64);

/// One process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Process {
    descriptors: u64,
    /// Descriptors and mappings of memfds and of /dev/shm.
    shared_memory: u64,
    threads: u64,
    resident_kib: u64,
}

impl Process {
    fn of(pid: u32) -> Self {
        let read =
            |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let links: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
            .map(|fds| {
                let link = |fd: std::fs::DirEntry| std::fs::read_link(fd.path()).ok();
                let links = fds.flatten().filter_map(link);
                links
                    .map(|link| link.to_string_lossy().into_owned())
                    .collect()
            })
            .unwrap_or_default();
        let is_shared = |text: &str| text.contains("/memfd:") || text.contains("/dev/shm/");
        let status = read("status");
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
                .unwrap_or(0)
        };
        let shared = links.iter().filter(|link| is_shared(link)).count();
        let mapped = read("maps").lines().filter(|line| is_shared(line)).count();
        Self {
            descriptors: links.len() as u64,
            shared_memory: (shared + mapped) as u64,
            threads: number("Threads:"),
            resident_kib: number("VmRSS:"),
        }
    }
}

/// Everything of one moment.
#[derive(Debug, Clone)]
pub struct Footprint {
    supervisor: Process,
    analysis: Process,
    still: Process,
    processes: u64,
    sockets: u64,
    log_bytes: u64,
    /// What must not be, whatever was before.
    pub wrong: Vec<String>,
}

impl Footprint {
    pub fn of(watchpost: &Watchpost, still: &str) -> Self {
        let cameras = watchpost.get("/api/cameras");
        let cameras = cameras.as_array().expect("a list");
        let names: BTreeSet<&str> = cameras.iter().filter_map(|c| c["name"].as_str()).collect();
        let pids: BTreeSet<u64> = cameras
            .iter()
            .flat_map(|c| [&c["capture_pid"], &c["analysis_pid"]])
            .filter_map(|pid| pid.as_u64())
            .collect();
        let of_still = cameras
            .iter()
            .find(|c| c["name"] == still)
            .expect("the untouched camera");
        let pid = |which: &str| of_still[which].as_u64().unwrap_or(0) as u32;
        let processes = children(watchpost.pid());

        let mut wrong = Vec::new();
        for process in &processes {
            if !pids.contains(&u64::from(*process)) {
                wrong.push(format!("process {process} belongs to no camera"));
            }
        }
        let folders = std::fs::read_dir(watchpost.run_dir())
            .expect("run_dir")
            .flatten();
        let folders = folders.filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir()));
        let folders: Vec<String> = folders
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        for folder in &folders {
            if !names.contains(folder.as_str()) {
                wrong.push(format!("the run_dir has a folder {folder} of no camera"));
            }
        }
        let (_, metrics) = watchpost.request("GET", "/metrics", "", "");
        for line in metrics.lines() {
            let label = line
                .split_once("camera=\"")
                .and_then(|(_, rest)| rest.split_once('"'));
            if let Some((name, _)) = label
                && !names.contains(name)
            {
                wrong.push(format!("a metric of no camera: {line}"));
            }
        }
        Self {
            supervisor: Process::of(watchpost.pid()),
            analysis: Process::of(pid("analysis_pid")),
            still: Process::of(pid("capture_pid")),
            processes: processes.len() as u64,
            sockets: folders.len() as u64,
            log_bytes: watchpost.log().len() as u64,
            wrong,
        }
    }

    /// Each figure with what it was and what it is. The analysis worker is compared with the middle of the run.
    pub fn compared(&self, warm: &Self, middle: &Self) -> Vec<(What, Level, Level)> {
        let mut all = Vec::new();
        let parts = [
            ("supervisor", &warm.supervisor, &self.supervisor, false),
            ("analysis worker", &middle.analysis, &self.analysis, true),
            ("untouched capture worker", &warm.still, &self.still, false),
        ];
        for (who, before, after, since_middle) in parts {
            let mut add = |what: &str, memory, of: fn(&Process) -> u64| {
                let name = format!("{who}: {what}");
                let what = What {
                    name,
                    memory,
                    since_middle,
                };
                all.push((what, Level(of(before)), Level(of(after))));
            };
            add("descriptors", false, |p| p.descriptors);
            add("threads", false, |p| p.threads);
            add("shared memory", false, |p| p.shared_memory);
            add("resident KiB", true, |p| p.resident_kib);
        }
        let mut count = |name: &str, before, after| {
            let what = What {
                name: name.into(),
                memory: false,
                since_middle: false,
            };
            all.push((what, Level(before), Level(after)));
        };
        count("processes", warm.processes, self.processes);
        count("sockets", warm.sockets, self.sockets);
        all
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (s, a) = (&self.supervisor, &self.analysis);
        write!(
            f,
            "supervisor {} KiB, {} descriptors, {} threads, {} shared; analysis {} KiB, {} descriptors, {} threads, {} shared; {} processes, log {} KiB",
            s.resident_kib,
            s.descriptors,
            s.threads,
            s.shared_memory,
            a.resident_kib,
            a.descriptors,
            a.threads,
            a.shared_memory,
            self.processes,
            self.log_bytes / 1024,
        )
    }
}
