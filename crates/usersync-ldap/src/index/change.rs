//! What single changes affect.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;
use std::sync::Arc;

use usersync_connector::CHUNK_ENTRIES;
use usersync_model::{DirectoryChange, ObjectId, Principal, PrincipalKind};

use super::names::{Claim, NameKind};
use super::node::{Missing, Node};
use super::settle::{closure, is_shared_dn, privileged_roots};
use super::state::{Named, Ref, State};
use super::tree::Tree;
use super::{Index, Touched};
use crate::rules::MemberSource;

/// What is to be compared between the two states.
#[derive(Debug, Default)]
struct Affected {
    slots: BTreeSet<u32>,
    /// Entries that are shown in one state alone, or as something else, or with other sources of members.
    turned: BTreeSet<u32>,
    names: BTreeSet<u32>,
    refs: BTreeSet<Ref>,
    /// Entries that may belong to another unit.
    places: BTreeSet<u32>,
    /// Groups and members.
    pairs: BTreeSet<(u32, u32)>,
    /// Groups with which something else may be wrong.
    flaws: BTreeSet<u32>,
}

/// Memberships that begin and end: group and member.
#[derive(Debug, Default)]
struct Memberships<T> {
    begun: BTreeSet<(T, T)>,
    ended: BTreeSet<(T, T)>,
}

impl Index {
    /// Moves what lies below entries with a new DN along, and what names entries silently.
    pub(super) fn move_along(&mut self) {
        let mut open = Vec::new();
        // By entry: the name that it alone had, and the one that it has.
        let mut renamed: BTreeMap<u32, (u32, Option<u32>)> = BTreeMap::new();
        for &slot in &self.touched.slots {
            let Some(old) = self.before.node(slot).map(|node| node.dn) else {
                continue;
            };
            let new = self.now.node(slot).map(|node| node.dn);
            if new == Some(old) || self.before.names.claims(old).count() > 1 {
                continue;
            }
            renamed.insert(slot, (old, new));
            open.extend(new.map(|new| (old, new)));
        }
        while let Some((from, to)) = open.pop() {
            let below: Vec<u32> = self.before.names.below(from).collect();
            for old in below {
                let slots: Vec<u32> = self.before.names.claims(old).map(|claim| claim.slot).collect();
                let is_placed = |slot: &u32| self.touched.placed.contains(slot);
                if slots.len() == 1 && slots.iter().all(is_placed) {
                    // It was told where it is, and what is below it follows that.
                    continue;
                }
                let new = self.now.names.moved_below(old, to);
                let follow = slots
                    .iter()
                    .copied()
                    .filter(|slot| !is_placed(slot) && self.now.node(*slot).is_some());
                for slot in follow.collect::<Vec<_>>() {
                    self.place(slot, new);
                    if slots.len() == 1 {
                        renamed.insert(slot, (old, Some(new)));
                    }
                }
                open.push((old, new));
            }
        }
        if self.rules.silent_links {
            self.relink(&renamed);
        }
    }

    fn place(&mut self, slot: u32, dn: u32) {
        let Some((old, rank)) = self.now.node(slot).map(|node| (node.dn, node.rank)) else {
            return;
        };
        self.change_claim(
            Claim {
                name: old,
                rank,
                slot,
            },
            false,
        );
        self.change_claim(Claim { name: dn, rank, slot }, true);
        let text = self.now.names.text(dn);
        self.now.change(slot, |node| {
            node.dn = dn;
            if node.named_by_dn
                && let Some(principal) = &mut node.principal
            {
                principal.name = text;
            }
        });
        self.touched.slots.insert(slot);
    }

    /// Lets groups follow their members that are called otherwise now, or gone. What was said of a group itself goes
    /// by the names of now: it is never about the former name of such a member.
    fn relink(&mut self, renamed: &BTreeMap<u32, (u32, Option<u32>)>) {
        let told = |other: &Ref| self.touched.refs.get(other).copied();
        let (mut old_links, mut new_links) = (Vec::new(), Vec::new());
        for &(old, new) in renamed.values() {
            for link in self.before.referrers_of(old) {
                let is_dn = matches!(
                    self.now.sources.0.get(usize::from(link.source)),
                    Some(MemberSource::Dn(_))
                );
                let group = self.now.node(link.holder).map_or(&[][..], Node::sources);
                if !is_dn || !group.contains(&link.source) || self.touched.given.contains(&link.holder) {
                    continue;
                }
                old_links.extend(Some(link).filter(|link| told(link).is_none()));
                let link = new.map(|name| Ref { name, ..link });
                new_links.extend(link.filter(|link| told(link).is_none()));
            }
        }
        for link in old_links {
            self.change_ref(link, false);
        }
        for link in new_links {
            self.change_ref(link, true);
        }
    }

