//! Logical lines to entries.

use std::io::BufRead;
use std::iter::FusedIterator;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::entry::LdifEntry;
use super::error::{LdifError, LdifErrorKind};
use super::lexer::{Lexer, Token};
use crate::dn::Dn;

/// What an LDIF file may hold at most. Hitting a limit is an error that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LdifLimits {
    /// Bytes of a line after unfolding: 16 MiB by default, enough for a photo.
    pub line_bytes: usize,
    /// Bytes of the attribute descriptions and decoded values of an entry: 256 MiB by default.
    pub entry_bytes: usize,
    /// Attribute values of an entry: 2 000 000 by default, since each member of a group is one.
    pub values: usize,
    /// Entries of a file: 10 000 000 by default.
    pub entries: u64,
}

impl Default for LdifLimits {
    fn default() -> Self {
        Self {
            line_bytes: 16 << 20,
            entry_bytes: 256 << 20,
            values: 2_000_000,
            entries: 10_000_000,
        }
    }
}

/// Reads the entries of an LDIF content file (RFC 2849), one at a time.
///
/// Memory follows the largest entry, not the file. The first error ends the iteration. Beyond the RFC,
/// plain values and names may hold UTF-8, the version line may be missing, an entry may have no values, and an
/// attribute option may hold `=`, as in `member;range=0-1499`. Every line must be terminated, so that a file
/// cut off within a line is told from a whole one; LDIF has no end mark that would tell more.
///
/// ```
/// use usersync_ldap::LdifReader;
///
/// let file = "version: 1\n\ndn: cn=All Staff,dc=example,dc=org\ncn: All\n  Staff\n";
/// let entry = LdifReader::new(file.as_bytes()).next().expect("an entry")?;
/// assert_eq!(entry.texts("CN").collect::<Vec<_>>(), ["All Staff"]);
/// # Ok::<(), usersync_ldap::LdifError>(())
/// ```
#[derive(Debug)]
pub struct LdifReader<R> {
    lexer: Lexer<R>,
    limits: LdifLimits,
    entries: u64,
    started: bool,
    done: bool,
}

impl<R: BufRead> LdifReader<R> {
    /// A reader with the default limits.
    #[must_use]
    pub fn new(input: R) -> Self {
        Self::with_limits(input, LdifLimits::default())
    }

    /// A reader with limits of the caller's.
    #[must_use]
    pub fn with_limits(input: R, limits: LdifLimits) -> Self {
        Self {
            lexer: Lexer::new(input, limits.line_bytes),
            limits,
            entries: 0,
            started: false,
            done: false,
        }
    }

    /// The text of the comment that ends the part of the file read so far, if one does.
    pub(crate) fn last_comment(&self) -> Option<&[u8]> {
        self.lexer.comment()
    }

    fn read_entry(&mut self) -> Result<Option<LdifEntry>, LdifError> {
        let Some(number) = self.first_line()? else {
            return Ok(None);
        };
        let fail = |kind| Err(LdifError::new(number, kind));
        let (name, value) = split(self.lexer.line()).map_err(|kind| LdifError::new(number, kind))?;
        if !name.eq_ignore_ascii_case("dn") {
            return fail(LdifErrorKind::MissingDn);
        }
        let dn = match read_dn(value) {
            Ok(dn) => dn,
            Err(kind) => return fail(kind),
        };
        if self.entries == self.limits.entries {
            return fail(LdifErrorKind::TooManyEntries {
                max: self.limits.entries,
            });
        }
        self.entries += 1;
        let mut entry = LdifEntry::new(number, dn);
        while let Token::Line(number) = self.lexer.next()? {
            self.read_value(&mut entry)
                .map_err(|kind| LdifError::new(number, kind))?;
        }
        Ok(Some(entry))
    }

    /// Skips blank lines and the version, and answers the number of the line that follows.
    fn first_line(&mut self) -> Result<Option<u64>, LdifError> {
        loop {
            let number = match self.lexer.next()? {
                Token::Blank => continue,
                Token::End => return Ok(None),
                Token::Line(number) => number,
            };
            if std::mem::replace(&mut self.started, true) {
                return Ok(Some(number));
            }
            match split(self.lexer.line()) {
                Ok((name, value)) if name.eq_ignore_ascii_case("version") => {
                    if value != Spec::Plain(b"1") {
                        return Err(LdifError::new(number, LdifErrorKind::Version));
                    }
                }
                _ => return Ok(Some(number)),
            }
        }
    }

