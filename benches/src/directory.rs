//! Scenario 3: a directory with nested groups, and targets that select them.

use usersync_model::{
    Completeness, DirectoryChange, DirectoryGraph, GraphBuilder, GroupKind, ObjectId, Principal,
    PrincipalKind, PrincipalRef, Selection, SystemId,
};

use crate::random::SplitMix64;

/// The longest member list of one entry.
const ENTRY_MEMBERS: usize = 1000;

/// A directory as plain numbers: users 0..users, groups 0..groups.
#[derive(Clone, Debug)]
pub struct Directory {
    /// How many users there are.
    pub users: u32,
    /// How many groups there are.
    pub groups: u32,
    /// Users that are direct members, by group.
    pub members: Rows,
    /// Groups that are direct members, by group.
    pub nested: Rows,
    /// Groups picked, by target.
    pub targets: Vec<Vec<u32>>,
}

/// Ascending rows of numbers in one vector.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    offsets: Vec<u32>,
    numbers: Vec<u32>,
}

impl Rows {
    fn new(rows: u32, pairs: &[(u32, u32)]) -> Self {
        let mut offsets = vec![0; rows as usize + 1];
        for &(row, _) in pairs {
            offsets[row as usize + 1] += 1;
        }
        for at in 1..offsets.len() {
            offsets[at] += offsets[at - 1];
        }
        let mut next = offsets.clone();
        let mut numbers = vec![0; pairs.len()];
        for &(row, number) in pairs {
            numbers[next[row as usize] as usize] = number;
            next[row as usize] += 1;
        }
        for row in 0..rows as usize {
            numbers[offsets[row] as usize..offsets[row + 1] as usize].sort_unstable();
        }
        Self { offsets, numbers }
    }

    /// The numbers of `row`.
    #[must_use]
    pub fn row(&self, row: u32) -> &[u32] {
        let row = row as usize;
        &self.numbers[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    /// How many numbers there are in all rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
}

impl Directory {
    /// A directory of `users` users and a tenth as many groups, ten direct memberships per user, and a
    /// thousand targets.
    #[must_use]
    pub fn generate(users: u32) -> Self {
        let mut random = SplitMix64::new(3);
        let groups = users / 10;
        let skewed = |random: &mut SplitMix64| {
            let x = random.unit();
            ((f64::from(groups) * x * x) as u32).min(groups - 1)
        };
        let pairs: Vec<(u32, u32)> = (0..users * 10)
            .map(|_| (skewed(&mut random), random.below(users)))
            .collect();
        let members = Rows::new(groups, &pairs);
        drop(pairs);
        let nested = nest(groups, &mut random);
        let targets = (0..1000)
            .map(|_| (0..=random.below(5)).map(|_| random.below(groups)).collect())
            .collect();
        Self {
            users,
            groups,
            members,
            nested,
            targets,
        }
    }

    /// The graph of this directory, built from streamed entries with ids of 24 bytes.
    #[must_use]
    pub fn graph(&self) -> DirectoryGraph {
        let system = system();
        let mut builder = GraphBuilder::new();
        for user in 0..self.users {
            let principal = Principal::new(user_id(user), PrincipalKind::User, "");
            builder.add(&system, DirectoryChange::Upsert(principal));
        }
        for group in 0..self.groups {
            let kind = PrincipalKind::Group(GroupKind::UserGroup);
            builder.add(
                &system,
                DirectoryChange::Upsert(Principal::new(group_id(group), kind, "")),
            );
            for users in self.members.row(group).chunks(ENTRY_MEMBERS) {
                let users = users.iter().map(|&user| user_id(user)).collect();
                builder.add(&system, members(group, users));
            }
            let groups = self
                .nested
                .row(group)
                .iter()
                .map(|&group| group_id(group))
                .collect();
            builder.add(&system, members(group, groups));
        }
        builder.end(&system, Completeness::Complete, Vec::new());
        builder.finish()
    }

    /// The targets as selections.
    #[must_use]
    pub fn selections(&self) -> Vec<Selection> {
        let picks = |groups: &[u32]| groups.iter().map(|&group| group_ref(group)).collect::<Vec<_>>();
        self.targets
            .iter()
            .map(|target| Selection::of(picks(target)))
            .collect()
    }

    /// The targets as selections, a tenth of which exclude another group.
    #[must_use]
    pub fn selections_with_exclusions(&self) -> Vec<Selection> {
        let mut random = SplitMix64::new(4);
        let exclude = |selection: Selection| {
            if random.below(10) == 0 {
                selection.except([group_ref(random.below(self.groups))])
            } else {
                selection
            }
        };
        self.selections().into_iter().map(exclude).collect()
    }

    /// The groups that each target reaches, each once.
    #[must_use]
    pub fn reached_groups(&self) -> Vec<Vec<u32>> {
        let mut stamps = vec![u32::MAX; self.groups as usize];
        let reach = |(target, picks): (usize, &Vec<u32>)| {
            let mut reached: Vec<u32> = Vec::new();
            let mut waiting = picks.clone();
            while let Some(group) = waiting.pop() {
                if std::mem::replace(&mut stamps[group as usize], target as u32) != target as u32 {
                    reached.push(group);
                    waiting.extend(self.nested.row(group));
                }
            }
            reached
        };
        self.targets.iter().enumerate().map(reach).collect()
    }
}

/// Half of the groups hold no groups; the others are one level above their first child, and above all others.
fn nest(groups: u32, random: &mut SplitMix64) -> Rows {
    let mut by_level: Vec<Vec<u32>> = vec![Vec::new(); 10];
    let mut levels = Vec::new();
    for group in 0..groups {
        let mut level = 0;
        if random.below(2) == 1 {
            level = 1;
            while level < 9 && random.unit() < 0.6 {
                level += 1;
            }
        }
        by_level[level].push(group);
        levels.push(level);
    }
    let mut pairs = Vec::new();
    for (group, &level) in levels.iter().enumerate() {
        for child in 0..if level == 0 { 0 } else { 1 + random.below(4) } {
            let below = if child == 0 {
                level - 1
            } else {
                random.below(level as u32) as usize
            };
            if let Some(last) = by_level[below].len().checked_sub(1) {
                pairs.push((
                    group as u32,
                    by_level[below][random.below(last as u32 + 1) as usize],
                ));
            }
        }
    }
    for _ in 0..groups / 1000 {
        pairs.push((random.below(groups), random.below(groups)));
    }
    pairs.sort_unstable();
    pairs.dedup();
    Rows::new(groups, &pairs)
}

/// The one system of the scenario.
#[must_use]
pub fn system() -> SystemId {
    SystemId::new("directory").expect("the text is an id")
}

/// The id of a user: 24 bytes.
#[must_use]
pub fn user_id(user: u32) -> ObjectId {
    ObjectId::new(format!("user-{user:019}")).expect("the text is an id")
}

/// The id of a group: 24 bytes.
#[must_use]
pub fn group_id(group: u32) -> ObjectId {
    ObjectId::new(format!("team-{group:019}")).expect("the text is an id")
}

/// The group as a pick.
#[must_use]
pub fn group_ref(group: u32) -> PrincipalRef {
    PrincipalRef::new(system(), group_id(group))
}

/// An entry that tells members of `group`.
#[must_use]
pub fn members(group: u32, members: Vec<ObjectId>) -> DirectoryChange {
    DirectoryChange::Members {
        group: group_id(group),
        system: system(),
        members,
    }
}
