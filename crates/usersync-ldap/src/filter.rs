//! Search filters: built from typed parts, or read from their string form (RFC 4515).

use std::fmt;
use std::str::FromStr;

pub use error::FilterError;

use crate::dn::is_type;

mod error;
mod parser;

/// The longest filter, in bytes of its canonical text, and the longest text accepted.
const MAX_BYTES: usize = 64 << 10;
/// How deep filters may nest. Servers and their libraries read filters by recursion.
const MAX_DEPTH: usize = 32;
/// How many terms, each with a pair of parentheses, a filter may have.
const MAX_TERMS: usize = 4096;

/// A search filter, with which a server chooses entries.
///
/// `Display` shows it in the string form of RFC 4515, in one canonical way: without spaces between its parts, and
/// with every byte of a value escaped that is no printable ASCII character or has a meaning in filters. Attributes
/// are shown as they were written, and filters are equal when their texts are.
///
/// Values are bytes and can be anything; they never become a part of the filter's structure:
///
/// ```
/// use usersync_ldap::Filter;
///
/// let filter = Filter::all([
///     Filter::equal("objectClass", "person")?,
///     Filter::equal("uid", "*)(uid=*")?,
/// ])?;
/// assert_eq!(filter.to_string(), r"(&(objectClass=person)(uid=\2a\29\28uid=\2a))");
/// # Ok::<(), usersync_ldap::FilterError>(())
/// ```
///
/// No filter is longer than 64 KiB, has more than 4096 terms, or nests deeper than 32, however it was made.
/// Every filter can be parsed from its own text.
// The text is all there is: nothing here can recurse, and what is sent is what was compared.
#[derive(Clone, PartialEq, Eq)]
pub struct Filter {
    text: String,
    depth: usize,
    terms: usize,
}

