//! Polygons as users write them: `x1,y1,x2,y2,...`, as text or as lists, in shares of the frame or in pixels of it.

use objecttrack_core::Polygon;
use serde_json::Value;

/// Corners as written.
#[derive(Debug, Clone, PartialEq)]
pub struct Corners(Vec<(f64, f64)>);

impl Corners {
    /// From text or (nested) lists of numbers.
    pub fn from_json(value: &Value) -> Result<Self, String> {
        let mut numbers = Vec::new();
        collect(value, &mut numbers)?;
        Self::from_numbers(&numbers)
    }

    /// From `x1,y1,x2,y2,...`.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let mut numbers = Vec::new();
        collect_text(text, &mut numbers)?;
        Self::from_numbers(&numbers)
    }

    fn from_numbers(numbers: &[f64]) -> Result<Self, String> {
        if !numbers.len().is_multiple_of(2) || numbers.len() < 6 {
            return Err(format!(
                "{} numbers, expected x,y pairs of at least 3 corners",
                numbers.len()
            ));
        }
        if let Some(bad) = numbers
            .iter()
            .find(|v| !v.is_finite() || **v < 0.0 || **v > 100_000.0)
        {
            return Err(format!(
                "coordinate {bad}: expected 0..1 as a share of the frame, or pixels"
            ));
        }
        Ok(Self(
            numbers.chunks_exact(2).map(|p| (p[0], p[1])).collect(),
        ))
    }

    /// In shares of a frame of this size. Pixels are what has a number above 1.
    pub fn resolve(&self, (width, height): (f32, f32)) -> Option<Polygon> {
        let shares = self.0.iter().all(|(x, y)| *x <= 1.0 && *y <= 1.0);
        let (w, h) = if shares { (1.0, 1.0) } else { (width, height) };
        Polygon::new(
            self.0
                .iter()
                .map(|(x, y)| (*x as f32 / w, *y as f32 / h))
                .collect(),
        )
    }
}

/// Masks: polygons as `x,y,...;x,y,...`, or in JSON by name (as a mapping with `enabled` and `coordinates`, or plain), as a list, or one.
pub fn masks(value: &Value) -> Result<Vec<Corners>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => masks_from_text(text),
        Value::Array(list) => list.iter().map(Corners::from_json).collect(),
        Value::Object(named) => {
            let mut all = Vec::new();
            for (name, mask) in named {
                let corners = match mask {
                    Value::Object(fields) if fields.get("enabled") == Some(&Value::Bool(false)) => {
                        continue;
                    }
                    Value::Object(fields) => fields
                        .get("coordinates")
                        .ok_or_else(|| format!("{name}: no coordinates"))?,
                    plain => plain,
                };
                all.push(Corners::from_json(corners).map_err(|e| format!("{name}: {e}"))?);
            }
            Ok(all)
        }
        other => Err(format!("{other} is not a mask")),
    }
}

/// Masks from a property: JSON if it looks like it, otherwise polygons with `;` between them.
pub fn masks_from_text(text: &str) -> Result<Vec<Corners>, String> {
    let text = text.trim();
    if text.starts_with(['{', '[']) {
        let value: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        return masks(&value);
    }
    text.split(';')
        .filter(|part| !part.trim().is_empty())
        .map(Corners::from_text)
        .collect()
}

fn collect(value: &Value, numbers: &mut Vec<f64>) -> Result<(), String> {
    match value {
        Value::Number(n) => numbers.push(n.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => collect_text(text, numbers)?,
        Value::Array(list) => {
            for v in list {
                collect(v, numbers)?;
            }
        }
        other => return Err(format!("{other} is not a coordinate")),
    }
    Ok(())
}

fn collect_text(text: &str, numbers: &mut Vec<f64>) -> Result<(), String> {
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        numbers.push(
            part.parse()
                .map_err(|_| format!("\"{part}\" is not a number"))?,
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_frigates_masks_is_read() {
        let square = Corners::from_text("0,0,0.5,0,0.5,0.5").unwrap();
        for text in [
            "0,0,0.5,0,0.5,0.5",
            r#"["0,0,0.5,0,0.5,0.5"]"#,
            "[[0,0,0.5,0,0.5,0.5]]",
            "[[[0,0],[0.5,0],[0.5,0.5]]]",
            r#"{"a": {"coordinates": "0,0,0.5,0,0.5,0.5"}, "b": {"enabled": false, "coordinates": "x"}}"#,
            r#"{"a": ["0,0", "0.5,0", "0.5,0.5"]}"#,
        ] {
            assert_eq!(
                masks_from_text(text).unwrap(),
                std::slice::from_ref(&square),
                "{text}"
            );
        }
        assert_eq!(
            masks_from_text("0,0,0.5,0,0.5,0.5; 0,0,1,0,1,1")
                .unwrap()
                .len(),
            2
        );
        assert!(masks_from_text("").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_polygon_is_refused_with_the_reason() {
        for (text, said) in [
            ("0,0,1", "3 numbers"),
            ("0,0,1,x,1,1", "\"x\" is not a number"),
            ("0,0,-1,1,1,1", "coordinate -1"),
            ("0,0,inf,1,1,1", "coordinate inf"),
            ("[[0,0", "EOF"),
            (r#"{"yard": {}}"#, "yard: no coordinates"),
        ] {
            let error = masks_from_text(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn pixels_are_resolved_by_the_frames_size() {
        let pixels = Corners::from_text("0,0,640,0,640,180").unwrap();
        let shares = Corners::from_text("0,0,0.5,0,0.5,0.25").unwrap();
        assert_eq!(
            pixels.resolve((1280.0, 720.0)),
            shares.resolve((99.0, 99.0))
        );
    }
}
