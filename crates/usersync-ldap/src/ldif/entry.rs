//! One entry of an LDIF file.

use crate::dn::Dn;

/// One entry: its name and its attribute values in the order of the file.
///
/// Values are bytes; those that the file writes plainly are UTF-8. One buffer holds all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdifEntry {
    line: u64,
    dn: Dn,
    /// Descriptions and values in turn, without gaps.
    data: Vec<u8>,
    spans: Vec<Span>,
}

/// Where a value lies. Its description lies between the end of the value before it and its own start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: usize,
    end: usize,
}

impl LdifEntry {
    pub(super) fn new(line: u64, dn: Dn) -> Self {
        Self {
            line,
            dn,
            data: Vec::new(),
            spans: Vec::new(),
        }
    }

    /// The physical line of the file, counted from 1, at which the entry begins.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The name of the entry. It may change at any time and identifies nothing.
    #[must_use]
    pub fn dn(&self) -> &Dn {
        &self.dn
    }

    /// All attribute descriptions, as written and with their options, and values.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut from = 0;
        self.spans.iter().map(move |span| {
            let name = std::str::from_utf8(&self.data[from..span.start]).expect("descriptions are ASCII");
            from = span.end;
            (name, &self.data[span.start..span.end])
        })
    }

    /// The values of the attribute `description`, which is compared without regard to ASCII case and includes
    /// options, if there are any. Takes time linear in the number of values.
    pub fn values<'a>(&'a self, description: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.attributes()
            .filter(move |(name, _)| name.eq_ignore_ascii_case(description))
            .map(|(_, value)| value)
    }

    /// The values of the attribute `description` that are UTF-8.
    pub fn texts<'a>(&'a self, description: &'a str) -> impl Iterator<Item = &'a str> {
        self.values(description)
            .filter_map(|value| std::str::from_utf8(value).ok())
    }

    pub(super) fn push(
        &mut self,
        description: &str,
        write: impl FnOnce(&mut Vec<u8>) -> Option<()>,
    ) -> Option<()> {
        self.data.extend_from_slice(description.as_bytes());
        let start = self.data.len();
        write(&mut self.data)?;
        self.spans.push(Span {
            start,
            end: self.data.len(),
        });
        Some(())
    }

    pub(super) fn bytes(&self) -> usize {
        self.data.len()
    }

    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }
}
