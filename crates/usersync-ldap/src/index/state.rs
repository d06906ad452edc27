//! All entries at one time, and what follows from them.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::RandomState;
use usersync_model::{GroupKind, ObjectId, Principal, PrincipalKind};

use super::names::{Claim, Meaning, NameKind, Names};
use super::node::{EntryKey, Node};
use super::table::Table;
use super::tree::Tree;
use crate::rules::MemberSource;

/// The entries by number. A number is never given to another entry.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) sources: Arc<Sources>,
    pub(super) names: Names,
    nodes: Table<Option<Arc<Node>>>,
    hasher: RandomState,
    /// Part of the hash, and the number.
    keys: Tree<(u32, u32)>,
    ids: Tree<(u32, u32)>,
    pub(super) refs: Tree<Ref>,
    pub(super) referrers: Tree<Referrer>,
}

/// The places where members are named, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources(pub(super) Vec<MemberSource>);

/// `holder` names `name` in `source`: a group its member, or a member its group, as the source has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ref {
    pub(super) holder: u32,
    pub(super) source: u16,
    pub(super) name: u32,
}

/// The same the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Referrer {
    pub(super) name: u32,
    pub(super) holder: u32,
    pub(super) source: u16,
}

/// Whom a name means where members are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// Nobody, on purpose.
    Nobody,
    /// An entry that is no principal.
    Other,
    Principal(u32),
    Unknown,
}

/// What ends the way up from an entry to its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Barrier {
    /// Nobody knows what is there.
    Many,
    /// Something that holds what is below it.
    Unit(u32),
}

impl Sources {
    /// Whether the members name the group.
    pub(super) fn is_up(&self, source: u16) -> bool {
        matches!(
            self.0.get(usize::from(source)),
            Some(MemberSource::MemberOf(_) | MemberSource::PrimaryGid | MemberSource::PrimaryRid)
        )
    }

    pub(super) fn number(&self, source: &MemberSource) -> Option<u16> {
        let at = self.0.binary_search(source).ok()?;
        u16::try_from(at).ok()
    }

    fn ups(&self) -> impl Iterator<Item = u16> {
        let count = u16::try_from(self.0.len()).unwrap_or(u16::MAX);
        (0..count).filter(|&source| self.is_up(source))
    }
}

impl State {
    pub(super) fn new(sources: Sources) -> Self {
        Self {
            sources: Arc::new(sources),
            names: Names::loading(),
            ..Self::default()
        }
    }

