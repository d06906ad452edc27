//! A directory as sets of texts, with the closure as its definition says it: slow, and written apart from the
//! graph. Ids are written `system:object`; the first letter of the object says what it is.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use usersync_model::*;

/// Users, groups and resources of small worlds.
pub(crate) const OBJECTS: [&str; 12] = [
    "u0", "u1", "u2", "u3", "g0", "g1", "g2", "g3", "g4", "r0", "u4", "g5",
];

#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    /// Shown principals, and whether they are active.
    pub(crate) shown: BTreeMap<String, bool>,
    pub(crate) memberships: BTreeSet<(String, String)>,
    /// The systems read, and why they are partial.
    pub(crate) systems: BTreeMap<String, Option<PartialReason>>,
    pub(crate) partial_groups: BTreeMap<String, PartialReason>,
}

/// What the definition says about a selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) certain: BTreeSet<String>,
    pub(crate) maybe: BTreeSet<String>,
    /// Surely not, of all whom the graph knows, whatever the rest may be.
    pub(crate) denied: BTreeSet<String>,
    pub(crate) rest: Option<PartialReason>,
    pub(crate) maybe_reason: Option<PartialReason>,
    pub(crate) missing: BTreeSet<String>,
    pub(crate) doubt: Option<PartialReason>,
}

impl Expected {
    pub(crate) fn standing(&self, id: &str) -> Standing {
        if self.certain.contains(id) {
            Standing::Yes
        } else if self.maybe.contains(id) {
            Standing::Unknown
        } else if self.denied.contains(id) || self.rest.is_none() {
            Standing::No
        } else {
            Standing::Unknown
        }
    }

    /// What is said about everyone, beside the lists.
    pub(crate) fn header(&self) -> (&Option<PartialReason>, &Option<PartialReason>, &BTreeSet<String>) {
        (&self.rest, &self.doubt, &self.missing)
    }
}

pub(crate) fn system_of(id: &str) -> &str {
    id.split_once(':').unwrap().0
}

pub(crate) fn letter(id: &str) -> char {
    id.split_once(':').unwrap().1.chars().next().unwrap()
}

pub(crate) fn kind_of(object: &str) -> PrincipalKind {
    match object.chars().next().unwrap() {
        'g' => PrincipalKind::Group(GroupKind::UserGroup),
        'r' => PrincipalKind::Resource(ResourceKind::Room),
        _ => PrincipalKind::User,
    }
}

pub(crate) fn parse(id: &str) -> PrincipalRef {
    let (system, object) = id.split_once(':').unwrap();
    PrincipalRef::parse(system, object).unwrap()
}

pub(crate) fn sys(system: &str) -> SystemId {
    SystemId::new(system).unwrap()
}

pub(crate) fn obj(object: &str) -> ObjectId {
    ObjectId::new(object).unwrap()
}

pub(crate) fn upsert(object: &str, active: bool) -> DirectoryChange {
    let activity = if active {
        Activity::Active
    } else {
        Activity::Inactive
    };
    DirectoryChange::Upsert(
        Principal::new(obj(object), kind_of(object), format!("Name of {object}")).with_activity(activity),
    )
}

pub(crate) fn members(group: &str, system: &str, members: &[&str]) -> DirectoryChange {
    DirectoryChange::Members {
        group: obj(group),
        system: sys(system),
        members: members.iter().map(|member| obj(member)).collect(),
    }
}

impl World {
    /// Why the system is not known in full.
    pub(crate) fn partial(&self, system: &str) -> Option<PartialReason> {
        match self.systems.get(system) {
            Some(verdict) => verdict.clone(),
            None => Some(PartialReason::new(PartialKind::NoVerdict, system)),
        }
    }

    pub(crate) fn is_group(&self, id: &str) -> bool {
        if self.shown.contains_key(id) {
            return letter(id) == 'g';
        }
        self.partial_groups.contains_key(id) || self.memberships.iter().any(|(group, _)| group == id)
    }

    pub(crate) fn is_leaf(&self, id: &str) -> bool {
        self.shown.contains_key(id) && letter(id) != 'g'
    }

    pub(crate) fn is_wanted(&self, id: &str, policy: &ResolvePolicy) -> bool {
        self.is_leaf(id)
            && (policy.inactive == Inactive::Keep || self.shown[id])
            && (policy.resources || letter(id) != 'r')
    }

    /// The least set that holds `start` and with each group its members.
    fn fixpoint(&self, start: impl IntoIterator<Item = String>) -> BTreeSet<String> {
        let mut set: BTreeSet<String> = start.into_iter().collect();
        loop {
            let grown: BTreeSet<String> = self
                .memberships
                .iter()
                .filter(|(group, _)| set.contains(group) && self.is_group(group))
                .map(|(_, member)| member.clone())
                .chain(set.iter().cloned())
                .collect();
            if grown == set {
                return set;
            }
            set = grown;
        }
    }

