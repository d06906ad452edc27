//! Keeps selections resolved while the graph changes.

mod impact;
mod nesting;
mod reach;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use super::bits::Bits;
use super::resolve::{ResolvePolicy, Resolved, Rest, Standing};
use super::walk::{Scratch, Side};
use super::{DirectoryGraph, NodeId};
use crate::completeness::{PartialKind, PartialReason};
use crate::id::PrincipalRef;
use crate::selection::Selection;
use impact::Tally;
use reach::{Climb, EXCLUDED, Header, INCLUDED};

/// A selection kept by one [`LiveSelections`]; never given to another selection of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SelectionId(u32);

impl SelectionId {
    /// The number, for indexing.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A principal whose standing in a selection changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Affected {
    /// In which selection.
    pub selection: SelectionId,
    /// Whose.
    pub node: NodeId,
    /// How it stood.
    pub before: Standing,
    /// How it stands.
    pub after: Standing,
}

/// A principal whose standing changed in whatever selection has an unknown rest: a user or a resource that was shown as
/// unwanted by the policy and is no longer, or the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Elsewhere {
    /// Whose.
    pub node: NodeId,
    /// How it stood: [`Standing::No`] or [`Standing::Unknown`].
    pub before: Standing,
    /// How it stands: the other of the two.
    pub after: Standing,
}

/// What a change did to the selections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impact {
    /// Whose standing changed, ascending, each once; with `elsewhere` complete for all selections that are not in
    /// `re_resolve`, and silent about those that are. What it says of lists that [`Resolved`] made,
    /// [`LiveSelections::still_holds`] tells.
    ///
    /// An entry whose standing is the same before and after is there only to say so where `elsewhere` does not hold.
    pub affected: Vec<Affected>,
    /// Whose standing changed, as said here, in every selection whose rest is unknown and that neither `affected` names
    /// together with the principal nor `re_resolve` names. Such a change says nothing about who [`Resolved`] lists.
    pub elsewhere: Option<Elsewhere>,
    /// Selections to resolve again, ascending: what is known about the rest, about their exclusions or about
    /// missing picks changed, so that whole lists may have, or too much did to list it.
    pub re_resolve: Vec<SelectionId>,
}

/// Many selections, kept resolved while one graph changes: equal to resolving them anew after any history.
///
/// Nothing is stored per result: a principal's standing follows from the groups above it. So one changed
/// membership of a user costs what lies above the two of them and the selections there, whatever the size of the
/// group or of the directory. A changed nesting costs what lies above and below it, and the groups of each
/// selection that reaches the nested one in no other way; a directory read in part makes no difference to that.
///
/// One value goes with one graph. Changes made to the graph directly are noticed at the next call and cost one
/// survey of every selection.
///
/// Members that were never shown may be anything, so that whoever becomes one, or is one no longer, costs a survey of the
/// selections above; where very many do, the selections are to be resolved again instead.
#[derive(Clone, Debug)]
pub struct LiveSelections {
    policy: ResolvePolicy,
    kept: Vec<Option<Kept>>,
    /// Where picks are, and which bits say so quickly.
    picks: HashMap<u32, Vec<(u32, u8)>, RandomState>,
    picked: Bits,
    /// Picks that the graph has no node for.
    nowhere: BTreeMap<PrincipalRef, Vec<(u32, u8)>>,
    /// Selections whose rest is unknown.
    uncertain: BTreeSet<u32>,
    /// Selections that were not surveyed when something changed that they reach: what they say about everyone is not known, and
    /// each change that they may reach is told as one that takes resolving them again.
    loose: BTreeSet<u32>,
    /// How much more may be walked for members that were never shown.
    credit: usize,
    limits: Limits,
    /// Selections to report as to be resolved again with the next change.
    stale: BTreeSet<u32>,
    /// The state of the graph that all this is in step with.
    revision: u64,
    verdicts: u64,
    nodes: usize,
    scratch: Scratch,
    below: Side,
    climb: Climb,
}

#[derive(Clone, Debug)]
struct Kept {
    selection: Selection,
    /// Where its picks are.
    nodes: Vec<u32>,
    header: Header,
    /// How much the last survey walked.
    walked: usize,
}

/// How much work one change may make.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// How many listed principals are compared before and after one change; selections beyond are to be resolved again.
    compared: usize,
    /// How much may be walked at once for members that were never shown.
    credit: usize,
    /// How much more with each change.
    credit_per_change: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            compared: 1 << 23,
            credit: 1 << 22,
            credit_per_change: 1 << 6,
        }
    }
}

