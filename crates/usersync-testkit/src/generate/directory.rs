//! Directories of any size, told entry by entry without being held in memory.

use usersync_connector::{Extent, ReadEnd, ReadStream, read_stream};
use usersync_model::{
    Activity, DirectoryChange, GroupKind, ListKind, ObjectId, Principal, PrincipalKind, PrincipalRef,
    ResourceKind, SystemId,
};

use super::rng::SplitMix64;

/// Every kind of group, in the order in which the first groups of a directory have them.
pub const GROUP_KINDS: [GroupKind; 9] = [
    GroupKind::OrgUnit,
    GroupKind::UserGroup,
    GroupKind::Role,
    GroupKind::ShareGroup,
    GroupKind::DistributionList(ListKind::Simple),
    GroupKind::DistributionList(ListKind::Security),
    GroupKind::DistributionList(ListKind::Dynamic),
    GroupKind::DistributionList(ListKind::Room),
    GroupKind::Domain,
];

const RESOURCE_KINDS: [ResourceKind; 3] = [ResourceKind::Room, ResourceKind::Equipment, ResourceKind::Other];

/// Names that break what forgets to escape or to fold: markup, a formula, a reversed text, a line break.
const AWKWARD_NAMES: [&str; 5] = [
    "<b>Ada</b> & \"Co\"",
    "=HYPERLINK(\"http://example.invalid\")",
    "invoice\u{202e}txt.exe",
    "two\nlines",
    "",
];

/// What a generated directory looks like. Rates are per thousand groups, or per thousand principals where it says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryShape {
    /// The system that has the principals.
    pub system: SystemId,
    /// How many users.
    pub users: u32,
    /// How many resources.
    pub resources: u32,
    /// How many groups, of every kind.
    pub groups: u32,
    /// How many nestings the longest chain of groups has; at most one less than there are groups.
    pub depth: u32,
    /// How many groups a user is a direct member of, on average. Few groups are large and many are small.
    pub memberships_per_user: u32,
    /// Rate of inactive principals, per thousand of them.
    pub inactive: u32,
    /// Rate of privileged users, per thousand of them.
    pub privileged: u32,
    /// Rate of principals with names that need escaping, per thousand of them.
    pub awkward_names: u32,
    /// Rate of groups without any direct member.
    pub empty_groups: u32,
    /// Rate of groups below which two ways lead to one principal.
    pub diamonds: u32,
    /// Rate of groups that are below themselves by way of another group.
    pub cycles: u32,
    /// Rate of groups that are direct members of themselves.
    pub self_loops: u32,
    /// Rate of groups with a member that the directory never shows.
    pub unknown_members: u32,
    /// Rate of groups with a member of [`foreign_system`](Self::foreign_system).
    pub foreign_members: u32,
    /// The system of members that come from elsewhere.
    pub foreign_system: SystemId,
}

impl DirectoryShape {
    /// A directory of `users` users, a tenth as many groups (at least 12) and a fiftieth as many resources (at least 3), nested 9
    /// deep, with ten direct memberships a user and every irregularity at a modest rate.
    #[must_use]
    pub fn new(users: u32) -> Self {
        Self {
            system: system("directory"),
            users,
            resources: (users / 50).max(3),
            groups: (users / 10).max(12),
            depth: 9,
            memberships_per_user: 10,
            inactive: 40,
            privileged: 10,
            awkward_names: 10,
            empty_groups: 60,
            diamonds: 100,
            cycles: 20,
            self_loops: 10,
            unknown_members: 20,
            foreign_members: 20,
            foreign_system: system("elsewhere"),
        }
    }

    /// The same shape without anything irregular: no cycles, unknown members, empty groups, inactive principals …
    #[must_use]
    pub fn regular(mut self) -> Self {
        for rate in [
            &mut self.inactive,
            &mut self.privileged,
            &mut self.awkward_names,
            &mut self.empty_groups,
            &mut self.diamonds,
            &mut self.cycles,
            &mut self.self_loops,
            &mut self.unknown_members,
            &mut self.foreign_members,
        ] {
            *rate = 0;
        }
        self
    }
}

pub(super) fn system(name: &str) -> SystemId {
    SystemId::new(name).expect("a literal without control characters is an id")
}

pub(super) fn object(text: &str) -> ObjectId {
    ObjectId::new(text).expect("letters and digits are an id")
}

