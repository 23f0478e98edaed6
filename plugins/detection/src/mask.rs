//! [`Masks`]: named polygons that can be switched off.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::str::FromStr;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{FrameSize, Polygon, PolygonError};

/// A polygon that can be switched off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// Whether the mask is used.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Name shown to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub friendly_name: Option<String>,
    /// Corners `x,y,x,y,...`: shares of the picture (0 to 1), or pixels of the analysed picture.
    pub coordinates: Polygon,
}

const fn yes() -> bool {
    true
}

impl From<Polygon> for Mask {
    fn from(coordinates: Polygon) -> Self {
        Self {
            enabled: true,
            friendly_name: None,
            coordinates,
        }
    }
}

/// Masks by name. Also read from one polygon as a string, or a list of polygons (Frigate's older form).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Masks(BTreeMap<String, Mask>);

impl Masks {
    /// Masks one list may have.
    pub const MAX: usize = 256;

    /// There are no masks.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All masks by name, also those that are switched off.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Mask)> {
        self.0.iter().map(|(name, mask)| (name.as_str(), mask))
    }

    /// The polygons of the masks in use.
    pub fn polygons(&self) -> impl Iterator<Item = &Polygon> {
        self.0
            .values()
            .filter(|mask| mask.enabled)
            .map(|mask| &mask.coordinates)
    }

    /// The masks in use as the text of a `mask` property, with corners in fractions of the picture. A mask in pixels is
    /// left out where the size of the analysed picture is unknown (`watchpost check` refuses such a configuration).
    pub fn to_property(&self, frame: Option<FrameSize>) -> String {
        let texts: Vec<String> = self
            .polygons()
            .filter_map(|polygon| polygon.relative_to(frame))
            .map(|polygon| polygon.to_string())
            .collect();
        texts.join(";")
    }

    fn push(&mut self, coordinates: Polygon) -> Result<(), PolygonError> {
        let name = format!("mask_{}", self.0.len() + 1);
        self.0.insert(name, coordinates.into());
        self.check_count()
    }

    fn check_count(&self) -> Result<(), PolygonError> {
        match self.0.len() {
            0..=Self::MAX => Ok(()),
            count => Err(PolygonError::Polygons(count)),
        }
    }
}

impl FromIterator<(String, Mask)> for Masks {
    fn from_iter<I: IntoIterator<Item = (String, Mask)>>(masks: I) -> Self {
        Self(masks.into_iter().collect())
    }
}

/// The text of a property: JSON in any of the forms of a configuration, otherwise polygons with `;` or line ends between
/// them. An empty text has none.
impl FromStr for Masks {
    type Err = PolygonError;

    fn from_str(text: &str) -> Result<Self, PolygonError> {
        if text.trim_start().starts_with(['[', '{', '"']) {
            return serde_json::from_str(text).map_err(|e| PolygonError::Json(e.to_string()));
        }
        let mut masks = Self::default();
        for part in text.split([';', '\n']).map(str::trim) {
            if !part.is_empty() {
                masks.push(part.parse()?)?;
            }
        }
        Ok(masks)
    }
}

impl<'de> Deserialize<'de> for Masks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;

        impl<'de> Visitor<'de> for Forms {
            type Value = Masks;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "masks by name, one polygon \"x1,y1,x2,y2,x3,y3,...\", or a list of polygons",
                )
            }

            fn visit_unit<E>(self) -> Result<Masks, E> {
                Ok(Masks::default())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Masks, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Masks, A::Error> {
                let mut masks = Masks::default();
                while let Some(coordinates) = seq.next_element::<Polygon>()? {
                    masks.push(coordinates).map_err(de::Error::custom)?;
                }
                Ok(masks)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Masks, A::Error> {
                let mut masks = Masks::default();
                while let Some((name, NamedMask(mask))) = map.next_entry::<String, NamedMask>()? {
                    match masks.0.entry(name) {
                        Entry::Vacant(entry) => entry.insert(mask),
                        Entry::Occupied(entry) => {
                            return Err(de::Error::custom(format!(
                                "mask `{}` given twice",
                                entry.key()
                            )));
                        }
                    };
                    masks.check_count().map_err(de::Error::custom)?;
                }
                Ok(masks)
            }
        }

        deserializer.deserialize_any(Forms)
    }
}

/// A mask under its name: the full mapping, or just its corners.
struct NamedMask(Mask);

impl From<Polygon> for NamedMask {
    fn from(coordinates: Polygon) -> Self {
        Self(coordinates.into())
    }
}