impl LiveSelections {
    /// No selections, to be resolved under `policy`.
    #[must_use]
    pub fn new(policy: ResolvePolicy) -> Self {
        Self {
            policy,
            kept: Vec::new(),
            picks: HashMap::default(),
            picked: Bits::default(),
            nowhere: BTreeMap::new(),
            uncertain: BTreeSet::new(),
            loose: BTreeSet::new(),
            credit: Limits::default().credit,
            limits: Limits::default(),
            stale: BTreeSet::new(),
            revision: 0,
            verdicts: 0,
            nodes: 0,
            scratch: Scratch::new(),
            below: Side::default(),
            climb: Climb::default(),
        }
    }

    /// Keeps `selection` from now on.
    pub fn insert(&mut self, graph: &DirectoryGraph, selection: Selection) -> SelectionId {
        self.catch_up(graph);
        let id = u32::try_from(self.kept.len()).expect("memory ends before 2^32 selections are kept");
        self.kept.push(None);
        self.keep(graph, id, selection);
        SelectionId(id)
    }

    /// Keeps `selection` in the place of what `id` stood for.
    pub fn replace(&mut self, graph: &DirectoryGraph, id: SelectionId, selection: Selection) {
        if id.index() < self.kept.len() {
            self.catch_up(graph);
            self.remove(id);
            self.keep(graph, id.0, selection);
        }
    }

    /// Keeps the selection no longer; nothing happens when it is not kept.
    pub fn remove(&mut self, id: SelectionId) {
        let Some(kept) = self.kept.get_mut(id.index()).and_then(Option::take) else {
            return;
        };
        self.uncertain.remove(&id.0);
        self.loose.remove(&id.0);
        self.stale.remove(&id.0);
        for pick in kept.selection.include.iter().chain(&kept.selection.exclude) {
            if let Some(sides) = self.nowhere.get_mut(pick) {
                sides.retain(|&(selection, _)| selection != id.0);
                if sides.is_empty() {
                    self.nowhere.remove(pick);
                }
            }
        }
        for node in kept.nodes {
            let Some(sides) = self.picks.get_mut(&node) else {
                continue;
            };
            sides.retain(|&(selection, _)| selection != id.0);
            if sides.is_empty() {
                self.picks.remove(&node);
                self.picked.remove(node);
            }
        }
    }

    /// The selection that `id` stands for.
    #[must_use]
    pub fn selection(&self, id: SelectionId) -> Option<&Selection> {
        self.kept.get(id.index())?.as_ref().map(|kept| &kept.selection)
    }

