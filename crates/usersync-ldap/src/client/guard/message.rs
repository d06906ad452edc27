//! One message of the protocol (RFC 4511, section 4.1.1), as far as a guard must know it.

use super::super::ber::{self, BOOLEAN, ENUMERATED, Element, Elements, INTEGER, Malformed, OCTETS, SEQUENCE};

/// Operations by their identifier octet.
pub(crate) mod operation {
    pub(crate) const ABANDON: u8 = 0x50;
    pub(crate) const ADD: u8 = 0x68;
    pub(crate) const BIND: u8 = 0x60;
    pub(crate) const COMPARE: u8 = 0x6e;
    pub(crate) const DELETE: u8 = 0x4a;
    pub(crate) const ENTRY: u8 = 0x64;
    pub(crate) const EXTENDED: u8 = 0x77;
    pub(crate) const EXTENDED_RESPONSE: u8 = 0x78;
    pub(crate) const INTERMEDIATE: u8 = 0x79;
    pub(crate) const MODIFY: u8 = 0x66;
    pub(crate) const MODIFY_DN: u8 = 0x6c;
    pub(crate) const REFERENCE: u8 = 0x73;
    pub(crate) const SEARCH: u8 = 0x63;
    pub(crate) const SEARCH_DONE: u8 = 0x65;
    pub(crate) const UNBIND: u8 = 0x42;
}

/// How deep elements may be nested: the deepest known, the values of an attribute of an entry, are six deep.
const DEPTH: usize = 12;
const CONTROLS: u8 = 0xa0;
/// Where Active Directory puts the name of an unsolicited notification.
const MISPLACED_NAME: u8 = 0x8a;

/// A message: whose, and what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) id: i32,
    pub(crate) operation: Element<'a>,
    controls: Option<Element<'a>>,
}

/// The result in a response (RFC 4511, section 4.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome<'a> {
    pub(crate) code: u32,
    pub(crate) text: &'a str,
}

impl<'a> Message<'a> {
    /// Reads one whole message.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut outer = Elements::new(bytes);
        let mut inner = outer.expect(SEQUENCE)?.elements();
        outer.end()?;
        let id = inner.expect(INTEGER)?.integer()?;
        let id = i32::try_from(id).map_err(|_| Malformed("a message has an impossible number"))?;
        let operation = inner.next()?.ok_or(Malformed("a message has no operation"))?;
        let controls = inner.optional(CONTROLS)?;
        if controls.is_none() {
            inner.optional(MISPLACED_NAME)?;
        }
        inner.end()?;
        Ok(Self {
            id,
            operation,
            controls,
        })
    }

    /// Whether a response is formed as it must be, so that whoever takes it apart later finds what it expects. Answers
    /// of how many elements it consists.
    pub(crate) fn check(self, whole: &[u8]) -> Result<usize, Malformed> {
        let elements = ber::check_nesting(whole, DEPTH)?;
        if !matches!(
            self.operation.tag,
            operation::ENTRY | operation::INTERMEDIATE | operation::REFERENCE
        ) {
            self.outcome()?;
        }
        let mut controls = self.controls.map_or(Elements::new(&[]), Element::elements);
        while !controls.is_empty() {
            let mut control = controls.expect(SEQUENCE)?.elements();
            control.expect(OCTETS)?.text()?;
            if let Some(critical) = control.optional(BOOLEAN)? {
                critical.boolean()?;
            }
            control.optional(OCTETS)?;
            control.end()?;
        }
        Ok(elements)
    }

    /// The result in it.
    pub(crate) fn outcome(self) -> Result<Outcome<'a>, Malformed> {
        let mut parts = self.operation.elements();
        let code = parts.expect(ENUMERATED)?.integer()?;
        let code = u32::try_from(code).map_err(|_| Malformed("a result code is impossible"))?;
        parts.expect(OCTETS)?.text()?;
        let text = parts.expect(OCTETS)?.text()?;
        while let Some(part) = parts.next()? {
            match (part.number(), part.is_constructed()) {
                (3, true) => {
                    let mut referrals = part.elements();
                    while !referrals.is_empty() {
                        referrals.expect(OCTETS)?.text()?;
                    }
                }
                (3, false) | (7 | 10 | 11, true) => {
                    return Err(Malformed("a result has a part of another type"));
                }
                (10, false) => {
                    part.text()?;
                }
                _ => {}
            }
        }
        Ok(Outcome { code, text })
    }
}

/// Whether `response` may answer `request`, and whether it is the last to do so.
pub(crate) fn answers(request: u8, response: u8) -> Option<bool> {
    use operation::{
        ADD, BIND, COMPARE, DELETE, ENTRY, EXTENDED, EXTENDED_RESPONSE, INTERMEDIATE, MODIFY, MODIFY_DN,
        REFERENCE, SEARCH, SEARCH_DONE,
    };
    match (request, response) {
        (SEARCH, ENTRY | INTERMEDIATE | REFERENCE) => Some(false),
        (SEARCH, SEARCH_DONE) | (EXTENDED, EXTENDED_RESPONSE) => Some(true),
        (ADD | BIND | COMPARE | MODIFY | MODIFY_DN, response) if response == request + 1 => Some(true),
        (DELETE, 0x6b) => Some(true),
        _ => None,
    }
}

/// Whether anything answers a request.
pub(crate) fn is_answered(request: u8) -> bool {
    !matches!(request, operation::ABANDON | operation::UNBIND)
}
