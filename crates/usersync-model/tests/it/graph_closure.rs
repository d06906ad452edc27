//! The closure against its definition, and the builder against the order of entries.

use std::collections::BTreeSet;

use proptest::prelude::*;
use usersync_model::*;

use crate::graph_common::*;

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn promise_07_closure_equals_the_least_fixpoint(
        world in arb_world(),
        selections in proptest::collection::vec(arb_selection(), 1..4),
        policy in arb_policy(),
    ) {
        let graph = world.graph();
        let mut scratch = Scratch::new();
        for selection in &selections {
            let resolved = graph.resolve(selection, &policy, &mut scratch);
            check(&world, &graph, selection, &policy, &resolved);
            let standings = standings(&graph, selection, &policy);
            for node in graph.nodes() {
                let id = graph.principal_ref(node).to_string();
                let known = |id: &str| graph.find(&parse(id)).is_some();
                prop_assert_eq!(
                    standings[node.index()],
                    world.resolve(selection, &policy, &known).standing(&id),
                    "{}", id
                );
            }
        }
    }

    /// What is sure in a part of a directory is true of the whole: no standing rests on what was not seen.
    #[test]
    fn promise_09_no_standing_rests_on_the_missing_part(
        mut whole in arb_world(),
        selection in arb_selection(),
        inactive_kept in any::<bool>(),
        parts in (any::<bool>(), any::<bool>()),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        cut_group in arb_group(),
    ) {
        // The whole is read completely and names nobody whom it does not show.
        whole.systems = [("a".to_owned(), None), ("b".to_owned(), None), ("z".to_owned(), None)].into();
        whole.partial_groups.clear();
        for (group, member) in whole.memberships.clone() {
            whole.shown.entry(group).or_insert(true);
            whole.shown.entry(member).or_insert(true);
        }
        let mut part = whole.clone();
        let reason = PartialReason::new(PartialKind::Limit, "entries");
        for (system, is_part) in [("a", parts.0), ("b", parts.1)] {
            if is_part {
                part.systems.insert(system.to_owned(), Some(reason.clone()));
            }
        }
        part.partial_groups.insert(cut_group.clone(), reason.clone());
        for cut in cuts {
            let at = cut.index(whole.shown.len() + whole.memberships.len() + 1);
            if let Some(id) = whole.shown.keys().nth(at) {
                if part.partial(system_of(id)).is_some() {
                    part.shown.remove(id);
                }
            } else if let Some(edge) = whole.memberships.iter().nth(at - whole.shown.len())
                && (part.partial(system_of(&edge.0)).is_some() || edge.0 == cut_group)
            {
                part.memberships.remove(edge);
            }
        }
        let policy = ResolvePolicy {
            inactive: if inactive_kept { Inactive::Keep } else { Inactive::Drop },
            ..ResolvePolicy::default()
        };
        let truth = whole.resolve(&selection, &policy, &|_| true);
        let graph = part.graph();
        let resolved = graph.resolve(&selection, &policy, &mut Scratch::new());
        let standings = standings(&graph, &selection, &policy);
        for node in graph.nodes() {
            let id = graph.principal_ref(node).to_string();
            let told = standings[node.index()];
            if told != Standing::Unknown && letter(&id) != 'g' {
                prop_assert_eq!(told, truth.standing(&id), "{} in {:?}", id, resolved);
            }
        }
        if resolved.rest == Rest::Absent {
            let listed: BTreeSet<String> = resolved.certain.iter().chain(&resolved.maybe)
                .map(|&node| graph.principal_ref(node).to_string()).collect();
            prop_assert!(truth.certain.is_subset(&listed), "{:?} is more than {:?}", truth.certain, listed);
        }
    }

    #[test]
    fn promise_01_order_and_duplicates_of_entries_do_not_matter(
        (world, entries) in arb_world().prop_flat_map(|world| {
            let mut entries = world.entries();
            entries.extend(entries.clone());
            (Just(world), Just(entries).prop_shuffle())
        }),
        selection in arb_selection(),
    ) {
        let (plain, shuffled) = (world.graph(), world.build(&entries));
        prop_assert_eq!(describe(&plain), describe(&shuffled));
        let policy = ResolvePolicy::default();
        let resolved = shuffled.resolve(&selection, &policy, &mut Scratch::new());
        check(&world, &shuffled, &selection, &policy, &resolved);
    }

    /// Nor do those of entries that contradict each other.
    #[test]
    fn promise_01_contradictions_are_settled_the_same_in_any_order(
        (entries, shuffled) in contradicting().prop_flat_map(|entries| {
            (Just(entries.clone()), Just(entries).prop_shuffle())
        }),
    ) {
        let build = |entries: &[DirectoryChange]| {
            let mut builder = GraphBuilder::new();
            entries.iter().for_each(|entry| builder.add(&sys("a"), entry.clone()));
            builder.end(&sys("a"), Completeness::Complete, Vec::new());
            builder.finish()
        };
        let (plain, shuffled) = (build(&entries), build(&shuffled));
        prop_assert_eq!(describe(&plain), describe(&shuffled));
        prop_assert_eq!(plain.warnings(), shuffled.warnings());
        prop_assert_eq!(plain.system_verdict(&sys("a")), shuffled.system_verdict(&sys("a")));
    }
}

