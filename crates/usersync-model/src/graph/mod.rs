//! The directory graph: who is a direct member of what, as several systems told it, and what follows from it.

mod adjacency;
mod bits;
mod builder;
mod change;
mod explain;
mod interner;
mod leaves;
mod live;
mod resolve;
mod table;
mod taint;
mod walk;
mod warning;

use std::collections::{BTreeMap, BTreeSet};

pub use builder::GraphBuilder;
pub use explain::{Absence, Explanation, MAX_PATHS, Path, Step};
pub use live::{Affected, Elsewhere, Impact, LiveSelections, SelectionId};
pub use resolve::{Inactive, ResolvePolicy, Resolved, Rest, Standing, UnknownMembers};
pub use walk::Scratch;
pub use warning::{GraphWarning, GraphWarnings, MAX_WARNINGS};

use adjacency::Adjacency;
use bits::{Bits, each_bit};
use interner::{BLOCK, Interner, Names};
use leaves::{Leaf, Leaves};

use crate::completeness::{Completeness, PartialReason};
use crate::id::{ObjectId, PrincipalRef, SystemId};
use crate::principal::{Activity, PrincipalKind};

/// A principal of one [`DirectoryGraph`]: dense from zero, and never given to another principal of that graph.
///
/// Numbers follow the order in which principals were first named, so they serve within one process only:
/// outputs are ordered by [`PrincipalRef`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

impl NodeId {
    /// The number, for indexing.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// Brings `nodes` in ascending order, each once.
    ///
    /// O(n) where they are dense, that is, not much fewer than the largest number among them; else O(n log n).
    pub fn sort(nodes: &mut Vec<Self>) {
        if nodes.is_sorted_by(|one, next| one < next) {
            return;
        }
        let end = nodes.iter().max().map_or(0, |last| last.index() + 1);
        if nodes.len() < 64.max(end / 64) {
            nodes.sort_unstable();
            nodes.dedup();
            return;
        }
        let mut bits = Bits::default();
        bits.grow(end);
        for node in nodes.drain(..) {
            bits.insert(node.0);
        }
        for at in 0..end.div_ceil(64) {
            each_bit(at, bits.word(at), |node| nodes.push(Self(node)));
        }
    }
}

/// Principals of any number of systems with their direct memberships, and how completely they were read.
///
/// Memory: 8 bytes per direct membership, about 60 bytes per principal, and the ids and names themselves.
/// Clones share the memberships that did not change since the last compaction.
#[derive(Clone, Debug, Default)]
pub struct DirectoryGraph {
    ids: Interner,
    names: Names,
    entries: Vec<Entry>,
    systems: Vec<SystemState>,
    partial_groups: BTreeMap<u32, PartialReason>,
    leaves: Leaves,
    /// Members that are leaves, by group; the row of a group is read without looking at the members.
    leaf_members: Adjacency,
    /// All other members, by group: groups, and principals that were never shown.
    other_members: Adjacency,
    groups: Adjacency,
    memberships: usize,
    warnings: GraphWarnings,
    /// Rises with every change; a new name alone is none.
    revision: u64,
    /// Rises whenever the verdict on a system changes.
    verdicts: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    kind: Option<PrincipalKind>,
    activity: Activity,
    privileged: bool,
    /// Told as two different things: believed to be neither.
    contradictory: bool,
}

#[derive(Clone, Debug, Default)]
struct SystemState {
    /// What the reader said; `None` when it said nothing.
    told: Option<Completeness>,
    /// The ids of those that it contradicts itself about.
    contradictory: BTreeSet<Box<str>>,
    /// What follows from both.
    partial: Option<PartialReason>,
}

/// What the closure makes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Category {
    /// Has members, and is expanded.
    Group,
    /// A user or a resource: a possible result.
    Leaf,
    /// Named, but never shown, or contradictory.
    Unseen,
}

impl DirectoryGraph {
    /// The number of principals named so far, shown or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody was named yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of direct memberships.
    #[must_use]
    pub fn membership_count(&self) -> usize {
        self.memberships
    }

