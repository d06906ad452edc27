//! One entry of an LDIF file.

use crate::dn::Dn;
use crate::entry::Entry;

/// One entry: its name and its attribute values in the order of the file.
///
/// Values are bytes; those that the file writes plainly are UTF-8. One buffer holds all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdifEntry {
    line: u64,
    entry: Entry,
}

impl LdifEntry {
    pub(super) fn new(line: u64, dn: Dn) -> Self {
        Self {
            line,
            entry: Entry::new(dn),
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
        self.entry.dn()
    }

    /// All attribute descriptions, as written and with their options, and values.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.entry.attributes()
    }

    /// The values of the attribute `description`, which is compared without regard to ASCII case and includes
    /// options, if there are any. Takes time linear in the number of values.
    pub fn values<'a>(&'a self, description: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.entry.values(description)
    }

    /// The values of the attribute `description` that are UTF-8.
    pub fn texts<'a>(&'a self, description: &'a str) -> impl Iterator<Item = &'a str> {
        self.entry.texts(description)
    }

    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }

    pub(super) fn push(
        &mut self,
        description: &str,
        write: impl FnOnce(&mut Vec<u8>) -> Option<()>,
    ) -> Option<()> {
        self.entry.push_with(description, write)
    }

    pub(super) fn bytes(&self) -> usize {
        self.entry.bytes()
    }

    pub(super) fn len(&self) -> usize {
        self.entry.len()
    }
}