/// The directory of this shape and seed. Costs O(groups) memory, however many users it has.
#[must_use]
pub fn directory(shape: &DirectoryShape, seed: u64) -> GeneratedDirectory {
    let groups = shape.groups as usize;
    let depth = (shape.depth as usize).min(groups.saturating_sub(1));
    let mut levels = Vec::with_capacity(groups);
    let mut by_level = vec![Vec::new(); depth + 1];
    for group in 0..groups {
        // The first groups are the longest chain, from its top to its bottom.
        let level = if group <= depth {
            depth - group
        } else {
            random_level(&mut SplitMix64::keyed(seed, LEVEL ^ group as u64), depth)
        };
        levels.push(level);
        by_level[level].push(group as u32);
    }
    GeneratedDirectory {
        shape: shape.clone(),
        seed,
        levels,
        by_level,
    }
}

/// Half of the groups nest nothing; of the others, six in ten stop at each level.
fn random_level(rng: &mut SplitMix64, depth: usize) -> usize {
    if rng.chance(500) {
        return 0;
    }
    let mut level = depth.min(1);
    while level < depth && rng.chance(400) {
        level += 1;
    }
    level
}

// Keep the draws for one thing apart from those for another of the same number.
const LEVEL: u64 = 1 << 56;
const USER: u64 = 2 << 56;
const RESOURCE: u64 = 3 << 56;
const GROUP: u64 = 4 << 56;
const EMPTY: u64 = 5 << 56;
const CHILDREN: u64 = 6 << 56;
const MEMBERS: u64 = 7 << 56;

/// A directory that is made up as it is read; see [`directory`].
#[derive(Clone, Debug)]
pub struct GeneratedDirectory {
    shape: DirectoryShape,
    seed: u64,
    levels: Vec<usize>,
    by_level: Vec<Vec<u32>>,
}

impl GeneratedDirectory {
    /// What it looks like.
    #[must_use]
    pub fn shape(&self) -> &DirectoryShape {
        &self.shape
    }

