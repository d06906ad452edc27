//! Scenario 1, `set_diff`: who is desired against who is there, as texts in any order, a hundredth, none or half of them
//! changed, with and without a base; against hashing every text once and the usual sets.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash};
use std::hint::black_box;
use std::rc::Rc;

use usersync_model::{
    Container, ContainerKind, ContainerRef, DirectoryGraph, NodeId, ObjectId, PrincipalRef, Selection,
    SystemId,
};
use usersync_reconcile::{
    ActualMembers, Base, DesiredMembers, Mode, Policy, RunEvidence, Section, plan_members,
};

use super::{Aim, Scenario, Target};
use crate::people::Names;
use crate::random::SplitMix64;
use crate::way::{Part, Way};

const HASHED: &str = "hash every text once";
const ANEW: &str = "nobody known before";
const SETS: &str = "HashSet<&str>, both directions";

const TARGETS: &[Target] = &[
    Target {
        way: ANEW,
        aim: Aim::AtMost(3.0, HASHED),
    },
    Target {
        way: ANEW,
        aim: Aim::Faster(10.0, SETS),
    },
    Target {
        way: ANEW,
        aim: Aim::Bytes(40.0),
    },
];

pub(super) fn scenarios() -> Vec<Scenario> {
    let scenario = |name, targets, prepare| Scenario {
        name,
        item: "text",
        sizes: [20_000, 200_000, 2_000_000],
        counted: Some([2000, 20_000]),
        targets,
        prepare,
    };
    // Every text of every side is an item.
    vec![
        scenario("set_diff/1 % changed", TARGETS, |items| {
            let len = (items / 2) as u32;
            two_way(Members::new(len, len / 100, false))
        }),
        scenario("set_diff/nothing changed", TARGETS, |items| {
            two_way(Members::new((items / 2) as u32, 0, false))
        }),
        scenario("set_diff/half changed", &[], |items| {
            let len = (items / 2) as u32;
            two_way(Members::new(len, len / 2, false))
        }),
        Scenario {
            sizes: [30_000, 300_000, 3_000_000],
            counted: Some([3000, 30_000]),
            ..scenario(
                "set_diff/three-way",
                &[Target {
                    way: ANEW,
                    aim: Aim::AtMost(4.0, HASHED),
                }],
                |items| {
                    let len = (items / 3) as u32;
                    three_way(Members::new(len, len / 100, true))
                },
            )
        },
    ]
}

/// The members of one container as texts.
struct Members {
    base: Vec<PrincipalRef>,
    desired: Vec<PrincipalRef>,
    actual: Vec<PrincipalRef>,
    container: Container,
    policy: Policy,
}

impl Members {
    /// `len` members before, `changed` of whom the source exchanged, and as many the target where `drifts`.
    fn new(len: u32, changed: u32, drifts: bool) -> Self {
        let mut random = SplitMix64::new(1);
        // As connectors do it: the id of a system is read once and cloned.
        let system = SystemId::new("dir").expect("the text is an id");
        let mut list = |numbers: Vec<u32>| {
            let one = |n| {
                let address = format!("person{n:07}@example.org");
                let object = ObjectId::new(address).expect("the text is an id");
                PrincipalRef::new(system.clone(), object)
            };
            let mut list: Vec<_> = numbers.into_iter().map(one).collect();
            random.shuffle(&mut list);
            list
        };
        let (half, more) = (changed / 2, changed / 2 + changed);
        let before = || (0..len).collect();
        let there = || (0..half).chain(more..len).chain(len + half..len + more).collect();
        let mut policy = Policy {
            mode: Mode::Mirror,
            ..Policy::default()
        };
        policy.guards.emptied = false;
        policy.guards.container = None;
        let id = ContainerRef::parse("app", "c").expect("the text is an id");
        Self {
            base: list(before()),
            desired: list((changed..len + changed).collect()),
            actual: list(if drifts { there() } else { before() }),
            container: Container::new(id, ContainerKind::Team, "Team", Selection::default()),
            policy,
        }
    }

