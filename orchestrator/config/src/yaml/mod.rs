//! YAML as a tree that knows where in the text each key and value stands.
//!
//! JSON is YAML, so it is read too. Anchors, aliases and merge keys (`<<`) are followed, as far as a sane file needs.
//! Nothing here knows about cameras.

mod edit;

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Number, Value};

pub use edit::{EditError, edit};

/// Nesting no configuration has.
const MAX_DEPTH: usize = 64;
/// Nodes no configuration has; aliases count each time, so that a few lines cannot become gigabytes.
const MAX_NODES: usize = 200_000;
/// Bytes of keys and texts that aliases may repeat, for the same reason.
const MAX_ALIAS_BYTES: usize = 16 << 20;

/// Bytes of what closes a list or mapping in flow style. The parser counts blanks and a comment behind it in.
const BRACKET: usize = 1;

/// A place in the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Byte offset.
    pub offset: usize,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it is.
    pub content: Content,
    /// Its first character.
    pub start: Place,
    /// The byte after its last one.
    pub end: usize,
    /// Written in flow style (`{}`, `[]`), or a scalar.
    pub flow: bool,
    /// Comes from elsewhere in the text, by alias or merge key.
    pub alias: bool,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the text.
    Mapping(Mapping),
}

/// The entries of a mapping in the order of the text, found by key without a search through all.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    entries: Vec<Entry>,
    /// Their indices, sorted by key.
    by_key: Vec<u32>,
}

impl Mapping {
    /// Each key occurs once.
    fn new(entries: Vec<Entry>) -> Self {
        let mut by_key: Vec<u32> = (0..).take(entries.len()).collect();
        by_key.sort_unstable_by(|a, b| {
            let key = |index: &u32| &entries[*index as usize].key;
            key(a).cmp(key(b))
        });
        Self { entries, by_key }
    }

    /// The entry of a key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        let found = self
            .by_key
            .binary_search_by(|index| self.entries[*index as usize].key.as_str().cmp(key));
        found.ok().map(|at| &self.entries[self.by_key[at] as usize])
    }

    /// Keys with their values, which may be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = (&str, &mut Node)> {
        (self.entries.iter_mut()).map(|entry| (entry.key.as_str(), &mut entry.value))
    }
}

impl std::ops::Deref for Mapping {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        &self.entries
    }
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// The value.
    pub value: Node,
}

/// One step into a tree.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Into a mapping.
    Key(String),
    /// Into a list.
    Index(usize),
}

/// A mistake in the text itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// The keys around it.
    pub path: Vec<Step>,
    /// What.
    pub message: String,
}

/// A text as a tree, and the keys given twice (the first of each counts).
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    /// The whole document.
    pub root: Node,
    /// Keys given twice.
    pub duplicates: Vec<Mistake>,
}

/// Reads a text of one document.
pub fn parse(text: &str) -> Result<Tree, Mistake> {
    let mut reader = Reader {
        events: Parser::new_from_str(text),
        bytes: Offsets::new(text),
        anchors: HashMap::new(),
        duplicates: Vec::new(),
        path: Vec::new(),
        nodes: 0,
        alias_bytes: 0,
    };
    let root = reader.document()?;
    Ok(Tree {
        root,
        duplicates: reader.duplicates,
    })
}

/// Byte offsets by character: the parser counts characters.
struct Offsets<'a> {
    text: &'a str,
    /// Empty for a text that is all ASCII.
    by_char: Vec<usize>,
}

impl<'a> Offsets<'a> {
    fn new(text: &'a str) -> Self {
        let by_char = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices().map(|(offset, _)| offset).collect()
        };
        Self { text, by_char }
    }

    fn byte(&self, index: usize) -> usize {
        if self.by_char.is_empty() {
            index.min(self.text.len())
        } else {
            self.by_char.get(index).copied().unwrap_or(self.text.len())
        }
    }

    fn place(&self, marker: &saphyr_parser::Marker) -> Place {
        Place {
            offset: self.byte(marker.index()),
            line: marker.line(),
            column: marker.col() + 1,
        }
    }
}

