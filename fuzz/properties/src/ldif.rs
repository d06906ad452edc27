//! LDIF files.

use std::io::BufReader;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use usersync_ldap::{Dn, LdifEntry, LdifError, LdifLimits, LdifReader};

use crate::is_fit_to_show;

/// The name and the attributes of an entry.
type Shown = (String, Vec<(String, Vec<u8>)>);

/// A file: its first byte is the size of the pieces in which it is read.
pub fn ldif(data: &[u8]) {
    let Some((&piece, file)) = data.split_first() else {
        return;
    };
    let (entries, error) = read(file, LdifLimits::default());
    let (expected, is_whole) = naive(file);
    assert_eq!(entries, expected);
    assert_eq!(error.is_none(), is_whole, "{error:?}");
    if let Some(error) = &error {
        is_fit_to_show(error);
        assert!(!error.kind.is_limit());
        assert!((1..=file.len() as u64 + 1).contains(&error.line));
    }
    in_pieces(file, usize::from(piece) + 1, &entries, error.as_ref());
    within_limits(file, &entries, error.is_none());
    reads_back(&entries);
}

fn read(file: &[u8], limits: LdifLimits) -> (Vec<Shown>, Option<LdifError>) {
    all(LdifReader::with_limits(file, limits))
}

fn all(reader: impl Iterator<Item = Result<LdifEntry, LdifError>>) -> (Vec<Shown>, Option<LdifError>) {
    let mut entries = Vec::new();
    for entry in reader {
        match entry {
            Ok(entry) => entries.push(shown(&entry)),
            Err(error) => return (entries, Some(error)),
        }
    }
    (entries, None)
}

fn shown(entry: &LdifEntry) -> Shown {
    let attributes = entry
        .attributes()
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    (entry.dn().to_string(), attributes.collect())
}

/// It does not matter how a file comes.
fn in_pieces(file: &[u8], size: usize, entries: &[Shown], error: Option<&LdifError>) {
    let (found, broken) = all(LdifReader::new(BufReader::with_capacity(size, file)));
    assert_eq!(found, entries);
    let place = |error: &LdifError| (error.line, error.kind.code());
    assert_eq!(broken.as_ref().map(place), error.map(place));
}

/// What is beyond a limit is an error that says so; what is within is as it was.
fn within_limits(file: &[u8], entries: &[Shown], is_whole: bool) {
    let limits = LdifLimits {
        line_bytes: 40,
        entry_bytes: 60,
        values: 3,
        entries: 2,
    };
    let (found, error) = read(file, limits);
    assert!(entries.starts_with(&found));
    for (_, attributes) in &found {
        let bytes: usize = attributes
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        assert!(attributes.len() <= limits.values && bytes <= limits.entry_bytes);
    }
    assert!(found.len() <= 2);
    match error {
        Some(error) => assert!(error.kind.is_limit() || !is_whole, "{error}"),
        None => assert_eq!((found.as_slice(), is_whole), (entries, true)),
    }
}

/// What was read can be written, and is then read as the same.
fn reads_back(entries: &[Shown]) {
    let mut file = String::from("version: 1\n");
    for (dn, attributes) in entries {
        file += &format!("\ndn:: {}\n", STANDARD.encode(dn));
        for (name, value) in attributes {
            file += &format!("{name}:: {}\n", STANDARD.encode(value));
        }
    }
    let (found, error) = read(file.as_bytes(), LdifLimits::default());
    assert_eq!(found, entries);
    assert!(error.is_none(), "{error:?}");
}

