//! What a file of media is called: time, task, series and number, readable again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::task::Task;

/// What a file is called after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaName {
    /// When its (first) picture was taken.
    pub time: SystemTime,
    /// The task that makes it.
    pub task: Task,
    /// Name of the series and number in it.
    pub series: Option<(String, u64)>,
    /// Without the dot.
    pub extension: String,
}

impl MediaName {
    /// `(folder, name without extension)`: `2026-11-21` and `14-23-00.123-series-garden-000042`.
    pub(crate) fn parts(&self) -> (String, String) {
        let since = since_epoch(self.time);
        let (year, month, day) = date_of((since.as_secs() / 86_400) as i64);
        let second = since.as_secs() % 86_400;
        let mut stem = format!(
            "{:02}-{:02}-{:02}.{:03}-{}",
            second / 3600,
            second / 60 % 60,
            second % 60,
            since.subsec_millis(),
            self.task
        );
        if let Some((name, number)) = &self.series {
            stem.push_str(&format!("-{name}-{number:06}"));
        }
        (format!("{year:04}-{month:02}-{day:02}"), stem)
    }

    /// Reads the folder of a day and a name made by this type, whatever number was added to it.
    pub fn parse(folder: &str, name: &str) -> Option<Self> {
        let mut date = folder.splitn(3, '-').map(str::parse::<i64>);
        let mut next = || date.next()?.ok();
        let days = days_of(next()?, next()?, next()?)?;
        let (stem, extension) = name.rsplit_once('.')?;
        let clock = stem.get(..12)?.as_bytes();
        let digits = |range: std::ops::Range<usize>| -> Option<u64> {
            clock.get(range)?.iter().try_fold(0, |value, byte| {
                byte.is_ascii_digit()
                    .then(|| value * 10 + u64::from(byte - b'0'))
            })
        };
        let seconds = digits(0..2)? * 3600 + digits(3..5)? * 60 + digits(6..8)?;
        let millis = digits(9..12)?;
        let rest = stem.get(13..)?;
        let (task, series) = match rest.split_once('-') {
            None => (rest.split_once('~').map_or(rest, |(task, _)| task), None),
            Some((task, series)) => {
                let (name, number) = series.rsplit_once('-')?;
                let number = number.split_once('~').map_or(number, |(n, _)| n);
                (task, Some((name.to_owned(), number.parse().ok()?)))
            }
        };
        Some(Self {
            time: UNIX_EPOCH
                + Duration::from_secs(days * 86_400 + seconds)
                + Duration::from_millis(millis),
            task: task.parse().ok()?,
            series,
            extension: extension.to_owned(),
        })
    }
}

pub(crate) fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar.
pub(crate) fn date_of(days: i64) -> (i64, i64, i64) {
    // Years begin in March here, so that the leap day is the last one.
    let from_0000_03 = days + 719_468;
    let era = from_0000_03.div_euclid(146_097);
    let day_of_era = from_0000_03.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// The other way round; none where there is no such day.
pub(crate) fn days_of(year: i64, month: i64, day: i64) -> Option<u64> {
    if !(1970..=9999).contains(&year) {
        return None;
    }
    // The calendar repeats every 400 years, so a guess by the mean length is a few days off at most.
    let guess = (year - 1970) * 365 + (year - 1969) / 4 + (month - 1) * 30 + day - 1;
    (guess - 40..=guess + 40)
        .find(|days| date_of(*days) == (year, month, day))
        .and_then(|days| u64::try_from(days).ok())
}

/// The name of the `number`-th file that would have the same one.
pub(crate) fn numbered(stem: &str, number: u32, extension: &str) -> String {
    match number {
        0 => format!("{stem}.{extension}"),
        number => format!("{stem}~{}.{extension}", number + 1),
    }
}

/// Media type by the extension.
pub fn media_type(extension: &str) -> &'static str {
    match extension {
        "jpg" => "image/jpeg",
        "dng" => "image/x-adobe-dng",
        "mp4" => "video/mp4",
        "json" => "application/json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_is_read_as_it_was_written(
            millis in 0..4_000_000_000_000u64,
            series in proptest::option::of(("[A-Za-z0-9_-]{1,12}", any::<u64>())),
            again in 0..5u32,
        ) {
            let name = MediaName {
                time: UNIX_EPOCH + Duration::from_millis(millis),
                task: if series.is_some() { Task::Series } else { Task::Photo },
                series,
                extension: "jpg".into(),
            };
            let (folder, stem) = name.parts();
            let file = numbered(&stem, again, "jpg");
            prop_assert_eq!(MediaName::parse(&folder, &file), Some(name));
        }

        #[test]
        fn anything_may_stand_in_a_folder(folder in ".{0,12}", name in ".{0,40}") {
            let _ = MediaName::parse(&folder, &name);
        }
    }
}
