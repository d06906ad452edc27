//! Keeps selections resolved while the graph changes.

use std::collections::{BTreeMap, BTreeSet};

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use super::bits::Bits;
use super::resolve::{ResolvePolicy, Resolved, Rest, Standing, merged};
use super::walk::Scratch;
use super::{Category, DirectoryGraph, NodeId};
use crate::completeness::{Completeness, PartialKind, PartialReason};
use crate::id::{PrincipalRef, SystemId};
use crate::principal::DirectoryChange;
use crate::selection::Selection;

/// How many listed principals are compared before and after one change; selections beyond are to be resolved again.
const MAX_COMPARED: usize = 1 << 23;

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

/// What a change did to the selections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impact {
    /// Whose standing changed, ascending, each once; complete for all selections that are not in `re_resolve`,
    /// and silent about those that are.
    pub affected: Vec<Affected>,
    /// Selections to resolve again, ascending: what is known about the rest, about their exclusions or about
    /// missing picks changed, so that whole lists may have, or too much did to list it.
    pub re_resolve: Vec<SelectionId>,
}

/// Many selections, kept resolved while one graph changes: equal to resolving them anew after any history.
///
/// Nothing is stored per result: a principal's standing follows from the groups above it. So one changed
/// membership of a user costs what lies above the two of them and the selections there, whatever the size of the
/// group or of the directory. A changed nesting costs the selections above it.
///
/// One value goes with one graph. Changes made to the graph directly are noticed at the next call and cost one
/// survey of every selection.
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
    /// Selections to report as to be resolved again with the next change.
    stale: BTreeSet<u32>,
    /// The state of the graph that all this is in step with.
    revision: u64,
    verdicts: u64,
    nodes: usize,
    scratch: Scratch,
    climb: Climb,
}

const INCLUDED: u8 = 1;
const EXCLUDED: u8 = 2;

#[derive(Clone, Debug)]
struct Kept {
    selection: Selection,
    /// Where its picks are.
    nodes: Vec<u32>,
    header: Header,
}

/// What a selection says about everyone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    rest: Rest,
    doubt: Option<PartialReason>,
    missing: Vec<PrincipalRef>,
}

/// What decides about one principal beside the selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Traits {
    category: Category,
    wanted: bool,
    /// Whether its system is read in part.
    partial: bool,
}

/// The memory of a walk up.
#[derive(Clone, Debug, Default)]
struct Climb {
    visited: Bits,
    queue: Vec<u32>,
}

