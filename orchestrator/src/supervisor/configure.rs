//! Changes of the table: cameras come, change and go. Whoever is not concerned notices nothing.

use super::Supervisor;
use super::budget;
use super::camera::{Camera, Leaving, Next, limits};
use super::health::Event;
use crate::config::{Change, Config, takeovers};
use crate::protocol::AnalysisCommand;
use std::time::{Instant, SystemTime};
use watchpost_api::{Action, ConfigurationChange};
use watchpost_pipelines::CameraConfig;
use watchpost_pipelines::secret::hide;

impl Supervisor {
    /// What is stored of cameras that are not configured any more goes; broken and renamed ones are not strangers.
    pub(super) fn forget_strangers(&mut self, change: &Change) {
        let cameras = &change.config.cameras;
        let stored = self.history.cameras();
        for (from, to) in takeovers(|name| stored.contains(name), cameras) {
            self.history.renamed(from, to);
        }
        let known: Vec<String> = cameras
            .keys()
            .chain(change.broken.keys())
            .cloned()
            .collect();
        self.history.retain(&known);
    }

    pub(super) fn refuse_config(&mut self, error: String) {
        if self.config_error.as_deref() != Some(&error) {
            tracing::error!("the configuration was not taken over, the last one stays: {error}");
        }
        self.config_error = Some(error);
    }

    /// Shares the memory between the cameras that are about to start.
    fn share_memory(&mut self, new: &Config) {
        let starting: Vec<(&String, &CameraConfig)> = new
            .cameras
            .iter()
            .filter(|(name, config)| config.enabled && !self.cameras.contains(name))
            .collect();
        self.memory.share(&starting);
    }

    /// How many slots a camera may have now; an error names the bytes needed and free.
    pub(super) fn grant(&mut self, name: &str) -> Result<u32, String> {
        let camera = self.cameras.get(name).ok_or("no such camera")?;
        let (config, known) = (&camera.config, camera.known_frame_bytes());
        let depth = self.memory.grant(name, config, known)?;
        let frigate = budget::frigate(self.cameras.iter().map(|c| &c.config));
        if let (Some(text), Some(camera)) = (
            depth.warning(name, Some(&frigate)),
            self.cameras.get_mut(name),
        ) && camera.repeats.is_new(&text, Instant::now())
        {
            tracing::warn!("{text}");
        }
        Ok(depth.slots)
    }

    /// Executes a planned change.
    pub(super) fn apply(&mut self, change: Change) {
        let Change {
            config,
            broken,
            kept,
            actions,
            text,
        } = change;
        self.workers.configure(&text);
        self.share_memory(&config);
        self.config = config.clone();
        self.start_analysis_first(&config);
        for action in actions {
            self.act(action);
        }
        for (name, problems) in &broken {
            self.set(name, Err(hide(&problems.to_string())));
        }
        // Nothing happens to a camera that does not run, but it is shown as it is configured.
        let resting = self.config.cameras.iter();
        let resting: Vec<_> = resting
            .filter(|(_, config)| !config.enabled)
            .map(|(name, config)| (name.clone(), config.clone()))
            .collect();
        for (name, config) in resting {
            self.set(&name, Ok(config));
        }
        self.configure_recording();
        self.config_error = None;
        self.history.configured(ConfigurationChange::Applied, None);
        if !kept.is_empty() {
            let errors: Vec<String> = kept.values().map(|p| hide(&p.to_string())).collect();
            self.refuse_config(errors.join("\n"));
        }
    }

    fn act(&mut self, action: Action) {
        match &action {
            Action::Start { camera } => {
                let change = if self.cameras.contains(camera) {
                    ConfigurationChange::Changed
                } else {
                    ConfigurationChange::Added
                };
                self.history.configured(change, Some(camera));
            }
            Action::Update { camera, .. }
            | Action::Restart { camera, .. }
            | Action::Stop {
                camera,
                removed: false,
            } => {
                self.history
                    .configured(ConfigurationChange::Changed, Some(camera));
            }
            // History publishes these: they also concern what is stored.
            Action::Stop { removed: true, .. } | Action::Rename { .. } => {}
            Action::RestartAnalysis
            | Action::Events
            | Action::Media
            | Action::Mqtt
            | Action::Hooks
            | Action::Http { .. }
            | Action::NeedsNewStart { .. } => {}
        }
        match action {
            Action::Start { camera }
            | Action::Update { camera, .. }
            | Action::Stop {
                camera,
                removed: false,
            } => self.set(&camera, Ok(self.config.cameras[&camera].clone())),
            Action::Restart { camera, keys } => {
                tracing::info!(camera, "restarting, changed: {}", keys.join(", "));
                self.leave(&camera, Some(Ok(self.config.cameras[&camera].clone())));
            }
            Action::Stop {
                camera,
                removed: true,
            } => {
                tracing::info!(camera, "removed");
                self.history.removed(&camera);
                self.leave(&camera, None);
            }
            Action::Rename { from, camera } => {
                tracing::info!(camera = from, "renamed to {camera}");
                self.history.renamed(&from, &camera);
                self.leave(&from, None);
                self.set(&camera, Ok(self.config.cameras[&camera].clone()));
            }
            Action::RestartAnalysis => {
                tracing::info!("the model changed; the analysis starts again with it");
                for (_, analysis) in self.workers.analyses_mut() {
                    analysis.stop();
                }
                for camera in self.cameras.iter_mut() {
                    camera.analysis.forgive();
                }
            }
            Action::Events => self.history.keep_events(self.config.events.days),
            Action::Media => self.history.keep_media(&self.config.media),
            // Not the cameras' business.
            Action::Mqtt | Action::Hooks | Action::Http { .. } | Action::NeedsNewStart { .. } => {}
        }
    }

