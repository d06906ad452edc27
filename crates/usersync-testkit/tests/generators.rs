//! The generators themselves: they are reproducible, and the shapes they promise really occur.

use std::collections::{BTreeMap, BTreeSet};

use futures::executor::block_on;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use usersync_connector::Reader;
use usersync_model::*;
use usersync_testkit::generate::*;

fn state_of(directory: &GeneratedDirectory) -> DirectoryState {
    DirectoryState::of(directory.shape().system.clone(), directory.changes())
}

/// How often each shape occurs in a directory, found out without looking at how it was made.
fn census(state: &DirectoryState, foreign: &SystemId) -> BTreeMap<&'static str, usize> {
    let mut found: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut count = |what, n| *found.entry(what).or_default() += n;
    let own = |object: &ObjectId| PrincipalRef::new(state.system().clone(), object.clone());
    for principal in state.principals().values() {
        count("inactive", usize::from(principal.activity == Activity::Inactive));
        count("privileged", usize::from(principal.privileged));
        count(
            "awkward name",
            usize::from(!principal.name.contains(principal.kind_word())),
        );
        count(principal.kind.code(), 1);
        if !principal.kind.is_group() {
            continue;
        }
        let members: Vec<_> = state.members_of(&principal.id).collect();
        let me = own(&principal.id);
        count("group", 1);
        count("empty", usize::from(members.is_empty()));
        count("self-loop", usize::from(members.contains(&&me)));
        count(
            "nested",
            members
                .iter()
                .filter(|m| m.object.as_str().starts_with('g'))
                .count(),
        );
        count("foreign", members.iter().filter(|m| m.system == *foreign).count());
        let unknown =
            |m: &&&PrincipalRef| m.system == *state.system() && !state.principals().contains_key(&m.object);
        count("unknown", members.iter().filter(unknown).count());
        let others: Vec<_> = members
            .iter()
            .filter(|m| ***m != me)
            .map(|m| (*m).clone())
            .collect();
        count("cycle", usize::from(state.reachable(others).contains(&me)));
        // Two direct members of the group share a direct member.
        let mut seen = BTreeSet::new();
        let below = members
            .iter()
            .filter(|m| ***m != me)
            .flat_map(|m| state.members_of(&m.object));
        count(
            "diamond",
            usize::from(below.into_iter().any(|bottom| !seen.insert(bottom))),
        );
    }
    found
}

trait KindWord {
    fn kind_word(&self) -> &'static str;
}

impl KindWord for Principal {
    fn kind_word(&self) -> &'static str {
        match self.kind {
            PrincipalKind::User => "User ",
            PrincipalKind::Group(_) => "Group ",
            PrincipalKind::Resource(_) => "Resource ",
        }
    }
}

#[test]
fn every_shape_occurs_at_least_this_often() {
    // Per directory of 2000 users and 200 groups, whatever the seed.
    let at_least = [
        ("user", 2000),
        ("group", 200),
        ("inactive", 50),
        ("privileged", 5),
        ("awkward name", 5),
        ("nested", 150),
        ("empty", 4),
        ("diamond", 8),
        ("cycle", 2),
        ("self-loop", 1),
        ("unknown", 1),
        ("foreign", 1),
        ("room", 10),
        ("equipment", 10),
        ("other_resource", 10),
        ("share_group", 5),
        ("user_group", 5),
        ("role", 5),
        ("org_unit", 5),
        ("domain", 5),
        ("distribution_list", 5),
        ("security_distribution_list", 5),
        ("dynamic_distribution_list", 5),
        ("room_list", 5),
    ];
    let shape = DirectoryShape {
        self_loops: 20,
        ..DirectoryShape::new(2000)
    };
    for seed in 0..8 {
        let found = census(&state_of(&directory(&shape, seed)), &shape.foreign_system);
        for (what, least) in at_least {
            let seen = found.get(what).copied().unwrap_or(0);
            assert!(
                seen >= least,
                "seed {seed}: {what} occurs {seen} times, at least {least} expected"
            );
        }
    }
}

#[test]
fn regular_shapes_hold_nothing_irregular() {
    let shape = DirectoryShape::new(2000).regular();
    let found = census(&state_of(&directory(&shape, 3)), &shape.foreign_system);
    for what in [
        "inactive",
        "privileged",
        "awkward name",
        "empty",
        "cycle",
        "self-loop",
        "unknown",
        "foreign",
    ] {
        assert_eq!(found[what], 0, "{what}");
    }
}

