//! Compares shmringsink/shmringsrc with shmsink/shmsrc (and unixfdsink/unixfdsrc where GStreamer has it), in one run and interleaved,
//! with real processes, and prints one table.
//!
//! ```text
//! cargo run --release -p gst-plugin-shmring --example ring_bench [-- --repeat 3 --frames 240]
//! ```
//!
//! Latency is from "frame ready in the writer's memory" to "frame readable in the reader". Both sides touch every pixel except where the
//! row says protocol only. The writer fills the memory its sink offers. CPU time is that of the whole process.
//!
//! Where GStreamer finds the plugin of `examples/c/ring-floor.c`, the table has rows for it as well: the least that a sink and a source
//! between two processes can be. Its frames lie in a file under `TMPDIR`, which should be in memory.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gst::prelude::*;
use gst_base::prelude::*;

fn now_ns() -> u64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

fn sleep_until(ns: u64) {
    while let Some(left) = ns.checked_sub(now_ns()).filter(|l| *l > 0) {
        std::thread::sleep(Duration::from_nanos(left));
    }
}

/// User and system time of this process in seconds.
fn cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let main: f64 = text
        .split(' ')
        .next()
        .and_then(|v| v.parse().ok())
        .unwrap_or(0.0);
    let tasks = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let all: f64 = tasks
        .filter_map(|t| std::fs::read_to_string(t.path().join("schedstat")).ok())
        .filter_map(|t| t.split(' ').next()?.parse::<f64>().ok())
        .sum();
    all.max(main) / 1e9
}

const MAGIC: u64 = 0x7374_616d_7021_2121;
const WARM_UP: u64 = 0;
const MEASURED: u64 = 1;
const LAST: u64 = 2;

/// Writes stamped frames into whatever memory downstream offers.
mod source {
    use super::*;
    use gst::subclass::prelude::*;
    use gst_base::subclass::base_src::CreateSuccess;
    use gst_base::subclass::prelude::*;

    glib::wrapper! {
        pub struct BenchSrc(ObjectSubclass<imp::BenchSrc>) @extends gst_base::PushSrc, gst_base::BaseSrc, gst::Element, gst::Object;
    }

    pub mod imp {
        use super::*;

        pub struct Job {
            pub width: i32,
            pub height: i32,
            pub fps: f64,
            pub frames: u64,
            pub full: bool,
            pub pictures: Vec<Vec<u8>>,
        }

        #[derive(Default)]
        pub struct Progress {
            pub seq: u64,
            pub tail: u64,
            pub next: u64,
            pub cpu: (f64, f64),
            pub times: (u64, u64),
        }

        #[derive(Default)]
        pub struct BenchSrc {
            pub job: std::sync::OnceLock<Job>,
            pub progress: Mutex<Progress>,
            pub go: AtomicBool,
        }

