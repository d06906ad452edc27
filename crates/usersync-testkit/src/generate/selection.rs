//! What administrators pick, and for what.

use usersync_model::{
    Container, ContainerKind, ContainerRef, KindName, PrincipalRef, Role, RoleName, Selection, SystemId,
};

use super::directory::{DirectoryShape, GeneratedDirectory, object};
use super::rng::SplitMix64;

/// What a generated selection looks like. Rates are per thousand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectionShape {
    /// How many principals are included at most; at least one is, unless the selection is empty.
    pub includes: u32,
    /// How many are excluded at most, in a selection that excludes any.
    pub excludes: u32,
    /// Rate of selections that exclude somebody.
    pub excluding: u32,
    /// Rate of picks that are groups; the others are users.
    pub groups: u32,
    /// Rate of picks that no directory knows.
    pub unknown: u32,
    /// Rate of selections that select nobody.
    pub empty: u32,
}

impl Default for SelectionShape {
    /// One to five picks, four in five of them groups; half of the selections exclude up to three; a few are empty or
    /// name somebody unknown.
    fn default() -> Self {
        Self {
            includes: 5,
            excludes: 3,
            excluding: 500,
            groups: 800,
            unknown: 20,
            empty: 30,
        }
    }
}

/// A selection of principals of `directory`.
#[must_use]
pub fn selection(directory: &GeneratedDirectory, shape: &SelectionShape, rng: &mut SplitMix64) -> Selection {
    if rng.chance(shape.empty) {
        return Selection::default();
    }
    let includes = 1 + rng.below(u64::from(shape.includes));
    let include: Vec<_> = (0..includes).map(|_| pick(directory, shape, rng)).collect();
    let excludes = match rng.chance(shape.excluding) {
        true => 1 + rng.below(u64::from(shape.excludes)),
        false => 0,
    };
    let exclude: Vec<_> = (0..excludes).map(|_| pick(directory, shape, rng)).collect();
    Selection::of(include).except(exclude)
}

fn pick(directory: &GeneratedDirectory, shape: &SelectionShape, rng: &mut SplitMix64) -> PrincipalRef {
    let DirectoryShape { users, groups, .. } = *directory.shape();
    let wants_group = rng.chance(shape.groups);
    if rng.chance(shape.unknown) || (users == 0 && groups == 0) {
        let unknown = object(&format!("nobody{}", rng.below(10)));
        return PrincipalRef::new(directory.shape().system.clone(), unknown);
    }
    match groups > 0 && (wants_group || users == 0) {
        true => directory.group_ref(rng.below(u64::from(groups)) as u32),
        false => directory.user_ref(rng.below(u64::from(users)) as u32),
    }
}

/// What generated containers look like. Rates are per thousand containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerShape {
    /// The system that has them.
    pub system: SystemId,
    /// How many.
    pub count: u32,
    /// What is selected for them.
    pub selection: SelectionShape,
    /// Rate of containers with an owner, a user of the directory.
    pub owned: u32,
    /// Rate of containers whose selection includes another container, as share groups may be.
    pub nested: u32,
    /// Rate of containers whose members get another role than [`Role::Member`].
    pub roles: u32,
}

impl ContainerShape {
    /// `count` containers of a system named `target`, three in four with an owner, a few that select another container or give a
    /// role.
    #[must_use]
    pub fn new(count: u32) -> Self {
        Self {
            system: super::directory::system("target"),
            count,
            selection: SelectionShape::default(),
            owned: 750,
            nested: 100,
            roles: 100,
        }
    }
}

/// Containers of every kind with selections from `directory`, one after the other.
pub fn containers(
    directory: &GeneratedDirectory,
    shape: &ContainerShape,
    seed: u64,
) -> impl Iterator<Item = Container> + use<> {
    let (directory, shape) = (directory.clone(), shape.clone());
    (0..shape.count).map(move |index| container(&directory, &shape, seed, index))
}

const CONTAINER: u64 = 8 << 56;

fn container(directory: &GeneratedDirectory, shape: &ContainerShape, seed: u64, index: u32) -> Container {
    let mut rng = SplitMix64::keyed(seed, CONTAINER ^ u64::from(index));
    let id = |index: u32| ContainerRef::new(shape.system.clone(), object(&format!("c{index:07}")));
    let mut picked = selection(directory, &shape.selection, &mut rng);
    if rng.chance(shape.nested) {
        let other = rng.below(u64::from(shape.count)) as u32;
        picked.include.insert(id(other).as_principal());
    }
    let kind = container_kind(index);
    let mut container = Container::new(id(index), kind, format!("Container {index}"), picked);
    let users = u64::from(directory.shape().users);
    if users > 0 && rng.chance(shape.owned) {
        container = container.with_owner(directory.user_ref(rng.below(users) as u32));
    }
    if rng.chance(shape.roles) {
        let role = match rng.below(2) {
            0 => Role::Manager,
            _ => Role::Other(RoleName::new("guest").expect("a literal without control characters is a name")),
        };
        container = container.with_role(role);
    }
    container
}

/// Every kind in turn.
fn container_kind(index: u32) -> ContainerKind {
    match index % 10 {
        0 => ContainerKind::Group,
        1 => ContainerKind::Event,
        2 => ContainerKind::PhotoAlbum,
        3 => ContainerKind::Project,
        4 => ContainerKind::Poll,
        5 => ContainerKind::HelpMe,
        6 => ContainerKind::Filebox,
        7 => ContainerKind::Team,
        8 => ContainerKind::MailingList,
        _ => ContainerKind::Other(
            KindName::new("wiki").expect("a literal without control characters is a name"),
        ),
    }
}
