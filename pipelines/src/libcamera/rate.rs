//! Frame rates and `FrameDurationLimits`, which are two ways to say one thing.

use super::Refusal;
use super::controls::FRAME_DURATION;
use crate::tasks::{ControlValue, Merged};

/// Shortest and longest frame in microseconds.
pub(super) fn frame_duration(merged: &Merged) -> Result<Option<[i64; 2]>, Refusal> {
    let Some(value) = merged.controls.get(FRAME_DURATION) else {
        return Ok(None);
    };
    let limits = match value {
        ControlValue::List(limits) => match limits[..] {
            [
                ControlValue::Integer(shortest),
                ControlValue::Integer(longest),
            ] if 0 < shortest && shortest <= longest => Some([shortest, longest]),
            _ => None,
        },
        _ => None,
    };
    limits.map(Some).ok_or_else(|| {
        Refusal::new(
            format!("controls.{FRAME_DURATION}"),
            format!(
                "control {FRAME_DURATION}: is {value}, expected two whole numbers of microseconds, the second not smaller"
            ),
        )
    })
}

/// Microseconds of a frame, rounded as libcamerasrc rounds them.
pub(super) fn duration_of(framerate: gst::Fraction) -> i64 {
    i64::from(framerate.denom()) * 1_000_000 / i64::from(framerate.numer())
}

/// The frame rate whose frames last so many microseconds; 33333 are 30/1, not 1000000/33333.
fn rate_of(microseconds: i64) -> gst::Fraction {
    let whole = (1_000_000 + microseconds / 2) / microseconds;
    for (numer, denom) in [(whole, 1), (whole * 1000, 1001)] {
        if let Ok(numer) = i32::try_from(numer)
            && numer > 0
            && duration_of(gst::Fraction::new(numer, denom)) == microseconds
        {
            return gst::Fraction::new(numer, denom);
        }
    }
    let denom = i32::try_from(microseconds).unwrap_or(i32::MAX);
    gst::Fraction::new(1_000_000, denom)
}

/// The wanted frame rate, inside the limits.
pub(super) fn framerate(
    wanted: gst::Fraction,
    limits: Option<[i64; 2]>,
) -> Result<gst::Fraction, Refusal> {
    if wanted.numer() <= 0 || wanted.denom() <= 0 || duration_of(wanted) == 0 {
        return Err(Refusal::new(
            "source.libcamera.fps",
            format!("{}/{} is no frame rate", wanted.numer(), wanted.denom()),
        ));
    }
    let duration = duration_of(wanted);
    Ok(match limits {
        Some([shortest, _]) if duration < shortest => rate_of(shortest),
        Some([_, longest]) if duration > longest => rate_of(longest),
        _ => wanted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_rates_stay_inside_the_limits() {
        let wanted = gst::Fraction::new(15, 1);
        for (limits, rate) in [
            (None, (15, 1)),
            (Some([33_333, 33_333]), (30, 1)),
            (Some([33_366, 33_366]), (30_000, 1001)),
            (Some([100, 1_000_000_000]), (15, 1)),
            (Some([100, 50_000]), (20, 1)),
            (Some([2_000_000, 3_000_000]), (1, 2)),
            (Some([70_001, 80_000]), (1_000_000, 70_001)),
            (Some([i64::MAX / 4, i64::MAX / 2]), (1_000_000, i32::MAX)),
        ] {
            let (numer, denom) = rate;
            assert_eq!(
                framerate(wanted, limits).unwrap(),
                gst::Fraction::new(numer, denom),
                "{limits:?}"
            );
        }
        assert!(framerate(gst::Fraction::new(0, 1), None).is_err());
    }
}
