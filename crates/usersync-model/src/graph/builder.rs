//! Builds a graph from streams of entries.

use std::collections::{BTreeMap, BTreeSet};

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use super::adjacency::{Adjacency, Csr};
use super::{Category, DirectoryGraph, GraphWarning};
use crate::completeness::{Completeness, PartialKind, PartialReason};
use crate::id::{ObjectId, SystemId};
use crate::principal::{DirectoryChange, Principal};

/// The most direct memberships one graph holds; beyond, groups are partial.
const MAX_MEMBERSHIPS: usize = u32::MAX as usize;

/// Collects what full reads of any number of systems tell, and makes a [`DirectoryGraph`] of it.
///
/// Entries may come in any order, repeated, members before their groups, groups in several entries, systems
/// interleaved: the graph is the same, but for the numbers of its nodes. Removals are legal and count for what
/// was told before them. A system whose read is never [`end`](Self::end)ed is partial.
///
/// Time O(entries); 8 bytes per membership told, and 8 more while finishing.
#[derive(Debug, Default)]
pub struct GraphBuilder {
    graph: DirectoryGraph,
    memberships: Vec<(u32, u32)>,
    voids: Voids,
    contradictory: BTreeSet<u32>,
    differing: BTreeSet<u32>,
    cut: BTreeSet<u32>,
    ended: BTreeMap<u32, Completeness>,
}

/// Memberships told before a position do not count any more.
#[derive(Debug, Default)]
struct Voids {
    of_group: HashMap<u32, usize, RandomState>,
    of_pair: HashMap<(u32, u32), usize, RandomState>,
    of_principal: HashMap<u32, usize, RandomState>,
}

impl GraphBuilder {
    /// A builder that was told nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one entry of the read of `system`.
    pub fn add(&mut self, system: &SystemId, change: DirectoryChange) {
        let number = self.graph.intern_system(system);
        match change {
            DirectoryChange::Upsert(principal) => self.show(number, &principal),
            DirectoryChange::Removed(object) => {
                let node = self.graph.intern_in(number, object.as_str());
                self.forget(node);
            }
            DirectoryChange::Members {
                group,
                system,
                members,
            } => {
                let group = self.graph.intern_in(number, group.as_str());
                let of = self.graph.intern_system(&system);
                self.join(group, of, &members);
            }
            DirectoryChange::MembersRemoved {
                group,
                system,
                members,
            } => {
                let group = self.graph.intern_in(number, group.as_str());
                let of = self.graph.intern_system(&system);
                for member in &members {
                    let member = self.graph.intern_in(of, member.as_str());
                    self.voids.of_pair.insert((group, member), self.memberships.len());
                }
            }
            DirectoryChange::MembersReset { group } => {
                let group = self.graph.intern_in(number, group.as_str());
                self.voids.of_group.insert(group, self.memberships.len());
            }
        }
    }

    /// Ends the read of `system` with its verdict, and with the groups whose members it did not show in full.
    /// Of several verdicts on one system or group the partial one counts.
    pub fn end(
        &mut self,
        system: &SystemId,
        verdict: Completeness,
        partial_groups: Vec<(ObjectId, PartialReason)>,
    ) {
        let number = self.graph.intern_system(system);
        let told = self.ended.entry(number).or_insert(Completeness::Complete);
        *told = worse(std::mem::replace(told, Completeness::Complete), verdict);
        for (group, reason) in partial_groups {
            let group = self.graph.intern_in(number, group.as_str());
            self.limit(group, reason);
        }
    }

    /// The graph of everything told.
    #[must_use]
    pub fn finish(mut self) -> DirectoryGraph {
        self.drop_voided();
        self.mark_contradictions();
        self.connect();
        self.conclude();
        self.graph
    }

    fn show(&mut self, system: u32, principal: &Principal) {
        let node = self.graph.intern_in(system, principal.id.as_str());
        let entry = &mut self.graph.entries[node as usize];
        let Some(kind) = entry.kind else {
            entry.kind = Some(principal.kind);
            entry.activity = principal.activity;
            entry.privileged = principal.privileged;
            self.graph.names.set(node, &principal.name);
            return;
        };
        if kind != principal.kind {
            self.contradictory.insert(node);
        }
        let name = self.graph.names.name(node);
        if (entry.activity, entry.privileged, name)
            == (principal.activity, principal.privileged, &principal.name)
        {
            return;
        }
        self.differing.insert(node);
        entry.activity = entry.activity.min(principal.activity);
        entry.privileged |= principal.privileged;
        if principal.name.as_str() < name {
            self.graph.names.set(node, &principal.name);
        }
    }

