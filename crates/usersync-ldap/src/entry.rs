//! One entry, from whatever source.

use crate::dn::Dn;

/// The name of an entry and its attribute values in the order of the source. One buffer holds all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
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

impl Entry {
    pub(crate) fn new(dn: Dn) -> Self {
        Self {
            dn,
            data: Vec::new(),
            spans: Vec::new(),
        }
    }

    pub(crate) fn dn(&self) -> &Dn {
        &self.dn
    }

    /// All attribute descriptions, as written and with their options, and values.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut from = 0;
        self.spans.iter().map(move |span| {
            let name = std::str::from_utf8(&self.data[from..span.start]).expect("a description came as text");
            from = span.end;
            (name, &self.data[span.start..span.end])
        })
    }

    /// The values of the attribute `description`, which is compared without regard to ASCII case and includes
    /// options, if there are any. Takes time linear in the number of values.
    pub(crate) fn values<'a>(&'a self, description: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.attributes()
            .filter(move |(name, _)| name.eq_ignore_ascii_case(description))
            .map(|(_, value)| value)
    }

    /// The values of the attribute `description` that are UTF-8.
    pub(crate) fn texts<'a>(&'a self, description: &'a str) -> impl Iterator<Item = &'a str> {
        self.values(description)
            .filter_map(|value| std::str::from_utf8(value).ok())
    }

    /// Appends a value of the attribute `description`.
    #[cfg(any(test, feature = "client"))]
    pub(crate) fn push(&mut self, description: &str, value: &[u8]) {
        self.push_with(description, |data| {
            data.extend_from_slice(value);
            Some(())
        })
        .expect("the value was written");
    }

    /// Appends a value that `write` puts behind what is there; what it answers is passed on.
    pub(crate) fn push_with(
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

    /// How many bytes its descriptions and values take.
    pub(crate) fn bytes(&self) -> usize {
        self.data.len()
    }

    /// How many values it has.
    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }
}
