//! What changed between two states, and what is wrong with the present one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use usersync_connector::CHUNK_ENTRIES;
use usersync_model::{DirectoryChange, ObjectId, PartialKind, PartialReason, Principal, PrincipalKind};

use super::names::{Claim, Meaning, NameKind};
use super::node::{Missing, Node};
use super::state::{Named, State};
use super::tree::Tree;
use super::{DirectoryWarning, Index, Settled};
use crate::rules::MemberSource;

/// What a settlement says of the present state, and what the next one needs of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    /// Below the privileged groups, and these.
    pub(super) privileged: Tree<u32>,
    /// Groups, and names that mean no principal.
    pub(super) skipped: Tree<(u32, u32)>,
    pub(super) unknown: Tree<(u32, u32)>,
    /// Entries that show no object class, and those without an id.
    pub(super) missing_class: Tree<u32>,
    pub(super) missing_id: Tree<u32>,
    /// DNs that several entries have, and entries that share their id.
    pub(super) shared_dns: Tree<u32>,
    pub(super) disputed: Tree<u32>,
    /// What follows from the last four.
    pub(super) head: Arc<Vec<DirectoryWarning>>,
    /// What is wrong with groups.
    pub(super) flaws: Arc<BTreeMap<ObjectId, Arc<Flaws>>>,
}

/// What is wrong with one group.
#[derive(Debug)]
pub(super) struct Flaws {
    warnings: Vec<DirectoryWarning>,
    partial: Option<PartialReason>,
}

impl Index {
    /// Says what changed since the last time, or everything the first time, and what is wrong now.
    pub(crate) fn settle(&mut self) -> Settled {
        self.end_loading();
        if !self.settled {
            self.first_weight = self.weight();
        }
        let changes = if self.settled {
            self.move_along();
            let touched = std::mem::take(&mut self.touched);
            self.settle_touched(touched)
        } else {
            self.settle_all()
        };
        self.settled = true;
        self.before = self.now.clone();
        self.settled(changes)
    }

    fn settled(&self, changes: Vec<DirectoryChange>) -> Settled {
        let missing: Vec<DirectoryWarning> = self.missing_privileged_groups().collect();
        let head = &self.report.head;
        let of_groups = self.report.flaws.values();
        let contradiction = head.iter().find(|warning| {
            matches!(
                warning,
                DirectoryWarning::DuplicateDn { .. } | DirectoryWarning::DuplicateId { .. }
            )
        });
        let unreadable = head.iter().chain(&missing).next();
        let flaw = contradiction
            .map(|warning| (PartialKind::Contradiction, warning))
            .or_else(|| unreadable.map(|warning| (PartialKind::Unreadable, warning)))
            .map(|(kind, warning)| PartialReason::new(kind, warning.to_string()));
        let partial = self.report.flaws.iter().filter_map(|(id, flaws)| {
            let reason = flaws.partial.clone()?;
            Some((id.clone(), reason))
        });
        Settled {
            changes,
            partial: partial.collect(),
            flaw,
            warnings: head
                .iter()
                .chain(of_groups.flat_map(|flaws| &flaws.warnings))
                .chain(&missing)
                .cloned()
                .collect(),
        }
    }

    fn settle_all(&mut self) -> Vec<DirectoryChange> {
        let now = &self.now;
        let mut shown: Vec<(u32, &Principal)> = (0..now.len())
            .filter_map(|slot| Some((slot, now.shown(slot)?)))
            .collect();
        shown.sort_unstable_by(|(_, a), (_, b)| a.id.cmp(&b.id));
        let mut places = vec![u32::MAX; now.len() as usize];
        for (place, (slot, _)) in (0..).zip(&shown) {
            places[*slot as usize] = place;
        }
        let is_shown = |slot: u32| places[slot as usize] != u32::MAX;
        let named: Vec<Named> = (0..now.names.len())
            .map(|name| now.named_if(number(name), is_shown))
            .collect();
        let named = |name: u32| named[name as usize];

        let roots = privileged_roots(now, &self.rules.privileged_groups);
        let reached = closure(roots, |group| now.members(group, named, |_, _| {}));
        let mut changes: Vec<DirectoryChange> = shown
            .iter()
            .map(|(slot, principal)| {
                let mut principal = Principal::clone(principal);
                principal.privileged |= principal.kind == PrincipalKind::User && reached.contains(slot);
                DirectoryChange::Upsert(principal)
            })
            .collect();

        let (mut skipped, mut unknown) = (Vec::new(), Vec::new());
        for &(group, principal) in shown.iter().filter(|(_, principal)| principal.kind.is_group()) {
            let mut members = now.members(group, named, |name, flaw| {
                let list = if flaw == Named::Other {
                    &mut skipped
                } else {
                    &mut unknown
                };
                list.push((group, name));
            });
            for member in &mut members {
                *member = places[*member as usize];
            }
            members.sort_unstable();
            members.dedup();
            changes.extend(members.chunks(CHUNK_ENTRIES).map(|members| {
                DirectoryChange::Members {
                    group: principal.id.clone(),
                    system: self.system.clone(),
                    members: members
                        .iter()
                        .map(|&place| shown[place as usize].1.id.clone())
                        .collect(),
                }
            }));
        }
        let groups: Vec<u32> = shown
            .iter()
            .filter(|(_, principal)| principal.kind.is_group())
            .map(|&(slot, _)| slot)
            .collect();
        self.survey(&reached, skipped, unknown);
        self.judge(groups);
        changes
    }

