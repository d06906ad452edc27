//! A directory as sets, as the definition says: slow, and an oracle for what is fast.

use std::collections::{BTreeMap, BTreeSet};

use usersync_model::{DirectoryChange, ObjectId, Principal, PrincipalRef, SystemId};

/// What the full read and the changes of one system add up to.
///
/// Two equal states are the same directory, whatever the order, the paging and the repetitions of the entries that led there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryState {
    system: SystemId,
    principals: BTreeMap<ObjectId, Principal>,
    members: BTreeMap<ObjectId, BTreeSet<PrincipalRef>>,
}

impl DirectoryState {
    /// A system that has shown nothing yet.
    #[must_use]
    pub fn new(system: SystemId) -> Self {
        Self {
            system,
            principals: BTreeMap::new(),
            members: BTreeMap::new(),
        }
    }

    /// The system after `changes`.
    #[must_use]
    pub fn of(system: SystemId, changes: impl IntoIterator<Item = DirectoryChange>) -> Self {
        let mut state = Self::new(system);
        for change in changes {
            state.apply(change);
        }
        state
    }

    /// Folds in one entry of a read.
    pub fn apply(&mut self, change: DirectoryChange) {
        match change {
            DirectoryChange::Upsert(principal) => {
                self.principals.insert(principal.id.clone(), principal);
            }
            DirectoryChange::Removed(object) => {
                self.principals.remove(&object);
                self.members.remove(&object);
                let gone = PrincipalRef::new(self.system.clone(), object);
                self.members.retain(|_, members| {
                    members.remove(&gone);
                    !members.is_empty()
                });
            }
            DirectoryChange::Members {
                group,
                system,
                members,
            } => {
                if !members.is_empty() {
                    let added = members
                        .into_iter()
                        .map(|member| PrincipalRef::new(system.clone(), member));
                    self.members.entry(group).or_default().extend(added);
                }
            }
            DirectoryChange::MembersRemoved {
                group,
                system,
                members,
            } => {
                let Some(present) = self.members.get_mut(&group) else {
                    return;
                };
                for member in members {
                    present.remove(&PrincipalRef::new(system.clone(), member));
                }
                if present.is_empty() {
                    self.members.remove(&group);
                }
            }
            DirectoryChange::MembersReset { group } => {
                self.members.remove(&group);
            }
        }
    }

    /// The system.
    #[must_use]
    pub fn system(&self) -> &SystemId {
        &self.system
    }

    /// The principals shown, by their ids.
    #[must_use]
    pub fn principals(&self) -> &BTreeMap<ObjectId, Principal> {
        &self.principals
    }

    /// The direct members of every group that has any.
    #[must_use]
    pub fn members(&self) -> &BTreeMap<ObjectId, BTreeSet<PrincipalRef>> {
        &self.members
    }

    /// The direct members of `group`, ascending; none if it has none.
    pub fn members_of(&self, group: &ObjectId) -> impl Iterator<Item = &PrincipalRef> {
        self.members.get(group).into_iter().flatten()
    }

    /// A full read that shows this state: every principal, then every membership.
    #[must_use]
    pub fn full_read(&self) -> Vec<DirectoryChange> {
        let upserts = self.principals.values().cloned().map(DirectoryChange::Upsert);
        upserts.chain(self.membership_entries()).collect()
    }

    /// `from` and everyone below them, groups and unknown ones too, whether active or not. Foreign principals have nobody below.
    #[must_use]
    pub fn reachable(&self, from: impl IntoIterator<Item = PrincipalRef>) -> BTreeSet<PrincipalRef> {
        let mut reached: BTreeSet<_> = from.into_iter().collect();
        let mut open: Vec<_> = reached.iter().cloned().collect();
        while let Some(principal) = open.pop() {
            if principal.system != self.system {
                continue;
            }
            for member in self.members_of(&principal.object) {
                if reached.insert(member.clone()) {
                    open.push(member.clone());
                }
            }
        }
        reached
    }

    fn membership_entries(&self) -> impl Iterator<Item = DirectoryChange> + '_ {
        self.members.iter().flat_map(|(group, members)| {
            let mut by_system: BTreeMap<&SystemId, Vec<ObjectId>> = BTreeMap::new();
            for member in members {
                by_system
                    .entry(&member.system)
                    .or_default()
                    .push(member.object.clone());
            }
            by_system
                .into_iter()
                .map(|(system, members)| DirectoryChange::Members {
                    group: group.clone(),
                    system: system.clone(),
                    members,
                })
        })
    }
}
