//! The little BER that LDAP needs (RFC 4511, section 5.1), read without recursion and without trust.

/// What was read is not BER as LDAP has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTETS: u8 = 0x04;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

const CONSTRUCTED: u8 = 0x20;
const NUMBER: u8 = 0x1f;
/// Four octets of length are 4 GiB: more than any limit lets through.
const LENGTH_OCTETS: usize = 4;

/// One element: its identifier octet, which is all of it in LDAP, and what it contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
}

impl<'a> Element<'a> {
    pub(crate) fn is_constructed(self) -> bool {
        self.tag & CONSTRUCTED != 0
    }

    /// The number of its tag, whatever the class.
    pub(crate) fn number(self) -> u8 {
        self.tag & NUMBER
    }

    /// What is inside it.
    pub(crate) fn elements(self) -> Elements<'a> {
        Elements(self.content)
    }

    pub(crate) fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.content).map_err(|_| Malformed("a text is not UTF-8"))
    }

    /// A number of at most eight octets.
    pub(crate) fn integer(self) -> Result<i64, Malformed> {
        let (&first, rest) = self
            .content
            .split_first()
            .ok_or(Malformed("a number has no octets"))?;
        if rest.len() > 7 {
            return Err(Malformed("a number is too large"));
        }
        let first = i64::from(i8::from_be_bytes([first]));
        Ok(rest.iter().fold(first, |n, &octet| n << 8 | i64::from(octet)))
    }

    pub(crate) fn boolean(self) -> Result<bool, Malformed> {
        match self.content {
            [octet] => Ok(*octet != 0),
            _ => Err(Malformed("a boolean does not have one octet")),
        }
    }
}

/// Elements one behind the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next element, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Element<'a>>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let header = header(self.0)?.ok_or(Malformed("an element is cut off"))?;
        let (element, rest) = self
            .0
            .split_at_checked(header.whole())
            .ok_or(Malformed("an element is longer than what it is in"))?;
        self.0 = rest;
        Ok(Some(Element {
            tag: header.tag,
            content: &element[header.octets..],
        }))
    }

    /// The next element, which must be there and be a `tag`.
    pub(crate) fn expect(&mut self, tag: u8) -> Result<Element<'a>, Malformed> {
        self.next()?
            .filter(|element| element.tag == tag)
            .ok_or(Malformed("an element is missing or of another type"))
    }

    /// The next element if it is a `tag`.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, Malformed> {
        match self.0.first() {
            Some(&first) if first == tag => self.next(),
            _ => Ok(None),
        }
    }

    /// Fails if anything is left.
    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(Malformed("there is more than there should be"))
        }
    }
}

/// The beginning of an element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) tag: u8,
    /// How many octets the header itself has.
    pub(crate) octets: usize,
    pub(crate) content: usize,
}

impl Header {
    /// How many octets the element has.
    pub(crate) fn whole(self) -> usize {
        self.octets.saturating_add(self.content)
    }
}

/// The header at the beginning of `bytes`; none if it is not whole yet.
pub(crate) fn header(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let [tag, length, rest @ ..] = bytes else {
        return Ok(None);
    };
    if tag & NUMBER == NUMBER {
        return Err(Malformed("a tag has more than one octet"));
    }
    let (octets, content) = match *length {
        short @ 0..=0x7f => (2, usize::from(short)),
        0x80 => return Err(Malformed("a length is indefinite")),
        long => {
            let count = usize::from(long - 0x80);
            if count > LENGTH_OCTETS {
                return Err(Malformed("a length is too large"));
            }
            let Some(octets) = rest.get(..count) else {
                return Ok(None);
            };
            let length = octets
                .iter()
                .fold(0_u64, |length, &octet| length << 8 | u64::from(octet));
            let length = usize::try_from(length).map_err(|_| Malformed("a length is too large"))?;
            (2 + count, length)
        }
    };
    Ok(Some(Header {
        tag: *tag,
        octets,
        content,
    }))
}

/// How many elements there are, at any depth. Fails if they are nested more than `depth` deep, or not within each other. Takes
/// linear time.
pub(crate) fn check_nesting(bytes: &[u8], depth: usize) -> Result<usize, Malformed> {
    let mut open = vec![Elements::new(bytes)];
    let mut count = 0;
    while let Some(elements) = open.last_mut() {
        match elements.next()? {
            None => {
                open.pop();
            }
            Some(element) if element.is_constructed() => {
                count += 1;
                if open.len() >= depth {
                    return Err(Malformed("elements are nested too deep"));
                }
                open.push(element.elements());
            }
            Some(_) => count += 1,
        }
    }
    Ok(count)
}

/// Appends an element.
pub(crate) fn push(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    let length = content.len();
    match u8::try_from(length) {
        Ok(short @ 0..=0x7f) => out.push(short),
        _ => {
            let octets = length.to_be_bytes();
            let zeros = octets.iter().take_while(|&&octet| octet == 0).count();
            let octets = &octets[zeros..];
            out.push(0x80 | u8::try_from(octets.len()).expect("a length has at most eight octets"));
            out.extend_from_slice(octets);
        }
    }
    out.extend_from_slice(content);
}

/// Appends a number, an [`INTEGER`] or [`ENUMERATED`].
pub(crate) fn push_number(out: &mut Vec<u8>, tag: u8, number: i64) {
    let octets = number.to_be_bytes();
    let redundant = octets
        .windows(2)
        .take_while(|pair| {
            matches!(pair, [0, next] if next & 0x80 == 0) || matches!(pair, [0xff, next] if next & 0x80 != 0)
        })
        .count();
    push(out, tag, &octets[redundant..]);
}

/// Appends a truth value.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn push_boolean(out: &mut Vec<u8>, truth: bool) {
    push(out, BOOLEAN, &[if truth { 0xff } else { 0 }]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(tag in 0_u8..0x1f, content in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut out = Vec::new();
            push(&mut out, tag, &content);
            let mut elements = Elements::new(&out);
            prop_assert_eq!(elements.next(), Ok(Some(Element { tag, content: &content })));
            prop_assert!(elements.is_empty());
        }

        #[test]
        fn numbers_are_read_back(number: i64, shift in 0_u32..64) {
            let number = number >> shift;
            let mut out = Vec::new();
            push_number(&mut out, INTEGER, number);
            prop_assert_eq!(Elements::new(&out).expect(INTEGER).unwrap().integer(), Ok(number));
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..64), depth in 1_usize..5) {
            let _ = check_nesting(&bytes, depth);
            let mut elements = Elements::new(&bytes);
            while let Ok(Some(element)) = elements.next() {
                let _ = (element.integer(), element.boolean(), element.text());
            }
        }
    }

    #[test]
    fn nesting_is_limited_without_recursion() {
        let nested = |depth: usize| {
            (0..depth).fold(Vec::new(), |inner, _| {
                let mut out = Vec::new();
                push(&mut out, SEQUENCE, &inner);
                out
            })
        };
        assert_eq!(check_nesting(&nested(3), 4), Ok(3));
        assert!(check_nesting(&nested(4), 4).is_err());
        assert!(check_nesting(&nested(2000), 16).is_err());
    }
}