    /// Notes all that is wrong.
    fn survey(&mut self, reached: &BTreeSet<u32>, skipped: Vec<(u32, u32)>, unknown: Vec<(u32, u32)>) {
        let now = &self.now;
        let slots = |is: &dyn Fn(u32, &Node) -> bool| -> Tree<u32> {
            let slots: Vec<u32> = now
                .nodes()
                .filter(|&(slot, node)| is(slot, node))
                .map(|(slot, _)| slot)
                .collect();
            Tree::from_sorted(&slots)
        };
        let claims: Vec<Claim> = now.names.all_claims().collect();
        let shared: Vec<u32> = claims
            .chunk_by(|a, b| a.name == b.name)
            .filter(|claims| claims.len() > 1)
            .map(|claims| claims[0].name)
            .filter(|&name| is_shared_dn(now, name))
            .collect();
        let reached: Vec<u32> = reached.iter().copied().collect();
        self.report = Report {
            privileged: Tree::from_sorted(&reached),
            skipped: tree(skipped),
            unknown: tree(unknown),
            missing_class: slots(&|_, node| node.missing == Some(Missing::Class)),
            missing_id: slots(&|_, node| node.missing == Some(Missing::Id)),
            shared_dns: Tree::from_sorted(&shared),
            disputed: slots(&|slot, node| node.principal.is_some() && now.shown(slot).is_none()),
            ..Report::default()
        };
        self.report.head = Arc::new(self.head());
    }

    pub(super) fn head(&self) -> Vec<DirectoryWarning> {
        let Report {
            missing_class,
            missing_id,
            shared_dns,
            disputed,
            ..
        } = &self.report;
        let now = &self.now;
        let dn = |slot: u32| {
            now.node(slot)
                .map_or_else(String::new, |node| now.names.text(node.dn))
        };
        let count = |slots: &Tree<u32>| {
            let first = slots.iter().map(dn).min()?;
            Some((slots.iter().count() as u64, first))
        };
        let class =
            count(missing_class).map(|(count, first)| DirectoryWarning::MissingClass { count, first });
        let id = count(missing_id).map(|(count, first)| DirectoryWarning::MissingId { count, first });
        let mut dns: Vec<String> = shared_dns.iter().map(|dn| now.names.text(dn)).collect();
        dns.sort_unstable();
        let twice = dns.into_iter().map(|dn| DirectoryWarning::DuplicateDn { dn });
        let mut ids: BTreeMap<&ObjectId, Vec<String>> = BTreeMap::new();
        for slot in disputed.iter() {
            if let Some(principal) = now.principal(slot) {
                ids.entry(&principal.id).or_default().push(dn(slot));
            }
        }
        let same = ids.into_iter().map(|(id, mut dns)| {
            dns.sort_unstable();
            DirectoryWarning::DuplicateId { id: id.clone(), dns }
        });
        class.into_iter().chain(id).chain(twice).chain(same).collect()
    }

    /// Says anew what is wrong with groups.
    pub(super) fn judge(&mut self, groups: impl IntoIterator<Item = u32>) {
        let mut judged: Vec<(ObjectId, Option<Arc<Flaws>>)> = Vec::new();
        for group in groups {
            if let Some(principal) = self.now.shown(group) {
                judged.push((
                    principal.id.clone(),
                    self.flaws(group, &principal.id).map(Arc::new),
                ));
            }
        }
        let flaws = &mut self.report.flaws;
        for (id, flawed) in judged {
            match flawed {
                Some(flawed) => {
                    Arc::make_mut(flaws).insert(id, flawed);
                }
                None if flaws.contains_key(&id) => {
                    Arc::make_mut(flaws).remove(&id);
                }
                None => {}
            }
        }
    }

