//! Small groups nested into large selections: what changes is told of those alone whom nothing else reaches.

use usersync_model::{
    Affected, Completeness, DirectoryChange, DirectoryGraph, LiveSelections, NodeId, ResolvePolicy, Rest,
    Scratch, Selection, Standing,
};

use crate::graph_common::{members, obj, parse, standings, sys, upsert};

const MANY: usize = 2000;

fn graph() -> DirectoryGraph {
    let mut graph = DirectoryGraph::default();
    let users: Vec<String> = (0..MANY + 4).map(|number| format!("u{number}")).collect();
    let name = |number: usize| users[number].as_str();
    for id in users.iter().map(String::as_str).chain(["g0", "g1", "g2", "g3"]) {
        graph.apply(&sys("a"), &upsert(id, true));
    }
    let most: Vec<&str> = (0..MANY).map(name).collect();
    graph.apply(&sys("a"), &members("g0", "a", &most));
    graph.apply(&sys("a"), &members("g3", "a", &most[MANY / 2..]));
    // Of the small group, two are in both large ones, two in one, and the others in none.
    let few = [MANY - 1, MANY - 2, 0, 1, MANY, MANY + 1, MANY + 2].map(name);
    graph.apply(&sys("a"), &members("g2", "a", &few));
    graph.apply(&sys("a"), &members("g1", "a", &["g2", name(MANY + 3)]));
    graph.set_verdict(&sys("a"), Completeness::Complete);
    graph
}

fn nested(group: &str, begins: bool) -> DirectoryChange {
    if begins {
        return members(group, "a", &["g1"]);
    }
    DirectoryChange::MembersRemoved {
        group: obj(group),
        system: sys("a"),
        members: vec![obj("g1")],
    }
}

#[test]
fn a_small_group_in_a_large_selection_changes_those_whom_nothing_else_reaches() {
    let policy = ResolvePolicy::default();
    let selections = [
        Selection::of([parse("a:g0")]),
        Selection::of([parse("a:g0")]).except([parse("a:g3")]),
        Selection::of([parse("a:g3")]).except([parse("a:g0")]),
        Selection::of([parse("a:g0"), parse("a:g3")]).except([parse("a:u0"), parse("a:u2000")]),
    ];
    let mut graph = graph();
    let mut live = LiveSelections::new(policy);
    let ids = selections
        .each_ref()
        .map(|selection| live.insert(&graph, selection.clone()));
    for (group, begins) in [
        ("g0", true),
        ("g3", true),
        ("g0", false),
        ("g0", true),
        ("g3", false),
        ("g0", false),
    ] {
        let stand = |graph: &DirectoryGraph| {
            selections
                .each_ref()
                .map(|selection| standings(graph, selection, &policy))
        };
        let before = stand(&graph);
        let impact = live.apply(&mut graph, &sys("a"), &nested(group, begins));
        let after = stand(&graph);
        let mut expected = Vec::new();
        for (selection, (before, after)) in ids.into_iter().zip(before.iter().zip(&after)) {
            let nodes: Vec<NodeId> = graph.nodes().collect();
            let changes = nodes
                .into_iter()
                .zip(before.iter().zip(after))
                .filter(|(_, (before, after))| before != after);
            expected.extend(changes.map(|(node, (before, after))| Affected {
                selection,
                node,
                before: *before,
                after: *after,
            }));
        }
        assert!(!expected.is_empty(), "{group} {begins}");
        assert_eq!(impact.affected, expected, "{group} {begins}");
        assert!(impact.re_resolve.is_empty(), "{group} {begins}");
    }
}

/// Whoever was not shown may be anything, so that each who turns into one, or out of one, changes what is known about everyone.
#[test]
fn very_many_members_that_nobody_shows_end_in_the_time_that_it_takes_to_read_them() {
    const MANY: usize = 50_000;
    let ids: Vec<String> = (0..MANY).map(|number| format!("u{number:06}")).collect();
    let mut graph = DirectoryGraph::default();
    for system in ["a", "b"] {
        graph.set_verdict(&sys(system), Completeness::Complete);
    }
    graph.apply(&sys("b"), &upsert("g0", true));
    let selection = Selection::of([parse("b:g0")]);
    let mut live = LiveSelections::new(ResolvePolicy::default());
    let kept: Vec<_> = (0..3).map(|_| live.insert(&graph, selection.clone())).collect();
    let check = |live: &LiveSelections, graph: &DirectoryGraph, shown: usize| {
        let resolved = live.resolve(graph, kept[2], &mut Scratch::new());
        assert_eq!(resolved.certain.len(), shown);
        assert_eq!(resolved.rest == Rest::Absent, shown == MANY);
        for id in [&ids[0], &ids[MANY / 2], &ids[MANY - 1]] {
            let node = graph.find(&parse(&format!("a:{id}"))).unwrap();
            assert_eq!(
                live.standing(graph, kept[0], node),
                resolved.standing(node, &[]),
                "{id}"
            );
        }
    };
    let all: Vec<&str> = ids.iter().map(String::as_str).collect();
    let impact = live.apply(&mut graph, &sys("b"), &members("g0", "a", &all));
    assert_eq!(impact.re_resolve, kept);
    check(&live, &graph, 0);
    for (shown, id) in (1..).zip(&all) {
        live.apply(&mut graph, &sys("a"), &upsert(id, true));
        if shown % (MANY / 4) == 0 {
            check(&live, &graph, shown);
        }
    }
    for (gone, id) in (1..).zip(&all) {
        live.apply(&mut graph, &sys("a"), &DirectoryChange::Removed(obj(id)));
        if gone % (MANY / 4) == 0 {
            check(&live, &graph, MANY - gone);
        }
    }
}

#[test]
fn very_many_groups_become_members_at_once() {
    const MANY: usize = 50_000;
    let ids: Vec<String> = (0..MANY).map(|number| format!("g{}", number + 1)).collect();
    let mut graph = DirectoryGraph::default();
    graph.set_verdict(&sys("a"), Completeness::Complete);
    for id in ids.iter().map(String::as_str).chain(["g0", "u0"]) {
        graph.apply(&sys("a"), &upsert(id, true));
    }
    graph.apply(&sys("a"), &members(&ids[MANY - 1], "a", &["u0"]));
    let mut live = LiveSelections::new(ResolvePolicy::default());
    let selection = live.insert(&graph, Selection::of([parse("a:g0")]));
    let all: Vec<&str> = ids.iter().map(String::as_str).collect();
    let impact = live.apply(&mut graph, &sys("a"), &members("g0", "a", &all));
    let node = graph.find(&parse("a:u0")).unwrap();
    assert_eq!(
        impact.affected,
        [Affected {
            selection,
            node,
            before: Standing::No,
            after: Standing::Yes,
        }]
    );
}
