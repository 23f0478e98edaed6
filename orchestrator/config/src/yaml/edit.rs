//! Changes of the file that leave everything else in it as it was: comments, order, quotes, blank lines.
//!
//! The tree knows where each value stands, so only the texts of what differs are replaced. Each pass is read back, and the
//! end is compared with what was wanted: either the file then says exactly that, or nothing is changed.
//!
//! Editing crates were looked at: yamlpatch needs a newer compiler and a C parser, yaml-edit a second parser that may see
//! the file differently than the one that reads it. Here reading and writing share one.

use serde_json::{Map, Value};

use super::{Content, Entry, Mapping, Node};
use crate::yaml;

/// Why a text cannot be changed that way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The text is no YAML.
    #[error("the file is no valid YAML: {0}")]
    Unreadable(String),
    /// The place is written in a way that cannot be changed alone.
    #[error(
        "the file cannot be changed at {0} without touching other parts (an anchor, or an unusual form); edit it by hand"
    )]
    Form(String),
}

/// Passes over the text. Each makes all changes that do not touch each other, so that few are needed however many
/// values differ.
const MAX_PASSES: usize = 100;

/// The text changed so that it reads as `wanted`. Lines that all end in CR LF go on doing so.
pub fn edit(text: &str, wanted: &Value) -> Result<String, EditError> {
    let ends = text.matches('\n').count();
    if ends > 0 && text.matches("\r\n").count() == ends {
        let edited = edit_lines(&text.replace("\r\n", "\n"), wanted)?;
        return Ok(edited.replace('\n', "\r\n"));
    }
    edit_lines(text, wanted)
}

fn edit_lines(text: &str, wanted: &Value) -> Result<String, EditError> {
    let mut text = text.to_owned();
    for _ in 0..MAX_PASSES {
        let tree = yaml::parse(&text).map_err(|mistake| EditError::Unreadable(mistake.message))?;
        if !tree.duplicates.is_empty() {
            return Err(EditError::Unreadable("keys are given twice".to_owned()));
        }
        if tree.root.to_value() == *wanted {
            return Ok(text);
        }
        let editor = Editor { text: &text };
        let (mut path, mut splices) = (Vec::new(), Vec::new());
        editor
            .change(&tree.root, wanted, None, &mut path, &mut splices)
            .ok_or_else(|| EditError::Form(name(&path)))?;
        // A pass that makes the text unreadable was not possible; its first change alone may be.
        let is_good = |changed: &String| {
            *changed != text && yaml::parse(changed).is_ok_and(|tree| tree.duplicates.is_empty())
        };
        let first = splices.first().cloned();
        text = Some(applied(&text, splices))
            .filter(is_good)
            .or_else(|| Some(applied(&text, first.into_iter().collect())).filter(is_good))
            .ok_or_else(|| EditError::Form(name(&path)))?;
    }
    Err(EditError::Form("the top".to_owned()))
}

/// A replacement of a part of the text.
#[derive(Debug, Clone)]
struct Splice {
    start: usize,
    end: usize,
    with: String,
}

/// The text with those replacements made that do not touch an earlier one; the others are for the next pass.
fn applied(text: &str, mut splices: Vec<Splice>) -> String {
    splices.sort_by_key(|splice| (splice.start, splice.end));
    let mut out = String::with_capacity(text.len());
    let (mut end, mut last_start) = (0, None);
    for splice in splices {
        if splice.start < end || last_start == Some(splice.start) {
            continue;
        }
        out.push_str(&text[end..splice.start]);
        out.push_str(&splice.with);
        end = splice.end;
        last_start = Some(splice.start);
    }
    out.push_str(&text[end..]);
    out
}

fn name(path: &[String]) -> String {
    if path.is_empty() {
        "the top".to_owned()
    } else {
        path.join(".")
    }
}

struct Editor<'a> {
    text: &'a str,
}

/// How a value is held: what has to be written anew when the value itself cannot be replaced alone.
struct Holder<'a> {
    entry: &'a Entry,
    flow: bool,
}

