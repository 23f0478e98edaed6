//! Polygons on a frame, as motion and object masks give them: `x1,y1,x2,y2,...` in fractions of the frame or in pixels, and
//! the lists and maps of them that Frigate's files have, as JSON.

use detection::FrameSize;
use serde_json::Value;

/// Points a polygon may have.
const MAX_POINTS: usize = 1024;
/// Polygons one string may hold.
const MAX_POLYGONS: usize = 256;

/// Why coordinates could not be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MaskError {
    /// Not a number.
    #[error(
        "mask coordinate {position} is '{text}', expected a number: write x1,y1,x2,y2,... in fractions (0..1) or pixels"
    )]
    NotANumber {
        /// Which coordinate, counted from 1.
        position: usize,
        /// What is there.
        text: String,
    },
    /// Negative, or not finite.
    #[error(
        "mask coordinate {position} is {value}; fractions from 0 to 1 or pixels from 0 on are allowed"
    )]
    OutOfRange {
        /// Which coordinate, counted from 1.
        position: usize,
        /// Its value.
        value: f32,
    },
    /// No pairs, too few or too many points.
    #[error("mask has {0} coordinates; pairs of x and y for 3 to {MAX_POINTS} points are needed")]
    Count(usize),
    /// Begins like JSON, and is none or something else.
    #[error("mask cannot be read as JSON: {0}")]
    Json(String),
    /// Too many polygons.
    #[error("mask has {0} polygons, at most {MAX_POLYGONS} are allowed")]
    Polygons(usize),
}

/// A polygon with its corners in fractions or pixels, as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Polygon {
    points: Vec<(f32, f32)>,
    fractions: bool,
}

impl Polygon {
    /// Reads `x1,y1,x2,y2,...`. All values up to 1: fractions of the frame, otherwise pixels, as Frigate tells them apart.
    pub fn parse(text: &str) -> Result<Self, MaskError> {
        let mut values = Vec::new();
        read_numbers(text, &mut values)?;
        Self::new(&values)
    }

    fn new(values: &[f32]) -> Result<Self, MaskError> {
        if !values.len().is_multiple_of(2) || values.len() < 6 {
            return Err(MaskError::Count(values.len()));
        }
        Ok(Self {
            fractions: values.iter().all(|v| *v <= 1.0),
            points: values.chunks_exact(2).map(|p| (p[0], p[1])).collect(),
        })
    }

    /// Reads several polygons with `;` or line ends between them, or as JSON: a list of them, or a map of names to them or to
    /// `{"enabled": true, "coordinates": ...}`. An empty text holds none.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, MaskError> {
        if text.trim_start().starts_with(['[', '{']) {
            return Self::parse_json(text);
        }
        let parts = text
            .split([';', '\n'])
            .map(str::trim)
            .filter(|part| !part.is_empty());
        let count = parts.clone().count();
        if count > MAX_POLYGONS {
            return Err(MaskError::Polygons(count));
        }
        parts.map(Self::parse).collect()
    }

    fn parse_json(text: &str) -> Result<Vec<Self>, MaskError> {
        let value = serde_json::from_str(text).map_err(|e| MaskError::Json(e.to_string()))?;
        let masks: Vec<Value> = match value {
            Value::Array(list) => list,
            Value::Object(named) => named.into_iter().filter_map(enabled).collect(),
            other => vec![other],
        };
        if masks.len() > MAX_POLYGONS {
            return Err(MaskError::Polygons(masks.len()));
        }
        let polygon = |mask: &Value| {
            let mut values = Vec::new();
            collect_numbers(mask, &mut values)?;
            Self::new(&values)
        };
        masks.iter().map(polygon).collect()
    }

    /// The corners in pixels of this frame.
    pub fn pixels(&self, frame: FrameSize) -> impl Iterator<Item = (f32, f32)> + Clone + '_ {
        let (sx, sy) = if self.fractions {
            (frame.width as f32, frame.height as f32)
        } else {
            (1.0, 1.0)
        };
        self.points.iter().map(move |(x, y)| (x * sx, y * sy))
    }

    /// The point (in pixels of this frame) lies inside, by the even-odd rule.
    pub fn contains(&self, frame: FrameSize, (x, y): (f32, f32)) -> bool {
        let mut inside = false;
        for ((ax, ay), (bx, by)) in edges(self.pixels(frame)) {
            if (ay > y) != (by > y) && x < ax + (y - ay) / (by - ay) * (bx - ax) {
                inside = !inside;
            }
        }
        inside
    }
}

/// The coordinates of a mask in a map, unless it is switched off.
fn enabled((_, mask): (String, Value)) -> Option<Value> {
    match mask {
        Value::Object(mut fields) => {
            let is_off = fields.get("enabled") == Some(&Value::Bool(false));
            (!is_off).then(|| fields.remove("coordinates").unwrap_or_default())
        }
        plain => Some(plain),
    }
}

fn read_numbers(text: &str, values: &mut Vec<f32>) -> Result<(), MaskError> {
    for part in text.split(',').map(str::trim) {
        let number = part.parse().map_err(|_| MaskError::NotANumber {
            position: values.len() + 1,
            text: part.chars().take(40).collect(),
        })?;
        add_number(number, values)?;
    }
    Ok(())
}

