//! Security identifiers of Windows ([MS-DTYP] 2.4.2).

use std::fmt;

/// The bytes before the first part: the revision, the number of parts and the authority.
const HEADER: usize = 8;
const MAX_PARTS: usize = 15;
const MAX_AUTHORITY: u64 = (1 << 48) - 1;

/// A security identifier, `S-1-5-21-…-500`: an authority, the numbers of a domain, and the relative identifier (RID)
/// that names a principal in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sid {
    authority: u64,
    /// From one to fifteen.
    parts: Vec<u32>,
}

impl Sid {
    /// Reads what `objectSid` holds. None when its length is not the one that it tells, when it has no part, or when
    /// it is of another revision than 1.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[1, count, a, b, c, d, e, f], parts) = bytes.split_first_chunk::<HEADER>()? else {
            return None;
        };
        let (parts, []) = parts.as_chunks::<4>() else {
            return None;
        };
        if usize::from(count) != parts.len() {
            return None;
        }
        let authority = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        Self::new(authority, parts.iter().copied().map(u32::from_le_bytes).collect())
    }

    /// Reads the text form. None when it is malformed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('-');
        if !fields.next()?.eq_ignore_ascii_case("S") || fields.next()? != "1" {
            return None;
        }
        let authority = fields.next()?;
        let authority = match authority
            .strip_prefix("0x")
            .or_else(|| authority.strip_prefix("0X"))
        {
            Some(digits) => number(digits, 16)?,
            None => number(authority, 10)?,
        };
        // One more than allowed is enough to see that there are too many.
        let parts = fields
            .take(MAX_PARTS + 1)
            .map(|field| u32::try_from(number(field, 10)?).ok())
            .collect::<Option<_>>()?;
        Self::new(authority, parts)
    }

    fn new(authority: u64, parts: Vec<u32>) -> Option<Self> {
        ((1..=MAX_PARTS).contains(&parts.len()) && authority <= MAX_AUTHORITY)
            .then_some(Self { authority, parts })
    }

    /// The form that `objectSid` holds.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + 4 * self.parts.len());
        bytes.push(1);
        bytes.push(u8::try_from(self.parts.len()).expect("at most fifteen parts"));
        bytes.extend_from_slice(&self.authority.to_be_bytes()[2..]);
        bytes.extend(self.parts.iter().flat_map(|part| part.to_le_bytes()));
        bytes
    }

    /// The relative identifier: the last part.
    #[cfg(any(test, feature = "client"))]
    pub(crate) fn rid(&self) -> u32 {
        *self.parts.last().expect("at least one part")
    }

    /// The principal `rid` of the same domain, as `primaryGroupID` names one.
    pub(crate) fn with_rid(&self, rid: u32) -> Self {
        let mut sid = self.clone();
        *sid.parts.last_mut().expect("at least one part") = rid;
        sid
    }
}

/// A number of nothing but digits.
fn number(digits: &str, radix: u32) -> Option<u64> {
    let plain = digits.chars().all(|c| c.is_digit(radix));
    u64::from_str_radix(digits, radix).ok().filter(|_| plain)
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.authority > u64::from(u32::MAX) {
            write!(f, "S-1-0x{:012X}", self.authority)?;
        } else {
            write!(f, "S-1-{}", self.authority)?;
        }
        self.parts.iter().try_for_each(|part| write!(f, "-{part}"))
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sid({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_and_text() {
        let fifteen = format!("S-1-5{}", "-1".repeat(15));
        for (text, bytes) in [
            ("S-1-1-0", &[1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0][..]),
            (
                "S-1-5-32-544",
                &[1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0],
            ),
            (
                "S-1-0x000100000000-4294967295",
                &[1, 1, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
            ),
        ] {
            let sid = Sid::from_bytes(bytes).expect(text);
            assert_eq!(sid.to_string(), text);
            assert_eq!(Sid::parse(text), Some(sid.clone()));
            assert_eq!(sid.to_bytes(), bytes, "{text}");
        }
        assert_eq!(
            Sid::parse(&fifteen)
                .expect("fifteen parts are allowed")
                .to_string(),
            fifteen
        );
        assert_eq!(Sid::parse("s-1-0X5-7"), Sid::parse("S-1-5-7"));
    }

    #[test]
    fn the_group_of_a_primary_group_id() {
        let user = Sid::parse("S-1-5-21-1-2-3-1104").expect("well-formed");
        assert_eq!(user.rid(), 1104);
        assert_eq!(user.with_rid(513).to_string(), "S-1-5-21-1-2-3-513");
    }

    #[test]
    fn what_is_malformed_is_none() {
        let sixteen = format!("S-1-5{}", "-1".repeat(16));
        for text in [
            "",
            "S",
            "S-1",
            "S-1-5",
            "S-1-5-",
            "S-2-5-1",
            "X-1-5-1",
            "S-1-5-+1",
            "S-1-5-4294967296",
            "S-1-5-1 ",
            "S-1-0x-1",
            "S-1-0x1000000000000-1",
            "S-1-281474976710656-1",
            "S-1--5",
            &sixteen,
        ] {
            assert_eq!(Sid::parse(text), None, "{text}");
        }
        for bytes in [
            &[][..],
            &[1, 0, 0, 0, 0, 0, 0, 5],
            &[1, 1, 0, 0, 0, 0, 0, 5],
            &[1, 1, 0, 0, 0, 0, 0, 5, 1, 0, 0],
            &[1, 1, 0, 0, 0, 0, 0, 5, 1, 0, 0, 0, 0],
            &[2, 1, 0, 0, 0, 0, 0, 5, 1, 0, 0, 0],
            &[1, 2, 0, 0, 0, 0, 0, 5, 1, 0, 0, 0],
            &[[1, 16, 0, 0, 0, 0, 0, 5].as_slice(), &[0; 64]].concat(),
        ] {
            assert_eq!(Sid::from_bytes(bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn both_forms_hold_everything(
            authority in 0..=MAX_AUTHORITY,
            parts in prop::collection::vec(any::<u32>(), 1..=MAX_PARTS),
        ) {
            let sid = Sid::new(authority, parts).expect("within the limits");
            prop_assert_eq!(Sid::from_bytes(&sid.to_bytes()), Some(sid.clone()));
            prop_assert_eq!(Sid::parse(&sid.to_string()), Some(sid));
        }
    }
}
