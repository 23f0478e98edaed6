//! The status of cameras and workers, and the measurement of processes.

pub(super) use watchpost_api::{
    AnalysisPhase, AnalysisState, CameraStatus, ProcessStatus, RingStatus, Status,
};

/// Adds what each process uses. Takes a millisecond for each.
pub fn measure_processes(status: &mut Status) {
    status.processes.iter_mut().for_each(measure);
}

/// Adds what the process uses now. One that has ended meanwhile uses nothing.
fn measure(process: &mut ProcessStatus) {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", process.pid));
    let (stat, memory) = (read("stat"), read("smaps_rollup"));
    let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
    process.cpu_seconds =
        stat.ok().and_then(|s| cpu_ticks(&s)).unwrap_or(0) as f64 / ticks_per_second;
    let memory = memory.unwrap_or_default();
    process.resident_bytes = kib(&memory, "Rss:") * 1024;
    process.unshared_bytes =
        (kib(&memory, "Private_Clean:") + kib(&memory, "Private_Dirty:")) * 1024;
}

/// User and system time of a /proc/PID/stat.
fn cpu_ticks(stat: &str) -> Option<u64> {
    // The name, in parentheses, may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    Some(user + fields.next()?.parse::<u64>().ok()?)
}

/// A figure of a smaps_rollup.
fn kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_measured() {
        let mut process = ProcessStatus::named("test".into(), std::process::id());
        measure(&mut process);
        assert!(process.resident_bytes > 100_000);
        assert!(
            process.unshared_bytes > 10_000 && process.unshared_bytes <= process.resident_bytes
        );
        let stat = "12 (a ) b) S 1 1 1 0 -1 4194560 1 2 3 4 50 7 0 0 20 0 1 0";
        assert_eq!(cpu_ticks(stat), Some(57));
    }

    #[test]
    fn a_process_that_is_gone_uses_nothing() {
        let mut process = ProcessStatus::named("gone".into(), u32::MAX);
        measure(&mut process);
        assert_eq!(process, ProcessStatus::named("gone".into(), u32::MAX));
    }
}
