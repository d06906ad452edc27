//! What follows from a list of entries, by nested loops over texts.

use std::collections::{BTreeMap, BTreeSet};

use usersync_model::{Activity, GroupKind, ObjectId, PartialKind, Principal, PrincipalKind};

use super::Consumer;
use super::world::{Ent, World};

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) consumer: Consumer,
    /// The kinds of flaws: of groups, and of the whole.
    pub(super) partial: BTreeMap<String, PartialKind>,
    pub(super) flaw: Option<PartialKind>,
    /// By group: members that were skipped, and that are unknown.
    pub(super) counts: BTreeMap<String, (usize, usize)>,
}

enum Who {
    Nobody,
    Other,
    One(u32),
    Unknown,
}

pub(super) fn expected(world: &World) -> Expected {
    let ents = &world.ents;
    let is_principal = |ent: &Ent| ["user", "team", "unit"].contains(&ent.class) && ent.id.is_some();
    let is_shown = |key: u32| {
        let ent = &ents[&key];
        is_principal(ent)
            && ents
                .values()
                .filter(|other| is_principal(other) && other.id == ent.id)
                .count()
                == 1
    };
    let id = |key: u32| ObjectId::new(ents[&key].id.as_ref().unwrap()).unwrap();
    // Of those who have a name: the principals, and whether there are others.
    let only = |principals: Vec<u32>, others: bool| match principals[..] {
        [one] if !others && is_shown(one) => Who::One(one),
        [] if others => Who::Other,
        _ => Who::Unknown,
    };
    let with = |has: &dyn Fn(&Ent) -> bool| -> Vec<u32> {
        ents.iter()
            .filter(|(_, ent)| is_principal(ent) && has(ent))
            .map(|(key, _)| *key)
            .collect()
    };
    let by_dn = |dn: &str| match dn {
        "" => Who::Nobody,
        _ => only(
            with(&|ent| ent.dn == dn),
            ents.values().any(|ent| ent.dn == dn && ent.class == "device"),
        ),
    };

    let mut expected = Expected::default();
    let mut pairs = BTreeSet::new();
    for (&group, ent) in ents
        .iter()
        .filter(|&(&key, ent)| ent.class == "team" && is_shown(key))
    {
        let dns = ent
            .members
            .iter()
            .map(|link| world.text(link))
            .map(|dn| (dn.clone(), by_dn(&dn)));
        let logins = ent.member_logins.iter().map(|login| {
            let who = only(
                with(&|ent| ent.class == "user" && ent.logins.contains(login)),
                false,
            );
            (login.clone(), who)
        });
        let mails = ent
            .member_mails
            .iter()
            .map(|mail| (mail.clone(), only(with(&|ent| ent.mails.contains(mail)), false)));
        let found = ent
            .query
            .into_iter()
            .flat_map(|letter| world.found(letter))
            .map(|key| {
                let ent = &ents[&key];
                let who = if is_shown(key) {
                    Who::One(key)
                } else if ent.class == "device" {
                    Who::Other
                } else {
                    Who::Unknown
                };
                (format!("#{key}"), who)
            });
        let (mut skipped, mut unknown) = (BTreeSet::new(), BTreeSet::new());
        for (text, who) in dns.chain(logins).chain(mails).chain(found) {
            match who {
                Who::Nobody => {}
                Who::One(member) => {
                    pairs.insert((group, member));
                }
                Who::Other => {
                    skipped.insert(text);
                }
                Who::Unknown => {
                    unknown.insert(text);
                }
            }
        }
        let mut shares_gid = false;
        for (&member, other) in ents.iter().filter(|&(&key, _)| is_shown(key)) {
            let has_role = |dn: &String| matches!(by_dn(dn), Who::One(one) if one == group);
            if other.class == "user" && other.roles.iter().any(has_role) {
                pairs.insert((group, member));
            }
            if ent.gid.is_some() && ent.gid == other.gid && other.class == "user" {
                let sharing = with(&|ent| ent.class == "team" && ent.gid == other.gid);
                if sharing.len() == 1 {
                    pairs.insert((group, member));
                }
            }
        }
        if ent.gid.is_some() && with(&|other| other.class == "team" && other.gid == ent.gid).len() > 1 {
            shares_gid = true;
        }
        let name = ent.id.clone().unwrap();
        if shares_gid {
            expected.partial.insert(name.clone(), PartialKind::Contradiction);
        } else if !unknown.is_empty() {
            expected.partial.insert(name.clone(), PartialKind::UnknownMember);
        }
        if !skipped.is_empty() || !unknown.is_empty() {
            expected.counts.insert(name, (skipped.len(), unknown.len()));
        }
    }
    for (&member, ent) in ents
        .iter()
        .filter(|&(&key, ent)| ["user", "unit"].contains(&ent.class) && is_shown(key))
    {
        let mut dn = &ent.dn[..];
        while let Some((_, above)) = dn.split_once(',') {
            dn = above;
            let there = with(&|ent| ent.dn == dn);
            let others = ents.values().any(|ent| ent.dn == dn && ent.class == "device");
            match there[..] {
                [unit] if !others && ents[&unit].class == "unit" => {
                    if is_shown(unit) {
                        pairs.insert((unit, member));
                    }
                    break;
                }
                [_] if !others => {}
                [] => {}
                _ => break,
            }
        }
    }

    let mut privileged = BTreeSet::new();
    let root = by_dn("cn=a,dc=x");
    if let Who::One(root) = root {
        privileged.insert(root);
        while let Some(&(_, more)) = pairs
            .iter()
            .find(|(group, member)| privileged.contains(group) && !privileged.contains(member))
        {
            privileged.insert(more);
        }
    }
    for (&key, ent) in ents.iter().filter(|&(&key, _)| is_shown(key)) {
        let kind = match ent.class {
            "user" => PrincipalKind::User,
            "team" => PrincipalKind::Group(GroupKind::UserGroup),
            _ => PrincipalKind::Group(GroupKind::OrgUnit),
        };
        let name = ent.cn.as_ref().unwrap_or(&ent.dn);
        let principal = Principal::new(id(key), kind, name)
            .with_activity(if ent.disabled {
                Activity::Inactive
            } else {
                Activity::Active
            })
            .with_privileged(kind == PrincipalKind::User && privileged.contains(&key));
        expected
            .consumer
            .principals
            .insert(principal.id.clone(), principal);
    }
    expected.consumer.members = pairs
        .into_iter()
        .map(|(group, member)| (id(group), id(member)))
        .collect();

    let has = |is: &dyn Fn(u32, &Ent) -> bool| ents.iter().any(|(key, ent)| is(*key, ent));
    let is_double = |_: u32, ent: &Ent| {
        let there = with(&|other| other.dn == ent.dn).len();
        there > 1
            || there == 1
                && ents
                    .values()
                    .any(|other| other.dn == ent.dn && other.class == "device")
    };
    let is_disputed = |key: u32, ent: &Ent| is_principal(ent) && !is_shown(key);
    let is_lacking = |_: u32, ent: &Ent| ent.class.is_empty() || ent.class != "device" && ent.id.is_none();
    expected.flaw = if has(&is_double) || has(&is_disputed) {
        Some(PartialKind::Contradiction)
    } else if has(&is_lacking) || !matches!(root, Who::One(_)) {
        Some(PartialKind::Unreadable)
    } else {
        None
    };
    expected
}
