//! The walk from picks down through groups, and the memory it reuses.

use std::collections::BTreeSet;

use super::bits::Bits;
use super::resolve::{ResolvePolicy, UnknownMembers};
use super::taint::Taint;
use super::{Category, DirectoryGraph};
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
}

/// What was reached from one side of a selection.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    /// Groups and unseen principals reached; empty between walks.
    visited: Bits,
    /// The groups reached, in the order of the walk.
    groups: Vec<u32>,
    /// Reached, but never shown.
    pub(super) unseen: Vec<u32>,
    /// Picked directly.
    leaf_picks: Vec<u32>,
    /// Picks that a complete system does not have.
    pub(super) gone: Vec<u32>,
    /// Principals reached that are, or may be, results; empty between resolutions.
    pub(super) found: Bits,
    /// The words of `found` that are not zero, where they are few.
    touched: Vec<u32>,
    /// Whether `touched` lists them.
    sparse: bool,
}

/// What a walk found beside the principals.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    /// Why more may be reached than was.
    pub(super) partial: Option<PartialReason>,
    /// Picks that a complete system does not have.
    pub(super) missing: Vec<PrincipalRef>,
}

impl Side {
    /// Walks from `picks` through all groups below them, each once.
    pub(super) fn walk(
        &mut self,
        graph: &DirectoryGraph,
        picks: &BTreeSet<PrincipalRef>,
        policy: &ResolvePolicy,
    ) -> Survey {
        self.visited.grow(graph.len());
        self.groups.clear();
        self.unseen.clear();
        self.leaf_picks.clear();
        self.gone.clear();
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
                Category::Leaf => self.leaf_picks.push(node.0),
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
        self.descend(graph, policy, &mut taint);
        for &node in self.groups.iter().chain(&self.unseen) {
            self.visited.remove(node);
        }
        Survey {
            partial: taint.into_reason(graph),
            missing,
        }
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

    /// Puts the leaves below the groups of the last walk into `found`.
    pub(super) fn gather(&mut self, graph: &DirectoryGraph) {
        self.found.grow(graph.len());
        let bound: usize = self
            .groups
            .iter()
            .map(|&group| graph.leaf_members.row_len(group))
            .sum();
        self.sparse = bound + self.leaf_picks.len() < self.found.words().len() / 32;
        self.touched.clear();
        for at in 0..self.leaf_picks.len() {
            self.put(self.leaf_picks[at]);
        }
        for at in 0..self.groups.len() {
            let group = self.groups[at];
            match graph.leaf_members.plain_row(group) {
                Some(row) if !self.sparse => self.found.insert_all(row),
                Some(row) => row.iter().for_each(|&leaf| self.put(leaf)),
                None => graph.leaf_members.row(group).for_each(|leaf| self.put(leaf)),
            }
        }
        self.touched.sort_unstable();
    }

    /// Adds one principal to `found`.
    pub(super) fn put(&mut self, node: u32) {
        if self.sparse {
            let at = node >> 6;
            if self.found.word(at as usize) == 0 {
                self.touched.push(at);
            }
        }
        self.found.insert(node);
    }

    /// The positions of all words of `found` that may not be zero, ascending after [`gather`](Self::gather).
    pub(super) fn each_word(&self, mut visit: impl FnMut(usize, u64)) {
        if self.sparse {
            for &at in &self.touched {
                visit(at as usize, self.found.word(at as usize));
            }
        } else {
            for (at, &word) in self.found.words().iter().enumerate() {
                if word != 0 {
                    visit(at, word);
                }
            }
        }
    }

    /// Empties `found`.
    pub(super) fn clear(&mut self) {
        if self.sparse {
            for &at in &self.touched {
                self.found.words_mut()[at as usize] = 0;
            }
        } else {
            self.found.words_mut().fill(0);
        }
    }
}
