//! A small world of people by number, and a plan of it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use usersync_model::{
    Container, ContainerKind, ContainerRef, Digest, DirectoryGraph, JobId, MemberFacets, MembershipState,
    NodeId, Origin, PartialKind, PartialReason, PrincipalRef, Role, Selection, Subject, SystemId, TenantId,
};
use usersync_reconcile::{
    Action, ActualMembers, Base, BaseRow, ConflictPolicy, DesiredMembers, Drafts, Drift, Envelope,
    FirstSight, Header, LedgerStep, Mode, Operation, People, Plan, Policy, Reason, RunEvidence, Section,
    Standing, Tally, plan_members,
};

pub(crate) type Name = u8;

/// What the source says about somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Certain,
    Denied,
    InGrace,
    Maybe,
    PerhapsInGrace,
    Unlisted,
}

/// What the target says about somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    Absent,
    Present(MemberFacets),
    Unseen,
}

/// What the ledger says about somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) origin: Origin,
    pub(crate) claimed: bool,
    pub(crate) others: bool,
    pub(crate) facets: MemberFacets,
}

#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) wish: Wish,
    pub(crate) sight: Sight,
    pub(crate) row: Option<Row>,
    pub(crate) privileged: bool,
    pub(crate) protected: bool,
}

/// One container, with all that planning takes.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) people: BTreeMap<Name, Person>,
    pub(crate) role: Role,
    pub(crate) owner: Option<Name>,
    pub(crate) source_partial: bool,
    pub(crate) target_partial: bool,
    pub(crate) policy: Policy,
    pub(crate) evidence: RunEvidence,
}

pub(crate) fn principal(name: Name) -> PrincipalRef {
    PrincipalRef::parse("dir", &format!("p{name:02}")).unwrap()
}

pub(crate) fn name(subject: &Subject) -> Name {
    let Subject::Principal(principal) = subject else {
        unreachable!("{subject}")
    };
    principal.object.as_str()[1..].parse().unwrap()
}

pub(crate) fn container(number: u8) -> ContainerRef {
    ContainerRef::parse("app", &format!("c{number:02}")).unwrap()
}

pub(crate) fn reason() -> PartialReason {
    PartialReason::new(PartialKind::Limit, "")
}

struct Eyes<'a> {
    graph: &'a DirectoryGraph,
    world: &'a World,
}

impl Eyes<'_> {
    fn name(&self, id: NodeId) -> Name {
        name(&Subject::Principal(self.graph.principal_ref(id)))
    }
}

impl People for Eyes<'_> {
    fn principal(&self, id: NodeId) -> PrincipalRef {
        self.graph.principal_ref(id)
    }

    fn label(&self, id: NodeId) -> String {
        format!("Person {}", self.name(id))
    }

    fn is_privileged(&self, id: NodeId) -> bool {
        self.world.people[&self.name(id)].privileged
    }

    fn version(&self, id: NodeId) -> Option<String> {
        Some(format!("v{}", self.name(id)))
    }

    fn absence(&self, _: NodeId) -> Reason {
        Reason::NotSelected
    }
}

impl World {
    pub(crate) fn plan(&self) -> Section {
        self.plan_in_order(self.people.keys().copied())
    }

    /// The plan when people were first named in this order.
    pub(crate) fn plan_in_order(&self, order: impl Iterator<Item = Name>) -> Section {
        let mut graph = DirectoryGraph::default();
        let ids: BTreeMap<NodeId, Name> = order.map(|name| (graph.intern(&principal(name)), name)).collect();
        assert_eq!(ids.len(), self.people.len());
        let pick = |is: &dyn Fn(&Person) -> bool| -> Vec<NodeId> {
            ids.iter()
                .filter(|(_, name)| is(&self.people[name]))
                .map(|(id, _)| *id)
                .collect()
        };
        let wishes = |wish| pick(&|person| person.wish == wish);
        let facets: Vec<_> = ids
            .iter()
            .filter_map(|(id, name)| match &self.people[name].sight {
                Sight::Present(facets) if *facets != MemberFacets::default() => Some((*id, facets.clone())),
                _ => None,
            })
            .collect();
        let is_plain = |row: &Row| {
            row.origin == Origin::Ours && row.claimed && !row.others && row.facets == MemberFacets::default()
        };
        let other: Vec<_> = ids
            .iter()
            .filter_map(|(id, name)| Some((*id, self.people[name].row.as_ref()?)))
            .filter(|(_, row)| !is_plain(row))
            .map(|(id, row)| BaseRow {
                id,
                standing: Standing {
                    claimed: row.claimed,
                    origin: Some(row.origin),
                    others: row.others,
                },
                facets: row.facets.clone(),
            })
            .collect();
        let mut planned = Container::new(container(1), ContainerKind::Team, "Team", Selection::default())
            .with_role(self.role.clone());
        planned.owner = self.owner.map(principal);
        let reason = reason();
        plan_members(
            &planned,
            DesiredMembers {
                certain: &wishes(Wish::Certain),
                maybe: &wishes(Wish::Maybe),
                maybe_reason: Some(&reason),
                denied: &wishes(Wish::Denied),
                rest: self.source_partial.then_some(&reason),
                in_grace: &wishes(Wish::InGrace),
                perhaps_in_grace: &wishes(Wish::PerhapsInGrace),
                perhaps_reason: Some(&reason),
            },
            ActualMembers {
                present: &pick(&|person| matches!(person.sight, Sight::Present(_))),
                facets: &facets,
                rest: self.target_partial.then_some(&reason),
                absent: &pick(&|person| person.sight == Sight::Absent),
            },
            Base {
                ours: &pick(&|person| person.row.as_ref().is_some_and(is_plain)),
                other: &other,
            },
            &Eyes {
                graph: &graph,
                world: self,
            },
            &self.policy,
            &self.evidence,
        )
    }

