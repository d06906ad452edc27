//! A text as components with lines.

use std::fmt;
use std::ops::Range;

use crate::canonical::plain;
use crate::error::{ContentError, ContentErrorKind};
use crate::line::{Line, Lines};

/// Deeper than any calendar: RFC 5545 nests three levels.
const NESTING: usize = 16;

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// iCalendar, RFC 5545: one entry of a diary or a task, with the occurrences that differ.
    Calendar,
    /// vCard 3.0 or 4.0, RFC 2426 and RFC 6350.
    Card,
}

/// A text that was understood: one calendar with one entry, or one card. Refers to the text, which stays as it is.
#[derive(Clone, Debug)]
pub struct Document<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) format: Format,
    /// The outermost component is the first, and every other one follows the one that it is in.
    pub(crate) components: Vec<Component>,
}

#[derive(Clone, Debug)]
pub(crate) struct Component {
    pub(crate) name: String,
    /// From its first to its last line.
    pub(crate) span: Range<usize>,
    /// Where its last line begins.
    pub(crate) end: usize,
    pub(crate) lines: Vec<Line>,
    pub(crate) children: Vec<usize>,
    pub(crate) number: u64,
}

impl<'a> Document<'a> {
    /// Reads a text.
    ///
    /// # Errors
    /// [`ContentError`] with the line: for a text that is no iCalendar or vCard, is cut short, or holds more than one entry.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ContentError> {
        let mut components: Vec<Component> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        let mut lines = Lines::new(bytes);
        for line in &mut lines {
            let line = line?;
            let fail = |kind| ContentError {
                line: line.number,
                kind,
            };
            let innermost = open.last().copied();
            if innermost.is_none() && !components.is_empty() {
                return Err(fail(ContentErrorKind::Trailing));
            }
            match (line.name.as_str(), innermost) {
                ("BEGIN", parent) => {
                    if open.len() == NESTING {
                        return Err(fail(ContentErrorKind::Nesting(NESTING)));
                    }
                    let place = components.len();
                    if let Some(parent) = parent {
                        components[parent].children.push(place);
                    }
                    open.push(place);
                    components.push(Component::begin(&line));
                }
                (_, None) => return Err(fail(ContentErrorKind::Format)),
                ("END", Some(place)) => {
                    let component = &mut components[place];
                    let found = line.value.trim().to_ascii_uppercase();
                    if found != component.name {
                        let expected = component.name.clone();
                        return Err(fail(ContentErrorKind::Unbalanced { expected, found }));
                    }
                    component.span.end = line.span.end;
                    component.end = line.span.start;
                    open.pop();
                }
                (_, Some(place)) => components[place].lines.push(line),
            }
        }
        let fail = |kind| ContentError {
            line: lines.number(),
            kind,
        };
        if let Some(place) = open.pop() {
            return Err(fail(ContentErrorKind::Truncated(components[place].name.clone())));
        }
        let format = match components.first().map(|root| root.name.as_str()) {
            Some("VCALENDAR") => Format::Calendar,
            Some("VCARD") => Format::Card,
            _ => return Err(fail(ContentErrorKind::Format)),
        };
        let document = Self {
            bytes,
            format,
            components,
        };
        document.check_entry()?;
        Ok(document)
    }

    /// One text is one entry: components with a UID share it, and each occurrence is there once.
    fn check_entry(&self) -> Result<(), ContentError> {
        let mut uid = None;
        let mut keys: Vec<(String, u64)> = Vec::new();
        for place in &self.components[0].children {
            let component = &self.components[*place];
            let fail = |kind| ContentError {
                line: component.number,
                kind,
            };
            if let Some(found) = component.line("UID").map(|line| line.value.trim())
                && *uid.get_or_insert(found) != found
            {
                return Err(fail(ContentErrorKind::SeveralEntries));
            }
            keys.push((component.key(), component.number));
        }
        keys.sort();
        match keys.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(ContentError {
                line: pair[1].1,
                kind: ContentErrorKind::Repeated(pair[1].0.clone()),
            }),
            None => Ok(()),
        }
    }

    /// What the text is.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The name of what the text is about: `VEVENT`, `VTODO`, `VCARD` …; `VCALENDAR` for a calendar without an entry.
    #[must_use]
    pub fn component(&self) -> &str {
        let root = &self.components[0];
        let mut children = root.children.iter().map(|child| &self.components[*child]);
        match children.find(|child| child.line("UID").is_some()) {
            Some(entry) => &entry.name,
            None => &root.name,
        }
    }

    /// The UID, if there is one, as it is written.
    #[must_use]
    pub fn uid(&self) -> Option<&str> {
        let root = &self.components[0];
        let children = root.children.iter().map(|child| &self.components[*child]);
        std::iter::once(root)
            .chain(children)
            .find_map(|component| component.line("UID"))
            .map(|line| line.value.trim())
            .filter(|uid| !uid.is_empty())
    }

    /// What people call it: the summary of an entry, the formatted name of a card.
    #[must_use]
    pub fn title(&self) -> Option<String> {
        let name = match self.format {
            Format::Calendar => "SUMMARY",
            Format::Card => "FN",
        };
        let mut lines = self
            .components
            .iter()
            .filter_map(|component| component.line(name));
        let title = plain(&lines.next()?.value);
        Some(title.trim().to_owned()).filter(|title| !title.is_empty())
    }

    /// The component of this key: the outermost one, or one that it holds.
    pub(crate) fn find(&self, key: &str) -> Option<&Component> {
        let root = &self.components[0];
        if key.is_empty() {
            return Some(root);
        }
        root.children
            .iter()
            .map(|child| &self.components[*child])
            .find(|component| component.key() == key)
    }
}

impl fmt::Display for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.bytes))
    }
}

impl Component {
    fn begin(line: &Line) -> Self {
        Self {
            name: line.value.trim().to_ascii_uppercase(),
            span: line.span.clone(),
            end: line.span.start,
            lines: Vec::new(),
            children: Vec::new(),
            number: line.number,
        }
    }

    pub(crate) fn line(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.name == name)
    }

    /// What tells it from the others in a calendar: which occurrence it is of, or which time zone.
    pub(crate) fn key(&self) -> String {
        let of = match self.name.as_str() {
            "VTIMEZONE" => self.line("TZID"),
            _ => self.line("RECURRENCE-ID"),
        };
        match of {
            Some(line) => format!("{}@{}", self.name, line.value.trim()),
            None => self.name.clone(),
        }
    }
}
