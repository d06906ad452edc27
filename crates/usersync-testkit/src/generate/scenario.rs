//! Everything a run of a membership job finds: a directory, containers, members, a ledger.

use std::collections::{BTreeMap, BTreeSet};

use usersync_model::{
    Container, ContainerRef, DirectoryChange, JobId, LedgerRow, Member, MemberFacets, MembershipState,
    Origin, PrincipalRef, Role, TenantId,
};
use usersync_store::LedgerKey;

use super::directory::{DirectoryShape, directory};
use super::rng::SplitMix64;
use super::selection::{ContainerShape, containers};
use super::state::DirectoryState;

/// What a generated scenario looks like. Rates are per thousand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioShape {
    /// The directory.
    pub directory: DirectoryShape,
    /// The containers.
    pub containers: ContainerShape,
    /// Rate of selected users who are members already.
    pub present: u32,
    /// How many further members a container has at most, whom nobody selected.
    pub others: u32,
    /// Rate of members and of selected users with a row in the ledger.
    pub known: u32,
    /// Rate of rows whose origin is foreign.
    pub foreign: u32,
    /// Rate of rows that the other job claims, beside or instead of the job.
    pub shared: u32,
    /// Rate of members with another role or state than the default.
    pub facets: u32,
}

impl ScenarioShape {
    /// `users` users and `containers` containers, with every combination of claimed, selected and present.
    #[must_use]
    pub fn new(users: u32, containers: u32) -> Self {
        Self {
            directory: DirectoryShape::new(users),
            containers: ContainerShape::new(containers),
            present: 600,
            others: 12,
            known: 600,
            foreign: 250,
            shared: 250,
            facets: 100,
        }
    }
}

/// What a run of a membership job finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The tenant.
    pub tenant: TenantId,
    /// The job that runs.
    pub job: JobId,
    /// Another job of the tenant, with claims of its own.
    pub other_job: JobId,
    /// A full read of the directory.
    pub directory: Vec<DirectoryChange>,
    /// The same directory as sets.
    pub state: DirectoryState,
    /// The containers, ascending.
    pub containers: Vec<Container>,
    /// The members of every container, ascending.
    pub present: BTreeMap<ContainerRef, Vec<Member>>,
    /// The ledger, ascending.
    pub ledger: Vec<(LedgerKey, LedgerRow)>,
}

impl Scenario {
    /// Those whom `selection` selects as its definition says, before any policy about who is inactive or unknown, and without what
    /// other containers contribute: users and resources below what is included, minus those below what is excluded.
    #[must_use]
    pub fn selected(&self, container: &Container) -> BTreeSet<PrincipalRef> {
        selected(&self.state, container)
    }
}

fn selected(state: &DirectoryState, container: &Container) -> BTreeSet<PrincipalRef> {
    let is_leaf = |principal: &PrincipalRef| {
        principal.system == *state.system()
            && state
                .principals()
                .get(&principal.object)
                .is_some_and(|shown| !shown.kind.is_group())
    };
    let excluded = state.reachable(container.selection.exclude.iter().cloned());
    let mut reached = state.reachable(container.selection.include.iter().cloned());
    reached.retain(|principal| is_leaf(principal) && !excluded.contains(principal));
    reached
}

/// The scenario of this shape and seed. Holds everything in memory: meant for up to some ten thousand users.
#[must_use]
pub fn scenario(shape: &ScenarioShape, seed: u64) -> Scenario {
    let company = directory(&shape.directory, seed);
    let entries: Vec<_> = company.changes().collect();
    let state = DirectoryState::of(shape.directory.system.clone(), entries.iter().cloned());
    let containers: Vec<_> = containers(&company, &shape.containers, seed).collect();
    let mut made = Scenario {
        tenant: TenantId::new("tenant").expect("a literal without control characters is an id"),
        job: JobId::new("job").expect("a literal without control characters is an id"),
        other_job: JobId::new("other-job").expect("a literal without control characters is an id"),
        directory: entries,
        state,
        containers,
        present: BTreeMap::new(),
        ledger: Vec::new(),
    };
    for (index, container) in made.containers.iter().enumerate() {
        let mut rng = SplitMix64::keyed(seed, SCENARIO ^ index as u64);
        let wanted = selected(&made.state, container);
        let mut candidates = wanted.clone();
        for _ in 0..rng.below(u64::from(shape.others) + 1) {
            let user = rng.below(u64::from(shape.directory.users)) as u32;
            candidates.insert(company.user_ref(user));
        }
        let mut members = Vec::new();
        for principal in candidates {
            // Who is not selected is there, or known, or both: otherwise there is nothing to see.
            let is_present = rng.chance(shape.present);
            let is_known = rng.chance(shape.known) || (!is_present && !wanted.contains(&principal));
            let facets = some_facets(shape.facets, &mut rng);
            if is_present {
                members.push(Member {
                    principal: principal.clone(),
                    facets: facets.clone(),
                });
            }
            if is_known {
                let row = row(shape, &made.job, &made.other_job, &mut rng).with_facets(facets);
                let key = LedgerKey::member(container.id.clone(), principal);
                made.ledger.push((key, row));
            }
        }
        made.present.insert(container.id.clone(), members);
    }
    made
}

const SCENARIO: u64 = 9 << 56;

fn some_facets(per_mille: u32, rng: &mut SplitMix64) -> MemberFacets {
    if !rng.chance(per_mille) {
        return MemberFacets::default();
    }
    MemberFacets {
        role: [Role::Member, Role::Manager, Role::Owner][rng.index(3)].clone(),
        state: [MembershipState::Active, MembershipState::Pending][rng.index(2)],
    }
}

fn row(shape: &ScenarioShape, job: &JobId, other: &JobId, rng: &mut SplitMix64) -> LedgerRow {
    let origin = match rng.chance(shape.foreign) {
        true => Origin::Foreign,
        false => Origin::Ours,
    };
    let claims = match rng.chance(shape.shared) {
        false => vec![job.clone()],
        true if rng.chance(500) => vec![other.clone()],
        true => vec![job.clone(), other.clone()],
    };
    LedgerRow::new(origin, claims)
}
