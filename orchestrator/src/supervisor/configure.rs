//! Changes of the table: cameras come, change and go. Whoever is not concerned notices nothing.

use super::Supervisor;
use super::analysing::stop_analysis;
use super::budget;
use super::camera::{Camera, Leaving, limits};
use super::health::Event;
use crate::config::{Config, Loaded};
use crate::worker::protocol::AnalysisCommand;
use shmring_core::sizing::Depth;
use std::time::{Instant, SystemTime};
use watchpost_pipelines::CameraConfig;
use watchpost_pipelines::secret::hide;

impl Supervisor {
    /// What is stored of cameras that are not configured any more goes; broken and renamed ones are not strangers.
    pub(super) fn forget_strangers(&mut self, loaded: &Loaded) {
        let cameras = &loaded.config.cameras;
        for (name, config) in cameras {
            if let Some(previous) = &config.previous_name
                && !cameras.contains_key(previous)
            {
                self.history.renamed(previous, name);
            }
        }
        let known: Vec<String> = cameras
            .keys()
            .chain(loaded.broken.keys())
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

    /// Cameras that start together share what memory there is, so that the last one is not the one without.
    pub(super) fn share_memory(&mut self, new: &Config) {
        let starting: Vec<(&String, &CameraConfig)> = new
            .cameras
            .iter()
            .filter(|(name, config)| config.enabled && !self.cameras.contains_key(*name))
            .collect();
        let requests: Vec<_> = starting
            .iter()
            .map(|(_, config)| budget::request(config, None))
            .collect();
        let depths = budget::grant(&requests, self.budget.left(self.handed_out(None)));
        self.shares = starting
            .into_iter()
            .zip(depths)
            .filter_map(|((name, _), depth)| Some((name.clone(), depth.ok()?.slots)))
            .collect();
    }

    /// Bytes of all rings that exist or are about to, but this one.
    pub(super) fn handed_out(&self, except: Option<&str>) -> u64 {
        self.cameras
            .values()
            .filter(|c| Some(c.name.as_str()) != except && c.health.has_worker())
            .map(|c| c.granted_bytes)
            .sum()
    }

    /// How many slots a camera may have now; an error names the bytes needed and free.
    pub(super) fn grant(&mut self, name: &str) -> Result<u32, String> {
        let left = self.budget.left(self.handed_out(Some(name)));
        let share = self.shares.remove(name);
        let Some(camera) = self.cameras.get_mut(name) else {
            return Err("no such camera".into());
        };
        let known = camera.ring.as_ref().map(|ring| ring.slot_bytes);
        let wanted = budget::request(&camera.config, known);
        let mut request = wanted;
        if let Some(slots) = share {
            request.slots = slots;
        }
        let depth = budget::grant(&[request], left)
            .pop()
            .expect("one answer for one request")
            .map_err(|refusal| refusal.to_string())?;
        camera.granted_bytes = depth.bytes;
        let told = Depth {
            wanted_slots: wanted.slots,
            wanted_bytes: depth.bytes / u64::from(depth.slots.max(1)) * u64::from(wanted.slots),
            ..depth
        };
        let frigate = budget::frigate(self.cameras.values().map(|c| &c.config));
        if let (Some(text), Some(camera)) = (
            told.warning(name, Some(&frigate)),
            self.cameras.get_mut(name),
        ) && camera.repeats.is_new(&text, Instant::now())
        {
            tracing::warn!("{text}");
        }
        Ok(depth.slots)
    }

    pub(super) fn apply(&mut self, loaded: Loaded) {
        let new = loaded.config;
        let mut errors = Vec::new();
        for (name, problems) in &loaded.broken {
            let problems = hide(&problems.to_string());
            if self
                .cameras
                .get(name)
                .is_some_and(|c| c.leaving.is_none() && !c.broken)
            {
                // It works; a mistake made in the file meanwhile does not end that.
                errors.push(problems);
            } else {
                self.add_broken(name, problems);
            }
        }
        let model_changed = new.model != self.config.model;
        let gone: Vec<String> = self
            .cameras
            .keys()
            .filter(|name| !new.cameras.contains_key(*name) && !loaded.broken.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            let new_name = new
                .cameras
                .iter()
                .find(|(_, config)| config.previous_name.as_deref() == Some(&name));
            match new_name {
                Some((new_name, _)) => {
                    tracing::info!(camera = name, "renamed to {new_name}");
                    self.history.renamed(&name, new_name);
                }
                None => {
                    tracing::info!(camera = name, "removed");
                    self.history.removed(&name);
                }
            }
            self.leave(&name, None);
        }
        self.share_memory(&new);
        for (name, config) in &new.cameras {
            match self.cameras.get(name) {
                None => self.add(name, config.clone()),
                Some(camera)
                    if camera.config != *config || camera.leaving.is_some() || camera.broken =>
                {
                    self.change(name, config.clone());
                }
                Some(_) => {}
            }
        }
        self.config = new;
        self.config_error = None;
        if !errors.is_empty() {
            self.refuse_config(errors.join("\n"));
        }
        if model_changed {
            tracing::info!("the model changed; the analysis starts again with it");
            for analysis in self.analyses.values_mut() {
                stop_analysis(analysis);
            }
            for camera in self.cameras.values_mut() {
                camera.analysis_fault = None;
                camera.analysis_retry = None;
            }
        }
    }

    /// A camera whose configuration is wrong from the start: shown, and nothing more.
    pub(super) fn add_broken(&mut self, name: &str, problems: String) {
        let mark = self.free_mark();
        let mut camera = Camera::new(name, CameraConfig::default(), mark, SystemTime::now());
        camera.broken = true;
        self.cameras.insert(name.to_owned(), camera);
        self.handle(name, Event::Broken(problems));
    }

    pub(super) fn add(&mut self, name: &str, config: CameraConfig) {
        let mark = self.free_mark();
        let enabled = config.enabled;
        let camera = Camera::new(name, config, mark, SystemTime::now());
        self.cameras.insert(name.to_owned(), camera);
        if enabled {
            self.handle(name, Event::Enable);
        } else {
            tracing::info!(camera = name, "disabled");
        }
    }

    pub(super) fn free_mark(&self) -> u32 {
        (0..)
            .find(|mark| self.cameras.values().all(|c| c.mark != *mark))
            .unwrap_or_default()
    }

    pub(super) fn change(&mut self, name: &str, config: CameraConfig) {
        let Some(camera) = self.cameras.get_mut(name) else {
            return;
        };
        if let Some(leaving) = &mut camera.leaving {
            leaving.replacement = Some(Box::new(config));
            return;
        }
        if camera.broken {
            self.cameras.remove(name);
            return self.add(name, config);
        }
        let restart = !crate::config::changes(&camera.config, &config)
            .restart
            .is_empty();
        if camera.config.enabled && config.enabled && restart {
            tracing::info!(camera = name, "restarting with its new configuration");
            self.leave(name, Some(config));
            return;
        }
        let was_enabled = camera.config.enabled;
        camera.config = config;
        camera.health.set_limits(limits(&camera.config));
        camera.analysis_fault = None;
        camera.analysis_retry = None;
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

    /// Begins the way out: capture first, then analysis, then the ring.
    pub(super) fn leave(&mut self, name: &str, replacement: Option<CameraConfig>) {
        let Some(camera) = self.cameras.get_mut(name) else {
            return;
        };
        camera.leaving = Some(Leaving {
            replacement: replacement.map(Box::new),
            detach_by: None,
        });
        self.handle(name, Event::Disable);
    }

    /// Cameras whose workers are gone leave the table, or come back with their new configuration.
    pub(super) fn finish_leaving(&mut self, now: Instant) {
        let done: Vec<String> = self
            .cameras
            .values()
            .filter(|c| {
                c.worker.is_none()
                    && c.leaving.as_ref().is_some_and(|leaving| {
                        c.attached_to.is_none() || leaving.detach_by.is_some_and(|at| now >= at)
                    })
            })
            .map(|c| c.name.clone())
            .collect();
        for name in done {
            let Some(camera) = self.cameras.remove(&name) else {
                continue;
            };
            drop(camera.monitor);
            self.run_dir.remove(&name);
            if let Some(config) = camera.leaving.and_then(|l| l.replacement)
                && !self.ending
            {
                self.add(&name, *config);
            }
        }
    }
}
