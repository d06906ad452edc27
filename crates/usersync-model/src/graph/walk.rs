//! The walk from picks down through groups, and the memory it reuses.

use std::collections::BTreeSet;

use super::bits::{Bits, SparseBits};
use super::resolve::{ResolvePolicy, UnknownMembers};
use super::taint::Taint;
use super::{Category, DirectoryGraph, NodeId};
use crate::completeness::PartialReason;
use crate::id::PrincipalRef;

/// Memory that resolving reuses from one call to the next: one bit per principal and side. One value serves any
/// number of graphs; a new one costs one allocation per growth.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    pub(super) include: Side,
    pub(super) exclude: Side,
}

impl Scratch {
    /// Empty memory, which grows as needed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lists who is no group and was reached on either side, until [`empty`](Self::empty) is called; at most as many as
    /// returned on the included side.
    pub(super) fn gather(&mut self, graph: &DirectoryGraph) -> usize {
        let bound = self.include.gather(graph);
        self.exclude.gather(graph);
        self.exclude.gather_unshown();
        bound
    }

    /// Empties the lists.
    pub(super) fn empty(&mut self) {
        self.include.found.drain(|_, _| {});
        self.exclude.found.drain(|_, _| {});
    }

    /// How much the last walks took: what they reached that is no leaf, and what was picked.
    pub(super) fn walked(&self) -> usize {
        let of =
            |side: &Side| side.groups.len() + side.unseen.len() + side.leaf_picks.len() + side.gone.len();
        1 + of(&self.include) + of(&self.exclude)
    }

    /// The most that both lists can hold.
    pub(super) fn bound(&self, graph: &DirectoryGraph) -> usize {
        self.include.bound(graph) + self.exclude.bound(graph)
    }
}

/// What was reached from one side of a selection.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    /// What the last walk reached through groups or picked: groups, unseen principals and `leaf_picks`.
    visited: Bits,
    /// The groups reached, in the order of the walk.
    pub(super) groups: Vec<u32>,
    /// Reached, but never shown.
    pub(super) unseen: Vec<u32>,
    /// Picked directly.
    leaf_picks: Vec<u32>,
    /// Picks that a complete system does not have; ascending.
    gone: Vec<u32>,
    /// Principals reached that are, or may be, results; empty between resolutions.
    pub(super) found: SparseBits,
    /// Leaves on their way there.
    block: Block,
}

/// How many leaves are brought together at a time.
const BLOCK: usize = 2048;

#[derive(Clone, Debug)]
struct Block(Box<[u32; BLOCK]>);

impl Default for Block {
    fn default() -> Self {
        Self(Box::new([0; BLOCK]))
    }
}

/// What a walk found beside the principals.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    /// Why more may be reached than was.
    pub(super) partial: Option<PartialReason>,
    /// Picks that a complete system does not have.
    pub(super) missing: Vec<PrincipalRef>,
}

impl DirectoryGraph {
    /// `picks`, and all that is below those of them that are groups, to any depth and each once, but for the users and resources below: so
    /// these are groups, and principals that are named and were never shown.
    ///
    /// O(V+E) of the groups below.
    #[must_use]
    pub fn groups_below(&self, picks: impl IntoIterator<Item = NodeId>) -> Vec<NodeId> {
        let mut visited = Bits::default();
        visited.grow(self.len());
        let mut below: Vec<NodeId> = picks.into_iter().filter(|pick| visited.insert(pick.0)).collect();
        let mut next = 0;
        while let Some(&NodeId(group)) = below.get(next) {
            next += 1;
            if self.category(group) == Category::Group {
                let members = self.other_members.row(group);
                below.extend(members.filter(|member| visited.insert(*member)).map(NodeId));
            }
        }
        below
    }
}

impl Side {
    /// Walks from `picks` through all groups below them, each once.
    pub(super) fn walk(
        &mut self,
        graph: &DirectoryGraph,
        picks: &BTreeSet<PrincipalRef>,
        policy: &ResolvePolicy,
    ) -> Survey {
        self.start(graph);
        let mut taint = Taint::default();
        let mut missing = Vec::new();
        for pick in picks {
            let Some(node) = graph.find(pick) else {
                match graph.system_reason(&pick.system) {
                    Some(reason) => taint.add(&reason),
                    None => missing.push(pick.clone()),
                }
                continue;
            };
            match graph.category(node.0) {
                Category::Leaf => {
                    self.visited.insert(node.0);
                    self.leaf_picks.push(node.0);
                }
                Category::Group => {
                    if self.visited.insert(node.0) {
                        self.groups.push(node.0);
                    }
                }
                Category::Unseen if taint.add_system_of(graph, node.0) => {
                    if self.visited.insert(node.0) {
                        self.unseen.push(node.0);
                    }
                }
                Category::Unseen => {
                    self.gone.push(node.0);
                    missing.push(pick.clone());
                }
            }
        }
        self.gone.sort_unstable();
        self.descend(graph, policy, &mut taint);
        Survey {
            partial: taint.into_reason(graph),
            missing,
        }
    }

