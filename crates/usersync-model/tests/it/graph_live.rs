//! Selections kept resolved, against the definition after any history.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use usersync_model::*;

use crate::graph_common::*;

#[derive(Clone, Debug)]
enum Act {
    Change(String, Change),
    GroupVerdict(String, Option<PartialReason>),
    SetMembers(String, BTreeSet<String>),
    SystemVerdict(&'static str, Option<PartialReason>),
    Select(usize, Selection),
}

#[derive(Clone, Debug)]
enum Change {
    Join(Vec<String>),
    Leave(Vec<String>),
    Remove,
    Reset,
    Show(bool),
}

fn arb_act() -> impl Strategy<Value = Act> {
    let ids = || proptest::collection::vec(arb_id(), 1..4);
    let group = |change: BoxedStrategy<Change>| {
        (arb_group(), change)
            .prop_map(|(id, change)| Act::Change(id, change))
            .boxed()
    };
    let any_read = || arb_id().prop_filter("read", |id| system_of(id) != "z");
    prop_oneof![
        8 => group(ids().prop_map(Change::Join).boxed()),
        6 => group(ids().prop_map(Change::Leave).boxed()),
        2 => group(Just(Change::Reset).boxed()),
        6 => (any_read(), any::<bool>()).prop_map(|(id, active)| Act::Change(id, Change::Show(active))),
        3 => any_read().prop_map(|id| Act::Change(id, Change::Remove)),
        2 => (arb_group(), arb_verdict()).prop_map(|(id, verdict)| Act::GroupVerdict(id, verdict)),
        1 => (prop_oneof![Just("a"), Just("b")], arb_verdict()).prop_map(|(system, verdict)| Act::SystemVerdict(system, verdict)),
        1 => (arb_group(), proptest::collection::btree_set(arb_id(), 0..4)).prop_map(|(id, members)| Act::SetMembers(id, members)),
        1 => (0..4_usize, arb_selection()).prop_map(|(at, selection)| Act::Select(at, selection)),
    ]
}

/// The change as a directory tells it; members of several systems take several entries.
fn changes(id: &str, change: &Change) -> Vec<DirectoryChange> {
    let object = parse(id).object;
    let per_system = |members: &[String]| {
        let mut by_system: BTreeMap<SystemId, Vec<ObjectId>> = BTreeMap::new();
        for member in members.iter().map(|member| parse(member)) {
            by_system.entry(member.system).or_default().push(member.object);
        }
        by_system
    };
    match change {
        Change::Join(members) => per_system(members)
            .into_iter()
            .map(|(system, members)| DirectoryChange::Members {
                group: object.clone(),
                system,
                members,
            })
            .collect(),
        Change::Leave(members) => per_system(members)
            .into_iter()
            .map(|(system, members)| DirectoryChange::MembersRemoved {
                group: object.clone(),
                system,
                members,
            })
            .collect(),
        Change::Remove => vec![DirectoryChange::Removed(object)],
        Change::Reset => vec![DirectoryChange::MembersReset { group: object }],
        Change::Show(active) => vec![upsert(object.as_str(), *active)],
    }
}

/// What the change means for the sets.
fn change_world(world: &mut World, system: &str, change: &DirectoryChange) {
    let id = |object: &ObjectId| format!("{system}:{object}");
    match change {
        DirectoryChange::Upsert(principal) => {
            world
                .shown
                .insert(id(&principal.id), principal.activity == Activity::Active);
        }
        DirectoryChange::Removed(object) => {
            let (gone, own) = (id(object), format!("{system}:"));
            world.shown.remove(&gone);
            world.partial_groups.remove(&gone);
            world
                .memberships
                .retain(|(group, member)| *group != gone && (*member != gone || !group.starts_with(&own)));
        }
        DirectoryChange::Members {
            group,
            system: of,
            members,
        } => {
            let group = id(group);
            world.memberships.extend(
                members
                    .iter()
                    .map(|member| (group.clone(), format!("{of}:{member}"))),
            );
        }
        DirectoryChange::MembersRemoved {
            group,
            system: of,
            members,
        } => {
            for member in members {
                world.memberships.remove(&(id(group), format!("{of}:{member}")));
            }
        }
        DirectoryChange::MembersReset { group } => {
            let reset = id(group);
            world.memberships.retain(|(group, _)| *group != reset);
        }
    }
}

struct Fixture {
    world: World,
    graph: DirectoryGraph,
    live: LiveSelections,
    policy: ResolvePolicy,
    ids: Vec<SelectionId>,
    /// What resolving said, for as long as no change speaks against it.
    resolved: BTreeMap<SelectionId, Resolved>,
}

impl Fixture {
    fn new(world: World, policy: ResolvePolicy, selections: Vec<Selection>) -> Self {
        let graph = world.graph();
        let mut live = LiveSelections::new(policy);
        let ids = selections
            .into_iter()
            .map(|selection| live.insert(&graph, selection))
            .collect();
        Self {
            world,
            graph,
            live,
            policy,
            ids,
            resolved: BTreeMap::new(),
        }
    }

