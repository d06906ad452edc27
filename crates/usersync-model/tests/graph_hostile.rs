//! Shapes that an untrusted directory may take.

mod graph_common;

use graph_common::*;
use usersync_model::*;

fn complete(changes: impl IntoIterator<Item = DirectoryChange>) -> DirectoryGraph {
    let mut builder = GraphBuilder::new();
    changes
        .into_iter()
        .for_each(|change| builder.add(&sys("a"), change));
    builder.end(&sys("a"), Completeness::Complete, Vec::new());
    builder.finish()
}

fn count(graph: &DirectoryGraph, pick: &str) -> (usize, Rest) {
    let resolved = graph.resolve(
        &Selection::of([parse(pick)]),
        &ResolvePolicy::default(),
        &mut Scratch::new(),
    );
    (resolved.certain.len(), resolved.rest)
}

#[test]
fn promise_07_a_chain_of_a_hundred_thousand_groups() {
    const DEPTH: usize = 100_000;
    let mut changes = vec![
        upsert("u0", true),
        members(&format!("g{}", DEPTH - 1), "a", &["u0"]),
    ];
    for at in 0..DEPTH {
        changes.push(upsert(&format!("g{at}"), true));
        if at > 0 {
            changes.push(members(&format!("g{}", at - 1), "a", &[&format!("g{at}")]));
        }
    }
    let mut graph = complete(changes);
    assert_eq!(count(&graph, "a:g0"), (1, Rest::Absent));
    let selection = Selection::of([parse("a:g0")]);
    let explanation = graph
        .explain(&selection, &parse("a:u0"), &ResolvePolicy::default())
        .unwrap();
    assert_eq!(explanation.paths[0].steps.len(), DEPTH + 1);
    let line = explanation.to_string();
    assert!(line.len() < 1000 && line.contains("99990 more"), "{line}");

    let mut live = LiveSelections::new(ResolvePolicy::default());
    let id = live.insert(&graph, selection);
    let node = graph.find(&parse("a:u0")).unwrap();
    let cut = DirectoryChange::MembersRemoved {
        group: obj("g50000"),
        system: sys("a"),
        members: vec![obj("g50001")],
    };
    let impact = live.apply(&mut graph, &sys("a"), &cut);
    let lost = Affected {
        selection: id,
        node,
        before: Standing::Yes,
        after: Standing::No,
    };
    assert_eq!(impact.affected, [lost]);
    let impact = live.apply(&mut graph, &sys("a"), &members("g99999", "a", &["g0"]));
    assert_eq!(
        impact,
        Impact::default(),
        "closing the broken ring changes nothing"
    );
    let impact = live.apply(&mut graph, &sys("a"), &members("g50000", "a", &["g50001"]));
    assert_eq!(impact.affected.len(), 1, "closing it gives the member back");
}

#[test]
fn promise_07_self_loops_and_diamonds() {
    let graph = complete([
        upsert("g0", true),
        upsert("g1", true),
        upsert("g2", true),
        upsert("g3", true),
        upsert("u0", true),
        members("g0", "a", &["g0", "g1", "g2"]),
        members("g1", "a", &["g3"]),
        members("g2", "a", &["g3", "g2"]),
        members("g3", "a", &["u0", "g0"]),
    ]);
    for group in ["a:g0", "a:g1", "a:g2", "a:g3"] {
        assert_eq!(count(&graph, group), (1, Rest::Absent), "{group}");
    }
    let explained = graph
        .explain(
            &Selection::of([parse("a:g0")]),
            &parse("a:u0"),
            &ResolvePolicy::default(),
        )
        .unwrap();
    assert_eq!(explained.paths.len(), 2);
    assert!(!explained.more);
}

#[test]
fn promise_07_a_clique_of_groups() {
    const GROUPS: usize = 400;
    let names: Vec<String> = (0..GROUPS).map(|at| format!("g{at}")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut changes: Vec<DirectoryChange> = names.iter().map(|name| upsert(name, true)).collect();
    changes.extend(names.iter().map(|name| members(name, "a", &all)));
    changes.extend([upsert("u0", true), members("g7", "a", &["u0"])]);
    let graph = complete(changes);
    assert_eq!(count(&graph, "a:g399"), (1, Rest::Absent));
    assert_eq!(graph.membership_count(), GROUPS * GROUPS + 1);
}

#[test]
fn ladders_with_countless_shortest_paths_are_explained_by_few() {
    // Every rung doubles the number of ways: 2^60 of them.
    let mut changes = vec![upsert("u0", true), upsert("g0", true)];
    let mut above = vec!["g0".to_owned()];
    for rung in 0..60 {
        let below = vec![format!("g{rung}l"), format!("g{rung}r")];
        changes.extend(below.iter().map(|name| upsert(name, true)));
        let pair: Vec<&str> = below.iter().map(String::as_str).collect();
        changes.extend(above.iter().map(|name| members(name, "a", &pair)));
        above = below;
    }
    changes.extend(above.iter().map(|name| members(name, "a", &["u0"])));
    let graph = complete(changes);
    let explained = graph
        .explain(
            &Selection::of([parse("a:g0")]),
            &parse("a:u0"),
            &ResolvePolicy::default(),
        )
        .unwrap();
    assert_eq!(explained.paths.len(), MAX_PATHS);
    assert!(explained.more);
    assert_eq!(explained.paths[0].steps.len(), 62);
}

#[test]
fn warnings_are_counted_beyond_those_listed() {
    let twice = (0..1000).flat_map(|at| {
        let object = format!("u{at}");
        [upsert(&object, true), upsert(&object, false)]
    });
    let graph = complete(twice);
    assert_eq!(
        (graph.warnings().iter().count(), graph.warnings().total()),
        (MAX_WARNINGS, 1000)
    );
    assert_eq!(
        graph.node(graph.find(&parse("a:u7")).unwrap()).activity(),
        Activity::Active
    );
}
