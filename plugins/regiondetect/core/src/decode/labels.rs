//! Names of classes that come with a model.

use detection::Labels;

/// Numbers of COCO's 91 that name nothing, ascending; the other numbers from 1 on are the 80 classes in their order.
const COCO_GAPS: [usize; 11] = [0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83];

/// COCO by its original numbers 0..=90, as TensorFlow's SSD and RF-DETR count; the gaps are `unknown`.
pub fn coco91() -> Labels {
    let coco80 = Labels::coco80();
    let mut names = coco80.iter();
    let name = |number| match COCO_GAPS.contains(&number) {
        true => "unknown",
        false => names.next().unwrap_or("unknown"),
    };
    Labels::new((0..=90).map(name).map(str::to_owned).collect())
}

/// The value of the metadata key `names`: `{0: 'person', 1: "dog's bowl"}` or `['person', 'bicycle']` as Python prints
/// them (JSON too). `None` for anything else.
pub fn names_from_metadata(text: &str) -> Option<Labels> {
    let text = text.trim();
    let (inner, numbered) = match text.strip_prefix('{') {
        Some(inner) => (inner.strip_suffix('}')?, true),
        None => (text.strip_prefix('[')?.strip_suffix(']')?, false),
    };
    let mut names: Vec<String> = Vec::new();
    let mut rest = inner.trim_start();
    while !rest.is_empty() {
        let mut number = names.len();
        if numbered {
            let (key, after) = rest.split_once(':')?;
            number = key.trim().trim_matches(['\'', '"']).parse().ok()?;
            rest = after.trim_start();
        }
        let (name, after) = quoted(rest)?;
        // A class number is 16 bits; more names than that are no label set.
        if number > usize::from(u16::MAX) {
            return None;
        }
        if names.len() <= number {
            names.resize(number + 1, String::from("unknown"));
        }
        names[number] = name;
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if rest.is_empty() => {}
            None => return None,
        }
    }
    (!names.is_empty()).then(|| Labels::new(names))
}

/// A quoted string at the start of `text` and what comes after it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut chars = text.char_indices();
    let (_, quote) = chars.next().filter(|(_, c)| matches!(c, '\'' | '"'))?;
    let mut value = String::new();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.push(chars.next()?.1),
            c if c == quote => return Some((value, &text[at + c.len_utf8()..])),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coco91_has_its_gaps() {
        let labels = coco91();
        assert_eq!(labels.len(), 91);
        for (number, name) in [
            (1, "person"),
            (3, "car"),
            (13, "stop sign"),
            (12, "unknown"),
            (90, "toothbrush"),
        ] {
            assert_eq!(labels.name(number), name);
        }
    }

    #[test]
    fn names_are_read_as_python_and_json_write_them() {
        let names = |text| {
            names_from_metadata(text).map(|l| l.iter().map(str::to_owned).collect::<Vec<_>>())
        };
        let expected = Some(vec!["person".to_owned(), "dog's bowl".to_owned()]);
        assert_eq!(names(r#"{0: 'person', 1: "dog's bowl"}"#), expected);
        assert_eq!(names(r"{1: 'dog\'s bowl', 0: 'person'}"), expected);
        assert_eq!(names(r#"["person", "dog's bowl"]"#), expected);
        assert_eq!(names(r#"{"0": "person", "1": "dog's bowl"}"#), expected);
        assert_eq!(names("{0: 'ünï, {x}'}"), Some(vec!["ünï, {x}".to_owned()]));
    }

    #[test]
    fn other_text_is_no_label_set() {
        for text in [
            "",
            "person",
            "{}",
            "{0: person}",
            "{0 'a'}",
            "['a' 'b']",
            "{99999999: 'a'}",
            "['a",
            "{-1: 'a'}",
        ] {
            assert_eq!(names_from_metadata(text), None, "{text}");
        }
    }
}