    pub(super) fn settle_touched(&mut self, touched: Touched) -> Vec<DirectoryChange> {
        let mut affected = self.affected(touched);
        let memberships = self.memberships(&affected.pairs);
        let reached = self.report.privileged.clone();
        let privileges = self.follow_privileges(&affected, &memberships);
        let ids: BTreeSet<ObjectId> = affected
            .slots
            .iter()
            .chain(&privileges)
            .flat_map(|&slot| [self.before.principal(slot), self.now.principal(slot)])
            .flatten()
            .map(|principal| principal.id.clone())
            .collect();
        let (removed, upserts) = self.principals(&ids, &reached);
        let by_id = self.memberships_by_id(&affected.pairs, &removed);
        self.note_refs(&mut affected);
        self.note_flaws(affected, &ids);
        self.changes(removed, upserts, by_id)
    }

    /// Follows what was touched to whatever depends on it.
    fn affected(&self, touched: Touched) -> Affected {
        let (before, now) = (&self.before, &self.now);
        let mut affected = Affected {
            slots: touched.slots,
            names: touched.names,
            refs: touched.refs.into_keys().collect(),
            ..Affected::default()
        };
        // Whether others are shown that have the same id can change only with the first two of them.
        let mut peers = BTreeSet::new();
        for &slot in &affected.slots {
            for id in [before.principal(slot), now.principal(slot)]
                .into_iter()
                .flatten()
                .map(|p| &p.id)
            {
                peers.extend(before.slots_of_id(id).take(2));
                peers.extend(now.slots_of_id(id).take(2));
            }
        }
        affected.slots.append(&mut peers);
        for &slot in &affected.slots {
            let dns = [before, now].map(|state| state.node(slot).map(|node| node.dn));
            if dns[0] != dns[1] {
                affected.places.insert(slot);
            }
            if has_turned(before, now, slot) {
                affected.turned.insert(slot);
                affected.names.extend(before.names_of(slot));
                affected.names.extend(now.names_of(slot));
            }
            // What holds what is below it ends the way up, shown or not.
            let sources = [before, now].map(|state| state.node(slot).map(Node::sources));
            if sources[0] != sources[1] {
                affected.names.extend(dns.into_iter().flatten());
            }
            affected.flaws.insert(slot);
        }
        self.affected_by_names(&mut affected);
        self.affected_by_refs(&mut affected);
        let mut pairs = std::mem::take(&mut affected.pairs);
        for &slot in &affected.turned {
            if now.shown(slot).is_some() {
                pairs.extend(
                    now.members(slot, |name| now.named(name), |_, _| {})
                        .into_iter()
                        .map(|m| (slot, m)),
                );
                pairs.extend(now.groups(slot).into_iter().map(|group| (group, slot)));
            }
            // The memberships of whoever is gone end by that alone.
            if let Some(principal) = before.shown(slot)
                && now.slot_of_id(&principal.id).is_some()
            {
                let members = before.members(slot, |name| before.named(name), |_, _| {});
                pairs.extend(members.into_iter().map(|member| (slot, member)));
                pairs.extend(before.groups(slot).into_iter().map(|group| (group, slot)));
            }
        }
        for &slot in &affected.places {
            pairs.extend(before.unit(slot).map(|unit| (unit, slot)));
            pairs.extend(now.unit(slot).map(|unit| (unit, slot)));
        }
        affected.pairs = pairs;
        affected
    }

    fn affected_by_names(&self, affected: &mut Affected) {
        let (before, now) = (&self.before, &self.now);
        for &name in &affected.names {
            let is_old = (name as usize) < before.names.len();
            let named_before = if is_old {
                before.named(name)
            } else {
                Named::Unknown
            };
            if named_before != now.named(name) {
                affected.refs.extend(before.referrers_of(name));
                affected.refs.extend(now.referrers_of(name));
            }
            match now.names.kind(name) {
                // Whether they share it can change only with the first two.
                NameKind::Gid | NameKind::Sid => {
                    for state in [before, now] {
                        affected
                            .flaws
                            .extend(state.names.claims(name).take(2).map(|claim| claim.slot));
                    }
                }
                NameKind::Dn => {
                    let barrier = if is_old { before.barrier(name) } else { None };
                    if barrier != now.barrier(name) {
                        now.below(name, |slot| {
                            affected.places.insert(slot);
                        });
                    }
                }
                NameKind::Address | NameKind::Key | NameKind::Login | NameKind::NoDn => {}
            }
        }
    }

    fn affected_by_refs(&self, affected: &mut Affected) {
        for &Ref { holder, source, name } in &affected.refs {
            let is_old = (name as usize) < self.before.names.len();
            let named = [
                is_old.then(|| self.before.named(name)),
                Some(self.now.named(name)),
            ];
            for named in named.into_iter().flatten() {
                if let Named::Principal(other) = named {
                    let is_up = self.now.sources.is_up(source);
                    affected
                        .pairs
                        .insert(if is_up { (other, holder) } else { (holder, other) });
                }
            }
        }
    }

