//! Under limits that small histories meet.

use super::super::NodeId;
use super::*;
use crate::completeness::Completeness;
use crate::id::{ObjectId, SystemId};
use crate::principal::{DirectoryChange, GroupKind, Principal, PrincipalKind};

const USERS: u64 = 5;
const GROUPS: u64 = 4;

fn sys(id: &str) -> SystemId {
    SystemId::new(id).expect("an id")
}

fn obj(id: &str) -> ObjectId {
    ObjectId::new(id).expect("an id")
}

fn a(id: &str) -> PrincipalRef {
    PrincipalRef::new(sys("a"), obj(id))
}

fn show(id: &str) -> DirectoryChange {
    let kind = match id.starts_with('g') {
        true => PrincipalKind::Group(GroupKind::Role),
        false => PrincipalKind::User,
    };
    DirectoryChange::Upsert(Principal::new(obj(id), kind, id))
}

fn members(group: &str, ids: Vec<ObjectId>, begins: bool) -> DirectoryChange {
    let (group, system) = (obj(group), sys("a"));
    match begins {
        true => DirectoryChange::Members {
            group,
            system,
            members: ids,
        },
        false => DirectoryChange::MembersRemoved {
            group,
            system,
            members: ids,
        },
    }
}

/// Numbers that follow from a seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn id(&mut self) -> String {
        match self.below(USERS + GROUPS) {
            user if user < USERS => format!("u{user}"),
            group => format!("g{}", group - USERS),
        }
    }

    fn change(&mut self) -> DirectoryChange {
        match self.below(8) {
            0..3 => show(&self.id()),
            3 | 4 => DirectoryChange::Removed(obj(&self.id())),
            kind => {
                let ids = (0..=self.below(USERS)).map(|_| obj(&self.id())).collect();
                members(&format!("g{}", self.below(GROUPS)), ids, kind != 7)
            }
        }
    }
}

/// How everybody stands, and what is known about the rest.
fn standings(graph: &DirectoryGraph, selection: &Selection) -> (Vec<Standing>, bool) {
    let policy = ResolvePolicy::default();
    let of = |node| graph.resolve_for(selection, &policy, node).1;
    let rest = graph.resolve(selection, &policy, &mut Scratch::new()).rest;
    (graph.nodes().map(of).collect(), rest != Rest::Absent)
}

#[test]
fn promise_07_impacts_are_whole_whatever_is_left_to_be_resolved_again() {
    let selections = [
        Selection::of([a("g0")]),
        Selection::of([a("g1"), a("u0")]).except([a("g2")]),
        Selection::of([a("g3"), a("g0")]).except([a("u1")]),
    ];
    let (mut loose, mut told) = (0, 0);
    for seed in 0..100 {
        let mut numbers = Numbers(seed);
        let mut graph = DirectoryGraph::default();
        for at in 0..USERS.max(GROUPS) {
            graph.intern(&a(&format!("u{at}")));
            graph.intern(&a(&format!("g{at}")));
        }
        let mut live = LiveSelections::new(ResolvePolicy::default());
        live.limits = Limits {
            compared: [0, 3, 100][seed as usize % 3],
            credit: 12,
            credit_per_change: 2,
        };
        live.credit = 0;
        let ids = selections
            .each_ref()
            .map(|selection| live.insert(&graph, selection.clone()));
        live.set_verdict(&mut graph, &sys("a"), Completeness::Complete);
        for step in 0..40 {
            let before = selections
                .each_ref()
                .map(|selection| standings(&graph, selection));
            let change = numbers.change();
            let impact = live.apply(&mut graph, &sys("a"), &change);
            loose += live.loose.len();
            for ((id, selection), (before, _)) in ids.into_iter().zip(&selections).zip(before) {
                let (after, is_unknown) = standings(&graph, selection);
                for (node, after) in graph.nodes().zip(&after) {
                    assert_eq!(live.standing(&graph, id, node), *after, "{seed} {step}");
                }
                if impact.re_resolve.contains(&id) {
                    assert!(impact.affected.iter().all(|one| one.selection != id));
                    continue;
                }
                let changes = before.iter().zip(&after).enumerate();
                for (at, (before, after)) in changes {
                    let node = NodeId(at as u32);
                    let affected = impact
                        .affected
                        .iter()
                        .find(|one| (one.selection, one.node) == (id, node))
                        .map(|one| (one.before, one.after));
                    let elsewhere = impact
                        .elsewhere
                        .filter(|one| one.node == node && is_unknown)
                        .map(|one| (one.before, one.after));
                    let expected = (*before, *after);
                    let said = affected.or(elsewhere).unwrap_or((*after, *after));
                    assert_eq!(said, expected, "{seed} {step} {at}: {change:?}");
                    told += usize::from(before != after);
                }
            }
        }
    }
    assert!(loose > 100 && told > 100, "{loose} {told}");
}

#[test]
fn beyond_the_limit_nothing_more_is_compared() {
    const MANY: usize = 100;
    let mut graph = DirectoryGraph::default();
    let people: Vec<_> = (0..MANY).map(|n| format!("u{n}")).collect();
    graph.set_verdict(&sys("a"), Completeness::Complete);
    for id in people.iter().map(String::as_str).chain(["g0"]) {
        graph.apply(&sys("a"), &show(id));
    }
    let mut live = LiveSelections::new(ResolvePolicy::default());
    live.limits.compared = 10;
    let ids: Vec<_> = (0..MANY)
        .map(|_| live.insert(&graph, Selection::of([a("g0")])))
        .collect();
    for begins in [true, false] {
        let all = people.iter().map(|id| obj(id)).collect();
        let impact = live.apply(&mut graph, &sys("a"), &members("g0", all, begins));
        assert_eq!(impact.re_resolve, ids);
        assert!(impact.affected.is_empty());
        assert_eq!(graph.direct_groups(NodeId(0)).count(), usize::from(begins));
    }
}