/// The same file, read as a whole and line by line: the entries up to the first that is malformed, and whether there is none.
fn naive(file: &[u8]) -> (Vec<Shown>, bool) {
    let mut entries = Vec::new();
    let (lines, is_unfolded) = unfolded(file);
    let mut lines = lines.into_iter().peekable();
    let mut is_first = true;
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let is_version =
            |line: &[u8]| name_of(line).is_some_and(|(name, _)| name.eq_ignore_ascii_case("version"));
        if std::mem::take(&mut is_first) && is_version(&line) {
            match name_of(&line).map(|(_, rest)| rest.to_vec()) {
                Some(rest)
                    if rest
                        .strip_suffix(b"1")
                        .is_some_and(|spaces| spaces.iter().all(|&b| b == b' ')) =>
                {
                    continue;
                }
                _ => return (entries, false),
            }
        }
        let entry = (|| {
            let (name, rest) = name_of(&line)?;
            let dn = Some(rest)
                .filter(|_| name.eq_ignore_ascii_case("dn"))
                .and_then(value_of)?;
            let dn = Dn::parse(std::str::from_utf8(&dn).ok()?).ok()?;
            let mut attributes = Vec::new();
            while let Some(line) = lines.next_if(|line| !line.is_empty()) {
                let (name, rest) = name_of(&line)?;
                let is = |other: &str| name.eq_ignore_ascii_case(other);
                if is("dn") || is("changetype") || (is("control") && attributes.is_empty()) {
                    return None;
                }
                let value = value_of(rest)?;
                if !rest.starts_with(b":") {
                    std::str::from_utf8(&value).ok()?;
                }
                attributes.push((name.to_owned(), value));
            }
            // An entry is whole once a blank line or the end of the file follows.
            (lines.peek().is_some() || is_unfolded).then_some((dn.to_string(), attributes))
        })();
        match entry {
            Some(entry) => entries.push(entry),
            None => return (entries, false),
        }
    }
    (entries, is_unfolded)
}

/// The lines without folds and comments, empty ones included, up to the first that is none; and whether there is none.
fn unfolded(file: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut physical: Vec<&[u8]> = file.split(|&b| b == b'\n').collect();
    let is_terminated = physical.pop().is_none_or(<[u8]>::is_empty);
    let marks = [&b"\xEF\xBB\xBF"[..], b"\xFE\xFF", b"\xFF\xFE"];
    if marks.iter().any(|mark| file.starts_with(mark)) {
        return (lines, false);
    }
    let mut rest = physical
        .into_iter()
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .peekable();
    while let Some(first) = rest.next() {
        if first.starts_with(b" ") {
            return (lines, false);
        }
        let mut line = first.to_vec();
        while !line.is_empty()
            && let Some(more) = rest.next_if(|line| line.starts_with(b" "))
        {
            line.extend_from_slice(&more[1..]);
        }
        // The last line may go on in one that is cut off.
        let goes_on = rest.peek().is_none() && !is_terminated && !line.is_empty();
        let tail = file.rsplit(|&b| b == b'\n').next().unwrap_or_default();
        if goes_on && tail.starts_with(b" ") {
            return (lines, false);
        }
        if line.starts_with(b"#") {
            continue;
        }
        if line.contains(&b'\0') || line.contains(&b'\r') {
            return (lines, false);
        }
        lines.push(line);
    }
    (lines, is_terminated)
}

/// The name before the colon, and what follows it.
fn name_of(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = line.iter().position(|&b| b == b':')?;
    let name = std::str::from_utf8(&line[..colon]).ok()?;
    let mut parts = name.split(';');
    let kind = parts.next()?;
    let is_word = |text: &str, more: &[u8]| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || more.contains(&b))
    };
    let is_type = if kind.starts_with(|c: char| c.is_ascii_digit()) {
        kind.split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    } else {
        kind.starts_with(|c: char| c.is_ascii_alphabetic()) && is_word(kind, b"")
    };
    (is_type && parts.all(|option| is_word(option, b"=*"))).then_some((name, &line[colon + 1..]))
}

/// The value after the colon of the name.
fn value_of(rest: &[u8]) -> Option<Vec<u8>> {
    let text = |text: &[u8]| text[text.iter().take_while(|&&b| b == b' ').count()..].to_vec();
    match rest {
        [b':', encoded @ ..] => decoded(&text(encoded)),
        [b'<', ..] => None,
        plain => Some(text(plain)).filter(|value| !value.starts_with(b":") && !value.starts_with(b"<")),
    }
}

/// Base64 with padding and nothing else (RFC 4648, section 4).
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text
        .strip_suffix(b"==")
        .or_else(|| text.strip_suffix(b"="))
        .unwrap_or(text);
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for digit in digits {
        let digit = DIGITS.iter().position(|known| known == digit)?;
        held = held << 6 | u32::try_from(digit).expect("a digit is below 64");
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits).expect("eight bits are left"));
            held &= (1 << bits) - 1;
        }
    }
    (text.len().is_multiple_of(4) && digits.len() % 4 != 1 && held == 0).then_some(bytes)
}
