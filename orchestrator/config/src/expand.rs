//! References in values: `${NAME}` to the environment, `file:PATH` to a file that holds a secret.
//!
//! They are resolved in a copy of the tree, just before it is read; what is shown and written keeps them. What they stand for
//! is a number, true or false where the key takes one (or takes no text), else text: a password of digits stays the text it is.

use std::path::Path;

use rustix::fs::{Mode, OFlags};
use serde_json::Value;
use watchpost_pipelines::secret;

use super::schema;
use super::yaml::{self, Content, Node, Step};

/// Most bytes of a file with a secret.
const MAX_SECRET: u64 = 64 << 10;

/// Where the values of references come from.
pub trait Environment {
    /// The variable of this name, if it is set.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The process's own environment.
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// A reference that cannot be resolved: where, and why.
pub type Unresolved = (Vec<Step>, String);

/// A reference that was resolved: where, and what it stands for.
pub type Resolved = (Vec<Step>, String);

/// Resolves every reference below a node. `folder` is what relative paths count from. Answers with those that cannot be
/// resolved, and with the others.
pub fn resolve(
    node: &mut Node,
    folder: &Path,
    environment: &dyn Environment,
) -> (Vec<Unresolved>, Vec<Resolved>) {
    let mut unresolved = Vec::new();
    let mut resolved = Vec::new();
    let mut path = Vec::new();
    walk(
        node,
        None,
        folder,
        environment,
        &mut path,
        &mut unresolved,
        &mut resolved,
    );
    (unresolved, resolved)
}

fn walk(
    node: &mut Node,
    key: Option<&str>,
    folder: &Path,
    environment: &dyn Environment,
    path: &mut Vec<Step>,
    unresolved: &mut Vec<Unresolved>,
    resolved: &mut Vec<Resolved>,
) {
    match &mut node.content {
        Content::Text(text) => match value(text, key, folder, environment) {
            Ok(Some(value)) => {
                resolved.push((path.clone(), value.clone()));
                *text = value;
            }
            Ok(None) => {}
            Err(why) => unresolved.push((path.clone(), why)),
        },
        Content::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                path.push(Step::Index(index));
                walk(item, key, folder, environment, path, unresolved, resolved);
                path.pop();
            }
        }
        Content::Mapping(entries) => {
            for (key, value) in entries.values_mut() {
                path.push(Step::Key(key.to_owned()));
                walk(
                    value,
                    Some(key),
                    folder,
                    environment,
                    path,
                    unresolved,
                    resolved,
                );
                path.pop();
            }
        }
        Content::Null | Content::Bool(_) | Content::Number(_) => {}
    }
}

/// Makes a number, true or false of what references became where the schema takes one, or no text. Answers with the texts
/// that stay.
pub fn take_types(schema: &Value, value: &mut Value, resolved: Vec<Resolved>) -> Vec<String> {
    resolved
        .into_iter()
        .filter_map(|(path, text)| {
            let place = path.iter().try_fold(&mut *value, |value, step| match step {
                Step::Key(key) => value.get_mut(key),
                Step::Index(index) => value.get_mut(index),
            });
            let typed = yaml::parse(&text).map_or(Value::Null, |tree| tree.root.to_value());
            let takes = |kinds: &[&str]| takes(schema, schema, &path, kinds);
            let is_meant = match &typed {
                Value::Number(_) => takes(&["number", "integer"]) || !takes(&["string"]),
                Value::Bool(_) => takes(&["boolean"]) || !takes(&["string"]),
                _ => false,
            };
            match place {
                Some(place) if is_meant => {
                    *place = typed;
                    None
                }
                _ => Some(text).filter(|text| !text.is_empty()),
            }
        })
        .collect()
}

/// Whether a schema lets a value of one of these kinds stand at a path.
fn takes(root: &Value, schema: &Value, path: &[Step], wanted: &[&str]) -> bool {
    if let Some(schema) = schema::referred(root, schema) {
        return takes(root, schema, path, wanted);
    }
    let mut options = schema::options(schema).peekable();
    if options.peek().is_some() {
        return options.any(|option| takes(root, option, path, wanted));
    }
    let kinds = &schema["type"];
    // Without a word about it, it may be anything.
    let is = |kind: &str| match kinds.as_array() {
        Some(kinds) => kinds.iter().any(|known| known == kind),
        None => kinds == kind || kinds.is_null() && *schema != Value::Bool(false),
    };
    match path {
        [] => wanted.iter().any(|kind| is(kind)),
        [Step::Key(_), ..] if !is("object") => false,
        [Step::Index(_), ..] if !is("array") => false,
        [Step::Key(key), rest @ ..] => takes(root, schema::of_key(schema, key), rest, wanted),
        [Step::Index(_), rest @ ..] => takes(root, &schema["items"], rest, wanted),
    }
}

