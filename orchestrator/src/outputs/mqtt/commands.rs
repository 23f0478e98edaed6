//! Commands: `CAM/NAME/set` switches what the configuration has, or a task.

use serde_json::{Value, json};
use watchpost_pipelines::CameraConfig;

/// What can be switched or set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Switch {
    Enabled,
    Detect,
    Motion,
    ImproveContrast,
    MotionThreshold,
    MotionContourArea,
}

/// What a command asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Command {
    /// The camera.
    pub(super) camera: String,
    /// The change of its configuration (JSON merge patch).
    pub(super) patch: Value,
}

impl Switch {
    pub(super) const ALL: [Self; 6] = [
        Self::Enabled,
        Self::Detect,
        Self::Motion,
        Self::ImproveContrast,
        Self::MotionThreshold,
        Self::MotionContourArea,
    ];

    /// The level of its topics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Detect => "detect",
            Self::Motion => "motion",
            Self::ImproveContrast => "improve_contrast",
            Self::MotionThreshold => "motion_threshold",
            Self::MotionContourArea => "motion_contour_area",
        }
    }

    /// The key of the configuration it changes.
    #[cfg(test)]
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Detect => "detect.enabled",
            Self::Motion => "motion.enabled",
            Self::ImproveContrast => "motion.improve_contrast",
            Self::MotionThreshold => "motion.threshold",
            Self::MotionContourArea => "motion.contour_area",
        }
    }

    /// Lowest and highest value of a number.
    pub(super) const fn range(self) -> Option<(u32, u32)> {
        match self {
            Self::MotionThreshold => Some((1, 255)),
            Self::MotionContourArea => Some((0, 100_000)),
            Self::Enabled | Self::Detect | Self::Motion | Self::ImproveContrast => None,
        }
    }

    /// Its state.
    pub(super) fn state(self, camera: &CameraConfig) -> String {
        let on_off = |on: bool| if on { "ON" } else { "OFF" }.to_owned();
        match self {
            Self::Enabled => on_off(camera.enabled),
            Self::Detect => on_off(camera.detect.enabled),
            Self::Motion => on_off(camera.motion.enabled),
            Self::ImproveContrast => on_off(camera.motion.improve_contrast),
            Self::MotionThreshold => camera.motion.threshold.to_string(),
            Self::MotionContourArea => camera.motion.contour_area.to_string(),
        }
    }

    fn patch(self, camera: &CameraConfig, payload: &str) -> Result<Value, String> {
        if let Some((low, high)) = self.range() {
            let number: Option<u32> = payload.trim().parse().ok();
            let number = number
                .filter(|number| (low..=high).contains(number))
                .ok_or_else(|| format!("expected a whole number from {low} to {high}"))?;
            return Ok(match self {
                Self::MotionThreshold => json!({"motion": {"threshold": number}}),
                _ => json!({"motion": {"contour_area": number}}),
            });
        }
        let on = match payload {
            "ON" => true,
            "OFF" => false,
            _ => return Err("expected ON or OFF".to_owned()),
        };
        Ok(match self {
            // Objects are looked for where there is motion.
            Self::Detect if on && !camera.motion.enabled => {
                json!({"detect": {"enabled": true}, "motion": {"enabled": true}})
            }
            Self::Detect => json!({"detect": {"enabled": on}}),
            Self::Motion if !on && camera.detect.enabled => {
                return Err(
                    "motion stays on while detect is on; switch detect off first".to_owned(),
                );
            }
            Self::Motion => json!({"motion": {"enabled": on}}),
            Self::ImproveContrast => json!({"motion": {"improve_contrast": on}}),
            _ => json!({"enabled": on}),
        })
    }
}

/// The filter that commands come by.
pub(super) fn filter(prefix: &str) -> String {
    format!("{prefix}/+/+/set")
}

