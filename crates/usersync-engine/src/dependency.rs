//! In which order containers are planned, where some are selected for others.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use usersync_model::{Container, DirectoryGraph, NodeId};

use crate::source::is_somebody;

/// Containers that are planned together, after those that they select.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// They select each other, directly or not.
    Circle {
        /// By their places.
        containers: Vec<usize>,
        /// Whether one of them excludes another, so that there may be no answer, or two.
        undecidable: bool,
    },
    /// Nobody selects them.
    Plain(Vec<usize>),
    /// Others select it.
    Source(usize),
}

impl Stage {
    /// Its containers.
    pub(crate) fn places(&self) -> &[usize] {
        match self {
            Self::Circle { containers, .. } | Self::Plain(containers) => containers,
            Self::Source(place) => std::slice::from_ref(place),
        }
    }
}

/// One container selects another; both by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Edge {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Whether it is among those excluded.
    pub(crate) excludes: bool,
}

/// In which order containers are planned, and what they select.
#[derive(Debug)]
pub(crate) struct Order {
    /// In the order in which they are planned.
    pub(crate) stages: Vec<Stage>,
    /// Who selects whom of them.
    pub(crate) edges: BTreeSet<Edge>,
    /// The hosts that are not among them, by the place of the container that selects them, and by whether it excludes them.
    pub(crate) hosts: BTreeMap<(usize, bool), BTreeSet<NodeId>>,
}

/// The order of `containers`, and who selects one of them, or one of `hosts`, directly or through groups. O(V+E) of the groups above those, and of
/// the selections.
pub(crate) fn order(
    graph: &DirectoryGraph,
    containers: &[Container],
    hosts: impl Iterator<Item = NodeId>,
) -> Order {
    let places: HashMap<NodeId, usize> = containers
        .iter()
        .enumerate()
        .filter_map(|(place, container)| Some((graph.find(&container.id.as_principal())?, place)))
        .filter(|(node, _)| !is_somebody(graph, *node))
        .collect();
    let mut picks: HashMap<NodeId, Vec<(usize, bool)>> = HashMap::new();
    for (place, container) in containers.iter().enumerate() {
        let included = container.selection.include.iter().map(|pick| (pick, false));
        let excluded = container.selection.exclude.iter().map(|pick| (pick, true));
        for (pick, excludes) in included.chain(excluded) {
            if let Some(node) = graph.find(pick) {
                picks.entry(node).or_default().push((place, excludes));
            }
        }
    }
    let who_selects = |node: NodeId| -> Vec<(usize, bool)> {
        if !picks.contains_key(&node) && graph.direct_groups(node).next().is_none() {
            return Vec::new();
        }
        let above = groups_above(graph, node, &places).into_iter();
        let found = above.filter_map(|group| picks.get(&group));
        found.flatten().copied().collect()
    };
    let mut edges = BTreeSet::new();
    for (&node, &to) in &places {
        let found = who_selects(node).into_iter();
        edges.extend(found.map(|(from, excludes)| Edge { from, to, excludes }));
    }
    let mut beside: BTreeMap<(usize, bool), BTreeSet<NodeId>> = BTreeMap::new();
    for host in hosts.filter(|host| !places.contains_key(host)) {
        for by in who_selects(host) {
            beside.entry(by).or_default().insert(host);
        }
    }
    let sources: BTreeSet<usize> = edges.iter().map(|edge| edge.to).collect();
    let mut stages: Vec<Stage> = circles(&sources, &edges);
    stages.push(Stage::Plain(
        (0..containers.len())
            .filter(|place| !sources.contains(place))
            .collect(),
    ));
    Order {
        stages,
        edges,
        hosts: beside,
    }
}

/// `node` and the groups above it. What is above another container is that container's business: its members come from
/// its plan.
fn groups_above(
    graph: &DirectoryGraph,
    node: NodeId,
    containers: &HashMap<NodeId, usize>,
) -> BTreeSet<NodeId> {
    let mut above = BTreeSet::from([node]);
    let mut open = vec![node];
    while let Some(group) = open.pop() {
        for parent in graph.direct_groups(group) {
            if !containers.contains_key(&parent) && above.insert(parent) {
                open.push(parent);
            }
        }
    }
    above
}

/// The strongly connected components among the sources, each after those it selects (Kosaraju's algorithm, iterative).
fn circles(sources: &BTreeSet<usize>, edges: &BTreeSet<Edge>) -> Vec<Stage> {
    let mut selects: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut selected_by: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for edge in edges.iter().filter(|edge| sources.contains(&edge.from)) {
        selects.entry(edge.from).or_default().push(edge.to);
        selected_by.entry(edge.to).or_default().push(edge.from);
    }
    let mut finished = Vec::new();
    let mut seen = BTreeSet::new();
    for &source in sources {
        depth_first(source, &selected_by, &mut seen, &mut finished);
    }
    let mut stages = Vec::new();
    let mut placed = BTreeSet::new();
    for &source in finished.iter().rev() {
        let mut component = Vec::new();
        depth_first(source, &selects, &mut placed, &mut component);
        if component.is_empty() {
            continue;
        }
        component.sort_unstable();
        let of = |from: usize| edges.range(edge_from(from)..edge_from(from + 1));
        let is_inside = |edge: &&Edge| component.binary_search(&edge.to).is_ok();
        let stage = match component[..] {
            [one] if !of(one).any(|edge| edge.to == one) => Stage::Source(one),
            _ => {
                let inside = component.iter().flat_map(|from| of(*from).filter(is_inside));
                let undecidable = inside.into_iter().any(|edge| edge.excludes);
                Stage::Circle {
                    containers: component,
                    undecidable,
                }
            }
        };
        stages.push(stage);
    }
    stages
}

