//! What tests of whole reads share: a small directory, and the messages of a server about it.

use std::collections::BTreeMap;
use std::time::Duration;

use usersync_connector::ErrorKind;

use super::replica::Replica;
use super::server::{Asked, Log, Say, entry, with_server};
use crate::changes::content_sync::Dialect;
use crate::changes::cookie::DirSyncCookie;
use crate::changes::{Changes, Cookie, KeyAttribute, Spec, Way};
use crate::client::ber::{ENUMERATED, INTEGER, OCTETS, SEQUENCE, SET, push, push_boolean, push_number};
use crate::client::{PageLimits, Session, oid};
use crate::dn::Dn;
use crate::entry::Entry;
use crate::filter::Filter;
use crate::index::EntryKey;
use crate::url::Scope;

pub(super) const BASE: &str = "ou=all,dc=x";
pub(super) const INFO: &str = "1.3.6.1.4.1.4203.1.9.1.4";
pub(super) const NOW: u64 = 1_800_000_000;

pub(super) fn changes(way: Way) -> Changes {
    let key = match way {
        Way::ContentSync(Dialect::Ds389) => KeyAttribute::NsUniqueId,
        Way::DirSync(_) | Way::PollUsn => KeyAttribute::ObjectGuid,
        _ => KeyAttribute::EntryUuid,
    };
    Changes {
        spec: Spec {
            base: Dn::parse(BASE).unwrap(),
            scope: Scope::Subtree,
            filter: Filter::parse("(kind=*)").unwrap(),
            attributes: ["cn", "member"].map(str::to_owned).to_vec(),
            member_attributes: vec!["member".to_owned()],
            controls: Vec::new(),
            key,
            page: PageLimits {
                size: 100,
                entries: 20,
                pages: 10,
            },
            values: 100,
            full_every: Duration::from_secs(3600),
        },
        way,
        after_everything: false,
    }
}

pub(super) fn standard() -> Changes {
    changes(Way::ContentSync(Dialect::Standard))
}

pub(super) fn of_domain() -> Changes {
    changes(Way::DirSync(Dn::parse("dc=x").unwrap()))
}

pub(super) fn key(n: u8) -> EntryKey {
    EntryKey::new(&[n; 16])
}

/// What is known: `(key, name, members)`.
pub(super) fn known(entries: &[(u8, &str, &[&str])]) -> Replica {
    let mut replica = Replica::new(&["member"]);
    for (n, name, members) in entries {
        let mut entry = Entry::new(Dn::parse(&format!("{name},{BASE}")).unwrap());
        for member in *members {
            entry.push("member", format!("{member},{BASE}").as_bytes());
        }
        replica.put(key(*n), &entry);
    }
    replica
}

/// Names and numbers of members by key.
pub(super) type Shown = BTreeMap<u8, (String, usize)>;

pub(super) fn shown(replica: &Replica) -> Shown {
    let entries = replica.entries.iter();
    let shown = entries.map(|(key, (dn, values))| {
        let name = dn.key().split(',').next().unwrap_or_default().to_owned();
        (
            key.as_bytes()[0],
            (name, values.get("member").map_or(0, |members| members.len())),
        )
    });
    shown.collect()
}

/// Reads on from `cookie`: the copy afterwards, the cookie, and how many searches it took.
pub(super) fn since(
    changes: Changes,
    cookie: Cookie,
    before: Replica,
    script: impl FnMut(&Asked) -> Vec<Say> + Send + 'static,
) -> Result<(Shown, Cookie, usize), ErrorKind> {
    since_at(NOW, changes, cookie, before, script)
}

/// The same at another time than [`NOW`].
pub(super) fn since_at(
    now: u64,
    changes: Changes,
    cookie: Cookie,
    before: Replica,
    script: impl FnMut(&Asked) -> Vec<Say> + Send + 'static,
) -> Result<(Shown, Cookie, usize), ErrorKind> {
    with_server(script, |mut session: Session, log: Log| async move {
        let mut after = before.clone();
        let mut sink = |delta| {
            after.apply(delta);
            Ok(())
        };
        let next = changes
            .since(&mut session, &cookie, now, &before, &mut sink)
            .await;
        let next = next.map_err(|error| error.kind())?;
        let searches = log.lock().unwrap().len();
        Ok((shown(&after), next, searches))
    })
}