        #[glib::object_subclass]
        impl ObjectSubclass for BenchSrc {
            const NAME: &'static str = "ShmRingBenchSrc";
            type Type = super::BenchSrc;
            type ParentType = gst_base::PushSrc;
        }
        impl ObjectImpl for BenchSrc {}
        impl GstObjectImpl for BenchSrc {}
        impl ElementImpl for BenchSrc {
            fn pad_templates() -> &'static [gst::PadTemplate] {
                static T: std::sync::LazyLock<Vec<gst::PadTemplate>> =
                    std::sync::LazyLock::new(|| {
                        let caps = gst::Caps::new_empty_simple("video/x-raw");
                        vec![
                            gst::PadTemplate::new(
                                "src",
                                gst::PadDirection::Src,
                                gst::PadPresence::Always,
                                &caps,
                            )
                            .unwrap(),
                        ]
                    });
                &T
            }
        }
        impl BaseSrcImpl for BenchSrc {
            fn caps(&self, _filter: Option<&gst::Caps>) -> Option<gst::Caps> {
                let job = self.job.get()?;
                Some(
                    gst::Caps::builder("video/x-raw")
                        .field("format", "I420")
                        .field("width", job.width)
                        .field("height", job.height)
                        .field("framerate", gst::Fraction::new(30, 1))
                        .build(),
                )
            }
            fn is_seekable(&self) -> bool {
                false
            }
            /// Where downstream offers an allocator only, a pool that uses it.
            fn decide_allocation(
                &self,
                query: &mut gst::query::Allocation,
            ) -> Result<(), gst::LoggableError> {
                if query.allocation_pools().next().is_none() {
                    let (caps, _) = query.get_owned();
                    let size = self.obj().blocksize();
                    let allocator = query.allocation_params().next().and_then(|(a, _)| a);
                    let pool = gst::BufferPool::new();
                    let mut config = pool.config();
                    // Bounded: shmsink waits for ever when all of its memory is handed out.
                    config.set_params(caps.as_ref(), size, 0, 16);
                    config.set_allocator(allocator.as_ref(), None);
                    pool.set_config(config)?;
                    query.add_allocation_pool(Some(&pool), size, 0, 16);
                }
                self.parent_decide_allocation(query)
            }
        }
        impl PushSrcImpl for BenchSrc {
            /// From the pool that was agreed on: downstream's, or one of our own with downstream's allocator.
            fn create(
                &self,
                _: Option<&mut gst::BufferRef>,
            ) -> Result<CreateSuccess, gst::FlowError> {
                let pool = self
                    .obj()
                    .buffer_pool()
                    .ok_or(gst::FlowError::NotNegotiated)?;
                let mut buffer = pool.acquire_buffer(None)?;
                self.write(buffer.make_mut())?;
                Ok(CreateSuccess::NewBuffer(buffer))
            }
        }
        impl BenchSrc {
            fn write(
                &self,
                buffer: &mut gst::BufferRef,
            ) -> Result<gst::FlowSuccess, gst::FlowError> {
                let job = self.job.get().ok_or(gst::FlowError::Error)?;
                let mut p = self.progress.lock().unwrap();
                let t = now_ns();
                let mut kind = MEASURED;
                if !self.go.load(Ordering::Relaxed) {
                    sleep_until(t + 20_000_000);
                    kind = WARM_UP;
                } else if p.seq < job.frames {
                    if p.seq == 0 {
                        p.next = t;
                        p.times.0 = t;
                        p.cpu.0 = cpu_s();
                    }
                    if job.fps > 0.0 {
                        sleep_until(p.next);
                        p.next += (1e9 / job.fps) as u64;
                    }
                    p.seq += 1;
                } else {
                    if p.tail == 0 {
                        p.times.1 = t;
                        p.cpu.1 = cpu_s();
                    }
                    p.tail += 1;
                    if p.tail > 5 {
                        return Err(gst::FlowError::Eos);
                    }
                    sleep_until(t + 20_000_000);
                    kind = LAST;
                }
                if let Some(t) = self.obj().current_running_time() {
                    buffer.set_pts(t);
                }
                let picture = &job.pictures[p.seq as usize % job.pictures.len()];
                let mut map = buffer.map_writable().map_err(|_| gst::FlowError::Error)?;
                if job.full {
                    map[..picture.len()].copy_from_slice(picture);
                }
                for (to, word) in map.chunks_exact_mut(8).zip([MAGIC, kind, p.seq, now_ns()]) {
                    to.copy_from_slice(&word.to_le_bytes());
                }
                Ok(gst::FlowSuccess::Ok)
            }
        }
    }
}

struct Args(Vec<String>);

impl Args {
    fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|a| a == name)?;
        self.0.get(at + 1).map(String::as_str)
    }
    fn number(&self, name: &str, default: f64) -> f64 {
        self.get(name)
            .and_then(|v| v.parse().ok())
            .unwrap_or(default)
    }
}

