//! Security identifiers, and names with ids before them.

use crate::dn::extended::{ExtendedDn, extended_dn};
use crate::sid::Sid;

/// Bytes, as bytes and as text.
pub fn ldap_ids(data: &[u8]) {
    if let Some(sid) = Sid::from_bytes(data) {
        assert_eq!(sid.to_bytes(), data);
        in_both_forms(&sid);
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(sid) = Sid::parse(text) {
        assert!(text.is_ascii());
        in_both_forms(&sid);
    }
    if let Some(found) = extended_dn(text) {
        assert!(!found.dn.is_root() && text.ends_with(&found.dn.to_string()));
        // With ids as text, and as digits.
        for form in [as_text, as_digits] {
            let written = form(&found);
            assert_eq!(extended_dn(&written).as_ref(), Some(&found), "{written}");
        }
    }
}

fn in_both_forms(sid: &Sid) {
    assert_eq!(Sid::from_bytes(&sid.to_bytes()).as_ref(), Some(sid));
    assert_eq!(Sid::parse(&sid.to_string()).as_ref(), Some(sid));
    let sibling = sid.with_rid(7);
    assert_eq!((sibling.rid(), sibling.with_rid(sid.rid())), (7, sid.clone()));
}

fn as_text(name: &ExtendedDn) -> String {
    let guid = name.guid.map(|guid| {
        let [a, b, c, d, e, f, g, h, rest @ ..] = guid;
        let (first, second, third) = (
            u32::from_le_bytes([a, b, c, d]),
            u16::from_le_bytes([e, f]),
            u16::from_le_bytes([g, h]),
        );
        let (fourth, fifth) = rest.split_at(2);
        format!(
            "<GUID={first:08X}-{second:04X}-{third:04X}-{}-{}>;",
            digits(fourth),
            digits(fifth)
        )
    });
    let sid = name.sid.as_ref().map(|sid| format!("<SID={sid}>;"));
    format!(
        "{}{}{}",
        guid.unwrap_or_default(),
        sid.unwrap_or_default(),
        name.dn
    )
}

fn as_digits(name: &ExtendedDn) -> String {
    let guid = name.guid.map(|guid| format!("<GUID={}>;", digits(&guid)));
    let sid = name
        .sid
        .as_ref()
        .map(|sid| format!("<SID={}>;", digits(&sid.to_bytes())));
    format!(
        "{}{}{}",
        guid.unwrap_or_default(),
        sid.unwrap_or_default(),
        name.dn
    )
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
