//! Selections kept resolved, and a graph that is changed without them.

use usersync_model::{
    Completeness, DirectoryChange, DirectoryGraph, LiveSelections, NodeId, PartialKind, ResolvePolicy,
    Selection,
};

use crate::graph_common::{members, obj, parse, standings, sys, upsert};

fn graph() -> DirectoryGraph {
    let mut graph = DirectoryGraph::default();
    for change in [
        upsert("g0", true),
        upsert("g1", true),
        upsert("u0", true),
        upsert("u1", true),
        members("g0", "a", &["u0", "g1"]),
        members("g1", "a", &["u1"]),
    ] {
        graph.apply(&sys("a"), &change);
    }
    graph.set_verdict(&sys("a"), Completeness::Complete);
    graph
}

fn find(graph: &DirectoryGraph, id: &str) -> NodeId {
    graph.find(&parse(id)).expect("it was named")
}

/// Something that is done to a graph.
type Change<'a> = &'a dyn Fn(&mut DirectoryGraph);

#[test]
fn what_was_changed_directly_is_noticed_and_reported_with_the_next_change() {
    let partial = || Completeness::partial(PartialKind::Limit, "");
    let ended = DirectoryChange::MembersRemoved {
        group: obj("g0"),
        system: sys("a"),
        members: vec![obj("u0")],
    };
    let changes: [(&str, Change<'_>); 13] = [
        ("the verdict on the system", &|graph| {
            graph.set_verdict(&sys("a"), partial())
        }),
        ("the verdict on a group", &|graph| {
            let group = find(graph, "a:g1");
            graph.set_group_verdict(group, partial());
        }),
        ("the members of a group", &|graph| {
            let (group, member) = (find(graph, "a:g0"), find(graph, "a:u1"));
            graph.set_members(group, &[member]);
        }),
        ("a membership that begins", &|graph| {
            graph.apply(&sys("a"), &members("g1", "a", &["u0"]));
        }),
        ("a membership that ends", &|graph| graph.apply(&sys("a"), &ended)),
        ("a member who becomes inactive", &|graph| {
            graph.apply(&sys("a"), &upsert("u0", false))
        }),
        ("a member who is gone", &|graph| {
            graph.apply(&sys("a"), &DirectoryChange::Removed(obj("u0")));
        }),
        ("a member who is new", &|graph| {
            graph.apply(&sys("a"), &upsert("u2", true));
            graph.apply(&sys("a"), &members("g1", "a", &["u2"]));
        }),
        ("a group without members", &|graph| {
            graph.apply(&sys("a"), &DirectoryChange::MembersReset { group: obj("g1") });
        }),
        ("a group that nobody showed", &|graph| {
            let group = graph.intern(&parse("a:u2"));
            graph.set_members(group, &[]);
        }),
        // Two things at once, so that one cannot be taken back by the other.
        ("a membership that begins, and a verdict", &|graph| {
            graph.apply(&sys("a"), &members("g1", "a", &["u0"]));
            let group = find(graph, "a:g0");
            graph.set_group_verdict(group, partial());
        }),
        (
            "a membership that begins, and a group that nobody showed",
            &|graph| {
                graph.apply(&sys("a"), &members("g1", "a", &["u0"]));
                let group = graph.intern(&parse("a:u2"));
                graph.set_members(group, &[]);
            },
        ),
        ("a membership that begins, and one that ends", &|graph| {
            graph.apply(&sys("a"), &members("g0", "a", &["u1"]));
            graph.apply(&sys("a"), &ended);
        }),
    ];
    let policy = ResolvePolicy::default();
    for (what, change) in changes {
        let mut graph = graph();
        let mut live = LiveSelections::new(policy);
        let selection = Selection::of([parse("a:g0"), parse("a:u2")]).except([parse("a:g1")]);
        let id = live.insert(&graph, selection.clone());
        change(&mut graph);
        let check = |graph: &DirectoryGraph, live: &LiveSelections| {
            for (node, standing) in graph.nodes().zip(standings(graph, &selection, &policy)) {
                assert_eq!(live.standing(graph, id, node), standing, "{what}: {node:?}");
            }
        };
        check(&graph, &live);
        let impact = live.apply(&mut graph, &sys("a"), &upsert("u9", true));
        assert_eq!(impact.re_resolve, [id], "{what}");
        check(&graph, &live);
        let impact = live.apply(&mut graph, &sys("a"), &upsert("u8", true));
        assert!(impact.re_resolve.is_empty(), "{what} is told once");
        check(&graph, &live);
    }
}

/// Nobody says anything of them yet, so that the graph did not change.
#[test]
fn who_was_only_named_stands_as_the_selection_says() {
    let policy = ResolvePolicy::default();
    let mut graph = graph();
    let mut live = LiveSelections::new(policy);
    let selection = Selection::of([parse("b:g0")]).except([parse("a:u7"), parse("b:u7")]);
    let id = live.insert(&graph, selection.clone());
    for one in ["a:u7", "b:u7", "b:u8"] {
        graph.intern(&parse(one));
    }
    for (node, standing) in graph.nodes().zip(standings(&graph, &selection, &policy)) {
        assert_eq!(live.standing(&graph, id, node), standing, "{node:?}");
    }
}

#[test]
fn a_number_that_nothing_was_kept_under_is_replaced_by_nothing() {
    let graph = graph();
    let selection = || Selection::of([parse("a:g0")]);
    let mut live = LiveSelections::new(ResolvePolicy::default());
    let mut others = live.clone();
    let strange = [
        others.insert(&graph, selection()),
        others.insert(&graph, selection()),
    ];
    for id in strange {
        live.replace(&graph, id, selection());
        assert_eq!(live.selection(id), None, "{id:?}");
    }
    assert_eq!(live.ids().count(), 0);
}

/// Who is in no group leaves no membership behind that would tell of it.
#[test]
fn who_is_gone_from_no_group_is_noticed() {
    let mut graph = graph();
    graph.apply(&sys("a"), &upsert("u3", true));
    let mut live = LiveSelections::new(ResolvePolicy::default());
    let id = live.insert(&graph, Selection::of([parse("a:u3")]));
    graph.apply(&sys("a"), &DirectoryChange::Removed(obj("u3")));
    let impact = live.apply(&mut graph, &sys("a"), &upsert("u9", true));
    assert_eq!(impact.re_resolve, [id]);
}
