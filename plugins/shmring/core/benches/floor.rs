//! The ring beside the floor there is: the same arguments and the same lines as a bare memfd-and-futex ring would print.
//!
//! `cargo bench -p shmring-core --bench floor -- <readers> <frames> <fps, 0 = flat out> <none|full> [bytes] [slots]`
//!
//! `full`: the writer copies a frame in, readers add it up; `none`: one byte of it.

use shmring_core::{
    Event, FrameHeader, Policy, Purpose, Reader, ReaderOptions, Writer, WriterConfig, monotonic_ns,
};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn read(path: &str, frames: usize, full: bool) {
    let options = ReaderOptions {
        leases: 3,
        policy: Policy::EveryFrame { max_lag: 8 },
        ..Default::default()
    };
    let mut reader = Reader::connect(path, options).expect("reader");
    let mut latencies = Vec::with_capacity(frames);
    let mut sum = 0_u64;
    let (before, start) = (cpu_seconds(), Instant::now());
    while let Ok(event) = reader.next(None) {
        match event {
            Event::Frame(frame) => {
                latencies.push(monotonic_ns() - frame.published_ns());
                let bytes = frame.bytes();
                let bytes = if full { bytes } else { &bytes[..8] };
                for word in bytes.chunks_exact(8) {
                    let word = word.try_into().expect("eight bytes");
                    sum = sum.wrapping_add(u64::from_ne_bytes(word));
                }
            }
            Event::Eos => break,
            _ => {}
        }
    }
    std::hint::black_box(sum);
    let cpu = cpu_seconds() - before;
    latencies.sort_unstable();
    let got = latencies.len();
    let at = |part: f64| latencies[((got - 1) as f64 * part) as usize] as f64 / 1e3;
    println!(
        "reader: frames {got} of {frames}, skipped {}, {:.1} fps, cpu {:.4} s/1000, latency us p50 {:.1} p90 {:.1} p99 {:.1} max {:.1}",
        reader.stats().skipped,
        got as f64 / start.elapsed().as_secs_f64(),
        cpu / got as f64 * 1000.0,
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0),
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let argument = |at: usize, or: &str| arguments.get(at).map_or(or, String::as_str).to_owned();
    let number = |at: usize, or: &str| argument(at, or).parse::<f64>().expect("a number");
    let (readers, frames, fps) = (
        number(0, "1") as usize,
        number(1, "300") as usize,
        number(2, "60"),
    );
    let full = argument(3, "full") == "full";
    let bytes = number(4, "3110400") as usize;
    let slots = number(5, "16") as u32;
    if let Ok(path) = std::env::var("SHMRING_FLOOR") {
        return read(&path, frames, full);
    }
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("ring");
    let config = WriterConfig {
        slots,
        max_lease: 3,
        ..WriterConfig::new(&path, bytes as u64)
    };
    let writer = Writer::create(config).expect("writer");
    let children: Vec<_> = (0..readers)
        .map(|_| {
            Command::new(std::env::current_exe().expect("own path"))
                .args(&arguments)
                .env("SHMRING_FLOOR", &path)
                .stdout(Stdio::inherit())
                .spawn()
                .expect("reader process")
        })
        .collect();
    while writer.stats().readers.len() < readers {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(50));
    let source = vec![3_u8; bytes * 4];
    let (before, start) = (cpu_seconds(), Instant::now());
    for frame in 0..frames {
        if fps > 0.0 {
            let due = start + Duration::from_secs_f64(frame as f64 / fps);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let mut slot = writer.acquire(Purpose::Pool).expect("slot");
        if full {
            let from = frame % 4 * bytes;
            slot.bytes_mut()
                .copy_from_slice(&source[from..from + bytes]);
        } else {
            slot.bytes_mut()[0] = frame as u8;
        }
        let header = FrameHeader::default();
        writer
            .publish(slot.id(), 0..bytes, &header, &[])
            .expect("published");
    }
    let (cpu, time) = (cpu_seconds() - before, start.elapsed().as_secs_f64());
    println!(
        "writer: {frames} frames, {:.1} fps, cpu {:.4} s/1000, wakes {}",
        frames as f64 / time,
        cpu / frames as f64 * 1000.0,
        writer.stats().wakes
    );
    writer.publish_eos();
    for mut child in children {
        child.wait().expect("reader");
    }
}
