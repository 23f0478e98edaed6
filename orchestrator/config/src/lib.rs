//! The configuration file: its types, where in it a mistake stands, and what a change of it means.
//!
//! ```text
//! text -> yaml (tree with places) -> expand (references) -> reading (types) -> ranges, check -> Loaded
//! ```
//!
//! What is shown and written is always made from the tree before references are resolved.

mod access;
mod change;
mod check;
#[cfg(test)]
mod docs;
mod document;
mod events;
mod expand;
mod file;
mod foreign;
mod frigate;
mod hidden;
mod hooks;
mod media;
mod message;
mod mqtt;
mod plan;
mod problem;
mod ranges;
mod reading;
mod schema;
#[cfg(test)]
mod tests;
mod write;
pub mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::{Map, Value};
use watchpost_pipelines::CameraConfig;
use watchpost_pipelines::camera::Source;
use watchpost_pipelines::secret;

pub use access::http_problem;
pub use change::Change;
pub use check::{is_topic_label, name_problem};
pub use document::{ChangeError, Document, Wanted};
pub use events::EventsConfig;
pub use expand::{Environment, ProcessEnvironment};
pub use file::{Config, HttpConfig, Role, Scope, TokenConfig, UserConfig};
pub use frigate::{Imported, import as import_frigate};
pub use hidden::{hide, restore};
pub use hooks::{HookConfig, HookEvent, HookFilter, WebhookConfig};
pub use media::MediaConfig;
pub use message::in_our_words;
pub use mqtt::{DiscoveryConfig, MqttConfig};
pub use plan::{plan, takeovers};
pub use problem::{Problem, Problems};
pub use watchpost_pipelines::camera::Bytes;
pub use write::{WriteError, Written, replace};
pub use yaml::{EditError, edit};

use reading::Wrong;
use yaml::{Content, Node, Step, Tree};

/// A configuration that can be run.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The configuration, references resolved, paths absolute, cameras that are wrong left out.
    pub config: Config,
    /// What is wrong outside the cameras; the keys concerned are at their defaults (a model that does not exist is kept).
    pub general: Problems,
    /// The cameras that are wrong, and why.
    pub broken: BTreeMap<String, Problems>,
    /// What is worth saying and stops nothing.
    pub warnings: Problems,
    /// The text this comes from.
    pub text: String,
}

impl Loaded {
    /// A mistake made in the file meanwhile does not end what works: a camera that is wrong now, and was right before,
    /// stays as it was.
    pub fn keep_working(&mut self, before: &Config) {
        for name in self.broken.keys() {
            if let Some(camera) = before.cameras.get(name) {
                self.config.cameras.insert(name.clone(), camera.clone());
            }
        }
    }

    /// Whether there is a mistake in the section `http`, or in its name. What is left without the key concerned may be an
    /// interface that asks for no token.
    pub fn is_http_wrong(&self) -> bool {
        self.general.iter().any(|problem| {
            let section = problem.key.split(['.', '[']).next().unwrap_or_default();
            section == "http" || problem.message.contains("did you mean `http`")
        })
    }

    /// A mistake in the value at a path, found by who knows more than the file.
    pub fn problem_at(&self, file: &Path, path: &[Step], message: String) -> Problem {
        let tree = yaml::parse(&self.text);
        let place = tree.map_or_else(|m| m.place, |tree| tree.root.place_of_value(path));
        Problem {
            file: file.to_owned(),
            line: place.line,
            column: place.column,
            key: yaml::path_text(path),
            message,
        }
    }

    /// Every problem that makes `check` and `--strict` fail, in the order of the file.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        let mut all: Vec<&Problem> = self
            .general
            .iter()
            .chain(self.broken.values().flat_map(Problems::iter))
            .collect();
        all.sort_by_key(|problem| (problem.line, problem.column));
        all.into_iter()
    }
}

