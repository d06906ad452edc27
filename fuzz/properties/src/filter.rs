//! Search filters.

use usersync_ldap::Filter;

use crate::{is_fit_to_show, parts};

/// A filter, an attribute and a value.
pub fn filter(data: &[u8]) {
    let [text, attribute, value] = parts(data);
    let parsed = std::str::from_utf8(text).ok().and_then(one);
    let Ok(attribute) = std::str::from_utf8(attribute) else {
        return;
    };
    let mut built: Vec<Filter> = parsed.into_iter().collect();
    let compared = Filter::equal(attribute, value);
    match &compared {
        Ok(filter) => {
            let inner = filter
                .as_str()
                .strip_prefix('(')
                .and_then(|text| text.strip_suffix(')'));
            let (name, escaped) = inner
                .and_then(|inner| inner.split_once('='))
                .expect("`(attribute=value)`");
            assert_eq!((name, bytes(escaped)), (attribute, value.to_vec()));
        }
        Err(error) => is_fit_to_show(error),
    }
    built.extend(compared);
    let (initial, end) = value.split_at(value.len() / 2);
    built.extend(Filter::substring(attribute, initial, &[value], end));
    built.extend(Filter::matches(attribute, "1.2.840.113556.1.4.803", value));
    built.extend(Filter::at_least(attribute, value));
    built.extend(Filter::present(attribute));
    for filter in &built {
        reads_back(filter);
    }
    for combined in [Filter::all(built.clone()), Filter::any(built.clone())] {
        match combined {
            Ok(filter) => {
                let parts: String = built.iter().map(Filter::as_str).collect();
                assert_eq!(filter.as_str()[2..], format!("{parts})"));
                reads_back(&filter);
            }
            Err(error) => is_fit_to_show(&error),
        }
    }
}

fn one(text: &str) -> Option<Filter> {
    match Filter::parse(text) {
        Ok(filter) => Some(filter),
        Err(error) => {
            is_fit_to_show(&error);
            assert!(!is_canonical(text), "{text} was refused: {error}");
            None
        }
    }
}

/// The text of a filter is in the strict form of RFC 4515, it is read as the same filter, and the client that sends it takes it.
fn reads_back(filter: &Filter) {
    let text = filter.as_str();
    assert!(is_canonical(text), "{text}");
    assert_eq!(Filter::parse(text).as_ref(), Ok(filter));
    assert_eq!(filter.to_string(), text);
    assert!(ldap3::parse_filter(text).is_ok(), "{text}");
}

/// Whether a text is a filter by the grammar of RFC 4515, section 3, within our limits and with every byte escaped that may be: what
/// the parser writes, and what it has to take.
fn is_canonical(text: &str) -> bool {
    let mut terms = 0;
    text.len() <= 64 << 10 && term(text, 1, &mut terms) == Some("") && terms <= 4096
}

/// What follows the filter at the beginning of a text.
fn term<'a>(text: &'a str, depth: usize, terms: &mut usize) -> Option<&'a str> {
    *terms += 1;
    if depth > 32 {
        return None;
    }
    let inner = text.strip_prefix('(')?;
    if let Some(mut rest) = inner.strip_prefix(['&', '|']) {
        while rest.starts_with('(') {
            rest = term(rest, depth + 1, terms)?;
        }
        return rest.strip_prefix(')');
    }
    if let Some(rest) = inner.strip_prefix('!') {
        return term(rest, depth + 1, terms)?.strip_prefix(')');
    }
    let (comparison, rest) = inner.split_once(')')?;
    is_comparison(comparison).then_some(rest)
}

fn is_comparison(text: &str) -> bool {
    let Some((left, right)) = text.split_once('=') else {
        return false;
    };
    let is_value = |text: &str| {
        let mut pieces = text.split('\\');
        let plain = |text: &str| {
            text.bytes()
                .all(|b| matches!(b, b' '..=b'~') && !b"()*\\".contains(&b))
        };
        let hex = |text: &str| {
            let pair = text.as_bytes().first_chunk::<2>();
            pair.is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit)) && plain(&text[2..])
        };
        pieces.next().is_some_and(plain) && pieces.all(hex)
    };
    if let Some(left) = left.strip_suffix(['>', '<', '~']) {
        return is_description(left) && is_value(right);
    }
    let Some(left) = left.strip_suffix(':') else {
        // `a=**` asks for nothing between two asterisks.
        return is_description(left) && right.split('*').all(is_value) && !right.contains("**");
    };
    let (attribute, rule) = left
        .split_once(':')
        .map_or((left, None), |(left, rule)| (left, Some(rule)));
    let rule = match rule {
        Some("dn") => None,
        Some(rule) => Some(rule.strip_prefix("dn:").unwrap_or(rule)),
        None => None,
    };
    let is_rule = rule.is_none_or(|rule| is_type(rule) && !rule.to_ascii_lowercase().starts_with("dn"));
    let is_attribute = if attribute.is_empty() {
        rule.is_some()
    } else {
        is_description(attribute)
    };
    is_attribute && is_rule && is_value(right)
}

fn is_description(text: &str) -> bool {
    let mut parts = text.split(';');
    let is_option =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    parts.next().is_some_and(is_type) && parts.all(is_option)
}

fn is_type(text: &str) -> bool {
    let is_number = |part: &str| {
        part == "0"
            || (!part.starts_with('0') && part.bytes().all(|b| b.is_ascii_digit()) && !part.is_empty())
    };
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return text.split('.').all(is_number);
    }
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The bytes that a value without asterisks stands for.
fn bytes(escaped: &str) -> Vec<u8> {
    let mut pieces = escaped.split('\\');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(&piece[..2], 16).expect("two digits follow a backslash"));
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    bytes
}
