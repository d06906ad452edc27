//! What happens in a directory over time.

use std::collections::BTreeSet;

use usersync_model::{Activity, DirectoryChange, ObjectId, Principal, PrincipalKind, PrincipalRef};

use super::directory::{GROUP_KINDS, object};
use super::rng::SplitMix64;
use super::state::DirectoryState;

/// What happened in one step of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// A principal became inactive.
    Disabled,
    /// A principal became active again.
    Enabled,
    /// A group was made, with some members.
    GroupCreated,
    /// A group was deleted.
    GroupDeleted,
    /// A new user came, into some groups.
    Joined,
    /// A user was deleted.
    Left,
    /// A group got a direct member.
    MemberAdded,
    /// A group lost a direct member.
    MemberRemoved,
    /// All members of a group were told anew, some of them other ones.
    MembersReplaced,
    /// A user left one group for another.
    Moved,
    /// A group was nested in another, perhaps in one that it contains.
    Nested,
    /// A principal got another name and kept its id.
    Renamed,
    /// A deleted user came back with the id of old, into the groups of old that there are.
    Returned,
}

impl Event {
    /// Every one.
    pub const ALL: [Self; 13] = [
        Self::Disabled,
        Self::Enabled,
        Self::GroupCreated,
        Self::GroupDeleted,
        Self::Joined,
        Self::Left,
        Self::MemberAdded,
        Self::MemberRemoved,
        Self::MembersReplaced,
        Self::Moved,
        Self::Nested,
        Self::Renamed,
        Self::Returned,
    ];
}

/// One step of a history: what happened, and how a read of changes tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What happened.
    pub event: Event,
    /// What a read of changes shows; never empty.
    pub changes: Vec<DirectoryChange>,
}

/// An endless history that starts from `state`. Each step changes something, costs O(log n) beside what it changes, and is the same
/// for the same start and seed.
#[must_use]
pub fn history(state: DirectoryState, seed: u64) -> History {
    let of_kind = |wanted: fn(PrincipalKind) -> bool| {
        let principals = state.principals().values();
        principals
            .filter(|p| wanted(p.kind))
            .map(|p| p.id.clone())
            .collect::<Vec<_>>()
    };
    History {
        users: of_kind(|kind| kind == PrincipalKind::User),
        groups: of_kind(PrincipalKind::is_group),
        departed: Vec::new(),
        rng: SplitMix64::keyed(seed, 1 << 60),
        state,
        made: 0,
    }
}

/// The steps of a history; see [`history`].
#[derive(Clone, Debug)]
pub struct History {
    state: DirectoryState,
    rng: SplitMix64,
    users: Vec<ObjectId>,
    groups: Vec<ObjectId>,
    departed: Vec<(Principal, Vec<ObjectId>)>,
    made: u64,
}

impl History {
    /// The directory after the steps taken so far.
    #[must_use]
    pub fn state(&self) -> &DirectoryState {
        &self.state
    }

    /// The changes of one event, or `None` where it cannot happen now.
    fn attempt(&mut self, event: Event) -> Option<Vec<DirectoryChange>> {
        match event {
            Event::Disabled => self.set_activity(Activity::Inactive),
            Event::Enabled => self.set_activity(Activity::Active),
            Event::GroupCreated => Some(self.create_group()),
            Event::GroupDeleted => self.delete_group(),
            Event::Joined => Some(self.join()),
            Event::Left => self.leave(),
            Event::MemberAdded => {
                let (group, user) = (self.some_group()?, self.some_user()?);
                let member = self.own(user);
                (!self.has(&group, &member)).then(|| vec![added(group, [member])])
            }
            Event::MemberRemoved => {
                let (group, member) = self.some_membership()?;
                Some(vec![removed(group, member)])
            }
            Event::MembersReplaced => self.replace_members(),
            Event::Moved => {
                let (from, member) = self.some_membership()?;
                let to = self.some_group()?;
                let moves = to != from && !self.has(&to, &member);
                moves.then(|| vec![removed(from, member.clone()), added(to, [member])])
            }
            Event::Nested => {
                let (group, nested) = (self.some_group()?, self.some_group()?);
                let member = self.own(nested);
                (!self.has(&group, &member)).then(|| vec![added(group, [member])])
            }
            Event::Renamed => {
                let mut principal = self.some_principal()?;
                self.made += 1;
                principal.name = format!("Renamed {}", self.made);
                Some(vec![DirectoryChange::Upsert(principal)])
            }
            Event::Returned => self.come_back(),
        }
    }

    fn set_activity(&mut self, activity: Activity) -> Option<Vec<DirectoryChange>> {
        // Few are inactive, so one look would seldom find one.
        let principal = (0..16)
            .filter_map(|_| self.some_principal())
            .find(|principal| principal.activity != activity)?;
        Some(vec![DirectoryChange::Upsert(principal.with_activity(activity))])
    }