    /// Everything reached from `picks`, all reasons why more may be, and the picks that are gone.
    fn side(
        &self,
        picks: &BTreeSet<PrincipalRef>,
        policy: &ResolvePolicy,
    ) -> (BTreeSet<String>, BTreeSet<PartialReason>, BTreeSet<String>) {
        let picks: BTreeSet<String> = picks.iter().map(ToString::to_string).collect();
        let exists = |id: &String| self.is_group(id) || self.is_leaf(id);
        let gone: BTreeSet<String> = picks
            .iter()
            .filter(|id| !exists(id) && self.partial(system_of(id)).is_none())
            .cloned()
            .collect();
        let start: BTreeSet<String> = picks.difference(&gone).cloned().collect();
        let reached = self.fixpoint(start);
        let mut reasons = BTreeSet::new();
        for id in &reached {
            let unsettled = self.is_group(id) || !exists(id);
            if unsettled && let Some(reason) = self.partial(system_of(id)) {
                reasons.insert(reason);
            }
            reasons.extend(self.partial_groups.get(id).cloned());
            let named = self
                .memberships
                .iter()
                .any(|(group, member)| member == id && reached.contains(group));
            let stale = named && !exists(id) && self.partial(system_of(id)).is_none();
            if stale && policy.unknown_members == UnknownMembers::Partial {
                reasons.insert(PartialReason::new(PartialKind::UnknownMember, id.clone()));
            }
        }
        (reached, reasons, gone)
    }

    pub(crate) fn resolve(
        &self,
        selection: &Selection,
        policy: &ResolvePolicy,
        known: &dyn Fn(&str) -> bool,
    ) -> Expected {
        let (included, why_more, gone) = self.side(&selection.include, policy);
        let (excluded, why_doubt, gone_too) = self.side(&selection.exclude, policy);
        let doubt = why_doubt.first().cloned();
        let rest = why_more.first().cloned();
        let picked_out: BTreeSet<String> = excluded.union(&gone_too).cloned().collect();
        let mut expected = Expected {
            certain: BTreeSet::new(),
            maybe: BTreeSet::new(),
            denied: BTreeSet::new(),
            maybe_reason: None,
            missing: gone.union(&gone_too).cloned().collect(),
            rest,
            doubt: doubt.clone(),
        };
        let mut why_maybe = BTreeSet::new();
        for id in included.difference(&picked_out).filter(|id| known(id)) {
            if self.is_wanted(id, policy) {
                match &doubt {
                    None => expected.certain.insert(id.clone()),
                    Some(reason) => {
                        why_maybe.insert(reason.clone());
                        expected.maybe.insert(id.clone())
                    }
                };
            } else if !self.is_leaf(id)
                && !self.is_group(id)
                && let Some(reason) = self.partial(system_of(id))
            {
                why_maybe.insert(reason);
                expected.maybe.insert(id.clone());
            }
        }
        expected.maybe_reason = why_maybe.first().cloned();
        let shown = self
            .shown
            .keys()
            .filter(|id| self.is_leaf(id) && !self.is_wanted(id, policy));
        let out = picked_out.iter().filter(|id| known(id) && !self.is_group(id));
        expected.denied = out.chain(shown).cloned().collect();
        expected
    }

    /// The entries of a full read, by system.
    pub(crate) fn entries(&self) -> Vec<(SystemId, DirectoryChange)> {
        let shown = self.shown.iter().map(|(id, &active)| {
            let (system, object) = id.split_once(':').unwrap();
            (sys(system), upsert(object, active))
        });
        let memberships = self.memberships.iter().map(|(group, member)| {
            let (system, group) = group.split_once(':').unwrap();
            let (of, member) = member.split_once(':').unwrap();
            (sys(system), members(group, of, &[member]))
        });
        shown.chain(memberships).collect()
    }

    pub(crate) fn build(&self, entries: &[(SystemId, DirectoryChange)]) -> DirectoryGraph {
        let mut builder = GraphBuilder::new();
        for (system, change) in entries {
            builder.add(system, change.clone());
        }
        for (system, verdict) in &self.systems {
            let verdict = verdict
                .clone()
                .map_or(Completeness::Complete, Completeness::Partial);
            let groups = self
                .partial_groups
                .iter()
                .filter(|(id, _)| system_of(id) == system);
            let groups = groups
                .map(|(id, reason)| (parse(id).object, reason.clone()))
                .collect();
            builder.end(&sys(system), verdict, groups);
        }
        builder.finish()
    }

    pub(crate) fn graph(&self) -> DirectoryGraph {
        self.build(&self.entries())
    }
}

/// Configuration of the property tests: failures are printed, not kept in files.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig {
        // Whoever runs the tests often, as for each mutant, may want fewer.
        cases: std::env::var_os("PROPTEST_CASES").map_or(cases, |_| usual.cases),
        failure_persistence: None,
        ..usual
    }
}