/// Keys whose value may stand in a file of its own.
fn may_be_file(key: &str) -> bool {
    secret::is_secret_key(key) || matches!(key, "user" | "url" | "rtsp")
}

/// The text of a regular file of a reasonable size: a device has no end, and a pipe may never begin.
fn read_secret(path: &Path) -> std::io::Result<String> {
    use std::io::{Error, ErrorKind, Read};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        let why = "not a regular file; write the secret into one";
        return Err(Error::new(ErrorKind::InvalidInput, why));
    }
    let mut text = String::new();
    file.take(MAX_SECRET + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_SECRET {
        let why = format!("larger than {} KiB; a secret is one line", MAX_SECRET >> 10);
        return Err(Error::new(ErrorKind::FileTooLarge, why));
    }
    Ok(text)
}

fn value(
    text: &str,
    key: Option<&str>,
    folder: &Path,
    environment: &dyn Environment,
) -> Result<Option<String>, String> {
    if let Some(path) = text.strip_prefix("file:")
        && key.is_some_and(may_be_file)
    {
        let path = folder.join(path);
        return match read_secret(&path) {
            Ok(content) => Ok(Some(content.trim_end_matches(['\r', '\n']).to_owned())),
            Err(error) => Err(format!(
                "the file {} cannot be read: {error}",
                path.display()
            )),
        };
    }
    if !text.contains("${") {
        return Ok(None);
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        let Some(end) = rest[start..].find('}') else {
            return Err("`${` without its `}`, expected ${NAME}".to_owned());
        };
        let name = &rest[start + 2..start + end];
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(format!(
                "`${{{name}}}` is no name of an environment variable, expected ${{NAME}}"
            ));
        }
        match environment.variable(name) {
            Some(value) => out.push_str(&value),
            None => return Err(format!("the environment variable {name} is not set")),
        }
        rest = &rest[start + end + 1..];
    }
    out.push_str(rest);
    Ok(Some(out))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::yaml;
    use super::*;

    struct Only(&'static str, &'static str);

    impl Environment for Only {
        fn variable(&self, name: &str) -> Option<String> {
            (name == self.0).then(|| self.1.to_owned())
        }
    }

    #[test]
    fn references_are_resolved_where_they_stand() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pw"), "ge:heim\n").unwrap();
        let mut tree =
            yaml::parse("rtsp: rtsp://u:${PW}@h/1\npassword: file:pw\nlaunch: file:pw\nn: 5")
                .unwrap();
        let (unresolved, _) = resolve(&mut tree.root, folder.path(), &Only("PW", "x y"));
        assert_eq!(unresolved, []);
        assert_eq!(
            tree.root.to_value(),
            json!({"rtsp": "rtsp://u:x y@h/1", "password": "ge:heim", "launch": "file:pw", "n": 5})
        );
    }

    #[test]
    fn a_secret_is_read_from_a_small_regular_file_only() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .unwrap();
        let large = folder.path().join("large");
        std::fs::write(&large, "x".repeat(MAX_SECRET as usize + 1)).unwrap();
        for (path, said) in [
            (Path::new("/dev/zero"), "not a regular file"),
            (fifo.as_path(), "not a regular file"),
            (folder.path(), "not a regular file"),
            (large.as_path(), "larger than 64 KiB"),
        ] {
            let mut tree = yaml::parse(&format!("password: file:{}", path.display())).unwrap();
            let (unresolved, _) = resolve(&mut tree.root, Path::new("/"), &Only("PW", ""));
            assert!(unresolved[0].1.contains(said), "{unresolved:?}");
        }
    }

    #[test]
    fn references_to_nothing_say_what_is_missing() {
        for (text, said) in [
            ("a: ${NO}", "variable NO is not set"),
            ("a: ${NO", "without its `}`"),
            ("a: ${N O}", "no name of an environment variable"),
            ("password: file:none", "none cannot be read"),
        ] {
            let mut tree = yaml::parse(text).unwrap();
            let (unresolved, _) = resolve(&mut tree.root, Path::new("/nowhere"), &Only("PW", ""));
            assert!(unresolved[0].1.contains(said), "{unresolved:?}");
        }
    }
}
