//! A directory that keeps everything in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use usersync_connector::{CHUNK_ENTRIES, CallContext, Cursor, Directory, DirectoryCapabilities, ReadStream};
use usersync_model::{DirectoryChange, ObjectId, Principal, PrincipalRef, SystemId};

use crate::call::{CallKind, CallSite};
use crate::feed::{Feed, fed};
use crate::shared::{entries, lock};
use crate::sync::Mutex;
use crate::tap::{Read, Tap, tapped};

/// A directory that keeps everything in memory. Clones share it; tests keep one to edit it as its administrators would.
///
/// Without [`with_changes`](Self::with_changes) it offers no change feed. With it, a read of changes shows the present state of
/// every principal and membership that was touched, in an order that does not matter while members are principals that it
/// knows.
#[derive(Clone, Debug)]
pub struct MemoryDirectory {
    system: SystemId,
    state: Arc<Mutex<State>>,
    tap: Tap,
}

#[derive(Clone, Debug)]
struct State {
    principals: Arc<BTreeMap<ObjectId, Arc<Principal>>>,
    groups: Arc<BTreeMap<ObjectId, Arc<Members>>>,
    feed: Feed<Touched>,
}

/// Direct members by their system.
type Members = BTreeMap<SystemId, BTreeSet<ObjectId>>;

/// Principals come first: one that is gone must not take a membership with it that is there again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Touched {
    Principal(ObjectId),
    Membership {
        group: ObjectId,
        system: SystemId,
        member: ObjectId,
    },
}

tapped!(MemoryDirectory);
fed!(MemoryDirectory);

impl MemoryDirectory {
    /// An empty directory.
    #[must_use]
    pub fn new(system: SystemId) -> Self {
        Self {
            system,
            state: Arc::new(Mutex::new(State {
                principals: Arc::default(),
                groups: Arc::default(),
                feed: Feed::new(),
            })),
            tap: Tap::default(),
        }
    }

    /// A directory of its own with the same content, without faults and with an empty record of calls. It knows the cursors
    /// that were given before. Takes constant time: the two share what neither of them has changed since.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            system: self.system.clone(),
            state: Arc::new(Mutex::new(lock(&self.state).clone())),
            tap: self.tap.fork(),
        }
    }

    /// Takes in changes, in their order.
    pub fn extend(&self, changes: impl IntoIterator<Item = DirectoryChange>) {
        for change in changes {
            match change {
                DirectoryChange::Upsert(principal) => self.put(principal),
                DirectoryChange::Removed(id) => {
                    self.remove(&id);
                }
                DirectoryChange::Members {
                    group,
                    system,
                    members,
                } => {
                    lock(&self.state).add(&group, &system, members);
                }
                DirectoryChange::MembersRemoved {
                    group,
                    system,
                    members,
                } => {
                    lock(&self.state).remove_members(&group, &system, &members);
                }
                DirectoryChange::MembersReset { group } => lock(&self.state).reset(&group),
            }
        }
    }

    /// Makes the principal, or gives it these attributes.
    pub fn put(&self, principal: Principal) {
        let mut state = lock(&self.state);
        if state.principals.get(&principal.id).map(|known| &**known) != Some(&principal) {
            state.feed.touch(|| Touched::Principal(principal.id.clone()));
            Arc::make_mut(&mut state.principals).insert(principal.id.clone(), Arc::new(principal));
        }
    }

    /// Ends a principal and its memberships on both sides; tells whether it was there. Looks through all groups.
    pub fn remove(&self, id: &ObjectId) -> bool {
        let mut state = lock(&self.state);
        let groups: Vec<_> = state
            .groups
            .iter()
            .filter(|(_, members)| members.get(&self.system).is_some_and(|own| own.contains(id)))
            .map(|(group, _)| group.clone())
            .collect();
        for group in groups {
            state.remove_members(&group, &self.system, std::slice::from_ref(id));
        }
        state.reset(id);
        let known = state.principals.contains_key(id);
        if known {
            state.feed.touch(|| Touched::Principal(id.clone()));
            Arc::make_mut(&mut state.principals).remove(id);
        }
        known
    }

    /// Makes `member` a direct member of `group`; tells whether it was none. Neither has to be known.
    pub fn add_member(&self, group: &ObjectId, member: &PrincipalRef) -> bool {
        lock(&self.state).add(group, &member.system, [member.object.clone()])
    }

    /// Ends a direct membership; tells whether there was one.
    pub fn remove_member(&self, group: &ObjectId, member: &PrincipalRef) -> bool {
        lock(&self.state).remove_members(group, &member.system, std::slice::from_ref(&member.object))
    }

    /// A principal as it is now.
    #[must_use]
    pub fn principal(&self, id: &ObjectId) -> Option<Principal> {
        let state = lock(&self.state);
        state
            .principals
            .get(id)
            .map(|principal| Principal::clone(principal))
    }

    /// All principals as they are now, by id.
    #[must_use]
    pub fn principals(&self) -> Vec<Principal> {
        let state = lock(&self.state);
        state.principals.values().map(|p| Principal::clone(p)).collect()
    }

    /// The direct members of a group as they are now; none for a group that is not known.
    #[must_use]
    pub fn members_of(&self, group: &ObjectId) -> BTreeSet<PrincipalRef> {
        let state = lock(&self.state);
        let members = state
            .groups
            .get(group)
            .into_iter()
            .flat_map(|members| members.iter());
        members
            .flat_map(|(system, members)| {
                let refer = |member: &ObjectId| PrincipalRef::new(system.clone(), member.clone());
                members.iter().map(refer)
            })
            .collect()
    }
}

