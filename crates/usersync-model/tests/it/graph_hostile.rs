//! Shapes that an untrusted directory may take.

use usersync_model::*;

use crate::graph_common::*;

fn complete(changes: impl IntoIterator<Item = DirectoryChange>) -> DirectoryGraph {
    read(changes, Completeness::Complete)
}

fn read(changes: impl IntoIterator<Item = DirectoryChange>, verdict: Completeness) -> DirectoryGraph {
    let mut builder = GraphBuilder::new();
    changes
        .into_iter()
        .for_each(|change| builder.add(&sys("a"), change));
    builder.end(&sys("a"), verdict, Vec::new());
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

/// Whatever an outage makes unknown, it is said once, and not of everyone in the directory for every selection.
#[test]
fn an_outage_costs_no_more_than_a_good_read() {
    const TEAMS: usize = 200;
    const INACTIVE: usize = 5000;
    let mut changes: Vec<DirectoryChange> = (0..INACTIVE)
        .map(|at| upsert(&format!("u{at}gone"), false))
        .collect();
    for team in 0..TEAMS {
        let names: Vec<String> = (0..3).map(|at| format!("u{team}at{at}")).collect();
        changes.extend(names.iter().map(|name| upsert(name, true)));
        let mut team_members: Vec<&str> = names.iter().map(String::as_str).collect();
        team_members.push("u7gone");
        changes.push(upsert(&format!("g{team}"), true));
        changes.push(members(&format!("g{team}"), "a", &team_members));
    }
    let selections: Vec<Selection> = (0..TEAMS)
        .map(|team| Selection::of([parse(&format!("a:g{team}"))]).except([parse(&format!("a:u{team}at0"))]))
        .collect();
    let cut_off = Completeness::partial(PartialKind::Limit, "entries");
    let policy = ResolvePolicy::default();
    let mut scratch = Scratch::new();
    let (good, mut outage) = (complete(changes.clone()), read(changes, cut_off));
    for (team, selection) in selections.iter().enumerate() {
        // All fields are named, so that a list that is added has to be counted here.
        let Resolved {
            certain,
            maybe,
            rest,
            maybe_reason: _,
            missing,
        } = outage.resolve(selection, &policy, &mut scratch);
        assert_eq!((certain.len(), maybe.len(), missing.len()), (2, 0, 0));
        assert_ne!(rest, Rest::Absent);
        assert_eq!(certain, good.resolve(selection, &policy, &mut scratch).certain);
        let named = ["u0gone", "u7gone", &format!("u{team}at0"), &format!("u{team}at1")];
        let [unwanted, in_team, excluded, selected] =
            named.map(|name| outage.find_parts(&sys("a"), name).unwrap());
        let mut among = vec![unwanted, in_team, excluded, selected];
        among.sort_unstable();
        let mut expected = vec![unwanted, in_team, excluded];
        expected.sort_unstable();
        assert_eq!(outage.denied(selection, &policy, &mut scratch, &among), expected);
    }

    let mut live = LiveSelections::new(policy);
    let ids: Vec<SelectionId> = selections
        .iter()
        .map(|selection| live.insert(&outage, selection.clone()))
        .collect();
    let left = outage.find(&parse("a:u3at1")).unwrap();
    let impact = live.apply(&mut outage, &sys("a"), &upsert("u3at1", false));
    let expected = Impact {
        affected: vec![Affected {
            selection: ids[3],
            node: left,
            before: Standing::Yes,
            after: Standing::No,
        }],
        elsewhere: Some(Elsewhere {
            node: left,
            before: Standing::Unknown,
            after: Standing::No,
        }),
        re_resolve: Vec::new(),
    };
    assert_eq!(impact, expected);
}

#[test]
fn very_many_contradictions_end_in_the_time_that_it_takes_to_read_them() {
    const MANY: usize = 200_000;
    let mut graph = complete([]);
    for at in (0..MANY).rev() {
        let id = obj(&format!("x{at:06}"));
        for kind in [PrincipalKind::User, PrincipalKind::Group(GroupKind::Role)] {
            let principal = Principal::new(id.clone(), kind, "");
            graph.apply(&sys("a"), &DirectoryChange::Upsert(principal));
        }
    }
    let first = |graph: &DirectoryGraph| match graph.system_verdict(&sys("a")) {
        Completeness::Complete => None,
        Completeness::Partial(reason) => Some(reason.detail),
    };
    assert_eq!(first(&graph).as_deref(), Some("x000000"));
    for at in 0..MANY - 1 {
        graph.apply(&sys("a"), &DirectoryChange::Removed(obj(&format!("x{at:06}"))));
    }
    assert_eq!(first(&graph).as_deref(), Some("x199999"));
    graph.apply(&sys("a"), &DirectoryChange::Removed(obj("x199999")));
    assert_eq!(first(&graph), None);
}
