//! Histories of small worlds, as values that proptest shrinks: what administrators do in the directory, what people do at the
//! target, what is selected.

use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;
use proptest::test_runner::RngSeed;
use usersync::memory::MemoryCatalog;
use usersync::model::{Activity, Member, MemberFacets, PrincipalRef, Role, Selection};
use usersync::reconcile::{Drift, Mode};

use crate::builder::WorldBuilder;
use crate::names::{container, user};
use crate::store::WorldStore;
use crate::world::World;

/// How many users, `u0` and so on, such a world has.
pub const USERS: u8 = 6;
/// How many groups, `g0` and so on.
pub const GROUPS: u8 = 4;
/// How many containers, `c0` and so on.
pub const CONTAINERS: u8 = 3;

/// One change of the world. Numbers are those of users, groups and containers.
#[derive(Clone, Debug)]
pub enum Edit {
    /// A person adds a user to a container.
    AddByHand(u8, u8),
    /// A user is deleted from the directory.
    Depart(u8),
    /// A user is disabled, or enabled again.
    Disable(u8, bool),
    /// A user or a group that the directory has becomes a member of a group.
    Join(u8, Pick),
    /// And is one no more.
    Leave(u8, Pick),
    /// A person removes a user from a container.
    RemoveByHand(u8, u8),
    /// A user has another name from now on, or comes back.
    Rename(u8, u8),
    /// A person makes a user manager of a container.
    RoleByHand(u8, u8),
    /// The selection of a container changes.
    Select(u8, Vec<Pick>, Vec<Pick>),
}

/// A user or a group.
#[derive(Clone, Copy, Debug)]
pub enum Pick {
    /// A group.
    Group(u8),
    /// A user.
    User(u8),
}

impl Pick {
    /// Who it is.
    #[must_use]
    pub fn principal(self) -> PrincipalRef {
        match self {
            Self::Group(n) => user(&format!("g{n}")),
            Self::User(n) => user(&format!("u{n}")),
        }
    }
}

/// A world of these users, groups and containers, without memberships and selections.
#[must_use]
pub fn world() -> WorldBuilder {
    let everyone: Vec<_> = (0..USERS).map(|n| format!("u{n}")).collect();
    let mut builder = World::builder().group("everyone", &everyone.join(" "));
    for n in 0..GROUPS {
        builder = builder.group(&format!("g{n}"), "");
    }
    for n in 0..CONTAINERS {
        builder = builder.container(&format!("c{n}"), "");
    }
    builder
}

/// `cases` cases, the same ones every time.
#[must_use]
pub fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(20_260_101),
        ..ProptestConfig::with_cases(cases)
    }
}

/// Any mode.
pub fn mode() -> BoxedStrategy<Mode> {
    prop_oneof![Just(Mode::Managed), Just(Mode::Mirror), Just(Mode::AddOnly)].boxed()
}

/// Any treatment of what somebody removed.
pub fn drift() -> BoxedStrategy<Drift> {
    prop_oneof![Just(Drift::Restore), Just(Drift::Respect)].boxed()
}

/// Any change.
pub fn edit() -> BoxedStrategy<Edit> {
    prop_oneof![
        4 => (0..GROUPS, pick()).prop_map(|(group, member)| Edit::Join(group, member)),
        2 => (0..GROUPS, pick()).prop_map(|(group, member)| Edit::Leave(group, member)),
        1 => (0..USERS).prop_map(Edit::Depart),
        1 => (0..USERS, any::<bool>()).prop_map(|(who, off)| Edit::Disable(who, off)),
        1 => (0..USERS, 0..3_u8).prop_map(|(who, name)| Edit::Rename(who, name)),
        4 => selection().prop_map(|(c, include, exclude)| Edit::Select(c, include, exclude)),
        3 => (0..CONTAINERS, 0..USERS).prop_map(|(c, who)| Edit::AddByHand(c, who)),
        3 => (0..CONTAINERS, 0..USERS).prop_map(|(c, who)| Edit::RemoveByHand(c, who)),
        1 => (0..CONTAINERS, 0..USERS).prop_map(|(c, who)| Edit::RoleByHand(c, who)),
    ]
    .boxed()
}

/// Up to `most` changes.
pub fn edits(most: usize) -> BoxedStrategy<Vec<Edit>> {
    proptest::collection::vec(edit(), 0..=most).boxed()
}

fn pick() -> BoxedStrategy<Pick> {
    prop_oneof![2 => (0..USERS).prop_map(Pick::User), 1 => (0..GROUPS).prop_map(Pick::Group)].boxed()
}

fn selection() -> BoxedStrategy<(u8, Vec<Pick>, Vec<Pick>)> {
    let some = |most| {
        let pick = prop_oneof![3 => (0..GROUPS).prop_map(Pick::Group), 2 => (0..USERS).prop_map(Pick::User)];
        proptest::collection::vec(pick, 0..=most)
    };
    (0..CONTAINERS, some(3), some(1)).boxed()
}

impl<S: WorldStore> World<S> {
    /// Makes changes in their order, those of selections in `catalog`.
    pub fn edit_over(&self, catalog: &MemoryCatalog, edits: &[Edit]) {
        for edit in edits {
            self.edit_one(catalog, edit);
        }
    }

    /// Makes changes in their order.
    pub fn edit(&self, edits: &[Edit]) {
        self.edit_over(&self.catalog, edits);
    }

    fn edit_one(&self, catalog: &MemoryCatalog, edit: &Edit) {
        let place = |c: u8| container(&format!("c{c}"));
        let who = |n: u8| user(&format!("u{n}"));
        let group = |n: u8| user(&format!("g{n}")).object;
        match edit {
            Edit::AddByHand(c, n) => {
                self.target.add_by_hand(&place(*c).object, who(*n));
            }
            Edit::Depart(n) => self.depart(&format!("u{n}")),
            Edit::Disable(n, off) => {
                if let Some(known) = self.directory.principal(&who(*n).object) {
                    let activity = if *off {
                        Activity::Inactive
                    } else {
                        Activity::Active
                    };
                    self.directory.put(known.with_activity(activity));
                }
            }
            // A directory that names a member whom it does not show is not read completely; these here are.
            Edit::Join(n, member) if self.directory.principal(&member.principal().object).is_some() => {
                self.directory.add_member(&group(*n), &member.principal());
            }
            Edit::Join(..) => {}
            Edit::Leave(n, member) => {
                self.directory.remove_member(&group(*n), &member.principal());
            }
            Edit::RemoveByHand(c, n) => {
                self.target.remove_by_hand(&place(*c).object, &who(*n));
            }
            Edit::Rename(n, name) => {
                let name = format!("name {name}");
                match self.directory.principal(&who(*n).object) {
                    Some(mut known) => {
                        known.name = name;
                        self.directory.put(known);
                    }
                    None => self.put_user(&format!("u{n}")),
                }
            }
            Edit::RoleByHand(c, n) => {
                if self
                    .target
                    .members_of(&place(*c).object)
                    .is_some_and(|members| members.iter().any(|member| member.principal == who(*n)))
                {
                    let facets = MemberFacets {
                        role: Role::Manager,
                        ..MemberFacets::default()
                    };
                    self.target.set_by_hand(
                        &place(*c).object,
                        Member {
                            principal: who(*n),
                            facets,
                        },
                    );
                }
            }
            Edit::Select(c, include, exclude) => {
                let refer = |picks: &[Pick]| picks.iter().map(|pick| pick.principal()).collect::<Vec<_>>();
                catalog.select(&place(*c), Selection::of(refer(include)).except(refer(exclude)));
            }
        }
    }
}
