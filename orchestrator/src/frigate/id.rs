//! Ids of events in Frigate's form: `START-NUMBER`. Clients read the start; we read the number.

use watchpost_api::ObjectEvent;

/// The id of an event: its start with six decimals, and our number in base 36.
pub(crate) fn of_event(event: &ObjectEvent) -> String {
    format!("{:.6}-{:0>6}", event.start_time, base36(event.id))
}

/// Our number of an id.
pub(crate) fn number_of(id: &str) -> Option<i64> {
    let (start, number) = id.rsplit_once('-')?;
    start.parse::<f64>().ok()?;
    let is_digit = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase();
    number
        .chars()
        .all(is_digit)
        .then(|| i64::from_str_radix(number, 36).ok())?
}

fn base36(number: i64) -> String {
    let mut rest = number.unsigned_abs();
    let mut digits = Vec::new();
    while rest > 0 || digits.is_empty() {
        digits.push(char::from_digit((rest % 36) as u32, 36).unwrap_or('0'));
        rest /= 36;
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for number in [0, 35, 36, 1295, 2_176_782_336, i64::MAX] {
            let id = format!("1764500000.123457-{:0>6}", base36(number));
            assert_eq!(number_of(&id), Some(number), "{id}");
        }
    }

    #[test]
    fn other_ids_are_none() {
        for id in [
            "",
            "12",
            "a-1",
            "1.5-",
            "1.5-+1",
            "1.5-A",
            "1.5--1",
            "1.5-zzzzzzzzzzzzzzz",
        ] {
            assert_eq!(number_of(id), None, "{id}");
        }
    }
}
