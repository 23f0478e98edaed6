//! A directory per test, frames whose bytes tell their number, and this binary run again as a child process.

use shmring_core::{Event, Frame, FrameHeader, Purpose, Reader, WaitError, Writer, WriterConfig};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

/// Longer than anything takes that is going to happen at all.
pub const LONG: Duration = Duration::from_secs(20);
pub const FRAME: usize = 64 << 10;

pub struct Place {
    _directory: tempfile::TempDir,
    pub socket: PathBuf,
}

pub fn place() -> Place {
    let directory = tempfile::tempdir().expect("temporary directory");
    Place {
        socket: directory.path().join("ring.sock"),
        _directory: directory,
    }
}

pub fn config(place: &Place, slots: u32) -> WriterConfig {
    WriterConfig {
        slots,
        info_bytes: 64,
        ..WriterConfig::new(&place.socket, FRAME as u64)
    }
}

pub fn writer(place: &Place, slots: u32) -> Writer {
    Writer::create(config(place, slots)).expect("writer")
}

/// Fills with words that only this frame has.
pub fn paint(bytes: &mut [u8], number: u64) {
    for (at, word) in bytes.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&(number << 20 ^ at as u64).to_ne_bytes());
    }
}

/// Whether the bytes are those of one frame from first to last; then its number.
pub fn number_of(bytes: &[u8]) -> Option<u64> {
    let first = u64::from_ne_bytes(bytes.get(..8)?.try_into().ok()?);
    bytes
        .chunks_exact(8)
        .enumerate()
        .all(|(at, word)| word == (first ^ at as u64).to_ne_bytes())
        .then_some(first >> 20)
}

/// Writes frame `number` in place.
pub fn publish(writer: &Writer, number: u64) {
    let mut slot = writer.acquire(Purpose::Copy).expect("a slot for a copy");
    paint(slot.bytes_mut(), number);
    let header = FrameHeader {
        pts: Some(number),
        ..FrameHeader::default()
    };
    writer
        .publish(slot.id(), 0..FRAME, &header, &number.to_ne_bytes())
        .expect("published");
}

/// The next frame, checked to be whole.
pub fn frame(reader: &mut Reader) -> Frame {
    match reader.next(Some(LONG)) {
        Ok(Event::Frame(frame)) => {
            assert_eq!(number_of(frame.bytes()), frame.header().pts, "torn frame");
            frame
        }
        other => panic!("expected a frame, got {other:?}"),
    }
}

pub fn nothing(reader: &mut Reader) {
    match reader.next(Some(Duration::from_millis(1))) {
        Err(WaitError::Timeout) => {}
        other => panic!("expected nothing, got {other:?}"),
    }
}

pub use testkit::eventually;

/// This test binary as another process, playing a role of [`play_role`].
pub struct Role {
    pub child: Child,
    lines: BufReader<std::process::ChildStdout>,
    stdin: Option<ChildStdin>,
}

impl Role {
    pub fn start(role: &str, socket: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("own path"))
            .args([
                "--exact",
                "support::play_role",
                "--nocapture",
                "--test-threads=1",
            ])
            .env("SHMRING_ROLE", role)
            .env("SHMRING_SOCKET", socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("child process");
        let lines = BufReader::new(child.stdout.take().expect("stdout"));
        let stdin = child.stdin.take();
        Self {
            child,
            lines,
            stdin,
        }
    }

    /// The next line the role says, without its mark; `None` at its end.
    pub fn hear(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).ok()? == 0 {
                return None;
            }
            // The harness's "test … ... " may stand before it.
            if let Some(at) = line.find('@') {
                return Some(line[at + 1..].trim_end().to_owned());
            }
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("signal");
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("kill -9");
        self.child.wait().expect("wait");
    }

    /// Tells the role to end, and returns the last thing it says.
    pub fn end(mut self) -> Option<String> {
        drop(self.stdin.take());
        let mut last = None;
        while let Some(line) = self.hear() {
            last = Some(line);
        }
        self.child.wait().expect("wait");
        last
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(line: &str) {
    // One write, so that the harness's own output does not come between.
    let _ = std::io::stdout().write_all(format!("\n@{line}\n").as_bytes());
    let _ = std::io::stdout().flush();
}

/// Not a test by itself: what the child processes of the other tests do.
#[test]
fn play_role() {
    let (Ok(role), Ok(socket)) = (
        std::env::var("SHMRING_ROLE"),
        std::env::var("SHMRING_SOCKET"),
    ) else {
        return;
    };
    let place = Place {
        _directory: tempfile::tempdir().expect("temporary directory"),
        socket: socket.into(),
    };
    // Whatever happens to the test, no child outlives its parent.
    let ended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let end = ended.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        end.store(true, std::sync::atomic::Ordering::SeqCst);
        std::thread::sleep(LONG);
        std::process::exit(3);
    });
    let over = || ended.load(std::sync::atomic::Ordering::SeqCst);
    match role.as_str() {
        "write" | "write-named" => write_role(&place, role == "write-named", over),
        "write-packets" => packet_role(&place, over),
        "hold" => hold_role(&place),
        "slow" => slow_role(&place, over),
        "sleep" => sleep_role(&place),
        "few-files" => few_files_role(&place),
        other => panic!("unknown role {other}"),
    }
}