/// What a message on a `set` topic asks for; an error says why it is refused.
pub(super) fn parse<'a>(
    prefix: &str,
    topic: &str,
    payload: &[u8],
    camera: impl Fn(&str) -> Option<&'a CameraConfig>,
) -> Result<Command, String> {
    let below = topic
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('/'));
    let mut levels = below.unwrap_or_default().split('/');
    let (name, switch) = (
        levels.next().unwrap_or_default(),
        levels.next().unwrap_or_default(),
    );
    let config = camera(name).ok_or_else(|| format!("there is no camera {name:?}"))?;
    let known = Switch::ALL.into_iter().find(|known| known.name() == switch);
    let Some(known) = known else {
        let names = Switch::ALL.map(Switch::name).join(", ");
        return Err(format!("`{switch}` cannot be set, expected one of {names}"));
    };
    let text = std::str::from_utf8(payload).unwrap_or_default();
    let patch = known
        .patch(config, text)
        .map_err(|why| format!("`{}`: {why}", text.chars().take(40).collect::<String>()))?;
    Ok(Command {
        camera: name.to_owned(),
        patch,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(config: &CameraConfig, topic: &str, payload: &str) -> Result<Value, String> {
        let camera = |name: &str| (name == "front").then_some(config);
        let parsed = parse("w/x", topic, payload.as_bytes(), camera);
        parsed.map(|command| {
            assert_eq!(command.camera, "front");
            command.patch
        })
    }

    #[test]
    fn switches_become_changes_of_the_configuration() {
        let mut config = CameraConfig::default();
        for (topic, payload, expected) in [
            ("w/x/front/enabled/set", "OFF", json!({"enabled": false})),
            (
                "w/x/front/detect/set",
                "ON",
                json!({"detect": {"enabled": true}}),
            ),
            (
                "w/x/front/improve_contrast/set",
                "ON",
                json!({"motion": {"improve_contrast": true}}),
            ),
            (
                "w/x/front/motion_threshold/set",
                "44",
                json!({"motion": {"threshold": 44}}),
            ),
            (
                "w/x/front/motion_contour_area/set",
                "9",
                json!({"motion": {"contour_area": 9}}),
            ),
        ] {
            assert_eq!(command(&config, topic, payload), Ok(expected), "{topic}");
        }
        let refused = command(&config, "w/x/front/motion/set", "OFF").unwrap_err();
        assert!(refused.contains("switch detect off first"), "{refused}");
        config.detect.enabled = false;
        config.motion.enabled = false;
        let both = json!({"detect": {"enabled": true}, "motion": {"enabled": true}});
        assert_eq!(command(&config, "w/x/front/detect/set", "ON"), Ok(both));
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_a_reason() {
        let config = CameraConfig::default();
        for (topic, payload, expected) in [
            ("w/x/back/detect/set", "ON", "there is no camera \"back\""),
            (
                "w/x/front/recordings/set",
                "ON",
                "`recordings` cannot be set",
            ),
            ("w/x/front/detect/set", "on", "`on`: expected ON or OFF"),
            (
                "w/x/front/motion_threshold/set",
                "0",
                "`0`: expected a whole number from 1 to 255",
            ),
            (
                "w/x/front/motion_threshold/set",
                "x",
                "`x`: expected a whole number",
            ),
        ] {
            let refused = command(&config, topic, payload).unwrap_err();
            assert!(refused.starts_with(expected), "{topic}: {refused}");
        }
    }

    #[test]
    fn each_switch_shows_the_key_it_changes() {
        for switch in Switch::ALL {
            let mut config = CameraConfig::default();
            config.detect.enabled = switch != Switch::Motion;
            let payload = if switch.range().is_some() {
                "77"
            } else {
                "OFF"
            };
            let patch = switch.patch(&config, payload).unwrap();
            let mut value = serde_json::to_value(&config).unwrap();
            let pointer = format!("/{}", switch.key().replace('.', "/"));
            *value.pointer_mut(&pointer).unwrap() = patch.pointer(&pointer).unwrap().clone();
            let changed: CameraConfig = serde_json::from_value(value).unwrap();
            assert_eq!(switch.state(&changed), payload, "{switch:?}");
        }
    }
}
