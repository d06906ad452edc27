//! What the index says, against itself and against a plain reading of all entries.

mod cost;
mod histories;
mod meanings;
mod oracle;
mod world;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use usersync_model::{DirectoryChange, ObjectId, Principal, SystemId};

use super::{EntryKey, Index, Settled};
use crate::dn::Dn;
use crate::entry::Entry;
use crate::rules::EntryRules;

thread_local! {
    static LOOKS: Cell<u64> = const { Cell::new(0) };
}

/// Counts how often an entry is looked at.
pub(super) fn count_look() {
    LOOKS.with(|looks| looks.set(looks.get() + 1));
}

fn looks() -> u64 {
    LOOKS.with(Cell::get)
}

fn index(rules: &EntryRules) -> Index {
    Index::new(SystemId::new("ldap").unwrap(), Arc::new(rules.clone()))
}

fn key(name: impl ToString) -> EntryKey {
    EntryKey::new(name.to_string().as_bytes())
}

/// An entry of `attribute: value` lines.
fn entry(dn: &str, lines: &str) -> Entry {
    let mut entry = Entry::new(Dn::parse(dn).unwrap());
    for line in lines.lines() {
        let (attribute, value) = line.split_once(": ").unwrap();
        entry.push(attribute.trim(), value.as_bytes());
    }
    entry
}

/// What a consumer knows who applies changes one by one, and insists that each of them is right and needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Consumer {
    principals: BTreeMap<ObjectId, Principal>,
    members: BTreeSet<(ObjectId, ObjectId)>,
}

impl Consumer {
    fn apply(&mut self, changes: &[DirectoryChange]) {
        for change in changes {
            match change {
                DirectoryChange::Upsert(principal) => {
                    let old = self.principals.insert(principal.id.clone(), principal.clone());
                    let old = old.as_ref();
                    assert_ne!(old, Some(principal), "nothing changed");
                    let kind = old.map_or(principal.kind, |old| old.kind);
                    assert_eq!(
                        std::mem::discriminant(&kind),
                        std::mem::discriminant(&principal.kind),
                        "what turns into something else is removed first"
                    );
                }
                DirectoryChange::Removed(id) => {
                    assert!(self.principals.remove(id).is_some(), "{id} was not there");
                    self.members.retain(|(group, member)| group != id && member != id);
                }
                DirectoryChange::Members { group, members, .. } => {
                    assert!(self.principals[group].kind.is_group());
                    for member in members {
                        assert!(self.principals.contains_key(member), "{member} is not there");
                        assert!(
                            self.members.insert((group.clone(), member.clone())),
                            "{member} is a member already"
                        );
                    }
                }
                DirectoryChange::MembersRemoved { group, members, .. } => {
                    for member in members {
                        assert!(
                            self.members.remove(&(group.clone(), member.clone())),
                            "{member} was no member"
                        );
                    }
                }
                DirectoryChange::MembersReset { .. } => panic!("the index says exactly what changed"),
            }
        }
    }
}

/// `id kind[!][*]` of principals (inactive, privileged) and `group=member,member`.
fn show(changes: &[DirectoryChange]) -> String {
    let ids = |ids: &[ObjectId]| -> String { ids.iter().map(ObjectId::as_str).collect::<Vec<_>>().join(",") };
    let words = changes.iter().map(|change| match change {
        DirectoryChange::Upsert(p) => {
            let inactive = if p.activity == usersync_model::Activity::Inactive {
                "!"
            } else {
                ""
            };
            let privileged = if p.privileged { "*" } else { "" };
            format!("{}:{}{inactive}{privileged}", p.id, p.kind.code())
        }
        DirectoryChange::Removed(id) => format!("-{id}"),
        DirectoryChange::Members { group, members, .. } => format!("{group}={}", ids(members)),
        DirectoryChange::MembersRemoved { group, members, .. } => format!("{group}-={}", ids(members)),
        DirectoryChange::MembersReset { group } => format!("{group}=?"),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn codes(settled: &Settled) -> String {
    settled
        .warnings
        .iter()
        .map(|warning| warning.code())
        .collect::<Vec<_>>()
        .join(" ")
}

fn partial(settled: &Settled) -> String {
    let groups = settled
        .partial
        .iter()
        .map(|(id, reason)| format!("{id}:{}", reason.kind.code()));
    groups.collect::<Vec<_>>().join(" ")
}