/// JSON Schema of the configuration file.
pub fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| schemars::schema_for!(Config).to_value());
    &SCHEMA
}

fn camera_schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> =
        LazyLock::new(|| schemars::schema_for!(CameraConfig).to_value());
    &SCHEMA
}

/// Reads and checks a configuration file. An error leaves nothing to run: the file cannot be read, or is no YAML.
/// Everything else is in [`Loaded::general`] and [`Loaded::broken`].
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    let text = read_text(path).map_err(|error| {
        Problems::from(Problem::of_file(path, format!("cannot be read: {error}")))
    })?;
    parse(path, text)
}

/// The text of a configuration file. Text in another encoding is named with its place.
pub fn read_text(path: &Path) -> std::io::Result<String> {
    String::from_utf8(std::fs::read(path)?).map_err(|error| {
        let end = error.utf8_error().valid_up_to();
        let (good, rest) = error.as_bytes().split_at(end);
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            format!(
                "line {line} is no UTF-8 text (byte 0x{:02x}); save the file as UTF-8",
                rest.first().copied().unwrap_or_default()
            ),
        )
    })
}

/// As [`load`], from a text that stands (or is about to stand) in `path`.
pub fn parse(path: &Path, text: String) -> Result<Loaded, Problems> {
    parse_with(path, text, &ProcessEnvironment)
}

/// As [`parse`], with another environment for `${NAME}`.
pub fn parse_with(
    path: &Path,
    text: String,
    environment: &dyn Environment,
) -> Result<Loaded, Problems> {
    let tree = yaml::parse(&text).map_err(|mistake| {
        let line = text.lines().nth(mistake.place.line.saturating_sub(1));
        let in_braces = mistake.message.contains("flow");
        let advice = if in_braces && line.is_some_and(|line| line.contains("${")) {
            "; between braces a reference needs quotes: \"${NAME}\""
        } else {
            ""
        };
        Problems::from(Problem {
            file: path.to_owned(),
            line: mistake.place.line,
            column: mistake.place.column,
            key: yaml::path_text(&mistake.path),
            message: format!("{}{advice}", mistake.message),
        })
    })?;
    read_tree(path, text, tree, environment)
}

/// As [`parse`], from a value that is to become the file: a mistake has a key and no line.
pub fn parse_value(path: &Path, value: &Value) -> Result<Loaded, Problems> {
    let tree = Tree {
        root: Node::of_value(value),
        duplicates: Vec::new(),
    };
    read_tree(path, String::new(), tree, &ProcessEnvironment)
}