    /// Walks from `group` through all groups below it, each once.
    pub(super) fn walk_below(&mut self, graph: &DirectoryGraph, group: u32, policy: &ResolvePolicy) {
        self.start(graph);
        self.visited.insert(group);
        self.groups.push(group);
        self.descend(graph, policy, &mut Taint::default());
    }

    /// Whether the last walk reached `group`.
    pub(super) fn visited(&self, group: u32) -> bool {
        self.visited.contains(group)
    }

    /// Whether the last walk reached `node`, which is no group, or picked it. Costs the groups that it is a direct
    /// member of.
    pub(super) fn reaches(&self, graph: &DirectoryGraph, node: u32) -> bool {
        let is_expanded = |group| self.visited.contains(group) && graph.category(group) == Category::Group;
        self.visited.contains(node)
            || self.gone.binary_search(&node).is_ok()
            || graph.leaves.contains(node) && graph.groups.row(node).any(is_expanded)
    }

    fn start(&mut self, graph: &DirectoryGraph) {
        let Self {
            visited,
            groups,
            unseen,
            leaf_picks,
            gone,
            ..
        } = self;
        visited.grow(graph.len());
        for list in [groups, unseen, leaf_picks] {
            for node in list.drain(..) {
                visited.remove(node);
            }
        }
        gone.clear();
    }

    fn descend(&mut self, graph: &DirectoryGraph, policy: &ResolvePolicy, taint: &mut Taint) {
        let mut next = 0;
        while let Some(&group) = self.groups.get(next) {
            next += 1;
            taint.add_system_of(graph, group);
            if let Some(reason) = graph.partial_groups.get(&group) {
                taint.add(reason);
            }
            for member in graph.other_members.row(group) {
                if !self.visited.insert(member) {
                    continue;
                }
                if graph.category(member) == Category::Group {
                    self.groups.push(member);
                    continue;
                }
                self.unseen.push(member);
                if !taint.add_system_of(graph, member) && policy.unknown_members == UnknownMembers::Partial {
                    taint.add_unknown_member(graph, member);
                }
            }
        }
    }

    /// Puts the leaves below the groups of the last walk into `found`; at most as many as returned.
    pub(super) fn gather(&mut self, graph: &DirectoryGraph) -> usize {
        self.found.grow(graph.len());
        self.found.insert_all(&self.leaf_picks);
        let bound = self.bound(graph);
        let fills = self.found.is_filled_by(bound);
        if fills {
            self.found.expect_all();
        }
        let mut put = |leaves: &[u32]| {
            if fills {
                self.found.insert_expected(leaves);
            } else {
                self.found.insert_all(leaves);
            }
        };
        // Rows are short, and lie far apart: brought together first, they are waited for together.
        let (block, mut len) = (&mut self.block.0, 0);
        for &group in &self.groups {
            match graph.leaf_members.plain_row(group) {
                Some(row) if row.len() > BLOCK / 4 => put(row),
                Some(row) => {
                    if len + row.len() > BLOCK {
                        put(&block[..len]);
                        len = 0;
                    }
                    block[len..len + row.len()].copy_from_slice(row);
                    len += row.len();
                }
                None => graph.leaf_members.row(group).for_each(|leaf| put(&[leaf])),
            }
        }
        put(&block[..len]);
        bound.min(graph.len())
    }

    /// The most leaves that the last walk reached.
    pub(super) fn bound(&self, graph: &DirectoryGraph) -> usize {
        let members = self.groups.iter().map(|&group| graph.leaf_members.row_len(group));
        self.leaf_picks.len() + members.sum::<usize>()
    }

    /// Puts in beside them whoever was reached without having been shown. Room was made by [`gather`](Self::gather).
    pub(super) fn gather_unshown(&mut self) {
        self.found.insert_all(&self.unseen);
        self.found.insert_all(&self.gone);
    }

    /// Everyone reached from `picks` who is no group, to be emptied by the caller.
    pub(super) fn reach(
        &mut self,
        graph: &DirectoryGraph,
        picks: &BTreeSet<PrincipalRef>,
        policy: &ResolvePolicy,
    ) -> &mut SparseBits {
        self.walk(graph, picks, policy);
        self.gather(graph);
        self.gather_unshown();
        &mut self.found
    }
}