    /// What the world is after a fault-free apply of `section`.
    pub(crate) fn after(&self, section: &Section) -> Self {
        let mut world = self.clone();
        for change in &section.ledger {
            let person = world.people.get_mut(&name(&change.subject)).unwrap();
            let row = person.row.take();
            person.row = match (&change.step, row) {
                (LedgerStep::Agree(facets), Some(row)) => Some(Row {
                    facets: facets.clone(),
                    ..row
                }),
                (LedgerStep::Claim(facets), row) => Some(Row {
                    origin: row.as_ref().map_or(Origin::Foreign, |row| row.origin),
                    claimed: true,
                    others: row.is_some_and(|row| row.others),
                    facets: facets.clone(),
                }),
                (LedgerStep::Forget | LedgerStep::Release(_), Some(row)) => released(row),
                (step, None) => panic!("{step:?} without a row"),
            };
        }
        for operation in &section.operations {
            world.apply(operation);
        }
        world
    }

    fn apply(&mut self, operation: &Operation) {
        let person = self.people.get_mut(&name(&operation.subject)).unwrap();
        let others = person.row.as_ref().is_some_and(|row| row.others);
        match &operation.action {
            Action::Add(facets) => {
                assert!(!matches!(person.sight, Sight::Present(_)), "added twice");
                person.sight = Sight::Present(facets.clone());
                person.row = Some(Row {
                    origin: Origin::Ours,
                    claimed: true,
                    others,
                    facets: operation.member_base().unwrap().clone(),
                });
            }
            Action::Adopt => person.row.as_mut().unwrap().origin = Origin::Ours,
            Action::Remove => {
                assert!(matches!(person.sight, Sight::Present(_)), "removed twice");
                person.sight = Sight::Absent;
                person.row = person.row.take().and_then(released);
            }
            Action::Update { from, to } => {
                assert_eq!(person.sight, Sight::Present(from.clone()));
                assert_ne!(from, to);
                person.sight = Sight::Present(to.clone());
                person.row.as_mut().unwrap().facets = operation.member_base().unwrap().clone();
            }
            action => panic!("{action:?} of a member"),
        }
    }

    pub(crate) fn names(&self, is: impl Fn(&Person) -> bool) -> BTreeSet<Name> {
        self.people
            .iter()
            .filter(|(_, person)| is(person))
            .map(|(name, _)| *name)
            .collect()
    }
}

fn released(row: Row) -> Option<Row> {
    row.others.then_some(Row {
        claimed: false,
        ..row
    })
}

pub(crate) fn member_facets() -> impl Strategy<Value = MemberFacets> {
    let role = prop_oneof![4 => Just(Role::Member), 1 => Just(Role::Owner)];
    let state = prop_oneof![3 => Just(MembershipState::Active), 1 => Just(MembershipState::Pending)];
    (role, state).prop_map(|(role, state)| MemberFacets { role, state })
}