    fn expected(&self, id: SelectionId) -> Expected {
        self.world
            .resolve(self.live.selection(id).unwrap(), &self.policy, &|_| true)
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Change(id, change) => {
                for change in changes(id, change) {
                    let system = sys(system_of(id));
                    self.step(
                        |world| change_world(world, system_of(id), &change),
                        |graph, live| live.apply(graph, &system, &change),
                    );
                }
            }
            Act::GroupVerdict(id, verdict) => {
                let node = self.graph.intern(&parse(id));
                let completeness = verdict
                    .clone()
                    .map_or(Completeness::Complete, Completeness::Partial);
                self.step(
                    |world| match verdict {
                        Some(reason) => drop(world.partial_groups.insert(id.clone(), reason.clone())),
                        None => drop(world.partial_groups.remove(id)),
                    },
                    |graph, live| live.set_group_verdict(graph, node, completeness),
                );
            }
            Act::SystemVerdict(system, verdict) => {
                let completeness = verdict
                    .clone()
                    .map_or(Completeness::Complete, Completeness::Partial);
                self.step(
                    |world| drop(world.systems.insert((*system).to_owned(), verdict.clone())),
                    |graph, live| live.set_verdict(graph, &sys(system), completeness),
                );
            }
            Act::SetMembers(id, members) => {
                let node = self.graph.intern(&parse(id));
                let nodes: Vec<NodeId> = members
                    .iter()
                    .map(|member| self.graph.intern(&parse(member)))
                    .collect();
                self.step(
                    |world| {
                        world.shown.entry(id.clone()).or_insert(true);
                        world.memberships.retain(|(group, _)| group != id);
                        world
                            .memberships
                            .extend(members.iter().map(|member| (id.clone(), member.clone())));
                    },
                    |graph, live| live.set_members(graph, node, &nodes),
                );
            }
            Act::Select(at, selection) => {
                let id = self.ids[at % self.ids.len()];
                self.live.replace(&self.graph, id, selection.clone());
                self.resolved.remove(&id);
                assert_eq!(self.live.selection(id).unwrap(), selection);
            }
        }
    }