impl<'de> Deserialize<'de> for NamedMask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;

        impl<'de> Visitor<'de> for Forms {
            type Value = NamedMask;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping with `coordinates`, or \"x1,y1,x2,y2,x3,y3,...\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<NamedMask, E> {
                let polygon: Polygon = text.parse().map_err(E::custom)?;
                Ok(NamedMask::from(polygon))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<NamedMask, A::Error> {
                Polygon::deserialize(SeqAccessDeserializer::new(seq)).map(NamedMask::from)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<NamedMask, A::Error> {
                Mask::deserialize(MapAccessDeserializer::new(map)).map(NamedMask)
            }
        }

        deserializer.deserialize_any(Forms)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Masks {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Masks".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mask = generator.subschema_for::<Mask>();
        let polygon = generator.subschema_for::<Polygon>();
        schemars::json_schema!({
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

    #[test]
    fn every_form_of_frigates_masks_is_read() {
        let square: Polygon = "0,0,0.5,0,0.5,0.5".parse().unwrap();
        for text in [
            "0,0,0.5,0,0.5,0.5",
            r#""0,0,0.5,0,0.5,0.5""#,
            r#"["0,0,0.5,0,0.5,0.5"]"#,
            "[[0, 0, 0.5, 0, 0.5, 0.5]]",
            "[[[0,0],[0.5,0],[0.5,0.5]]]",
            r#"[["0,0", "0.5,0", "0.5,0.5"]]"#,
            r#"{"mask_1": "0,0,0.5,0,0.5,0.5"}"#,
            r#"{"mask_1": ["0,0", "0.5,0", "0.5,0.5"]}"#,
            r#"{"mask_1": [[0,0], [0.5,0], [0.5,0.5]]}"#,
            r#"{"mask_1": {"coordinates": ["0,0", "0.5,0", "0.5,0.5"]}}"#,
            r#" {"mask_1": {"friendly_name": null, "enabled": true, "coordinates": "0,0,0.5,0,0.5,0.5"}}"#,
        ] {
            let masks: Masks = text.parse().unwrap();
            let all: Vec<_> = masks
                .iter()
                .map(|(name, mask)| (name, &mask.coordinates, mask.enabled))
                .collect();
            assert_eq!(all, [("mask_1", &square, true)], "{text}");
        }
        for text in ["", " ", ";\n", "[]", "{}", r#""""#] {
            assert!(text.parse::<Masks>().unwrap().is_empty(), "{text}");
        }
        let two: Masks = "0,0,1,0,1,1; 0,0,9,0,9,9\n".parse().unwrap();
        assert_eq!(two.polygons().count(), 2);
    }

    #[test]
    fn a_mask_that_is_switched_off_masks_nothing() {
        let text = r#"{"a": {"enabled": false, "coordinates": "0,0,1,0,1,1"}, "b": "0,0,9,0,9,9"}"#;
        let masks: Masks = text.parse().unwrap();
        assert_eq!((masks.iter().count(), masks.polygons().count()), (2, 1));
    }

    #[test]
    fn the_text_of_a_property_has_fractions() {
        let masks: Masks = "0,0,640,0,640,180;0,0,1,0,1,1".parse().unwrap();
        let frame = FrameSize::new(1280, 720);
        assert_eq!(
            masks.to_property(Some(frame)),
            "0,0,0.5,0,0.5,0.25;0,0,1,0,1,1"
        );
        assert_eq!(masks.to_property(None), "0,0,1,0,1,1");
    }

    #[test]
    fn errors_name_the_value_and_the_expected_form() {
        let many = vec!["0,0,1,0,1,1"; Masks::MAX + 1].join(";");
        for (text, part) in [
            ("[[0,0", "EOF"),
            ("0,0,1,0", "2 corners"),
            (r#"{"tree": {}}"#, "missing field `coordinates`"),
            (
                r#"{"a": {"coordinate": "0,0"}}"#,
                "unknown field `coordinate`",
            ),
            (
                r#"{"a": "0,0,1,0,1,1", "a": "0,0,1,0,1,1"}"#,
                "`a` given twice",
            ),
            ("[0,0,1,0,1,1]", "expected coordinates as"),
            ("[[0,0,1,-3,1,1]]", "coordinate 4 is -3"),
            (r#"[["0,x"]]"#, "`x` is not a number"),
            ("7,", "1 numbers"),
            (&many, "257 polygons"),
        ] {
            let error = text.parse::<Masks>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