fn read_tree(
    path: &Path,
    text: String,
    tree: Tree,
    environment: &dyn Environment,
) -> Result<Loaded, Problems> {
    let mut file = File {
        path,
        root: &tree.root,
        secrets: Vec::new(),
    };
    if !matches!(tree.root.content, Content::Mapping(_) | Content::Null) {
        return Err(file
            .problem(&Wrong::of_value(
                Vec::new(),
                "is no mapping, expected keys like `cameras:`",
            ))
            .into());
    }
    let folder = folder_of(path);
    let mut root = tree.root.clone();
    let (unresolved, resolved) = expand::resolve(&mut root, &folder, environment);
    let mut value = root.to_value();
    file.secrets = expand::take_types(schema(), &mut value, resolved);
    file.secrets.sort_unstable();
    file.secrets.dedup();

    let mut found: Vec<Wrong> = Vec::new();
    for mistake in tree.duplicates {
        found.push(Wrong {
            path: mistake.path,
            message: mistake.message,
            key: true,
            place: Some(mistake.place),
        });
    }
    for (path, why) in unresolved {
        found.push(Wrong::of_value(path, why));
    }

    let cameras = value.as_object_mut().and_then(|top| top.remove("cameras"));
    if value.is_null() {
        value = Value::Object(Map::new());
    }
    reading::drop_nulls(&mut value);
    for (path, why) in ranges::check(schema(), &value) {
        reading::remove(&mut value, &path);
        found.push(Wrong::of_value(path, why));
    }
    let (config, wrong) = reading::read::<Config>(&mut value);
    found.extend(wrong);
    let mut config = config.unwrap_or_default();
    absolute(&mut config, &folder);

    let mut warnings = Vec::new();
    let mut broken: BTreeMap<String, Problems> = BTreeMap::new();
    let entries = match cameras {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(entries)) => entries,
        Some(_) => {
            found.push(Wrong::of_value(
                vec![key("cameras")],
                "is no mapping, expected cameras by name",
            ));
            Map::new()
        }
    };
    let names: BTreeSet<String> = entries.keys().cloned().collect();
    let mut of_cameras: BTreeMap<String, Vec<Wrong>> = BTreeMap::new();
    let (in_cameras, rest) = found.into_iter().partition(
        |wrong: &Wrong| matches!(&wrong.path[..], [first, Step::Key(name), ..] if *first == key("cameras") && names.contains(name)),
    );
    let mut found: Vec<Wrong> = rest;
    let in_cameras: Vec<Wrong> = in_cameras;
    for mut wrong in in_cameras {
        if let Step::Key(name) = &wrong.path[1] {
            let name = name.clone();
            wrong.path.drain(..2);
            of_cameras.entry(name).or_default().push(wrong);
        }
    }
    for (name, camera) in entries {
        // Mistakes of the text itself (a key given twice, a reference to nothing) belong to the camera they stand in.
        let mut wrong = of_cameras.remove(&name).unwrap_or_default();
        let (read, said) = read_camera(&name, camera, &value, &folder, &config, &names);
        wrong.extend(said.0);
        warnings.extend(said.1.iter().map(|note| file.camera_problem(&name, note)));
        if wrong.is_empty() {
            if let Some(camera) = read {
                config.cameras.insert(name, camera);
            }
        } else {
            let problems = wrong
                .iter()
                .map(|note| file.camera_problem(&name, note))
                .collect();
            broken.insert(name, sorted(problems));
        }
    }

    let findings = check::general(&config);
    found.extend(findings.wrong);
    warnings.extend(findings.warnings.iter().map(|note| file.problem(note)));
    Ok(Loaded {
        config,
        general: sorted(found.iter().map(|note| file.problem(note)).collect()),
        broken,
        warnings: sorted(warnings),
        text,
    })
}

type Said = (Vec<Wrong>, Vec<Wrong>);

fn read_camera(
    name: &str,
    camera: Value,
    general: &Value,
    folder: &Path,
    config: &Config,
    names: &BTreeSet<String>,
) -> (Option<CameraConfig>, Said) {
    let camera = match camera {
        Value::Null => Value::Object(Map::new()),
        Value::Object(_) => camera,
        _ => {
            return (
                None,
                (
                    vec![Wrong::of_value(
                        Vec::new(),
                        "is no mapping, expected the keys of a camera",
                    )],
                    Vec::new(),
                ),
            );
        }
    };
    let mut effective = Value::Object(Map::new());
    for section in ["detect", "motion", "objects", "record"] {
        if let Some(section_value) = general.get(section) {
            effective[section] = section_value.clone();
        }
    }
    reading::lay_over(&mut effective, camera);
    reading::drop_nulls(&mut effective);
    let mut wrong = Vec::new();
    for (path, why) in ranges::check(camera_schema(), &effective) {
        reading::remove(&mut effective, &path);
        wrong.push(Wrong::of_value(path, why));
    }
    let (read, mistakes) = reading::read::<CameraConfig>(&mut effective);
    wrong.extend(mistakes);
    let mut warnings = Vec::new();
    let read = read.map(|mut camera| {
        absolute_sources(&mut camera, folder);
        camera.record.make_absolute(folder);
        let findings = check::camera(name, &camera, config.run_dir.as_deref());
        // What follows from a mistake that is already named is not said again.
        let known: Vec<Vec<Step>> = wrong.iter().map(|w| w.path.clone()).collect();
        wrong.extend(findings.wrong.into_iter().filter(|note| {
            let about_source = note.path.is_empty() && note.message.contains("no source");
            let about_roles =
                note.message.contains("no roles") || note.message.contains("has the role");
            let source_known = |path: &Vec<Step>| {
                path.first() == Some(&key("source")) || path.first() == Some(&key("sources"))
            };
            !((about_source || about_roles) && known.iter().any(source_known))
        }));
        warnings = findings.warnings;
        if let Some(previous) = &camera.previous_name
            && previous != name
            && names.contains(previous)
        {
            wrong.push(Wrong::of_value(
                vec![key("previous_name")],
                format!(
                    "`{previous}` is a camera of this file, expected a name no camera has any more"
                ),
            ));
        }
        camera
    });
    (read, (wrong, warnings))
}

