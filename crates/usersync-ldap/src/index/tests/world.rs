//! A directory server that forgets nothing and says little: it shows the entries that were written to, as they are.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use usersync_model::{GroupKind, PrincipalKind};

use super::super::{EntryKey, Index, Members};
use super::{entry, key};
use crate::dn::Dn;
use crate::rules::{ClassRule, EntryRules, IdAttribute, IdEncoding, MemberSource};

/// An entry, as the server has it. All texts are in their canonical form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ent {
    pub(super) dn: String,
    /// `user`, `team`, `unit`, `device`, or nothing.
    pub(super) class: &'static str,
    pub(super) id: Option<String>,
    pub(super) cn: Option<String>,
    pub(super) disabled: bool,
    pub(super) logins: BTreeSet<String>,
    pub(super) mails: BTreeSet<String>,
    pub(super) gid: Option<u8>,
    /// DNs of groups.
    pub(super) roles: BTreeSet<String>,
    pub(super) members: BTreeSet<Link>,
    pub(super) member_logins: BTreeSet<String>,
    pub(super) member_mails: BTreeSet<String>,
    /// Finds all entries whose name begins with this letter.
    pub(super) query: Option<char>,
}

/// How a group names a member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Link {
    /// By a DN that stays as it is written.
    Text(String),
    /// By a link that the server keeps, and shows as the DN of the time.
    Silent(u32),
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) ents: BTreeMap<u32, Ent>,
    next: u32,
    silent: bool,
    /// Since the last report.
    touched: BTreeSet<u32>,
    /// At the last report.
    before: BTreeMap<u32, Ent>,
}

/// Something that people do to a directory. Numbers choose among what is there.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Add {
        class: &'static str,
        parent: usize,
        name: char,
        id: usize,
        more: Vec<usize>,
    },
    /// Changes what is in an entry.
    Change {
        at: usize,
        class: Option<&'static str>,
        id: Option<usize>,
        more: Vec<usize>,
    },
    /// Adds a member to a group, or takes one away.
    Member {
        at: usize,
        kind: usize,
        who: usize,
    },
    Remove {
        at: usize,
    },
    /// Renames or moves an entry and all that is below it.
    Rename {
        at: usize,
        parent: usize,
        name: char,
    },
}

pub(super) fn ops() -> impl Strategy<Value = Vec<Vec<Op>>> {
    let class = || {
        prop::sample::select(vec![
            "user", "user", "user", "team", "team", "unit", "unit", "device", "",
        ])
    };
    let name = || prop::sample::select(vec!['a', 'b', 'c', 'd']);
    let more = || prop::collection::vec(0..40_usize, 0..6);
    let number = || 0..30_usize;
    let op = prop_oneof![
        6 => (class(), number(), name(), 0..12_usize, more())
            .prop_map(|(class, parent, name, id, more)| Op::Add { class, parent, name, id, more }),
        3 => (number(), prop::option::weighted(0.3, class()), prop::option::weighted(0.3, 0..12_usize), more())
            .prop_map(|(at, class, id, more)| Op::Change { at, class, id, more }),
        5 => (number(), 0..4_usize, number()).prop_map(|(at, kind, who)| Op::Member { at, kind, who }),
        2 => number().prop_map(|at| Op::Remove { at }),
        4 => (number(), number(), name()).prop_map(|(at, parent, name)| Op::Rename { at, parent, name }),
    ];
    prop::collection::vec(prop::collection::vec(op, 1..7), 1..12)
}

pub(super) fn rules(silent: bool) -> EntryRules {
    let classes = vec![
        ClassRule::ignored("device"),
        ClassRule::new("team", PrincipalKind::Group(GroupKind::UserGroup))
            .with_members(MemberSource::Dn("member".to_owned()))
            .with_members(MemberSource::Login("memberUid".to_owned()))
            .with_members(MemberSource::Address("mailMember".to_owned()))
            .with_members(MemberSource::MemberOf("role".to_owned()))
            .with_members(MemberSource::Query("query".to_owned()))
            .with_members(MemberSource::PrimaryGid),
        ClassRule::new("unit", PrincipalKind::Group(GroupKind::OrgUnit)).with_members(MemberSource::Below),
        ClassRule::new("user", PrincipalKind::User),
    ];
    EntryRules {
        ids: vec![IdAttribute::new("id", IdEncoding::Text)],
        names: vec!["cn".to_owned()],
        classes,
        privileged_groups: vec![Dn::parse("cn=a,dc=x").unwrap()],
        silent_links: silent,
        ..EntryRules::default()
    }
}