    /// Does one thing to both sides, and compares what is told with what the definition says before and after.
    fn step(
        &mut self,
        change_world: impl FnOnce(&mut World),
        change: impl FnOnce(&mut DirectoryGraph, &mut LiveSelections) -> Impact,
    ) {
        let before: Vec<Expected> = self.ids.iter().map(|&id| self.expected(id)).collect();
        change_world(&mut self.world);
        let impact = change(&mut self.graph, &mut self.live);
        let named = impact.affected.iter().map(|one| &one.selection);
        for id in named.chain(&impact.re_resolve) {
            self.resolved.remove(id);
        }
        let mut affected = Vec::new();
        let mut re_resolve = Vec::new();
        for (&id, before) in self.ids.iter().zip(&before) {
            let after = self.expected(id);
            if before.header() != after.header() {
                re_resolve.push(id);
                continue;
            }
            for node in self.graph.nodes() {
                let name = self.graph.principal_ref(node).to_string();
                let (before, after) = (before.standing(&name), after.standing(&name));
                if before != after {
                    affected.push(Affected {
                        selection: id,
                        node,
                        before,
                        after,
                    });
                }
            }
        }
        let is_uncertain = |id: &SelectionId| self.expected(*id).rest.is_some();
        let uncertain: Vec<SelectionId> = self.ids.iter().copied().filter(is_uncertain).collect();
        assert_eq!(impact.re_resolve, re_resolve);
        assert_eq!(spelled_out(&impact, &uncertain), affected, "{impact:?}");
    }

    fn check(&mut self) {
        let mut scratch = Scratch::new();
        for &id in &self.ids {
            let resolved = self.live.resolve(&self.graph, id, &mut scratch);
            let kept = self.resolved.insert(id, resolved.clone());
            if let Some(kept) = kept.filter(|kept| self.live.still_holds(&self.graph, id, kept)) {
                assert_eq!(kept, resolved);
            }
            check(
                &self.world,
                &self.graph,
                self.live.selection(id).unwrap(),
                &self.policy,
                &resolved,
            );
            let standings = standings(&self.graph, self.live.selection(id).unwrap(), &self.policy);
            for node in self.graph.nodes() {
                assert_eq!(self.live.standing(&self.graph, id, node), standings[node.index()]);
            }
        }
    }
}

