//! A running `watchpost` in a folder of its own, asked over HTTP.

use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
pub use testkit::{PATIENCE, eventually};
use testkit::{find_within, http};

/// A file that stands beside the project and is not part of it; `None`, said plainly, where it is absent.
pub fn shared(path: &str) -> Option<PathBuf> {
    let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")).join(path);
    if file.exists() {
        return Some(file);
    }
    eprintln!("SKIPPED: {} is not here", file.display());
    None
}

/// Whether ONNX Runtime is there; `make setup` puts it into `.deps`.
pub fn onnxruntime() -> Option<PathBuf> {
    let file = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../.deps/onnxruntime/libonnxruntime.so"
    ));
    if std::env::var_os("ORT_DYLIB_PATH").is_some() || file.exists() {
        return Some(file.to_owned());
    }
    eprintln!("SKIPPED: ONNX Runtime is not here; `make setup` installs it");
    None
}

/// A `watchpost run`, killed when dropped.
pub struct Watchpost {
    child: Child,
    address: SocketAddr,
    folder: Arc<TempDir>,
    log: Arc<Mutex<String>>,
}

/// A folder with a configuration: `cameras` and what else the test wants, beside address and folders.
pub fn write_config(folder: &Path, rest: &str) -> PathBuf {
    let file = folder.join("watchpost.yaml");
    let http = if rest.starts_with("http:") {
        ""
    } else {
        "http: {listen: \"127.0.0.1:0\"}\n"
    };
    let text = format!(
        "{http}run_dir: {0}/run\ndata_dir: {0}/data\n{rest}",
        folder.display()
    );
    std::fs::write(&file, text).expect("write the configuration");
    file
}

/// `watchpost` with what it needs in its environment.
pub fn watchpost() -> Command {
    watchpost_at(Path::new(PROGRAM))
}

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_watchpost");

/// As [`watchpost`], from a copy of the program.
pub fn watchpost_at(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    with_library(command)
}

/// A command that finds ONNX Runtime.
fn with_library(mut command: Command) -> Command {
    if let Some(library) = onnxruntime().filter(|_| std::env::var_os("ORT_DYLIB_PATH").is_none()) {
        command.env("ORT_DYLIB_PATH", library);
    }
    command
}

/// `watchpost` after a shell's commands in a mount namespace of its own: what they mount nobody else sees. `None`, said
/// plainly, where that is not allowed (it takes root).
pub fn in_own_mounts(script: &str) -> Option<Command> {
    let allowed = Command::new("unshare")
        .args(["--mount", "true"])
        .stderr(Stdio::null())
        .status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no mount namespace of its own to be had (run as root)");
        return None;
    }
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-ec"])
        .arg(format!("{script}\nexec \"$@\""))
        .args(["sh", PROGRAM])
        .stdin(Stdio::null());
    Some(with_library(command))
}

impl Watchpost {
    /// Starts it with this configuration and waits until it listens.
    pub fn start(rest: &str) -> Self {
        Self::start_program(Path::new(PROGRAM), rest)
    }

    /// As [`Watchpost::start`], from a copy of the program.
    pub fn start_program(program: &Path, rest: &str) -> Self {
        Self::start_by(watchpost_at(program), rest)
    }

    /// Ends it and starts it again in the same folder.
    pub fn start_again(self) -> Self {
        self.start_again_after(|_| {})
    }

    /// As [`Watchpost::start_again`]; in between something is done with `data_dir`.
    pub fn start_again_after(mut self, change: impl FnOnce(&Path)) -> Self {
        self.signal(rustix::process::Signal::TERM);
        assert_eq!(self.wait().code(), Some(0), "{}", self.log());
        change(&self.data_dir());
        Self::start_in(self.folder.clone(), watchpost())
    }

    /// Starts it in the same folder after it was killed.
    pub fn start_after_end(self) -> Self {
        Self::start_in(self.folder.clone(), watchpost())
    }

    /// As [`Watchpost::start`], by a command that ends in the program: with another environment, or with another view of
    /// the machine. `$FILE` is the configuration file.
    pub fn start_by(command: Command, rest: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        write_config(folder.path(), rest);
        Self::start_in(Arc::new(folder), command)
    }

