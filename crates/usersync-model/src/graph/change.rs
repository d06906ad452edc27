//! Changes to a graph.

use super::{Category, DirectoryGraph, Entry, GraphWarning, NodeId};
use crate::completeness::{Completeness, PartialKind, PartialReason};
use crate::id::{ObjectId, SystemId};
use crate::principal::{DirectoryChange, GroupKind, Principal, PrincipalKind};

/// Direct memberships of one group that begin and that end; both ascending.
#[derive(Debug, Default)]
pub(super) struct MemberChanges {
    pub(super) begin: Vec<u32>,
    pub(super) end: Vec<u32>,
}

impl DirectoryGraph {
    /// Folds in one change of an incremental read of `system`.
    ///
    /// Changes count in their order: the last one about a thing wins. A principal that turns into something
    /// else (user, group, resource) contradicts what was told before: it is taken for neither, and the system is
    /// partial until the principal is removed or everything is read anew.
    ///
    /// Costs O(log n) per membership named, amortized, and for [`DirectoryChange::Removed`] and
    /// [`DirectoryChange::MembersReset`] per membership that ends.
    pub fn apply(&mut self, system: &SystemId, change: &DirectoryChange) {
        let number = self.intern_system(system);
        match change {
            DirectoryChange::Upsert(principal) => {
                let node = self.intern_in(number, principal.id.as_str());
                self.show(node, principal);
            }
            DirectoryChange::Removed(object) => {
                let node = self.intern_in(number, object.as_str());
                self.forget(node);
            }
            DirectoryChange::Members {
                group,
                system,
                members,
            } => {
                let group = self.intern_in(number, group.as_str());
                for member in self.intern_members(system, members) {
                    self.connect(group, member);
                }
            }
            DirectoryChange::MembersRemoved {
                group,
                system,
                members,
            } => {
                let group = self.intern_in(number, group.as_str());
                for member in self.intern_members(system, members) {
                    self.disconnect(group, member);
                }
            }
            DirectoryChange::MembersReset { group } => {
                let group = self.intern_in(number, group.as_str());
                self.disconnect_members(group);
            }
        }
    }

    /// Records how completely `system` was read; contradictions found before keep it partial.
    pub fn set_verdict(&mut self, system: &SystemId, verdict: Completeness) {
        let number = self.intern_system(system);
        self.systems[number as usize].told = Some(verdict);
        self.judge(number);
    }

    /// Records how completely the members of `group` are known.
    pub fn set_group_verdict(&mut self, group: NodeId, verdict: Completeness) {
        self.revision += 1;
        match verdict {
            Completeness::Complete => {
                self.partial_groups.remove(&group.0);
            }
            Completeness::Partial(reason) => {
                self.partial_groups.insert(group.0, reason);
                self.expect_group(group.0);
            }
        }
    }

    /// Makes `members` the direct members of `group`, and `group` a share group where its kind was not told.
    ///
    /// This is how the planned state of a container that is selected elsewhere gets into the graph. Costs
    /// O(log n) per membership that begins or ends, and reads the others once.
    pub fn set_members(&mut self, group: NodeId, members: &[NodeId]) {
        let group = group.0;
        let changes = self.member_changes(group, members);
        for member in changes.end {
            self.disconnect(group, member);
        }
        for member in changes.begin {
            self.connect(group, member);
        }
        let entry = &mut self.entries[group as usize];
        if entry.kind.is_none() {
            entry.kind = Some(PrincipalKind::Group(GroupKind::ShareGroup));
            self.revision += 1;
        }
        self.expect_group(group);
    }

    /// What makes `members` the direct members of `group`. Reads both once.
    pub(super) fn member_changes(&self, group: u32, members: &[NodeId]) -> MemberChanges {
        let mut wanted: Vec<u32> = members.iter().map(|member| member.0).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut changes = MemberChanges::default();
        let mut wanted = wanted.into_iter().peekable();
        for present in self.direct_members(NodeId(group)) {
            while let Some(begins) = wanted.next_if(|wanted| *wanted < present.0) {
                changes.begin.push(begins);
            }
            if wanted.next_if_eq(&present.0).is_none() {
                changes.end.push(present.0);
            }
        }
        changes.begin.extend(wanted);
        changes
    }

    pub(super) fn intern_members(&mut self, system: &SystemId, members: &[ObjectId]) -> Vec<u32> {
        let system = self.intern_system(system);
        self.intern_objects(system, members)
    }

    pub(super) fn is_connected(&self, group: u32, member: u32) -> bool {
        self.leaf_members.contains(group, member) || self.other_members.contains(group, member)
    }

