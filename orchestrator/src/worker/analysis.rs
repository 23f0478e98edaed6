//! The analysis worker: objects in the frames of all cameras, with one inference engine for all of them.
//!
//! One thread takes commands and messages; every camera's frames are worked on in the streaming thread of its own pipeline.

use super::link::{self, Input, Together, Waker, report};
use super::scene::Scene;
use crate::protocol::{AnalysisCommand, AnalysisReport, CameraReport};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use watchpost_pipelines::fault::Fault;
use watchpost_pipelines::spec::AnalysisSpec;

/// How often figures are reported.
const FIGURES: Duration = Duration::from_secs(1);

/// Time between two looks at the cameras. What all of them have to tell by then leaves together: each piece wakes the
/// supervisor, and many cameras have hundreds of frames per second.
const LOOKS: Duration = Duration::from_millis(50);

/// Works until told to stop, or until its input ends.
pub fn run() -> Result<ExitCode> {
    let (inputs, waker) = link::start::<AnalysisReport>()?;
    gst::init().context("GStreamer")?;
    gstshmring::plugin_register_static().context("plugin shmring")?;
    gstregiondetect::plugin_register_static().context("plugin regiondetect")?;
    gstobjecttrack::plugin_register_static().context("plugin objecttrack")?;
    let mut worker = Worker {
        scenes: BTreeMap::new(),
        marks: None,
        waker,
        told: Instant::now(),
        looked: Instant::now(),
    };
    report(&AnalysisReport::Heartbeat);
    worker.work(&inputs);
    Ok(ExitCode::SUCCESS)
}

struct Worker {
    scenes: BTreeMap<String, Scene>,
    marks: Option<Arc<File>>,
    waker: Waker,
    /// When figures were reported last.
    told: Instant,
    /// When the cameras were looked at last.
    looked: Instant,
}

impl Worker {
    fn work(&mut self, inputs: &Receiver<Input>) {
        let mut look_at = self.told + FIGURES;
        loop {
            let wait = look_at.saturating_duration_since(Instant::now());
            match inputs.recv_timeout(wait) {
                Ok(Input::Line(line)) => match serde_json::from_str(&line) {
                    Ok(AnalysisCommand::Stop) => return,
                    Ok(command) => self.command(command),
                    Err(error) => tracing::error!("unknown command: {error}"),
                },
                Ok(Input::Wake) => look_at = look_at.min(self.looked + LOOKS),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Input::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
            if Instant::now() >= look_at {
                self.look();
                look_at = self.told + FIGURES;
            }
        }
    }

    fn look(&mut self) {
        self.looked = Instant::now();
        let together = Together::begin();
        let mut failed = Vec::new();
        for (name, scene) in &mut self.scenes {
            if let Err(fault) = scene.look() {
                failed.push((name.clone(), fault));
            }
        }
        if self.told.elapsed() >= FIGURES {
            self.told = Instant::now();
            for scene in self.scenes.values_mut() {
                scene.tell_figures();
            }
            // So that the supervisor knows this loop to be alive, with or without cameras.
            report(&AnalysisReport::Heartbeat);
        }
        drop(together);
        for (name, fault) in failed {
            self.fail(&name, fault);
        }
    }

    fn command(&mut self, command: AnalysisCommand) {
        match command {
            AnalysisCommand::Marks { path } => match File::options().write(true).open(&path) {
                Ok(file) => self.marks = Some(Arc::new(file)),
                Err(error) => tracing::warn!("marks {}: {error}", path.display()),
            },
            AnalysisCommand::Add { spec, mark } => self.add(*spec, mark),
            AnalysisCommand::Update { spec } => self.update(*spec),
            AnalysisCommand::Remove { camera } => {
                self.scenes.remove(&camera);
                report(&AnalysisReport::Camera {
                    camera,
                    report: CameraReport::Detached,
                });
            }
            AnalysisCommand::Moving { camera, moving } => {
                if let Some(scene) = self.scenes.get(&camera) {
                    scene.set_moving(moving);
                }
            }
            AnalysisCommand::Grid { camera, action } => {
                if let Some(scene) = self.scenes.get_mut(&camera) {
                    scene.act_on_grid(action);
                }
            }
            AnalysisCommand::Stop => {}
        }
    }

    fn add(&mut self, spec: AnalysisSpec, mark: u32) {
        let name = spec.name.clone();
        // Whatever was there under this name is gone before the new one starts.
        self.scenes.remove(&name);
        let mark = self.marks.clone().map(|file| (file, mark));
        match Scene::start(spec, mark, &self.waker) {
            Ok(scene) => {
                self.scenes.insert(name, scene);
            }
            Err(fault) => self.fail(&name, fault),
        }
    }

    fn update(&mut self, spec: AnalysisSpec) {
        if let Some(scene) = self.scenes.get_mut(&spec.name)
            && let Err(fault) = scene.update(&spec)
        {
            self.fail(&spec.name, fault);
        }
    }

    fn fail(&mut self, camera: &str, fault: Fault) {
        self.scenes.remove(camera);
        report(&AnalysisReport::Camera {
            camera: camera.to_owned(),
            report: CameraReport::Fault(fault),
        });
    }
}