impl World {
    pub(super) fn new(silent: bool) -> Self {
        Self {
            ents: BTreeMap::new(),
            next: 0,
            silent,
            touched: BTreeSet::new(),
            before: BTreeMap::new(),
        }
    }

    pub(super) fn act(&mut self, op: &Op) {
        match op {
            Op::Add {
                class,
                parent,
                name,
                id,
                more,
            } => {
                let dn = format!("cn={name},{}", self.parent(*parent));
                // Two entries with one DN only where links do not depend on it.
                if self.silent && self.at(&dn).next().is_some() {
                    return;
                }
                let mut ent = Ent {
                    dn,
                    class,
                    id: (*id < 11).then(|| format!("i{id}")),
                    ..Ent::default()
                };
                self.fill(&mut ent, more);
                self.touched.insert(self.next);
                self.ents.insert(self.next, ent);
                self.next += 1;
            }
            Op::Change { at, class, id, more } => {
                let Some(key) = self.pick(*at) else { return };
                let mut ent = self.ents[&key].clone();
                ent.class = class.unwrap_or(ent.class);
                if let Some(id) = id {
                    ent.id = (*id < 11).then(|| format!("i{id}"));
                }
                self.fill(&mut ent, more);
                self.ents.insert(key, ent);
                self.touched.insert(key);
            }
            Op::Member { at, kind, who } => {
                let teams: Vec<u32> = self
                    .ents
                    .iter()
                    .filter(|(_, e)| e.class == "team")
                    .map(|(k, _)| *k)
                    .collect();
                let Some(&group) = teams.get(at % teams.len().max(1)) else {
                    return;
                };
                let Some(member) = self.pick(*who) else { return };
                let (dn, login, mail) = {
                    let ent = &self.ents[&member];
                    (
                        ent.dn.clone(),
                        ent.logins.first().cloned(),
                        ent.mails.first().cloned(),
                    )
                };
                let link = self.link(member, dn);
                let Some(ent) = self.ents.get_mut(&group) else {
                    return;
                };
                match kind {
                    1 => toggle(&mut ent.member_logins, login.unwrap_or_else(|| format!("l{who}"))),
                    2 => toggle(&mut ent.member_mails, mail.unwrap_or_else(|| format!("m{who}"))),
                    _ => toggle(&mut ent.members, link),
                }
                self.touched.insert(group);
            }
            Op::Remove { at } => {
                // What has entries below it cannot be removed.
                let below = |key: &u32| {
                    let end = format!(",{}", self.ents[key].dn);
                    self.ents.values().any(|ent| ent.dn.ends_with(&end))
                };
                if let Some(key) = self.pick(*at).filter(|key| !below(key)) {
                    self.ents.remove(&key);
                    self.touched.insert(key);
                    for ent in self.ents.values_mut() {
                        ent.members.remove(&Link::Silent(key));
                    }
                }
            }
            Op::Rename { at, parent, name } => self.rename(*at, *parent, *name),
        }
    }