fn person() -> impl Strategy<Value = Person> {
    let wish = prop_oneof![
        4 => Just(Wish::Certain), 1 => Just(Wish::Denied), 1 => Just(Wish::InGrace),
        1 => Just(Wish::Maybe), 1 => Just(Wish::PerhapsInGrace), 4 => Just(Wish::Unlisted)];
    let sight = prop_oneof![
        5 => member_facets().prop_map(Sight::Present), 1 => Just(Sight::Absent), 3 => Just(Sight::Unseen)];
    // A row without a claim does not exist.
    let claims = prop_oneof![4 => Just((true, false)), 1 => Just((true, true)), 1 => Just((false, true))];
    let origin = prop_oneof![3 => Just(Origin::Ours), 1 => Just(Origin::Foreign)];
    let row = (origin, claims, member_facets()).prop_map(|(origin, (claimed, others), facets)| Row {
        origin,
        claimed,
        others,
        facets,
    });
    (
        wish,
        sight,
        prop::option::weighted(0.7, row),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(wish, sight, row, privileged, protected)| Person {
            wish,
            sight,
            row,
            privileged,
            protected,
        })
}

pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    let mode = prop_oneof![Just(Mode::Managed), Just(Mode::Mirror), Just(Mode::AddOnly)];
    let drift = prop_oneof![Just(Drift::Restore), Just(Drift::Respect)];
    let conflict = prop_oneof![
        Just(ConflictPolicy::Newest),
        Just(ConflictPolicy::Report),
        Just(ConflictPolicy::SourceWins),
        Just(ConflictPolicy::TargetWins)
    ];
    let first_sight = prop_oneof![Just(FirstSight::Import), Just(FirstSight::Leave)];
    let state = prop_oneof![3 => Just(MembershipState::Active), 1 => Just(MembershipState::Pending)];
    (mode, drift, conflict, first_sight, state, any::<bool>()).prop_map(
        |(mode, drift, conflict, first_sight, initial_state, guarded)| {
            let mut policy = Policy {
                drift,
                conflict,
                first_sight,
                initial_state,
                ..Policy::new(mode)
            };
            if !guarded {
                policy.guards.container = None;
                policy.guards.run = None;
                policy.guards.window = None;
                policy.guards.emptied = false;
                policy.guards.privileged = false;
            }
            policy
        },
    )
}

/// Any world, partial or not.
pub(crate) fn world() -> impl Strategy<Value = World> {
    (
        prop::collection::btree_map(0_u8..40, person(), 0..24),
        prop_oneof![3 => Just(Role::Member), 1 => Just(Role::Manager), 1 => Just(Role::Owner)],
        prop::option::of(0_u8..40),
        prop::bool::weighted(0.25),
        prop::bool::weighted(0.25),
        policy(),
        any::<bool>(),
    )
        .prop_map(
            |(people, role, owner, source_partial, target_partial, mut policy, updates)| {
                let named = people.iter().filter(|(_, person)| person.protected);
                policy.guards.protected = named.map(|(name, _)| principal(*name)).collect();
                World {
                    people,
                    role,
                    owner,
                    source_partial,
                    target_partial,
                    policy,
                    evidence: RunEvidence {
                        updates,
                        ..RunEvidence::default()
                    },
                }
            },
        )
}

/// A world that was read completely.
pub(crate) fn complete_world() -> impl Strategy<Value = World> {
    world().prop_map(|mut world| {
        world.source_partial = false;
        world.target_partial = false;
        for person in world.people.values_mut() {
            match person.wish {
                Wish::Maybe => person.wish = Wish::Certain,
                Wish::PerhapsInGrace => person.wish = Wish::InGrace,
                Wish::Certain | Wish::Denied | Wish::InGrace | Wish::Unlisted => {}
            }
        }
        world
    })
}

/// A complete world in which no guard holds anything.
pub(crate) fn unguarded_world() -> impl Strategy<Value = World> {
    complete_world().prop_map(|mut world| {
        let guards = &mut world.policy.guards;
        (guards.container, guards.run, guards.window) = (None, None, None);
        (guards.emptied, guards.privileged) = (false, false);
        guards.protected.clear();
        world
    })
}

pub(crate) fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

pub(crate) fn header(policy: &Policy) -> Header {
    Header {
        tenant: TenantId::new("acme").unwrap(),
        job: JobId::new("share-groups").unwrap(),
        target: SystemId::new("app").unwrap(),
        mode: policy.mode,
        policy: policy.digest(),
        containers: 0,
        tally: Tally::default(),
        warnings: Vec::new(),
        more_warnings: 0,
    }
}

pub(crate) fn envelope(serial: u64, second: i64) -> Envelope {
    Envelope {
        lineage: Digest::of("lineage", b"one"),
        serial,
        created: at(second),
        expires: at(second) + TimeDelta::hours(1),
    }
}

pub(crate) fn assemble(
    sections: impl IntoIterator<Item = Section>,
    policy: &Policy,
    approved: Option<Digest>,
) -> Plan {
    let mut drafts = Drafts::default();
    sections.into_iter().for_each(|section| drafts.push(section));
    Plan::assemble(header(policy), envelope(1, 0), drafts, policy, 0, approved)
}