fn write(args: &Args) -> anyhow_lite::Result {
    let (width, height) = (
        args.number("--width", 0.0) as i32,
        args.number("--height", 0.0) as i32,
    );
    let size = (width * height * 3 / 2) as usize;
    let src: source::BenchSrc = glib::Object::builder().build();
    src.set_live(true);
    src.set_format(gst::Format::Time);
    src.set_blocksize(size as u32);
    let imp = gst::subclass::prelude::ObjectSubclassIsExt::imp(&src);
    let pictures = (0..4u8)
        .map(|n| {
            (0..size)
                .map(|i| (i as u8).wrapping_mul(7).wrapping_add(n))
                .collect()
        })
        .collect();
    let _ = imp.job.set(source::imp::Job {
        width,
        height,
        fps: args.number("--fps", 60.0),
        frames: args.number("--frames", 240.0) as u64,
        full: args.number("--full", 1.0) > 0.0,
        pictures,
    });
    let sink = gst::parse::bin_from_description(args.get("--launch").unwrap_or_default(), true)?;
    let pipeline = gst::Pipeline::new();
    pipeline.add_many([src.upcast_ref::<gst::Element>(), sink.upcast_ref()])?;
    src.link(&sink)?;
    pipeline.set_state(gst::State::Playing)?;
    println!("UP");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    imp.go.store(true, Ordering::Relaxed);
    let bus = pipeline.bus().ok_or("no bus")?;
    let message = bus.timed_pop_filtered(
        gst::ClockTime::from_seconds(60),
        &[gst::MessageType::Eos, gst::MessageType::Error],
    );
    let p = imp.progress.lock().unwrap();
    if p.tail == 0 {
        return Err(format!("only {} frames went through in 60 s", p.seq).into());
    }
    let seconds = (p.times.1.saturating_sub(p.times.0)) as f64 / 1e9;
    println!(
        "RESULT {} {} {}",
        p.seq as f64 / seconds,
        (p.cpu.1 - p.cpu.0) / p.seq.max(1) as f64 * 1000.0,
        p.seq
    );
    drop(p);
    if let Some(gst::MessageView::Error(e)) = message.as_ref().map(|m| m.view()) {
        eprintln!("writer: {}", e.error());
    }
    pipeline.set_state(gst::State::Null)?;
    Ok(())
}

#[derive(Default)]
struct Seen {
    latencies: Vec<u64>,
    first: u64,
    last: u64,
    max_gap: u64,
    cpu: (f64, f64),
}