/// Everyone whose standing changed, selection by selection, in those that are not to be resolved again.
fn spelled_out(impact: &Impact, uncertain: &[SelectionId]) -> Vec<Affected> {
    let named: BTreeSet<_> = impact
        .affected
        .iter()
        .map(|one| (one.selection, one.node))
        .collect();
    assert_eq!(named.len(), impact.affected.len(), "named twice: {impact:?}");
    assert!(impact.affected.is_sorted(), "not ascending: {impact:?}");
    let mut affected = impact.affected.clone();
    affected.retain(|one| one.before != one.after);
    let Some(elsewhere) = impact.elsewhere else {
        assert_eq!(affected, impact.affected, "entries that say nothing");
        return affected;
    };
    assert!(!uncertain.is_empty(), "nowhere: {impact:?}");
    for same in impact.affected.iter().filter(|one| one.before == one.after) {
        assert!(
            same.node == elsewhere.node && uncertain.contains(&same.selection),
            "{same:?}"
        );
    }
    let silent =
        |id: &&SelectionId| !impact.re_resolve.contains(*id) && !named.contains(&(**id, elsewhere.node));
    affected.extend(uncertain.iter().filter(silent).map(|&selection| Affected {
        selection,
        node: elsewhere.node,
        before: elsewhere.before,
        after: elsewhere.after,
    }));
    affected.sort();
    affected
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn promise_07_incremental_equals_full_after_any_history(
        world in arb_world(),
        policy in arb_policy(),
        selections in proptest::collection::vec(arb_selection(), 1..4),
        acts in proptest::collection::vec(arb_act(), 1..24),
    ) {
        let mut fixture = Fixture::new(world, policy, selections);
        for act in &acts {
            fixture.act(act);
            fixture.check();
        }
        // A full read of what is there now tells the same.
        let mut world = fixture.world;
        world.partial_groups.retain(|id, _| world.systems.contains_key(system_of(id)));
        let rebuilt = world.graph();
        for &id in &fixture.ids {
            let selection = fixture.live.selection(id).unwrap();
            let resolved = rebuilt.resolve(selection, &policy, &mut Scratch::new());
            check(&world, &rebuilt, selection, &policy, &resolved);
        }
    }

    /// Groups that were shown, and few members, so that most of what is set was there before.
    #[test]
    fn promise_07_members_set_anew_change_what_differs(
        acts in proptest::collection::vec(
            (0..3_usize, proptest::collection::btree_set(0..8_usize, 0..6)), 1..16),
    ) {
        let ids = ["a:g0", "a:g1", "a:g2", "a:u0", "a:u1", "a:u2", "a:r0", "a:u3"];
        let mut world = World::default();
        world.systems.insert("a".to_owned(), None);
        world.shown.extend(ids.map(|id| (id.to_owned(), true)));
        let picks = |ids: &[&str]| ids.iter().map(|id| parse(id)).collect::<Vec<_>>();
        let selections = vec![
            Selection::of(picks(&["a:g0"])),
            Selection::of(picks(&["a:g1", "a:u0"])).except(picks(&["a:g2"])),
        ];
        let mut fixture = Fixture::new(world, ResolvePolicy::default(), selections);
        for (group, members) in acts {
            let members = members.into_iter().map(|member| ids[member].to_owned()).collect();
            fixture.act(&Act::SetMembers(ids[group].to_owned(), members));
            fixture.check();
        }
    }

    /// Also when principals turn into other things, and when the graph is changed behind the back.
    #[test]
    fn promise_07_incremental_equals_full_through_contradictions(
        world in arb_world(),
        selections in proptest::collection::vec(arb_selection(), 1..4),
        acts in proptest::collection::vec((arb_id(), arb_id(), 0..6_usize, any::<bool>()), 1..24),
    ) {
        let policy = ResolvePolicy::default();
        let mut graph = world.graph();
        let mut live = LiveSelections::new(policy);
        let ids: Vec<SelectionId> =
            selections.iter().map(|selection| live.insert(&graph, selection.clone())).collect();
        let mut kept: Vec<Vec<Standing>> = Vec::new();
        let mut headers: Vec<(Rest, Vec<PrincipalRef>)> = Vec::new();
        for (&id, selection) in ids.iter().zip(&selections) {
            let resolved = live.resolve(&graph, id, &mut Scratch::new());
            kept.push(standings(&graph, selection, &policy));
            headers.push((resolved.rest, resolved.missing));
        }
        for (one, other, what, behind) in acts {
            let (system, other) = (parse(&one).system, parse(&other));
            let object = parse(&one).object;
            let kinds = [kind_of("u"), kind_of("g"), kind_of("r")];
            let change = match what {
                0..=2 => DirectoryChange::Upsert(Principal::new(object, kinds[what], "")),
                3 => DirectoryChange::Removed(object),
                4 => DirectoryChange::Members { group: object, system: other.system, members: vec![other.object] },
                _ => DirectoryChange::MembersRemoved { group: object, system: other.system, members: vec![other.object] },
            };
            if behind {
                graph.apply(&system, &change);
                for (&id, selection) in ids.iter().zip(&selections) {
                    let standings = standings(&graph, selection, &policy);
                    for node in graph.nodes() {
                        prop_assert_eq!(live.standing(&graph, id, node), standings[node.index()]);
                    }
                }
                continue;
            }
            let impact = live.apply(&mut graph, &system, &change);
            let is_uncertain = |at: &usize| {
                let resolved = graph.resolve(&selections[*at], &policy, &mut Scratch::new());
                resolved.rest != Rest::Absent
            };
            let uncertain: Vec<SelectionId> = (0..ids.len()).filter(is_uncertain).map(|at| ids[at]).collect();
            let changes = spelled_out(&impact, &uncertain);
            for (at, &id) in ids.iter().enumerate() {
                let resolved = graph.resolve(&selections[at], &policy, &mut Scratch::new());
                let now = standings(&graph, &selections[at], &policy);
                for node in graph.nodes() {
                    prop_assert_eq!(live.standing(&graph, id, node), now[node.index()], "{:?}", graph.principal_ref(node));
                }
                let header = (resolved.rest, resolved.missing);
                if impact.re_resolve.contains(&id) {
                    kept[at] = now;
                } else {
                    prop_assert_eq!(&header, &headers[at], "{} of {}", at, ids.len());
                    for node in graph.nodes().skip(kept[at].len()) {
                        let excluded = selections[at].exclude.contains(&graph.principal_ref(node));
                        kept[at].push(if excluded { Standing::No } else { header.0.standing() });
                    }
                    for change in changes.iter().filter(|change| change.selection == id) {
                        prop_assert_eq!(kept[at][change.node.index()], change.before);
                        kept[at][change.node.index()] = change.after;
                    }
                    prop_assert_eq!(&kept[at], &now);
                }
                headers[at] = header;
            }
        }
    }
}

