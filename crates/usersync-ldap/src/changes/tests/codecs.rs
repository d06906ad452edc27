//! What is read from servers: the forms of the RFCs, byte by byte, and everything else.

use proptest::prelude::*;
use usersync_connector::ErrorKind;

use crate::changes::content_sync::codec::{Mode, State, SyncDone, SyncInfo, SyncState, request};
use crate::changes::dir_sync::codec::Answer;
use crate::changes::{KeyAttribute, ranges};
use crate::client::ber::{INTEGER, OCTETS, SEQUENCE, push, push_number};
use crate::dn::Dn;
use crate::entry::Entry;

/// Octets written as hexadecimal digits, with spaces anywhere.
fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap())
        .collect()
}

#[test]
fn what_openldap_and_389_send() {
    // A changed entry of OpenLDAP, which calls it added.
    let control = bytes("3015 0a0101 0410 4708930e7a0d1041803c41fad7289a7e");
    let state = SyncState::parse(&control).unwrap();
    assert_eq!((state.state, state.cookie), (State::Add, None));
    assert_eq!(state.uuid[..4], [0x47, 0x08, 0x93, 0x0e]);
    // The end of a refresh in which nothing changed: no cookie.
    let done = SyncDone::parse(&[0x30, 3, 1, 1, 0xff]).unwrap();
    assert_eq!((done.cookie, done.refresh_deletes), (None, true));
    // 389 Directory Server leaves the flag out.
    let done = SyncDone::parse(b"\x30\x05\x04\x03a#8").unwrap();
    assert_eq!((done.cookie, done.refresh_deletes), (Some(&b"a#8"[..]), false));
}

#[test]
fn messages_and_their_defaults() {
    let uuid = [7; 16];
    let id = bytes("0410 07070707070707070707070707070707");
    let with = |prefix: &str, set: &[u8]| [bytes(prefix), set.to_vec()].concat();
    for (message, expected) in [
        (b"\x80\x01a".to_vec(), SyncInfo::NewCookie(b"a")),
        (
            bytes("a1 00"),
            SyncInfo::RefreshDelete {
                cookie: None,
                done: true,
            },
        ),
        (
            bytes("a2 06 0401 61 010100"),
            SyncInfo::RefreshPresent {
                cookie: Some(b"a"),
                done: false,
            },
        ),
        (
            with("a3 14 31 12", &id),
            SyncInfo::IdSet {
                cookie: None,
                refresh_deletes: false,
                uuids: vec![uuid],
            },
        ),
        (
            bytes("a3 08 0401 61 0101ff 3100"),
            SyncInfo::IdSet {
                cookie: Some(b"a"),
                refresh_deletes: true,
                uuids: Vec::new(),
            },
        ),
    ] {
        assert_eq!(SyncInfo::parse(&message), Ok(expected), "{message:02x?}");
    }
}

#[test]
fn what_is_malformed_is_refused() {
    let short = "0a0101 040f 000000000000000000000000000000";
    for (what, state) in [
        ("no control", String::new()),
        ("an id of 15 octets", format!("3014 {short}")),
        (
            "an unknown state",
            "3015 0a0104 0410 00000000000000000000000000000000".to_owned(),
        ),
        ("no id", "3003 0a0101".to_owned()),
        (
            "more behind",
            "3015 0a0101 0410 00000000000000000000000000000000 0500".to_owned(),
        ),
    ] {
        assert!(SyncState::parse(&bytes(&state)).is_err(), "{what}");
    }
    for (what, info) in [
        ("nothing", ""),
        ("an unknown kind", "a4 00"),
        ("two messages", "a1 00 a1 00"),
        ("a set without a set", "a3 00"),
        ("a set of numbers", "a3 05 31 03 020101"),
        ("a set of short ids", "a3 05 31 03 040101"),
        ("a flag of two octets", "a1 04 0102ffff"),
    ] {
        assert!(SyncInfo::parse(&bytes(info)).is_err(), "{what}");
    }
    let mut long = Vec::new();
    push(&mut long, 0x80, &vec![0; (64 << 10) + 1]);
    assert!(SyncInfo::parse(&long).is_err(), "a cookie of more than 64 KiB");
}