fn read(args: &Args) -> anyhow_lite::Result {
    let full = args.number("--full", 1.0) > 0.0;
    let launch = format!(
        "{} ! fakesink name=out sync=false async=false enable-last-sample=false",
        args.get("--launch").unwrap_or_default()
    );
    let pipeline = gst::parse::launch(&launch)?
        .downcast::<gst::Pipeline>()
        .map_err(|_| "not a pipeline")?;
    let pad = pipeline
        .by_name("out")
        .and_then(|e| e.static_pad("sink"))
        .ok_or("no sink")?;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let done = Arc::new(AtomicBool::new(false));
    let (to, end, ready) = (seen.clone(), done.clone(), AtomicBool::new(false));
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(map) = info.buffer().and_then(|b| b.map_readable().ok()) else {
            return gst::PadProbeReturn::Ok;
        };
        let word =
            |n: usize| u64::from_le_bytes(map[n * 8..n * 8 + 8].try_into().expect("eight bytes"));
        let (magic, kind, stamp, now) = (word(0), word(1), word(3), now_ns());
        if magic != MAGIC {
            return gst::PadProbeReturn::Ok;
        }
        if full {
            std::hint::black_box(map.chunks_exact(8).fold(0u64, |s, c| {
                s.wrapping_add(u64::from_le_bytes(c.try_into().expect("eight bytes")))
            }));
        }
        if !ready.swap(true, Ordering::Relaxed) {
            println!("READY");
        }
        let mut s = to.lock().unwrap();
        match kind {
            MEASURED => {
                if s.latencies.is_empty() {
                    s.first = now;
                    s.cpu.0 = cpu_s();
                } else {
                    s.max_gap = s.max_gap.max(now - s.last);
                }
                s.last = now;
                s.latencies.push(now.saturating_sub(stamp));
            }
            LAST if !end.swap(true, Ordering::Relaxed) => s.cpu.1 = cpu_s(),
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
    pipeline.set_state(gst::State::Playing)?;
    let limit = std::time::Instant::now() + Duration::from_secs(60);
    while !done.load(Ordering::Relaxed) && std::time::Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut s = seen.lock().unwrap();
    let n = s.latencies.len().max(1);
    s.latencies.sort_unstable();
    let at = |q: f64| {
        s.latencies
            .get(((n - 1) as f64 * q) as usize)
            .copied()
            .unwrap_or(0) as f64
            / 1e3
    };
    let fps = (n - 1) as f64 / ((s.last - s.first).max(1) as f64 / 1e9);
    println!(
        "RESULT {} {} {} {} {} {}",
        at(0.5),
        at(0.9),
        (s.cpu.1 - s.cpu.0) / n as f64 * 1000.0,
        fps,
        s.latencies.len(),
        s.max_gap as f64 / 1e6
    );
    drop(s);
    pipeline.set_state(gst::State::Null)?;
    Ok(())
}

/// A child of this program and the lines it prints.
struct Half(Child, BufReader<std::process::ChildStdout>);

impl Half {
    fn start(role: &str, launch: &str, case: &Case, frames: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("own path"))
            .args([role, "--launch", launch])
            .args([
                "--width",
                &case.size.0.to_string(),
                "--height",
                &case.size.1.to_string(),
            ])
            .args([
                "--fps",
                &case.fps.to_string(),
                "--frames",
                &frames.to_string(),
            ])
            .args(["--full", if case.full { "1" } else { "0" }])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        Self(child, out)
    }

    /// Numbers after the word, or nothing if the child ends without it.
    fn wait_for(&mut self, word: &str) -> Option<Vec<f64>> {
        let mut line = String::new();
        while self.1.read_line(&mut line).is_ok_and(|n| n > 0) {
            if let Some(rest) = line.strip_prefix(word) {
                return Some(
                    rest.split_whitespace()
                        .filter_map(|n| n.parse().ok())
                        .collect(),
                );
            }
            line.clear();
        }
        None
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a shmsink that had to be killed leaves in /dev/shm: names that begin so.
struct Leftovers(String);

impl Drop for Leftovers {
    fn drop(&mut self) {
        for file in std::fs::read_dir("/dev/shm")
            .into_iter()
            .flatten()
            .flatten()
        {
            if file.file_name().to_string_lossy().starts_with(&self.0) {
                let _ = std::fs::remove_file(file.path());
            }
        }
    }
}

struct Case {
    name: &'static str,
    size: (i32, i32),
    readers: usize,
    fps: f64,
    full: bool,
    /// Seconds for which the second reader is stopped.
    stop_s: u64,
    frames: u64,
}

#[derive(Default, Clone)]
struct Row {
    p50: f64,
    p90: f64,
    writer_cpu: f64,
    reader_cpu: f64,
    writer_fps: f64,
    /// Of the slowest reader (the healthy one where another is stopped).
    reader_fps: f64,
    lost: f64,
    gap_ms: f64,
}

fn run(case: &Case, sink: &str, src: &str, path: &str) -> Option<Row> {
    let _ = std::fs::remove_file(path);
    let caps = format!(
        "video/x-raw,format=I420,width={},height={},framerate=30/1",
        case.size.0, case.size.1
    );
    let fill = |s: &str| s.replace("{path}", path).replace("{caps}", &caps);
    let mut leftovers = Leftovers(String::from("none")); // dropped after the writer, which is killed before
    let mut writer = Half::start("write", &fill(sink), case, case.frames);
    leftovers.0 = format!("shmpipe.{:5}.", writer.0.id());
    writer.wait_for("UP")?;
    let limit = std::time::Instant::now() + Duration::from_secs(5);
    while !std::path::Path::new(path).exists() && std::time::Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut readers: Vec<_> = (0..case.readers)
        .map(|_| Half::start("read", &fill(src), case, case.frames))
        .collect();
    for r in &mut readers {
        r.wait_for("READY")?;
    }
    writer.0.stdin.as_mut()?.write_all(b"go\n").ok()?;
    if case.stop_s > 0 {
        std::thread::sleep(Duration::from_secs(1));
        let pid = rustix::process::Pid::from_raw(readers[1].0.id() as i32)?;
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).ok()?;
        std::thread::sleep(Duration::from_secs(case.stop_s));
        rustix::process::kill_process(pid, rustix::process::Signal::CONT).ok()?;
        readers.truncate(1); // what happens to the other one is not the question
    }
    let w = writer.wait_for("RESULT")?;
    let all: Vec<Vec<f64>> = readers
        .iter_mut()
        .filter_map(|r| r.wait_for("RESULT"))
        .filter(|r| r.len() == 6)
        .collect();
    let _ = std::fs::remove_file(path);
    if all.len() < readers.len() || w.len() < 3 {
        return None;
    }
    let column = |n: usize| median(all.iter().map(|r| r[n]).collect());
    Some(Row {
        p50: column(0),
        p90: column(1),
        writer_cpu: w[1],
        reader_cpu: column(2),
        writer_fps: w[0],
        reader_fps: all.iter().map(|r| r[3]).fold(f64::MAX, f64::min),
        lost: all.iter().map(|r| w[2] - r[4]).fold(0.0, f64::max),
        gap_ms: all.iter().map(|r| r[5]).fold(0.0, f64::max),
    })
}

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v.get(v.len() / 2).copied().unwrap_or(f64::NAN)
}

