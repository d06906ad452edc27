//! Memberships that begin or end, followed to those whose standing they change.

use super::super::walk::{Scratch, Side};
use super::super::{Category, DirectoryGraph};
use super::LiveSelections;
use super::impact::{FEW, Tally};
use super::reach::{Climb, EXCLUDED, Hits, INCLUDED, Traits, sides_of};

/// How many memberships are listed in the time that the groups of one member take.
const LISTED_PER_LOOK: usize = 16;

impl LiveSelections {
    /// Memberships of `group` begin, or end.
    pub(super) fn change_members(
        &mut self,
        graph: &mut DirectoryGraph,
        group: u32,
        members: &[u32],
        begins: bool,
        tally: &mut Tally,
    ) {
        let nested = members.iter().filter(|member| {
            graph.category(**member) == Category::Group && graph.is_connected(group, **member) != begins
        });
        if !graph.is_settled_group(group) || nested.count() > FEW {
            self.restructure(graph, group, tally, |graph| {
                for &member in members {
                    graph.set_connected(group, member, begins);
                }
            });
            return;
        }
        let mut climb = std::mem::take(&mut self.climb);
        // What lies above the group does not depend on its members.
        let through = self.hits(graph, group, &mut climb);
        let mut is_any_unseen = false;
        for &member in members {
            if graph.is_connected(group, member) == begins {
                continue;
            }
            let category = graph.category(member);
            if through.is_empty() {
                graph.set_connected(group, member, begins);
                continue;
            }
            is_any_unseen |= category == Category::Unseen;
            if category == Category::Group {
                self.change_nesting(graph, (group, member), &through, begins, &mut climb, tally);
            } else if tally.affected.len() > self.limits.compared {
                graph.set_connected(group, member, begins);
            } else {
                self.change_single(graph, (group, member), &through, begins, &mut climb, tally);
            }
        }
        self.climb = climb;
        if tally.affected.len() > self.limits.compared {
            tally.re_resolve.extend(through.iter().map(|hit| hit.0));
        }
        // Whoever was not shown may be anything, which makes the rest unknown.
        if is_any_unseen {
            for &(selection, _) in &through {
                self.note_unshown(graph, selection, tally);
            }
        }
    }

    /// A membership of someone who is no group. The sides that reach them otherwise are the same before and after.
    fn change_single(
        &mut self,
        graph: &mut DirectoryGraph,
        (group, member): (u32, u32),
        through: &Hits,
        begins: bool,
        climb: &mut Climb,
        tally: &mut Tally,
    ) {
        let mut outside = Hits::new();
        if begins {
            outside = self.hits(graph, member, climb);
        }
        if !graph.set_connected(group, member, begins) {
            return;
        }
        if !begins {
            outside = self.hits(graph, member, climb);
        }
        let traits = self.traits(graph, member);
        for &(selection, sides) in through {
            let without = sides_of(&outside, selection);
            self.compare_sides(
                selection,
                (member, traits),
                without,
                without | sides,
                begins,
                tally,
            );
        }
    }

    /// A membership of a group. Where it is reached otherwise too, from the same sides, nothing changes.
    fn change_nesting(
        &mut self,
        graph: &mut DirectoryGraph,
        (group, member): (u32, u32),
        through: &Hits,
        begins: bool,
        climb: &mut Climb,
        tally: &mut Tally,
    ) {
        if !begins {
            graph.set_connected(group, member, begins);
        }
        let outside = self.hits(graph, member, climb);
        let mut changed = through.clone();
        changed.retain_mut(|(selection, sides)| {
            *sides &= !sides_of(&outside, *selection);
            *sides != 0
        });
        if !changed.is_empty() {
            self.below.walk_below(graph, member, &self.policy);
        }
        if !begins {
            for &hit in &changed {
                if !self.resurvey(graph, hit.0, tally) {
                    self.compare_below(graph, hit, begins, tally);
                }
            }
            return;
        }
        let compared = tally.affected.len();
        for &hit in &changed {
            if let Some(kept) = &self.kept[hit.0 as usize] {
                graph.survey(&kept.selection, &self.policy, &mut self.scratch);
            }
            self.compare_below(graph, hit, begins, tally);
        }
        if !graph.set_connected(group, member, begins) {
            tally.affected.truncate(compared);
            return;
        }
        for &(selection, _) in &changed {
            self.resurvey(graph, selection, tally);
        }
    }

    /// Compares everyone below the group in question whom the selection reaches, from the sides of `hit`, with the
    /// membership and not without it. The scratch holds what is reached without it.
    fn compare_below(&mut self, graph: &DirectoryGraph, hit: (u32, u8), begins: bool, tally: &mut Tally) {
        let (selection, gained) = hit;
        if tally.affected.len() > self.limits.compared {
            tally.re_resolve.insert(selection);
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        // Looking at the groups of each costs more than a list of everyone whom the selection reaches, unless those are many
        // more.
        let lists = scratch.bound(graph) <= self.below.bound(graph).saturating_mul(LISTED_PER_LOOK);
        if lists {
            scratch.gather(graph);
            scratch.include.gather_unshown();
        }
        let Scratch { include, exclude } = &scratch;
        let reaches = |side: &Side, node| {
            if lists {
                side.found.contains(node)
            } else {
                side.reaches(graph, node)
            }
        };
        let sides = |included: bool, excluded: bool| {
            (u8::from(included) * INCLUDED) | (u8::from(excluded) * EXCLUDED)
        };
        let mut compare = |node| {
            let without = sides(reaches(include, node), reaches(exclude, node));
            if without | gained == without {
                return;
            }
            let traits = self.traits(graph, node);
            if traits.category == Category::Leaf && !traits.wanted {
                return;
            }
            self.compare_sides(
                selection,
                (node, traits),
                without,
                without | gained,
                begins,
                tally,
            );
        };
        let is_new = |group| gained & !sides(include.visited(group), exclude.visited(group)) != 0;
        for &group in self.below.groups.iter().filter(|group| is_new(**group)) {
            let members = graph.leaf_members.row(group);
            members.for_each(&mut compare);
        }
        self.below.unseen.iter().copied().for_each(compare);
        scratch.empty();
        self.scratch = scratch;
    }

    fn compare_sides(
        &self,
        selection: u32,
        (node, traits): (u32, Traits),
        without: u8,
        with: u8,
        begins: bool,
        tally: &mut Tally,
    ) {
        if with == without {
            return;
        }
        let (before, after) = if begins { (without, with) } else { (with, without) };
        self.compare(selection, node, (before, traits), (after, traits), tally);
    }
}
