//! Explanations against the memberships they are made of, and against a search that knows no levels.

use std::collections::BTreeMap;

use proptest::prelude::*;
use usersync_model::*;

use crate::graph_common::*;

/// The fewest steps from a pick to everything below, by relaxing until nothing changes.
fn distances(world: &World, selection: &Selection) -> BTreeMap<String, usize> {
    let mut distances: BTreeMap<String, usize> = selection
        .include
        .iter()
        .map(|pick| (pick.to_string(), 0))
        .collect();
    loop {
        let mut changed = false;
        for (group, member) in &world.memberships {
            let Some(&above) = distances.get(group) else {
                continue;
            };
            if world.is_group(group) && distances.get(member).is_none_or(|&known| known > above + 1) {
                distances.insert(member.clone(), above + 1);
                changed = true;
            }
        }
        if !changed {
            return distances;
        }
    }
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn explained_paths_are_real_and_shortest(
        world in arb_world(),
        selection in arb_selection(),
        policy in arb_policy(),
    ) {
        let graph = world.graph();
        let standings = standings(&graph, &selection, &policy);
        let distances = distances(&world, &selection);
        for node in graph.nodes() {
            let principal = graph.principal_ref(node);
            let id = principal.to_string();
            let explained = graph.explain(&selection, &principal, &policy);
            let absences = graph.explain_absence(&selection, &principal, &policy);
            prop_assert_eq!(absences.is_empty(), standings[node.index()] == Standing::Yes);
            let Some(explanation) = explained else {
                let reached = distances.contains_key(&id);
                prop_assert!(standings[node.index()] == Standing::No || !reached, "{} lacks a path", id);
                prop_assert!(!absences.is_empty());
                continue;
            };
            prop_assert_eq!(explanation.standing, standings[node.index()]);
            prop_assert!(!explanation.paths.is_empty() && explanation.paths.len() <= MAX_PATHS);
            let mut seen = Vec::new();
            for path in &explanation.paths {
                let steps: Vec<String> = path.steps.iter().map(|step| step.principal.to_string()).collect();
                prop_assert!(selection.include.contains(&path.steps[0].principal));
                prop_assert_eq!(steps.last(), Some(&id));
                prop_assert_eq!(steps.len() - 1, distances[&id]);
                for pair in steps.windows(2) {
                    prop_assert!(world.memberships.contains(&(pair[0].clone(), pair[1].clone())));
                }
                seen.push(steps);
            }
            prop_assert!(seen.is_sorted_by(|a, b| a < b), "not ordered, or twice: {:?}", seen);
        }
    }

    /// The reasons given are true, and all there are, in their order.
    #[test]
    fn absences_are_told_in_full(world in arb_world(), selection in arb_selection(), policy in arb_policy()) {
        let graph = world.graph();
        let known = |id: &str| graph.find(&parse(id)).is_some();
        let expected = world.resolve(&selection, &policy, &known);
        let outside = Selection::of(selection.exclude.iter().cloned());
        let (included, excluded) = (distances(&world, &selection), distances(&world, &outside));
        for node in graph.nodes() {
            let principal = graph.principal_ref(node);
            let id = principal.to_string();
            let told: Vec<Why> = graph
                .explain_absence(&selection, &principal, &policy)
                .into_iter()
                .map(|absence| match absence {
                    Absence::Excluded(path) => Why::Excluded(path.steps.len() - 1),
                    Absence::Unknown(reason) => Why::Unknown(reason),
                    plain => Why::Plain(plain.code()),
                })
                .collect();
            let standing = expected.standing(&id);
            let is_leaf = world.is_leaf(&id);
            let is_complete = world.partial(system_of(&id)).is_none();
            let plain = |code, holds: bool| holds.then_some(Why::Plain(code));
            let in_question = [
                plain("not_in_directory", !is_leaf && !world.is_group(&id) && is_complete),
                plain("group", world.is_group(&id)),
                plain("inactive", is_leaf && !world.shown[&id] && policy.inactive == Inactive::Drop),
                plain("resource", is_leaf && letter(&id) == 'r' && !policy.resources),
                plain("not_selected", !included.contains_key(&id) && expected.rest.is_none()),
                excluded.get(&id).map(|distance| Why::Excluded(*distance)),
                (standing == Standing::Unknown).then(|| {
                    let listed = expected.maybe.contains(&id);
                    let reason = if listed { &expected.maybe_reason } else { &expected.rest };
                    Why::Unknown(reason.clone().expect("whatever is unknown has a reason"))
                }),
            ];
            let holds: Vec<Why> = match standing {
                Standing::Yes => Vec::new(),
                _ => in_question.into_iter().flatten().collect(),
            };
            prop_assert_eq!(told, holds, "{}", id);
        }
    }
}