/// Entries about few objects, with kinds, names and activities that need not agree.
fn contradicting() -> impl Strategy<Value = Vec<DirectoryChange>> {
    let principal = (0..5_usize, 0..3_usize, "[pq]", any::<bool>(), any::<bool>()).prop_map(
        |(at, kind, name, active, privileged)| {
            let activity = if active {
                Activity::Active
            } else {
                Activity::Inactive
            };
            DirectoryChange::Upsert(
                Principal::new(obj(OBJECTS[at]), kind_of(["u", "g", "r"][kind]), name)
                    .with_activity(activity)
                    .with_privileged(privileged),
            )
        },
    );
    let membership =
        (0..5_usize, 0..5_usize).prop_map(|(group, member)| members(OBJECTS[group], "a", &[OBJECTS[member]]));
    proptest::collection::vec(prop_oneof![3 => principal, 1 => membership], 0..10)
}

/// All that a graph tells, without its numbers.
fn describe(graph: &DirectoryGraph) -> BTreeSet<String> {
    let name = |node: NodeId| graph.principal_ref(node).to_string();
    let names = |nodes: &mut dyn Iterator<Item = NodeId>| nodes.map(name).collect::<BTreeSet<_>>();
    graph
        .nodes()
        .map(|node| {
            let shown = graph.node(node);
            format!(
                "{} {:?} {:?} {:?} {} members {:?} groups {:?} {:?}",
                name(node),
                shown.name(),
                shown.kind(),
                shown.activity(),
                shown.privileged(),
                names(&mut graph.direct_members(node)),
                names(&mut graph.direct_groups(node)),
                graph.group_verdict(node),
            )
        })
        .collect()
}

#[test]
fn standings_of_a_small_directory() {
    // a:g0 > a:g1 > u1 (inactive), u2; a:g0 > u0; a:g2 > u2, partial; a:g3 names someone never shown.
    let reason = PartialReason::new(PartialKind::Limit, "members");
    let mut world = World::default();
    for id in ["a:g0", "a:g1", "a:g2", "a:g3", "a:u0", "a:u2", "a:r0"] {
        world.shown.insert(id.to_owned(), true);
    }
    world.shown.insert("a:u1".to_owned(), false);
    for (group, member) in [
        ("g0", "g1"),
        ("g1", "g0"),
        ("g1", "u1"),
        ("g1", "u2"),
        ("g0", "u0"),
        ("g2", "u2"),
        ("g3", "u4"),
        ("g1", "r0"),
    ] {
        world
            .memberships
            .insert((format!("a:{group}"), format!("a:{member}")));
    }
    world.systems.insert("a".to_owned(), None);
    world.partial_groups.insert("a:g2".to_owned(), reason.clone());
    let graph = world.graph();
    let show = |include: &[&str], exclude: &[&str]| {
        let selection =
            Selection::of(include.iter().map(|id| parse(id))).except(exclude.iter().map(|id| parse(id)));
        let resolved = graph.resolve(&selection, &ResolvePolicy::default(), &mut Scratch::new());
        let denied = everyone_denied(&graph, &selection, &ResolvePolicy::default());
        let list = |nodes: &[NodeId]| {
            let mut ids: Vec<String> = nodes
                .iter()
                .map(|&node| graph.node(node).object().to_owned())
                .collect();
            ids.sort();
            ids.join(" ")
        };
        let rest = resolved
            .rest
            .reason()
            .map_or("absent", |reason| reason.kind.code());
        let missing: Vec<String> = resolved.missing.iter().map(ToString::to_string).collect();
        format!(
            "certain [{}] maybe [{}] denied [{}] rest {rest} missing [{}]",
            list(&resolved.certain),
            list(&resolved.maybe),
            list(&denied),
            missing.join(" ")
        )
    };
    let table = [
        (
            show(&["a:g0"], &[]),
            "certain [r0 u0 u2] maybe [] denied [u1] rest absent missing []",
        ),
        (
            show(&["a:g0"], &["a:u2"]),
            "certain [r0 u0] maybe [] denied [u1 u2] rest absent missing []",
        ),
        (
            show(&["a:g0"], &["a:g2"]),
            "certain [] maybe [r0 u0] denied [u1 u2] rest absent missing []",
        ),
        (
            show(&["a:g2"], &[]),
            "certain [u2] maybe [] denied [u1] rest limit missing []",
        ),
        (
            show(&["a:g2"], &["a:g1"]),
            "certain [] maybe [] denied [r0 u0 u1 u2] rest limit missing []",
        ),
        (
            show(&["a:g3", "a:u0"], &[]),
            "certain [u0] maybe [] denied [u1] rest unknown_member missing []",
        ),
        (
            show(&["a:g9", "a:u0"], &["a:u9"]),
            "certain [u0] maybe [] denied [u1] rest absent missing [a:g9 a:u9]",
        ),
        (
            show(&["b:u0", "a:u0"], &[]),
            "certain [u0] maybe [] denied [u1] rest no_verdict missing []",
        ),
        (
            show(&["a:u0"], &["b:g0"]),
            "certain [] maybe [u0] denied [u1] rest absent missing []",
        ),
        (
            show(&[], &["a:g0"]),
            "certain [] maybe [] denied [r0 u0 u1 u2] rest absent missing []",
        ),
    ];
    for (at, (told, expected)) in table.iter().enumerate() {
        assert_eq!(told, expected, "row {at}");
    }
}

