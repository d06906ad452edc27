//! Generalized time (RFC 4517, section 3.3.13), to the second and in UTC, as servers write it.

const DAY: u64 = 24 * 3600;

/// The second that `text` begins with, in the one form that compares as text.
pub(crate) fn second(text: &str) -> Option<String> {
    seconds(text)?;
    Some(format!("{}Z", &text[..14]))
}

/// Seconds since 1970; none for a time before, or in another form.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    let (digits, rest) = text.split_at_checked(14)?;
    let fraction = rest.strip_suffix('Z')?;
    let fraction = fraction
        .strip_prefix(['.', ','])
        .map_or(Some(fraction).filter(|f| f.is_empty()), Some)?;
    if !digits.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| digits[from..to].parse::<u64>().ok();
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    if year < 1970
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    Some(days(year, month, day) * DAY + hour * 3600 + minute * 60 + second)
}

/// The time `seconds` after the beginning of 1970; the end of 9999 for anything later.
pub(crate) fn text(seconds: u64) -> String {
    let day = (seconds / DAY).min(days(9999, 12, 31));
    let (mut low, mut high) = (1970, 10_000);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if days(middle, 1, 1) <= day {
            low = middle
        } else {
            high = middle
        }
    }
    let month = (1..=12)
        .rev()
        .find(|&month| days(low, month, 1) <= day)
        .unwrap_or(1);
    let of_month = day - days(low, month, 1) + 1;
    let second = seconds % DAY;
    format!(
        "{low:04}{month:02}{of_month:02}{:02}{:02}{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Days from the beginning of 1970 to a date of the Gregorian calendar.
fn days(year: u64, month: u64, day: u64) -> u64 {
    // Years that begin in March end with the day that is there in leap years only.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let of_years = 365 * year + year / 4 - year / 100 + year / 400;
    let of_months = (153 * month + 2) / 5;
    of_years + of_months + day - 1 - 719_468
}
