//! Numbers of bytes in the configuration.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes, as a number or with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// Longest first where one ends with another.
const UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

/// What is expected where bytes are.
const EXPECTED: &str = "bytes as a whole number, or text such as `500 MB` or `2GiB`";

impl FromStr for Bytes {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.trim();
        let (number, factor) = UNITS
            .iter()
            .find_map(|(unit, factor)| {
                let at = text.len().checked_sub(unit.len())?;
                let end = text.get(at..)?;
                end.eq_ignore_ascii_case(unit)
                    .then(|| (text[..at].trim_end(), *factor))
            })
            .unwrap_or((text, 1));
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(factor).map(Self).ok_or(());
        }
        // Digits and a point, so neither a sign nor `inf`.
        let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let number: f64 = number.parse().map_err(|_| ())?;
        let bytes = number * factor as f64;
        (plain && bytes < 1e18)
            .then_some(Self(bytes as u64))
            .ok_or(())
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS[..4]
            .iter()
            .rev()
            .find(|(_, factor)| self.0 >= *factor);
        match unit {
            Some((unit, factor)) if self.0.is_multiple_of(*factor) => {
                write!(f, "{} {unit}", self.0 / factor)
            }
            Some((unit, factor)) => write!(f, "{:.1} {unit}", self.0 as f64 / *factor as f64),
            None => write!(f, "{} B", self.0),
        }
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.to_string();
        // The text where it says exactly this.
        if self.0 >= 1024 && text.parse() == Ok(*self) {
            serializer.serialize_str(&text)
        } else {
            serializer.serialize_u64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;
        impl Visitor<'_> for Reading {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Bytes, E> {
                Ok(Bytes(value))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
                text.parse()
                    .map_err(|()| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Reading)
    }
}

impl JsonSchema for Bytes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Bytes".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}]})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_are_numbers_or_have_a_unit() {
        for (given, bytes) in [
            (json!(0), 0),
            (json!(123), 123),
            (json!("123"), 123),
            (json!("5 B"), 5),
            (json!("1GiB"), 1 << 30),
            (json!(" 1.5 gib "), 3 << 29),
            (json!("500 MB"), 500_000_000),
            (json!("2kb"), 2000),
            (json!("3TiB"), 3 << 40),
        ] {
            let read: Bytes = serde_json::from_value(given.clone()).unwrap();
            assert_eq!(read.0, bytes, "{given}");
            let again = serde_json::to_value(read).unwrap();
            assert_eq!(serde_json::from_value::<Bytes>(again).unwrap(), read);
        }
        assert_eq!(json!(Bytes(1 << 30)), json!("1 GiB"));
        assert_eq!(json!(Bytes(1 << 30 | 1)), json!(1 << 30 | 1));
        for wrong in [
            json!(-1),
            json!("-1GiB"),
            json!("GiB"),
            json!("1 XB"),
            json!("infGiB"),
            json!("99999999999TiB"),
            json!("1é"),
            json!(true),
        ] {
            let error = serde_json::from_value::<Bytes>(wrong.clone()).unwrap_err();
            assert!(error.to_string().contains("2GiB"), "{wrong}: {error}");
        }
    }
}