impl Directory for MemoryDirectory {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        DirectoryCapabilities {
            changes: lock(&self.state).feed.enabled,
            tracks_partial: false,
        }
    }

    fn read(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<DirectoryChange> {
        let site = CallSite::new(CallKind::Directory)
            .on(&self.system)
            .context(context);
        self.tap.read(site, || {
            let state = lock(&self.state);
            let read = match since {
                None => Read::full(state.everything()),
                Some(since) => {
                    let touched = state.feed.since(&since, &context.tenant, None)?;
                    Read::changes(state.changes(touched).into_iter())
                }
            };
            Ok(read.with_cursor(state.feed.cursor(&context.tenant, None)))
        })
    }
}

impl State {
    fn add(
        &mut self,
        group: &ObjectId,
        system: &SystemId,
        members: impl IntoIterator<Item = ObjectId>,
    ) -> bool {
        let groups = Arc::make_mut(&mut self.groups);
        let known = Arc::make_mut(groups.entry(group.clone()).or_default());
        let known = known.entry(system.clone()).or_default();
        let mut changed = false;
        for member in members {
            if known.contains(&member) {
                continue;
            }
            changed = true;
            self.feed.touch(|| Touched::Membership {
                group: group.clone(),
                system: system.clone(),
                member: member.clone(),
            });
            known.insert(member);
        }
        changed
    }

    fn remove_members(&mut self, group: &ObjectId, system: &SystemId, members: &[ObjectId]) -> bool {
        if !members.iter().any(|member| self.is_member(group, system, member)) {
            return false;
        }
        let groups = Arc::make_mut(&mut self.groups);
        let Some(all) = groups.get_mut(group).map(Arc::make_mut) else {
            return false;
        };
        let Some(known) = all.get_mut(system) else {
            return false;
        };
        for member in members {
            if known.remove(member) {
                self.feed.touch(|| Touched::Membership {
                    group: group.clone(),
                    system: system.clone(),
                    member: member.clone(),
                });
            }
        }
        if known.is_empty() {
            all.remove(system);
        }
        true
    }

    /// Ends all memberships in a group.
    fn reset(&mut self, group: &ObjectId) {
        if !self.groups.contains_key(group) {
            return;
        }
        let members = Arc::make_mut(&mut self.groups).remove(group);
        for (system, members) in members.iter().flat_map(|members| members.iter()) {
            for member in members {
                self.feed.touch(|| Touched::Membership {
                    group: group.clone(),
                    system: system.clone(),
                    member: member.clone(),
                });
            }
        }
    }

    fn is_member(&self, group: &ObjectId, system: &SystemId, member: &ObjectId) -> bool {
        let members = self.groups.get(group).and_then(|members| members.get(system));
        members.is_some_and(|members| members.contains(member))
    }

    fn everything(&self) -> impl Iterator<Item = DirectoryChange> + Send + use<> {
        let principals = entries(Arc::clone(&self.principals));
        let groups = entries(Arc::clone(&self.groups));
        principals
            .map(|(_, principal)| DirectoryChange::Upsert(Principal::clone(&principal)))
            .chain(groups.flat_map(|(group, members)| members_entries(&group, &members)))
    }

    /// The present state of what was touched.
    fn changes(&self, touched: BTreeSet<Touched>) -> Vec<DirectoryChange> {
        let mut changes: Vec<DirectoryChange> = Vec::new();
        for touched in touched {
            match touched {
                Touched::Membership {
                    group,
                    system,
                    member,
                } => {
                    let members = vec![member];
                    changes.push(if self.is_member(&group, &system, &members[0]) {
                        DirectoryChange::Members {
                            group,
                            system,
                            members,
                        }
                    } else {
                        DirectoryChange::MembersRemoved {
                            group,
                            system,
                            members,
                        }
                    });
                }
                Touched::Principal(id) => changes.push(match self.principals.get(&id) {
                    Some(principal) => DirectoryChange::Upsert(Principal::clone(principal)),
                    None => DirectoryChange::Removed(id),
                }),
            }
        }
        changes
    }
}

fn members_entries(group: &ObjectId, members: &Members) -> Vec<DirectoryChange> {
    let mut shown = Vec::new();
    for (system, members) in members {
        let mut members = members.iter().cloned().peekable();
        while members.peek().is_some() {
            shown.push(DirectoryChange::Members {
                group: group.clone(),
                system: system.clone(),
                members: members.by_ref().take(CHUNK_ENTRIES).collect(),
            });
        }
    }
    shown
}