struct Reader<'a> {
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
    bytes: Offsets<'a>,
    anchors: HashMap<usize, Node>,
    duplicates: Vec<Mistake>,
    path: Vec<Step>,
    nodes: usize,
    alias_bytes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Mistake> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(Mistake {
                place: self.bytes.place(error.marker()),
                path: self.path.clone(),
                message: format!("no valid YAML: {}", error.info()),
            }),
            None => Err(self.mistake(Place::default(), "no valid YAML: the text ends too early")),
        }
    }

    fn mistake(&self, place: Place, message: impl Into<String>) -> Mistake {
        Mistake {
            place,
            path: self.path.clone(),
            message: message.into(),
        }
    }

    fn document(&mut self) -> Result<Node, Mistake> {
        let nothing = Node {
            content: Content::Null,
            start: Place {
                offset: 0,
                line: 1,
                column: 1,
            },
            end: 0,
            flow: true,
            alias: false,
        };
        loop {
            match self.next()? {
                (Event::DocumentStart(_), _) => break,
                (Event::StreamEnd, _) => return Ok(nothing),
                _ => {}
            }
        }
        let (event, span) = self.next()?;
        let root = self.node(event, span, 0)?;
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(root),
                (Event::DocumentStart(_), span) => {
                    let place = self.bytes.place(&span.start);
                    return Err(self.mistake(place, "a second document, expected one"));
                }
                _ => {}
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Mistake> {
        let start = self.bytes.place(&span.start);
        if depth > MAX_DEPTH {
            return Err(self.mistake(start, format!("nested more than {MAX_DEPTH} deep")));
        }
        self.count(start, 1)?;
        let end = self.bytes.byte(span.end.index());
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.check_tag(tag.as_deref(), start)?;
                let content = scalar(&text, style, tag.as_deref());
                let node = Node {
                    content,
                    start,
                    end,
                    flow: true,
                    alias: false,
                };
                (node, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), start)?;
                (self.list(start, depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), start)?;
                (self.mapping(start, depth)?, anchor)
            }
            Event::Alias(anchor) => {
                let Some(known) = self.anchors.get(&anchor) else {
                    return Err(self.mistake(start, "an alias without its anchor"));
                };
                let (nodes, bytes) = size(known);
                self.count_alias(start, nodes, bytes)?;
                let mut node = self.anchors[&anchor].clone();
                node.alias = true;
                (node, 0)
            }
            other => return Err(self.mistake(start, format!("unexpected {other:?}"))),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// A tag that other programs give a meaning (`!secret`, `!include`) would be lost in silence, and the name of a secret
    /// taken for the secret.
    fn check_tag(&self, tag: Option<&Tag>, place: Place) -> Result<(), Mistake> {
        const KNOWN: [&str; 7] = ["str", "int", "float", "bool", "null", "seq", "map"];
        match tag {
            Some(tag) if tag.is_yaml_core_schema() && KNOWN.contains(&tag.suffix.as_str()) => {
                Ok(())
            }
            Some(tag) => {
                let message = format!(
                    "the tag `{tag}` has no meaning here; secrets are given as ${{NAME}} or file:PATH, and a file cannot be \
                     included"
                );
                Err(self.mistake(place, message))
            }
            None => Ok(()),
        }
    }

    fn count(&mut self, place: Place, nodes: usize) -> Result<(), Mistake> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(self.mistake(place, format!("more than {MAX_NODES} values")));
        }
        Ok(())
    }

    fn count_alias(&mut self, place: Place, nodes: usize, bytes: usize) -> Result<(), Mistake> {
        self.count(place, nodes)?;
        self.alias_bytes += bytes;
        if self.alias_bytes > MAX_ALIAS_BYTES {
            let message = format!("aliases repeat more than {} MiB", MAX_ALIAS_BYTES >> 20);
            return Err(self.mistake(place, message));
        }
        Ok(())
    }

    fn is_flow(&self, start: Place) -> bool {
        self.bytes.text[start.offset..].starts_with(['{', '['])
    }

    fn list(&mut self, start: Place, depth: usize) -> Result<Node, Mistake> {
        let mut items = Vec::new();
        let end = loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                break self.bytes.byte(span.start.index());
            }
            self.path.push(Step::Index(items.len()));
            items.push(self.node(event, span, depth + 1)?);
            self.path.pop();
        };
        let flow = self.is_flow(start);
        Ok(Node {
            end: if flow {
                end + BRACKET
            } else {
                items.last().map_or(end, |n| n.end)
            },
            content: Content::List(items),
            start,
            flow,
            alias: false,
        })
    }

    fn mapping(&mut self, start: Place, depth: usize) -> Result<Node, Mistake> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut merged: Vec<Entry> = Vec::new();
        let mut last = None;
        let end = loop {
            let (event, span) = self.next()?;
            let (key, plain) = match event {
                Event::MappingEnd => break self.bytes.byte(span.start.index()),
                Event::Scalar(text, style, _, _) => {
                    (text.into_owned(), style == ScalarStyle::Plain)
                }
                _ => {
                    let place = self.bytes.place(&span.start);
                    return Err(self.mistake(place, "a list or mapping as a key, expected a name"));
                }
            };
            let place = self.bytes.place(&span.start);
            self.path.push(Step::Key(key.clone()));
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            last = Some(if value.alias {
                self.bytes.byte(span.end.index())
            } else {
                value.end
            });
            if key == "<<" && plain {
                self.merge(value, place, &mut merged)?;
            } else if let Some(line) = known.get(&key) {
                let message = format!("given twice, first in line {line}");
                let mistake = self.mistake(place, message);
                self.duplicates.push(mistake);
            } else {
                known.insert(key.clone(), place.line);
                entries.push(Entry { key, place, value });
            }
            self.path.pop();
        };
        for entry in merged {
            if !known.contains_key(&entry.key) {
                known.insert(entry.key.clone(), entry.place.line);
                entries.push(entry);
            }
        }
        let flow = self.is_flow(start);
        Ok(Node {
            end: if flow {
                end + BRACKET
            } else {
                last.unwrap_or(end)
            },
            content: Content::Mapping(Mapping::new(entries)),
            start,
            flow,
            alias: false,
        })
    }

    fn merge(&self, value: Node, place: Place, into: &mut Vec<Entry>) -> Result<(), Mistake> {
        match value.content {
            Content::Mapping(mapping) => {
                into.extend(mapping.entries.into_iter().map(|mut entry| {
                    entry.value.alias = true;
                    entry
                }))
            }
            Content::List(items) => {
                for item in items {
                    self.merge(item, place, into)?;
                }
            }
            _ => return Err(self.mistake(place, "`<<` merges a mapping, expected an alias to one")),
        }
        Ok(())
    }
}

