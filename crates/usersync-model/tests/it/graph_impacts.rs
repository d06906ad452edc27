//! Single changes whose reports differ from what a shorter way to them would say.

use usersync_model::{
    Affected, Completeness, DirectoryChange, DirectoryGraph, Impact, LiveSelections, PartialKind,
    ResolvePolicy, Selection,
};

use crate::graph_common::{members, obj, parse, standings, sys, upsert};

/// A change to a graph with selections.
type Change<'a> = &'a dyn Fn(&mut DirectoryGraph, &mut LiveSelections) -> Impact;

struct Case<'a> {
    what: &'a str,
    before: &'a [DirectoryChange],
    selection: Selection,
    change: Change<'a>,
    /// Whose standing changes.
    changes: &'a [&'a str],
}

#[test]
fn a_report_names_whose_standing_changed_and_nobody_else() {
    let cases = [
        Case {
            what: "an excluded principal turns out to be a group, which excludes its members and not itself",
            before: &[],
            selection: Selection::of([parse("b:g0")]).except([parse("b:x1")]),
            change: &|graph, live| {
                let group = graph.find(&parse("b:x1")).expect("it was named");
                // A greater reason than the one there is, so that no more is unknown than before.
                let verdict = Completeness::partial(PartialKind::NoVerdict, "z");
                live.set_group_verdict(graph, group, verdict)
            },
            changes: &["b:x1"],
        },
        Case {
            what: "who is excluded no more has a smaller number than somebody who is included all along",
            before: &[
                upsert("u0", true),
                upsert("u1", true),
                members("g0", "a", &["u0"]),
                members("g1", "a", &["u0", "u1"]),
            ],
            selection: Selection::of([parse("a:g1"), parse("b:g0")]).except([parse("a:g0")]),
            change: &|graph, live| {
                live.apply(
                    graph,
                    &sys("a"),
                    &DirectoryChange::MembersReset { group: obj("g0") },
                )
            },
            changes: &["a:u0"],
        },
        Case {
            what: "a group comes into what is included and excluded, with somebody who is excluded anyway",
            before: &[
                upsert("u0", true),
                upsert("u1", true),
                members("g0", "a", &["g2"]),
                members("g1", "a", &["g2", "u0"]),
                members("g3", "a", &["u0", "u1"]),
            ],
            selection: Selection::of([parse("a:g0")]).except([parse("a:g1")]),
            change: &|graph, live| live.apply(graph, &sys("a"), &members("g2", "a", &["g3"])),
            changes: &[],
        },
        Case {
            what: "a group comes into what is excluded, with somebody who is included otherwise",
            before: &[
                upsert("u0", true),
                upsert("u1", true),
                members("g0", "a", &["u0"]),
                members("g3", "a", &["u0", "u1"]),
            ],
            selection: Selection::of([parse("a:g0")]).except([parse("a:g1")]),
            change: &|graph, live| live.apply(graph, &sys("a"), &members("g1", "a", &["g3"])),
            changes: &["a:u0"],
        },
    ];
    let policy = ResolvePolicy::default();
    for case in cases {
        let mut graph = DirectoryGraph::default();
        for group in ["g0", "g1", "g2", "g3"] {
            graph.apply(&sys("a"), &upsert(group, true));
        }
        for change in case.before {
            graph.apply(&sys("a"), change);
        }
        graph.set_verdict(&sys("a"), Completeness::Complete);
        graph.intern(&parse("b:x1"));
        let mut live = LiveSelections::new(policy);
        let selection = live.insert(&graph, case.selection.clone());
        let before = standings(&graph, &case.selection, &policy);
        let impact = (case.change)(&mut graph, &mut live);
        let after = standings(&graph, &case.selection, &policy);
        let affected: Vec<Affected> = graph
            .nodes()
            .zip(before.into_iter().zip(after))
            .filter(|(_, (before, after))| before != after)
            .map(|(node, (before, after))| Affected {
                selection,
                node,
                before,
                after,
            })
            .collect();
        let named: Vec<String> = affected
            .iter()
            .map(|one| graph.principal_ref(one.node).to_string())
            .collect();
        assert_eq!(named, case.changes, "{}", case.what);
        let expected = Impact {
            affected,
            ..Impact::default()
        };
        assert_eq!(impact, expected, "{}", case.what);
    }
}