    /// Starts it in a folder with a configuration.
    pub fn start_in(folder: Arc<TempDir>, mut command: Command) -> Self {
        let file = folder.path().join("watchpost.yaml");
        let mut child = command
            .env("FILE", &file)
            .args(["run", "-c"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start watchpost");
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, receiver) = std::sync::mpsc::channel();
        let (stderr, kept) = (child.stderr.take().expect("piped"), log.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some((_, address)) = line.split_once("listening on http://") {
                    let _ = sender.send(address.trim().to_owned());
                }
                let mut log = kept.lock().expect("log");
                log.push_str(&line);
                log.push('\n');
            }
        });
        let Ok(address) = receiver.recv_timeout(PATIENCE) else {
            let _ = child.kill();
            panic!("it does not listen:\n{}", log.lock().expect("log"));
        };
        let mut address: SocketAddr = address.parse().expect("an address");
        if address.ip().is_unspecified() {
            address.set_ip([127, 0, 0, 1].into());
        }
        Self {
            child,
            address,
            folder,
            log,
        }
    }

    /// Asks at another port of 127.0.0.1 from now on, once it listens there. Answers with where it was asked before.
    #[track_caller]
    pub fn move_to(&mut self, port: u16) -> SocketAddr {
        let new = SocketAddr::from(([127, 0, 0, 1], port));
        eventually("it listens there", || TcpStream::connect(new).is_ok());
        std::mem::replace(&mut self.address, new)
    }

    /// Where it is asked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("log").clone()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where the sockets are.
    pub fn run_dir(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// Where what outlives it is.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The socket of a camera's ring.
    pub fn socket(&self, camera: &str) -> PathBuf {
        self.run_dir().join(camera).join("detect.sock")
    }

    /// Its configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("watchpost.yaml")
    }

    /// Sends a request; the answer is for the caller to read.
    pub fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> TcpStream {
        http::send(self.address, method, path, headers, body)
    }

    /// The answer to a request.
    pub fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> http::Answer {
        http::request(self.address, method, path, headers, body)
    }

    /// Status code and text of the answer to a request.
    pub fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let answer = self.ask(method, path, headers, body);
        (answer.status, answer.text().to_owned())
    }

    /// The JSON at a path.
    pub fn get(&self, path: &str) -> Value {
        let (code, body) = self.request("GET", path, "", "");
        assert_eq!(code, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// The answer at a path, read into a type of the API.
    pub fn read<T: DeserializeOwned>(&self, path: &str) -> T {
        let answer = self.get(path);
        serde_json::from_value(answer.clone())
            .unwrap_or_else(|error| panic!("{path}: {error}: {answer:#}"))
    }

    /// A camera as the API shows it.
    pub fn camera(&self, name: &str) -> Value {
        self.get(&format!("/api/cameras/{name}"))
    }

    /// Waits until a camera is as wanted, and answers with it.
    #[track_caller]
    pub fn wait_for(&self, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = find_within(PATIENCE, || {
            last = self.camera(name);
            wanted(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|| panic!("{name} never {what}: {last:#}\n{}", self.log()))
    }

    /// Waits until a camera streams.
    #[track_caller]
    pub fn wait_streaming(&self, name: &str) -> Value {
        self.wait_for(name, "streams", |c| c["state"] == "streaming")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        kill(self.pid(), signal);
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let ended = find_within(PATIENCE, || self.child.try_wait().expect("wait"));
        ended.unwrap_or_else(|| panic!("it does not end:\n{}", self.log()))
    }
}

impl Drop for Watchpost {
    fn drop(&mut self) {
        // Workers see the end of their input and go by themselves.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process.
pub fn kill(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid as i32).expect("a pid");
    rustix::process::kill_process(pid, signal).expect("kill");
}

/// Stops a process, and waits until each of its threads stands still: until then another signal may come first.
pub fn stop_still(pid: u32) {
    kill(pid, rustix::process::Signal::STOP);
    eventually("every thread stands still", || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
        threads.flatten().all(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            // Behind the name, which may hold anything.
            stat.rsplit_once(") ")
                .is_none_or(|(_, rest)| rest.starts_with('T'))
        })
    });
}

/// Whether a process lives; one that has ended and is not waited for does not.
pub fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Processes whose parent is this one.
pub fn children(parent: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc");
    let is_child = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        rest.split(' ').nth(1) == Some(&parent.to_string())
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(is_child)
        .collect()
}