/// Nodes, and bytes of keys and texts.
fn size(node: &Node) -> (usize, usize) {
    let sum = |a: (usize, usize), b: (usize, usize)| (a.0 + b.0, a.1 + b.1);
    match &node.content {
        Content::Text(text) => (1, text.len()),
        Content::List(items) => items.iter().map(size).fold((1, 0), sum),
        Content::Mapping(entries) => entries
            .iter()
            .map(|entry| sum(size(&entry.value), (0, entry.key.len())))
            .fold((1, 0), sum),
        Content::Null | Content::Bool(_) | Content::Number(_) => (1, 0),
    }
}

/// What a scalar is, by YAML 1.2's core schema.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Content {
    let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
    if style != ScalarStyle::Plain || is_text {
        return Content::Text(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Content::Null,
        "true" | "True" | "TRUE" => Content::Bool(true),
        "false" | "False" | "FALSE" => Content::Bool(false),
        _ => number(text).map_or_else(|| Content::Text(text.to_owned()), Content::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let whole = if let Some(hex) = text.strip_prefix("0x") {
        i64::from_str_radix(hex, 16).ok()
    } else if let Some(octal) = text.strip_prefix("0o") {
        i64::from_str_radix(octal, 8).ok()
    } else {
        text.strip_prefix('+').unwrap_or(text).parse().ok()
    };
    if let Some(whole) = whole {
        return Some(whole.into());
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.contains(|c: char| c.is_ascii_digit())
        && digits
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    is_number
        .then(|| text.parse().ok())
        .flatten()
        .and_then(Number::from_f64)
}

impl Node {
    /// A value that stands nowhere.
    pub fn of_value(value: &Value) -> Self {
        Self {
            content: match value {
                Value::Null => Content::Null,
                Value::Bool(value) => Content::Bool(*value),
                Value::Number(value) => Content::Number(value.clone()),
                Value::String(text) => Content::Text(text.clone()),
                Value::Array(items) => Content::List(items.iter().map(Self::of_value).collect()),
                Value::Object(keys) => Content::Mapping(Mapping::new(
                    (keys.iter())
                        .map(|(key, value)| Entry {
                            key: key.clone(),
                            place: Place::default(),
                            value: Self::of_value(value),
                        })
                        .collect(),
                )),
            },
            start: Place::default(),
            end: 0,
            flow: true,
            alias: false,
        }
    }

    /// The value without its places.
    pub fn to_value(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Bool(value) => Value::Bool(*value),
            Content::Number(number) => Value::Number(number.clone()),
            Content::Text(text) => Value::String(text.clone()),
            Content::List(items) => items.iter().map(Self::to_value).collect(),
            Content::Mapping(entries) => Value::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.value.to_value()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// The value of a key, where this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// A key with its place.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.content {
            Content::Mapping(entries) => entries.entry(key),
            _ => None,
        }
    }

    /// The keys of a mapping; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Mapping(entries) => entries,
            _ => &[],
        }
    }

    fn step(&self, step: &Step) -> Option<&Self> {
        match (step, &self.content) {
            (Step::Key(key), _) => self.get(key),
            (Step::Index(index), Content::List(items)) => items.get(*index),
            _ => None,
        }
    }

    /// The value at a path.
    pub fn at(&self, path: &[Step]) -> Option<&Self> {
        path.iter().try_fold(self, |node, step| node.step(step))
    }

    /// Where the value at a path stands; for one that does not exist, the key that should hold it.
    pub fn place_of_value(&self, path: &[Step]) -> Place {
        let mut node = self;
        let mut place = self.start;
        for step in path {
            let Some(next) = node.step(step) else {
                return place;
            };
            place = match step {
                // A block mapping begins with its own first key: its name in the line above says more.
                Step::Key(key) if !next.flow => {
                    node.entry(key).map_or(next.start, |entry| entry.place)
                }
                _ => next.start,
            };
            node = next;
        }
        place
    }

    /// Where the last key of a path stands.
    pub fn place_of_key(&self, path: &[Step]) -> Place {
        match path.split_last() {
            Some((Step::Key(key), parent)) => self
                .at(parent)
                .and_then(|node| node.entry(key))
                .map_or_else(|| self.place_of_value(path), |entry| entry.place),
            _ => self.place_of_value(path),
        }
    }
}