#[test]
fn a_removed_selection_is_never_reported_and_never_known() {
    let mut world = World::default();
    world.systems.insert("a".to_owned(), None);
    world
        .shown
        .extend([("a:g0".to_owned(), true), ("a:u0".to_owned(), true)]);
    let mut graph = world.graph();
    let mut live = LiveSelections::new(ResolvePolicy::default());
    let id = live.insert(&graph, Selection::of([parse("a:g0"), parse("a:g9")]));
    let other = live.insert(&graph, Selection::of([parse("a:g0")]));
    live.remove(id);
    live.remove(id);
    let impact = live.apply(&mut graph, &sys("a"), &members("g0", "a", &["u0"]));
    let node = graph.find(&parse("a:u0")).unwrap();
    let affected = Affected {
        selection: other,
        node,
        before: Standing::No,
        after: Standing::Yes,
    };
    assert_eq!(
        impact,
        Impact {
            affected: vec![affected],
            ..Impact::default()
        }
    );
    assert_eq!(live.standing(&graph, id, node), Standing::Unknown);
    assert_eq!(
        live.resolve(&graph, id, &mut Scratch::new()).standing(node, &[]),
        Standing::Unknown
    );
    assert_eq!(live.ids().collect::<Vec<_>>(), [other]);
}

#[test]
fn a_nesting_counts_for_those_who_are_not_reached_otherwise() {
    let policy = ResolvePolicy {
        unknown_members: UnknownMembers::Ignore,
        ..ResolvePolicy::default()
    };
    let mut builder = GraphBuilder::new();
    for change in [
        upsert("g0", true),
        upsert("u0", true),
        members("g1", "a", &["u0", "u9"]),
        // Told as two things, so that nobody is selected through it.
        members("u3", "a", &["u0"]),
        upsert("u3", true),
        members("g0", "a", &["u3"]),
    ] {
        builder.add(&sys("a"), change);
    }
    builder.end(&sys("a"), Completeness::Complete, Vec::new());
    builder.add(&sys("b"), members("g2", "b", &["u9"]));
    builder.add(&sys("b"), upsert("g3", true));
    builder.end(&sys("b"), Completeness::Complete, Vec::new());
    let mut graph = builder.finish();
    let mut live = LiveSelections::new(policy);
    let included = live.insert(&graph, Selection::of([parse("a:g0")]));
    // The last pick is in no directory, but excluded all the same.
    let excluded = Selection::of([parse("z:g0")]).except([parse("b:g3"), parse("b:u9")]);
    live.insert(&graph, excluded);

    let impact = live.apply(&mut graph, &sys("a"), &members("g0", "a", &["g1"]));
    let selected = |member: &str, before, after| Affected {
        selection: included,
        node: graph.find(&parse(member)).unwrap(),
        before,
        after,
    };
    assert_eq!(
        impact.affected,
        [selected("a:u0", Standing::Unknown, Standing::Yes)]
    );
    assert_eq!(impact.re_resolve, []);
    let impact = live.apply(&mut graph, &sys("b"), &members("g3", "b", &["g2"]));
    assert_eq!(impact, Impact::default());
}