fn compare(args: &Args) {
    let repeat = args.number("--repeat", 3.0) as usize;
    let frames = args.number("--frames", 240.0) as u64;
    let base = "sync=false async=false enable-last-sample=false";
    let mut transports = vec![
        (
            "shmring",
            "shmringsink socket-path={path}".to_owned(),
            "shmringsrc socket-path={path}",
        ),
        (
            "shm",
            format!(
                "shmsink socket-path={{path}} wait-for-connection=false shm-size=67108864 {base}"
            ),
            "shmsrc socket-path={path} is-live=true ! {caps}",
        ),
    ];
    if gst::ElementFactory::find("unixfdsink").is_some() {
        transports.push((
            "unixfd",
            format!("unixfdsink socket-path={{path}} {base}"),
            "unixfdsrc socket-path={path}",
        ));
    }
    if gst::ElementFactory::find("ringfloorsink").is_some() {
        transports.push((
            "floor",
            "ringfloorsink path={path}".to_owned(),
            "ringfloorsrc path={path}",
        ));
    }
    let case = |name, size, readers, fps, full, stop_s, frames| Case {
        name,
        size,
        readers,
        fps,
        full,
        stop_s,
        frames,
    };
    let (large, small) = ((1920, 1080), (640, 360));
    let cases = [
        case("1080p 60 fps, 1 reader", large, 1, 60.0, true, 0, frames),
        case("1080p 60 fps, 4 readers", large, 4, 60.0, true, 0, frames),
        case("360p 60 fps, 1 reader", small, 1, 60.0, true, 0, frames),
        case("360p 60 fps, 4 readers", small, 4, 60.0, true, 0, frames),
        case(
            "1080p protocol only, 2000 fps",
            large,
            1,
            2000.0,
            false,
            0,
            frames * 20,
        ),
        case(
            "1080p flat out, 4 readers",
            large,
            4,
            0.0,
            true,
            0,
            frames * 8,
        ),
        case(
            "1080p 100 fps, a reader stopped 3 s",
            large,
            2,
            100.0,
            true,
            3,
            600,
        ),
    ];
    let directory = std::env::temp_dir();
    println!(
        "{:38}{:>9}{:>9}{:>9}{:>10}{:>10}{:>9}{:>9}{:>7}{:>9}",
        "", "", "p50 us", "p90 us", "writer", "reader", "w fps", "r fps", "lost", "gap ms"
    );
    println!(
        "{:66}{:>9}{:>10}   (CPU s per 1000 frames; r fps: slowest reader)",
        "", "", ""
    );
    for case in &cases {
        let mut rows = vec![Vec::new(); transports.len()];
        for n in 0..repeat {
            for (t, (name, sink, src)) in transports.iter().enumerate() {
                let path =
                    directory.join(format!("ring-bench-{}-{name}-{n}.sock", std::process::id()));
                rows[t].extend(run(case, sink, src, &path.display().to_string()));
            }
        }
        for ((name, ..), rows) in transports.iter().zip(rows) {
            if rows.is_empty() {
                println!("{:38}{:>9}  did not finish", case.name, name);
                continue;
            }
            let m = |f: fn(&Row) -> f64| median(rows.iter().map(f).collect());
            println!(
                "{:38}{:>9}{:>9.0}{:>9.0}{:>10.4}{:>10.4}{:>9.0}{:>9.0}{:>7.0}{:>9.1}",
                case.name,
                name,
                m(|r| r.p50),
                m(|r| r.p90),
                m(|r| r.writer_cpu),
                m(|r| r.reader_cpu),
                m(|r| r.writer_fps),
                m(|r| r.reader_fps),
                m(|r| r.lost),
                m(|r| r.gap_ms)
            );
        }
    }
}

/// Any error, printed.
mod anyhow_lite {
    pub type Result = std::result::Result<(), Box<dyn std::error::Error>>;
}

fn main() -> anyhow_lite::Result {
    gst::init()?;
    gstshmring::plugin_register_static()?;
    let args = Args(std::env::args().skip(1).collect());
    match args.0.first().map(String::as_str) {
        Some("write") => write(&args),
        Some("read") => read(&args),
        _ => {
            compare(&args);
            Ok(())
        }
    }
}
