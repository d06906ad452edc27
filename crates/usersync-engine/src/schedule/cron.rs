//! Wall-clock times of a zone.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::InvalidSchedule;

/// Longer texts are no expressions that a person wrote.
const LONGEST: usize = 128;

/// Which wall-clock times: minute, hour, day of the month, month, weekday, as cron has them, or `@hourly`, `@daily`, `@weekly`,
/// `@monthly`, `@yearly`. Such a time comes at least once in 40 years.
#[derive(Clone)]
pub struct CronExpression {
    text: String,
    cron: Arc<Cron>,
}

/// A time zone by its IANA name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Zone(Tz);

impl CronExpression {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`InvalidSchedule::Cron`] for what is none, [`InvalidSchedule::Never`] for days that never come.
    pub fn new(text: &str) -> Result<Self, InvalidSchedule> {
        let text = text.trim();
        if text.len() > LONGEST {
            let shown: String = text.chars().take(LONGEST / 2).collect();
            return Err(invalid(
                &format!("{shown}…"),
                &format!("it is longer than {LONGEST} bytes"),
            ));
        }
        if let Some(strange) = text.chars().find(|c| !c.is_ascii() || c.is_ascii_control()) {
            return Err(invalid(text, &format!("it has the character {strange:?}")));
        }
        if text.is_empty() {
            return Err(invalid(text, "it is empty"));
        }
        let fields = text.split_ascii_whitespace().count();
        let is_name = fields == 1 && text.starts_with('@');
        if fields != 5 && !is_name {
            return Err(invalid(text, &format!("it has {fields} fields")));
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser
            .parse(text)
            .map_err(|error| invalid(text, &problem(error)))?;
        if !is_name && !comes(text) {
            return Err(InvalidSchedule::Never(text.to_owned()));
        }
        Ok(Self {
            text: text.to_owned(),
            cron: Arc::new(cron),
        })
    }

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first occurrence in `zone` after `after`; `None` once the calendar ends.
    ///
    /// What wall clocks show grows with time but where they are put back, and there only the first pass counts. So occurrences
    /// are in the order of their wall-clock times, and none before `after` is of a later wall-clock time than `after` shows.
    pub(super) fn next(&self, zone: Zone, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut local = zone.0.from_utc_datetime(&after.naive_utc()).naive_local();
        loop {
            local = self.next_local(local)?;
            if let Some(instant) = zone.instant(local).filter(|instant| *instant > after) {
                return Some(instant);
            }
        }
    }

    /// The next wall-clock time that the expression names, on a calendar without zones.
    fn next_local(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let found = self.cron.find_next_occurrence(&after.and_utc(), false).ok()?;
        Some(found.naive_utc())
    }
}

impl Zone {
    /// The zone of this name.
    ///
    /// # Errors
    /// [`InvalidSchedule::Zone`] if there is none.
    pub fn new(name: &str) -> Result<Self, InvalidSchedule> {
        let shown = || name.chars().take(LONGEST / 2).collect();
        name.parse().map(Self).map_err(|_| InvalidSchedule::Zone(shown()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0.name()
    }

    /// When wall clocks first show `local`, or have skipped it.
    fn instant(self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        if let Some(first) = self.0.from_local_datetime(&local).earliest() {
            return Some(first.with_timezone(&Utc));
        }
        let (begin, offset) = GapInfo::new(&local, &self.0)?.begin?;
        Some(begin.checked_sub_offset(offset.fix())?.and_utc())
    }
}

/// Whether five fields name a time that comes at all. Weekdays and leap years repeat after 28 years, and 2000 is no exception to
/// the leap years. Told apart by years, which a search skips quickly.
fn comes(fields: &str) -> bool {
    let parser = CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Required)
        .build();
    let begin = DateTime::UNIX_EPOCH;
    parser
        .parse(&format!("0 {fields} 2000-2039"))
        .is_ok_and(|cron| cron.find_next_occurrence(&begin, true).is_ok())
}

fn invalid(expression: &str, problem: &str) -> InvalidSchedule {
    InvalidSchedule::Cron {
        expression: expression.to_owned(),
        problem: problem.to_owned(),
    }
}

fn problem(error: CronError) -> String {
    let text = match error {
        CronError::IllegalCharacters(text)
        | CronError::InvalidPattern(text)
        | CronError::ComponentError(text) => text,
        other => other.to_string(),
    };
    text.trim_end_matches('.').to_owned()
}

impl FromStr for CronExpression {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        Self::new(text)
    }
}

impl FromStr for Zone {
    type Err = InvalidSchedule;

    fn from_str(name: &str) -> Result<Self, InvalidSchedule> {
        Self::new(name)
    }
}

impl PartialEq for CronExpression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for CronExpression {}

impl fmt::Debug for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CronExpression({:?})", self.text)
    }
}

impl fmt::Display for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.as_str())
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialOrd for Zone {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Zone {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Serialize for CronExpression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for CronExpression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::new(&name).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