    /// Notes which names in groups mean nobody who could be a member.
    fn note_refs(&mut self, affected: &mut Affected) {
        let (before, now, report) = (&self.before, &self.now, &mut self.report);
        let of_turned = affected
            .turned
            .iter()
            .flat_map(|&slot| before.refs_of(slot).chain(now.refs_of(slot)));
        for Ref { holder, source, name } in affected.refs.iter().copied().chain(of_turned) {
            if now.sources.is_up(source) {
                continue;
            }
            let named = now.named(name);
            let counts = now.shown(holder).is_some() && now.lists(holder, name);
            set(
                &mut report.skipped,
                (holder, name),
                counts && named == Named::Other,
            );
            set(
                &mut report.unknown,
                (holder, name),
                counts && named == Named::Unknown,
            );
            affected.flaws.insert(holder);
        }
    }

    fn memberships(&self, pairs: &BTreeSet<(u32, u32)>) -> Memberships<u32> {
        let mut memberships = Memberships::default();
        for &(group, member) in pairs {
            match (
                self.before.is_member(group, member),
                self.now.is_member(group, member),
            ) {
                (false, true) => memberships.begun.insert((group, member)),
                (true, false) => memberships.ended.insert((group, member)),
                _ => false,
            };
        }
        memberships
    }

    /// The same by id, where what is removed has none before.
    fn memberships_by_id(
        &self,
        pairs: &BTreeSet<(u32, u32)>,
        removed: &BTreeSet<ObjectId>,
    ) -> Memberships<ObjectId> {
        let among = |state: &State| -> BTreeSet<(ObjectId, ObjectId)> {
            let is_member = |&&(group, member): &&(u32, u32)| state.is_member(group, member);
            let ids = |&(group, member): &(u32, u32)| {
                Some((state.shown(group)?.id.clone(), state.shown(member)?.id.clone()))
            };
            pairs.iter().filter(is_member).filter_map(ids).collect()
        };
        let (mut before, now) = (among(&self.before), among(&self.now));
        before.retain(|(group, member)| !removed.contains(group) && !removed.contains(member));
        Memberships {
            begun: now.difference(&before).cloned().collect(),
            ended: before.difference(&now).cloned().collect(),
        }
    }

    /// Keeps what is below the privileged groups up to date, and answers what came below them or is there no more.
    fn follow_privileges(&mut self, affected: &Affected, memberships: &Memberships<u32>) -> BTreeSet<u32> {
        let (before, now) = (&self.before, &self.now);
        let reached = &self.report.privileged;
        let roots = privileged_roots(now, &self.rules.privileged_groups);
        let is_group = |state: &State, slot| state.node(slot).is_some_and(|node| node.group.is_some());
        let was_leaf = |slot: u32| !is_group(before, slot) && !is_group(now, slot);
        let ends_nesting = memberships
            .ended
            .iter()
            .any(|&(group, member)| reached.contains(&group) && !was_leaf(member));
        let turns = affected
            .turned
            .iter()
            .any(|&slot| reached.contains(&slot) && !was_leaf(slot));
        let members = |group| now.members(group, |name| now.named(name), |_, _| {});
        if ends_nesting || turns || roots != privileged_roots(before, &self.rules.privileged_groups) {
            let all = closure(roots, members);
            let old: BTreeSet<u32> = reached.iter().collect();
            let changed = old.symmetric_difference(&all).copied().collect();
            let all: Vec<u32> = all.into_iter().collect();
            self.report.privileged = Tree::from_sorted(&all);
            return changed;
        }
        let mut changed = BTreeSet::new();
        let mut reached = reached.clone();
        let ended = memberships.ended.iter().map(|&(_, member)| member);
        for slot in ended.chain(affected.turned.iter().copied()) {
            let stays = now.shown(slot).is_some()
                && (roots.contains(&slot) || now.groups(slot).iter().any(|group| reached.contains(group)));
            if !stays && reached.remove(&slot) {
                changed.insert(slot);
            }
        }
        let mut open: Vec<u32> = memberships
            .begun
            .iter()
            .filter(|(group, _)| reached.contains(group))
            .map(|&(_, member)| member)
            .collect();
        while let Some(slot) = open.pop() {
            if reached.insert(slot) {
                changed.insert(slot);
                open.extend(members(slot));
            }
        }
        self.report.privileged = reached;
        changed
    }

