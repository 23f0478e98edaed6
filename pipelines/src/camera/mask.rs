//! Polygons: masks and the corners of zones, in every form Frigate's files have them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Corners of a polygon: all shares of the picture (0 to 1), or pixels of the analysed picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Coordinates(Vec<(f64, f64)>);

/// Why a text is no polygon.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CoordinatesError {
    /// Not a number.
    #[error("`{0}` is not a number, expected coordinates as \"x1,y1,x2,y2,x3,y3,...\"")]
    NotANumber(String),
    /// Negative, infinite, or not a number at all.
    #[error("coordinate {0} is out of range, expected 0..1 as a share of the picture, or pixels")]
    OutOfRange(f64),
    /// An x without its y.
    #[error("{0} numbers, expected an even count: \"x1,y1,x2,y2,x3,y3,...\"")]
    Odd(usize),
    /// Fewer than three corners.
    #[error("{0} corners, expected at least 3")]
    TooFew(usize),
}

impl Coordinates {
    /// A polygon from its corners.
    pub fn new(points: Vec<(f64, f64)>) -> Result<Self, CoordinatesError> {
        if points.len() < 3 {
            return Err(CoordinatesError::TooFew(points.len()));
        }
        match points
            .iter()
            .flat_map(|(x, y)| [*x, *y])
            .find(|v| !v.is_finite() || *v < 0.0 || *v > 100_000.0)
        {
            Some(value) => Err(CoordinatesError::OutOfRange(value)),
            None => Ok(Self(points)),
        }
    }

    fn from_numbers(numbers: &[f64]) -> Result<Self, CoordinatesError> {
        if !numbers.len().is_multiple_of(2) {
            return Err(CoordinatesError::Odd(numbers.len()));
        }
        Self::new(numbers.chunks_exact(2).map(|p| (p[0], p[1])).collect())
    }

    /// The corners as given.
    pub fn points(&self) -> &[(f64, f64)] {
        &self.0
    }

    /// The corners are shares of the picture (none is above 1).
    pub fn is_relative(&self) -> bool {
        self.0.iter().all(|(x, y)| *x <= 1.0 && *y <= 1.0)
    }

    /// The corners as shares of the picture. `None` where they are pixels and the size of the analysed picture is unknown.
    pub fn fractions(&self, size: Option<(u32, u32)>) -> Option<Vec<(f64, f64)>> {
        if self.is_relative() {
            return Some(self.0.clone());
        }
        let (width, height) = size?;
        Some(
            self.0
                .iter()
                .map(|(x, y)| {
                    (
                        (x / f64::from(width)).min(1.0),
                        (y / f64::from(height)).min(1.0),
                    )
                })
                .collect(),
        )
    }
}

fn numbers(text: &str, into: &mut Vec<f64>) -> Result<(), CoordinatesError> {
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        into.push(
            part.parse()
                .map_err(|_| CoordinatesError::NotANumber(part.to_owned()))?,
        );
    }
    Ok(())
}

impl FromStr for Coordinates {
    type Err = CoordinatesError;

    fn from_str(text: &str) -> Result<Self, CoordinatesError> {
        let mut values = Vec::new();
        numbers(text, &mut values)?;
        Self::from_numbers(&values)
    }
}

impl fmt::Display for Coordinates {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (i, (x, y)) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_char(',')?;
            }
            write!(f, "{x},{y}")?;
        }
        Ok(())
    }
}

impl Serialize for Coordinates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Coordinates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Coordinates;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("coordinates as \"x1,y1,x2,y2,x3,y3,...\" or a list of numbers")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Coordinates, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Coordinates, A::Error> {
                let mut values = Vec::new();
                while let Some(part) = seq.next_element::<Part>()? {
                    values.extend(part.0);
                }
                Coordinates::from_numbers(&values).map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_any(Text)
    }
}