    /// The node of `principal`, added as never shown when it is new.
    pub fn intern(&mut self, principal: &PrincipalRef) -> NodeId {
        let system = self.intern_system(&principal.system);
        NodeId(self.intern_in(system, principal.object.as_str()))
    }

    /// The nodes of `principals`, in their order and as [`intern`](Self::intern) gives them, in a fraction of its time where there
    /// are many.
    pub fn intern_all<'a>(&mut self, principals: impl IntoIterator<Item = &'a PrincipalRef>) -> Vec<NodeId> {
        let principals = principals.into_iter();
        let expected = principals.size_hint().0;
        let mut numbers = Vec::with_capacity(expected);
        let mut block = Vec::with_capacity(BLOCK);
        let mut last: Option<(&SystemId, u32)> = None;
        for principal in principals {
            let system = match last {
                Some((system, number)) if *system == principal.system => number,
                _ => self.intern_system(&principal.system),
            };
            if last.is_none() {
                self.ids.expect(system, expected);
            }
            last = Some((&principal.system, system));
            block.push((system, principal.object.as_str()));
            if block.len() == BLOCK {
                self.intern_block(&block, &mut numbers);
                block.clear();
            }
        }
        self.intern_block(&block, &mut numbers);
        numbers.into_iter().map(NodeId).collect()
    }

    /// The node of `principal`, if anyone named it.
    #[must_use]
    pub fn find(&self, principal: &PrincipalRef) -> Option<NodeId> {
        self.find_parts(&principal.system, principal.object.as_str())
    }

    /// The node of the object `object` of `system`, if anyone named it.
    #[must_use]
    pub fn find_parts(&self, system: &SystemId, object: &str) -> Option<NodeId> {
        let system = self.ids.system_number(system)?;
        self.ids.find(system, object).map(NodeId)
    }

    /// Which principal `node` stands for.
    #[must_use]
    pub fn principal_ref(&self, node: NodeId) -> PrincipalRef {
        self.ids.principal_ref(node.0)
    }

    /// What is known about `node`, a node of this graph.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Node<'_> {
        Node { graph: self, node }
    }

    /// All nodes in ascending order.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.entries.len() as u32).map(NodeId)
    }

    /// The direct members of `node`, ascending; none when it is no group.
    pub fn direct_members(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        adjacency::union(self.leaf_members.row(node.0), self.other_members.row(node.0)).map(NodeId)
    }

    /// The groups that `node` is a direct member of, ascending.
    pub fn direct_groups(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.groups.row(node.0).map(NodeId)
    }

    /// How completely `system` was read, as far as its reader and its entries tell: a system that was never
    /// read, or whose read never ended, is `Partial(NoVerdict)`; one that contradicts itself is
    /// `Partial(Contradiction)`.
    #[must_use]
    pub fn system_verdict(&self, system: &SystemId) -> Completeness {
        match self.system_reason(system) {
            Some(reason) => Completeness::Partial(reason),
            None => Completeness::Complete,
        }
    }

    /// How completely the members of `group` are known: the verdict on its system and its own taken together.
    #[must_use]
    pub fn group_verdict(&self, group: NodeId) -> Completeness {
        let own = self.partial_groups.get(&group.0);
        match own
            .into_iter()
            .chain(self.node_system(group.0).partial.as_ref())
            .min()
        {
            Some(reason) => Completeness::Partial(reason.clone()),
            None => Completeness::Complete,
        }
    }

    /// What was contradictory or doubtful in what was told.
    #[must_use]
    pub fn warnings(&self) -> &GraphWarnings {
        &self.warnings
    }

    fn intern_system(&mut self, system: &SystemId) -> u32 {
        let number = self.ids.intern_system(system);
        if self.systems.len() < self.ids.system_count() {
            self.systems.push(SystemState {
                partial: Some(taint::no_verdict(system)),
                ..SystemState::default()
            });
        }
        number
    }

    fn intern_in(&mut self, system: u32, object: &str) -> u32 {
        let number = self.ids.intern(system, object);
        self.entries.resize(self.ids.len(), Entry::default());
        number
    }

    /// As [`intern_in`](Self::intern_in) for each of `objects`.
    fn intern_objects(&mut self, system: u32, objects: &[ObjectId]) -> Vec<u32> {
        let mut numbers = Vec::with_capacity(objects.len());
        for part in objects.chunks(BLOCK) {
            let block: Vec<_> = part.iter().map(|object| (system, object.as_str())).collect();
            self.intern_block(&block, &mut numbers);
        }
        numbers
    }

    /// As [`intern_in`](Self::intern_in) for each system and object of `block`, [`BLOCK`] of them at most.
    fn intern_block(&mut self, block: &[(u32, &str)], numbers: &mut Vec<u32>) {
        self.ids.intern_block(block, numbers);
        self.entries.resize(self.ids.len(), Entry::default());
    }

    fn node_system(&self, node: u32) -> &SystemState {
        &self.systems[self.ids.system_of(node) as usize]
    }

    fn category(&self, node: u32) -> Category {
        let entry = &self.entries[node as usize];
        match entry.kind {
            _ if entry.contradictory => Category::Unseen,
            Some(PrincipalKind::Group(_)) => Category::Group,
            Some(_) => Category::Leaf,
            None if self.is_told_as_group(node) => Category::Group,
            None => Category::Unseen,
        }
    }

    /// Whether members, or a verdict on them, were told.
    fn is_told_as_group(&self, node: u32) -> bool {
        self.has_members(node) || self.partial_groups.contains_key(&node)
    }

    /// Whether `node` is taken for a group only because of what was told about its members.
    fn is_implied_group(&self, node: u32) -> bool {
        self.entries[node as usize].kind.is_none() && self.is_told_as_group(node)
    }

    /// Whether `node` stays a group whatever becomes of its members and of the verdict on them.
    fn is_settled_group(&self, node: u32) -> bool {
        self.category(node) == Category::Group && !self.is_implied_group(node)
    }

    /// Whether a group above `node` is taken for one only because it has members.
    fn is_in_implied_group(&self, node: u32) -> bool {
        self.groups.row(node).any(|group| self.is_implied_group(group))
    }

    fn has_members(&self, node: u32) -> bool {
        self.leaf_members.row_len(node) + self.other_members.row_len(node) > 0
    }

    /// Brings the sets of leaves in step with the entry of `node`.
    fn index_entry(&mut self, node: u32) {
        let entry = self.entries[node as usize];
        let leaf = match entry.kind {
            Some(kind) if !entry.contradictory && !kind.is_group() => Some(Leaf {
                active: entry.activity == Activity::Active,
                resource: matches!(kind, PrincipalKind::Resource(_)),
            }),
            _ => None,
        };
        self.leaves.put(node, leaf);
    }
}