    /// Puts what was written to since the last time into the index, in an order of `seed`'s, and lets it find what
    /// queries find.
    pub(super) fn report(&mut self, index: &mut Index, seed: u64) {
        let mut touched: Vec<u32> = std::mem::take(&mut self.touched).into_iter().collect();
        touched.sort_by_key(|key| u64::from(*key + 1).wrapping_mul(seed | 1).rotate_left(17));
        for number in touched {
            let Some(ent) = self.ents.get(&number) else {
                index.remove(&key(number));
                continue;
            };
            // Of an entry without an id no members are known.
            let old = self
                .before
                .get(&number)
                .filter(|old| old.class == ent.class && old.id.is_some());
            match old {
                // Lists that are the same need not be told again, and changes can be told one by one.
                Some(old) if !(u64::from(number) ^ seed).is_multiple_of(3) => {
                    index.upsert(key(number), &self.entry(ent, false), Members::Kept);
                    let (was, is) = (self.lists(&self.before, old), self.lists(&self.ents, ent));
                    for attribute in ["member", "memberUid", "mailMember"] {
                        let of = |list: &BTreeSet<(&'static str, String)>| -> BTreeSet<String> {
                            list.iter()
                                .filter(|(name, _)| *name == attribute)
                                .map(|(_, text)| text.clone())
                                .collect()
                        };
                        let (added, removed) = self.differences(attribute, old, ent, &of(&was), &of(&is));
                        index.change_members(&key(number), attribute, &added, &removed);
                    }
                }
                _ => index.upsert(key(number), &self.entry(ent, true), Members::Given),
            }
        }
        self.answer(index);
        self.before = self.ents.clone();
    }

    /// A new index of everything.
    pub(super) fn read(&self) -> Index {
        let mut index = super::index(&rules(self.silent));
        for (number, ent) in self.ents.iter().rev() {
            index.upsert(key(number), &self.entry(ent, true), Members::Given);
        }
        self.answer(&mut index);
        index
    }

    pub(super) fn found(&self, letter: char) -> impl Iterator<Item = u32> {
        self.ents
            .iter()
            .filter(move |(_, ent)| ent.dn.starts_with(&format!("cn={letter}")))
            .map(|(key, _)| *key)
    }

    pub(super) fn text(&self, link: &Link) -> String {
        text_in(&self.ents, link)
    }

    fn answer(&self, index: &mut Index) {
        let queries: Vec<(EntryKey, String, char)> = index
            .queries()
            .map(|query| {
                let letter = query.texts[0].chars().next().unwrap();
                (query.group.clone(), query.attribute.to_owned(), letter)
            })
            .collect();
        for (group, attribute, letter) in queries {
            index.set_found(&group, &attribute, self.found(letter).map(key).collect());
        }
    }

    /// What was added and removed by somebody who wrote to the group; links that went with their members are not.
    fn differences(
        &self,
        attribute: &str,
        old: &Ent,
        new: &Ent,
        was: &BTreeSet<String>,
        is: &BTreeSet<String>,
    ) -> (Vec<String>, Vec<String>) {
        if attribute != "member" || !self.silent {
            let added = is.difference(was).cloned().collect();
            return (added, was.difference(is).cloned().collect());
        }
        let gone = |link: &&Link| matches!(link, Link::Silent(key) if !self.ents.contains_key(key));
        let added = new
            .members
            .difference(&old.members)
            .map(|link| self.text(link))
            .collect();
        let removed = old.members.difference(&new.members).filter(|link| !gone(link));
        (added, removed.map(|link| self.text(link)).collect())
    }

    fn lists(&self, ents: &BTreeMap<u32, Ent>, ent: &Ent) -> BTreeSet<(&'static str, String)> {
        let members = ent.members.iter().map(|link| ("member", text_in(ents, link)));
        let logins = ent.member_logins.iter().map(|text| ("memberUid", text.clone()));
        let mails = ent.member_mails.iter().map(|text| ("mailMember", text.clone()));
        members.chain(logins).chain(mails).collect()
    }

    fn entry(&self, ent: &Ent, with_members: bool) -> crate::entry::Entry {
        let mut lines = Vec::new();
        let mut add = |attribute: &str, value: &str| lines.push(format!("{attribute}: {value}"));
        if !ent.class.is_empty() {
            add("objectClass", ent.class);
        }
        ent.id.iter().for_each(|id| add("id", id));
        ent.cn.iter().for_each(|cn| add("cn", cn));
        if ent.disabled {
            add("nsAccountLock", "TRUE");
        }
        ent.logins.iter().for_each(|text| add("uid", text));
        ent.mails.iter().for_each(|text| add("mail", text));
        ent.gid.iter().for_each(|gid| add("gidNumber", &gid.to_string()));
        ent.roles.iter().for_each(|dn| add("role", dn));
        ent.query
            .iter()
            .for_each(|letter| add("query", &letter.to_string()));
        if with_members {
            self.lists(&self.ents, ent)
                .iter()
                .for_each(|(attribute, text)| add(attribute, text));
        }
        entry(&ent.dn, &lines.join("\n"))
    }