/// Selections with the sides they reach something from, ascending.
type Hits = Vec<(u32, u8)>;

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
            stale: BTreeSet::new(),
            revision: 0,
            verdicts: 0,
            nodes: 0,
            scratch: Scratch::new(),
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
                denied: Vec::new(),
                rest: Rest::Unknown(PartialReason::new(
                    PartialKind::Failed,
                    "the selection is not kept",
                )),
                maybe_reason: None,
                missing: Vec::new(),
            },
        }
    }

    /// How `node` stands in the selection; unknown where `id` is kept no longer. Costs the groups above the node.
    #[must_use]
    pub fn standing(&self, graph: &DirectoryGraph, id: SelectionId, node: NodeId) -> Standing {
        let Some(kept) = self.kept.get(id.index()).and_then(Option::as_ref) else {
            return Standing::Unknown;
        };
        if self.revision != graph.revision || node.index() >= self.nodes {
            return graph
                .resolve(&kept.selection, &self.policy, &mut Scratch::new())
                .standing(node);
        }
        let hits = self.hits(graph, node.0, &mut Climb::default());
        let sides = hits.iter().find(|hit| hit.0 == id.0).map_or(0, |hit| hit.1);
        kept.header.standing(sides, self.traits(graph, node.0))
    }

    /// Folds one change of an incremental read of `system` into the graph, and tells whose standing it changed.
    ///
    /// A member that is a user or a resource costs the groups above it and the selections there. All else costs
    /// the selections that reach the changed principal, twice.
    pub fn apply(
        &mut self,
        graph: &mut DirectoryGraph,
        system: &SystemId,
        change: &DirectoryChange,
    ) -> Impact {
        self.catch_up(graph);
        let number = graph.intern_system(system);
        let mut tally = Tally::default();
        match change {
            DirectoryChange::Upsert(principal) => {
                let node = graph.intern_in(number, principal.id.as_str());
                self.attach_new(graph);
                if graph.category(node) == Category::Group && !graph.agrees(node, principal.kind) {
                    self.restructure(graph, node, &mut tally, |graph| graph.apply(system, change));
                } else {
                    self.change_entry(graph, node, &mut tally, |graph| graph.apply(system, change));
                }
            }
            DirectoryChange::Removed(object) => {
                let node = graph.intern_in(number, object.as_str());
                self.attach_new(graph);
                if graph.category(node) == Category::Group || graph.is_in_implied_group(node) {
                    self.restructure(graph, node, &mut tally, |graph| graph.apply(system, change));
                } else {
                    self.change_entry(graph, node, &mut tally, |graph| graph.apply(system, change));
                }
            }
            DirectoryChange::Members {
                group,
                system,
                members,
            } => {
                let group = graph.intern_in(number, group.as_str());
                let members = graph.intern_all(system, members);
                self.attach_new(graph);
                self.change_members(graph, group, &members, DirectoryGraph::connect, &mut tally);
            }
            DirectoryChange::MembersRemoved {
                group,
                system,
                members,
            } => {
                let group = graph.intern_in(number, group.as_str());
                let members = graph.intern_all(system, members);
                self.attach_new(graph);
                self.change_members(graph, group, &members, DirectoryGraph::disconnect, &mut tally);
            }
            DirectoryChange::MembersReset { group } => {
                let group = graph.intern_in(number, group.as_str());
                self.attach_new(graph);
                self.restructure(graph, group, &mut tally, |graph| graph.disconnect_members(group));
            }
        }
        self.settle(graph, tally)
    }

    /// [`DirectoryGraph::set_members`], telling whose standing it changed.
    pub fn set_members(&mut self, graph: &mut DirectoryGraph, group: NodeId, members: &[NodeId]) -> Impact {
        self.change(graph, group.0, |graph| graph.set_members(group, members))
    }

    /// [`DirectoryGraph::set_group_verdict`], telling whose standing it changed.
    pub fn set_group_verdict(
        &mut self,
        graph: &mut DirectoryGraph,
        group: NodeId,
        verdict: Completeness,
    ) -> Impact {
        self.change(graph, group.0, |graph| graph.set_group_verdict(group, verdict))
    }

    /// [`DirectoryGraph::set_verdict`], telling which selections to resolve again. Surveys every selection when
    /// the verdict is another one.
    pub fn set_verdict(
        &mut self,
        graph: &mut DirectoryGraph,
        system: &SystemId,
        verdict: Completeness,
    ) -> Impact {
        self.catch_up(graph);
        graph.set_verdict(system, verdict);
        self.settle(graph, Tally::default())
    }

    fn change(
        &mut self,
        graph: &mut DirectoryGraph,
        root: u32,
        change: impl FnOnce(&mut DirectoryGraph),
    ) -> Impact {
        self.catch_up(graph);
        let mut tally = Tally::default();
        self.restructure(graph, root, &mut tally, change);
        self.settle(graph, tally)
    }

    /// One principal is shown, shown otherwise, or removed; nobody is below it.
    fn change_entry(
        &mut self,
        graph: &mut DirectoryGraph,
        node: u32,
        tally: &mut Tally,
        change: impl FnOnce(&mut DirectoryGraph),
    ) {
        let (before, in_groups) = (self.traits(graph, node), graph.groups.row_len(node));
        let mut climb = std::mem::take(&mut self.climb);
        let removed = {
            let had = self.hits(graph, node, &mut climb);
            change(graph);
            had
        };
        let after = self.traits(graph, node);
        if before == after && in_groups == graph.groups.row_len(node) {
            self.climb = climb;
            return;
        }
        let has = self.hits(graph, node, &mut climb);
        self.climb = climb;
        let mut touched: Vec<u32> = removed.iter().map(|hit| hit.0).collect();
        if before.category != Category::Leaf || after.category != Category::Leaf {
            for &selection in &touched {
                self.resurvey(graph, selection, tally);
            }
        }
        touched.extend(&self.uncertain);
        touched.sort_unstable();
        touched.dedup();
        for selection in touched {
            let sides = (sides_of(&removed, selection), sides_of(&has, selection));
            self.compare(selection, node, (sides.0, before), (sides.1, after), tally);
        }
    }

    /// Memberships of `group` begin or end.
    fn change_members(
        &mut self,
        graph: &mut DirectoryGraph,
        group: u32,
        members: &[u32],
        change: fn(&mut DirectoryGraph, u32, u32) -> bool,
        tally: &mut Tally,
    ) {
        if graph.category(group) != Category::Group || graph.is_implied_group(group) {
            self.restructure(graph, group, tally, |graph| {
                for &member in members {
                    change(graph, group, member);
                }
            });
            return;
        }
        let mut climb = std::mem::take(&mut self.climb);
        let through = self.hits(graph, group, &mut climb);
        let mut others = Vec::new();
        for &member in members {
            if through.is_empty() {
                change(graph, group, member);
            } else if graph.leaves.contains(member) {
                self.change_leaf(graph, (group, member), &through, change, &mut climb, tally);
            } else {
                others.push(member);
            }
        }
        self.climb = climb;
        if !others.is_empty() {
            self.restructure(graph, group, tally, |graph| {
                for &member in &others {
                    change(graph, group, member);
                }
            });
        }
    }

    /// The sides that a leaf has beside those `through` the group are the same before and after.
    fn change_leaf(
        &self,
        graph: &mut DirectoryGraph,
        (group, leaf): (u32, u32),
        through: &Hits,
        change: fn(&mut DirectoryGraph, u32, u32) -> bool,
        climb: &mut Climb,
        tally: &mut Tally,
    ) {
        let was_member = graph.is_connected(group, leaf);
        let outside = if was_member {
            None
        } else {
            Some(self.hits(graph, leaf, climb))
        };
        if !change(graph, group, leaf) {
            return;
        }
        let outside = outside.unwrap_or_else(|| self.hits(graph, leaf, climb));
        let traits = self.traits(graph, leaf);
        for &(selection, sides) in through {
            let without = sides_of(&outside, selection);
            let with = without | sides;
            if with != without {
                let (before, after) = if was_member {
                    (with, without)
                } else {
                    (without, with)
                };
                self.compare(selection, leaf, (before, traits), (after, traits), tally);
            }
        }
    }

    /// Anything at `root` or below it changes: compares the selections that reach it before and after.
    fn restructure(
        &mut self,
        graph: &mut DirectoryGraph,
        root: u32,
        tally: &mut Tally,
        change: impl FnOnce(&mut DirectoryGraph),
    ) {
        let mut climb = std::mem::take(&mut self.climb);
        let hits = self.hits(graph, root, &mut climb);
        self.climb = climb;
        let traits_before = self.traits(graph, root);
        let mut before = Vec::with_capacity(hits.len());
        let mut listed = 0;
        for &(selection, _) in &hits {
            if listed > MAX_COMPARED {
                tally.re_resolve.insert(selection);
                continue;
            }
            let standings = self.standings(graph, selection);
            listed += standings.len();
            before.push((selection, standings));
        }
        change(graph);
        for (selection, before) in before {
            if !self.resurvey(graph, selection, tally) {
                let after = self.standings(graph, selection);
                self.compare_all(selection, &before, &after, tally);
            }
        }
        for &selection in &tally.re_resolve.clone() {
            self.resurvey(graph, selection, tally);
        }
        let traits_after = self.traits(graph, root);
        if traits_before != traits_after {
            for &selection in &self.uncertain {
                if hits.binary_search_by_key(&selection, |hit| hit.0).is_err() {
                    self.compare(selection, root, (0, traits_before), (0, traits_after), tally);
                }
            }
        }
    }

    fn compare(
        &self,
        selection: u32,
        node: u32,
        before: (u8, Traits),
        after: (u8, Traits),
        tally: &mut Tally,
    ) {
        let Some(kept) = &self.kept[selection as usize] else {
            return;
        };
        tally.affected.push(Affected {
            selection: SelectionId(selection),
            node: NodeId(node),
            before: kept.header.standing(before.0, before.1),
            after: kept.header.standing(after.0, after.1),
        });
    }

    /// Both lists are ascending; who is in neither stands as the rest, which did not change.
    fn compare_all(
        &self,
        selection: u32,
        before: &[(NodeId, Standing)],
        after: &[(NodeId, Standing)],
        tally: &mut Tally,
    ) {
        let Some(kept) = &self.kept[selection as usize] else {
            return;
        };
        let rest = kept.header.rest.standing();
        let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
        loop {
            let node = match (before.peek(), after.peek()) {
                (None, None) => return,
                (Some(one), None) | (None, Some(one)) => one.0,
                (Some(left), Some(right)) => left.0.min(right.0),
            };
            let take = |list: &mut std::iter::Peekable<std::slice::Iter<'_, (NodeId, Standing)>>| {
                list.next_if(|entry| entry.0 == node)
                    .map_or(rest, |entry| entry.1)
            };
            let (before, after) = (take(&mut before), take(&mut after));
            if before != after {
                tally.affected.push(Affected {
                    selection: SelectionId(selection),
                    node,
                    before,
                    after,
                });
            }
        }
    }

    /// Everyone whom the selection lists, ascending.
    fn standings(&mut self, graph: &DirectoryGraph, selection: u32) -> Vec<(NodeId, Standing)> {
        let Some(kept) = &self.kept[selection as usize] else {
            return Vec::new();
        };
        let resolved = graph.resolve(&kept.selection, &self.policy, &mut self.scratch);
        let lists = [
            (&resolved.certain, Standing::Yes),
            (&resolved.maybe, Standing::Unknown),
            (&resolved.denied, Standing::No),
        ];
        let mut standings: Vec<_> = lists
            .into_iter()
            .flat_map(|(list, standing)| list.iter().map(move |&node| (node, standing)))
            .collect();
        if !standings.is_sorted() {
            standings.sort_unstable();
        }
        standings
    }

    /// Selections with the sides they reach `node` from: the picks among the groups above it.
    fn hits(&self, graph: &DirectoryGraph, node: u32, climb: &mut Climb) -> Hits {
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

    fn traits(&self, graph: &DirectoryGraph, node: u32) -> Traits {
        Traits {
            category: graph.category(node),
            wanted: graph.wanted(&self.policy, (node >> 6) as usize) >> (node & 63) & 1 == 1,
            partial: graph.node_system(node).partial.is_some(),
        }
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
        if kept.header == header {
            return false;
        }
        kept.header = header.clone();
        self.note_rest(id, &header);
        tally.re_resolve.insert(id);
        true
    }

    /// Draws the conclusions of changed verdicts, and makes the report.
    fn settle(&mut self, graph: &DirectoryGraph, mut tally: Tally) -> Impact {
        if self.verdicts != graph.verdicts {
            for id in 0..self.kept.len() as u32 {
                self.resurvey(graph, id, &mut tally);
            }
        }
        self.revision = graph.revision;
        self.verdicts = graph.verdicts;
        tally.re_resolve.append(&mut self.stale);
        tally.finish()
    }
}

impl Header {
    fn of(
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

    /// How a principal stands that the selection reaches from `sides`; as [`Resolved::standing`] says it.
    fn standing(&self, sides: u8, traits: Traits) -> Standing {
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

/// A report in the making.
#[derive(Debug, Default)]
struct Tally {
    affected: Vec<Affected>,
    re_resolve: BTreeSet<u32>,
}

impl Tally {
    fn finish(mut self) -> Impact {
        self.affected
            .retain(|one| !self.re_resolve.contains(&one.selection.0));
        self.affected.sort_by_key(|one| (one.selection, one.node));
        self.affected.dedup_by(|next, kept| {
            let same = (next.selection, next.node) == (kept.selection, kept.node);
            if same {
                kept.after = next.after;
            }
            same
        });
        self.affected.retain(|one| one.before != one.after);
        Impact {
            affected: self.affected,
            re_resolve: self.re_resolve.into_iter().map(SelectionId).collect(),
        }
    }
}

fn sides_of(hits: &Hits, selection: u32) -> u8 {
    hits.binary_search_by_key(&selection, |hit| hit.0)
        .map_or(0, |at| hits[at].1)
}
