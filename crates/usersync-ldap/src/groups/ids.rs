//! Ids of entries: from values to ids, and back for searches.

use usersync_model::ObjectId;

use crate::entry::Entry;
use crate::filter::{Filter, FilterError};
use crate::{IdAttribute, IdEncoding};

/// Where the bytes of a GUID stand in its text form ([MS-DTYP] 2.3.4.2); it is its own inverse.
const GUID_ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

/// The id of an entry; none when it shows none, or more than one.
pub(super) fn id_of(entry: &Entry, attribute: &IdAttribute) -> Option<ObjectId> {
    let mut values = entry.values(&attribute.name);
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let text = match attribute.encoding {
        IdEncoding::Guid => return id_of_guid(value.try_into().ok()?),
        IdEncoding::Text => std::str::from_utf8(value).ok()?.to_owned(),
        IdEncoding::Uuid => uuid_text(&uuid_bytes(std::str::from_utf8(value).ok()?)?),
    };
    ObjectId::new(text).ok()
}

/// The id that `objectGUID` with these bytes is.
pub(super) fn id_of_guid(guid: [u8; 16]) -> Option<ObjectId> {
    ObjectId::new(uuid_text(&GUID_ORDER.map(|at| guid[at]))).ok()
}

/// What finds the entry with this id. None when no entry can have it.
pub(super) fn filter(attribute: &IdAttribute, id: &ObjectId) -> Result<Option<Filter>, FilterError> {
    value(attribute, id)
        .map(|value| Filter::equal(&attribute.name, value))
        .transpose()
}

/// The value that is searched for. None when no value makes this id.
pub(super) fn value(attribute: &IdAttribute, id: &ObjectId) -> Option<Vec<u8>> {
    let text = id.as_str();
    let canonical = |bytes: &[u8; 16]| uuid_text(bytes) == text;
    match attribute.encoding {
        IdEncoding::Guid => {
            let bytes = uuid_bytes(text).filter(canonical)?;
            Some(GUID_ORDER.map(|at| bytes[at]).to_vec())
        }
        IdEncoding::Text => Some(text.as_bytes().to_vec()),
        IdEncoding::Uuid => uuid_bytes(text)
            .filter(canonical)
            .map(|_| text.as_bytes().to_vec()),
    }
}

fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let groups: Vec<_> = text.split('-').collect();
    if groups.iter().map(|group| group.len()).ne([8, 4, 4, 4, 12]) {
        return None;
    }
    let digits = groups.concat();
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let digit = |octet: u8| char::from(octet).to_digit(16);
    let octets: Option<Vec<u8>> = pairs
        .iter()
        .map(|&[high, low]| u8::try_from(digit(high)? << 4 | digit(low)?).ok())
        .collect();
    octets?.try_into().ok()
}

fn uuid_text(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).expect("half a byte is one digit"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dn::Dn;

    fn entry(name: &str, values: &[&[u8]]) -> Entry {
        let mut entry = Entry::new(Dn::parse("cn=a").unwrap());
        values.iter().for_each(|value| entry.push(name, value));
        entry
    }

    proptest! {
        #[test]
        fn what_is_searched_for_is_what_the_entry_shows(bytes: [u8; 16]) {
            let guid = IdAttribute::new("objectGUID", IdEncoding::Guid);
            let id = id_of(&entry("objectGUID", &[&bytes]), &guid).unwrap();
            prop_assert_eq!(value(&guid, &id).unwrap(), bytes.to_vec());

            let uuid = IdAttribute::new("entryUUID", IdEncoding::Uuid);
            let text = uuid_text(&bytes);
            let shown = entry("entryUUID", &[text.to_ascii_uppercase().as_bytes()]);
            let id = id_of(&shown, &uuid).unwrap();
            prop_assert_eq!(value(&uuid, &id).unwrap(), text.into_bytes());
        }
    }

    #[test]
    fn a_guid_is_shown_with_its_first_three_groups_turned() {
        let bytes = [
            0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
        ];
        let id = id_of_guid(bytes).unwrap();
        assert_eq!(id.as_str(), "00112233-4455-6677-8899-aabbccddeeff");
    }

    #[test]
    fn no_entry_has_an_id_that_is_no_uuid() {
        let uuid = IdAttribute::new("entryUUID", IdEncoding::Uuid);
        for text in [
            "team",
            "00112233-4455-6677-8899-AABBCCDDEEFF",
            "00112233-4455-6677-8899-aabbccddeef",
            "0011223344556677-8899-aabb-ccdd-eeff",
            "+0112233-4455-6677-8899-aabbccddeeff",
            "é112233-4455-6677-8899-aabbccddeeff",
        ] {
            assert_eq!(value(&uuid, &ObjectId::new(text).unwrap()), None, "{text}");
        }
    }

    #[test]
    fn an_entry_with_two_ids_has_none() {
        let text = IdAttribute::new("employeeNumber", IdEncoding::Text);
        assert_eq!(id_of(&entry("employeeNumber", &[b"1", b"2"]), &text), None);
        assert_eq!(id_of(&entry("employeeNumber", &[]), &text), None);
        let one = id_of(&entry("EmployeeNumber", &[b"1"]), &text);
        assert_eq!(one, Some(ObjectId::new("1").unwrap()));
    }
}