fn key(name: &str) -> Step {
    Step::Key(name.to_owned())
}

/// What relative paths of a configuration file count from.
fn folder_of(path: &Path) -> PathBuf {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    std::path::absolute(folder.unwrap_or(Path::new("."))).unwrap_or_default()
}

fn absolute(config: &mut Config, folder: &Path) {
    for path in [&mut config.data_dir, &mut config.run_dir]
        .into_iter()
        .flatten()
    {
        *path = folder.join(&*path);
    }
    let webhooks = config
        .hooks
        .iter_mut()
        .filter_map(|hook| hook.webhook.as_mut());
    let of_webhooks = webhooks.filter_map(|webhook| webhook.ca_certs.as_mut());
    for path in config.mqtt.files_mut().chain(of_webhooks) {
        *path = folder.join(&*path);
    }
    config.record.make_absolute(folder);
    if let Some(model) = &mut config.model {
        model.path = folder.join(&model.path);
        if let Some(labels) = &mut model.labels {
            *labels = folder.join(&*labels);
        }
    }
}

fn absolute_sources(camera: &mut CameraConfig, folder: &Path) {
    let entries = camera.sources.iter_mut().map(|entry| &mut entry.source);
    for source in camera.source.iter_mut().chain(entries) {
        if let Source::File(file) = source {
            file.path = folder.join(&file.path);
        }
    }
}

fn sorted(mut problems: Vec<Problem>) -> Problems {
    problems.sort_by_key(|problem| (problem.line, problem.column));
    Problems(problems)
}

/// Says where in the file a path stands.
struct File<'a> {
    path: &'a Path,
    root: &'a Node,
    /// What references stand for: never told.
    secrets: Vec<String>,
}

impl File<'_> {
    fn problem(&self, wrong: &Wrong) -> Problem {
        let place = match wrong.place {
            Some(place) => place,
            None if wrong.key => self.root.place_of_key(&wrong.path),
            None => self.root.place_of_value(&wrong.path),
        };
        let mut message = wrong.message.clone();
        for secret in &self.secrets {
            message = message.replace(secret, secret::HIDDEN);
        }
        Problem {
            file: self.path.to_owned(),
            line: place.line,
            column: place.column,
            key: yaml::path_text(&wrong.path),
            message,
        }
    }

    /// A camera's problem stands in the camera, or in the general section the camera took the key from.
    fn camera_problem(&self, name: &str, wrong: &Wrong) -> Problem {
        let path: Vec<Step> = [key("cameras"), key(name)]
            .into_iter()
            .chain(wrong.path.iter().cloned())
            .collect();
        let inherited = self.root.at(&path).is_none()
            && self.root.at(&wrong.path).is_some()
            && !wrong.path.is_empty();
        let mut problem = self.problem(&Wrong {
            path: if inherited { wrong.path.clone() } else { path },
            ..wrong.clone()
        });
        if inherited {
            problem.message = format!("{} (in camera {name})", problem.message);
        }
        problem
    }
}