/// Publishes every 2 ms until told to end.
fn write_role(place: &Place, named: bool, over: impl Fn() -> bool) {
    let mut config = config(place, 8);
    if named {
        config.backing = shmring_core::Backing::DevShm;
    }
    let writer = Writer::create(config).expect("writer");
    writer.set_stream(b"caps").expect("stream");
    let mut number = 0;
    while !over() {
        number += 1;
        publish(&writer, number);
        if number == 1 {
            say("writing");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Writes packets of 2 KiB every ms, each tenth a key packet, until told to end.
fn packet_role(place: &Place, over: impl Fn() -> bool) {
    use shmring_core::packet::{PacketMeta, PacketWriter, PacketWriterConfig};
    let mut writer = PacketWriter::create(PacketWriterConfig::new(&place.socket)).expect("writer");
    writer.set_stream(b"caps").expect("stream");
    let mut payload = vec![0; 2048];
    for number in 1.. {
        if over() {
            break;
        }
        paint(&mut payload, number);
        let meta = PacketMeta {
            pts: Some(number),
            key: number % 10 == 1,
            ..PacketMeta::default()
        };
        writer.write(&meta, &payload);
        if number == 1 {
            say("writing");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Takes frames until it holds what it was granted, then keeps them.
fn hold_role(place: &Place) {
    let mut reader = Reader::connect(&place.socket, Default::default()).expect("reader");
    let mut frames = Vec::new();
    while frames.len() < 3 {
        frames.push(frame(&mut reader));
    }
    say("holding");
    loop {
        std::thread::sleep(LONG);
    }
}

/// Holds each frame for a while and looks again whether it is still the same.
fn slow_role(place: &Place, over: impl Fn() -> bool) {
    let mut reader = Reader::connect(&place.socket, Default::default()).expect("reader");
    say("reading");
    let mut held = std::collections::VecDeque::new();
    let (mut frames, mut changed) = (0, 0);
    while !over() {
        match reader.next(Some(Duration::from_millis(20))) {
            Ok(Event::Frame(frame)) => {
                if number_of(frame.bytes()) != frame.header().pts {
                    changed += 1;
                }
                held.push_back(frame);
            }
            Ok(_) => {}
            Err(_) => continue,
        }
        if held.len() > 2 {
            std::thread::sleep(Duration::from_millis(3));
            let frame: Frame = held.pop_front().expect("held");
            if number_of(frame.bytes()) != frame.header().pts {
                changed += 1;
            }
            frames += 1;
        }
    }
    say(&format!("{frames} {changed}"));
}

/// Waits for a frame that never comes.
fn sleep_role(place: &Place) {
    let mut reader = Reader::connect(&place.socket, Default::default()).expect("reader");
    say("waiting");
    while reader.next(Some(LONG)).is_ok() {}
}

/// Connects with room for ever fewer descriptors, and says what it is told, then that all is well with room for many.
fn few_files_role(place: &Place) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let usual = getrlimit(Resource::Nofile);
    let with = |limit| {
        let limit = rustix::process::Rlimit {
            current: Some(limit),
            ..usual
        };
        setrlimit(Resource::Nofile, limit).expect("lower the limit");
        let reader = Reader::connect(&place.socket, Default::default()).map(drop);
        let monitor = shmring_core::Monitor::connect(&place.socket, LONG).map(drop);
        [reader, monitor].into_iter().filter_map(Result::err)
    };
    let errors = (3..40).flat_map(with);
    for error in errors {
        say(&error.to_string());
    }
    assert_eq!(with(usual.current.unwrap_or(1024)).count(), 0);
    say("connected");
}