    fn read_value(&self, entry: &mut LdifEntry) -> Result<(), LdifErrorKind> {
        let (name, value) = split(self.lexer.line())?;
        // A control is told from an attribute of that name by its place (RFC 2849, ldif-change-record).
        if name.eq_ignore_ascii_case("changetype") {
            return Err(LdifErrorKind::ChangeRecord { line: "changetype" });
        }
        if name.eq_ignore_ascii_case("control") && entry.len() == 0 {
            return Err(LdifErrorKind::ChangeRecord { line: "control" });
        }
        if name.eq_ignore_ascii_case("dn") {
            return Err(LdifErrorKind::RepeatedDn);
        }
        if entry.len() == self.limits.values {
            return Err(LdifErrorKind::TooManyValues {
                max: self.limits.values,
            });
        }
        match value {
            Spec::Base64(text) => entry
                .push(name, |data| STANDARD.decode_vec(text, data).ok())
                .ok_or(LdifErrorKind::Base64)?,
            Spec::Plain(text) => {
                let text = std::str::from_utf8(text).map_err(|_| LdifErrorKind::Utf8)?;
                entry
                    .push(name, |data| {
                        data.extend_from_slice(text.as_bytes());
                        Some(())
                    })
                    .expect("writing a plain value always succeeds");
            }
            Spec::Url => return Err(LdifErrorKind::Url),
        }
        if entry.bytes() > self.limits.entry_bytes {
            return Err(LdifErrorKind::EntryTooLarge {
                max: self.limits.entry_bytes,
            });
        }
        Ok(())
    }
}

impl<R: BufRead> Iterator for LdifReader<R> {
    type Item = Result<LdifEntry, LdifError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let entry = self.read_entry().transpose();
        self.done = !matches!(entry, Some(Ok(_)));
        entry
    }
}

impl<R: BufRead> FusedIterator for LdifReader<R> {}

/// A value as the file gives it (RFC 2849, value-spec).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spec<'a> {
    Base64(&'a [u8]),
    Plain(&'a [u8]),
    Url,
}

fn split(line: &[u8]) -> Result<(&str, Spec<'_>), LdifErrorKind> {
    let colon = line
        .iter()
        .position(|&b| b == b':')
        .ok_or(LdifErrorKind::MissingColon)?;
    let name = description(&line[..colon]).ok_or(LdifErrorKind::Name)?;
    let rest = &line[colon + 1..];
    let spec = match rest.first() {
        Some(b':') => Spec::Base64(fill(&rest[1..])),
        Some(b'<') => Spec::Url,
        _ => match fill(rest) {
            [b':' | b'<', ..] => return Err(LdifErrorKind::UnsafeValue),
            text => Spec::Plain(text),
        },
    };
    Ok((name, spec))
}

/// Skips what RFC 2849 calls FILL.
fn fill(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|&&b| b == b' ').count();
    &text[spaces..]
}

/// An attribute type, by name or by number, with any number of options.
fn description(text: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(text).ok()?;
    let mut parts = text.split(';');
    let kind = parts.next()?;
    let named = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let numbered = |text: &str| {
        text.split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    };
    let ok = match kind.bytes().next()? {
        b'0'..=b'9' => numbered(kind),
        b'A'..=b'Z' | b'a'..=b'z' => named(kind),
        _ => false,
    };
    let options = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'=' | b'*'))
    };
    (ok && parts.all(options)).then_some(text)
}

fn read_dn(value: Spec<'_>) -> Result<Dn, LdifErrorKind> {
    let decoded;
    let bytes = match value {
        Spec::Base64(text) => {
            decoded = STANDARD.decode(text).map_err(|_| LdifErrorKind::Base64)?;
            &decoded[..]
        }
        Spec::Plain(text) => text,
        Spec::Url => return Err(LdifErrorKind::Url),
    };
    let text = std::str::from_utf8(bytes).map_err(|_| LdifErrorKind::Utf8)?;
    Dn::parse(text).map_err(LdifErrorKind::Dn)
}