    /// As in a real tree: no two entries have the name, nothing is where it goes, and it does not go below itself.
    fn rename(&mut self, at: usize, parent: usize, name: char) {
        let Some(key) = self.pick(at) else { return };
        let (old, new) = (
            self.ents[&key].dn.clone(),
            format!("cn={name},{}", self.parent(parent)),
        );
        let is_in = |dn: &str, place: &str| dn == place || dn.ends_with(&format!(",{place}"));
        let alone =
            |ents: &BTreeMap<u32, Ent>, dn: &str| ents.values().filter(|ent| ent.dn == dn).count() == 1;
        let Some(before) = self.before.get(&key) else {
            return;
        };
        if is_in(&new, &old)
            || !alone(&self.ents, &old)
            || !alone(&self.before, &before.dn)
            || self.ents.values().any(|ent| is_in(&ent.dn, &new))
        {
            return;
        }
        for (other, ent) in &mut self.ents {
            if let Some(rest) = ent
                .dn
                .strip_suffix(&old)
                .filter(|rest| rest.is_empty() || rest.ends_with(','))
            {
                ent.dn = format!("{rest}{new}");
                if *other == key {
                    self.touched.insert(key);
                }
            }
        }
    }

    fn fill(&self, ent: &mut Ent, more: &[usize]) {
        for &number in more {
            let small = number / 10;
            match number % 10 {
                0 => toggle(&mut ent.logins, format!("l{small}")),
                1 => toggle(&mut ent.mails, format!("m{small}")),
                2 => ent.gid = u8::try_from(small).ok().filter(|_| ent.gid.is_none()),
                3 => ent.disabled = !ent.disabled,
                4 => ent.cn = Some(format!("n{small}")).filter(|_| ent.cn.is_none()),
                5 => ent.query = ['a', 'b'].get(small).copied(),
                6 => toggle(&mut ent.member_logins, format!("l{small}")),
                7 => toggle(&mut ent.member_mails, format!("m{small}")),
                8 => {
                    let dn = self.pick(small).map(|key| self.ents[&key].dn.clone());
                    dn.into_iter().for_each(|dn| toggle(&mut ent.roles, dn));
                }
                _ if self.silent => {
                    let key = self.pick(number);
                    key.into_iter()
                        .for_each(|key| toggle(&mut ent.members, Link::Silent(key)));
                }
                _ => {
                    let dn = if small == 0 {
                        String::new()
                    } else {
                        format!("cn={},dc=x", ['a', 'b', 'c'][small % 3])
                    };
                    toggle(&mut ent.members, Link::Text(dn));
                }
            }
        }
    }

    fn link(&self, key: u32, dn: String) -> Link {
        if self.silent {
            Link::Silent(key)
        } else {
            Link::Text(dn)
        }
    }

    fn parent(&self, at: usize) -> String {
        let mut parents = vec!["dc=x".to_owned(), "dc=x".to_owned(), "cn=void,dc=x".to_owned()];
        parents.extend(
            self.ents
                .values()
                .filter(|ent| ent.dn.len() < 40)
                .map(|ent| ent.dn.clone()),
        );
        parents.swap_remove(at % parents.len())
    }

    fn at(&self, dn: &str) -> impl Iterator<Item = &Ent> {
        self.ents.values().filter(move |ent| ent.dn == dn)
    }

    fn pick(&self, at: usize) -> Option<u32> {
        self.ents.keys().nth(at % self.ents.len().max(1)).copied()
    }
}

fn text_in(ents: &BTreeMap<u32, Ent>, link: &Link) -> String {
    match link {
        Link::Text(text) => text.clone(),
        Link::Silent(key) => ents[key].dn.clone(),
    }
}

fn toggle<T: Ord>(set: &mut BTreeSet<T>, value: T) {
    if !set.remove(&value) {
        set.insert(value);
    }
}