#[test]
fn rates_of_a_thousand_mean_always() {
    let shape = DirectoryShape {
        self_loops: 1000,
        cycles: 1000,
        unknown_members: 1000,
        foreign_members: 1000,
        empty_groups: 0,
        ..DirectoryShape::new(5)
    };
    for seed in 0..20 {
        let found = census(&state_of(&directory(&shape, seed)), &shape.foreign_system);
        for what in ["cycle", "self-loop", "unknown", "foreign"] {
            assert!(
                found[what] >= 12,
                "seed {seed}: {what} occurs {} times",
                found[what]
            );
        }
    }
}

#[test]
fn the_longest_chain_is_as_deep_as_asked() {
    for (groups, depth, expected) in [(12, 9, 9), (3000, 2999, 2999), (5, 50, 4), (1, 9, 0)] {
        let shape = DirectoryShape {
            groups,
            depth,
            ..DirectoryShape::new(50).regular()
        };
        let state = state_of(&directory(&shape, 5));
        // Levels by repeatedly taking away the groups that nest none of the rest.
        let mut rest: BTreeMap<&ObjectId, BTreeSet<&ObjectId>> = state
            .principals()
            .keys()
            .filter(|id| id.as_str().starts_with('g'))
            .map(|id| {
                (
                    id,
                    state
                        .members_of(id)
                        .map(|m| &m.object)
                        .filter(|m| m.as_str().starts_with('g'))
                        .collect(),
                )
            })
            .collect();
        let mut levels = 0;
        while !rest.is_empty() {
            let bottom: BTreeSet<_> = rest
                .iter()
                .filter(|(_, nested)| nested.is_empty())
                .map(|(id, _)| *id)
                .collect();
            assert!(!bottom.is_empty(), "a regular directory has no cycles");
            rest.retain(|id, _| !bottom.contains(id));
            rest.values_mut()
                .for_each(|nested| nested.retain(|id| !bottom.contains(id)));
            levels += 1;
        }
        assert_eq!(levels - 1, expected, "{groups} groups, depth {depth}");
    }
}

#[test]
fn memberships_per_user_are_about_as_many_as_asked() {
    let shape = DirectoryShape::new(2000).regular();
    let state = state_of(&directory(&shape, 9));
    let direct: usize = state
        .members()
        .values()
        .map(|members| {
            members
                .iter()
                .filter(|m| m.object.as_str().starts_with('u'))
                .count()
        })
        .sum();
    assert!(
        (19_000..=21_000).contains(&direct),
        "{direct} direct memberships of 2000 users"
    );
}

#[test]
fn equal_seeds_give_equal_results_and_others_do_not() {
    let told = |seed| -> Vec<_> { directory(&DirectoryShape::new(300), seed).changes().collect() };
    assert_eq!(told(1), told(1));
    assert_ne!(told(1), told(2));
    let shape = ScenarioShape::new(60, 8);
    assert_eq!(scenario(&shape, 1), scenario(&shape, 1));
    assert_ne!(scenario(&shape, 1), scenario(&shape, 2));
}

#[test]
fn results_are_the_same_on_every_platform() {
    // Pinned: whoever changes the generators changes what benches and recorded failures mean.
    let entries: Vec<_> = directory(&DirectoryShape::new(300), 42).changes().collect();
    let made = scenario(&ScenarioShape::new(60, 8), 42);
    let steps: Vec<_> = history(made.state.clone(), 42).take(200).collect();
    let changes: Vec<_> = steps.into_iter().map(|step| step.changes).collect();
    let rows = made.ledger.iter().map(|(key, row)| {
        let (key, row) = (
            serde_json::to_string(key).unwrap(),
            serde_json::to_string(row).unwrap(),
        );
        format!("{{\"key\":{key},\"row\":{row}}}")
    });
    let rows = rows.collect::<Vec<_>>().join(",");
    let containers = serde_json::to_string(&made.containers).unwrap();
    let short = |json: serde_json::Result<String>| Digest::of("generators", json.unwrap().as_bytes()).short();
    assert_eq!(
        [
            short(serde_json::to_string(&entries)),
            short(Ok(format!("[{containers},[{rows}]]"))),
            short(serde_json::to_string(&changes)),
        ],
        ["9662a06bd021", "f711239b49a4", "043346bc2647"]
    );
}