    /// How many numbers were given.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.nodes.len()).expect("memory ends before 2^32 entries are kept")
    }

    pub(super) fn node(&self, slot: u32) -> Option<&Node> {
        #[cfg(test)]
        super::tests::count_look();
        self.nodes.get(slot)?.as_deref()
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = (u32, &Node)> {
        (0..self.len()).filter_map(|slot| Some((slot, self.node(slot)?)))
    }

    /// Puts an entry with a new key in.
    pub(super) fn add(&mut self, key: &EntryKey) -> u32 {
        let slot = self.nodes.push(None);
        self.keys.insert((self.hash(key.as_bytes()), slot));
        slot
    }

    /// Lets the entry look like `node`, or be gone.
    pub(super) fn set(&mut self, slot: u32, node: Option<Node>) {
        let (hash_of_id, hash_of_key) = match self.node(slot) {
            Some(old) => (
                old.principal
                    .as_ref()
                    .map(|p| self.hash(p.id.as_str().as_bytes())),
                Some(self.hash(old.key.as_bytes())),
            ),
            None => (None, None),
        };
        let new_hash = node
            .as_ref()
            .and_then(|node| node.principal.as_ref())
            .map(|p| self.hash(p.id.as_str().as_bytes()));
        if hash_of_id != new_hash {
            hash_of_id.map(|hash| self.ids.remove(&(hash, slot)));
            new_hash.map(|hash| self.ids.insert((hash, slot)));
        }
        if let (None, Some(hash)) = (&node, hash_of_key) {
            self.keys.remove(&(hash, slot));
        }
        *self.nodes.get_mut(slot).expect("the number was given") = node.map(Arc::new);
    }

    pub(super) fn change(&mut self, slot: u32, change: impl FnOnce(&mut Node)) {
        if let Some(Some(node)) = self.nodes.get_mut(slot) {
            change(Arc::make_mut(node));
        }
    }

    pub(super) fn slot(&self, key: &EntryKey) -> Option<u32> {
        self.hashed(&self.keys, self.hash(key.as_bytes()))
            .find(|&slot| self.node(slot).is_some_and(|node| node.key == *key))
    }

    /// All that have the id, shown or not.
    pub(super) fn slots_of_id(&self, id: &ObjectId) -> impl Iterator<Item = u32> + '_ {
        let id = id.clone();
        self.hashed(&self.ids, self.hash(id.as_str().as_bytes()))
            .filter(move |&slot| self.principal(slot).is_some_and(|principal| principal.id == id))
    }

    /// The only one that has the id.
    pub(super) fn slot_of_id(&self, id: &ObjectId) -> Option<u32> {
        let mut slots = self.slots_of_id(id);
        slots.next().filter(|_| slots.next().is_none())
    }

    /// The principal that the entry is, whether others have its id or not.
    pub(super) fn principal(&self, slot: u32) -> Option<&Principal> {
        self.node(slot)?.principal.as_ref()
    }

    /// The principal that everybody may see.
    pub(super) fn shown(&self, slot: u32) -> Option<&Principal> {
        let principal = self.principal(slot)?;
        let mut same = self.slots_of_id(&principal.id);
        (same.next().is_some() && same.next().is_none()).then_some(principal)
    }

    pub(super) fn meaning(&self, name: u32) -> Meaning {
        self.names.meaning(name)
    }

    pub(super) fn named(&self, name: u32) -> Named {
        self.named_if(name, |slot| self.shown(slot).is_some())
    }

    /// The same for who knows already whether a principal is shown.
    pub(super) fn named_if(&self, name: u32, is_shown: impl Fn(u32) -> bool) -> Named {
        if self.names.is_empty(name) {
            return Named::Nobody;
        }
        let meaning = if self.names.kind(name) == NameKind::Key {
            self.meaning_of_key(name)
        } else {
            self.meaning(name)
        };
        match meaning {
            Meaning::Other => Named::Other,
            Meaning::Principal(slot) if is_shown(slot) => Named::Principal(slot),
            Meaning::Many | Meaning::Principal(_) | Meaning::Unseen => Named::Unknown,
        }
    }

    /// The names of an entry.
    pub(super) fn names_of(&self, slot: u32) -> impl Iterator<Item = u32> + '_ {
        let node = self.node(slot);
        // Only what a query found has a name by key.
        let key = node.and_then(|node| self.names.find(NameKind::Key, &node.key.to_hex()));
        let others = node.map_or(&[][..], |node| &node.names);
        node.map(|node| node.dn)
            .into_iter()
            .chain(key)
            .chain(others.iter().copied())
    }

    pub(super) fn refs_of(&self, holder: u32) -> impl Iterator<Item = Ref> + '_ {
        let from = Ref {
            holder,
            source: 0,
            name: 0,
        };
        self.refs
            .iter_from(from)
            .take_while(move |other| other.holder == holder)
    }

    pub(super) fn referrers_of(&self, name: u32) -> impl Iterator<Item = Ref> + '_ {
        let from = Referrer {
            name,
            holder: 0,
            source: 0,
        };
        self.referrers
            .iter_from(from)
            .take_while(move |other| other.name == name)
            .map(move |other| Ref {
                holder: other.holder,
                source: other.source,
                name,
            })
    }

    /// Whether the group names `name` as a member.
    pub(super) fn lists(&self, group: u32, name: u32) -> bool {
        let from = Referrer {
            name,
            holder: group,
            source: 0,
        };
        self.referrers
            .iter_from(from)
            .take_while(|other| (other.name, other.holder) == (name, group))
            .any(|other| !self.sources.is_up(other.source))
    }

    /// What ends the way up at the DN `name`.
    pub(super) fn barrier(&self, name: u32) -> Option<Barrier> {
        match self.meaning(name) {
            Meaning::Many => Some(Barrier::Many),
            Meaning::Principal(slot) => self.holds_below(slot).then_some(Barrier::Unit(slot)),
            Meaning::Other | Meaning::Unseen => None,
        }
    }

    /// The unit whose place makes the entry its member.
    pub(super) fn unit(&self, slot: u32) -> Option<u32> {
        let node = self.node(slot)?;
        if !belongs_by_place(node.kind()?) {
            return None;
        }
        let mut dn = node.dn;
        while let Some(above) = self.names.above(dn) {
            match self.barrier(above) {
                Some(Barrier::Unit(unit)) => return Some(unit).filter(|&unit| self.shown(unit).is_some()),
                Some(Barrier::Many) => return None,
                None => dn = above,
            }
        }
        None
    }

    /// The entries below the DN `name`, down to what ends the way up from them, and that as well.
    pub(super) fn below(&self, name: u32, mut found: impl FnMut(u32)) {
        let mut open: Vec<u32> = self.names.below(name).collect();
        while let Some(name) = open.pop() {
            self.names.claims(name).for_each(|claim| found(claim.slot));
            if self.barrier(name).is_none() {
                open.extend(self.names.below(name));
            }
        }
    }

    /// Whether the one is shown as a direct member of the other. Takes time in the names of the member, however many members
    /// the group has.
    pub(super) fn is_member(&self, group: u32, member: u32) -> bool {
        let (Some(node), Some(_), Some(_)) = (self.node(group), self.shown(group), self.shown(member)) else {
            return false;
        };
        self.names_of(member)
            .any(|name| self.lists(group, name) && self.named(name) == Named::Principal(member))
            || node
                .sources()
                .iter()
                .filter(|&&source| self.sources.is_up(source))
                .flat_map(|&source| self.refs_in(member, source))
                .any(|other| self.named(other.name) == Named::Principal(group))
            || self.holds_below(group) && self.unit(member) == Some(group)
    }

    /// The direct members of a group that is shown, some of them more than once. `named` says whom names mean, and `flawed`
    /// hears of the names that mean nobody who could be a member.
    pub(super) fn members(
        &self,
        group: u32,
        named: impl Fn(u32) -> Named,
        mut flawed: impl FnMut(u32, Named),
    ) -> Vec<u32> {
        let mut members = Vec::new();
        let Some(node) = self.node(group) else {
            return members;
        };
        for other in self
            .refs_of(group)
            .filter(|other| !self.sources.is_up(other.source))
        {
            match named(other.name) {
                Named::Principal(member) => members.push(member),
                Named::Nobody => {}
                flaw @ (Named::Other | Named::Unknown) => flawed(other.name, flaw),
            }
        }
        if node.sources().iter().any(|&source| self.sources.is_up(source)) {
            for name in self
                .names_of(group)
                .filter(|&name| named(name) == Named::Principal(group))
            {
                let ups = self.referrers_of(name).filter(|other| {
                    self.sources.is_up(other.source) && node.sources().contains(&other.source)
                });
                members.extend(
                    ups.map(|other| other.holder)
                        .filter(|&member| self.shown(member).is_some()),
                );
            }
        }
        if self.meaning(node.dn) == Meaning::Principal(group) && self.holds_below(group) {
            self.below(node.dn, |slot| {
                let belongs = self
                    .shown(slot)
                    .is_some_and(|principal| belongs_by_place(principal.kind));
                members.extend(belongs.then_some(slot));
            });
        }
        members
    }

    /// The direct groups of a principal that is shown, some of them more than once.
    pub(super) fn groups(&self, member: u32) -> Vec<u32> {
        let mut groups: Vec<u32> = self
            .names_of(member)
            .filter(|&name| self.named(name) == Named::Principal(member))
            .flat_map(|name| self.referrers_of(name))
            .filter(|other| !self.sources.is_up(other.source))
            .map(|other| other.holder)
            .filter(|&group| self.shown(group).is_some())
            .collect();
        for source in self.sources.ups() {
            for other in self.refs_in(member, source) {
                if let Named::Principal(group) = self.named(other.name)
                    && self
                        .node(group)
                        .is_some_and(|node| node.sources().contains(&source))
                {
                    groups.push(group);
                }
            }
        }
        groups.extend(self.unit(member));
        groups
    }

    fn refs_in(&self, holder: u32, source: u16) -> impl Iterator<Item = Ref> + '_ {
        let from = Ref {
            holder,
            source,
            name: 0,
        };
        self.refs
            .iter_from(from)
            .take_while(move |other| (other.holder, other.source) == (holder, source))
    }

    fn holds_below(&self, slot: u32) -> bool {
        self.node(slot).is_some_and(|node| {
            let is_below =
                |&source: &u16| self.sources.0.get(usize::from(source)) == Some(&MemberSource::Below);
            node.sources().iter().any(is_below)
        })
    }

    fn meaning_of_key(&self, name: u32) -> Meaning {
        let slot = EntryKey::from_hex(&self.names.text(name)).and_then(|key| self.slot(&key));
        let claim = slot.and_then(|slot| {
            let rank = self.node(slot)?.rank;
            Some(Claim { name, rank, slot })
        });
        super::names::meaning(claim)
    }

    fn hash(&self, bytes: &[u8]) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "half of the hash is enough: what it finds is compared"
        )]
        let half = self.hasher.hash_one(bytes) as u32;
        half
    }

    fn hashed<'s>(&self, tree: &'s Tree<(u32, u32)>, hash: u32) -> impl Iterator<Item = u32> + use<'s> {
        tree.iter_from((hash, 0))
            .take_while(move |&(other, _)| other == hash)
            .map(|(_, slot)| slot)
    }
}

fn belongs_by_place(kind: PrincipalKind) -> bool {
    matches!(
        kind,
        PrincipalKind::User | PrincipalKind::Group(GroupKind::OrgUnit)
    )
}
