//! Names with the ids of their entries before them, as Active Directory writes them on demand.

use super::{Dn, hex_byte};
use crate::sid::Sid;

/// What stands in `<GUID=…>;<SID=…>;CN=…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExtendedDn {
    pub(crate) dn: Dn,
    /// The bytes as `objectGUID` holds them, whichever way they were written.
    pub(crate) guid: Option<[u8; 16]>,
    /// Security principals have one.
    pub(crate) sid: Option<Sid>,
}

/// Reads a name in the form of the control LDAP_SERVER_EXTENDED_DN_OID ([MS-ADTS] 3.1.1.3.4.1.5), with ids as text
/// or as hexadecimal digits, or a plain one. None when anything of it is malformed, or when there is no name after
/// the ids. Unknown ids are skipped.
pub(crate) fn extended_dn(text: &str) -> Option<ExtendedDn> {
    let (mut guid, mut sid) = (None, None);
    let mut rest = text;
    while let Some(id) = rest.strip_prefix('<') {
        let (id, after) = id.split_once(">;")?;
        let (name, value) = id.split_once('=')?;
        if name.eq_ignore_ascii_case("GUID") {
            guid = Some(guid_of_hex(value).or_else(|| guid_of_text(value))?);
        } else if name.eq_ignore_ascii_case("SID") {
            sid = Some(
                hex(value)
                    .and_then(|bytes| Sid::from_bytes(&bytes))
                    .or_else(|| Sid::parse(value))?,
            );
        }
        rest = after;
    }
    let dn = Dn::parse(rest).ok().filter(|dn| !dn.is_root())?;
    Some(ExtendedDn { dn, guid, sid })
}

fn guid_of_hex(text: &str) -> Option<[u8; 16]> {
    hex(text)?.try_into().ok()
}

/// The first three groups are numbers, which `objectGUID` holds with the low byte first ([MS-DTYP] 2.3.4.2).
fn guid_of_text(text: &str) -> Option<[u8; 16]> {
    let groups: Vec<_> = text.split('-').collect();
    if groups.iter().map(|group| group.len()).ne([8, 4, 4, 4, 12]) {
        return None;
    }
    let mut bytes = guid_of_hex(&groups.concat())?;
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    Some(bytes)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    pairs.iter().map(|&[high, low]| hex_byte(high, low)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: [u8; 16] = [
        0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
    ];

    #[test]
    fn both_forms_and_a_plain_name() {
        let dn = Dn::parse("CN=A,DC=x").expect("well-formed");
        let sid = Sid::parse("S-1-5-21-1-2-3-500");
        for (text, guid, sid) in [
            (
                "<GUID=00112233-4455-6677-8899-AABBCCDDEEFF>;<SID=S-1-5-21-1-2-3-500>;CN=A,DC=x",
                Some(GUID),
                &sid,
            ),
            (
                "<GUID=33221100554477668899aabbccddeeff>;\
                 <SID=010500000000000515000000010000000200000003000000f4010000>;CN=A,DC=x",
                Some(GUID),
                &sid,
            ),
            (
                "<guid=33221100554477668899aabbccddeeff>;cn=a,dc=X",
                Some(GUID),
                &None,
            ),
            ("<SID=S-1-5-21-1-2-3-500>;CN=A,DC=x", None, &sid),
            ("<RMD_VERSION=1>;CN=A,DC=x", None, &None),
            ("CN=A,DC=x", None, &None),
        ] {
            let expected = ExtendedDn {
                dn: dn.clone(),
                guid,
                sid: sid.clone(),
            };
            assert_eq!(extended_dn(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_malformed_is_none() {
        for text in [
            "",
            "CN",
            "<GUID=00112233-4455-6677-8899-AABBCCDDEEFF>",
            "<GUID=00112233-4455-6677-8899-AABBCCDDEEFF>;",
            "<GUID=00112233-4455-6677-8899-AABBCCDDEEFF>CN=A",
            "<GUID=00112233-4455-6677-8899-AABBCCDDEEF>;CN=A",
            "<GUID=00112233-4455-6677-8899AA-BBCCDDEEFF>;CN=A",
            "<GUID=0011223344556677-8899-AABBCCDDEEFF>;CN=A",
            "<GUID=33221100554477668899aabbccddeeg0>;CN=A",
            "<GUID=33221100554477668899aabbccddee>;CN=A",
            "<GUID=é221100554477668899aabbccddeeff>;CN=A",
            "<GUID>;CN=A",
            "<SID=S-1-5>;CN=A",
            "<SID=>;CN=A",
            "<",
        ] {
            assert_eq!(extended_dn(text), None, "{text}");
        }
    }
}
