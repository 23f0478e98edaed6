//! An environment in which GStreamer finds this plugin and not libcamera's.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::script::{Script, VARIABLE};

/// Folder with the plugins a program may use, a registry of its own, and the state of the cameras.
#[derive(Debug)]
pub struct Environment {
    dir: PathBuf,
    /// Removes the folder at the end; none for the program that only uses it.
    folder: Option<tempfile::TempDir>,
    script: String,
}

const PLUGIN: &str = "libgstlibcameratest.so";

impl Environment {
    /// Makes one. `script` is what [`crate::script`] describes, without `dir`.
    pub fn new(script: &str) -> Self {
        gst::init().expect("GStreamer");
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().to_owned();
        for part in ["system", "test", "state"] {
            std::fs::create_dir(dir.join(part)).expect("a folder");
        }
        // Without a plugin of the same elements that would win: what is installed goes before what is in GST_PLUGIN_PATH.
        for entry in std::fs::read_dir(installed_plugins()).expect("GStreamer's plugins") {
            let file = entry.expect("GStreamer's plugins").path();
            let name = file.file_name().expect("a file").to_string_lossy();
            if name.starts_with("libgst") && !name.starts_with("libgstlibcamera") {
                let link = dir.join("system").join(name.as_ref());
                std::os::unix::fs::symlink(&file, link).expect("a link");
            }
        }
        std::os::unix::fs::symlink(built_plugin(), dir.join("test").join(PLUGIN)).expect("a link");
        let script = format!("{script} dir={}", dir.join("state").display());
        script.parse::<Script>().expect("a script");
        Self {
            dir,
            folder: Some(folder),
            script,
        }
    }

    /// The one that this process was started in by [`within`].
    pub fn current() -> Self {
        let dir = Script::get().dir.parent().expect("a folder in a folder");
        Self {
            dir: dir.to_owned(),
            folder: None,
            script: std::env::var(VARIABLE).unwrap_or_default(),
        }
    }

    /// The variables, for a program to be started in it.
    pub fn variables(&self) -> Vec<(&'static str, OsString)> {
        let mut path = self.dir.join("test").into_os_string();
        if let Some(own) = std::env::var_os("GST_PLUGIN_PATH") {
            path.push(":");
            path.push(own);
        }
        vec![
            (VARIABLE, self.script.clone().into()),
            ("GST_PLUGIN_PATH", path),
            ("GST_PLUGIN_SYSTEM_PATH_1_0", self.dir.join("system").into()),
            ("GST_REGISTRY", self.dir.join("registry.bin").into()),
        ]
    }

    /// Sets the variables of a program to be started.
    pub fn apply(&self, command: &mut Command) {
        command.envs(self.variables());
    }

    fn state(&self, name: &str) -> PathBuf {
        self.dir.join("state").join(name)
    }

    /// Replaces the faults, also those of cameras that run; [`Environment::clear_faults`] takes them back.
    pub fn set_faults(&self, faults: &str) {
        crate::script::faults(faults).expect("faults");
        // Renamed into place, so that nobody reads half of it.
        let new = self.state("faults.new");
        std::fs::write(&new, faults).expect("write the faults");
        std::fs::rename(new, self.state("faults")).expect("write the faults");
    }

    /// Back to the faults of the script.
    pub fn clear_faults(&self) {
        let _ = std::fs::remove_file(self.state("faults"));
    }

    /// Plugs an unplugged camera in again.
    pub fn plug_in(&self, number: usize) {
        let _ = std::fs::remove_file(self.state(&format!("{number}.unplugged")));
    }

    /// What the cameras were asked for, a line each: `open N ID`, `busy N ID`, `start N ID | PAD ROLE CAPS | ... |
    /// PROPERTY=VALUE ...`, `stop N ID`. N counts the openings of the camera.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.state("log")).unwrap_or_default()
    }

    /// Whether the folder goes when this value does.
    pub fn is_owner(&self) -> bool {
        self.folder.is_some()
    }
}

/// Where GStreamer's own plugins are.
fn installed_plugins() -> PathBuf {
    let core = gst::Registry::get()
        .find_plugin("coreelements")
        .and_then(|plugin| plugin.filename())
        .expect("GStreamer's core elements");
    core.parent().expect("a folder").to_owned()
}

/// The plugin that was built along with the test that runs.
fn built_plugin() -> PathBuf {
    let test = std::env::current_exe().expect("this program");
    test.ancestors()
        .skip(1)
        .take(2)
        .map(|folder: &Path| folder.join(PLUGIN))
        .find(|file| file.exists())
        .unwrap_or_else(|| {
            panic!(
                "{PLUGIN} is not beside {}: cargo build --package {}",
                test.display(),
                env!("CARGO_PKG_NAME")
            )
        })
}

/// Runs a test in an environment of its own: GStreamer reads it once per process, so the test program is started again
/// for the test called `name`, and `test` runs there.
pub fn within(script: &str, name: &str, test: impl FnOnce()) {
    within_each(&[script], name, test);
}

/// As [`within`], once for each script.
pub fn within_each(scripts: &[&str], name: &str, test: impl FnOnce()) {
    if std::env::var_os(VARIABLE).is_some() {
        return test();
    }
    for script in scripts {
        let environment = Environment::new(script);
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args([name, "--exact", "--nocapture", "--test-threads=1"]);
        environment.apply(&mut command);
        let output = command.output().expect("start the test again");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(
            output.status.success() && out.contains("1 passed"),
            "with {script}:\n{out}\n{err}"
        );
    }
}
