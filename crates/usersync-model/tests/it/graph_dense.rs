//! Selections of many and of few, in turns, against sets.

use std::collections::BTreeSet;

use proptest::prelude::*;
use usersync_model::{Completeness, GraphBuilder, NodeId, ResolvePolicy, Scratch, Selection};

use crate::graph_common::{config, members, parse, sys, upsert};

/// Which of a thousand users: each so many thousandths of them, or a few.
fn arb_users() -> impl Strategy<Value = BTreeSet<u32>> {
    prop_oneof![
        (0_u32..=1000, any::<u32>()).prop_map(|(share, seed)| {
            let is_in =
                |user: &u32| user.wrapping_mul(0x9e37_79b9).rotate_left(7).wrapping_add(seed) % 1000 < share;
            (0..1000).filter(is_in).collect()
        }),
        proptest::collection::btree_set(0_u32..1000, 0..5),
    ]
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn promise_07_dense_and_sparse_selections_are_their_sets(
        groups in proptest::collection::vec(arb_users(), 3..6),
        inactive in arb_users(),
        picks in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()), 1..8),
    ) {
        let name = |user: u32| format!("u{user}");
        let mut builder = GraphBuilder::new();
        for user in 0..1000 {
            builder.add(&sys("a"), upsert(&name(user), !inactive.contains(&user)));
        }
        for (number, users) in groups.iter().enumerate() {
            let group = format!("g{number}");
            builder.add(&sys("a"), upsert(&group, true));
            let users: Vec<String> = users.iter().copied().map(name).collect();
            let users: Vec<&str> = users.iter().map(String::as_str).collect();
            builder.add(&sys("a"), members(&group, "a", &users));
        }
        builder.end(&sys("a"), Completeness::Complete, Vec::new());
        let graph = builder.finish();
        let mut scratch = Scratch::new();
        for (include, exclude, excludes) in &picks {
            let (include, exclude) = (include.index(groups.len()), exclude.index(groups.len()));
            let mut selection = Selection::of([parse(&format!("a:g{include}"))]);
            let mut expected = &groups[include] - &inactive;
            if *excludes {
                selection = selection.except([parse(&format!("a:g{exclude}"))]);
                expected = &expected - &groups[exclude];
            }
            let expected = expected.into_iter().map(|user| graph.find(&parse(&format!("a:u{user}"))));
            let expected: BTreeSet<NodeId> = expected.map(|node| node.expect("it was shown")).collect();
            let resolved = graph.resolve(&selection, &ResolvePolicy::default(), &mut scratch);
            prop_assert!(resolved.certain.iter().eq(&expected), "{selection:?}: {:?}", resolved.certain);
            prop_assert!(resolved.maybe.is_empty());
        }
    }
}
