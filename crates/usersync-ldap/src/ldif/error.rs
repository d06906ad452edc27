//! Why an LDIF file cannot be read, and where.

use std::error::Error as StdError;
use std::{fmt, io};

use crate::dn::DnError;

/// Where and why reading an LDIF file ended. No message repeats a value of the file, which may be a secret.
#[derive(Debug)]
#[non_exhaustive]
pub struct LdifError {
    /// The physical line, counted from 1, at which the faulty line or entry begins.
    pub line: u64,
    /// What is wrong.
    pub kind: LdifErrorKind,
}

/// What is wrong with an LDIF file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LdifErrorKind {
    /// A value after `::` is not base64 with padding, or is cut off (RFC 2849, note 6).
    #[error("the base64 value is malformed or cut off; repeat the export")]
    Base64,
    /// The file begins with a byte order mark, or is UTF-16.
    #[error("the file begins with a byte order mark; save it as UTF-8 without one")]
    ByteOrderMark,
    /// A `changetype:` or `control:` line: the file tells changes, not content.
    #[error(
        "`{line}:` makes this a file of changes; export the entries themselves, for example with `ldapsearch -LLL`"
    )]
    ChangeRecord {
        /// The line found.
        line: &'static str,
    },
    /// A NUL, or a carriage return that ends no line.
    #[error("the line holds a NUL or a stray carriage return; such values must be base64-encoded after `::`")]
    Character,
    /// A line begins with a space, but there is no line that it continues.
    #[error(
        "a continuation line follows no line; remove the space at its beginning or the empty line before it"
    )]
    Continuation,
    /// The name of the entry is malformed.
    #[error("the dn is malformed: {0}")]
    Dn(DnError),
    /// An entry is larger than the limit.
    #[error("the entry has more than {max} bytes; raise `entry_bytes` if that is right")]
    EntryTooLarge {
        /// The limit, in bytes.
        max: usize,
    },
    /// A line, unfolded, is longer than the limit.
    #[error("the line has more than {max} bytes; raise `line_bytes` if that is right")]
    LineTooLong {
        /// The limit, in bytes.
        max: usize,
    },
    /// A line without a colon.
    #[error("expected `attribute: value`, but the line has no colon")]
    MissingColon,
    /// An entry does not begin with `dn:`.
    #[error("expected `dn:`; export entries only, for example with `ldapsearch -LLL`")]
    MissingDn,
    /// What precedes the colon is not an attribute description (RFC 4512, section 2.5).
    #[error("what precedes the colon is not the name of an attribute")]
    Name,
    /// The input could not be read.
    #[error("the input could not be read; try again")]
    Read(#[source] io::Error),
    /// A second `dn:` within an entry.
    #[error("a second `dn:` in one entry; put an empty line between two entries")]
    RepeatedDn,
    /// The file has more entries than the limit.
    #[error("the file has more than {max} entries; raise `entries` if that is right")]
    TooManyEntries {
        /// The limit.
        max: u64,
    },
    /// An entry has more values than the limit.
    #[error("the entry has more than {max} values; raise `values` if that is right")]
    TooManyValues {
        /// The limit.
        max: usize,
    },
    /// The file ends within a line.
    #[error("the file ends within a line: it was cut off; repeat the export")]
    Truncated,
    /// A plain value begins with `:` or `<` (RFC 2849, SAFE-INIT-CHAR).
    #[error("a plain value may not begin with `:` or `<`; encode it in base64 after `::`")]
    UnsafeValue,
    /// A value after `:<` lies elsewhere. It is never fetched.
    #[error("`:<` names a value kept elsewhere, which is not fetched; export the value itself")]
    Url,
    /// A plain value or a dn is not UTF-8.
    #[error("the line is not UTF-8; save the file as UTF-8, or encode the value in base64 after `::`")]
    Utf8,
    /// The file says that it is of another version than 1.
    #[error("only LDIF version 1 can be read; export it as `version: 1`")]
    Version,
}

impl LdifError {
    pub(super) fn new(line: u64, kind: LdifErrorKind) -> Self {
        Self { line, kind }
    }
}

impl fmt::Display for LdifError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.kind)
    }
}

impl StdError for LdifError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.kind.source()
    }
}

impl LdifErrorKind {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Base64 => "base64",
            Self::ByteOrderMark => "byte_order_mark",
            Self::ChangeRecord { .. } => "change_record",
            Self::Character => "character",
            Self::Continuation => "continuation",
            Self::Dn(_) => "dn",
            Self::EntryTooLarge { .. } => "entry_too_large",
            Self::LineTooLong { .. } => "line_too_long",
            Self::MissingColon => "missing_colon",
            Self::MissingDn => "missing_dn",
            Self::Name => "name",
            Self::Read(_) => "read",
            Self::RepeatedDn => "repeated_dn",
            Self::TooManyEntries { .. } => "too_many_entries",
            Self::TooManyValues { .. } => "too_many_values",
            Self::Truncated => "truncated",
            Self::UnsafeValue => "unsafe_value",
            Self::Url => "url",
            Self::Utf8 => "utf8",
            Self::Version => "version",
        }
    }

    /// Whether one of the [`LdifLimits`](crate::LdifLimits) was hit.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        matches!(
            self,
            Self::EntryTooLarge { .. }
                | Self::LineTooLong { .. }
                | Self::TooManyEntries { .. }
                | Self::TooManyValues { .. }
        )
    }
}