/// A path as people write it: `cameras.front.sources[1].rtsp`.
pub fn path_text(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Index(index) => text.push_str(&format!("[{index}]")),
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(text: &str) -> Value {
        parse(text).unwrap().root.to_value()
    }

    #[test]
    fn scalars_are_what_yaml_1_2_says() {
        assert_eq!(
            value(
                "a: 5\nb: -0.5\nc: 1e3\nd: yes\ne: true\nf:\ng: '5'\nh: 0x10\ni: 1.2.3\nj: .5\nk: 10.0.0.2\nl: 12:30"
            ),
            json!({"a": 5, "b": -0.5, "c": 1000.0, "d": "yes", "e": true, "f": null, "g": "5", "h": 16,
                   "i": "1.2.3", "j": 0.5, "k": "10.0.0.2", "l": "12:30"})
        );
        assert_eq!(
            value(r#"{"a": [1, 2.5, "x", null, false]}"#),
            json!({"a": [1, 2.5, "x", null, false]})
        );
        assert_eq!(value(""), Value::Null);
        assert_eq!(value("# nothing\n"), Value::Null);
    }

    #[test]
    fn anchors_and_merge_keys_are_followed() {
        assert_eq!(
            value("base: &b {x: 1, y: 2}\none:\n  <<: *b\n  y: 3\ntwo: *b"),
            json!({"base": {"x": 1, "y": 2}, "one": {"x": 1, "y": 3}, "two": {"x": 1, "y": 2}})
        );
    }

    #[test]
    fn places_count_lines_and_characters() {
        let tree =
            parse("ä: 1\ncameras:\n  front:\n    fps:   7 # ü\n    list: [1, {ö: 2}]\n").unwrap();
        let path = [
            Step::Key("cameras".into()),
            Step::Key("front".into()),
            Step::Key("fps".into()),
        ];
        let place = tree.root.place_of_value(&path);
        assert_eq!((place.line, place.column), (4, 12));
        let place = tree.root.place_of_key(&path);
        assert_eq!((place.line, place.column), (4, 5));
        let place = tree.root.place_of_value(&path[..2]);
        assert_eq!((place.line, place.column), (3, 3));
    }

    #[test]
    fn a_key_given_twice_is_found_with_both_places() {
        let tree = parse("a:\n  b: 1\n  c: 2\n  b: 3\n").unwrap();
        assert_eq!(tree.root.to_value(), json!({"a": {"b": 1, "c": 2}}));
        let [mistake] = &tree.duplicates[..] else {
            panic!("{:?}", tree.duplicates)
        };
        assert_eq!(path_text(&mistake.path), "a.b");
        assert_eq!((mistake.place.line, mistake.place.column), (4, 3));
        assert_eq!(mistake.message, "given twice, first in line 2");
    }

    #[test]
    fn a_long_text_cannot_be_repeated_into_gigabytes() {
        let text = format!(
            "a: &a {}\nb: [{}]",
            "x".repeat(100_000),
            "*a, ".repeat(50_000)
        );
        let mistake = parse(&text).unwrap_err();
        assert!(
            mistake.message.contains("aliases repeat more than 16 MiB"),
            "{mistake:?}"
        );
    }

    #[test]
    fn a_few_lines_cannot_become_gigabytes() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..12 {
            let item = format!("*a{}", i - 1);
            text += &format!("a{i}: &a{i} [{}]\n", [item.as_str(); 10].join(", "));
        }
        assert!(parse(&text).unwrap_err().message.contains("more than"));
        assert!(parse(&"[".repeat(200)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([-a-z:{}\\[\\],&*!#|>'\"%@`? \t\n~<ä0-9]|: |\n  |- ){0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn json_is_read_as_json(a in -1000i64..1000, b in "[a-zäß \\\\\"/]{0,12}", c in proptest::prelude::any::<bool>()) {
            let json = json!({"a": a, "b": [b, c, null], "c": {"d": c}});
            proptest::prop_assert_eq!(value(&json.to_string()), json);
        }
    }
}