    /// Begins or ends a direct membership; whether that changed anything.
    pub(super) fn set_connected(&mut self, group: u32, member: u32, begins: bool) -> bool {
        if begins {
            self.connect(group, member)
        } else {
            self.disconnect(group, member)
        }
    }

    /// Adds a direct membership; whether it is new.
    pub(super) fn connect(&mut self, group: u32, member: u32) -> bool {
        if self.is_connected(group, member) {
            return false;
        }
        self.revision += 1;
        if self.memberships >= u32::MAX as usize {
            let warning = GraphWarning::TooManyMemberships(self.ids.principal_ref(group));
            self.warnings.push(warning);
            self.partial_groups
                .insert(group, PartialReason::new(PartialKind::Limit, "memberships"));
            self.verdicts += 1;
            return false;
        }
        self.memberships += 1;
        if self.leaves.contains(member) {
            self.leaf_members.insert(group, member);
        } else {
            self.other_members.insert(group, member);
        }
        self.groups.insert(member, group);
        self.expect_group(group);
        true
    }

    /// Ends a direct membership; whether there was one.
    pub(super) fn disconnect(&mut self, group: u32, member: u32) -> bool {
        if !self.leaf_members.remove(group, member) && !self.other_members.remove(group, member) {
            return false;
        }
        self.groups.remove(member, group);
        self.memberships -= 1;
        self.revision += 1;
        true
    }

    pub(super) fn disconnect_members(&mut self, group: u32) {
        let members: Vec<u32> = self
            .direct_members(NodeId(group))
            .map(|member| member.0)
            .collect();
        for member in members {
            self.disconnect(group, member);
        }
    }

    /// Whether being of `kind` agrees with what was told about `node` before.
    pub(super) fn agrees(&self, node: u32, kind: PrincipalKind) -> bool {
        match (self.entries[node as usize].kind, kind) {
            (Some(PrincipalKind::User), PrincipalKind::User)
            | (Some(PrincipalKind::Group(_)), PrincipalKind::Group(_))
            | (Some(PrincipalKind::Resource(_)), PrincipalKind::Resource(_)) => true,
            (None, kind) => kind.is_group() || !self.is_told_as_group(node),
            _ => false,
        }
    }

    fn show(&mut self, node: u32, principal: &Principal) {
        self.revision += 1;
        self.names.set(node, &principal.name);
        let was_leaf = self.leaves.contains(node);
        let agrees = self.agrees(node, principal.kind);
        let entry = &mut self.entries[node as usize];
        entry.kind = Some(principal.kind);
        entry.activity = principal.activity;
        entry.privileged = principal.privileged;
        if !agrees {
            self.contradict(node);
        }
        self.reindex(node, was_leaf);
    }

    fn forget(&mut self, node: u32) {
        self.revision += 1;
        self.disconnect_members(node);
        let system = self.ids.system_of(node);
        let groups = self.groups.row(node);
        let groups: Vec<u32> = groups
            .filter(|group| self.ids.system_of(*group) == system)
            .collect();
        for group in groups {
            self.disconnect(group, node);
        }
        self.partial_groups.remove(&node);
        self.names.set(node, "");
        let was_leaf = self.leaves.contains(node);
        self.entries[node as usize] = Entry::default();
        self.reindex(node, was_leaf);
        let object = self.ids.object(node);
        if self.systems[system as usize].contradictory.remove(object) {
            self.judge(system);
        }
    }

    /// A user or a resource that is told to have members is a contradiction.
    fn expect_group(&mut self, node: u32) {
        if self.category(node) == Category::Leaf {
            self.contradict(node);
            self.reindex(node, true);
        }
    }

    fn contradict(&mut self, node: u32) {
        self.entries[node as usize].contradictory = true;
        let system = self.ids.system_of(node);
        let object = self.ids.object(node).into();
        if self.systems[system as usize].contradictory.insert(object) {
            self.warnings
                .push(GraphWarning::Contradiction(self.ids.principal_ref(node)));
            self.judge(system);
        }
    }

    /// Moves the memberships of `node` to where leaves, or others, are kept. Costs its direct groups.
    fn reindex(&mut self, node: u32, was_leaf: bool) {
        self.index_entry(node);
        let is_leaf = self.leaves.contains(node);
        if was_leaf == is_leaf {
            return;
        }
        for group in self.groups.row(node) {
            if is_leaf {
                self.other_members.remove(group, node);
                self.leaf_members.insert(group, node);
            } else {
                self.leaf_members.remove(group, node);
                self.other_members.insert(group, node);
            }
        }
    }
}