/// Why somebody is absent, with the length of a way instead of the way.
#[derive(Debug, PartialEq, Eq)]
enum Why {
    Excluded(usize),
    Plain(&'static str),
    Unknown(PartialReason),
}

#[test]
fn a_line_for_people() {
    let mut graph = DirectoryGraph::default();
    graph.set_verdict(&sys("a"), Completeness::Complete);
    let show = |graph: &mut DirectoryGraph, object: &str, name: &str| {
        let principal = Principal::new(obj(object), kind_of(object), name);
        graph.apply(&sys("a"), &DirectoryChange::Upsert(principal));
    };
    show(&mut graph, "g0", "All");
    show(&mut graph, "g1", "Sales");
    show(&mut graph, "g2", "Service\u{202e}\n");
    show(&mut graph, "u0", "Sample Person");
    show(&mut graph, "u1", "Another");
    graph.apply(&sys("a"), &members("g0", "a", &["g1", "g2"]));
    graph.apply(&sys("a"), &members("g1", "a", &["u0"]));
    graph.apply(&sys("a"), &members("g2", "a", &["u0"]));
    let policy = ResolvePolicy::default();
    let all = Selection::of([parse("a:g0")]);
    let line = |selection: &Selection, id: &str| {
        graph
            .explain(selection, &parse(id), &policy)
            .map(|explanation| explanation.to_string())
    };
    assert_eq!(
        line(&all, "a:u0").unwrap(),
        "All (user group) > Sales (user group) > Sample Person (user) (and 1 more way)"
    );
    let service = Selection::of([parse("a:g2")]);
    assert_eq!(
        line(&service, "a:u0").unwrap(),
        "Service\\u{202e}\\u{a} (user group) > Sample Person (user)"
    );
    let direct = Selection::of([parse("a:u0")]);
    assert_eq!(line(&direct, "a:u0").unwrap(), "Sample Person (user)");
    assert_eq!(line(&all, "a:u1"), None);
    let absent = |selection: &Selection, id: &str| {
        let absences = graph.explain_absence(selection, &parse(id), &policy);
        absences
            .iter()
            .map(|absence| format!("{}: {absence}", absence.code()))
            .collect::<Vec<_>>()
            .join("; ")
    };
    assert_eq!(
        absent(&all, "a:u1"),
        "not_selected: neither selected nor in a selected group"
    );
    assert_eq!(
        absent(&all.clone().except([parse("a:g1")]), "a:u0"),
        "excluded: excluded: Sales (user group) > Sample Person (user)"
    );
    assert_eq!(
        absent(&all, "a:u9"),
        "not_in_directory: not in its directory; not_selected: neither selected nor in a selected group"
    );
    assert_eq!(
        absent(&all, "a:g1"),
        "group: a group: its members are selected, not itself"
    );
    assert_eq!(
        absent(&Selection::of([parse("b:g0")]), "a:u0"),
        "unknown: not known for sure: the read ended without saying that it was complete: b"
    );
    assert_eq!(absent(&all, "a:u0"), "");
}

/// That somebody else named a principal, too, changes nothing about it.
#[test]
fn who_no_directory_names_is_explained_as_who_is_named() {
    let policy = ResolvePolicy::default();
    for (system, other) in [(true, true), (true, false), (false, true)] {
        let mut graph = DirectoryGraph::default();
        for (id, is_complete) in [("a", system), ("b", other)] {
            if is_complete {
                graph.set_verdict(&sys(id), Completeness::Complete);
            }
        }
        let mut named = graph.clone();
        let who = parse("a:u9");
        named.intern(&who);
        let picks = |ids: &[&str]| -> Vec<_> { ids.iter().map(|id| parse(id)).collect() };
        for include in [&[][..], &["a:u9"], &["b:g1"], &["a:u9", "b:g1"]] {
            for exclude in [&[][..], &["a:u9"], &["b:g2"]] {
                let selection = Selection::of(picks(include)).except(picks(exclude));
                let context = format!("{system} {other} {include:?} {exclude:?}");
                assert_eq!(
                    graph.explain_absence(&selection, &who, &policy),
                    named.explain_absence(&selection, &who, &policy),
                    "{context}"
                );
                assert_eq!(
                    graph.explain(&selection, &who, &policy),
                    named.explain(&selection, &who, &policy),
                    "{context}"
                );
            }
        }
    }
}