fn add_number(value: f32, values: &mut Vec<f32>) -> Result<(), MaskError> {
    let position = values.len() + 1;
    if !value.is_finite() || value < 0.0 {
        return Err(MaskError::OutOfRange { position, value });
    }
    if position > 2 * MAX_POINTS {
        return Err(MaskError::Count(position));
    }
    values.push(value);
    Ok(())
}

/// Coordinates as text, as numbers, or as lists of either.
fn collect_numbers(value: &Value, values: &mut Vec<f32>) -> Result<(), MaskError> {
    match value {
        Value::Number(number) => add_number(number.as_f64().unwrap_or(f64::NAN) as f32, values),
        Value::String(text) => read_numbers(text, values),
        Value::Array(list) => list.iter().try_for_each(|v| collect_numbers(v, values)),
        other => Err(MaskError::Json(format!("{other} is no coordinates"))),
    }
}

fn edges<I>(points: I) -> impl Iterator<Item = ((f32, f32), (f32, f32))>
where
    I: Iterator<Item = (f32, f32)> + Clone,
{
    let next = points.clone().skip(1).chain(points.clone().take(1));
    points.zip(next)
}

/// What the polygons leave of a frame shrunk to `small`: 255 for a pixel that counts, 0 for one that lies wholly under a
/// polygon. Pixels a polygon's edge runs through are under it.
pub fn shrunk_mask(polygons: &[Polygon], frame: FrameSize, small: FrameSize) -> Vec<u8> {
    let (width, height) = (frame.width.max(1) as usize, frame.height.max(1) as usize);
    let (columns, rows) = (small.width.max(1) as usize, small.height.max(1) as usize);
    let mut mask = vec![255u8; columns * rows];
    if polygons.is_empty() {
        return mask;
    }
    // Row by row of the frame: how many of each small pixel's columns are under a polygon, over all its rows.
    let mut row = vec![false; width];
    let mut crossings = Vec::new();
    let (sx, sy) = (width as f64 / columns as f64, height as f64 / rows as f64);
    for small_y in 0..rows {
        let line = &mut mask[small_y * columns..][..columns];
        line.fill(0);
        for y in covered(small_y, sy, height) {
            row.fill(false);
            for polygon in polygons {
                fill_row(polygon, frame, y, &mut row, &mut crossings);
            }
            for (small_x, pixel) in line.iter_mut().enumerate() {
                if covered(small_x, sx, width).any(|x| !row[x]) {
                    *pixel = 255;
                }
            }
        }
    }
    mask
}

/// Pixels of the large picture that a small pixel covers, but for slivers that rounding loses.
fn covered(at: usize, scale: f64, size: usize) -> std::ops::Range<usize> {
    const SLIVER: f64 = 0.002;
    let from = (at as f64 * scale + SLIVER * scale).floor() as usize;
    let to = ((at + 1) as f64 * scale - SLIVER * scale).ceil() as usize;
    from.min(size - 1)..to.clamp(from.min(size - 1) + 1, size)
}

fn fill_row(
    polygon: &Polygon,
    frame: FrameSize,
    y: usize,
    row: &mut [bool],
    crossings: &mut Vec<f32>,
) {
    let at = y as f32;
    let last = row.len() as f32 - 1.0;
    let mut mark = |from: f32, to: f32| {
        if to >= 0.0 && from <= last && from <= to {
            row[from.max(0.0) as usize..=to.min(last) as usize].fill(true);
        }
    };
    crossings.clear();
    for ((ax, ay), (bx, by)) in edges(polygon.pixels(frame)) {
        let x_at = |y: f32| ax + (y - ay) / (by - ay) * (bx - ax);
        if (ay > at) != (by > at) {
            crossings.push(x_at(at));
        }
        // What the edge itself runs through in this row, half a pixel up and down.
        let (top, bottom) = (ay.min(by).max(at - 0.5), ay.max(by).min(at + 0.5));
        if top <= bottom {
            let (from, to) = if ay == by {
                (ax, bx)
            } else {
                (x_at(top), x_at(bottom))
            };
            mark(from.min(to).round(), from.max(to).round());
        }
    }
    crossings.sort_unstable_by(f32::total_cmp);
    for pair in crossings.chunks_exact(2) {
        mark(pair[0].ceil(), pair[1].floor());
    }
}

