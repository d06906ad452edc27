//! Moments as they are stored. Each operation has two of them.

use chrono::{DateTime, Datelike, Timelike, Utc};
use serde::{Serialize, Serializer};

/// Writes what `chrono` writes, without its machinery for every format that there is.
pub(crate) fn serialize<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    match write(at, &mut text) {
        Some(text) => serializer.serialize_str(text),
        None => at.serialize(serializer),
    }
}

/// `None`: it is not of a year of four digits, or within a leap second.
fn write<'a>(at: &DateTime<Utc>, text: &'a mut [u8; 30]) -> Option<&'a str> {
    let year = u32::try_from(at.year()).ok().filter(|year| *year < 10_000)?;
    let fraction = Some(at.nanosecond()).filter(|fraction| *fraction < 1_000_000_000)?;
    for (place, number) in [
        (0..4, year),
        (5..7, at.month()),
        (8..10, at.day()),
        (11..13, at.hour()),
        (14..16, at.minute()),
        (17..19, at.second()),
        (20..29, fraction),
    ] {
        let mut left = number;
        for digit in text[place].iter_mut().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
    }
    // Nothing, or as many digits as are needed, by threes.
    let end = match fraction {
        0 => 19,
        _ if fraction % 1_000_000 == 0 => 23,
        _ if fraction % 1000 == 0 => 26,
        _ => 29,
    };
    text[end] = b'Z';
    str::from_utf8(&text[..=end]).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Serialize)]
    struct Ours(#[serde(serialize_with = "serialize")] DateTime<Utc>);

    fn is_as_chrono_writes_it(at: DateTime<Utc>) {
        assert_eq!(
            serde_json::to_string(&Ours(at)).expect("a moment has a form"),
            serde_json::to_string(&at).expect("a moment has a form")
        );
    }

    proptest! {
        #[test]
        fn any_moment_is_written_as_chrono_writes_it(
            seconds in -70_000_000_000_i64..300_000_000_000,
            scale in prop::sample::select(vec![1, 1000, 1_000_000, 1_000_000_000]),
            fraction in 0..1_000_000_000_u32,
        ) {
            let at = DateTime::from_timestamp(seconds, fraction / scale * scale);
            is_as_chrono_writes_it(at.expect("within the range of moments"));
        }
    }

    #[test]
    fn unusual_moments_are_written_as_chrono_writes_them() {
        for (seconds, fraction) in [
            (0, 0),
            (253_402_300_799, 999_999_999),
            (253_402_300_800, 0),
            (-62_167_219_200, 0),
            (-62_167_219_201, 1),
            (1_483_228_799, 1_500_000_000),
        ] {
            is_as_chrono_writes_it(DateTime::from_timestamp(seconds, fraction).expect("a moment"));
        }
        is_as_chrono_writes_it(DateTime::<Utc>::MIN_UTC);
        is_as_chrono_writes_it(DateTime::<Utc>::MAX_UTC);
    }
}
