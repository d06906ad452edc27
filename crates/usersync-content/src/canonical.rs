//! What a line means, as text that is equal for lines that say the same.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::document::Format;
use crate::line::{Line, Param};

/// Between the parts of what a line means. Text holds no control characters of this kind.
const BETWEEN: char = '\u{1f}';

/// Properties that a writer stamps on what it writes.
pub(crate) const STAMPS: [&str; 5] = ["CREATED", "DTSTAMP", "LAST-MODIFIED", "REV", "SEQUENCE"];

/// Properties that say nothing about the entry, beside stamps.
const UNCOMPARED: [&str; 4] = ["CALSCALE", "METHOD", "PRODID", "VERSION"];

/// Values that are what leaving the property out means (RFC 5545 sections 3.8.1.3, 3.8.1.9 and 3.8.2.7).
const DEFAULT_VALUES: [(&str, &str); 3] = [("CLASS", "PUBLIC"), ("PRIORITY", "0"), ("TRANSP", "OPAQUE")];

/// Parameters that are what leaving them out means (RFC 5545 section 3.2), in lower case.
const DEFAULT_PARAMS: [(&str, &str); 9] = [
    ("CUTYPE", "individual"),
    ("ENCODING", "8bit"),
    ("PARTSTAT", "needs-action"),
    ("RELTYPE", "parent"),
    ("ROLE", "req-participant"),
    ("RSVP", "false"),
    ("TYPE", "internet"),
    ("TYPE", "voice"),
    ("VALUE", "text"),
];

/// Parameters whose values are read without regard to case.
const CASELESS_PARAMS: [&str; 12] = [
    "CUTYPE", "ENCODING", "FBTYPE", "LANGUAGE", "PARTSTAT", "RANGE", "RELATED", "RELTYPE", "ROLE", "RSVP",
    "TYPE", "VALUE",
];

/// What kind of value a property has.
enum Kind {
    /// Bytes, in a `data:` URI or in base64.
    Binary,
    /// A word without regard to case.
    Caseless,
    /// A date; the dashes of the extended form say nothing.
    Date,
    /// Text values after each other; the order says nothing.
    List,
    /// Values after each other that hold no text.
    RawList,
    /// The rule of a recurrence: parts without order.
    Rule,
    /// Text values in fixed places.
    Structure,
    /// A telephone number, as text or as a URI.
    Telephone,
    /// One text.
    Text,
    /// A URI; scheme and mail addresses have no case.
    Uri,
}

impl Kind {
    fn of(format: Format, name: &str) -> Self {
        match (format, name) {
            (Format::Calendar, "CATEGORIES" | "RESOURCES") | (Format::Card, "CATEGORIES" | "NICKNAME") => {
                Self::List
            }
            (Format::Calendar, "EXDATE" | "RDATE" | "FREEBUSY") => Self::RawList,
            (Format::Calendar, "RRULE" | "EXRULE") => Self::Rule,
            (
                Format::Calendar,
                "ACTION" | "CLASS" | "DURATION" | "PRIORITY" | "STATUS" | "TRANSP" | "TRIGGER",
            )
            | (Format::Card, "KIND") => Self::Caseless,
            (Format::Calendar, "ATTENDEE" | "ORGANIZER") => Self::Uri,
            (Format::Card, "ADR" | "GENDER" | "N" | "ORG") => Self::Structure,
            (Format::Card, "KEY" | "LOGO" | "PHOTO" | "SOUND") => Self::Binary,
            (Format::Card, "ANNIVERSARY" | "BDAY") => Self::Date,
            (Format::Card, "TEL") => Self::Telephone,
            _ => Self::Text,
        }
    }
}

/// What a line means; several texts where it lists several values, none where it says nothing.
pub(crate) fn meanings(format: Format, line: &Line) -> Vec<String> {
    let name = line.name.as_str();
    if STAMPS.contains(&name) || UNCOMPARED.contains(&name) {
        return Vec::new();
    }
    let kind = Kind::of(format, name);
    let mut params = params(format, line, &kind);
    let values = values(&kind, line, &mut params);
    params.sort_unstable();
    params.dedup();
    let prefix = params.concat();
    let is_default = |value: &str| DEFAULT_VALUES.contains(&(name, value));
    values
        .into_iter()
        .filter(|value| !value.is_empty() && !is_default(value))
        .map(|value| format!("{name}{prefix}{BETWEEN}:{value}"))
        .collect()
}

/// The parameters that say something, each with one value.
fn params(format: Format, line: &Line, kind: &Kind) -> Vec<String> {
    let mut said = Vec::new();
    for Param { name, values } in &line.params {
        if matches!(name.as_str(), "CHARSET" | "SCHEDULE-STATUS")
            || (matches!(kind, Kind::Binary | Kind::Telephone)
                && matches!(name.as_str(), "ENCODING" | "VALUE"))
            || (matches!(kind, Kind::Binary) && matches!(name.as_str(), "MEDIATYPE" | "TYPE"))
        {
            continue;
        }
        let is_caseless = CASELESS_PARAMS.contains(&name.as_str());
        // Some writers of cards put several types in one pair of quotes.
        let splits = format == Format::Card && name == "TYPE";
        let parts = values.iter().flat_map(|value| match splits {
            true => value.split(',').collect(),
            false => vec![value.as_str()],
        });
        for value in parts {
            let value = if is_caseless {
                value.to_ascii_lowercase()
            } else {
                value.to_owned()
            };
            let is_default = DEFAULT_PARAMS.contains(&(name, &value))
                || (name == "VALUE" && value == "date-time" && line.name != "TRIGGER")
                || (name == "VALUE" && value == "uri" && matches!(kind, Kind::Uri));
            match (format, name.as_str(), value.as_str()) {
                _ if is_default => {}
                (Format::Card, "TYPE", "pref") => said.push(param("PREF", "1")),
                _ => said.push(param(name, &value)),
            }
        }
    }
    said
}