#[test]
fn a_million_users_come_chunk_by_chunk() {
    let company = directory(&DirectoryShape::new(1_000_000), 7);
    let mut chunks = company.chunks(1000);
    let first = chunks.next().unwrap();
    assert_eq!(first.len(), 1000);
    assert!(matches!(&first[0], DirectoryChange::Upsert(p) if p.id.as_str() == "u0000000"));
}

#[test]
fn no_size_is_too_small() {
    for users in 0..6 {
        for groups in 0..4 {
            let shape = DirectoryShape {
                groups,
                resources: 0,
                cycles: 1000,
                diamonds: 1000,
                ..DirectoryShape::new(users)
            };
            let state = state_of(&directory(&shape, 1));
            assert_eq!(state.principals().len(), (users + groups) as usize);
        }
    }
}

#[test]
fn every_event_occurs_in_a_history_and_changes_something() {
    for seed in 0..4 {
        let shape = DirectoryShape::new(40);
        let mut steps = history(state_of(&directory(&shape, seed)), seed);
        let mut seen: BTreeMap<Event, usize> = BTreeMap::new();
        for _ in 0..600 {
            let before = steps.state().clone();
            let step = steps.next().unwrap();
            *seen.entry(step.event).or_default() += 1;
            assert_ne!(&before, steps.state(), "seed {seed}: {step:?} changes nothing");
            let mut after = before;
            step.changes.into_iter().for_each(|change| after.apply(change));
            assert_eq!(&after, steps.state());
        }
        for event in Event::ALL {
            let times = seen.get(&event).copied().unwrap_or(0);
            assert!(
                times >= 5,
                "seed {seed}: {event:?} occurs {times} times in 600 steps"
            );
        }
    }
}

#[test]
fn containers_and_selections_have_every_shape() {
    let company = directory(&DirectoryShape::new(500), 1);
    let made: Vec<_> = containers(&company, &ContainerShape::new(300), 1).collect();
    let count = |test: &dyn Fn(&Container) -> bool| made.iter().filter(|c| test(c)).count();
    assert_eq!(
        made.iter()
            .map(|c| c.kind.code().to_owned())
            .collect::<BTreeSet<_>>()
            .len(),
        10
    );
    assert!(made.is_sorted_by_key(|c| &c.id));
    assert!(count(&|c| c.owner.is_none()) > 30);
    assert!(count(&|c| c.owner.is_some()) > 150);
    assert!(count(&|c| c.selection.is_empty()) > 2);
    assert!(count(&|c| !c.selection.exclude.is_empty()) > 80);
    assert!(count(&|c| c.selection.include.iter().any(|p| p.system == c.id.system)) > 10);
    assert!(
        count(&|c| c
            .selection
            .include
            .iter()
            .any(|p| p.object.as_str().starts_with("nobody")))
            > 2
    );
    assert!(count(&|c| c.role != Role::Member) > 10);
}

#[test]
fn a_scenario_has_every_row_of_the_decision_table() {
    for seed in 0..4 {
        let made = scenario(&ScenarioShape::new(200, 20), seed);
        let mut rows: BTreeMap<(bool, bool, bool), usize> = BTreeMap::new();
        let ledger: BTreeMap<_, _> = made.ledger.iter().map(|(key, row)| (key, row)).collect();
        assert!(made.ledger.is_sorted_by(|a, b| a.0 < b.0), "ascending, each once");
        for container in &made.containers {
            let wanted = made.selected(container);
            let present: BTreeSet<_> = made.present[&container.id]
                .iter()
                .map(|m| m.principal.clone())
                .collect();
            let known = made
                .ledger
                .iter()
                .filter(|(key, _)| key.container == container.id);
            let known = known.filter_map(|(key, _)| match &key.subject {
                Subject::Principal(principal) => Some(principal.clone()),
                Subject::Record(_) => None,
            });
            for principal in known
                .chain(wanted.iter().cloned())
                .chain(present.iter().cloned())
                .collect::<BTreeSet<_>>()
            {
                let key = usersync_store::LedgerKey::member(container.id.clone(), principal.clone());
                let ours = ledger
                    .get(&key)
                    .is_some_and(|row| row.origin == Origin::Ours && row.is_claimed_by(&made.job));
                *rows
                    .entry((ours, wanted.contains(&principal), present.contains(&principal)))
                    .or_default() += 1;
            }
        }
        for (b, d, a) in [
            (false, false, true),
            (false, true, false),
            (false, true, true),
            (true, false, false),
            (true, false, true),
            (true, true, false),
            (true, true, true),
        ] {
            let times = rows.get(&(b, d, a)).copied().unwrap_or(0);
            assert!(
                times >= 3,
                "seed {seed}: claimed {b}, desired {d}, present {a} occurs {times} times"
            );
        }
    }
}

