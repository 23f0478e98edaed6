//! [`Polygon`]: masks and the corners of zones, in every form that Frigate's files have. The only parser of them.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::FrameSize;

/// Corners a polygon may have: its edges are walked for each line of a mask.
const MAX_CORNERS: usize = 4096;
/// The largest coordinate in pixels.
const MAX_PIXEL: f64 = 100_000.0;

/// Why coordinates or masks cannot be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PolygonError {
    /// Not a number.
    #[error(
        "`{text}` is not a number (coordinate {position}); expected \"x1,y1,x2,y2,x3,y3,...\" in fractions of the \
         picture (0 to 1) or pixels"
    )]
    NotANumber {
        /// Which coordinate, counted from 1.
        position: usize,
        /// The text in its place.
        text: String,
    },
    /// Negative, too large or not finite.
    #[error(
        "coordinate {position} is {value}; expected a fraction of the picture (0 to 1) or pixels (0 to {MAX_PIXEL})"
    )]
    OutOfRange {
        /// Which coordinate, counted from 1.
        position: usize,
        /// Its value.
        value: f64,
    },
    /// An x without its y.
    #[error("{0} numbers; expected pairs: \"x1,y1,x2,y2,x3,y3,...\"")]
    Odd(usize),
    /// Fewer than three corners.
    #[error("{0} corners; expected at least 3: \"x1,y1,x2,y2,x3,y3,...\"")]
    TooFew(usize),
    /// Too many corners.
    #[error("{0} corners; at most {MAX_CORNERS} are possible")]
    TooMany(usize),
    /// Too many polygons.
    #[error("{0} polygons; at most {max} are possible", max = crate::Masks::MAX)]
    Polygons(usize),
    /// Starts like JSON and cannot be read as masks.
    #[error("cannot read masks as JSON: {0}")]
    Json(String),
}

/// A closed polygon. Its corners are fractions of the picture if none is above 1, otherwise pixels of the analysed
/// picture, as Frigate distinguishes them. Points are inside by the even-odd rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Polygon {
    corners: Vec<(f64, f64)>,
    relative: bool,
}

impl Polygon {
    /// A polygon from its corners.
    pub fn new(corners: Vec<(f64, f64)>) -> Result<Self, PolygonError> {
        match corners.len() {
            0..3 => return Err(PolygonError::TooFew(corners.len())),
            3..=MAX_CORNERS => {}
            count => return Err(PolygonError::TooMany(count)),
        }
        let values = corners.iter().flat_map(|(x, y)| [*x, *y]);
        for (i, value) in values.enumerate() {
            if !(0.0..=MAX_PIXEL).contains(&value) {
                let position = i + 1;
                return Err(PolygonError::OutOfRange { position, value });
            }
        }
        let relative = corners.iter().all(|(x, y)| *x <= 1.0 && *y <= 1.0);
        Ok(Self { corners, relative })
    }

    fn from_numbers(numbers: &[f64]) -> Result<Self, PolygonError> {
        if !numbers.len().is_multiple_of(2) {
            return Err(PolygonError::Odd(numbers.len()));
        }
        Self::new(numbers.chunks_exact(2).map(|p| (p[0], p[1])).collect())
    }

    /// The corners as given.
    pub fn corners(&self) -> &[(f64, f64)] {
        &self.corners
    }

    /// The corners are fractions of the picture.
    pub fn is_relative(&self) -> bool {
        self.relative
    }

    /// The same polygon with its corners in fractions of the picture. `None` for corners in pixels where the size of
    /// the analysed picture is unknown.
    pub fn relative_to(&self, frame: Option<FrameSize>) -> Option<Self> {
        if self.relative {
            return Some(self.clone());
        }
        let frame = frame?;
        let (width, height) = (
            f64::from(frame.width.max(1)),
            f64::from(frame.height.max(1)),
        );
        let fraction = |(x, y): &(f64, f64)| ((x / width).min(1.0), (y / height).min(1.0));
        Some(Self {
            corners: self.corners.iter().map(fraction).collect(),
            relative: true,
        })
    }

    /// The corners in pixels of this frame.
    pub fn pixels(&self, frame: FrameSize) -> impl Iterator<Item = (f32, f32)> + Clone + '_ {
        let (sx, sy) = if self.relative {
            (f64::from(frame.width), f64::from(frame.height))
        } else {
            (1.0, 1.0)
        };
        self.corners
            .iter()
            .map(move |(x, y)| ((x * sx) as f32, (y * sy) as f32))
    }

    /// Edges in pixels of this frame, each from one corner to the next.
    pub fn edges(
        &self,
        frame: FrameSize,
    ) -> impl Iterator<Item = ((f32, f32), (f32, f32))> + Clone + '_ {
        let next = self.pixels(frame).cycle().skip(1);
        self.pixels(frame).zip(next)
    }

    /// The point, in pixels of this frame, is inside.
    pub fn contains(&self, frame: FrameSize, (x, y): (f32, f32)) -> bool {
        let mut inside = false;
        for ((ax, ay), (bx, by)) in self.edges(frame) {
            if (ay > y) != (by > y) && x < ax + (y - ay) / (by - ay) * (bx - ax) {
                inside = !inside;
            }
        }
        inside
    }
}