    fn plan(
        &self,
        graph: &DirectoryGraph,
        desired: &[NodeId],
        actual: &[NodeId],
        base: &[NodeId],
    ) -> Section {
        plan_members(
            &self.container,
            DesiredMembers {
                certain: desired,
                ..DesiredMembers::default()
            },
            ActualMembers {
                present: actual,
                ..ActualMembers::default()
            },
            Base {
                ours: base,
                other: &[],
            },
            &Names(graph),
            &self.policy,
            &RunEvidence::default(),
        )
    }

    /// Nobody is known before.
    fn anew(&self, three_way: bool) -> usize {
        let mut graph = DirectoryGraph::default();
        let mut list = |list: &[PrincipalRef]| sorted(graph.intern_all(list));
        let (desired, actual) = (list(&self.desired), list(&self.actual));
        let base = three_way.then(|| list(&self.base));
        let base = base.as_ref().unwrap_or(&actual);
        self.plan(&graph, &desired, &actual, base).operations.len()
    }

    /// As `plan_members` decides where it mirrors.
    fn naive(&self) -> usize {
        let desired: HashSet<&str> = texts(&self.desired).collect();
        let actual: HashSet<&str> = texts(&self.actual).collect();
        desired.difference(&actual).count() + actual.difference(&desired).count()
    }

    /// The same, and who of those that are there is not in the base, so that it knows whom to claim.
    fn naive_three_way(&self) -> usize {
        let base: HashSet<&str> = texts(&self.base).collect();
        let claimed = texts(&self.actual).filter(|text| !base.contains(text)).count();
        self.naive() + claimed
    }
}

fn texts(list: &[PrincipalRef]) -> impl Iterator<Item = &str> {
    list.iter().map(|one| one.object.as_str())
}

fn sorted(mut ids: Vec<NodeId>) -> Vec<NodeId> {
    NodeId::sort(&mut ids);
    ids
}

fn hash_once<T: Hash>(items: impl Iterator<Item = T>) -> u64 {
    let state = foldhash::quality::RandomState::default();
    items.fold(0, |sum, item| sum ^ state.hash_one(item))
}

/// The same members, interned before.
struct Known {
    graph: DirectoryGraph,
    desired: Vec<NodeId>,
    base: Vec<NodeId>,
}

fn two_way(members: Members) -> Vec<Way> {
    assert_eq!(members.anew(false), members.naive(), "the ways disagree");
    let mut graph = DirectoryGraph::default();
    let desired = sorted(graph.intern_all(&members.desired));
    let base = sorted(graph.intern_all(&members.base));
    let members = Rc::new(members);
    let known = Rc::new(Known { graph, desired, base });
    let way = |part, name, work: fn(&Members, &Known) -> usize| {
        let (members, known) = (Rc::clone(&members), Rc::clone(&known));
        Way::new(part, name, move || work(&members, &known))
    };
    vec![
        way(Part::Limit, HASHED, |members, _| {
            hash_once(texts(&members.desired).chain(texts(&members.actual))) as usize
        }),
        way(Part::Usersync, ANEW, |members, _| members.anew(false)),
        way(
            Part::Usersync,
            "the target's texts looked up",
            |members, known| {
                let found = members.actual.iter().filter_map(|one| known.graph.find(one));
                let actual = sorted(found.collect());
                members
                    .plan(&known.graph, &known.desired, &actual, &actual)
                    .operations
                    .len()
            },
        ),
        way(Part::Usersync, "everybody known before", |members, known| {
            members
                .plan(&known.graph, &known.desired, &known.base, black_box(&known.base))
                .operations
                .len()
        }),
        way(Part::Usual, SETS, |members, _| members.naive()),
    ]
}

fn three_way(members: Members) -> Vec<Way> {
    assert_eq!(members.anew(true), members.naive(), "the ways disagree");
    let members = Rc::new(members);
    let way = |part, name, work: fn(&Members) -> usize| {
        let members = Rc::clone(&members);
        Way::new(part, name, move || work(&members))
    };
    vec![
        way(Part::Limit, HASHED, |members| {
            let lists = [&members.base, &members.desired, &members.actual];
            hash_once(lists.into_iter().flat_map(|list| texts(list))) as usize
        }),
        way(Part::Usersync, ANEW, |members| members.anew(true)),
        way(Part::Usual, SETS, |members| members.naive_three_way()),
    ]
}
