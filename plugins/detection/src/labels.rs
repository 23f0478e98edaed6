//! Label sets: which class number of a model has which name.

use serde::{Deserialize, Serialize};

/// Number of a class within one model's [`Labels`].
pub type LabelId = u16;

/// The names of a model's classes, by class number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Labels(Vec<String>);

impl Labels {
    /// Labels in the order of the model's classes. A name ends at a NUL character, which GStreamer has in no text.
    pub fn new(mut names: Vec<String>) -> Self {
        for name in &mut names {
            if let Some(end) = name.find('\0') {
                name.truncate(end);
            }
        }
        Self(names)
    }

    /// The 80 classes of COCO in the order every COCO-80 model uses.
    pub fn coco80() -> Self {
        Self(COCO_80.iter().map(|name| (*name).to_owned()).collect())
    }

    /// The text of a label file: one name per line, or Frigate's `number name` form. Blank lines are passed over.
    pub fn from_text(text: &str) -> Self {
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let numbered: Option<Vec<(usize, &str)>> = lines
            .iter()
            .map(|line| {
                let (number, name) = line.split_once(char::is_whitespace)?;
                Some((
                    number
                        .parse()
                        .ok()
                        .filter(|n| *n <= usize::from(LabelId::MAX))?,
                    name.trim(),
                ))
            })
            .collect();
        match numbered {
            Some(pairs) if !pairs.is_empty() => {
                let count = pairs
                    .iter()
                    .map(|(number, _)| number + 1)
                    .max()
                    .unwrap_or(0);
                let mut names = vec![String::from("unknown"); count];
                for (number, name) in pairs {
                    names[number] = name.to_owned();
                }
                Self::new(names)
            }
            _ => Self::new(lines.into_iter().map(str::to_owned).collect()),
        }
    }

    /// How many classes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// There is no class at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Name of a class; `unknown` for a number beyond the set.
    pub fn name(&self, id: LabelId) -> &str {
        self.0
            .get(usize::from(id))
            .map_or("unknown", String::as_str)
    }

    /// Number of the class with this name.
    pub fn id(&self, name: &str) -> Option<LabelId> {
        self.0
            .iter()
            .position(|known| known == name)
            .and_then(|i| LabelId::try_from(i).ok())
    }

    /// All names, by class number.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

const COCO_80: [&str; 80] = [
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "laptop",
    "mouse",
    "remote",
    "keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_where_gstreamer_would_end_it() {
        let labels = Labels::from_text("person\0\0\nca\0r");
        assert_eq!(labels.iter().collect::<Vec<_>>(), ["person", "ca"]);
    }

    #[test]
    fn coco_has_80_names_that_find_themselves() {
        let coco = Labels::coco80();
        assert_eq!(coco.len(), 80);
        for (i, name) in coco.iter().enumerate() {
            assert_eq!(coco.id(name), Some(i as LabelId));
        }
    }

    #[test]
    fn label_files_come_with_and_without_numbers() {
        assert_eq!(
            Labels::from_text("person\n\nfire hydrant\n").name(1),
            "fire hydrant"
        );
        let frigate = Labels::from_text("0 person\n2  car\n");
        assert_eq!(
            (frigate.name(0), frigate.name(1), frigate.name(2)),
            ("person", "unknown", "car")
        );
        assert_eq!(frigate.name(99), "unknown");
    }
}
