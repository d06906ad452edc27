//! Distinguished names as text (RFC 4514) and when two of them are the same.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

#[cfg(any(test, feature = "client"))]
pub(crate) mod extended;
mod prepare;

/// The longest name accepted, in bytes.
const MAX_DN_BYTES: usize = 16 << 10;
/// The deepest name accepted; bounds what looking up all ancestors of an entry costs.
const MAX_RDNS: usize = 256;

/// Why a text is not a distinguished name (RFC 4514, section 3).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DnError {
    /// A backslash is followed neither by a special character nor by two hexadecimal digits.
    #[error("the escape at byte {at} is none; write `\\\\` for a backslash")]
    Escape {
        /// Byte offset of the backslash.
        at: usize,
    },
    /// A value in `#` form is not a sequence of pairs of hexadecimal digits.
    #[error("the value at byte {at} has an odd or wrong hexadecimal digit after `#`")]
    Hex {
        /// Byte offset of the `#`.
        at: usize,
    },
    /// The text or its key is longer than 16 KiB, or has more than 256 components.
    #[error("the name is too long; at most {MAX_DN_BYTES} bytes and {MAX_RDNS} components are accepted")]
    TooLong,
    /// An attribute type is missing, malformed, or not followed by `=`.
    #[error("expected `type=value` at byte {at}")]
    Type {
        /// Byte offset of the component.
        at: usize,
    },
    /// A character stands in a value that has to be escaped there.
    #[error("the character at byte {at} must be escaped with a backslash")]
    Unescaped {
        /// Byte offset of the character.
        at: usize,
    },
    /// The escaped octets of a value are not UTF-8.
    #[error("the value at byte {at} is not UTF-8; write it as `#` and hexadecimal digits")]
    Utf8 {
        /// Byte offset of the value.
        at: usize,
    },
}

/// A distinguished name. `Display` shows it as it was written; comparison goes by [`key`](Self::key).
///
/// A DN says where an entry is, not who it is: a rename or a move changes it.
#[derive(Clone)]
pub struct Dn {
    text: String,
    key: String,
}

impl Dn {
    /// Reads the string form of RFC 4514. Spaces around types and values are accepted and mean nothing. The empty
    /// text is the root. Time and space are linear in the length, but for the sorting of multi-valued components.
    ///
    /// # Errors
    /// [`DnError`] when the text is malformed, longer than 16 KiB or deeper than 256 components. A
    /// [`key`](Self::key) of more than 16 KiB is too long, too: few characters grow by normalization, but some do.
    pub fn parse(text: &str) -> Result<Self, DnError> {
        let mut key = String::with_capacity(text.len());
        write_key(text, &mut key)?;
        Ok(Self {
            text: text.to_owned(),
            key,
        })
    }

    /// The name of an entry right below this one: `attribute=value`, with the value escaped as RFC 4514,
    /// section 2.4, demands. Whatever the value is, it stays one value of one component.
    ///
    /// ```
    /// use usersync_ldap::Dn;
    ///
    /// let people = Dn::parse("ou=People,dc=example,dc=net")?;
    /// let person = people.child("cn", "Doe, Jo,dc=example")?;
    /// assert_eq!(person.to_string(), r"cn=Doe\, Jo\,dc=example,ou=People,dc=example,dc=net");
    /// assert_eq!(person.parent(), Some(people));
    /// # Ok::<(), usersync_ldap::DnError>(())
    /// ```
    ///
    /// # Errors
    /// [`DnError::Type`] when `attribute` is neither a name nor a dotted number (RFC 4512, section 1.4), and
    /// [`DnError::TooLong`].
    pub fn child(&self, attribute: &str, value: &str) -> Result<Self, DnError> {
        if !is_type(attribute.as_bytes()) {
            return Err(DnError::Type { at: 0 });
        }
        let mut text = String::with_capacity(attribute.len() + value.len() + self.text.len() + 2);
        text.push_str(attribute);
        text.push('=');
        push_escaped(value, &mut text);
        if !self.is_root() {
            text.push(',');
            text.push_str(&self.text);
        }
        Self::parse(&text)
    }