    fn flaws(&self, slot: u32, id: &ObjectId) -> Option<Flaws> {
        let now = &self.now;
        let node = now.node(slot)?;
        let of_group = node.group.as_deref()?;
        let names = |list: &Tree<(u32, u32)>| -> Vec<u32> {
            list.iter_from((slot, 0))
                .take_while(|&(group, _)| group == slot)
                .map(|(_, name)| name)
                .collect()
        };
        let (skipped, unknown) = (names(&self.report.skipped), names(&self.report.unknown));
        let shared = node.names.iter().find(|&&name| {
            matches!(now.names.kind(name), NameKind::Gid | NameKind::Sid)
                && now.meaning(name) == Meaning::Many
        });
        if skipped.is_empty()
            && unknown.is_empty()
            && shared.is_none()
            && of_group.open.is_empty()
            && of_group.unread.is_none()
            && of_group.unfound.is_empty()
            && !of_group.cut
        {
            return None;
        }
        let group = || id.clone();
        let dn = || now.names.text(node.dn);
        let summary = |names: Vec<u32>| {
            let texts: BTreeSet<String> = names.into_iter().map(|name| now.names.text(name)).collect();
            let count = texts.len() as u64;
            Some((count, texts.into_iter().next()?))
        };
        let mut warnings = Vec::new();
        warnings.extend(
            summary(skipped).map(|(count, first)| DirectoryWarning::SkippedMembers {
                group: group(),
                dn: dn(),
                count,
                first,
            }),
        );
        let mut partial = None;
        let mut flaw = |kind, warning: DirectoryWarning| {
            partial.get_or_insert_with(|| PartialReason::new(kind, warning.to_string()));
            warnings.push(warning);
        };
        for reason in of_group.unread.iter().chain(of_group.unfound.values()) {
            flaw(
                reason.kind,
                DirectoryWarning::UnreadMembers {
                    group: group(),
                    dn: dn(),
                    reason: reason.clone(),
                },
            );
        }
        if of_group.cut {
            flaw(
                PartialKind::Limit,
                DirectoryWarning::ValueRange {
                    group: group(),
                    dn: dn(),
                },
            );
        }
        for &source in &of_group.open {
            if let Some(MemberSource::Query(attribute)) = now.sources.0.get(usize::from(source)) {
                flaw(
                    PartialKind::Unreadable,
                    DirectoryWarning::OpenQuery {
                        group: group(),
                        dn: dn(),
                        attribute: attribute.clone(),
                    },
                );
            }
        }
        if let Some(&name) = shared {
            flaw(
                PartialKind::Contradiction,
                DirectoryWarning::SharedNumber {
                    group: group(),
                    dn: dn(),
                    number: now.names.text(name),
                },
            );
        }
        if let Some((count, first)) = summary(unknown) {
            flaw(
                PartialKind::UnknownMember,
                DirectoryWarning::UnknownMembers {
                    group: group(),
                    dn: dn(),
                    count,
                    first,
                },
            );
        }
        Some(Flaws { warnings, partial })
    }

    fn missing_privileged_groups(&self) -> impl Iterator<Item = DirectoryWarning> {
        let missing = self.rules.privileged_groups.iter().filter(|group| {
            let name = self.now.names.find(NameKind::Dn, group.key());
            !name.is_some_and(|name| matches!(self.now.named(name), Named::Principal(_)))
        });
        missing.map(|group| DirectoryWarning::MissingPrivilegedGroup {
            dn: group.key().to_owned(),
        })
    }
}

fn number(at: usize) -> u32 {
    u32::try_from(at).expect("what has a number fits one")
}

fn tree<K: Copy + Ord>(mut keys: Vec<K>) -> Tree<K> {
    keys.sort_unstable();
    keys.dedup();
    Tree::from_sorted(&keys)
}

/// Whether members named by the DN are unknown since several entries have it.
pub(super) fn is_shared_dn(state: &State, name: u32) -> bool {
    state.names.kind(name) == NameKind::Dn && state.meaning(name) == Meaning::Many
}

pub(super) fn privileged_roots(state: &State, groups: &[crate::dn::Dn]) -> BTreeSet<u32> {
    let named = |group: &crate::dn::Dn| {
        let name = state.names.find(NameKind::Dn, group.key())?;
        match state.named(name) {
            Named::Principal(slot) => Some(slot),
            Named::Nobody | Named::Other | Named::Unknown => None,
        }
    };
    groups.iter().filter_map(named).collect()
}

/// What is reached from `roots`, and these.
pub(super) fn closure(roots: BTreeSet<u32>, members: impl Fn(u32) -> Vec<u32>) -> BTreeSet<u32> {
    let mut open: Vec<u32> = roots.iter().copied().collect();
    let mut reached = roots;
    while let Some(slot) = open.pop() {
        for member in members(slot) {
            if reached.insert(member) {
                open.push(member);
            }
        }
    }
    reached
}
