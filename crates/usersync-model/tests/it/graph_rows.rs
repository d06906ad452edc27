//! The direct memberships of a graph, against sets, after any history: in what order they are told, and how many there are.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use usersync_model::{
    Completeness, DirectoryChange, DirectoryGraph, GraphBuilder, NodeId, PrincipalRef, ResolvePolicy,
    Scratch, Selection,
};

use crate::graph_common::{config, members, obj, parse, sys, upsert};

const GROUPS: [&str; 3] = ["g0", "g1", "g2"];
/// Users, groups, and some whom nobody shows.
const MEMBERS: [&str; 11] = ["u0", "x0", "g0", "u1", "u2", "g1", "x1", "u3", "g2", "u4", "x2"];

/// Which members each group has.
type Rows = BTreeMap<&'static str, BTreeSet<&'static str>>;

#[derive(Clone, Debug)]
enum Change {
    Begin(usize, BTreeSet<usize>),
    End(usize, BTreeSet<usize>),
    Reset(usize),
    Set(usize, BTreeSet<usize>),
}

fn change() -> impl Strategy<Value = Change> {
    let some = || prop::collection::btree_set(0..MEMBERS.len(), 0..8);
    prop_oneof![
        3 => (0..GROUPS.len(), some()).prop_map(|(group, members)| Change::Begin(group, members)),
        3 => (0..GROUPS.len(), some()).prop_map(|(group, members)| Change::End(group, members)),
        1 => (0..GROUPS.len()).prop_map(Change::Reset),
        1 => (0..GROUPS.len(), some()).prop_map(|(group, members)| Change::Set(group, members)),
    ]
}

fn node(graph: &DirectoryGraph, id: &str) -> Option<NodeId> {
    graph.find(&PrincipalRef::new(sys("a"), obj(id)))
}

fn named(members: &BTreeSet<usize>) -> Vec<&'static str> {
    members.iter().map(|member| MEMBERS[*member]).collect()
}

fn apply(graph: &mut DirectoryGraph, rows: &mut Rows, change: &Change) {
    let (Change::Begin(group, _) | Change::End(group, _) | Change::Reset(group) | Change::Set(group, _)) =
        change;
    let group = GROUPS[*group];
    let row = rows.entry(group).or_default();
    match change {
        Change::Begin(_, some) => {
            row.extend(named(some));
            graph.apply(&sys("a"), &members(group, "a", &named(some)));
        }
        Change::End(_, some) => {
            row.retain(|member| !named(some).contains(member));
            let ended = DirectoryChange::MembersRemoved {
                group: obj(group),
                system: sys("a"),
                members: named(some).into_iter().map(obj).collect(),
            };
            graph.apply(&sys("a"), &ended);
        }
        Change::Reset(_) => {
            row.clear();
            graph.apply(&sys("a"), &DirectoryChange::MembersReset { group: obj(group) });
        }
        Change::Set(_, some) => {
            *row = named(some).into_iter().collect();
            let nodes: Vec<NodeId> = named(some)
                .into_iter()
                .map(|id| graph.intern(&PrincipalRef::new(sys("a"), obj(id))))
                .collect();
            let group = graph.intern(&PrincipalRef::new(sys("a"), obj(group)));
            graph.set_members(group, &nodes);
        }
    }
}