/// Not after any edge from `place`.
pub(crate) fn edge_from(place: usize) -> Edge {
    Edge {
        from: place,
        to: 0,
        excludes: false,
    }
}

/// Adds what can be reached from `start` and was not seen before to `finished`, each after what it leads to.
fn depth_first(
    start: usize,
    edges: &BTreeMap<usize, Vec<usize>>,
    seen: &mut BTreeSet<usize>,
    finished: &mut Vec<usize>,
) {
    if !seen.insert(start) {
        return;
    }
    let next_of = |node: usize| edges.get(&node).map_or(&[][..], Vec::as_slice).iter();
    let mut path = vec![(start, next_of(start))];
    while let Some((node, next)) = path.last_mut() {
        match next.next() {
            Some(&to) => {
                if seen.insert(to) {
                    path.push((to, next_of(to)));
                }
            }
            None => {
                finished.push(*node);
                path.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Edges as text: `0>1` container 0 selects container 1, `0!1` excludes it.
    fn staged(count: usize, text: &str) -> String {
        let edges: BTreeSet<Edge> = text
            .split_whitespace()
            .map(|edge| {
                let excludes = edge.contains('!');
                let (from, to) = edge.split_once(['>', '!']).unwrap();
                Edge {
                    from: from.parse().unwrap(),
                    to: to.parse().unwrap(),
                    excludes,
                }
            })
            .collect();
        let sources = edges.iter().map(|edge| edge.to).collect();
        assert!(edges.iter().all(|edge| edge.from < count && edge.to < count));
        let show = |stage: &Stage| match stage {
            Stage::Circle {
                containers,
                undecidable,
            } => format!("{containers:?}{}", if *undecidable { "?" } else { "" }),
            Stage::Plain(containers) => format!("{containers:?}"),
            Stage::Source(place) => place.to_string(),
        };
        circles(&sources, &edges)
            .iter()
            .map(show)
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn sources_come_before_those_that_select_them() {
        for (edges, want) in [
            ("", ""),
            ("1>0", "0"),
            ("2>1 1>0", "0 1"),
            ("0>0", "[0]"),
            ("0!0", "[0]?"),
            ("0>1 1>0", "[0, 1]"),
            ("0>1 1>0 2>0 3>2", "[0, 1] 2"),
            ("0>1 1!0", "[0, 1]?"),
            ("0!1 2>0", "1 0"),
        ] {
            assert_eq!(staged(4, edges), want, "for {edges:?}");
        }
    }

    #[test]
    fn a_long_chain_does_not_overflow_the_stack() {
        let edges: BTreeSet<Edge> = (0..100_000)
            .map(|from| Edge {
                from,
                to: from + 1,
                excludes: false,
            })
            .collect();
        let sources = edges.iter().map(|edge| edge.to).collect();
        let stages = circles(&sources, &edges);
        assert_eq!(stages.first(), Some(&Stage::Source(100_000)));
        assert_eq!(stages.len(), 100_000);
    }

    proptest! {
        /// Components by mutual reachability, found by brute force, and every edge leads to an earlier stage.
        #[test]
        fn stages_are_the_components_in_order(raw in proptest::collection::vec((0..7usize, 0..7usize, any::<bool>()), 0..16)) {
            let edges: BTreeSet<Edge> = raw.into_iter().map(|(from, to, excludes)| Edge { from, to, excludes }).collect();
            let sources: BTreeSet<usize> = edges.iter().map(|edge| edge.to).collect();
            let mut reach = [[false; 7]; 7];
            for edge in &edges {
                reach[edge.from][edge.to] = true;
            }
            for via in 0..7 { for from in 0..7 { for to in 0..7 {
                reach[from][to] |= reach[from][via] && reach[via][to];
            }}}
            let mut stage_of = BTreeMap::new();
            for (at, stage) in circles(&sources, &edges).into_iter().enumerate() {
                let members = match stage {
                    Stage::Source(one) => { prop_assert!(!reach[one][one]); vec![one] }
                    Stage::Circle { containers, undecidable } => {
                        let inside = |edge: &&Edge| containers.contains(&edge.from) && containers.contains(&edge.to);
                        prop_assert_eq!(undecidable, edges.iter().filter(inside).any(|edge| edge.excludes));
                        for &a in &containers { for &b in &containers { prop_assert!(reach[a][b]); } }
                        containers
                    }
                    Stage::Plain(_) => unreachable!("only sources are staged here"),
                };
                for member in members { prop_assert!(stage_of.insert(member, at).is_none()); }
            }
            prop_assert_eq!(stage_of.keys().copied().collect::<BTreeSet<_>>(), sources.clone());
            for &a in &sources { for &b in &sources {
                let together = a == b || (reach[a][b] && reach[b][a]);
                prop_assert_eq!(stage_of[&a] == stage_of[&b], together);
                if reach[a][b] { prop_assert!(stage_of[&b] <= stage_of[&a]); }
            }}
        }
    }
}
