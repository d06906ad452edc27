//! Text to content lines: line ends, folding, names, parameters (RFC 5545 section 3.1, RFC 6350 sections 3.2 and 3.3).

use std::ops::Range;

use crate::error::{ContentError, ContentErrorKind};

/// One content line. Names are in upper case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Where it stands in the text, line breaks included.
    pub(crate) span: Range<usize>,
    pub(crate) group: Option<String>,
    pub(crate) name: String,
    pub(crate) params: Vec<Param>,
    pub(crate) value: String,
    pub(crate) number: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Param {
    pub(crate) name: String,
    pub(crate) values: Vec<String>,
}

impl Line {
    /// The values of a parameter, wherever it is given.
    pub(crate) fn param<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let params = self.params.iter().filter(move |param| param.name == name);
        params.flat_map(|param| &param.values).map(String::as_str)
    }
}

/// The content lines of a text. Blank lines belong to none.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    number: u64,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            number: 0,
        }
    }

    /// How many physical lines were read.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Reads one physical line: its text without the line break.
    fn physical(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n');
        self.at += end.map_or(rest.len(), |end| end + 1);
        self.number += 1;
        let text = &rest[..end.unwrap_or(rest.len())];
        text.strip_suffix(b"\r").unwrap_or(text)
    }

    fn is_continued(&self) -> bool {
        matches!(self.bytes.get(self.at), Some(b' ' | b'\t'))
    }
}

impl Iterator for Lines<'_> {
    type Item = Result<Line, ContentError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.at < self.bytes.len() {
            let start = self.at;
            let first = self.physical();
            let number = self.number;
            if first.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            // A fold may stand within a character, so text is decoded after unfolding.
            let mut unfolded = first.to_vec();
            while self.is_continued() {
                unfolded.extend_from_slice(&self.physical()[1..]);
            }
            let line = String::from_utf8(unfolded)
                .map_err(|_| ContentErrorKind::NotUtf8)
                .and_then(|text| parse(&text, start..self.at, number).ok_or(ContentErrorKind::Malformed));
            return Some(line.map_err(|kind| ContentError { line: number, kind }));
        }
        None
    }
}

fn parse(text: &str, span: Range<usize>, number: u64) -> Option<Line> {
    let (full_name, mut rest) = take_name(text)?;
    let (group, name) = match full_name.rsplit_once('.') {
        Some((group, name)) => (Some(group.to_owned()), name),
        None => (None, full_name),
    };
    if name.is_empty() {
        return None;
    }
    let mut params = Vec::new();
    loop {
        match rest.split_at_checked(1)? {
            (":", value) => {
                return Some(Line {
                    span,
                    group,
                    name: name.to_ascii_uppercase(),
                    params,
                    value: value.to_owned(),
                    number,
                });
            }
            (";", after) => {
                let param;
                (param, rest) = take_param(after)?;
                params.push(param);
            }
            _ => return None,
        }
    }
}

/// A name and what follows it.
fn take_name(text: &str) -> Option<(&str, &str)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A parameter and what follows it. vCard 2.1 and 3.0 writers leave out the name of `TYPE`.
fn take_param(text: &str) -> Option<(Param, &str)> {
    let (name, rest) = take_name(text)?;
    let Some(mut rest) = rest.strip_prefix('=') else {
        let param = Param {
            name: "TYPE".to_owned(),
            values: vec![name.to_owned()],
        };
        return Some((param, rest));
    };
    let mut values = Vec::new();
    loop {
        let value;
        (value, rest) = take_value(rest)?;
        values.push(value.to_owned());
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None => break,
        }
    }
    let name = name.to_ascii_uppercase();
    Some((Param { name, values }, rest))
}

/// The value of a parameter, without its quotes, and what follows it.
fn take_value(text: &str) -> Option<(&str, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted.split_once('"');
    }
    let end = text.find([',', ';', ':']).unwrap_or(text.len());
    Some(text.split_at(end))
}