impl Filter {
    /// Reads the string form of RFC 4515. Takes time and space linear in the length.
    ///
    /// Beyond the RFC, it accepts what servers accept from their administrators: white space around parentheses and
    /// operators of the structure, a single comparison without parentheses (`cn=a`, `(!cn=a)`), and repeated
    /// asterisks, which mean one. `(&)` is always true and `(|)` never (RFC 4526).
    ///
    /// # Errors
    /// [`FilterError`] when the text is malformed or beyond the limits.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        parser::parse(text)
    }

    /// Every value of `attribute` will do, but there has to be one: `(attribute=*)`.
    ///
    /// # Errors
    /// [`FilterError::Attribute`] when `attribute` is no attribute description: a name or a dotted number, perhaps
    /// with options after `;` (RFC 4512, section 2.5).
    pub fn present(attribute: &str) -> Result<Self, FilterError> {
        Self::comparison(attribute, "=*", b"")
    }

    /// A value of `attribute` equals `value`: `(attribute=value)`.
    ///
    /// # Errors
    /// As [`present`](Self::present), and [`FilterError::TooLarge`].
    pub fn equal(attribute: &str, value: impl AsRef<[u8]>) -> Result<Self, FilterError> {
        Self::comparison(attribute, "=", value.as_ref())
    }

    /// A value of `attribute` is `value` or comes after it: `(attribute>=value)`.
    ///
    /// # Errors
    /// As [`equal`](Self::equal).
    pub fn at_least(attribute: &str, value: impl AsRef<[u8]>) -> Result<Self, FilterError> {
        Self::comparison(attribute, ">=", value.as_ref())
    }

    /// A value of `attribute` is `value` or comes before it: `(attribute<=value)`.
    ///
    /// # Errors
    /// As [`equal`](Self::equal).
    pub fn at_most(attribute: &str, value: impl AsRef<[u8]>) -> Result<Self, FilterError> {
        Self::comparison(attribute, "<=", value.as_ref())
    }

    /// A value of `attribute` is like `value` in a way that the server chooses: `(attribute~=value)`.
    ///
    /// # Errors
    /// As [`equal`](Self::equal).
    pub fn approx(attribute: &str, value: impl AsRef<[u8]>) -> Result<Self, FilterError> {
        Self::comparison(attribute, "~=", value.as_ref())
    }

    /// A value of `attribute` begins with `initial`, ends with `end`, and has `any`, in this order, in between:
    /// `(attribute=initial*any*end)`. What is empty asks for nothing; if everything is, this is
    /// [`present`](Self::present).
    ///
    /// # Errors
    /// As [`equal`](Self::equal).
    pub fn substring<V: AsRef<[u8]>>(
        attribute: &str,
        initial: V,
        any: &[V],
        end: V,
    ) -> Result<Self, FilterError> {
        let mut filter = Self::opened(attribute)?;
        filter.text.push('=');
        push_value(initial.as_ref(), &mut filter.text);
        filter.push_asterisk();
        for part in any {
            push_value(part.as_ref(), &mut filter.text);
            filter.push_asterisk();
        }
        push_value(end.as_ref(), &mut filter.text);
        filter.closed()
    }

    /// A value of `attribute` stands to `value` as the matching rule says: `(attribute:rule:=value)`. Such rules are
    /// 1.2.840.113556.1.4.803, all bits of a mask, and 1.2.840.113556.1.4.1941, along the chain of groups, of Active
    /// Directory.
    ///
    /// # Errors
    /// As [`equal`](Self::equal), and [`FilterError::Rule`] when `rule` is neither a dotted number nor a name, or is
    /// a name that begins with `dn`.
    pub fn matches(attribute: &str, rule: &str, value: impl AsRef<[u8]>) -> Result<Self, FilterError> {
        if !is_rule(rule.as_bytes()) {
            return Err(FilterError::Rule { at: 0 });
        }
        Self::comparison(attribute, &format!(":{rule}:="), value.as_ref())
    }

    /// All of `filters` hold: `(&…)`. Of none, that is always true (RFC 4526), for servers that know it.
    ///
    /// # Errors
    /// [`FilterError::TooLarge`].
    pub fn all(filters: impl IntoIterator<Item = Self>) -> Result<Self, FilterError> {
        Self::combination('&', filters)
    }

    /// At least one of `filters` holds: `(|…)`. Of none, that is never true (RFC 4526), for servers that know it.
    ///
    /// # Errors
    /// [`FilterError::TooLarge`].
    pub fn any(filters: impl IntoIterator<Item = Self>) -> Result<Self, FilterError> {
        Self::combination('|', filters)
    }

    /// `filter` does not hold: `(!…)`. Neither a filter nor its contrary chooses entries of which the server cannot
    /// tell, such as those whose attribute it does not know or show (RFC 4511, section 4.5.1.7).
    ///
    /// # Errors
    /// [`FilterError::TooLarge`].
    #[expect(clippy::should_implement_trait, reason = "the operator `!` could not fail")]
    pub fn not(filter: Self) -> Result<Self, FilterError> {
        Self::combination('!', [filter])
    }

    /// The canonical text, as `Display` shows it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn empty() -> Self {
        Self {
            text: String::new(),
            depth: 0,
            terms: 0,
        }
    }

    fn combination(operator: char, filters: impl IntoIterator<Item = Self>) -> Result<Self, FilterError> {
        let mut whole = Self::empty();
        whole.text.extend(['(', operator]);
        (whole.depth, whole.terms) = (1, 1);
        for filter in filters {
            whole.text.push_str(&filter.text);
            whole.depth = whole.depth.max(filter.depth + 1);
            whole.terms += filter.terms;
            // At once, so that even an endless iterator ends.
            whole = whole.checked()?;
        }
        whole.closed()
    }

    fn comparison(attribute: &str, operator: &str, value: &[u8]) -> Result<Self, FilterError> {
        let mut filter = Self::opened(attribute)?;
        filter.text.push_str(operator);
        push_value(value, &mut filter.text);
        filter.closed()
    }

    fn opened(attribute: &str) -> Result<Self, FilterError> {
        if !is_description(attribute.as_bytes()) {
            return Err(FilterError::Attribute { at: 0 });
        }
        Ok(Self {
            text: format!("({attribute}"),
            depth: 1,
            terms: 1,
        })
    }

    fn closed(mut self) -> Result<Self, FilterError> {
        self.text.push(')');
        self.checked()
    }

    fn checked(self) -> Result<Self, FilterError> {
        if self.text.len() > MAX_BYTES || self.depth > MAX_DEPTH || self.terms > MAX_TERMS {
            return Err(FilterError::TooLarge);
        }
        Ok(self)
    }

    fn push_asterisk(&mut self) {
        // An asterisk that belongs to a value is escaped, so that one at the end is the one before.
        if !self.text.ends_with('*') {
            self.text.push('*');
        }
    }
}

/// An attribute description (RFC 4512, section 2.5).
pub(crate) fn is_description(text: &[u8]) -> bool {
    let mut parts = text.split(|&b| b == b';');
    let is_option =
        |part: &[u8]| !part.is_empty() && part.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'-');
    parts.next().is_some_and(is_type) && parts.all(is_option)
}

/// The number or name of a matching rule. Of the names that begin with `dn`, one would be taken for the flag, and the
/// others are by parsers that do not look further.
fn is_rule(text: &[u8]) -> bool {
    let begins_with_dn = text
        .get(..2)
        .is_some_and(|begin| begin.eq_ignore_ascii_case(b"dn"));
    is_type(text) && !begins_with_dn
}

fn push_value(value: &[u8], text: &mut String) {
    value.iter().for_each(|&byte| push_byte(byte, text));
}

fn push_byte(byte: u8, text: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'(' | b')' | b'*' | b'\\' | ..b' ' | 0x7f.. => text.extend([
            '\\',
            char::from(DIGITS[usize::from(byte >> 4)]),
            char::from(DIGITS[usize::from(byte & 0xf)]),
        ]),
        _ => text.push(char::from(byte)),
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filter({:?})", self.text)
    }
}