impl Editor<'_> {
    /// Collects the changes that lead to `wanted`; `None` where that is not possible, `path` is the place then. What is left
    /// out here because it depends on another change comes in the next pass.
    fn change(
        &self,
        node: &Node,
        wanted: &Value,
        holder: Option<&Holder>,
        path: &mut Vec<String>,
        splices: &mut Vec<Splice>,
    ) -> Option<()> {
        match (&node.content, wanted) {
            (Content::Mapping(entries), Value::Object(keys))
                if !entries.is_empty() && !keys.is_empty() =>
            {
                self.change_mapping(node, entries, keys, path, splices)
            }
            (Content::List(items), Value::Array(values)) if items.len() == values.len() => {
                let (depth, count) = (path.len(), splices.len());
                for (index, item) in items.iter().enumerate() {
                    if item.to_value() == values[index] {
                        continue;
                    }
                    path.push(index.to_string());
                    if self
                        .change(item, &values[index], None, path, splices)
                        .is_none()
                    {
                        // Not one by one, so all of the list.
                        splices.truncate(count);
                        splices.push(self.replace(node, wanted, holder)?);
                        path.truncate(depth);
                        break;
                    }
                    path.pop();
                }
                Some(())
            }
            _ => {
                splices.push(self.replace(node, wanted, holder)?);
                Some(())
            }
        }
    }

    fn change_mapping(
        &self,
        node: &Node,
        entries: &Mapping,
        keys: &Map<String, Value>,
        path: &mut Vec<String>,
        splices: &mut Vec<Splice>,
    ) -> Option<()> {
        // An entry of a merge key stands elsewhere: a key of its own can cover it, it cannot be changed or deleted.
        let own = |entry: &Entry| {
            node.start.offset <= entry.place.offset && entry.place.offset < node.end
        };
        let mut added = Vec::new();
        for (key, wanted) in keys {
            match entries.entry(key) {
                Some(entry) if entry.value.to_value() == *wanted => {}
                Some(entry) if own(entry) => {
                    path.push(key.clone());
                    if entry.value.alias {
                        return None;
                    }
                    let holder = Holder {
                        entry,
                        flow: node.flow,
                    };
                    self.change(&entry.value, wanted, Some(&holder), path, splices)?;
                    path.pop();
                }
                _ => added.push((key, wanted)),
            }
        }
        if let Some((key, _)) = added.first() {
            path.push((*key).clone());
            let own = entries.iter().filter(|entry| own(entry)).collect();
            splices.push(self.insert(node, own, &added)?);
            path.pop();
            // Deletions come in a later pass, so that no mapping becomes empty on the way.
            return Some(());
        }
        for entry in entries
            .iter()
            .filter(|entry| !keys.contains_key(&entry.key))
        {
            path.push(entry.key.clone());
            splices.push(
                own(entry)
                    .then(|| self.delete(node, entries, entry))
                    .flatten()?,
            );
            path.pop();
        }
        Some(())
    }

    fn replace(&self, node: &Node, wanted: &Value, holder: Option<&Holder>) -> Option<Splice> {
        if node.alias {
            return None;
        }
        let scalar = !matches!(wanted, Value::Object(_) | Value::Array(_));
        let written = &self.text[node.start.offset..node.end];
        let plain_scalar = !matches!(
            node.content,
            Content::List(_) | Content::Mapping(_) | Content::Null
        ) && !written.starts_with(['|', '>', '&', '!']);
        let in_flow = holder.is_some_and(|holder| holder.flow);
        if plain_scalar && scalar || node.flow && in_flow {
            return Some(self.splice(node.start.offset, node.end, &inline(wanted)));
        }
        let Some(holder) = holder else {
            let is_document =
                node.start.offset == 0 || self.text[..node.start.offset].trim().is_empty();
            return (is_document
                && matches!(node.content, Content::Null | Content::Mapping(_))
                && node.end <= self.text.len())
            .then(|| self.replace_document(node, wanted))
            .flatten();
        };
        let start = holder.entry.place.offset;
        let end = self.end_of(holder.entry);
        let indent = holder.entry.place.column - 1;
        if holder.flow {
            let entry = format!("{}: {}", inline_key(&holder.entry.key), inline(wanted));
            return Some(self.splice(start, end, &entry));
        }
        let entry = block(&holder.entry.key, wanted, indent);
        let Some((comment, comment_end)) = self.comment_of(holder.entry, end) else {
            return Some(self.splice(start, end, &entry));
        };
        let (first, others) = entry
            .find('\n')
            .map_or((&*entry, ""), |line_end| entry.split_at(line_end));
        let entry = format!("{first} {comment}{others}");
        Some(self.splice(start, end.max(comment_end), &entry))
    }

    /// The comment behind a key, or else behind what ends at `end`, and where it ends: it stays on the line of the key
    /// whatever stands there then.
    fn comment_of(&self, entry: &Entry, end: usize) -> Option<(&str, usize)> {
        [self.colon_of(entry), end].into_iter().find_map(|from| {
            let line = self.text[from..].lines().next()?;
            line.trim_start()
                .starts_with('#')
                .then(|| (line.trim(), from + line.len()))
        })
    }

    /// A document without keys gets its first ones.
    fn replace_document(&self, node: &Node, wanted: &Value) -> Option<Splice> {
        let Value::Object(keys) = wanted else {
            return None;
        };
        if matches!(&node.content, Content::Mapping(entries) if !entries.is_empty())
            && !keys.is_empty()
        {
            return None;
        }
        let mut added = String::new();
        for (key, value) in keys {
            added.push_str(&block(key, value, 0));
            added.push('\n');
        }
        let (start, end) = match node.content {
            Content::Null => (self.text.len(), self.text.len()),
            _ => (node.start.offset, node.end),
        };
        let line = if start > 0 && !self.text[..start].ends_with('\n') {
            "\n"
        } else {
            ""
        };
        Some(self.splice(start, end, &format!("{line}{added}")))
    }

    fn insert(&self, node: &Node, own: Vec<&Entry>, added: &[(&String, &Value)]) -> Option<Splice> {
        let last = own.iter().max_by_key(|entry| entry.place.offset)?;
        let end = self.end_of(last);
        if node.flow {
            let entries = added
                .iter()
                .map(|(key, value)| format!(", {}: {}", inline_key(key), inline(value)));
            return Some(self.splice(end, end, &entries.collect::<String>()));
        }
        let indent = last.place.column - 1;
        let line_end = self.text[end..]
            .find('\n')
            .map_or(self.text.len(), |i| end + i);
        let margin = " ".repeat(indent);
        let entries = added
            .iter()
            .map(|(key, value)| format!("\n{margin}{}", block(key, value, indent)));
        Some(self.splice(line_end, line_end, &entries.collect::<String>()))
    }

    fn delete(&self, node: &Node, entries: &[Entry], entry: &Entry) -> Option<Splice> {
        let (start, end) = (entry.place.offset, self.end_of(entry));
        if node.flow {
            // With the comma behind it, or the one before it for the last.
            let after = self.text[end..].trim_start();
            if let Some(rest) = after.strip_prefix(',') {
                let rest = rest.trim_start_matches(' ');
                return Some(self.splice(start, self.text.len() - rest.len(), ""));
            }
            let before = self.text[..start]
                .trim_end()
                .trim_end_matches(',')
                .trim_end();
            return Some(self.splice(before.len(), end, ""));
        }
        debug_assert!(entries.len() > 1, "the last key goes with its mapping");
        let line_start = self.text[..start].rfind('\n').map_or(0, |i| i + 1);
        if !self.text[line_start..start].trim().is_empty() {
            // On a line with something else (`- key: value`): the next key moves up.
            let next = entries
                .iter()
                .map(|other| other.place.offset)
                .filter(|offset| *offset > start && *offset < node.end)
                .min()?;
            return Some(self.splice(start, next, ""));
        }
        let line_end = self.text[end..]
            .find('\n')
            .map_or(self.text.len(), |i| end + i + 1);
        Some(self.splice(line_start, line_end, ""))
    }

    /// Where an entry's value begins: behind the colon.
    fn colon_of(&self, entry: &Entry) -> usize {
        let start = entry.place.offset;
        let key = &self.text[start..];
        // A quoted key may hold a colon.
        let quoted = match key.chars().next() {
            Some(quote @ ('"' | '\'')) => key[1..].find(quote).map_or(0, |i| i + 2),
            _ => 0,
        };
        key[quoted..]
            .find(':')
            .map_or(start, |i| start + quoted + i + 1)
    }

    /// Where an entry's text ends, without what follows it on the line.
    fn end_of(&self, entry: &Entry) -> usize {
        let colon = self.colon_of(entry);
        let end = if entry.value.alias {
            let rest = &self.text[colon..];
            colon + rest.find(['\n', ',', '}', '#']).unwrap_or(rest.len())
        } else {
            entry.value.end.max(colon)
        };
        self.text[..end].trim_end().len().max(colon)
    }

    fn splice(&self, start: usize, end: usize, with: &str) -> Splice {
        Splice {
            start,
            end,
            with: with.to_owned(),
        }
    }
}