#[test]
fn a_read_that_never_ends_is_partial() {
    let mut builder = GraphBuilder::new();
    builder.add(&sys("a"), upsert("g0", true));
    let graph = builder.finish();
    let no_verdict = |system: &str| Completeness::partial(PartialKind::NoVerdict, system);
    assert_eq!(graph.system_verdict(&sys("a")), no_verdict("a"));
    assert_eq!(
        graph.system_verdict(&sys("never_mentioned")),
        no_verdict("never_mentioned")
    );
    assert_eq!(
        graph.group_verdict(graph.find(&parse("a:g0")).unwrap()),
        no_verdict("a")
    );
}

#[test]
fn removals_in_a_full_read_count_for_what_was_told_before() {
    let remove = |group: &str, member: &str| DirectoryChange::MembersRemoved {
        group: obj(group),
        system: sys("a"),
        members: vec![obj(member)],
    };
    let mut builder = GraphBuilder::new();
    for change in [
        members("g0", "a", &["u0", "u1", "u2"]),
        members("g1", "a", &["u0"]),
        upsert("u0", true),
        DirectoryChange::Removed(obj("u0")),
        members("g1", "a", &["u0"]),
        remove("g0", "u1"),
        remove("g0", "u2"),
        members("g0", "a", &["u2"]),
        members("g2", "a", &["u2", "u3"]),
        DirectoryChange::MembersReset { group: obj("g2") },
        members("g2", "a", &["u4"]),
    ] {
        builder.add(&sys("a"), change);
    }
    let graph = builder.finish();
    let of = |group: &str| -> Vec<&str> {
        let group = graph.find(&parse(group)).unwrap();
        graph
            .direct_members(group)
            .map(|member| graph.node(member).object())
            .collect()
    };
    assert_eq!(
        (of("a:g0"), of("a:g1"), of("a:g2")),
        (vec!["u2"], vec!["u0"], vec!["u4"])
    );
    assert_eq!(graph.node(graph.find(&parse("a:u0")).unwrap()).kind(), None);
    assert_eq!(graph.membership_count(), 3);
}

#[test]
fn a_contradiction_makes_its_system_partial_and_is_taken_for_neither() {
    let mut builder = GraphBuilder::new();
    builder.add(&sys("a"), upsert("u0", true));
    builder.add(&sys("a"), members("u0", "a", &["u1"]));
    builder.add(&sys("a"), upsert("u1", true));
    builder.end(&sys("a"), Completeness::Complete, Vec::new());
    let mut graph = builder.finish();
    assert_eq!(
        graph.system_verdict(&sys("a")),
        Completeness::partial(PartialKind::Contradiction, "u0")
    );
    assert_eq!(graph.node(graph.find(&parse("a:u0")).unwrap()).kind(), None);
    let warnings: Vec<String> = graph.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].starts_with("a:u0 was told as two different things"),
        "{warnings:?}"
    );
    graph.set_verdict(&sys("a"), Completeness::Complete);
    assert!(
        !graph.system_verdict(&sys("a")).is_complete(),
        "a verdict does not settle a contradiction"
    );
    graph.apply(&sys("a"), &DirectoryChange::Removed(obj("u0")));
    assert_eq!(graph.system_verdict(&sys("a")), Completeness::Complete);
}

#[test]
fn below_picks_are_groups_and_whom_nobody_showed_each_once() {
    let mut builder = GraphBuilder::new();
    for change in [
        upsert("g0", true),
        upsert("g1", true),
        upsert("g3", true),
        upsert("u0", true),
        upsert("u1", true),
        members("g0", "a", &["g1", "u0"]),
        members("g1", "a", &["g0", "u1", "u9"]),
        members("g1", "b", &["g2"]),
        members("g3", "a", &["u9"]),
    ] {
        builder.add(&sys("a"), change);
    }
    builder.add(&sys("b"), members("g2", "b", &["u8"]));
    let graph = builder.finish();
    let below = |picks: &[&str]| -> BTreeSet<String> {
        let picks = picks.iter().filter_map(|pick| graph.find(&parse(pick)));
        let below = graph.groups_below(picks);
        let names = below.iter().map(|node| graph.principal_ref(*node).to_string());
        let names: BTreeSet<String> = names.collect();
        assert_eq!(names.len(), below.len());
        names
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(below(&["a:g0"]), names(&["a:g0", "a:g1", "a:u9", "b:g2", "b:u8"]));
    assert_eq!(below(&["a:g3", "a:u0", "a:g3"]), names(&["a:g3", "a:u0", "a:u9"]));
    assert_eq!(below(&[]), names(&[]));
}
