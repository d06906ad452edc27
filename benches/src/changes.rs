//! Scenario 3: what changes in a directory while its targets are kept resolved.

use usersync_model::{DirectoryChange, ObjectId};

use crate::directory::{Directory, group_id, members, system, user_id};
use crate::random::SplitMix64;

/// A change to make, and the one that takes it back.
pub type Pair = [DirectoryChange; 2];

/// Memberships that are not there, group and user, drawn as the directory's own are.
#[must_use]
pub fn memberships(directory: &Directory, count: usize) -> Vec<(u32, u32)> {
    let mut random = SplitMix64::new(5);
    let mut found = Vec::new();
    while found.len() < count {
        let x = random.unit();
        let group = ((f64::from(directory.groups) * x * x) as u32).min(directory.groups - 1);
        let user = random.below(directory.users);
        if directory.members.row(group).binary_search(&user).is_err() {
            found.push((group, user));
        }
    }
    found
}

/// Nestings that are not there, of one group in another, drawn evenly.
#[must_use]
pub fn nestings(directory: &Directory, count: usize) -> Vec<(u32, u32)> {
    let mut random = SplitMix64::new(6);
    let mut found = Vec::new();
    while found.len() < count {
        let (group, nested) = (random.below(directory.groups), random.below(directory.groups));
        if directory.nested.row(group).binary_search(&nested).is_err() {
            found.push((group, nested));
        }
    }
    found
}

/// What a directory says when these users join these groups and leave them again.
#[must_use]
pub fn of_users(memberships: &[(u32, u32)]) -> Vec<Pair> {
    let pair = |&(group, user): &(u32, u32)| both(group, user_id(user));
    memberships.iter().map(pair).collect()
}

/// What a directory says when these groups are put in these groups and taken out again.
#[must_use]
pub fn of_groups(nestings: &[(u32, u32)]) -> Vec<Pair> {
    let pair = |&(group, nested): &(u32, u32)| both(group, group_id(nested));
    nestings.iter().map(pair).collect()
}

fn both(group: u32, member: ObjectId) -> Pair {
    let removed = DirectoryChange::MembersRemoved {
        group: group_id(group),
        system: system(),
        members: vec![member.clone()],
    };
    [members(group, vec![member]), removed]
}
