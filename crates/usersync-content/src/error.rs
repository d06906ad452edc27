//! Why a text is not understood.

use thiserror::Error;

/// Why a text is not understood. Nothing is concluded from such a text, and nothing is written over it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {kind}")]
pub struct ContentError {
    /// The number of the physical line, from 1.
    pub line: u64,
    /// What is wrong there.
    pub kind: ContentErrorKind,
}

/// What is wrong with a text. Names in it are the text's own; messages show what is not seen in them as escapes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ContentErrorKind {
    /// The text does not begin with `BEGIN:VCALENDAR` or `BEGIN:VCARD`.
    #[error("the text is neither a calendar nor a card; it has to begin with BEGIN:VCALENDAR or BEGIN:VCARD")]
    Format,
    /// A line has no name and value.
    #[error("a line has to be a name, parameters, a colon and a value")]
    Malformed,
    /// Components are nested deeper than any format needs.
    #[error("components are nested more than {0} deep")]
    Nesting(usize),
    /// A line is no UTF-8.
    #[error("the line is not UTF-8; store the text as UTF-8")]
    NotUtf8,
    /// Two components of a calendar are the same entry, or the same occurrence of it.
    #[error("{} is there twice; one text holds one entry", .0.escape_debug())]
    Repeated(String),
    /// A calendar holds several entries.
    #[error("the text holds entries of different UIDs; one text holds one entry")]
    SeveralEntries,
    /// Something follows the end of the calendar or card.
    #[error("text follows the end; one text holds one calendar or card")]
    Trailing,
    /// The text ends within a component.
    #[error("the text ends within {}; it was cut short", .0.escape_debug())]
    Truncated(String),
    /// A component ends that did not begin.
    #[error("{} ends where {} is open", .found.escape_debug(), .expected.escape_debug())]
    Unbalanced {
        /// What would have to end.
        expected: String,
        /// What does.
        found: String,
    },
}