fn param(name: &str, value: &str) -> String {
    format!("{BETWEEN};{name}={value}")
}

fn values(kind: &Kind, line: &Line, params: &mut Vec<String>) -> Vec<String> {
    let value = line.value.as_str();
    match kind {
        Kind::Binary => vec![binary(line, params)],
        Kind::Caseless => vec![value.trim().to_ascii_uppercase()],
        Kind::Date => vec![date(value)],
        Kind::List => split(value, ',')
            .into_iter()
            .map(|part| plain(part).trim().to_owned())
            .collect(),
        Kind::RawList => value
            .split(',')
            .map(|part| part.trim().to_ascii_uppercase())
            .collect(),
        Kind::Rule => vec![rule(value)],
        Kind::Structure => vec![structure(value)],
        Kind::Telephone => vec![telephone(value)],
        Kind::Text => vec![plain(value)],
        Kind::Uri => vec![uri(value)],
    }
}

/// Bytes as a `data:` URI without parameters, or the URI where they are elsewhere.
fn binary(line: &Line, params: &mut Vec<String>) -> String {
    let value = line.value.trim();
    let (media, encoded) = match value.strip_prefix("data:").and_then(|data| data.split_once(',')) {
        Some((head, data)) => match head.strip_suffix(";base64") {
            Some(media) => (media.to_ascii_lowercase(), data),
            None => return value.to_owned(),
        },
        None if is_base64(line) => (media_type(line).unwrap_or_default(), value),
        None => return value.to_owned(),
    };
    if !media.is_empty() {
        params.push(param("MEDIATYPE", &media));
    }
    let compact: String = encoded.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    match STANDARD.decode(&compact) {
        Ok(bytes) => format!("base64,{}", STANDARD.encode(bytes)),
        // Not understood: every difference counts.
        Err(_) => compact,
    }
}

pub(crate) fn is_base64(line: &Line) -> bool {
    line.param("ENCODING")
        .any(|encoding| encoding.eq_ignore_ascii_case("b") || encoding.eq_ignore_ascii_case("base64"))
}

/// The media type that a card of version 3.0 tells by the name of the format.
pub(crate) fn media_type(line: &Line) -> Option<String> {
    if let Some(media) = line.param("MEDIATYPE").next() {
        return Some(media.to_ascii_lowercase());
    }
    let kind = match line.name.as_str() {
        "KEY" => "application",
        "SOUND" => "audio",
        _ => "image",
    };
    let format = line
        .param("TYPE")
        .find(|value| !value.eq_ignore_ascii_case("pref"))?;
    match format.contains('/') {
        true => Some(format.to_ascii_lowercase()),
        false => Some(format!("{kind}/{}", format.to_ascii_lowercase())),
    }
}

fn date(value: &str) -> String {
    let value = value.trim();
    let (day, rest) = value.split_at_checked(10).unwrap_or((value, ""));
    let is_extended = day.len() == 10
        && day.bytes().enumerate().all(|(place, byte)| match place {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    match is_extended {
        true => format!("{}{rest}", day.replace('-', "")),
        false => value.to_owned(),
    }
}

fn rule(value: &str) -> String {
    let mut parts: Vec<String> = value
        .split(';')
        .map(|part| part.trim().to_ascii_uppercase())
        .filter(|part| !part.is_empty() && part != "INTERVAL=1" && part != "WKST=MO")
        .map(|part| match part.split_once('=') {
            Some((name, list)) => {
                let mut list: Vec<&str> = list.split(',').collect();
                list.sort_unstable();
                format!("{name}={}", list.join(","))
            }
            None => part,
        })
        .collect();
    parts.sort_unstable();
    parts.join(";")
}

fn structure(value: &str) -> String {
    let mut places: Vec<String> = split(value, ';')
        .into_iter()
        .map(|place| {
            let texts: Vec<String> = split(place, ',').into_iter().map(plain).collect();
            texts.join("\u{1e}")
        })
        .collect();
    while places.last().is_some_and(String::is_empty) {
        places.pop();
    }
    places.join("\u{1d}")
}

fn telephone(value: &str) -> String {
    let value = plain(value);
    let value = value.trim();
    match value.split_at_checked(4) {
        Some((scheme, number)) if scheme.eq_ignore_ascii_case("tel:") => number.to_owned(),
        _ => value.to_owned(),
    }
}

fn uri(value: &str) -> String {
    let value = value.trim();
    match value.split_once(':') {
        Some((scheme, address)) if scheme.eq_ignore_ascii_case("mailto") => {
            format!("mailto:{}", address.to_ascii_lowercase())
        }
        Some((scheme, rest)) => format!("{}:{rest}", scheme.to_ascii_lowercase()),
        None => value.to_owned(),
    }
}

/// The parts between separators that are not escaped.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut is_escaped = false;
    for (place, c) in text.char_indices() {
        if !is_escaped && c == separator {
            parts.push(&text[start..place]);
            start = place + c.len_utf8();
        }
        is_escaped = !is_escaped && c == '\\';
    }
    parts.push(&text[start..]);
    parts
}

/// Text without its escapes (RFC 5545 section 3.3.11, RFC 6350 section 3.4). An escape that is none stays.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match rest.next() {
            Some('n' | 'N') => plain.push('\n'),
            Some(escaped @ ('\\' | ',' | ';' | ':')) => plain.push(escaped),
            Some(other) => plain.extend(['\\', other]),
            None => plain.push('\\'),
        }
    }
    plain
}