/// Appends the numbers of `x,y,...`. A comma at the end is allowed.
fn read_numbers(text: &str, numbers: &mut Vec<f64>) -> Result<(), PolygonError> {
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let number = part.parse().map_err(|_| PolygonError::NotANumber {
            position: numbers.len() + 1,
            text: part.chars().take(40).collect(),
        })?;
        numbers.push(number);
        // A longer list is refused anyway; reading on would only take memory.
        if numbers.len() > 2 * MAX_CORNERS {
            return Err(PolygonError::TooMany(numbers.len() / 2 + 1));
        }
    }
    Ok(())
}

impl FromStr for Polygon {
    type Err = PolygonError;

    fn from_str(text: &str) -> Result<Self, PolygonError> {
        let mut numbers = Vec::new();
        read_numbers(text, &mut numbers)?;
        Self::from_numbers(&numbers)
    }
}

impl fmt::Display for Polygon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (x, y)) in self.corners.iter().enumerate() {
            if i > 0 {
                f.write_char(',')?;
            }
            write!(f, "{x},{y}")?;
        }
        Ok(())
    }
}

impl Serialize for Polygon {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Polygon {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Polygon;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("coordinates as \"x1,y1,x2,y2,x3,y3,...\" or a list of numbers")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Polygon, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Polygon, A::Error> {
                let numbers = Numbers::of(seq)?;
                Polygon::from_numbers(&numbers.0).map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_any(Text)
    }
}

/// An element of a list of coordinates: a number, `"x,y"`, or a list of them.
struct Numbers(Vec<f64>);

impl Numbers {
    fn of<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<Self, A::Error> {
        let mut all = Vec::new();
        while let Some(Self(part)) = seq.next_element()? {
            all.extend(part);
            if all.len() > 2 * MAX_CORNERS {
                return Err(de::Error::custom(PolygonError::TooMany(all.len() / 2)));
            }
        }
        Ok(Self(all))
    }
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Numbers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"x,y\" or [x, y]")
            }

            fn visit_f64<E>(self, value: f64) -> Result<Numbers, E> {
                Ok(Numbers(vec![value]))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Numbers, E> {
                Ok(Numbers(vec![value as f64]))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Numbers, E> {
                Ok(Numbers(vec![value as f64]))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Numbers, E> {
                let mut numbers = Vec::new();
                read_numbers(text, &mut numbers).map_err(E::custom)?;
                Ok(Numbers(numbers))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Numbers, A::Error> {
                Numbers::of(seq)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Polygon {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Coordinates".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
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

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: FrameSize = FrameSize::new(200, 100);

    #[test]
    fn fractions_and_pixels_mean_the_same_polygon() {
        let pixels: Polygon = "0,0,100,0,100,50,0,50".parse().unwrap();
        let fractions: Polygon = "0, 0, 0.5, 0, 0.5, 0.5, 0, 0.5,".parse().unwrap();
        assert!(!pixels.is_relative() && fractions.is_relative());
        assert!(pixels.pixels(FRAME).eq(fractions.pixels(FRAME)));
        assert_eq!(pixels.relative_to(None), None);
        assert_eq!(pixels.relative_to(Some(FRAME)), Some(fractions.clone()));
        for polygon in [pixels, fractions] {
            assert!(polygon.contains(FRAME, (50.0, 25.0)));
            assert!(!polygon.contains(FRAME, (150.0, 25.0)));
            assert!(!polygon.contains(FRAME, (f32::NAN, 25.0)));
        }
    }

    #[test]
    fn a_point_is_inside_a_concave_polygon_or_not() {
        let polygon: Polygon = "0,0,1,0,1,1,0.5,0.2,0,1".parse().unwrap();
        assert!(polygon.contains(FRAME, (20.0, 50.0)));
        assert!(!polygon.contains(FRAME, (100.0, 80.0)));
        assert!(!polygon.contains(FRAME, (300.0, 50.0)));
    }

    #[test]
    fn errors_name_the_value_and_the_expected_form() {
        let many = vec!["1"; 2 * MAX_CORNERS + 2].join(",");
        for (text, part) in [
            ("0,0,1", "3 numbers"),
            ("0,0,1,1", "2 corners"),
            ("", "0 corners"),
            ("0,0,1,x,1,1", "`x` is not a number (coordinate 4)"),
            ("0,0,-1,1,1,1", "coordinate 3 is -1"),
            ("0,0,inf,1,1,1", "coordinate 3 is inf"),
            ("0,0,1,100001,1,1", "coordinate 4 is 100001"),
            (&many, "4097 corners"),
        ] {
            let error = text.parse::<Polygon>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