#[test]
fn requests_are_those_of_the_rfc() {
    let value = |mode, cookie| request(mode, cookie).value.unwrap();
    assert_eq!(value(Mode::RefreshOnly, None), bytes("3003 0a0101"));
    assert_eq!(
        value(Mode::RefreshAndPersist, Some(b"a")),
        bytes("3006 0a0103 040161")
    );
    assert!(request(Mode::RefreshOnly, None).critical);
}

#[test]
fn ranges_in_descriptions() {
    let split =
        |text| ranges::split(text).map(|(name, range)| (name, range.map(|range| (range.low, range.high))));
    let name = |name: &str| name.to_owned();
    for (text, expected) in [
        ("member", Ok((name("member"), None))),
        ("member;range=0-1499", Ok((name("member"), Some((0, Some(1499)))))),
        ("member;Range=1500-*", Ok((name("member"), Some((1500, None))))),
        (
            "cn;lang-de;range=0-0",
            Ok((name("cn;lang-de"), Some((0, Some(0))))),
        ),
        ("member;range=", Err(())),
        ("member;range=2-1", Err(())),
        ("member;range=+1-2", Err(())),
        ("member;range=1-*;range=1-*", Err(())),
        ("member;range=99999999999999999999-*", Err(())),
    ] {
        assert_eq!(split(text), expected, "{text}");
    }
}

#[test]
fn keys_of_servers() {
    let guid: [u8; 16] = std::array::from_fn(|n| u8::try_from(n).unwrap());
    for (attribute, value, filter) in [
        (
            KeyAttribute::EntryUuid,
            b"00010203-0405-0607-0809-0A0b0c0d0e0f".to_vec(),
            "(entryUUID=00010203-0405-0607-0809-0a0b0c0d0e0f)",
        ),
        (
            KeyAttribute::NsUniqueId,
            b"00010203-04050607-08090a0b-0c0d0e0f".to_vec(),
            "(nsUniqueId=00010203-04050607-08090a0b-0c0d0e0f)",
        ),
        (
            KeyAttribute::ObjectGuid,
            guid.to_vec(),
            r"(objectGUID=\00\01\02\03\04\05\06\07\08\09\0a\0b\0c\0d\0e\0f)",
        ),
    ] {
        let mut entry = Entry::new(Dn::parse("cn=a").unwrap());
        assert_eq!(
            attribute.key(&entry).map_err(|error| error.kind()),
            Err(ErrorKind::InvalidData)
        );
        entry.push(attribute.name(), &value);
        let key = attribute.key(&entry).unwrap();
        assert_eq!(key.as_bytes(), guid, "{filter}");
        assert_eq!(attribute.filter(&key).unwrap().as_str(), filter);
        entry.push(attribute.name(), &value);
        assert!(attribute.key(&entry).is_err(), "two ids");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), text: String) {
        let _ = (SyncState::parse(&bytes), SyncDone::parse(&bytes), SyncInfo::parse(&bytes), Answer::parse(&bytes));
        let _ = ranges::split(&text);
    }

    /// Nearer to what is expected than bytes at random.
    #[test]
    fn no_elements_panic(
        elements in prop::collection::vec((0_usize..9, prop::collection::vec(any::<u8>(), 0..20)), 0..6),
        outer in 0_usize..9,
    ) {
        const TAGS: [u8; 9] = [0x01, 0x02, 0x04, 0x0a, 0x30, 0x31, 0x80, 0xa1, 0xa3];
        let mut inner = Vec::new();
        for (tag, content) in &elements {
            push(&mut inner, TAGS[*tag], content);
        }
        let mut bytes = Vec::new();
        push(&mut bytes, TAGS[outer], &inner);
        let _ = (SyncState::parse(&bytes), SyncDone::parse(&bytes), SyncInfo::parse(&bytes), Answer::parse(&bytes));
    }

    #[test]
    fn answers_of_dir_sync(more: i32, unused: i32, cookie in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut fields = Vec::new();
        push_number(&mut fields, INTEGER, more.into());
        push_number(&mut fields, INTEGER, unused.into());
        push(&mut fields, OCTETS, &cookie);
        let mut value = Vec::new();
        push(&mut value, SEQUENCE, &fields);
        prop_assert_eq!(Answer::parse(&value), Ok(Answer { more: more != 0, cookie: &cookie }));
    }
}