#[test]
fn strategies_make_the_shapes_that_matter() {
    let mut runner = TestRunner::deterministic();
    let world = strategy::World::default();
    let strategy = strategy::directory(&world);
    let mut found: BTreeMap<&'static str, usize> = BTreeMap::new();
    for _ in 0..200 {
        let entries = strategy.new_tree(&mut runner).unwrap().current();
        let state = DirectoryState::of(strategy::World::system(), entries);
        for (what, n) in census(&state, &SystemId::new("elsewhere").unwrap()) {
            *found.entry(what).or_default() += usize::from(n > 0);
        }
    }
    for (what, least) in [
        ("cycle", 40),
        ("diamond", 40),
        ("self-loop", 60),
        ("unknown", 60),
        ("empty", 60),
        ("inactive", 80),
    ] {
        assert!(
            found[what] >= least,
            "{what} occurs in {} of 200 directories",
            found[what]
        );
    }
}

proptest! {
    #[test]
    fn disturbed_reads_tell_the_same_directory(
        entries in strategy::directory(&strategy::World::default()),
        mut rng in strategy::rng(),
    ) {
        let told = DirectoryState::of(strategy::World::system(), entries.clone());
        let disturbed = disturb(entries, &mut rng);
        let again = DirectoryState::of(strategy::World::system(), disturbed.into_iter().flatten());
        prop_assert_eq!(told, again);
    }

    #[test]
    fn truncations_show_each_prefix_with_each_ending_and_are_never_complete(
        entries in strategy::directory(&strategy::World { users: 2, groups: 2, resources: 0, memberships: 4 }),
        mut rng in strategy::rng(),
    ) {
        let chunks = rechunk(entries.clone(), &mut rng);
        let all: Vec<_> = truncations(&chunks).collect();
        prop_assert_eq!(all.len(), 2 + 3 * (entries.len() + 1));
        let points: BTreeSet<_> = all.iter().map(|cut| (cut.shown, cut.ending)).collect();
        prop_assert_eq!(points.len(), all.len());
        for cut in all {
            let shown = cut.shown.unwrap_or(0);
            let (seen, end) = block_on(Reader::new(cut.into_stream()).collect());
            prop_assert!(!end.verdict.is_complete());
            prop_assert_eq!(&seen, &entries[..shown]);
        }
    }

    /// The graph of the model and the sets of the testkit were written apart; they agree on what a history adds up to.
    #[test]
    fn histories_add_up_to_what_the_graph_says(
        start in strategy::directory(&strategy::World::default()),
        changes in strategy::history(&strategy::World::default(), 0..=20),
    ) {
        let system = strategy::World::system();
        let mut state = DirectoryState::of(system.clone(), start.clone());
        let mut builder = GraphBuilder::new();
        start.into_iter().for_each(|change| builder.add(&system, change));
        let mut graph = builder.finish();
        for change in changes {
            graph.apply(&system, &change);
            state.apply(change);
        }
        for node in graph.nodes() {
            let of_graph: BTreeSet<_> = graph.direct_members(node).map(|m| graph.principal_ref(m)).collect();
            let of_state: BTreeSet<_> = state.members_of(&graph.principal_ref(node).object).cloned().collect();
            prop_assert_eq!(of_graph, of_state);
        }
        let again = DirectoryState::of(system, state.full_read());
        prop_assert_eq!(again, state);
    }

    #[test]
    fn strategies_of_scenarios_are_consistent(made in strategy::scenario(12, 3)) {
        prop_assert_eq!(made.present.len(), made.containers.len());
        for (key, _) in &made.ledger {
            prop_assert!(made.present.contains_key(&key.container));
        }
    }
}