    /// The selections kept, ascending.
    pub fn ids(&self) -> impl Iterator<Item = SelectionId> + '_ {
        (0..self.kept.len() as u32)
            .filter(|&id| self.kept[id as usize].is_some())
            .map(SelectionId)
    }

    /// Who the selection stands for; where `id` is kept no longer, nobody is known.
    #[must_use]
    pub fn resolve(&self, graph: &DirectoryGraph, id: SelectionId, scratch: &mut Scratch) -> Resolved {
        match self.selection(id) {
            Some(selection) => graph.resolve(selection, &self.policy, scratch),
            None => Resolved {
                certain: Vec::new(),
                maybe: Vec::new(),
                rest: Rest::Unknown(PartialReason::new(
                    PartialKind::Failed,
                    "the selection is not kept",
                )),
                maybe_reason: None,
                missing: Vec::new(),
            },
        }
    }

    /// Whether `resolved` is still who the selection stands for: what [`resolve`](Self::resolve) answered once, and of which no
    /// [`Impact`] since named the selection.
    ///
    /// Those tell how everybody stands, and where the rest is unknown, somebody may come to be listed among those who are perhaps
    /// selected, or be so no more, and stand as before. So this may say no where nothing changed, if the rest is unknown and an exclusion is in
    /// doubt or a system partial. O(systems).
    #[must_use]
    pub fn still_holds(&self, graph: &DirectoryGraph, id: SelectionId, resolved: &Resolved) -> bool {
        let Some(kept) = self.kept.get(id.index()).and_then(Option::as_ref) else {
            return false;
        };
        let lists_nobody = || resolved.maybe.is_empty() && kept.header.doubt.is_none();
        let is_whole = || graph.systems.iter().all(|system| system.partial.is_none());
        resolved.rest == Rest::Absent || (lists_nobody() && is_whole())
    }

    /// How `node` stands in the selection; unknown where `id` is kept no longer. Costs the groups above the node.
    #[must_use]
    pub fn standing(&self, graph: &DirectoryGraph, id: SelectionId, node: NodeId) -> Standing {
        let Some(kept) = self.kept.get(id.index()).and_then(Option::as_ref) else {
            return Standing::Unknown;
        };
        let is_behind = self.revision != graph.revision || node.index() >= self.nodes;
        if is_behind || self.loose.contains(&id.0) {
            return graph.resolve_for(&kept.selection, &self.policy, node).1;
        }
        let hits = self.hits(graph, node.0, &mut Climb::default());
        let sides = hits.iter().find(|hit| hit.0 == id.0).map_or(0, |hit| hit.1);
        kept.header.standing(sides, self.traits(graph, node.0))
    }

    fn keep(&mut self, graph: &DirectoryGraph, id: u32, selection: Selection) {
        let mut nodes = Vec::new();
        for (picks, side) in [(&selection.include, INCLUDED), (&selection.exclude, EXCLUDED)] {
            for pick in picks {
                match graph.find(pick) {
                    Some(node) => {
                        nodes.push(node.0);
                        self.pick(node.0, (id, side));
                    }
                    None => self.nowhere.entry(pick.clone()).or_default().push((id, side)),
                }
            }
        }
        let header = Header::of(graph, &selection, &self.policy, &mut self.scratch);
        self.note_rest(id, &header);
        self.kept[id as usize] = Some(Kept {
            selection,
            nodes,
            header,
            walked: self.scratch.walked(),
        });
    }

    fn pick(&mut self, node: u32, side: (u32, u8)) {
        self.picks.entry(node).or_default().push(side);
        self.picked.put(node, true);
    }

    fn note_rest(&mut self, id: u32, header: &Header) {
        if header.rest == Rest::Absent {
            self.uncertain.remove(&id);
        } else {
            self.uncertain.insert(id);
        }
    }

    /// Looks for picks among the nodes that are new.
    fn attach_new(&mut self, graph: &DirectoryGraph) {
        for node in self.nodes..graph.len() {
            if self.nowhere.is_empty() {
                break;
            }
            let node = NodeId(node as u32);
            for side in self
                .nowhere
                .remove(&graph.principal_ref(node))
                .unwrap_or_default()
            {
                self.pick(node.0, side);
                if let Some(kept) = &mut self.kept[side.0 as usize] {
                    kept.nodes.push(node.0);
                }
            }
        }
        self.nodes = graph.len();
    }

    /// Gets in step with a graph that was changed directly.
    fn catch_up(&mut self, graph: &DirectoryGraph) {
        self.attach_new(graph);
        if self.revision == graph.revision {
            return;
        }
        let mut tally = Tally::default();
        for id in 0..self.kept.len() as u32 {
            self.resurvey(graph, id, &mut tally);
            if self.kept[id as usize].is_some() {
                self.stale.insert(id);
            }
        }
        self.revision = graph.revision;
        self.verdicts = graph.verdicts;
    }

    /// Surveys the selection again; whether what it says about everyone changed.
    fn resurvey(&mut self, graph: &DirectoryGraph, id: u32, tally: &mut Tally) -> bool {
        let Some(kept) = &mut self.kept[id as usize] else {
            return false;
        };
        let header = Header::of(graph, &kept.selection, &self.policy, &mut self.scratch);
        kept.walked = self.scratch.walked();
        if !self.loose.remove(&id) && kept.header == header {
            return false;
        }
        kept.header = header.clone();
        self.note_rest(id, &header);
        tally.re_resolve.insert(id);
        true
    }

    /// Surveys the selection again since somebody below it was never shown, or is so no longer, as long as that does not take too
    /// much.
    fn note_unshown(&mut self, graph: &DirectoryGraph, id: u32, tally: &mut Tally) {
        let walked = |live: &Self| live.kept[id as usize].as_ref().map_or(0, |kept| kept.walked);
        if walked(self) > self.credit {
            self.loose.insert(id);
            tally.re_resolve.insert(id);
            return;
        }
        self.resurvey(graph, id, tally);
        self.credit = self.credit.saturating_sub(walked(self));
    }

    /// Surveys selections that were not, as far as there is credit. Each change since then was told.
    fn tighten(&mut self, graph: &DirectoryGraph) {
        while let Some(&id) = self.loose.first()
            && self.kept[id as usize]
                .as_ref()
                .is_some_and(|kept| kept.walked <= self.credit)
        {
            self.note_unshown(graph, id, &mut Tally::default());
        }
    }
}