    /// The canonical form. Two names are equal exactly when their keys are.
    ///
    /// Values are prepared as caseIgnoreMatch compares them (RFC 4518): invisible and control characters are left
    /// out, white space is one space and none at either end, letters are lower case, and the rest is in Unicode
    /// normalization form KC, so that `JÖRG`, `jörg` and `jo\u{308}rg` are one. Lower case is what Unicode
    /// maps each character to. The foldings that go further, `ß` to `ss` and `ς` to `σ`, are not made: servers
    /// differ in them, and taking two entries for one is worse than not finding one. Characters that RFC 4518
    /// prohibits are compared as they are.
    ///
    /// Types are compared without regard to ASCII case, and those of RFC 4514, section 3, are the same by number,
    /// by short and by long name; the order within a multi-valued component does not matter; a `#` value that
    /// holds a character string is the same as that string. The key is itself a name in the form of RFC 4514,
    /// and its own key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether this is the root, the name without components.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.key.is_empty()
    }

    /// Whether this names `ancestor` itself or an entry below it. Everything is below the root. Takes time linear in
    /// the length and allocates nothing.
    #[must_use]
    pub fn is_within(&self, ancestor: &Self) -> bool {
        if ancestor.is_root() {
            return true;
        }
        match self.key.strip_suffix(&ancestor.key) {
            None => false,
            Some("") => true,
            Some(below) => below.strip_suffix(',').is_some_and(|component| {
                component.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 0
            }),
        }
    }

    /// The name of the entry above, which is the root for a name of one component; none for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let key = parent_key(&self.key)?.to_owned();
        let text = parent_key(&self.text)
            .unwrap_or_default()
            .trim_start_matches(' ')
            .to_owned();
        Some(Self { text, key })
    }
}

/// What follows the first component of a key, or of any well-formed name; none for the root.
pub(crate) fn parent_key(key: &str) -> Option<&str> {
    if key.is_empty() {
        return None;
    }
    let mut escaped = false;
    for (at, byte) in key.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => return Some(&key[at + 1..]),
            _ => {}
        }
    }
    Some("")
}

/// Appends the key of the name `text` to `key`, which may be left with a part of it on an error.
pub(crate) fn write_key(text: &str, key: &mut String) -> Result<(), DnError> {
    if text.len() > MAX_DN_BYTES {
        return Err(DnError::TooLong);
    }
    let mut parser = Parser {
        bytes: text.as_bytes(),
        at: 0,
        value: Vec::new(),
    };
    let start = key.len();
    parser.spaces();
    if parser.peek().is_none() {
        return Ok(());
    }
    for _ in 0..MAX_RDNS {
        parser.rdn(key)?;
        if key.len() - start > MAX_DN_BYTES {
            return Err(DnError::TooLong);
        }
        if parser.peek().is_none() {
            return Ok(());
        }
        parser.at += 1;
        key.push(',');
    }
    Err(DnError::TooLong)
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The octets of the value being read.
    value: Vec<u8>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn spaces(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    /// Reads one component and stops at the comma after it or at the end.
    fn rdn(&mut self, key: &mut String) -> Result<(), DnError> {
        let start = key.len();
        let mut parts = vec![];
        loop {
            let from = key.len();
            self.attribute(key)?;
            if self.peek() != Some(b'+') {
                if !parts.is_empty() {
                    parts.push(key.split_off(from));
                }
                break;
            }
            self.at += 1;
            parts.push(key.split_off(from));
        }
        if !parts.is_empty() {
            parts.sort_unstable();
            debug_assert_eq!(start, key.len());
            key.push_str(&parts.join("+"));
        }
        Ok(())
    }

    /// Reads `type=value` and stops at the comma or plus after it or at the end.
    fn attribute(&mut self, key: &mut String) -> Result<(), DnError> {
        self.spaces();
        let start = self.at;
        while self
            .peek()
            .is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
        {
            self.at += 1;
        }
        let kind = &self.bytes[start..self.at];
        self.spaces();
        if !is_type(kind) || self.peek() != Some(b'=') {
            return Err(DnError::Type { at: start });
        }
        self.at += 1;
        push_type(kind, key);
        key.push('=');
        self.spaces();
        if self.peek() == Some(b'#') {
            self.hex_value(key)
        } else {
            self.text_value(key)
        }
    }

    fn hex_value(&mut self, key: &mut String) -> Result<(), DnError> {
        let start = self.at;
        self.at += 1;
        self.value.clear();
        while let Some(byte) = self.hex_pair(self.at) {
            self.value.push(byte);
            self.at += 2;
        }
        let end = self.at;
        self.spaces();
        if self.value.is_empty() || !matches!(self.peek(), None | Some(b',' | b'+')) {
            return Err(DnError::Hex { at: start });
        }
        match character_string(&self.value) {
            Some(text) => push_value(text, key),
            None => {
                let digits = &self.bytes[start..end];
                key.extend(digits.iter().map(|b| char::from(b.to_ascii_lowercase())));
            }
        }
        Ok(())
    }

    fn text_value(&mut self, key: &mut String) -> Result<(), DnError> {
        let start = self.at;
        self.value.clear();
        loop {
            match self.peek() {
                None | Some(b',' | b'+') => break,
                Some(b'"' | b';' | b'<' | b'>' | b'\0') => return Err(DnError::Unescaped { at: self.at }),
                Some(b'\\') => {
                    let (byte, length) = self.escape().ok_or(DnError::Escape { at: self.at })?;
                    self.value.push(byte);
                    self.at += length;
                }
                Some(byte) => {
                    self.value.push(byte);
                    self.at += 1;
                }
            }
        }
        let text = std::str::from_utf8(&self.value).map_err(|_| DnError::Utf8 { at: start })?;
        push_value(text, key);
        Ok(())
    }

    /// The octet that an escape stands for, and the length of the escape.
    fn escape(&self) -> Option<(u8, usize)> {
        let next = *self.bytes.get(self.at + 1)?;
        match next {
            b' ' | b'"' | b'#' | b'+' | b',' | b';' | b'<' | b'=' | b'>' | b'\\' => Some((next, 2)),
            _ => self.hex_pair(self.at + 1).map(|byte| (byte, 3)),
        }
    }

    fn hex_pair(&self, at: usize) -> Option<u8> {
        hex_byte(*self.bytes.get(at)?, *self.bytes.get(at + 1)?)
    }
}

/// The byte that two hexadecimal digits stand for.
pub(crate) fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

/// A descriptor or a dotted number (RFC 4512, section 1.4).
pub(crate) fn is_type(kind: &[u8]) -> bool {
    match kind.first() {
        Some(b'0'..=b'9') => kind.split(|&b| b == b'.').all(is_number),
        Some(first) => {
            first.is_ascii_alphabetic() && kind.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'-')
        }
        None => false,
    }
}