/// An element of a list of coordinates: a number, `"x,y"` or `[x, y]`.
struct Part(Vec<f64>);

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Part;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number, \"x,y\" or [x, y]")
            }

            fn visit_f64<E>(self, value: f64) -> Result<Part, E> {
                Ok(Part(vec![value]))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Part, E> {
                Ok(Part(vec![value as f64]))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Part, E> {
                Ok(Part(vec![value as f64]))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Part, E> {
                let mut values = Vec::new();
                numbers(text, &mut values).map_err(E::custom)?;
                Ok(Part(values))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Part, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element::<f64>()? {
                    values.push(value);
                }
                Ok(Part(values))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

impl JsonSchema for Coordinates {
    fn schema_name() -> Cow<'static, str> {
        "Coordinates".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Corners of a polygon, \"x1,y1,x2,y2,x3,y3,...\": shares of the picture (0 to 1), or pixels of the analysed picture.",
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"anyOf": [
                    {"type": "number", "minimum": 0},
                    {"type": "string"},
                    {"type": "array", "items": {"type": "number", "minimum": 0}, "minItems": 2, "maxItems": 2}
                ]}}
            ]
        })
    }
}

/// A polygon that can be switched off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// Whether the mask is used.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Name shown to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub friendly_name: Option<String>,
    /// Corners `x,y,x,y,...`: shares of the picture (0 to 1), or pixels of the analysed picture.
    pub coordinates: Coordinates,
}

const fn yes() -> bool {
    true
}

/// Masks by name. In the file also one polygon as a string, or a list of them (Frigate's older form).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Masks(BTreeMap<String, Mask>);

impl Masks {
    /// There is no mask.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All masks by name, also those that are switched off.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Mask)> {
        self.0.iter().map(|(name, mask)| (name.as_str(), mask))
    }

    /// The polygons of those in use, as shares of the picture. One in pixels is left out where the size is unknown
    /// (`check` refuses such a configuration).
    pub fn polygons(&self, size: Option<(u32, u32)>) -> Vec<Vec<(f64, f64)>> {
        self.0
            .values()
            .filter(|mask| mask.enabled)
            .filter_map(|mask| mask.coordinates.fractions(size))
            .collect()
    }

    fn push(&mut self, coordinates: Coordinates) {
        let mask = Mask {
            enabled: true,
            friendly_name: None,
            coordinates,
        };
        self.0.insert(format!("mask_{}", self.0.len() + 1), mask);
    }
}

impl FromIterator<(String, Mask)> for Masks {
    fn from_iter<I: IntoIterator<Item = (String, Mask)>>(masks: I) -> Self {
        Self(masks.into_iter().collect())
    }
}

impl<'de> Deserialize<'de> for Masks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;

        impl<'de> Visitor<'de> for Forms {
            type Value = Masks;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str(
                    "masks by name, one polygon \"x1,y1,x2,y2,x3,y3,...\", or a list of polygons",
                )
            }

            fn visit_unit<E>(self) -> Result<Masks, E> {
                Ok(Masks::default())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Masks, E> {
                let mut masks = Masks::default();
                if !text.trim().is_empty() {
                    masks.push(text.parse().map_err(E::custom)?);
                }
                Ok(masks)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Masks, A::Error> {
                let mut masks = Masks::default();
                while let Some(coordinates) = seq.next_element::<Coordinates>()? {
                    masks.push(coordinates);
                }
                Ok(masks)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Masks, A::Error> {
                let mut masks = BTreeMap::new();
                while let Some((name, NamedMask(mask))) = map.next_entry::<String, NamedMask>()? {
                    match masks.entry(name) {
                        Entry::Vacant(entry) => entry.insert(mask),
                        Entry::Occupied(entry) => {
                            return Err(de::Error::custom(format!(
                                "mask `{}` given twice",
                                entry.key()
                            )));
                        }
                    };
                }
                Ok(Masks(masks))
            }
        }

        deserializer.deserialize_any(Forms)
    }
}

/// A mask under its name: the full mapping, or just its corners.
struct NamedMask(Mask);