    /// Who is gone, and who is new or looks different.
    fn principals(
        &self,
        ids: &BTreeSet<ObjectId>,
        reached: &Tree<u32>,
    ) -> (BTreeSet<ObjectId>, Vec<Principal>) {
        let (mut removed, mut upserts) = (BTreeSet::new(), Vec::new());
        for id in ids {
            let old = shown_as(&self.before, reached, id);
            let new = shown_as(&self.now, &self.report.privileged, id);
            let stays_what_it_is = match (&old, &new) {
                (Some(old), Some(new)) => discriminant(&old.kind) == discriminant(&new.kind),
                (Some(_), None) => false,
                (None, _) => true,
            };
            if !stays_what_it_is {
                removed.insert(id.clone());
            }
            if old != new {
                upserts.extend(new);
            }
        }
        (removed, upserts)
    }

    fn note_flaws(&mut self, affected: Affected, ids: &BTreeSet<ObjectId>) {
        let (before, now) = (&self.before, &self.now);
        let mut is_same = true;
        let report = &mut self.report;
        for &slot in &affected.slots {
            let node = now.node(slot);
            let missing = node.and_then(|node| node.missing);
            let is_disputed = now.principal(slot).is_some() && now.shown(slot).is_none();
            let changed = [
                set(&mut report.missing_class, slot, missing == Some(Missing::Class)),
                set(&mut report.missing_id, slot, missing == Some(Missing::Id)),
                set(&mut report.disputed, slot, is_disputed),
            ];
            let called = |state: &State| {
                let node = state.node(slot)?;
                Some((
                    node.dn,
                    node.principal.as_ref().map(|principal| principal.id.clone()),
                ))
            };
            let is_told = missing.is_some() || is_disputed;
            let is_same_told = !changed.contains(&true) && (!is_told || called(before) == called(now));
            is_same &= is_same_told;
        }
        for &name in &affected.names {
            is_same &= !set(&mut report.shared_dns, name, is_shared_dn(now, name));
        }
        if !is_same {
            self.report.head = Arc::new(self.head());
        }
        let gone: Vec<&ObjectId> = ids
            .iter()
            .filter(|id| self.report.flaws.contains_key(*id))
            .filter(|id| {
                let slot = self.now.slot_of_id(id);
                slot.and_then(|slot| self.now.node(slot))
                    .is_none_or(|node| node.group.is_none())
            })
            .collect();
        if !gone.is_empty() {
            let flaws = Arc::make_mut(&mut self.report.flaws);
            for id in gone {
                flaws.remove(id);
            }
        }
        self.judge(affected.flaws);
    }

    fn changes(
        &self,
        removed: BTreeSet<ObjectId>,
        upserts: Vec<Principal>,
        memberships: Memberships<ObjectId>,
    ) -> Vec<DirectoryChange> {
        let pieces = |pairs: BTreeSet<(ObjectId, ObjectId)>| -> Vec<(ObjectId, Vec<ObjectId>)> {
            let pairs: Vec<_> = pairs.into_iter().collect();
            pairs
                .chunk_by(|a, b| a.0 == b.0)
                .flat_map(|group| group.chunks(CHUNK_ENTRIES))
                .map(|piece| {
                    let members = piece.iter().map(|(_, member)| member.clone()).collect();
                    (piece[0].0.clone(), members)
                })
                .collect()
        };
        let system = || self.system.clone();
        let ended =
            pieces(memberships.ended)
                .into_iter()
                .map(|(group, members)| DirectoryChange::MembersRemoved {
                    group,
                    system: system(),
                    members,
                });
        let begun = pieces(memberships.begun)
            .into_iter()
            .map(|(group, members)| DirectoryChange::Members {
                group,
                system: system(),
                members,
            });
        removed
            .into_iter()
            .map(DirectoryChange::Removed)
            .chain(upserts.into_iter().map(DirectoryChange::Upsert))
            .chain(ended)
            .chain(begun)
            .collect()
    }
}

/// Whether the entry is shown in one state alone, or as something else, or with other sources of members.
fn has_turned(before: &State, now: &State, slot: u32) -> bool {
    let seen = |state: &State| {
        let principal = state.shown(slot)?;
        let sources = state.node(slot).map(Node::sources)?.to_vec();
        Some((principal.id.clone(), principal.kind, sources))
    };
    seen(before) != seen(now)
}

fn shown_as(state: &State, reached: &Tree<u32>, id: &ObjectId) -> Option<Principal> {
    let slot = state.slot_of_id(id)?;
    let mut principal = state.shown(slot)?.clone();
    principal.privileged |= principal.kind == PrincipalKind::User && reached.contains(&slot);
    Some(principal)
}

/// Lets `key` be in the tree or not; whether that changed anything.
fn set<K: Copy + Ord>(tree: &mut Tree<K>, key: K, is_in: bool) -> bool {
    if is_in {
        tree.insert(key)
    } else {
        tree.remove(&key)
    }
}