fn check(graph: &DirectoryGraph, rows: &Rows) -> Result<(), TestCaseError> {
    let count: usize = rows.values().map(BTreeSet::len).sum();
    prop_assert_eq!(graph.membership_count(), count);
    for id in MEMBERS {
        let Some(one) = node(graph, id) else { continue };
        let ascending = |ids: Vec<&str>| -> BTreeSet<NodeId> {
            ids.into_iter().filter_map(|id| node(graph, id)).collect()
        };
        let below = ascending(rows.get(id).into_iter().flatten().copied().collect());
        prop_assert!(graph.direct_members(one).eq(below), "the members of {id}");
        let above = ascending(
            rows.iter()
                .filter(|(_, row)| row.contains(id))
                .map(|(group, _)| *group)
                .collect(),
        );
        prop_assert!(graph.direct_groups(one).eq(above), "the groups of {id}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn memberships_are_told_once_and_ascending(
        order in Just(MEMBERS).prop_shuffle(),
        begun in prop::collection::vec(change(), 0..4),
        changes in prop::collection::vec(change(), 0..12),
    ) {
        let mut builder = GraphBuilder::new();
        for id in order.into_iter().filter(|id| !id.starts_with('x')) {
            builder.add(&sys("a"), upsert(id, true));
        }
        let mut rows = Rows::new();
        for change in &begun {
            if let Change::Begin(group, some) = change {
                rows.entry(GROUPS[*group]).or_default().extend(named(some));
                builder.add(&sys("a"), members(GROUPS[*group], "a", &named(some)));
            }
        }
        builder.end(&sys("a"), Completeness::Complete, Vec::new());
        let mut graph = builder.finish();
        check(&graph, &rows)?;
        for change in &changes {
            apply(&mut graph, &mut rows, change);
            check(&graph, &rows)?;
        }
    }
}

/// Far more changes than are kept beside the rows that were read.
#[test]
fn memberships_stay_what_they_are_through_thousands_of_changes() {
    let ids: Vec<String> = (0..3000).map(|number| format!("u{number}")).collect();
    let mut graph = DirectoryGraph::default();
    let mut rows: BTreeMap<&str, BTreeSet<NodeId>> = BTreeMap::new();
    for (step, part) in [0..3000, 1000..2000, 500..2500, 0..3000].into_iter().enumerate() {
        for (number, group) in GROUPS.into_iter().enumerate() {
            let some: Vec<&str> = ids[part.clone()]
                .iter()
                .skip(number)
                .step_by(number + 1)
                .map(String::as_str)
                .collect();
            let row = rows.entry(group).or_default();
            let begins = step.is_multiple_of(2);
            if begins {
                graph.apply(&sys("a"), &members(group, "a", &some));
            } else {
                let ended = DirectoryChange::MembersRemoved {
                    group: obj(group),
                    system: sys("a"),
                    members: some.iter().map(|id| obj(id)).collect(),
                };
                graph.apply(&sys("a"), &ended);
            }
            for node in some.iter().filter_map(|id| node(&graph, id)) {
                if begins {
                    row.insert(node)
                } else {
                    row.remove(&node)
                };
            }
        }
        for (group, row) in &rows {
            let group = node(&graph, group).expect("it has members");
            assert!(
                graph.direct_members(group).eq(row.iter().copied()),
                "after step {step}"
            );
        }
        assert_eq!(
            graph.membership_count(),
            rows.values().map(BTreeSet::len).sum::<usize>()
        );
        let of_one = |one: NodeId| rows.values().filter(|row| row.contains(&one)).count();
        for one in graph.nodes() {
            assert_eq!(graph.direct_groups(one).count(), of_one(one), "after step {step}");
        }
    }
}

/// Many changes of one group, of which half is taken back.
#[test]
fn compaction_changes_nothing() {
    let mut graph = DirectoryGraph::default();
    graph.set_verdict(&sys("a"), Completeness::Complete);
    graph.apply(&sys("a"), &upsert("g0", true));
    let names: Vec<String> = (0..20_000).map(|at| format!("u{at}")).collect();
    for name in &names {
        graph.apply(&sys("a"), &upsert(name, true));
        graph.apply(&sys("a"), &members("g0", "a", &[name]));
    }
    for name in names.iter().step_by(2) {
        let change = DirectoryChange::MembersRemoved {
            group: obj("g0"),
            system: sys("a"),
            members: vec![obj(name)],
        };
        graph.apply(&sys("a"), &change);
    }
    let resolved = graph.resolve(
        &Selection::of([parse("a:g0")]),
        &ResolvePolicy::default(),
        &mut Scratch::new(),
    );
    let expected: Vec<NodeId> = names
        .iter()
        .skip(1)
        .step_by(2)
        .filter_map(|name| graph.find_parts(&sys("a"), name))
        .collect();
    assert_eq!(resolved.certain, expected);
    assert_eq!(graph.membership_count(), 10_000);
    for node in expected {
        assert_eq!(graph.direct_groups(node).count(), 1);
    }
}

/// Results are gathered many at a time, wherever among all nodes they are.
#[test]
fn a_selection_of_few_among_many_is_just_these() {
    let mut graph = DirectoryGraph::default();
    let ids: Vec<String> = (0..200).map(|number| format!("u{number}")).collect();
    for id in &ids {
        graph.apply(&sys("a"), &upsert(id, true));
    }
    graph.set_verdict(&sys("a"), Completeness::Complete);
    let pick = |at: usize| PrincipalRef::new(sys("a"), obj(&ids[at]));
    let nodes: Vec<NodeId> = graph.nodes().collect();
    let mut scratch = Scratch::new();
    let policy = ResolvePolicy::default();
    for first in 0..ids.len() {
        for distance in [0, 1, 2, 63, 64, 65] {
            let last = (first + distance).min(ids.len() - 1);
            let picked: BTreeSet<usize> = BTreeSet::from([first, (first + last) / 2, last]);
            let selection = Selection::of(picked.iter().map(|at| pick(*at)));
            let expected: Vec<NodeId> = picked.iter().map(|at| nodes[*at]).collect();
            let resolved = graph.resolve(&selection, &policy, &mut scratch);
            assert_eq!(resolved.certain, expected, "{picked:?}");
            // All but these, and so the same the other way round.
            let but = Selection::of((0..ids.len()).map(pick)).except(picked.iter().map(|at| pick(*at)));
            let others: Vec<NodeId> = nodes
                .iter()
                .filter(|node| !expected.contains(node))
                .copied()
                .collect();
            assert_eq!(
                graph.resolve(&but, &policy, &mut scratch).certain,
                others,
                "{picked:?}"
            );
            assert_eq!(
                graph.denied(&but, &policy, &mut scratch, &nodes),
                expected,
                "{picked:?}"
            );
        }
    }
}

/// Short rows are brought together, and long ones are not, wherever one block of them ends.
#[test]
fn groups_of_any_size_are_gathered_whole() {
    for (groups, size) in [(2100, 1), (800, 3), (5, 512), (4, 600), (2, 3000), (1, 9000)] {
        let users: Vec<String> = (0..groups * size).map(|number| format!("u{number}")).collect();
        let mut builder = GraphBuilder::new();
        let names: Vec<String> = (0..groups).map(|number| format!("g{number}")).collect();
        for (group, row) in names.iter().zip(users.chunks(size)) {
            let row: Vec<&str> = row.iter().map(String::as_str).collect();
            builder.add(&sys("a"), members(group, "a", &row));
        }
        for id in users.iter().chain(&names) {
            builder.add(&sys("a"), upsert(id, true));
        }
        builder.end(&sys("a"), Completeness::Complete, Vec::new());
        let graph = builder.finish();
        let selection = Selection::of(names.iter().map(|group| PrincipalRef::new(sys("a"), obj(group))));
        let resolved = graph.resolve(&selection, &ResolvePolicy::default(), &mut Scratch::new());
        let expected: BTreeSet<NodeId> = users.iter().filter_map(|id| node(&graph, id)).collect();
        assert!(resolved.certain.iter().eq(&expected), "{groups} groups of {size}");
    }
}
