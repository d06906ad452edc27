//! Proptest strategies over small worlds. They share a space of ids, so that what one makes up another refers to, and shrink
//! towards few entries and few principals.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use usersync_model::{
    Activity, Container, ContainerKind, ContainerRef, DirectoryChange, ObjectId, Principal, PrincipalKind,
    PrincipalRef, ResourceKind, Selection, SystemId,
};

use super::directory::{DirectoryShape, GROUP_KINDS, system};
use super::rng::SplitMix64;
use super::scenario::{Scenario, ScenarioShape, scenario as seeded_scenario};
use super::selection::ContainerShape;

/// How large a small world may be. Users are `u0`, `u1` …, groups `g0` …, resources `r0` …; all of the system `directory`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// How many users there are ids for.
    pub users: u32,
    /// How many groups there are ids for, at least one.
    pub groups: u32,
    /// How many resources there are ids for.
    pub resources: u32,
    /// How many direct memberships there are at most.
    pub memberships: usize,
}

impl Default for World {
    /// Six users, five groups, one resource, up to twenty memberships: enough for two cycles and a diamond.
    fn default() -> Self {
        Self {
            users: 6,
            groups: 5,
            resources: 1,
            memberships: 20,
        }
    }
}

impl World {
    /// The system of all principals of a small world.
    #[must_use]
    pub fn system() -> SystemId {
        system("directory")
    }

    fn users(&self) -> BoxedStrategy<ObjectId> {
        ids("u", self.users.max(1))
    }

    fn groups(&self) -> BoxedStrategy<ObjectId> {
        ids("g", self.groups.max(1))
    }

    fn members(&self) -> BoxedStrategy<ObjectId> {
        match self.resources {
            0 => prop_oneof![1 => self.users(), 1 => self.groups()].boxed(),
            n => prop_oneof![5 => self.users(), 5 => self.groups(), 1 => ids("r", n)].boxed(),
        }
    }
}

fn ids(letter: &'static str, count: u32) -> BoxedStrategy<ObjectId> {
    (0..count)
        .prop_map(move |index| super::directory::object(&format!("{letter}{index}")))
        .boxed()
}

/// The principal that `id` of a small world stands for.
fn principal(id: ObjectId) -> impl Strategy<Value = Principal> {
    let kinds = match id.as_str().as_bytes()[0] {
        b'g' => proptest::sample::select(GROUP_KINDS.as_slice())
            .prop_map(PrincipalKind::Group)
            .boxed(),
        b'r' => Just(PrincipalKind::Resource(ResourceKind::Room)).boxed(),
        _ => Just(PrincipalKind::User).boxed(),
    };
    let flags = (proptest::bool::weighted(0.15), proptest::bool::weighted(0.1));
    (kinds, flags, 0_u8..3).prop_map(move |(kind, (inactive, privileged), name)| {
        let activity = match inactive {
            true => Activity::Inactive,
            false => Activity::Active,
        };
        Principal::new(id.clone(), kind, format!("{id} {name}"))
            .with_activity(activity)
            .with_privileged(privileged && kind == PrincipalKind::User)
    })
}

/// Full reads: principals, each once, some of them missing, and memberships among all ids, with cycles, self-loops, diamonds and
/// members that are never shown.
pub fn directory(world: &World) -> impl Strategy<Value = Vec<DirectoryChange>> + use<> {
    let all: Vec<ObjectId> = [
        ("u", world.users),
        ("g", world.groups.max(1)),
        ("r", world.resources),
    ]
    .into_iter()
    .flat_map(|(letter, count)| (0..count).map(move |i| super::directory::object(&format!("{letter}{i}"))))
    .collect();
    let shown: Vec<_> = all
        .into_iter()
        .map(|id| proptest::option::weighted(0.9, principal(id)))
        .collect();
    let memberships = vec((world.groups(), world.members()), 0..=world.memberships);
    (shown, memberships).prop_map(|(shown, memberships)| {
        let upserts = shown.into_iter().flatten().map(DirectoryChange::Upsert);
        upserts.chain(memberships.into_iter().map(added)).collect()
    })
}

/// Changes of every kind, in their order, over the ids of the small world: principals come, change and go, members too, and groups
/// are told anew.
pub fn history(
    world: &World,
    length: RangeInclusive<usize>,
) -> impl Strategy<Value = Vec<DirectoryChange>> + use<> {
    let membership = || (world.groups(), world.members());
    let change = prop_oneof![
        4 => world.members().prop_flat_map(principal).prop_map(DirectoryChange::Upsert),
        2 => world.members().prop_map(DirectoryChange::Removed),
        4 => membership().prop_map(added),
        4 => membership().prop_map(|(group, member)| DirectoryChange::MembersRemoved {
            group,
            system: World::system(),
            members: vec![member],
        }),
        1 => world.groups().prop_map(|group| DirectoryChange::MembersReset { group }),
    ];
    vec(change, length)
}

/// Selections of the principals of the small world, with exclusions; empty ones too.
pub fn selection(world: &World) -> impl Strategy<Value = Selection> + use<> {
    let picks = |most| {
        let pick = prop_oneof![2 => world.groups(), 1 => world.users()];
        btree_set(
            pick.prop_map(|id| PrincipalRef::new(World::system(), id)),
            0..=most,
        )
    };
    (picks(4), picks(2))
        .prop_map(|(include, exclude): (BTreeSet<_>, BTreeSet<_>)| Selection::of(include).except(exclude))
}

/// Up to `most` containers of a system named `target`, with selections from the small world.
pub fn containers(world: &World, most: usize) -> impl Strategy<Value = Vec<Container>> + use<> {
    let container = (selection(world), proptest::option::of(world.users()));
    vec(container, 0..=most).prop_map(|containers| {
        let numbered = containers.into_iter().enumerate();
        let made = numbered.map(|(index, (selection, owner))| {
            let id = ContainerRef::new(system("target"), super::directory::object(&format!("c{index}")));
            let container = Container::new(id, kind(index), format!("Container {index}"), selection);
            match owner {
                Some(owner) => container.with_owner(PrincipalRef::new(World::system(), owner)),
                None => container,
            }
        });
        made.collect()
    })
}

/// Scenarios with up to `users` users and `containers` containers; they shrink to fewer of both.
pub fn scenario(users: u32, containers: u32) -> impl Strategy<Value = Scenario> {
    (1..=users.max(1), 1..=containers.max(1), any::<u64>().no_shrink()).prop_map(
        |(users, containers, seed)| {
            let mut shape = ScenarioShape::new(users, containers);
            shape.directory = DirectoryShape {
                groups: (users / 2).max(4),
                depth: 3,
                memberships_per_user: 2,
                ..shape.directory
            };
            shape.containers = ContainerShape {
                nested: 0,
                ..shape.containers
            };
            seeded_scenario(&shape, seed)
        },
    )
}

/// Seeded randomness for what has no strategy of its own, such as [`disturb`](super::disturb()). Does not shrink.
pub fn rng() -> impl Strategy<Value = SplitMix64> {
    any::<u64>().no_shrink().prop_map(SplitMix64::new)
}

fn added((group, member): (ObjectId, ObjectId)) -> DirectoryChange {
    DirectoryChange::Members {
        group,
        system: World::system(),
        members: vec![member],
    }
}

fn kind(index: usize) -> ContainerKind {
    match index % 3 {
        0 => ContainerKind::Group,
        1 => ContainerKind::MailingList,
        _ => ContainerKind::Project,
    }
}
