//! Commands: a program that gets the event on its standard input.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// Variables of the environment that a command gets. The others may hold secrets of the configuration.
const ENVIRONMENT: [&str; 5] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ"];
/// Bytes of the error output that are logged.
const SHOWN: usize = 500;

/// A program in a process group of its own, which ends with it.
struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Running {
    async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.end_group();
        status
    }

    /// What the program started in its group ends too: it would keep the pipes open.
    fn end_group(&mut self) {
        if let Some(group) = self.group.take() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end_group();
    }
}

/// Runs a command with this input. An error says how it failed.
pub(super) async fn run(command: &[String], input: &[u8], limit: Duration) -> Result<(), String> {
    let [program, arguments @ ..] = command else {
        return Err("there is no command".to_owned());
    };
    let environment = ENVIRONMENT
        .iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{program} cannot be started: {error}"))?;
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let mut running = Running { child, group };
    // A program need not read its input, so an error here is none.
    let feed = async {
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(input).await;
        }
    };
    let complaint = async {
        let mut shown = Vec::new();
        if let Some(mut stderr) = stderr {
            let mut buffer = [0; 4096];
            // Read to the end: a full pipe would block the program.
            while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
                let room = SHOWN - shown.len().min(SHOWN);
                shown.extend_from_slice(&buffer[..count.min(room)]);
            }
        }
        String::from_utf8_lossy(&shown).trim().to_owned()
    };
    let whole = async { tokio::join!(feed, complaint, running.ended()) };
    let Ok(((), complaint, status)) = tokio::time::timeout(limit, whole).await else {
        return Err(format!(
            "{program} was ended: it took longer than its `timeout` of {} s",
            limit.as_secs()
        ));
    };
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) if complaint.is_empty() => Err(format!("{program} failed: {status}")),
        Ok(status) => Err(format!("{program} failed: {status}: {complaint}")),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const LIMIT: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn the_input_arrives_and_arguments_are_not_read_by_a_shell() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out; $(x)").display().to_string();
        let copy = ["/usr/bin/tee".to_owned(), out.clone()];
        run(&copy, b"{\"a\": 1}", LIMIT).await.unwrap();
        assert_eq!(std::fs::read_to_string(out).unwrap(), "{\"a\": 1}");
    }

    #[tokio::test]
    async fn a_failure_is_described() {
        let error = run(&shell("echo no paper >&2; exit 3"), b"", LIMIT).await;
        let error = error.unwrap_err();
        assert!(
            error.contains("exit status: 3") && error.contains("no paper"),
            "{error}"
        );
        let error = run(&["/nowhere/x".to_owned()], b"", LIMIT).await;
        assert!(error.unwrap_err().contains("/nowhere/x cannot be started"));
    }

    #[tokio::test]
    async fn much_output_does_not_block_and_input_need_not_be_read() {
        let script = "yes | head -c 300000 >&2; yes | head -c 300000";
        run(&shell(script), &[b'x'; 1 << 20], LIMIT).await.unwrap();
    }

    #[tokio::test]
    async fn a_slow_command_ends_with_everything_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("child");
        let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
        let start = Instant::now();
        let error = run(&shell(&script), b"", Duration::from_secs(1)).await;
        assert!(error.unwrap_err().contains("`timeout` of 1 s"));
        assert!(start.elapsed() < Duration::from_secs(10));
        let child = std::fs::read_to_string(file).unwrap();
        let stat = format!("/proc/{}/stat", child.trim());
        testkit::eventually("the child of the command is gone", || {
            // Init may not have reaped it yet.
            std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z"))
        });
    }

    #[tokio::test]
    async fn secrets_of_the_environment_stay_here() {
        // `CARGO_MANIFEST_DIR` is set by the test runner.
        let script = "test -n \"$PATH\" && test -z \"$CARGO_MANIFEST_DIR\"";
        run(&shell(script), b"", LIMIT).await.unwrap();
    }
}
