//! What a selection reaches, seen from below.

use super::super::resolve::{ResolvePolicy, Rest, Standing, merged};
use super::super::walk::Scratch;
use super::super::{Bits, Category, DirectoryGraph};
use super::LiveSelections;
use crate::completeness::PartialReason;
use crate::id::PrincipalRef;
use crate::selection::Selection;

pub(super) const INCLUDED: u8 = 1;
pub(super) const EXCLUDED: u8 = 2;

/// What a selection says about everyone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) rest: Rest,
    pub(super) doubt: Option<PartialReason>,
    pub(super) missing: Vec<PrincipalRef>,
}

/// What decides about one principal beside the selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traits {
    pub(super) category: Category,
    pub(super) wanted: bool,
    /// Whether its system is read in part.
    pub(super) partial: bool,
}

/// The memory of a walk up.
#[derive(Clone, Debug, Default)]
pub(super) struct Climb {
    pub(super) visited: Bits,
    pub(super) queue: Vec<u32>,
}

/// Selections with the sides they reach something from, ascending.
pub(super) type Hits = Vec<(u32, u8)>;

impl Header {
    pub(super) fn of(
        graph: &DirectoryGraph,
        selection: &Selection,
        policy: &ResolvePolicy,
        scratch: &mut Scratch,
    ) -> Self {
        let (include, exclude) = graph.survey(selection, policy, scratch);
        Self {
            rest: Rest::from_reason(include.partial),
            doubt: exclude.partial,
            missing: merged(include.missing, exclude.missing),
        }
    }

    /// How a principal stands that the selection reaches from `sides`; as
    /// [`Resolved::standing`](super::super::Resolved::standing) says it.
    pub(super) fn standing(&self, sides: u8, traits: Traits) -> Standing {
        let included = sides & INCLUDED != 0;
        let excluded = sides & EXCLUDED != 0;
        match traits.category {
            Category::Leaf | Category::Unseen if excluded => Standing::No,
            Category::Leaf if !traits.wanted => Standing::No,
            Category::Leaf if included && self.doubt.is_none() => Standing::Yes,
            Category::Leaf if included => Standing::Unknown,
            Category::Unseen if included && traits.partial => Standing::Unknown,
            _ => self.rest.standing(),
        }
    }
}

impl Traits {
    /// How a principal stands that a selection does not reach whose rest is unknown.
    pub(super) fn unreached(self) -> Standing {
        match self.category {
            Category::Leaf if !self.wanted => Standing::No,
            _ => Standing::Unknown,
        }
    }
}

impl LiveSelections {
    /// Selections with the sides they reach `node` from: the picks among the groups above it.
    pub(super) fn hits(&self, graph: &DirectoryGraph, node: u32, climb: &mut Climb) -> Hits {
        let mut hits = Vec::new();
        climb.visited.grow(graph.len());
        climb.queue.clear();
        climb.queue.push(node);
        climb.visited.insert(node);
        let mut next = 0;
        while let Some(&node) = climb.queue.get(next) {
            next += 1;
            if self.picked.contains(node) {
                hits.extend(self.picks.get(&node).into_iter().flatten().copied());
            }
            for group in graph.groups.row(node) {
                if graph.category(group) == Category::Group && climb.visited.insert(group) {
                    climb.queue.push(group);
                }
            }
        }
        for &node in &climb.queue {
            climb.visited.remove(node);
        }
        hits.sort_unstable();
        hits.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 |= next.1;
            }
            same
        });
        hits
    }

    pub(super) fn traits(&self, graph: &DirectoryGraph, node: u32) -> Traits {
        Traits {
            category: graph.category(node),
            wanted: graph.leaves.wanted(&self.policy).contains(node),
            partial: graph.node_system(node).partial.is_some(),
        }
    }
}

pub(super) fn sides_of(hits: &Hits, selection: u32) -> u8 {
    hits.binary_search_by_key(&selection, |hit| hit.0)
        .map_or(0, |at| hits[at].1)
}
