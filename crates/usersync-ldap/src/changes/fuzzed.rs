//! What servers say between entries: controls, ranges in the names of attributes, times and keys.

use super::content_sync::codec::{State, SyncDone, SyncInfo, SyncState, Uuid};
use super::cookie::MAX_SERVER_COOKIE;
use super::dir_sync::codec::Answer;
use super::keys::KeyAttribute;
use super::poll::clock;
use super::ranges;
use crate::client::Control;
use crate::client::ber::{
    self, ENUMERATED, Elements, INTEGER, OCTETS, SEQUENCE, SET, push, push_boolean, push_number,
};
use crate::dn::Dn;
use crate::entry::Entry;
use crate::filter::Filter;

/// The value of a control, the name of an attribute, a time, or a key: the same bytes for all of them.
pub fn ldap_controls(data: &[u8]) {
    elements(data);
    sync(data);
    if let Ok(answer) = Answer::parse(data) {
        let mut fields = Vec::new();
        push_number(&mut fields, INTEGER, answer.more.into());
        push_number(&mut fields, INTEGER, 0);
        push(&mut fields, OCTETS, answer.cookie);
        assert_eq!(Answer::parse(&within(SEQUENCE, &fields)), Ok(answer));
        assert!(answer.cookie.len() <= MAX_SERVER_COOKIE);
    }
    if let Ok(cookie) = Control::new("1.1").with_value(data.to_vec()).page_cookie() {
        assert_eq!(Control::page(7, &cookie).page_cookie(), Ok(cookie));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        range(text);
        time(text);
    }
    keys(data);
}

/// Nesting, counted as whoever takes elements apart one in the other would.
fn elements(data: &[u8]) {
    const DEPTH: usize = 12;
    fn count(data: &[u8], depth: usize) -> Option<usize> {
        let mut elements = Elements::new(data);
        let mut counted = 0;
        while let Some(element) = elements.next().ok()? {
            counted += 1;
            if element.is_constructed() {
                counted += count(element.content, depth.checked_sub(1).filter(|&depth| depth > 0)?)?;
            }
        }
        Some(counted)
    }
    let counted = ber::check_nesting(data, DEPTH).ok();
    assert_eq!(counted, count(data, DEPTH));
    assert!(counted.is_none_or(|counted| 2 * counted <= data.len()));
    if let Ok(Some(header)) = ber::header(data) {
        assert!(header.octets <= data.len() && header.whole() >= header.octets);
    }
    if let Ok(Some(element)) = Elements::new(data).next() {
        assert_eq!(
            Elements::new(&within(element.tag, element.content)).next(),
            Ok(Some(element))
        );
        if let Ok(number) = element.integer() {
            let mut written = Vec::new();
            push_number(&mut written, element.tag, number);
            let read = Elements::new(&written).next();
            assert_eq!(
                read.map(|read| read.map(ber::Element::integer)),
                Ok(Some(Ok(number)))
            );
        }
    }
}

fn sync(data: &[u8]) {
    let cookie = |fields: &mut Vec<u8>, cookie: Option<&[u8]>| {
        if let Some(cookie) = cookie {
            assert!(cookie.len() <= MAX_SERVER_COOKIE);
            push(fields, OCTETS, cookie);
        }
    };
    let mut fields = Vec::new();
    if let Ok(state) = SyncState::parse(data) {
        let number = match state.state {
            State::Present => 0,
            State::Add => 1,
            State::Modify => 2,
            State::Delete => 3,
        };
        push_number(&mut fields, ENUMERATED, number);
        push(&mut fields, OCTETS, &state.uuid);
        cookie(&mut fields, state.cookie);
        assert_eq!(SyncState::parse(&within(SEQUENCE, &fields)), Ok(state));
        fields.clear();
    }
    if let Ok(done) = SyncDone::parse(data) {
        cookie(&mut fields, done.cookie);
        push_boolean(&mut fields, done.refresh_deletes);
        assert_eq!(SyncDone::parse(&within(SEQUENCE, &fields)), Ok(done));
        fields.clear();
    }
    let Ok(info) = SyncInfo::parse(data) else {
        return;
    };
    let tag = match &info {
        SyncInfo::IdSet {
            cookie: begin,
            refresh_deletes,
            uuids,
        } => {
            assert!(uuids.len() * size_of::<Uuid>() <= data.len());
            cookie(&mut fields, *begin);
            push_boolean(&mut fields, *refresh_deletes);
            let set: Vec<u8> = uuids.iter().flat_map(|uuid| within(OCTETS, uuid)).collect();
            push(&mut fields, SET, &set);
            0xa3
        }
        SyncInfo::NewCookie(cookie) => {
            fields.extend_from_slice(cookie);
            0x80
        }
        SyncInfo::RefreshDelete { cookie: begin, done }
        | SyncInfo::RefreshPresent { cookie: begin, done } => {
            cookie(&mut fields, *begin);
            push_boolean(&mut fields, *done);
            if matches!(info, SyncInfo::RefreshDelete { .. }) {
                0xa1
            } else {
                0xa2
            }
        }
    };
    assert_eq!(SyncInfo::parse(&within(tag, &fields)).as_ref(), Ok(&info));
}

fn within(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push(&mut out, tag, content);
    out
}

fn range(text: &str) {
    let Ok((name, range)) = ranges::split(text) else {
        assert!(text.to_ascii_lowercase().contains(";range="));
        return;
    };
    assert!(name.len() <= text.len());
    match range {
        None => assert_eq!(name, text),
        Some(range) => {
            let high = range.high.map_or("*".to_owned(), |high| high.to_string());
            let written = format!("{name};range={}-{high}", range.low);
            assert_eq!(ranges::split(&written), Ok((name, Some(range))));
            assert!(range.high.is_none_or(|high| range.low <= high));
        }
    }
}

fn time(text: &str) {
    let Some(seconds) = clock::seconds(text) else {
        assert_eq!(clock::second(text), None);
        return;
    };
    assert_eq!(clock::seconds(&clock::text(seconds)), Some(seconds));
    let second = clock::second(text).expect("what is a time has a second");
    assert_eq!(clock::seconds(&second), Some(seconds));
    assert_eq!(clock::second(&second), Some(second));
}

fn keys(data: &[u8]) {
    for attribute in [
        KeyAttribute::EntryUuid,
        KeyAttribute::NsUniqueId,
        KeyAttribute::ObjectGuid,
    ] {
        let entry = |value: &[u8]| {
            let mut entry = Entry::new(Dn::parse("cn=a").expect("a name"));
            entry.push(attribute.name(), value);
            entry
        };
        let Ok(key) = attribute.key(&entry(data)) else {
            continue;
        };
        let filter = attribute.filter(&key).expect("a key makes a short filter");
        assert_eq!(Filter::parse(filter.as_str()).as_ref(), Ok(&filter));
        if attribute == KeyAttribute::ObjectGuid {
            continue;
        }
        let written = filter
            .as_str()
            .split_once('=')
            .and_then(|(_, value)| value.strip_suffix(')'));
        let written = written.expect("`(attribute=value)`");
        assert_eq!(attribute.key(&entry(written.as_bytes())).ok(), Some(key));
    }
}