/// Any bytes are polygons or refused, and no polygon masks more than there is: for the fuzz target and the property tests.
pub fn fuzz(bytes: &[u8]) {
    let Ok(polygons) = Polygon::parse_list(&String::from_utf8_lossy(bytes)) else {
        return;
    };
    let (frame, small) = (FrameSize::new(64, 36), FrameSize::new(17, 10));
    let mask = shrunk_mask(&polygons, frame, small);
    assert_eq!(mask.len(), 170);
    assert!(mask.iter().all(|p| matches!(p, 0 | 255)));
    assert!(!polygons.is_empty() || mask.iter().all(|p| *p == 255));
    for polygon in &polygons {
        polygon.contains(frame, (f32::NAN, 3.0));
        polygon.contains(frame, (32.0, 18.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FRAME: FrameSize = FrameSize::new(200, 100);

    #[test]
    fn fractions_and_pixels_say_the_same() {
        let pixels = Polygon::parse("0,0,100,0,100,50,0,50").unwrap();
        let fractions = Polygon::parse("0, 0, 0.5, 0, 0.5, 0.5, 0, 0.5").unwrap();
        assert!(pixels.pixels(FRAME).eq(fractions.pixels(FRAME)));
        assert!(pixels.contains(FRAME, (50.0, 25.0)) && !pixels.contains(FRAME, (150.0, 25.0)));
        assert_eq!(
            Polygon::parse_list("0,0,1,0,1,1; 0,0,9,0,9,9\n")
                .unwrap()
                .len(),
            2
        );
        assert_eq!(Polygon::parse_list("").unwrap().len(), 0);
    }

    #[test]
    fn every_form_of_frigates_files_is_read() {
        let square = Polygon::parse("0,0,0.5,0,0.5,0.5").unwrap();
        for text in [
            r#"["0,0,0.5,0,0.5,0.5"]"#,
            "[[0, 0, 0.5, 0, 0.5, 0.5]]",
            "[[[0,0],[0.5,0],[0.5,0.5]]]",
            r#"{"tree": {"coordinates": "0,0,0.5,0,0.5,0.5"}, "sky": {"enabled": false, "coordinates": "0,0"}}"#,
            r#" {"tree": {"enabled": true, "friendly_name": "x", "coordinates": [0,0,0.5,0,0.5,0.5]}}"#,
            r#"{"tree": ["0,0", "0.5,0", "0.5,0.5"]}"#,
        ] {
            assert_eq!(
                Polygon::parse_list(text).as_deref(),
                Ok(&[square.clone()][..]),
                "{text}"
            );
        }
        assert_eq!(
            Polygon::parse_list(r#"["0,0,1,0,1,1", "0,0,640,0,640,360"]"#).map(|l| l.len()),
            Ok(2)
        );
        assert_eq!(Polygon::parse_list("{}"), Ok(vec![]));
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let json = |text: &str| Polygon::parse_list(text).unwrap_err().to_string();
        assert!(json("[[0,0").contains("EOF"));
        assert!(json(r#"{"tree": {}}"#).contains("null is no coordinates"));
        assert!(json("[0,0,1,0,1,1]").contains("1 coordinates"));
        assert!(json("[[0,0,1,-3,1,1]]").contains("coordinate 4 is -3"));
        let error = |text: &str| Polygon::parse(text).unwrap_err().to_string();
        assert!(error("0,0,1,0").contains("4 coordinates"));
        assert!(error("0,0,1,zero,1,1").contains("coordinate 4 is 'zero'"));
        assert!(error("0,0,1,-3,1,1").contains("-3"));
        assert!(error("0,0,1,inf,1,1").contains("inf"));
    }

    #[test]
    fn only_pixels_wholly_under_the_polygon_are_masked() {
        // Left half of the picture and 4 pixels more: the column it cuts stays.
        let half = Polygon::parse("0,0,104,0,104,100,0,100").unwrap();
        let small = FrameSize::new(20, 10);
        let mask = shrunk_mask(&[half], FRAME, small);
        for y in 0..10 {
            for x in 0..20 {
                assert_eq!(
                    mask[y * 20 + x],
                    if x < 10 { 0 } else { 255 },
                    "x={x} y={y}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[\\[{]{0,2}[0-9,.; eE+\":\\[\\]{}-]{0,200}", w in 1u32..300, h in 1u32..300) {
            fuzz(text.as_bytes());
            if let Ok(polygons) = Polygon::parse_list(&text) {
                let mask = shrunk_mask(&polygons, FrameSize::new(w, h), FrameSize::new(40, 30));
                prop_assert_eq!(mask.len(), 1200);
            }
        }

        #[test]
        fn what_is_far_inside_is_masked_and_what_is_outside_is_not(
            x in 0f32..150.0, y in 0f32..50.0, w in 30f32..50.0, h in 30f32..50.0,
        ) {
            let text = format!("{x},{y},{},{y},{},{},{x},{}", x + w, x + w, y + h, y + h);
            let polygon = Polygon::parse(&text).unwrap();
            let mask = shrunk_mask(std::slice::from_ref(&polygon), FRAME, FrameSize::new(50, 25));
            for sy in 0..25 {
                for sx in 0..50 {
                    let (px, py) = (sx as f32 * 4.0, sy as f32 * 4.0);
                    let masked = mask[sy * 50 + sx] == 0;
                    if px > x + 2.0 && px + 6.0 < x + w && py > y + 2.0 && py + 6.0 < y + h {
                        prop_assert!(masked);
                    }
                    if px > x + w + 2.0 || py > y + h + 2.0 || px + 6.0 < x || py + 6.0 < y {
                        prop_assert!(!masked);
                    }
                }
            }
        }
    }
}
