//! Why a text is not a filter.

use super::{MAX_BYTES, MAX_DEPTH, MAX_TERMS};

/// Why a text is not a filter, or parts do not make one.
///
/// Offsets are in the text read; from a function that builds a filter, in the attribute or the rule it was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// Not an attribute description (RFC 4512, section 2.5).
    #[error("expected an attribute at byte {at}: a name or a dotted number, and options after `;`")]
    Attribute {
        /// Byte offset of what stands in its place.
        at: usize,
    },
    /// A backslash is not followed by two hexadecimal digits.
    #[error(
        "the backslash at byte {at} is not followed by two hexadecimal digits; write `\\5c` for a backslash"
    )]
    Escape {
        /// Byte offset of the backslash.
        at: usize,
    },
    /// An attribute is not followed by an operator.
    #[error("expected `=`, `>=`, `<=`, `~=` or `:=` at byte {at}")]
    Operator {
        /// Byte offset of what follows the attribute.
        at: usize,
    },
    /// The name of a matching rule is missing, malformed, or begins with `dn`, which would be taken for the flag.
    #[error("expected a matching rule at byte {at}; write its number, such as `2.5.13.2`")]
    Rule {
        /// Byte offset of what stands in its place.
        at: usize,
    },
    /// A filter is missing.
    #[error("expected a filter in parentheses at byte {at}")]
    Term {
        /// Byte offset of what stands in its place.
        at: usize,
    },
    /// The filter is longer than 64 KiB, has more than 4096 terms or nests deeper than 32.
    #[error(
        "the filter is too large; at most {MAX_BYTES} bytes, {MAX_TERMS} terms and a depth of {MAX_DEPTH} are accepted"
    )]
    TooLarge,
    /// Something follows where a filter, or the one filter that `!` takes, has ended.
    #[error("the filter ended before byte {at}; put several filters into `(&…)` or `(|…)`")]
    Trailing {
        /// Byte offset of what follows.
        at: usize,
    },
    /// A parenthesis is not closed.
    #[error(
        "the parenthesis at byte {at} is not closed; add `)`, or write `\\28` for one that belongs to a value"
    )]
    Unclosed {
        /// Byte offset of the innermost open parenthesis.
        at: usize,
    },
    /// A value holds a character that has to be escaped there.
    #[error(
        "the character at byte {at} must be escaped: `\\28` for `(`, `\\29` for `)`, `\\2a` for `*`, `\\00` for NUL"
    )]
    Unescaped {
        /// Byte offset of the character.
        at: usize,
    },
}