/// What the graph says, in the words of [`Expected`].
pub(crate) fn told(
    graph: &DirectoryGraph,
    resolved: &Resolved,
    denied: &[NodeId],
    doubt: Option<PartialReason>,
) -> Expected {
    let ids = |nodes: &[NodeId]| {
        assert!(nodes.is_sorted_by(|a, b| a < b), "not ascending: {nodes:?}");
        nodes
            .iter()
            .map(|&node| graph.principal_ref(node).to_string())
            .collect()
    };
    assert!(resolved.missing.is_sorted_by(|a, b| a < b));
    Expected {
        certain: ids(&resolved.certain),
        maybe: ids(&resolved.maybe),
        denied: ids(denied),
        rest: resolved.rest.reason().cloned(),
        maybe_reason: resolved.maybe_reason.clone(),
        missing: resolved.missing.iter().map(ToString::to_string).collect(),
        doubt,
    }
}

/// Compares the graph with the definition.
pub(crate) fn check(
    world: &World,
    graph: &DirectoryGraph,
    selection: &Selection,
    policy: &ResolvePolicy,
    resolved: &Resolved,
) {
    let known = |id: &str| graph.find(&parse(id)).is_some();
    let expected = world.resolve(selection, policy, &known);
    let denied = everyone_denied(graph, selection, policy);
    assert_eq!(told(graph, resolved, &denied, expected.doubt.clone()), expected);
    // Who else is in question makes no difference.
    for parity in [0, 1] {
        let is_asked = |node: &NodeId| node.index() % 2 == parity;
        let among: Vec<NodeId> = graph.nodes().filter(is_asked).collect();
        let of_them: Vec<NodeId> = denied.iter().copied().filter(is_asked).collect();
        assert_eq!(
            graph.denied(selection, policy, &mut Scratch::new(), &among),
            of_them
        );
    }
}

/// Who is surely not selected, everyone being in question.
pub(crate) fn everyone_denied(
    graph: &DirectoryGraph,
    selection: &Selection,
    policy: &ResolvePolicy,
) -> Vec<NodeId> {
    let everyone: Vec<NodeId> = graph.nodes().collect();
    graph.denied(selection, policy, &mut Scratch::new(), &everyone)
}

/// How everyone stands, by number.
pub(crate) fn standings(
    graph: &DirectoryGraph,
    selection: &Selection,
    policy: &ResolvePolicy,
) -> Vec<Standing> {
    let resolved = graph.resolve(selection, policy, &mut Scratch::new());
    let denied = everyone_denied(graph, selection, policy);
    graph
        .nodes()
        .map(|node| resolved.standing(node, &denied))
        .collect()
}

pub(crate) fn arb_id() -> impl Strategy<Value = String> {
    // Mostly one system, so that things meet.
    let system = prop_oneof![8 => Just("a"), 3 => Just("b"), 1 => Just("z")];
    (system, 0..OBJECTS.len()).prop_map(|(system, at)| format!("{system}:{}", OBJECTS[at]))
}

/// A group of a system that may be read.
pub(crate) fn arb_group() -> impl Strategy<Value = String> {
    let system = prop_oneof![3 => Just("a"), 1 => Just("b")];
    (system, 0..6).prop_map(|(system, at)| format!("{system}:g{at}"))
}

pub(crate) fn arb_reason() -> impl Strategy<Value = PartialReason> {
    let kind = prop_oneof![
        Just(PartialKind::Limit),
        Just(PartialKind::Failed),
        Just(PartialKind::Unreadable)
    ];
    (kind, "[xy]").prop_map(|(kind, detail)| PartialReason::new(kind, detail))
}

pub(crate) fn arb_verdict() -> impl Strategy<Value = Option<PartialReason>> {
    prop_oneof![3 => Just(None), 1 => arb_reason().prop_map(Some)]
}

pub(crate) fn arb_world() -> impl Strategy<Value = World> {
    let shown = proptest::collection::btree_map(arb_id(), proptest::bool::weighted(0.8), 0..24);
    let memberships = proptest::collection::btree_set((arb_group(), arb_id()), 0..30);
    let partial_groups = proptest::collection::btree_map(arb_group(), arb_reason(), 0..2);
    let verdicts = (arb_verdict(), arb_verdict(), any::<bool>());
    (shown, memberships, partial_groups, verdicts).prop_map(
        |(mut shown, memberships, mut partial_groups, (a, b, reads_b))| {
            shown.retain(|id, _| system_of(id) != "z");
            let mut systems = BTreeMap::from([("a".to_owned(), a)]);
            if reads_b {
                systems.insert("b".to_owned(), b);
            } else {
                partial_groups.retain(|id, _| system_of(id) != "b");
            }
            World {
                shown,
                memberships,
                systems,
                partial_groups,
            }
        },
    )
}

pub(crate) fn arb_selection() -> impl Strategy<Value = Selection> {
    let picks = |most| proptest::collection::vec(arb_id().prop_map(|id| parse(&id)), 0..most);
    (picks(4), picks(3)).prop_map(|(include, exclude)| Selection::of(include).except(exclude))
}

pub(crate) fn arb_policy() -> impl Strategy<Value = ResolvePolicy> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(keep, resources, ignore)| ResolvePolicy {
        inactive: if keep { Inactive::Keep } else { Inactive::Drop },
        resources,
        unknown_members: if ignore {
            UnknownMembers::Ignore
        } else {
            UnknownMembers::Partial
        },
    })
}
