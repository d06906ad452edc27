//! Folds changes into the graph, and tells whose standing they changed.

use std::collections::BTreeSet;

use super::super::resolve::{Rest, Standing};
use super::super::{Category, DirectoryGraph, NodeId};
use super::reach::{Traits, sides_of};
use super::{Affected, Elsewhere, Impact, LiveSelections, SelectionId};
use crate::completeness::Completeness;
use crate::id::SystemId;
use crate::principal::DirectoryChange;

/// How many members of a group may change for each change to be followed by itself, and of how many one.
pub(super) const FEW: usize = 8;
const FEW_OF: usize = 16;

impl LiveSelections {
    /// Folds one change of an incremental read of `system` into the graph, and tells whose standing it changed.
    ///
    /// A member that is a user or a resource costs the groups above it and the selections there. All else costs
    /// the selections that reach the changed principal, twice; many groups that become members at once cost as much as one.
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
                let members = graph.intern_members(system, members);
                self.attach_new(graph);
                self.change_members(graph, group, &members, true, &mut tally);
            }
            DirectoryChange::MembersRemoved {
                group,
                system,
                members,
            } => {
                let group = graph.intern_in(number, group.as_str());
                let members = graph.intern_members(system, members);
                self.attach_new(graph);
                self.change_members(graph, group, &members, false, &mut tally);
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
    ///
    /// Where few members of a group change, costs what [`apply`](Self::apply) costs for those, and reads the others once.
    pub fn set_members(&mut self, graph: &mut DirectoryGraph, group: NodeId, members: &[NodeId]) -> Impact {
        let changes = graph.member_changes(group.0, members);
        let few = changes.begin.len() + changes.end.len() <= FEW.max(members.len() / FEW_OF);
        if !few || !graph.is_settled_group(group.0) {
            return self.change(graph, group.0, |graph| graph.set_members(group, members));
        }
        self.catch_up(graph);
        let mut tally = Tally::default();
        // In this order, what a selection says about everyone is never another thing in between than before and after.
        self.change_members(graph, group.0, &changes.begin, true, &mut tally);
        self.change_members(graph, group.0, &changes.end, false, &mut tally);
        self.settle(graph, tally)
    }

    /// [`DirectoryGraph::set_group_verdict`], telling whose standing it changed.
    ///
    /// For a group that was told as one, costs a survey of the selections that reach it, and nothing where the verdict is
    /// the one before.
    pub fn set_group_verdict(
        &mut self,
        graph: &mut DirectoryGraph,
        group: NodeId,
        verdict: Completeness,
    ) -> Impact {
        if !graph.is_settled_group(group.0) {
            return self.change(graph, group.0, |graph| graph.set_group_verdict(group, verdict));
        }
        self.catch_up(graph);
        let mut tally = Tally::default();
        let reason = match &verdict {
            Completeness::Complete => None,
            Completeness::Partial(reason) => Some(reason),
        };
        if graph.partial_groups.get(&group.0) != reason {
            graph.set_group_verdict(group, verdict);
            let mut climb = std::mem::take(&mut self.climb);
            for (selection, _) in self.hits(graph, group.0, &mut climb) {
                self.resurvey(graph, selection, &mut tally);
            }
            self.climb = climb;
        }
        self.settle(graph, tally)
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
        if before.category != Category::Leaf || after.category != Category::Leaf {
            for &(selection, _) in &removed {
                self.note_unshown(graph, selection, tally);
            }
        }
        for &(selection, sides) in &removed {
            let left = sides_of(&has, selection);
            self.compare(selection, node, (sides, before), (left, after), tally);
        }
        tally.note_elsewhere(node, before, after);
    }

    /// Anything at `root` or below it changes: compares the selections that reach it before and after.
    pub(super) fn restructure(
        &mut self,
        graph: &mut DirectoryGraph,
        root: u32,
        tally: &mut Tally,
        change: impl FnOnce(&mut DirectoryGraph),
    ) {
        let mut climb = std::mem::take(&mut self.climb);
        let had = self.hits(graph, root, &mut climb);
        let traits_before = self.traits(graph, root);
        let mut before = Vec::with_capacity(had.len());
        let mut listed = 0;
        for &(selection, _) in &had {
            if listed > self.limits.compared {
                tally.re_resolve.insert(selection);
                continue;
            }
            let standings = self.standings(graph, selection, root);
            listed += standings.len();
            before.push((selection, standings));
        }
        change(graph);
        for (selection, before) in before {
            if !self.resurvey(graph, selection, tally) {
                let after = self.standings(graph, selection, root);
                self.compare_all(selection, &before, &after, tally);
            }
        }
        for &selection in &tally.re_resolve.clone() {
            self.resurvey(graph, selection, tally);
        }
        let has = self.hits(graph, root, &mut climb);
        self.climb = climb;
        let traits_after = self.traits(graph, root);
        for &(selection, sides) in &had {
            let left = sides_of(&has, selection);
            self.compare(
                selection,
                root,
                (sides, traits_before),
                (left, traits_after),
                tally,
            );
        }
        tally.note_elsewhere(root, traits_before, traits_after);
    }

    pub(super) fn compare(
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
        if self.loose.contains(&selection) || tally.affected.len() > self.limits.compared {
            tally.re_resolve.insert(selection);
            return;
        }
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

    /// How everyone but `root` stands, as far as a change at `root` can make a difference; ascending. Others stand as
    /// the rest, or are unwanted by the policy.
    fn standings(&mut self, graph: &DirectoryGraph, selection: u32, root: u32) -> Vec<(NodeId, Standing)> {
        let Some(kept) = &self.kept[selection as usize] else {
            return Vec::new();
        };
        let resolved = graph.resolve(&kept.selection, &self.policy, &mut self.scratch);
        let excluded = match resolved.rest {
            Rest::Absent => Vec::new(),
            Rest::Unknown(_) => graph.excluded(&kept.selection, &self.policy, &mut self.scratch),
        };
        let lists = [
            (&resolved.certain, Standing::Yes),
            (&resolved.maybe, Standing::Unknown),
            (&excluded, Standing::No),
        ];
        let mut standings: Vec<_> = lists
            .into_iter()
            .flat_map(|(list, standing)| list.iter().map(move |&node| (node, standing)))
            .filter(|(node, _)| node.0 != root)
            .collect();
        if !standings.is_sorted() {
            standings.sort_unstable();
        }
        standings
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
        let more = self.credit + self.limits.credit_per_change;
        self.credit = more.min(self.limits.credit);
        self.tighten(graph);
        tally.finish(&self.uncertain, !self.loose.is_empty())
    }
}

/// A report in the making.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) affected: Vec<Affected>,
    elsewhere: Option<Elsewhere>,
    pub(super) re_resolve: BTreeSet<u32>,
}

impl Tally {
    /// Every selection that reaches `node` has to be compared beside.
    fn note_elsewhere(&mut self, node: u32, before: Traits, after: Traits) {
        let (before, after) = (before.unreached(), after.unreached());
        if before != after {
            let node = NodeId(node);
            self.elsewhere = Some(Elsewhere { node, before, after });
        }
    }

    /// `may_more`: whether the rest of others than `uncertain` may be unknown, too.
    fn finish(mut self, uncertain: &BTreeSet<u32>, may_more: bool) -> Impact {
        let elsewhere = self.elsewhere.filter(|_| may_more || !uncertain.is_empty());
        let holds_elsewhere = |one: &Affected| {
            elsewhere.is_some_and(|other| other.node == one.node) && uncertain.contains(&one.selection.0)
        };
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
        self.affected
            .retain(|one| one.before != one.after || holds_elsewhere(one));
        Impact {
            affected: self.affected,
            elsewhere,
            re_resolve: self.re_resolve.into_iter().map(SelectionId).collect(),
        }
    }
}