pub(super) fn sync(cookie: &str) -> Cookie {
    Cookie::ContentSync(cookie.into())
}

/// The cookie that a domain controller gave at that time.
pub(super) fn dir_sync(cookie: u8, given: u64) -> Cookie {
    Cookie::DirSync(DirSyncCookie {
        server: vec![cookie],
        given,
    })
}

pub(super) fn state(n: u8, state: i64) -> Vec<u8> {
    let mut fields = Vec::new();
    push_number(&mut fields, ENUMERATED, state);
    push(&mut fields, OCTETS, &[n; 16]);
    wrapped(&fields)
}

pub(super) fn wrapped(fields: &[u8]) -> Vec<u8> {
    let mut value = Vec::new();
    push(&mut value, SEQUENCE, fields);
    value
}

pub(super) fn ids(ids: &[u8], deletes: bool) -> Say {
    let (mut fields, mut set) = (Vec::new(), Vec::new());
    for id in ids {
        push(&mut set, OCTETS, &[*id; 16]);
    }
    push_boolean(&mut fields, deletes);
    push(&mut fields, SET, &set);
    let mut value = Vec::new();
    push(&mut value, 0xa3, &fields);
    Say::Info(INFO, value)
}

pub(super) fn sync_end(code: u8, cookie: &str, deletes: bool) -> Say {
    let mut fields = Vec::new();
    if !cookie.is_empty() {
        push(&mut fields, OCTETS, cookie.as_bytes());
    }
    push_boolean(&mut fields, deletes);
    Say::Done(code, vec![(oid::SYNC_DONE, wrapped(&fields))])
}

/// An entry below the base with the key `n` in every form.
pub(super) fn object(n: u8, name: &str, more: &[(&str, &[&[u8]])]) -> Say {
    let hex = format!("{n:02x}").repeat(16);
    let (uuid, guid) = (hex.into_bytes(), [n; 16]);
    let ids: [(&str, &[&[u8]]); 3] = [
        ("entryUUID", &[&uuid]),
        ("nsUniqueId", &[&uuid]),
        ("objectGUID", &[&guid]),
    ];
    let attributes: Vec<_> = ids.iter().chain(more).copied().collect();
    let name = if name.contains(',') {
        name.to_owned()
    } else {
        format!("{name},{BASE}")
    };
    entry(&name, &attributes)
}

/// As DirSync shows it, which leaves out what did not change.
pub(super) fn changed(n: u8, name: &str, more: &[(&str, &[&[u8]])]) -> Say {
    let Say::Entry {
        dn, mut attributes, ..
    } = object(n, name, more)
    else {
        panic!("not an entry");
    };
    attributes.retain(|(name, _)| name != "entryUUID" && name != "nsUniqueId");
    Say::Entry {
        dn,
        attributes,
        controls: Vec::new(),
    }
}

pub(super) fn with_state(say: Say, n: u8, number: i64) -> Say {
    let Say::Entry { dn, attributes, .. } = say else {
        panic!("not an entry");
    };
    Say::Entry {
        dn,
        attributes,
        controls: vec![(oid::SYNC_STATE, state(n, number))],
    }
}

pub(super) fn is_sync(asked: &Asked) -> bool {
    asked.control(oid::SYNC_REQUEST).is_some()
}

pub(crate) fn dir_sync_end(more: bool, cookie: &[u8]) -> Say {
    let mut fields = Vec::new();
    push_number(&mut fields, INTEGER, more.into());
    push_number(&mut fields, INTEGER, 0);
    push(&mut fields, OCTETS, cookie);
    Say::Done(0, vec![(oid::DIRSYNC, wrapped(&fields))])
}