    fn forget(&mut self, node: u32) {
        self.voids.of_principal.insert(node, self.memberships.len());
        self.graph.entries[node as usize] = super::Entry::default();
        self.graph.names.set(node, "");
        self.contradictory.remove(&node);
        self.differing.remove(&node);
    }

    fn join(&mut self, group: u32, system: u32, members: &[ObjectId]) {
        for member in self.graph.intern_objects(system, members) {
            if self.memberships.len() < MAX_MEMBERSHIPS {
                self.memberships.push((group, member));
            } else {
                self.cut.insert(group);
            }
        }
    }

    fn limit(&mut self, group: u32, reason: PartialReason) {
        match self.graph.partial_groups.get_mut(&group) {
            Some(smallest) if *smallest <= reason => {}
            Some(smallest) => *smallest = reason,
            None => {
                self.graph.partial_groups.insert(group, reason);
            }
        }
    }

    fn drop_voided(&mut self) {
        let (voids, ids) = (&self.voids, &self.graph.ids);
        if voids.of_group.is_empty() && voids.of_pair.is_empty() && voids.of_principal.is_empty() {
            return;
        }
        let after = |void: Option<&usize>, at: usize| void.is_none_or(|&void| void <= at);
        let mut at = 0;
        self.memberships.retain(|&(group, member)| {
            let stays = after(voids.of_group.get(&group), at)
                && after(voids.of_pair.get(&(group, member)), at)
                && after(voids.of_principal.get(&group), at)
                && (ids.system_of(group) != ids.system_of(member)
                    || after(voids.of_principal.get(&member), at));
            at += 1;
            stays
        });
    }

    fn mark_contradictions(&mut self) {
        for &(group, _) in &self.memberships {
            if self.graph.entries[group as usize]
                .kind
                .is_some_and(|kind| !kind.is_group())
            {
                self.contradictory.insert(group);
            }
        }
        for &group in self.graph.partial_groups.keys() {
            if self.graph.entries[group as usize]
                .kind
                .is_some_and(|kind| !kind.is_group())
            {
                self.contradictory.insert(group);
            }
        }
        for &node in &self.contradictory {
            self.graph.entries[node as usize].contradictory = true;
        }
    }

    fn connect(&mut self) {
        let graph = &mut self.graph;
        for node in 0..graph.entries.len() as u32 {
            graph.index_entry(node);
        }
        let leaves = &graph.leaves;
        let of_leaves = |is_leaf: bool| {
            let edges = self.memberships.iter().copied();
            Csr::build(edges.filter(move |&(_, member)| leaves.contains(member) == is_leaf))
        };
        let (leaf_members, other_members) = (of_leaves(true), of_leaves(false));
        self.memberships = Vec::new();
        let groups = Csr::reversed([&leaf_members, &other_members]);
        graph.memberships = groups.len();
        graph.leaf_members = Adjacency::new(leaf_members);
        graph.other_members = Adjacency::new(other_members);
        graph.groups = Adjacency::new(groups);
    }

    fn conclude(&mut self) {
        for group in std::mem::take(&mut self.cut) {
            let warning = GraphWarning::TooManyMemberships(self.graph.ids.principal_ref(group));
            self.graph.warnings.push(warning);
            self.limit(group, PartialReason::new(PartialKind::Limit, "memberships"));
        }
        let graph = &mut self.graph;
        for &node in &self.contradictory {
            graph.systems[graph.ids.system_of(node) as usize]
                .contradictory
                .insert(graph.ids.object(node).into());
            graph
                .warnings
                .push(GraphWarning::Contradiction(graph.ids.principal_ref(node)));
        }
        for &node in self.differing.difference(&self.contradictory) {
            graph
                .warnings
                .push(GraphWarning::Differs(graph.ids.principal_ref(node)));
        }
        for (&system, verdict) in &self.ended {
            graph.systems[system as usize].told = Some(verdict.clone());
        }
        for system in 0..graph.systems.len() as u32 {
            graph.judge(system);
        }
        debug_assert!(
            self.contradictory
                .iter()
                .all(|&node| graph.category(node) == Category::Unseen)
        );
    }
}

fn worse(left: Completeness, right: Completeness) -> Completeness {
    match (left, right) {
        (Completeness::Complete, other) | (other, Completeness::Complete) => other,
        (left, right) => left.min(right),
    }
}
