//! A change of the configuration, planned once: what is at work then, and what has to be done to get there.

use std::collections::BTreeMap;

use watchpost_api::Action;
use watchpost_pipelines::CameraConfig;

use super::file::Config;
use super::plan::plan;
use super::{Loaded, Problems};

/// A planned change. It carries everything that is needed to execute it.
#[derive(Debug, Clone)]
pub struct Change {
    /// The configuration to run. A camera that is wrong and ran before is in it as it was.
    pub config: Config,
    /// Cameras with mistakes that never ran: they are shown with what is wrong.
    pub broken: BTreeMap<String, Problems>,
    /// Cameras with mistakes that go on with their configuration of before.
    pub kept: BTreeMap<String, Problems>,
    /// What has to be done, in this order.
    pub actions: Vec<Action>,
    /// The text of the file, with its references to environment variables.
    pub text: String,
}

impl Change {
    /// From one configuration to another. In `new`, cameras with mistakes that ran before are as they were
    /// ([`Loaded::keep_working`]).
    pub fn between(old: &Loaded, new: &Loaded) -> Self {
        let (kept, broken) = (new.broken.clone().into_iter())
            .partition(|(name, _)| new.config.cameras.contains_key(name));
        Self {
            config: new.config.clone(),
            broken,
            kept,
            actions: plan(&with_broken(old), &with_broken(new)),
            text: new.text.clone(),
        }
    }

    /// The start of everything with this configuration.
    pub fn first(loaded: &Loaded) -> Self {
        let mut nothing = Loaded::default();
        // The analysis does not run yet, so that a model is no reason to start it again.
        nothing.config.model.clone_from(&loaded.config.model);
        Self::between(&nothing, loaded)
    }
}

/// For the plan, a camera that never ran because of a mistake exists and is disabled: so it can start when the mistake is
/// corrected, be removed, or take part in a change of names.
fn with_broken(loaded: &Loaded) -> Config {
    let mut config = loaded.config.clone();
    for name in loaded.broken.keys() {
        config
            .cameras
            .entry(name.clone())
            .or_insert_with(|| CameraConfig {
                enabled: false,
                ..CameraConfig::default()
            });
    }
    config
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn loaded(cameras: &str) -> Loaded {
        super::super::parse(Path::new("w.yaml"), format!("cameras: {cameras}")).unwrap()
    }

    fn actions(old: &str, new: &str) -> Vec<Action> {
        let (old, mut new) = (loaded(old), loaded(new));
        new.keep_working(&old.config);
        Change::between(&old, &new).actions
    }

    const GOOD: &str = "{a: {source: {test: walkers}}}";
    const WRONG: &str = "{a: {source: {test: walkers}, detekt: {}}}";

    #[test]
    fn a_corrected_camera_starts_and_a_removed_one_is_removed_although_it_never_ran() {
        let camera = || "a".to_owned();
        assert_eq!(actions(WRONG, GOOD), [Action::Start { camera: camera() }]);
        let removed = Action::Stop {
            camera: camera(),
            removed: true,
        };
        assert_eq!(actions(WRONG, "{}"), [removed]);
        assert_eq!(
            actions(WRONG, "{b: {source: {test: walkers}, previous_name: a}}"),
            [Action::Rename {
                from: camera(),
                camera: "b".to_owned()
            }]
        );
        assert_eq!(actions("{}", WRONG), []);
    }

    #[test]
    fn a_camera_that_ran_goes_on_as_it_was() {
        let (old, mut new) = (loaded(GOOD), loaded(WRONG));
        new.keep_working(&old.config);
        let change = Change::between(&old, &new);
        assert_eq!(change.actions, []);
        assert_eq!(change.config, old.config);
        assert!(change.broken.is_empty() && change.kept.contains_key("a"));
        assert!(Change::first(&loaded(WRONG)).broken.contains_key("a"));
    }
}
