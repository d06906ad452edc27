//! Folds changes into the graph, and tells whose standing they changed.

use std::collections::BTreeSet;

use super::super::resolve::Standing;
use super::super::{Category, DirectoryGraph, NodeId};
use super::reach::{Climb, Hits, Traits, sides_of};
use super::{Affected, Impact, LiveSelections, SelectionId};
use crate::completeness::Completeness;
use crate::id::SystemId;
use crate::principal::DirectoryChange;

/// How many listed principals are compared before and after one change; selections beyond are to be resolved again.
const MAX_COMPARED: usize = 1 << 23;

impl LiveSelections {
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

/// A report in the making.
#[derive(Debug, Default)]
pub(super) struct Tally {
    affected: Vec<Affected>,
    pub(super) re_resolve: BTreeSet<u32>,
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
