//! Any history ends where reading everything anew would, and where an oracle says.

use std::collections::BTreeMap;

use proptest::prelude::*;
use usersync_model::{Activity, DirectoryChange};

use super::super::{DirectoryWarning, Settled};
use super::oracle::{Expected, expected};
use super::world::{Op, World, ops, rules};
use super::{Consumer, index};

fn seen(consumer: &Consumer, settled: &Settled) -> Expected {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for warning in &settled.warnings {
        let (group, add) = match warning {
            DirectoryWarning::SkippedMembers { group, count, .. } => (group, (*count as usize, 0)),
            DirectoryWarning::UnknownMembers { group, count, .. } => (group, (0, *count as usize)),
            _ => continue,
        };
        let of_group = counts.entry(group.to_string()).or_default();
        *of_group = (of_group.0 + add.0, of_group.1 + add.1);
    }
    Expected {
        consumer: consumer.clone(),
        partial: settled
            .partial
            .iter()
            .map(|(id, reason)| (id.to_string(), reason.kind))
            .collect(),
        flaw: settled.flaw.as_ref().map(|reason| reason.kind),
        counts,
    }
}

fn follow(history: &[Vec<Op>], silent: bool, seed: u64) {
    let mut world = World::new(silent);
    let mut index = index(&rules(silent));
    let mut consumer = Consumer::default();
    for (step, ops) in history.iter().enumerate() {
        for op in ops {
            world.act(op);
        }
        // What was cloned does not see what comes after.
        let kept = index.clone();
        world.report(&mut index, seed.rotate_left(u32::try_from(step).unwrap()));
        let settled = index.settle();
        consumer.apply(&settled.changes);

        let anew = world.read().settle();
        let mut fresh = Consumer::default();
        fresh.apply(&anew.changes);
        assert_eq!(consumer, fresh, "step {step}");
        assert_eq!(
            (&settled.partial, &settled.flaw, &settled.warnings),
            (&anew.partial, &anew.flaw, &anew.warnings),
            "step {step}"
        );
        assert_eq!(seen(&consumer, &settled), expected(&world), "step {step}");

        let again = index.settle();
        assert_eq!(again.changes, [], "nothing happened");
        assert_eq!(again.warnings, settled.warnings);
        let mut kept = kept;
        assert_eq!(kept.len(), kept.clone().len());
        if step > 0 {
            assert_eq!(kept.settle().changes, [], "a clone stays as it was");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn promise_07_incremental_equals_full(history in ops(), seed in any::<u64>()) {
        follow(&history, false, seed);
    }

    /// Where the server lets links follow what they name, and says nothing of it.
    #[test]
    fn promise_07_links_follow_silently(history in ops(), seed in any::<u64>()) {
        follow(&history, true, seed);
    }
}

/// What is tried above happens at all, and not just once in a while.
#[test]
fn histories_are_eventful() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..300 {
        let history = ops().new_tree(&mut runner).unwrap().current();
        let mut world = World::new(seed % 2 == 0);
        let mut index = index(&rules(seed % 2 == 0));
        for ops in &history {
            ops.iter().for_each(|op| world.act(op));
            world.report(&mut index, seed);
            let settled = index.settle();
            let mut note = |what, is: bool| *seen.entry(what).or_default() += usize::from(is);
            for change in &settled.changes {
                match change {
                    DirectoryChange::Upsert(principal) => {
                        note("privileged", principal.privileged);
                        note("inactive", principal.activity == Activity::Inactive);
                    }
                    DirectoryChange::Removed(_) => note("removed", true),
                    DirectoryChange::Members { .. } => note("members", true),
                    DirectoryChange::MembersRemoved { .. } => note("members removed", true),
                    DirectoryChange::MembersReset { .. } => {}
                }
            }
            for warning in &settled.warnings {
                note(warning.code(), true);
            }
        }
    }
    for what in [
        "duplicate_dn",
        "duplicate_id",
        "inactive",
        "members",
        "members removed",
        "missing_class",
        "missing_id",
        "missing_privileged_group",
        "privileged",
        "removed",
        "shared_number",
        "skipped_members",
        "unknown_members",
    ] {
        assert!(
            seen.get(what).is_some_and(|&count| count > 10),
            "{what} in {seen:?}"
        );
    }
}
