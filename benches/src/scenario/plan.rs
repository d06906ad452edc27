//! Scenario 4, `plan`: memberships of interned people in containers of a hundred, nothing to do, one of a hundred changed,
//! all new; against comparing the lists, merging them, and the usual sets.

use std::collections::HashSet;
use std::hash::Hash;
use std::hint::black_box;
use std::rc::Rc;

use usersync_model::{
    Container, ContainerKind, ContainerRef, DirectoryGraph, NodeId, PrincipalRef, Selection,
};
use usersync_reconcile::{ActualMembers, Base, DesiredMembers, Drafts, Policy, RunEvidence, plan_members};

use super::{Aim, Scenario, Target};
use crate::people::Names;
use crate::random::SplitMix64;
use crate::way::{Part, Way};

/// Members per container.
const SIZE: usize = 100;

/// Lists of members, one after the other.
struct Lists(Vec<NodeId>);

impl Lists {
    fn of(&self, container: usize) -> &[NodeId] {
        self.0
            .get(container * SIZE..(container + 1) * SIZE)
            .unwrap_or_default()
    }
}

const COMPARED: &str = "compare the lists";
const MERGED: &str = "merge the lists";
const OURS: &str = "plan";

pub(super) fn scenarios() -> Vec<Scenario> {
    let scenario = |name, targets, prepare| Scenario {
        name,
        item: "membership",
        sizes: [100_000, 1_000_000, 10_000_000],
        counted: Some([10_000, 100_000]),
        targets,
        prepare,
    };
    vec![
        scenario(
            "plan/nothing to do",
            &[Target {
                way: OURS,
                aim: Aim::AtMost(2.0, COMPARED),
            }],
            |memberships| ways(memberships, |teams| [&teams.before, &teams.before]),
        ),
        scenario("plan/1 % churn", &[], |memberships| {
            ways(memberships, |teams| [&teams.churned, &teams.before])
        }),
        scenario("plan/all new", &[], |memberships| {
            ways(memberships, |teams| [&teams.before, &teams.none])
        }),
    ]
}

/// Containers with their members.
struct Teams {
    graph: DirectoryGraph,
    names: Vec<String>,
    containers: Vec<Container>,
    before: Lists,
    /// One of a hundred members of `before` exchanged for another.
    churned: Lists,
    none: Lists,
}

impl Teams {
    /// `memberships` of a tenth as many people.
    fn new(memberships: usize) -> Self {
        let people = (memberships / 10).max(4 * SIZE);
        let mut graph = DirectoryGraph::default();
        let names: Vec<String> = (0..people)
            .map(|n| format!("{:024x}", SplitMix64::new(n as u64).next_u64()))
            .collect();
        let principals = names
            .iter()
            .map(|name| PrincipalRef::parse("dir", name).expect("hexadecimal digits"));
        let ids: Vec<NodeId> = principals.map(|principal| graph.intern(&principal)).collect();
        let mut random = SplitMix64::new(7);
        let mut before = Vec::with_capacity(memberships);
        let mut churned = Vec::with_capacity(memberships);
        for _ in 0..memberships / SIZE {
            let members = pick(&mut random, ids.len());
            before.extend(members.iter().map(|&at| ids[at]));
            let mut members = members;
            let gone = random.below(SIZE as u32) as usize;
            members[gone] = (0..)
                .find(|at| !members.contains(at))
                .expect("there are more people than members");
            members.sort_unstable();
            churned.extend(members.into_iter().map(|at| ids[at]));
        }
        let container = |n: usize| {
            let id = ContainerRef::parse("app", &format!("c{n:08}")).expect("digits");
            Container::new(id, ContainerKind::Team, format!("Team {n}"), Selection::default())
        };
        Self {
            graph,
            names,
            containers: (0..memberships / SIZE).map(container).collect(),
            before: Lists(before),
            churned: Lists(churned),
            none: Lists(Vec::new()),
        }
    }