    /// A full read: users, resources, then each group with what it adds to the memberships.
    ///
    /// Memberships of one group may come in several entries, some of them before the group itself.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes {
            directory: self.clone(),
            next: 0,
            pending: Vec::new().into_iter(),
        }
    }

    /// The same read in chunks of `size` entries, at least one.
    pub fn chunks(&self, size: usize) -> impl Iterator<Item = Vec<DirectoryChange>> + Send + use<> {
        let mut changes = self.changes();
        std::iter::from_fn(move || {
            let chunk: Vec<_> = changes.by_ref().take(size.max(1)).collect();
            (!chunk.is_empty()).then_some(chunk)
        })
    }

    /// The same read as a connector would stream it.
    #[must_use]
    pub fn stream(&self) -> ReadStream<DirectoryChange> {
        read_stream(Extent::Full, self.changes(), ReadEnd::complete())
    }

    /// The id of the user at `index`. Ids ascend with their indexes.
    #[must_use]
    pub fn user_id(index: u32) -> ObjectId {
        object(&format!("u{index:07}"))
    }

    /// The id of the group at `index`.
    #[must_use]
    pub fn group_id(index: u32) -> ObjectId {
        object(&format!("g{index:07}"))
    }

    /// The id of the resource at `index`.
    #[must_use]
    pub fn resource_id(index: u32) -> ObjectId {
        object(&format!("r{index:07}"))
    }

    /// The user at `index`, as this directory's principal.
    #[must_use]
    pub fn user_ref(&self, index: u32) -> PrincipalRef {
        PrincipalRef::new(self.shape.system.clone(), Self::user_id(index))
    }

    /// The group at `index`, as this directory's principal.
    #[must_use]
    pub fn group_ref(&self, index: u32) -> PrincipalRef {
        PrincipalRef::new(self.shape.system.clone(), Self::group_id(index))
    }

    fn user(&self, index: u32) -> Principal {
        let mut rng = SplitMix64::keyed(self.seed, USER ^ u64::from(index));
        let name = self.name(&mut rng, "User", index);
        Principal::new(Self::user_id(index), PrincipalKind::User, name)
            .with_activity(self.activity(&mut rng))
            .with_privileged(rng.chance(self.shape.privileged))
    }

    fn resource(&self, index: u32) -> Principal {
        let mut rng = SplitMix64::keyed(self.seed, RESOURCE ^ u64::from(index));
        let kind = RESOURCE_KINDS[index as usize % RESOURCE_KINDS.len()];
        let name = self.name(&mut rng, "Resource", index);
        Principal::new(Self::resource_id(index), PrincipalKind::Resource(kind), name)
            .with_activity(self.activity(&mut rng))
    }

    fn group(&self, index: u32) -> Principal {
        let mut rng = SplitMix64::keyed(self.seed, GROUP ^ u64::from(index));
        let name = self.name(&mut rng, "Group", index);
        Principal::new(
            Self::group_id(index),
            PrincipalKind::Group(self.group_kind(index)),
            name,
        )
        .with_activity(self.activity(&mut rng))
    }

    fn group_kind(&self, index: u32) -> GroupKind {
        let place = match index as usize {
            first if first < GROUP_KINDS.len() => first,
            later => SplitMix64::keyed(self.seed, GROUP ^ (1 << 40) ^ later as u64).index(GROUP_KINDS.len()),
        };
        GROUP_KINDS[place]
    }

    fn name(&self, rng: &mut SplitMix64, what: &str, index: u32) -> String {
        match rng.chance(self.shape.awkward_names) {
            true => AWKWARD_NAMES[rng.index(AWKWARD_NAMES.len())].to_owned(),
            false => format!("{what} {index}"),
        }
    }

    fn activity(&self, rng: &mut SplitMix64) -> Activity {
        match rng.chance(self.shape.inactive) {
            true => Activity::Inactive,
            false => Activity::Active,
        }
    }

    /// Groups of the longest chain are never empty.
    fn is_empty(&self, group: u32) -> bool {
        group as usize >= self.by_level.len()
            && SplitMix64::keyed(self.seed, EMPTY ^ u64::from(group)).chance(self.shape.empty_groups)
    }

    /// The groups nested in `group`, the first of them one level down.
    fn children(&self, group: u32) -> Vec<u32> {
        let level = self.levels[group as usize];
        if level == 0 {
            return Vec::new();
        }
        let mut rng = SplitMix64::keyed(self.seed, CHILDREN ^ u64::from(group));
        let below = &self.by_level[level - 1];
        let first = match (group as usize) < self.by_level.len() {
            true => below[0],
            false => below[rng.index(below.len())],
        };
        let more = (0..rng.below(4)).map(|_| {
            let level = rng.index(level);
            let candidates = &self.by_level[level];
            candidates[rng.index(candidates.len())]
        });
        let mut children: Vec<_> = std::iter::once(first).chain(more).collect();
        children.sort_unstable();
        children.dedup();
        children
    }

    fn first_child(&self, group: u32) -> Option<u32> {
        let level = self.levels[group as usize];
        let is_below = |child: &u32| self.levels[*child as usize] + 1 == level;
        self.children(group).into_iter().find(is_below)
    }

    /// Distinct users, by a stride that shares no factor with their number.
    fn direct_users(&self, group: u32, rng: &mut SplitMix64) -> Vec<ObjectId> {
        let users = u64::from(self.shape.users);
        if users == 0 {
            return Vec::new();
        }
        let share = |group: u32| (f64::from(group) / f64::from(self.shape.groups)).sqrt();
        let memberships = f64::from(self.shape.users) * f64::from(self.shape.memberships_per_user);
        let size = (memberships * (share(group + 1) - share(group))).round() as u64;
        let mut stride = rng.below(users).max(1);
        while gcd(stride, users) != 1 {
            stride += 1;
        }
        let mut at = rng.below(users);
        let members = (0..size.min(users)).map(|_| {
            at = (at + stride) % users;
            Self::user_id(at as u32)
        });
        members.collect()
    }

    fn group_entries(&self, group: u32) -> Vec<DirectoryChange> {
        let mut entries = vec![DirectoryChange::Upsert(self.group(group))];
        if self.is_empty(group) {
            return entries;
        }
        let mut rng = SplitMix64::keyed(self.seed, MEMBERS ^ u64::from(group));
        let mut members = self.direct_users(group, &mut rng);
        members.extend(self.children(group).into_iter().map(Self::group_id));
        if self.group_kind(group) == GroupKind::DistributionList(ListKind::Room) && self.shape.resources > 0 {
            let room = rng.below(u64::from(self.shape.resources)) as u32;
            members.push(Self::resource_id(room));
        }
        if rng.chance(self.shape.self_loops) {
            members.push(Self::group_id(group));
        }
        if rng.chance(self.shape.unknown_members) {
            members.push(object(&format!("unknown{group:07}")));
        }
        if members.is_empty() {
            // A group that is not meant to be empty has somebody, however few users there are.
            members.extend((self.shape.users > 0).then(|| Self::user_id(group % self.shape.users.max(1))));
        }
        entries.push(self.members(group, members));
        if rng.chance(self.shape.foreign_members) {
            entries.push(DirectoryChange::Members {
                group: Self::group_id(group),
                system: self.shape.foreign_system.clone(),
                members: vec![object(&format!("f{:07}", rng.below(1000)))],
            });
        }
        if rng.chance(self.shape.diamonds) {
            self.add_diamond(group, &mut rng, &mut entries);
        }
        if rng.chance(self.shape.cycles) {
            self.add_cycle(group, &mut rng, &mut entries);
        }
        entries
    }

    /// Two ways from `group` down to one principal: by its first child, and by another group beside that.
    fn add_diamond(&self, group: u32, rng: &mut SplitMix64, entries: &mut Vec<DirectoryChange>) {
        let Some(one) = self.first_child(group) else {
            return;
        };
        let beside = &self.by_level[self.levels[one as usize]];
        let start = rng.index(beside.len());
        let other = (0..beside.len())
            .map(|i| beside[(start + i) % beside.len()])
            .find(|other| *other != one && !self.is_empty(*other));
        let (Some(other), false) = (other, self.is_empty(one)) else {
            return;
        };
        entries.push(self.members(group, vec![Self::group_id(other)]));
        match self.first_child(one) {
            Some(bottom) => entries.push(self.members(other, vec![Self::group_id(bottom)])),
            None if self.shape.users == 0 => {}
            None => {
                let bottom = Self::user_id(rng.below(u64::from(self.shape.users)) as u32);
                entries.push(self.members(one, vec![bottom.clone()]));
                entries.push(self.members(other, vec![bottom]));
            }
        }
    }

    /// Nests `group` below itself: in a group that its first children lead to, or in one that it nests now.
    fn add_cycle(&self, group: u32, rng: &mut SplitMix64, entries: &mut Vec<DirectoryChange>) {
        let mut below = group;
        for _ in 0..=rng.below(4) {
            match self.first_child(below).filter(|child| !self.is_empty(*child)) {
                Some(child) => below = child,
                None => break,
            }
        }
        if below == group {
            let others = (0..self.shape.groups).map(|i| (group + 1 + i) % self.shape.groups);
            match others
                .take(8)
                .find(|other| *other != group && !self.is_empty(*other))
            {
                Some(other) => below = other,
                None => return,
            }
            entries.push(self.members(group, vec![Self::group_id(below)]));
        }
        entries.push(self.members(below, vec![Self::group_id(group)]));
    }

    fn members(&self, group: u32, members: Vec<ObjectId>) -> DirectoryChange {
        DirectoryChange::Members {
            group: Self::group_id(group),
            system: self.shape.system.clone(),
            members,
        }
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The entries of a full read of a [`GeneratedDirectory`].
#[derive(Clone, Debug)]
pub struct Changes {
    directory: GeneratedDirectory,
    next: u64,
    pending: std::vec::IntoIter<DirectoryChange>,
}

impl Iterator for Changes {
    type Item = DirectoryChange;

    fn next(&mut self) -> Option<DirectoryChange> {
        if let Some(entry) = self.pending.next() {
            return Some(entry);
        }
        let shape = &self.directory.shape;
        let (users, resources) = (u64::from(shape.users), u64::from(shape.resources));
        let at = self.next;
        if at >= users + resources + u64::from(shape.groups) {
            return None;
        }
        self.next += 1;
        if at < users {
            return Some(DirectoryChange::Upsert(self.directory.user(at as u32)));
        }
        if at < users + resources {
            let index = (at - users) as u32;
            return Some(DirectoryChange::Upsert(self.directory.resource(index)));
        }
        let index = (at - users - resources) as u32;
        self.pending = self.directory.group_entries(index).into_iter();
        self.pending.next()
    }
}