/// Digits without a zero in front.
fn is_number(part: &[u8]) -> bool {
    !part.is_empty() && part.iter().all(u8::is_ascii_digit) && (part[0] != b'0' || part.len() == 1)
}

fn push_type(kind: &[u8], key: &mut String) {
    let start = key.len();
    key.extend(kind.iter().map(|b| char::from(b.to_ascii_lowercase())));
    let short = match &key[start..] {
        "0.9.2342.19200300.100.1.1" | "userid" => "uid",
        "0.9.2342.19200300.100.1.25" | "domaincomponent" => "dc",
        "2.5.4.3" | "commonname" => "cn",
        "2.5.4.6" | "countryname" => "c",
        "2.5.4.7" | "localityname" => "l",
        "2.5.4.8" | "stateorprovincename" => "st",
        "2.5.4.9" => "street",
        "2.5.4.10" | "organizationname" => "o",
        "2.5.4.11" | "organizationalunitname" => "ou",
        _ => return,
    };
    key.truncate(start);
    key.push_str(short);
}

/// Appends a value prepared for comparison, and escaped.
fn push_value(text: &str, key: &mut String) {
    let mut first = true;
    prepare::each(text, |c| {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => key.push('\\'),
            // A space is first only if a combining mark follows, which makes it a character of its own.
            '#' | ' ' if first => key.push('\\'),
            _ => {}
        }
        key.push(c);
        first = false;
    });
}

/// Appends a value as it is, and escaped.
fn push_escaped(value: &str, text: &mut String) {
    let last = value.len().wrapping_sub(1);
    for (at, c) in value.char_indices() {
        match c {
            '\0' => {
                text.push_str("\\00");
                continue;
            }
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => text.push('\\'),
            '#' if at == 0 => text.push('\\'),
            ' ' if at == 0 || at == last => text.push('\\'),
            _ => {}
        }
        text.push(c);
    }
}

/// The text in a BER-encoded UTF8String, PrintableString or IA5String of definite length.
fn character_string(ber: &[u8]) -> Option<&str> {
    let (&tag, rest) = ber.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, content) = match length {
        0..=0x7f => (usize::from(length), rest),
        // MAX_DN_BYTES leaves no use for more than two octets of length.
        0x81 | 0x82 => {
            let (octets, content) = rest.split_at_checked(usize::from(length - 0x80))?;
            let length = octets.iter().fold(0, |sum, &octet| sum << 8 | usize::from(octet));
            (length, content)
        }
        _ => return None,
    };
    if !matches!(tag, 0x0c | 0x13 | 0x16) || content.len() != length {
        return None;
    }
    std::str::from_utf8(content).ok()
}

impl FromStr for Dn {
    type Err = DnError;

    fn from_str(text: &str) -> Result<Self, DnError> {
        Self::parse(text)
    }
}

impl fmt::Display for Dn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Dn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dn({:?})", self.text)
    }
}

impl PartialEq for Dn {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Dn {}

impl PartialOrd for Dn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Dn {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl Hash for Dn {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}