    fn plan(&self, desired: &Lists, before: &Lists) -> Drafts {
        let mut policy = Policy::default();
        policy.guards.emptied = false;
        let evidence = RunEvidence {
            updates: true,
            ..RunEvidence::default()
        };
        let mut drafts = Drafts::default();
        for (at, container) in self.containers.iter().enumerate() {
            drafts.push(plan_members(
                container,
                DesiredMembers {
                    certain: desired.of(at),
                    ..DesiredMembers::default()
                },
                ActualMembers {
                    present: before.of(at),
                    ..ActualMembers::default()
                },
                Base {
                    ours: before.of(at),
                    other: &[],
                },
                &Names(&self.graph),
                &policy,
                &evidence,
            ));
        }
        drafts
    }

    /// The usual way: a set of each side, and their differences.
    fn naive<K: Eq + Hash + Copy>(
        &self,
        desired: &Lists,
        before: &Lists,
        key: impl Fn(NodeId) -> K,
    ) -> usize {
        let set = |list: &[NodeId]| -> HashSet<K> { list.iter().map(|id| key(*id)).collect() };
        let one = |at| {
            let (desired, actual, base) = (set(desired.of(at)), set(before.of(at)), set(before.of(at)));
            let add = desired.difference(&actual).count();
            let remove = actual.difference(&desired).filter(|id| base.contains(id)).count();
            add + remove
        };
        (0..self.containers.len()).map(one).sum()
    }
}

fn pick(random: &mut SplitMix64, people: usize) -> Vec<usize> {
    let mut members = Vec::with_capacity(SIZE);
    while members.len() < SIZE {
        members.extend((members.len()..SIZE).map(|_| random.below(people as u32) as usize));
        members.sort_unstable();
        members.dedup();
    }
    members
}

/// The least that a comparison of sorted lists does, without a branch that depends on them: it counts what to add and what
/// to remove.
fn merge(desired: &[NodeId], actual: &[NodeId]) -> usize {
    let (mut d, mut a, mut changes) = (0, 0, 0);
    while d < desired.len() && a < actual.len() {
        let (wanted, there) = (desired[d], actual[a]);
        changes += usize::from(wanted != there);
        d += usize::from(wanted <= there);
        a += usize::from(there <= wanted);
    }
    changes + (desired.len() - d) + (actual.len() - a)
}

/// The same, of what is there and ours.
fn merge_base(desired: &[NodeId], actual: &[NodeId], base: &[NodeId]) -> usize {
    merge(desired, actual) + merge(actual, black_box(base))
}

/// Who is desired, and who is there and ours.
type Sides = fn(&Teams) -> [&Lists; 2];

fn ways(memberships: u64, sides: Sides) -> Vec<Way> {
    let teams = Rc::new(Teams::new(memberships as usize));
    let way = |part, name, work: fn(&Teams, [&Lists; 2]) -> usize| {
        let teams = Rc::clone(&teams);
        Way::new(part, name, move || work(&teams, sides(&teams)))
    };
    let ours = Rc::clone(&teams);
    vec![
        way(Part::Limit, COMPARED, |teams, [desired, before]| {
            let is_equal =
                |at: &usize| desired.of(*at) == before.of(*at) && before.of(*at) == before.of(black_box(*at));
            (0..teams.containers.len()).filter(is_equal).count()
        }),
        way(Part::Limit, MERGED, |teams, [desired, before]| {
            let changes = |at| merge_base(desired.of(at), before.of(at), before.of(at));
            (0..teams.containers.len()).map(changes).sum()
        }),
        Way::new(Part::Usersync, OURS, move || {
            let [desired, before] = sides(&ours);
            ours.plan(desired, before)
        }),
        way(Part::Usual, "sets of numbers", |teams, [desired, before]| {
            teams.naive(desired, before, |id| id)
        }),
        way(Part::Usual, "sets of names", |teams, [desired, before]| {
            teams.naive(desired, before, |id| teams.names[id.index()].as_str())
        }),
    ]
}