/// A value on one line: JSON, but plain where YAML needs no quotes.
fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => inline_text(text),
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(inline).collect::<Vec<_>>().join(", ")
        ),
        Value::Object(keys) => {
            let keys: Vec<_> = keys
                .iter()
                .map(|(k, v)| format!("{}: {}", inline_key(k), inline(v)))
                .collect();
            format!("{{{}}}", keys.join(", "))
        }
        _ => value.to_string(),
    }
}

fn inline_key(key: &str) -> String {
    inline_text(key)
}

fn inline_text(text: &str) -> String {
    let simple = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/' | '.'));
    let stays_text = simple
        && yaml::parse(text).is_ok_and(|tree| tree.root.content == Content::Text(text.to_owned()));
    if stays_text {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

/// `key: value` as a block whose first line stands at `indent` already.
fn block(key: &str, value: &Value, indent: usize) -> String {
    let margin = " ".repeat(indent + 2);
    match value {
        Value::Object(keys) if !keys.is_empty() => {
            let lines: Vec<_> = keys
                .iter()
                .map(|(k, v)| format!("\n{margin}{}", block(k, v, indent + 2)))
                .collect();
            format!("{}:{}", inline_key(key), lines.concat())
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let lines: Vec<_> = items
                .iter()
                .map(|item| format!("\n{margin}- {}", inline(item)))
                .collect();
            format!("{}:{}", inline_key(key), lines.concat())
        }
        _ => format!("{}: {}", inline_key(key), inline(value)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FILE: &str = "# my cameras\nmodel: {path: a.onnx} # the model\n\ncameras:\n  # by the door\n  front:\n    source:\n      rtsp: rtsp://h/1   # main\n    detect: {fps: 5, width: 640, height: 360}\n    objects:\n      track: [person, car]\n\n  back: # behind\n    source: {test: walkers}\n    enabled: true\n";

    #[test]
    fn ten_thousand_keys_come_change_and_go_in_a_second() {
        let keys = |of: &dyn Fn(usize) -> usize| -> Value {
            (0..10_000)
                .map(|i| (format!("k{i}"), Value::from(of(i))))
                .collect::<Map<_, _>>()
                .into()
        };
        for start in ["a: {b: 1} # mine\n", "a: # mine\n  b: 1\n"] {
            let mut text = start.to_owned();
            let began = std::time::Instant::now();
            for inside in [keys(&|i| i), keys(&|i| i + 1), json!({"b": 1})] {
                let mut wanted = json!({"a": {"b": 1}});
                wanted["a"]
                    .as_object_mut()
                    .unwrap()
                    .extend(inside.as_object().unwrap().clone());
                text = edit(&text, &wanted).unwrap();
            }
            assert_eq!(text, start);
            // Quadratic work takes minutes.
            assert!(began.elapsed() < std::time::Duration::from_secs(20));
        }
    }

    fn value(text: &str) -> Value {
        yaml::parse(text).unwrap().root.to_value()
    }

    fn edited(change: impl FnOnce(&mut Value)) -> String {
        let mut wanted = value(FILE);
        change(&mut wanted);
        let text = edit(FILE, &wanted).unwrap();
        assert_eq!(value(&text), wanted);
        text
    }

    #[test]
    fn one_value_changes_one_line() {
        let text = edited(|v| v["cameras"]["front"]["detect"]["fps"] = json!(7));
        assert_eq!(text, FILE.replace("fps: 5", "fps: 7"));
        let text = edited(|v| v["cameras"]["back"]["enabled"] = json!(false));
        assert_eq!(text, FILE.replace("enabled: true", "enabled: false"));
        let text = edited(|v| v["cameras"]["front"]["source"]["rtsp"] = json!("rtsp://h/2"));
        assert_eq!(text, FILE.replace("rtsp://h/1   #", "\"rtsp://h/2\"   #"));
    }

    #[test]
    fn cameras_come_and_go_and_comments_stay() {
        let text = edited(|v| {
            v["cameras"]["side"] = json!({"source": {"test": "walkers"}, "detect": {"fps": 3}})
        });
        assert_eq!(
            text,
            format!("{FILE}  side:\n    detect:\n      fps: 3\n    source:\n      test: walkers\n")
                .replacen("enabled: true\n", "enabled: true\n", 1)
        );
        let text = edited(|v| drop(v["cameras"].as_object_mut().unwrap().remove("back")));
        assert_eq!(
            text,
            FILE.replace(
                "  back: # behind\n    source: {test: walkers}\n    enabled: true\n",
                ""
            )
        );
        let text = edited(|v| v["cameras"] = json!({}));
        assert!(
            text.contains("# my cameras") && text.contains("cameras: {}"),
            "{text}"
        );
    }

    #[test]
    fn a_comment_behind_an_empty_mapping_stays_behind_its_key() {
        let front = json!({"cameras": {"front": {"source": {"test": "walkers"}}}});
        for (empty, filled) in [
            (
                "cameras: {} # mine\nrun_dir: r # here\n",
                "cameras: # mine\n  front:\n    source:\n      test: walkers\nrun_dir: r # here\n",
            ),
            (
                "cameras: {} # mine",
                "cameras: # mine\n  front:\n    source:\n      test: walkers",
            ),
        ] {
            let mut wanted = value(empty);
            wanted["cameras"] = front["cameras"].clone();
            assert_eq!(edit(empty, &wanted).unwrap(), filled);
            assert_eq!(edit(filled, &value(empty)).unwrap(), empty);
        }
        let begun = "cameras: # mine\n\n# the rest\nrun_dir: r\n";
        let mut wanted = value(begun);
        wanted["cameras"] = front["cameras"].clone();
        let text = edit(begun, &wanted).unwrap();
        assert!(text.starts_with("cameras: # mine\n  front:\n"), "{text}");
        assert!(text.ends_with("\n# the rest\nrun_dir: r\n"), "{text}");
    }

    #[test]
    fn the_ends_of_lines_stay_what_they_are() {
        let file = FILE.replace('\n', "\r\n");
        let mut wanted = value(&file);
        wanted["cameras"]["side"] = json!({"source": {"test": "walkers"}});
        wanted["cameras"]["front"]["detect"]["fps"] = json!(7);
        wanted["cameras"].as_object_mut().unwrap().remove("back");
        let text = edit(&file, &wanted).unwrap();
        assert_eq!(value(&text), wanted);
        assert_eq!(text.matches("\r\n").count(), text.matches('\n').count());
        assert!(text.contains("  # by the door\r\n"), "{text:?}");
    }

    #[test]
    fn keys_come_and_go_in_both_styles() {
        let text = edited(|v| v["cameras"]["front"]["detect"]["enabled"] = json!(false));
        assert_eq!(
            text,
            FILE.replace("height: 360}", "height: 360, enabled: false}")
        );
        let text = edited(|v| {
            drop(
                v["cameras"]["front"]["detect"]
                    .as_object_mut()
                    .unwrap()
                    .remove("fps"),
            )
        });
        assert_eq!(text, FILE.replace("{fps: 5, width", "{width"));
        let text = edited(|v| {
            drop(
                v["cameras"]["front"]["detect"]
                    .as_object_mut()
                    .unwrap()
                    .remove("height"),
            )
        });
        assert_eq!(text, FILE.replace(", height: 360}", "}"));
        let text = edited(|v| {
            v["cameras"]["back"]["motion"] =
                json!({"mask": {"tree": {"coordinates": "0,0,1,0,1,1"}}})
        });
        assert!(text.starts_with(FILE), "{text}");
        let text = edited(|v| v["cameras"]["front"]["objects"]["track"] = json!(["dog"]));
        assert!(text.contains("track: [dog]"), "{text}");
    }

    #[test]
    fn an_empty_file_gets_its_first_camera() {
        for text in [
            "",
            "# nothing yet\n",
            "cameras:\n",
            "{}",
            "cameras: {}\n",
            "cameras: # none\n",
        ] {
            let wanted = json!({"cameras": {"front": {"source": {"test": "walkers"}}}});
            let changed = edit(text, &wanted).unwrap();
            assert_eq!(value(&changed), wanted, "{changed}");
            if text.starts_with('#') {
                assert!(changed.starts_with("# nothing yet"));
            }
        }
    }

    #[test]
    fn what_hangs_on_an_anchor_is_refused_or_covered() {
        let text = "base: &b {fps: 5}\none: *b\ntwo:\n  <<: *b\n  width: 3\n";
        let mut wanted = value(text);
        wanted["two"]["fps"] = json!(9);
        assert_eq!(value(&edit(text, &wanted).unwrap()), wanted);
        let mut wanted = value(text);
        wanted["one"]["fps"] = json!(9);
        assert!(matches!(edit(text, &wanted), Err(EditError::Form(_))));
    }

    fn any_value() -> impl proptest::strategy::Strategy<Value = Value> {
        use proptest::prelude::*;
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            (-50i64..50).prop_map(Value::from),
            "[a-z :#'\"{}\\[\\],&*é-]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-d]{1,2}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_wanted_is_what_the_file_then_says(a in any_value(), b in any_value(), c in any_value()) {
            let cameras = json!({"cameras": {"x": a, "y": {"k": b}}, "n": 1});
            let text = edit(FILE, &cameras).unwrap();
            proptest::prop_assert_eq!(value(&text), cameras.clone());
            let wanted = json!({"cameras": {"x": c, "y": {"k": 1}}, "m": 2});
            // What the editor wrote itself it can change again.
            proptest::prop_assert_eq!(value(&edit(&text, &wanted).unwrap()), wanted);
        }
    }
}