impl<'de> Deserialize<'de> for NamedMask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;

        impl<'de> Visitor<'de> for Forms {
            type Value = NamedMask;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a mapping with `coordinates`, or \"x1,y1,x2,y2,x3,y3,...\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<NamedMask, E> {
                Ok(NamedMask(Mask {
                    enabled: true,
                    friendly_name: None,
                    coordinates: text.parse().map_err(E::custom)?,
                }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<NamedMask, A::Error> {
                Mask::deserialize(MapAccessDeserializer::new(map)).map(NamedMask)
            }
        }

        deserializer.deserialize_any(Forms)
    }
}

impl JsonSchema for Masks {
    fn schema_name() -> Cow<'static, str> {
        "Masks".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mask = generator.subschema_for::<Mask>();
        let polygon = generator.subschema_for::<Coordinates>();
        json_schema!({
            "description": "Masks by name; also one polygon as a string, or a list of them.",
            "anyOf": [
                {"type": "object", "additionalProperties": {"anyOf": [mask, {"type": "string"}]}},
                {"type": "string"},
                {"type": "array", "items": polygon}
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masks(json: &str) -> Result<Masks, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    #[test]
    fn both_forms_of_frigates_masks_are_read() {
        let square = Coordinates::new(vec![(0.0, 0.0), (0.5, 0.0), (0.5, 0.5)]).unwrap();
        for json in [
            r#""0,0,0.5,0,0.5,0.5""#,
            r#"["0,0,0.5,0,0.5,0.5"]"#,
            r#"[[0,0,0.5,0,0.5,0.5]]"#,
            r#"[[[0,0],[0.5,0],[0.5,0.5]]]"#,
            r#"{"mask_1": {"friendly_name": null, "enabled": true, "coordinates": "0,0,0.5,0,0.5,0.5"}}"#,
            r#"{"mask_1": "0,0,0.5,0,0.5,0.5"}"#,
            r#"{"mask_1": {"coordinates": ["0,0", "0.5,0", "0.5,0.5"]}}"#,
        ] {
            let masks = masks(json).unwrap();
            let (name, mask) = masks.iter().next().unwrap();
            assert_eq!(
                (name, &mask.coordinates, mask.enabled),
                ("mask_1", &square, true),
                "{json}"
            );
        }
        assert!(masks("[]").unwrap().is_empty());
        assert!(masks(r#""""#).unwrap().is_empty());
    }

    #[test]
    fn polygons_that_are_none_are_refused_with_the_reason() {
        for (json, said) in [
            (r#""0,0,1""#, "3 numbers"),
            (r#""0,0,1,1""#, "2 corners"),
            (r#""0,0,1,x,1,1""#, "`x` is not a number"),
            (r#"[[0,0,-1,1,1,1]]"#, "coordinate -1 is out of range"),
            (r#""0,0,inf,1,1,1""#, "coordinate inf is out of range"),
            (
                r#"{"a": {"coordinate": "0,0"}}"#,
                "unknown field `coordinate`",
            ),
        ] {
            let error = masks(json).unwrap_err();
            assert!(error.contains(said), "{json}: {error}");
        }
    }

    #[test]
    fn pixels_become_shares_once_the_size_is_known() {
        let pixels: Coordinates = "0,0,640,0,640,180".parse().unwrap();
        assert!(!pixels.is_relative());
        assert_eq!(pixels.fractions(None), None);
        assert_eq!(
            pixels.fractions(Some((1280, 720))),
            Some(vec![(0.0, 0.0), (0.5, 0.0), (0.5, 0.25)])
        );
    }

    #[test]
    fn a_mask_switched_off_masks_nothing() {
        let masks = masks(r#"{"a": {"enabled": false, "coordinates": "0,0,1,0,1,1"}}"#).unwrap();
        assert_eq!((masks.iter().count(), masks.polygons(None).len()), (1, 0));
    }
}