    /// Gives a camera its configuration, or shows what is wrong with it. One that runs takes it over while it runs.
    fn set(&mut self, name: &str, next: Next) {
        match self.cameras.get(name) {
            Some(camera) if camera.leaving.is_some() => self.leave(name, Some(next)),
            Some(camera)
                if !camera.broken
                    && let Ok(config) = next =>
            {
                self.update(name, config)
            }
            _ => {
                self.cameras.remove(name);
                self.add(name, next);
            }
        }
    }

    fn add(&mut self, name: &str, next: Next) {
        let mark = self.cameras.free_mark();
        let config = next.clone().unwrap_or_default();
        let enabled = config.enabled;
        let mut camera = Camera::new(name, config, mark, SystemTime::now());
        camera.broken = next.is_err();
        self.cameras.insert(camera);
        match next {
            Err(problems) => self.handle(name, Event::Broken(problems)),
            Ok(_) if enabled => self.handle(name, Event::Enable),
            Ok(_) => tracing::info!(camera = name, "disabled"),
        }
    }

    fn update(&mut self, name: &str, config: CameraConfig) {
        let Some(camera) = self.cameras.get_mut(name) else {
            return;
        };
        let was_enabled = camera.config.enabled;
        camera.config = config;
        camera.health.set_limits(limits(&camera.config));
        camera.analysis.forgive();
        match (was_enabled, camera.config.enabled) {
            (false, true) => self.handle(name, Event::Enable),
            (true, false) => self.handle(name, Event::Disable),
            (true, true) => {
                tracing::info!(camera = name, "changed while it runs");
                let command = AnalysisCommand::Update {
                    spec: Box::new(self.analysis_spec(name)),
                };
                self.tell_analysis_of(name, &command);
            }
            (false, false) => {}
        }
    }

    /// Begins the way out: capture first, then analysis, then the ring. `next` is what comes in its place, under its name.
    pub(super) fn leave(&mut self, name: &str, next: Option<Next>) {
        let Some(camera) = self.cameras.get_mut(name) else {
            return;
        };
        if let Some(leaving) = &mut camera.leaving {
            leaving.next = next;
            return;
        }
        camera.leaving = Some(Leaving {
            next,
            detach_by: None,
        });
        self.handle(name, Event::Leave);
    }

    /// Cameras whose workers are gone leave the table, or come back with their new configuration.
    pub(super) fn finish_leaving(&mut self, now: Instant) {
        let done: Vec<String> = self
            .cameras
            .iter()
            .filter(|c| {
                self.workers.capture(&c.name).is_none()
                    && c.leaving.as_ref().is_some_and(|leaving| {
                        c.analysis.attached_to().is_none()
                            || leaving.detach_by.is_some_and(|at| now >= at)
                    })
            })
            .map(|c| c.name.clone())
            .collect();
        let freed = !done.is_empty();
        for name in done {
            let Some(camera) = self.cameras.remove(&name) else {
                continue;
            };
            drop(camera.monitor);
            self.workers.forget_capture(&name);
            self.workers.remove_socket(&name);
            self.memory.release(&name);
            if let Some(next) = camera.leaving.and_then(|l| l.next)
                && !self.ending
            {
                self.add(&name, next);
            }
        }
        if freed {
            self.memory_freed();
        }
    }

    /// Cameras that wait for memory ask again.
    pub(super) fn memory_freed(&mut self) {
        if self.ending {
            return;
        }
        for name in self.cameras.names() {
            self.handle(&name, Event::MemoryFreed);
        }
    }
}
