//! Many principals named at once, against one by one.

use std::collections::BTreeMap;

use proptest::prelude::*;
use usersync_model::{DirectoryGraph, NodeId, PrincipalRef};

/// Principals of three systems, whose ids repeat within a system and between systems.
fn arb_principals(most: usize) -> impl Strategy<Value = Vec<PrincipalRef>> {
    let one = (0_u8..3, 0_u32..2000, 0_usize..40).prop_map(|(system, number, more)| {
        let object = format!("{number}{}", "x".repeat(more / 13 * 11));
        PrincipalRef::parse(&format!("s{system}"), &object).expect("the text is an id")
    });
    proptest::collection::vec(one, 0..most)
}

proptest! {
    #[test]
    fn all_at_once_are_the_same_nodes_as_one_by_one(
        lists in proptest::collection::vec(arb_principals(1500), 1..4),
        before in arb_principals(20),
    ) {
        let (mut graph, mut single) = (DirectoryGraph::default(), DirectoryGraph::default());
        let mut naive: BTreeMap<PrincipalRef, usize> = BTreeMap::new();
        for principal in &before {
            let nodes = (graph.intern(principal), single.intern(principal));
            prop_assert_eq!(nodes.0, nodes.1);
            let next = naive.len();
            naive.entry(principal.clone()).or_insert(next);
        }
        for list in &lists {
            let nodes = graph.intern_all(list);
            prop_assert_eq!(nodes.len(), list.len());
            for (principal, node) in list.iter().zip(nodes) {
                let next = naive.len();
                let number = *naive.entry(principal.clone()).or_insert(next);
                prop_assert_eq!(node.index(), number);
                prop_assert_eq!(single.intern(principal), node);
            }
        }
        prop_assert_eq!(graph.len(), naive.len());
        for (principal, number) in &naive {
            let node = graph.find(principal).expect("it was named");
            prop_assert_eq!(node.index(), *number);
            prop_assert_eq!(&graph.principal_ref(node), principal);
            prop_assert_eq!(graph.node(node).name(), "");
        }
    }

    #[test]
    fn nodes_are_sorted_as_a_set_is(
        len in 1_usize..20_000,
        picks in proptest::collection::vec(any::<prop::sample::Index>(), 0..700),
    ) {
        let mut graph = DirectoryGraph::default();
        let all: Vec<PrincipalRef> = (0..len)
            .map(|n| PrincipalRef::parse("s", &n.to_string()).expect("the text is an id"))
            .collect();
        let all = graph.intern_all(&all);
        let mut nodes: Vec<NodeId> = picks.iter().map(|pick| all[pick.index(len)]).collect();
        let expected: std::collections::BTreeSet<NodeId> = nodes.iter().copied().collect();
        NodeId::sort(&mut nodes);
        prop_assert!(nodes.iter().eq(&expected), "{nodes:?}");
    }
}