/// What a [`DirectoryGraph`] knows about one principal.
#[derive(Clone, Copy, Debug)]
pub struct Node<'g> {
    graph: &'g DirectoryGraph,
    node: NodeId,
}

impl<'g> Node<'g> {
    /// The system that the principal is of.
    #[must_use]
    pub fn system(self) -> &'g SystemId {
        self.graph.ids.system(self.graph.ids.system_of(self.node.0))
    }

    /// Its id there.
    #[must_use]
    pub fn object(self) -> &'g str {
        self.graph.ids.object(self.node.0)
    }

    /// The name shown to people, as the directory gives it, so untrusted; empty when it was never shown.
    #[must_use]
    pub fn name(self) -> &'g str {
        self.graph.names.name(self.node.0)
    }

    /// What it is; `None` when it was named but never shown, was removed, or was told as two different things.
    #[must_use]
    pub fn kind(self) -> Option<PrincipalKind> {
        let entry = self.entry();
        if entry.contradictory { None } else { entry.kind }
    }

    /// Whether it takes part; active unless told otherwise.
    #[must_use]
    pub fn activity(self) -> Activity {
        self.entry().activity
    }

    /// Whether it is an administrator or otherwise protected from removal.
    #[must_use]
    pub fn privileged(self) -> bool {
        self.entry().privileged
    }

    fn entry(self) -> &'g Entry {
        &self.graph.entries[self.node.index()]
    }
}
