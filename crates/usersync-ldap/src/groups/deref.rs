//! The control by which a server shows attributes of the entries that an entry names (draft-masarati-ldap-deref).

use crate::client::Control;
use crate::client::ber::{self, Elements, Malformed, OCTETS, SEQUENCE, SET};
use crate::dn::Dn;
use crate::entry::Entry;

pub(super) const OID: &str = "1.3.6.1.4.1.4203.666.5.16";

/// Attributes of an entry that was named.
const SHOWN: u8 = 0xa0;

/// Asks for `shown` of the entries that each of `attributes` names.
pub(super) fn request<'a>(attributes: impl Iterator<Item = &'a str>, shown: &str) -> Control {
    let mut wanted = Vec::new();
    ber::push(&mut wanted, OCTETS, shown.as_bytes());
    let mut specs = Vec::new();
    for attribute in attributes {
        let mut spec = Vec::new();
        ber::push(&mut spec, OCTETS, attribute.as_bytes());
        ber::push(&mut spec, SEQUENCE, &wanted);
        ber::push(&mut specs, SEQUENCE, &spec);
    }
    let mut value = Vec::new();
    ber::push(&mut value, SEQUENCE, &specs);
    Control::new(OID).with_value(value)
}

/// The entries shown, each with what is shown of it. Those whose names are no DNs are left out.
pub(super) fn answer(control: &Control) -> Result<Vec<Entry>, Malformed> {
    let mut value = Elements::new(control.value.as_deref().unwrap_or_default());
    let mut results = value.expect(SEQUENCE)?.elements();
    let mut entries = Vec::new();
    while let Some(result) = results.next()? {
        let mut result = result.elements();
        result.expect(OCTETS)?;
        let name = result.expect(OCTETS)?.text()?;
        let Some(shown) = result.optional(SHOWN)? else {
            continue;
        };
        let Ok(dn) = Dn::parse(name) else { continue };
        let mut entry = Entry::new(dn);
        let mut attributes = shown.elements();
        while let Some(attribute) = attributes.next()? {
            let mut attribute = attribute.elements();
            let description = attribute.expect(OCTETS)?.text()?;
            let mut values = attribute.expect(SET)?.elements();
            while let Some(value) = values.next()? {
                entry.push(description, value.content);
            }
        }
        entries.push(entry);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        ber::push(&mut out, tag, &parts.concat());
        out
    }

    fn octets(text: &str) -> Vec<u8> {
        element(OCTETS, &[text.as_bytes()])
    }

    #[test]
    fn the_request_is_as_the_draft_has_it() {
        let control = request(["member"].into_iter(), "entryUUID");
        let value = b"\x30\x17\x30\x15\x04\x06member\x30\x0b\x04\x09entryUUID";
        assert_eq!(control.value.unwrap(), value);
        assert!(!control.critical);
    }

    #[test]
    fn entries_are_read_and_those_that_are_hidden_left_out() {
        let values = element(SET, &[&octets("1")]);
        let attribute = element(SEQUENCE, &[&octets("employeeNumber"), &values]);
        let shown = element(SHOWN, &[&attribute]);
        let one = element(SEQUENCE, &[&octets("member"), &octets("cn=a,dc=x"), &shown]);
        let hidden = element(SEQUENCE, &[&octets("member"), &octets("cn=b,dc=x")]);
        let value = element(SEQUENCE, &[&one, &hidden]);
        let entries = answer(&Control::new(OID).with_value(value.clone())).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].dn().to_string(), "cn=a,dc=x");
        assert_eq!(entries[0].texts("employeeNumber").collect::<Vec<_>>(), ["1"]);
        for end in 0..value.len() {
            assert!(answer(&Control::new(OID).with_value(value[..end].to_vec())).is_err());
        }
    }
}