    fn create_group(&mut self) -> Vec<DirectoryChange> {
        self.made += 1;
        let id = object(&format!("h-group-{}", self.made));
        let kind = GROUP_KINDS[self.rng.index(GROUP_KINDS.len())];
        let name = format!("New group {}", self.made);
        let mut changes = vec![DirectoryChange::Upsert(Principal::new(
            id.clone(),
            PrincipalKind::Group(kind),
            name,
        ))];
        let users: Vec<_> = (0..self.rng.index(5)).filter_map(|_| self.some_user()).collect();
        let members: Vec<_> = users.into_iter().map(|user| self.own(user)).collect();
        if !members.is_empty() {
            changes.push(added(id.clone(), members));
        }
        self.groups.push(id);
        changes
    }

    fn delete_group(&mut self) -> Option<Vec<DirectoryChange>> {
        // The last few groups stay, so that there is always something to do.
        if self.groups.len() <= 4 {
            return None;
        }
        let at = self.rng.index(self.groups.len());
        Some(vec![DirectoryChange::Removed(self.groups.swap_remove(at))])
    }

    fn join(&mut self) -> Vec<DirectoryChange> {
        self.made += 1;
        let id = object(&format!("h-user-{}", self.made));
        let mut changes = vec![DirectoryChange::Upsert(Principal::new(
            id.clone(),
            PrincipalKind::User,
            format!("New user {}", self.made),
        ))];
        let groups: BTreeSet<_> = (0..=self.rng.index(3))
            .filter_map(|_| self.some_group())
            .collect();
        for group in groups {
            changes.push(added(group, [self.own(id.clone())]));
        }
        self.users.push(id);
        changes
    }

    fn leave(&mut self) -> Option<Vec<DirectoryChange>> {
        if self.users.len() <= 2 {
            return None;
        }
        let at = self.rng.index(self.users.len());
        let id = self.users.swap_remove(at);
        let principal = self.state.principals().get(&id)?.clone();
        let member = self.own(id.clone());
        let groups = self.state.members().iter();
        let groups = groups
            .filter(|(_, members)| members.contains(&member))
            .map(|(group, _)| group.clone())
            .collect();
        self.departed.push((principal, groups));
        Some(vec![DirectoryChange::Removed(id)])
    }

    fn come_back(&mut self) -> Option<Vec<DirectoryChange>> {
        if self.departed.is_empty() {
            return None;
        }
        let at = self.rng.index(self.departed.len());
        let (principal, groups) = self.departed.swap_remove(at);
        let id = principal.id.clone();
        let mut changes = vec![DirectoryChange::Upsert(principal)];
        for group in groups {
            if self.state.principals().contains_key(&group) {
                changes.push(added(group, [self.own(id.clone())]));
            }
        }
        self.users.push(id);
        Some(changes)
    }

    fn replace_members(&mut self) -> Option<Vec<DirectoryChange>> {
        let group = self.some_group()?;
        let mut members: BTreeSet<_> = self.state.members_of(&group).cloned().collect();
        let gone = members.iter().nth(self.rng.index(members.len())).cloned();
        let user = self.some_user()?;
        if !members.insert(self.own(user)) {
            return None;
        }
        if let Some(gone) = gone {
            members.remove(&gone);
        }
        let mut changes = vec![DirectoryChange::MembersReset { group: group.clone() }];
        changes.extend(members.into_iter().map(|member| added(group.clone(), [member])));
        Some(changes)
    }

    fn some_user(&mut self) -> Option<ObjectId> {
        self.rng.pick(&self.users).cloned()
    }

    fn some_group(&mut self) -> Option<ObjectId> {
        self.rng.pick(&self.groups).cloned()
    }

    fn some_principal(&mut self) -> Option<Principal> {
        let id = match self.rng.chance(200) {
            true => self.some_group()?,
            false => self.some_user()?,
        };
        self.state.principals().get(&id).cloned()
    }

    fn some_membership(&mut self) -> Option<(ObjectId, PrincipalRef)> {
        let group = self.some_group()?;
        let members = self.state.members().get(&group)?;
        let member = members.iter().nth(self.rng.index(members.len()))?.clone();
        Some((group, member))
    }

    fn own(&self, id: ObjectId) -> PrincipalRef {
        PrincipalRef::new(self.state.system().clone(), id)
    }

    fn has(&self, group: &ObjectId, member: &PrincipalRef) -> bool {
        self.state
            .members()
            .get(group)
            .is_some_and(|members| members.contains(member))
    }
}

impl Iterator for History {
    type Item = Step;

    /// Never `None`: where an event cannot happen another does, and a new user can always come.
    fn next(&mut self) -> Option<Step> {
        let event = Event::ALL[self.rng.index(Event::ALL.len())];
        let (event, changes) = match self.attempt(event) {
            Some(changes) => (event, changes),
            None => (Event::Joined, self.join()),
        };
        for change in &changes {
            self.state.apply(change.clone());
        }
        Some(Step { event, changes })
    }
}

fn added(group: ObjectId, members: impl IntoIterator<Item = PrincipalRef>) -> DirectoryChange {
    let mut members = members.into_iter().peekable();
    let system = members
        .peek()
        .map(|member| member.system.clone())
        .expect("somebody is added");
    DirectoryChange::Members {
        group,
        system,
        members: members.map(|member| member.object).collect(),
    }
}

fn removed(group: ObjectId, member: PrincipalRef) -> DirectoryChange {
    DirectoryChange::MembersRemoved {
        group,
        system: member.system,
        members: vec![member.object],
    }
}
